"""Inventory: what lies in the sources, as cases, objects and rejects. Headers only."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import apache_beam as beam
import pyarrow.parquet as pq
from rich.table import Table

from expectations.validate import validate_inventory
from mdfp import arrow, canonical
from mdfp.errors import UsageError
from pipelines.console import Console
from pipelines.gate import require_pass
from pipelines.runner import Engine
from pipelines.workspace import Workspace
from schemas.case import Case, ObjectRecord, Reject
from transforms import commit
from transforms.inventory import Inventoried, count_days
from transforms.layouts.group import Counts, Grouped, group
from transforms.plan.planner import Inventory
from transforms.publish import table_bytes
from transforms.store import ListedObject
from transforms.take_inventory import (
    InventoryJob,
    TakeInventory,
    chunks,
    listing_bytes,
    listing_path,
    parse_rows,
    part_path,
)

Row = TypeVar("Row")

ROWS_PER_PART = 2000
"""Cases and loose objects whose rows share a part file."""


@dataclass(frozen=True)
class Taken:
    """A finished inventory.

    Attributes:
        cases, objects, rejects: what was found.
        counts: where every listed object went, by source.
        folder: where it lies below the corpus.
    """

    cases: tuple[Case, ...]
    objects: tuple[ObjectRecord, ...]
    rejects: tuple[Reject, ...]
    counts: Mapping[str, Counts]
    folder: str

    def line(self) -> str:
        """One line for people."""
        listed = sum(c.listed for c in self.counts.values())
        reasons = ", ".join(f"{n} {r}" for r, n in Counter(str(r.reason) for r in self.rejects).most_common())
        return f"{len(self.cases)} cases in {listed} objects, {len(self.rejects)} rejects{f' ({reasons})' if reasons else ''}"

    def summary(self) -> dict[str, object]:
        """The same for machines."""
        return {
            "cases": len(self.cases),
            "objects": len(self.objects),
            "rejects": dict(Counter(str(r.reason) for r in self.rejects)),
            "listed": sum(c.listed for c in self.counts.values()),
            "folder": self.folder,
        }


def take_inventory(workspace: Workspace, engine: Engine, console: Console) -> Taken:
    """List the sources, read headers, write cases, objects and rejects.

    Its folder's name is a digest of everything it depends on: an inventory of unchanged sources is there already.

    Raises:
        UsageError: a root is missing, or a manifest does not fit its data set; nothing was written.
        GateError: an expectation does not hold.
    """
    stores = workspace.stores()
    listings: dict[str, list[ListedObject]] = {}
    grouped: dict[str, Grouped] = {}
    for source, store in stores.items():
        listings[source] = list(store.list())
        try:
            grouped[source] = group(workspace.sources[source], listings[source], store.read, workspace.keys)
        except UsageError as error:
            raise UsageError(f"{source} at {workspace.roots[source]}: {error}") from error
        if not grouped[source].cases and not grouped[source].headers:
            raise UsageError(
                f"{source}: none of the {len(listings[source])} files below {workspace.roots[source]} fits its layout "
                f"({workspace.sources[source].layout.kind}); is this the right folder? Give it with --root {source}=…"
            )
    workspace.claim()
    folder = f"inventory/{_digest(workspace, listings)[:16]}"
    if not workspace.corpus.exists(f"{folder}/inventory.json"):
        for source, listing in listings.items():
            commit.create_same(listing_bytes(listing), workspace.corpus, listing_path(folder, source))
        found = _read_headers(workspace, grouped, folder, engine, console)
        _write(workspace, folder, found, grouped)
    commit.replace(f"{folder}\n".encode(), workspace.corpus, "inventory/LATEST")
    taken = _load(workspace, folder)
    require_pass(validate_inventory(taken.cases, taken.objects, taken.rejects), workspace.corpus, console)
    return taken


def _read_headers(
    workspace: Workspace, grouped: Mapping[str, Grouped], folder: str, engine: Engine, console: Console
) -> list[Inventoried]:
    work = [c for source in sorted(grouped) for c in chunks(source, grouped[source])]
    rows = sum(len(g.cases) + len(g.headers) for g in grouped.values())
    job = InventoryJob(
        out=workspace.corpus.place,
        folder=folder,
        roots=tuple(sorted(workspace.places.items())),
        sources=tuple((i, s.model_dump_json()) for i, s in sorted(workspace.sources.items())),
        recipe=workspace.recipe.model_dump_json(),
        secret=workspace.keys.secret,
        parts=1 + rows // ROWS_PER_PART,
    )
    written = [part_path(folder, n) for n in range(job.parts)]

    def count() -> int:
        return sum(workspace.corpus.exists(p) for p in written)

    with console.progress("inventory", len(written), count):
        engine.run(lambda p: p | "Chunks" >> beam.Create(work) | TakeInventory(job), tasks=len(work))
    return [row for path in written if workspace.corpus.exists(path) for row in parse_rows(workspace.corpus.read(path))]


def _write(workspace: Workspace, folder: str, found: list[Inventoried], grouped: Mapping[str, Grouped]) -> None:
    rows = count_days(sorted(found, key=_order))
    cases = [r.case for r in rows if r.case is not None]
    kept = {c.case_id for c in cases}
    objects = [o for r in rows for o in r.objects if o.case_id in kept]
    rejects = [x for g in grouped.values() for x in g.rejects] + [x for r in rows for x in r.rejects]
    corpus = workspace.corpus
    commit.create_bytes(table_bytes(Case, cases), corpus, f"{folder}/cases.parquet")
    commit.create_bytes(table_bytes(ObjectRecord, objects), corpus, f"{folder}/objects.parquet")
    commit.create_bytes(table_bytes(Reject, rejects), corpus, f"{folder}/rejects.parquet")
    content = {
        "counts": {source: g.counts for source, g in sorted(grouped.items())},
        "patient_key": workspace.keys.fingerprint,
    }
    commit.create_same(canonical.pretty(content), corpus, f"{folder}/inventory.json")


def _order(row: Inventoried) -> tuple[str, str, bytes]:
    first = row.rejects[0] if row.rejects else None
    name = row.case.case_id if row.case else (first.case_id or "" if first else "")
    return (row.case.source if row.case else first.source if first else ""), name, canonical.dumps(row)


def _digest(workspace: Workspace, listings: Mapping[str, list[ListedObject]]) -> str:
    content = {
        "sources": {i: s.model_dump(mode="json") for i, s in workspace.sources.items()},
        "recipe": workspace.recipe.without_locations(),
        "patient_key": workspace.keys.fingerprint,
        "listings": {s: [(o.path, o.bytes, o.version) for o in listing] for s, listing in listings.items()},
    }
    return canonical.digest(content)


def _load(workspace: Workspace, folder: str) -> Taken:
    def rows(record: type[Row], name: str) -> tuple[Row, ...]:
        table = pq.read_table(io.BytesIO(workspace.corpus.read(f"{folder}/{name}.parquet")))
        return tuple(arrow.from_table(record, table))

    content = json.loads(workspace.corpus.read(f"{folder}/inventory.json"))
    counts = {source: Counts(**c) for source, c in content["counts"].items()}
    return Taken(rows(Case, "cases"), rows(ObjectRecord, "objects"), rows(Reject, "rejects"), counts, folder)


def read_inventory(workspace: Workspace) -> Inventory:
    """The newest inventory, as the planner takes it.

    Raises:
        UsageError: there is none.
    """
    try:
        folder = workspace.corpus.read("inventory/LATEST").decode().strip()
    except FileNotFoundError:
        raise UsageError(
            f"{workspace.corpus.root}: there is no inventory yet; make one with: "
            f"python -m pipelines inventory {workspace.recipe_path}"
        ) from None
    taken = _load(workspace, folder)
    return Inventory(taken.cases, taken.objects, taken.rejects, workspace.keys.fingerprint)


def describe(taken: Taken, console: Console) -> None:
    """Print what was found."""
    table = Table(title="inventory", title_justify="left")
    for column in ("source", "listed", "cases", "rejects", "side files", "skipped"):
        table.add_column(column, justify="left" if column == "source" else "right")
    cases = Counter(c.source for c in taken.cases)
    rejects = Counter(r.source for r in taken.rejects)
    for source, c in sorted(taken.counts.items()):
        table.add_row(source, str(c.listed), str(cases[source]), str(rejects[source]), str(c.side), str(c.skipped))
    console.table(table)
    for reason, count in Counter(r.reason for r in taken.rejects).most_common():
        console.say(f"  reject: {count} × {reason} ({reason.meaning})")
