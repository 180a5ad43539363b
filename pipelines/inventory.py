"""Inventory: what lies in the sources, as cases, objects and rejects. Headers only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow.compute as pc
from rich.table import Table

from expectations.validate import validate_inventory
from mdfp import arrow, canonical
from mdfp.errors import UsageError
from pipelines.console import Console
from pipelines.gate import require_pass
from pipelines.runner import Engine
from pipelines.workspace import Workspace
from schemas.case import Case, ObjectRecord, Reject
from schemas.reasons import Reason
from transforms import commit, patient_key
from transforms.layouts.group import Counts, Grouped, group
from transforms.patient_key import KeyReference
from transforms.plan.inventory import InventoryTable, records_of
from transforms.publish import table_bytes
from transforms.read.header import IF_WANTED
from transforms.references import References
from transforms.store import ListedObject
from transforms.take_inventory import (
    InventoryJob,
    TakeInventory,
    Target,
    chunks,
    listing_bytes,
    listing_path,
    part_path,
    read_part,
    rejects_path,
)

READ_BY = ("geometry", "labels", "limits", "policy")
"""Sections of a recipe that what is read from headers depends on: another source in the recipe changes nothing."""

ROWS_PER_PART = 2000
"""Cases and loose objects whose rows share a part file."""


@dataclass(frozen=True)
class Taken:
    """A finished inventory.

    Attributes:
        table: the cases with their objects, and the rejects.
        counts: where every listed object went, by source.
        folder: where it lies below the corpus.
    """

    table: InventoryTable
    counts: Mapping[str, Counts]
    folder: str

    @property
    def rejects(self) -> tuple[Reject, ...]:
        """What was left out."""
        return self.table.rejects

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases as records, by id: for small inventories."""
        return tuple(case for case, _ in self._records())

    @property
    def objects(self) -> tuple[ObjectRecord, ...]:
        """Their objects, in the same order: for small inventories."""
        return tuple(o for _, objects in self._records() for o in objects)

    def _records(self) -> list[tuple[Case, tuple[ObjectRecord, ...]]]:
        found = [r for rows in self.table.batches() for r in records_of(rows)]
        return sorted(found, key=lambda r: r[0].case_id)

    @property
    def _objects(self) -> int:
        return int(pc.sum(self.table.deciding["object_count"]).as_py() or 0)

    def line(self) -> str:
        """One line for people."""
        listed = sum(c.listed for c in self.counts.values())
        reasons = ", ".join(f"{n} {r}" for r, n in Counter(str(r.reason) for r in self.rejects).most_common())
        cases = self.table.deciding.num_rows
        return f"{cases} cases in {listed} objects, {len(self.rejects)} rejects{f' ({reasons})' if reasons else ''}"

    def summary(self) -> dict[str, object]:
        """The same for machines."""
        return {
            "cases": self.table.deciding.num_rows,
            "objects": self._objects,
            "rejects": dict(Counter(str(r.reason) for r in self.rejects)),
            "listed": sum(c.listed for c in self.counts.values()),
            "folder": self.folder,
        }


def take_inventory(workspace: Workspace, engine: Engine, console: Console) -> Taken:
    """List the sources, read headers, write cases, objects and rejects.

    Each source has a folder whose name is a digest of everything its inventory depends on: that of an unchanged source is
    there already, and costs the listing alone, whatever happened to the others.

    Raises:
        UsageError: a root is missing, a manifest does not fit its data set, or workers have no way to the patient key;
            nothing was written.
        GateError: an expectation does not hold.
    """
    corpus = workspace.corpus
    stores = workspace.stores()
    listings = {source: list(store.list()) for source, store in stores.items()}
    folders = {source: f"inventory/{_digest(workspace, source, listing)[:16]}" for source, listing in listings.items()}
    grouped: dict[str, Grouped] = {}
    for source, store in stores.items():
        if corpus.exists(f"{folders[source]}/inventory.json"):
            continue
        try:
            grouped[source] = group(workspace.sources[source], listings[source], store.read, workspace.keys)
        except UsageError as error:
            raise UsageError(f"{source} at {workspace.roots[source]}: {error}") from error
        if not grouped[source].cases and not grouped[source].headers:
            raise UsageError(
                f"{source}: none of the {len(listings[source])} files below {workspace.roots[source]} fits its layout "
                f"({workspace.sources[source].layout.kind}); is this the right folder? Give it with --root {source}=…"
            )
    key = patient_key.reference(workspace.keys)
    if grouped:
        engine.check_key(key)
    workspace.claim()
    for source in grouped:
        commit.create_same(listing_bytes(listings[source]), corpus, listing_path(folders[source], source))
    targets = [Target(s, folders[s], 1 + (len(g.cases) + len(g.headers)) // ROWS_PER_PART) for s, g in grouped.items()]
    if targets:
        _read_headers(workspace, grouped, targets, key, engine, console)
        for target in targets:
            _write(workspace, target, grouped[target.source])
    folder = f"inventory/{canonical.digest(folders)[:16]}"
    content = {"folders": folders, "patient_key": workspace.keys.fingerprint}
    commit.create_same(canonical.pretty(content), corpus, f"{folder}/inventory.json")
    commit.replace(f"{folder}\n".encode(), corpus, "inventory/LATEST")
    taken = _load(workspace, folder)
    _tell_refused(taken.rejects, console)
    require_pass(validate_inventory(taken.cases, taken.objects, taken.rejects), workspace.corpus, console)
    return taken


def _tell_refused(rejects: Sequence[Reject], console: Console) -> None:
    """Say which line of a recipe would let cases pass: where all are refused, nothing else would tell."""
    refused = Counter((r.source, r.detail) for r in rejects if r.reason is Reason.POLICY_REFUSED)
    for (source, detail), count in sorted(refused.items()):
        console.remark(f"{source}: {count} cases left out: {detail}")
    over_time = Counter(r.source for r in rejects if r.reason is Reason.TEMPORAL and r.detail.count(IF_WANTED))
    for source, count in sorted(over_time.items()):
        console.remark(f"{source}: {count} images over time left out; {IF_WANTED}")


def _read_headers(
    workspace: Workspace,
    grouped: Mapping[str, Grouped],
    targets: Sequence[Target],
    key: KeyReference,
    engine: Engine,
    console: Console,
) -> None:
    work = [c for source in sorted(grouped) for c in chunks(source, grouped[source])]
    job = InventoryJob(
        out=workspace.corpus.place,
        targets=tuple(targets),
        roots=tuple(sorted(workspace.places.items())),
        sources=tuple((i, s.model_dump_json()) for i, s in sorted(workspace.sources.items())),
        recipe=workspace.recipe.model_dump_json(),
        key=key,
    )
    written = [part_path(t.folder, n) for t in targets for n in range(t.parts)]

    def count() -> int:
        return sum(workspace.corpus.exists(p) for p in written)

    with console.progress("inventory", len(written), count):
        engine.run(lambda p: p | "Chunks" >> References(work) | TakeInventory(job), tasks=len(work))


def _write(workspace: Workspace, target: Target, grouped: Grouped) -> None:
    corpus, folder = workspace.corpus, target.folder
    parts = [n for n in range(target.parts) if corpus.exists(part_path(folder, n))]
    tables = [read_part(corpus, rejects_path(folder, part)) for part in parts]
    rejects = list(grouped.rejects)
    rejects += [x for table in tables for x in arrow.from_table(Reject, table)]
    rejects.sort(key=lambda r: (r.source, r.case_id or "", r.reason, r.detail, r.path or ""))
    commit.create_bytes(table_bytes(Reject, rejects), corpus, f"{folder}/rejects.parquet")
    content = {
        "counts": {target.source: grouped.counts},
        "patient_key": workspace.keys.fingerprint,
        "parts": parts,
    }
    # The header comes last: an inventory without it is not there.
    commit.create_same(canonical.pretty(content), corpus, f"{folder}/inventory.json")


def _digest(workspace: Workspace, source: str, listing: Sequence[ListedObject]) -> str:
    recipe = workspace.recipe.without_locations()
    read_by: dict[str, object] = {section: recipe[section] for section in READ_BY if section in recipe}
    if (temporal := workspace.recipe.temporal_of(source)) != "refuse":
        read_by["temporal"] = temporal
    content = {
        "source": workspace.sources[source].model_dump(mode="json"),
        "recipe": read_by,
        "patient_key": workspace.keys.fingerprint,
        "listing": [(o.path, o.bytes, o.version) for o in listing],
    }
    return canonical.digest(content)


def _load(workspace: Workspace, folder: str) -> Taken:
    corpus = workspace.corpus
    content = json.loads(corpus.read(f"{folder}/inventory.json"))
    counts: dict[str, Counts] = {}
    rejects: list[Reject] = []
    # A folder holds the inventory of one source, or names those of several.
    for base in content.get("folders", {"": folder}).values():
        of_source = json.loads(corpus.read(f"{base}/inventory.json"))
        counts |= {source: Counts(**c) for source, c in of_source["counts"].items()}
        rejects += arrow.from_table(Reject, read_part(corpus, f"{base}/rejects.parquet"))
    parts = [partial(read_part, corpus, path) for path in _part_paths(workspace, folder)]
    return Taken(InventoryTable(parts, rejects, content["patient_key"]), counts, folder)


def _part_paths(workspace: Workspace, folder: str) -> list[str]:
    content = json.loads(workspace.corpus.read(f"{folder}/inventory.json"))
    bases = content.get("folders", {"": folder}).values()
    parts = {base: json.loads(workspace.corpus.read(f"{base}/inventory.json"))["parts"] for base in bases}
    return [part_path(base, part) for base, numbers in parts.items() for part in numbers]


def read_inventory(workspace: Workspace) -> InventoryTable:
    """The newest inventory, as the planner takes it.

    Raises:
        UsageError: there is none.
    """
    table = _load(workspace, _latest(workspace)).table
    return InventoryTable(table.parts, table.rejects, workspace.keys.fingerprint)


def newest_parts(workspace: Workspace) -> list[str]:
    """Paths of the part files of the newest inventory, in the order of its table.

    Raises:
        UsageError: there is none.
    """
    return _part_paths(workspace, _latest(workspace))


def _latest(workspace: Workspace) -> str:
    try:
        return workspace.corpus.read("inventory/LATEST").decode().strip()
    except FileNotFoundError:
        raise UsageError(
            f"{workspace.corpus.root}: there is no inventory yet; make one with: "
            f"python -m pipelines inventory {workspace.recipe_path}"
        ) from None


def describe(taken: Taken, console: Console) -> None:
    """Print what was found."""
    table = Table(title="inventory", title_justify="left")
    for column in ("source", "listed", "cases", "rejects", "side files", "skipped"):
        table.add_column(column, justify="left" if column == "source" else "right")
    cases = Counter(taken.table.deciding["source"].to_pylist())
    rejects = Counter(r.source for r in taken.rejects)
    for source, c in sorted(taken.counts.items()):
        table.add_row(source, str(c.listed), str(cases[source]), str(rejects[source]), str(c.side), str(c.skipped))
    console.table(table)
    for reason, count in Counter(r.reason for r in taken.rejects).most_common():
        console.say(f"  reject: {count} × {reason} ({reason.meaning})")
