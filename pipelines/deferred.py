"""Inventories that trust a published table: written by the driver, in the form that the inventory's workers write."""

from __future__ import annotations

import pyarrow as pa

from mdfp import arrow, canonical
from pipelines.workspace import Workspace
from schemas.case import Reject
from transforms import commit, deferred
from transforms.layouts.group import Counts
from transforms.publish import parquet_bytes
from transforms.take_inventory import part_path, rejects_path

ROWS_PER_PART = 20_000
"""Series whose rows share a part file."""


def folders(workspace: Workspace) -> dict[str, str]:
    """Folder of the inventory of each deferred source, below the corpus; those that are not there yet are written.

    The folder's name is a digest of the manifest, the table's values and the patient key.

    Raises:
        UsageError: a table is missing or wrong.
    """
    result = {}
    tables = {source: deferred.read_table(file) for source, file in workspace.tables.items()}
    for source, table in tables.items():
        content = {
            "source": workspace.sources[source].model_dump(mode="json"),
            "patient_key": workspace.keys.fingerprint,
            "table": deferred.digest(table),
        }
        result[source] = f"inventory/{canonical.digest(content)[:16]}"
        if not workspace.corpus.exists(f"{result[source]}/inventory.json"):
            workspace.claim()
            _write(workspace, source, table, result[source])
    return result


def _write(workspace: Workspace, source_id: str, table: pa.Table, folder: str) -> None:
    corpus, source, keys = workspace.corpus, workspace.sources[source_id], workspace.keys
    refused = deferred.rejects(table, source, keys)
    rows = deferred.rows(table, source, keys)
    starts = range(0, rows.num_rows, ROWS_PER_PART)
    for part, start in enumerate(starts):
        commit.create_bytes(parquet_bytes(arrow.to_table(Reject, [])), corpus, rejects_path(folder, part))
        commit.create_bytes(parquet_bytes(rows.slice(start, ROWS_PER_PART)), corpus, part_path(folder, part))
    commit.create_bytes(parquet_bytes(arrow.to_table(Reject, refused)), corpus, f"{folder}/rejects.parquet")
    counts = Counts(listed=table.num_rows, in_cases=rows.num_rows, to_read=0, rejected=len(refused), side=0, skipped=0)
    content = {"counts": {source_id: counts}, "patient_key": keys.fingerprint, "parts": list(range(len(starts)))}
    # The header comes last: an inventory without it is not there.
    commit.create_same(canonical.pretty(content), corpus, f"{folder}/inventory.json")
