"""What earlier generations of a corpus could not make, from their rejects and plans."""

from __future__ import annotations

import io
from collections.abc import Collection

import pyarrow.parquet as pq

from mdfp import arrow
from mdfp import manifest as manifests
from mdfp.errors import CorpusError
from schemas.case import ObjectRecord, Reject
from transforms.plan import files
from transforms.plan.holes import KnownHole, made_of
from transforms.plan.published import newest_number
from transforms.publish import rejects_path
from transforms.store import CorpusStore


def load_holes(store: CorpusStore) -> dict[str, KnownHole]:
    """The holes of all published generations by case id, the newest verdict of each.

    A generation whose plan or rejects were deleted is passed over: its holes are tried again.
    """
    holes: dict[str, KnownHole] = {}
    for number in range(1, newest_number(store) + 1):
        path = manifests.manifest_path(number)
        try:
            plan_id = manifests.parse(store.read(path), store.url(path)).plan_id
            rejects = pq.read_table(io.BytesIO(store.read(rejects_path(number))))
            base = files.find(store, plan_id)
            header = files.read_header(store, base)
        except (CorpusError, FileNotFoundError):
            continue
        found = {r.case_id: r for r in arrow.from_table(Reject, rejects) if r.stage == "build" and r.case_id}
        for case_id, objects in _objects(store, base, found).items():
            reject = found[case_id]
            content = made_of(objects, header["sources"][reject.source], header["pixel_version"])
            holes[case_id] = KnownHole(number, reject.reason, reject.detail, content)
    return holes


def _objects(store: CorpusStore, base: str, case_ids: Collection[str | None]) -> dict[str, list[ObjectRecord]]:
    result: dict[str, list[ObjectRecord]] = {}
    if case_ids:
        data = io.BytesIO(store.read(f"{base}/objects.parquet"))
        for row in arrow.from_table(ObjectRecord, pq.read_table(data, filters=[("case_id", "in", set(case_ids))])):
            result.setdefault(row.case_id, []).append(row)
    return result
