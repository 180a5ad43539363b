"""Tables of the plan: where each case goes, what must stay together, and the shards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.tables.build import SpreadRow, column_table, spread, table
from mdfp.manifest import PaletteEntry
from schemas.plan import ShardPlan
from schemas.reasons import Reason
from schemas.source import Source


@dataclass(frozen=True)
class AssignmentRow:
    """Where a case goes, or why it is left out."""

    id: Annotated[str, "case id"]
    source: Annotated[str, "id of the source"]
    split: Annotated[str | None, "train, val or test; null when left out"]
    left_out: Annotated[str | None, "reason code of a case that is left out, or a planned hole"]
    decided: Annotated[bool, "whether it has a shard or a reason"]
    reason_known: Annotated[bool | None, "whether the reason is one of the closed list; null without one"]
    in_inventory: Annotated[bool, "whether the inventory has the case"]
    in_its_shard: Annotated[bool | None, "whether its shard names it at its position; null without a shard"]
    split_of_shard: Annotated[bool | None, "whether its split is its shard's; null without a shard"]
    kept_test: Annotated[bool | None, "for test data by the source's own word: whether it is test, or left out"]


@dataclass(frozen=True)
class DecisionRow:
    """One case of the inventory, and how often the plan decides about it."""

    id: Annotated[str, "case id"]
    source: Annotated[str, "id of the source"]
    assignments: Annotated[int, "assignments that name it"]


@dataclass(frozen=True)
class ShardRow:
    """One shard to build."""

    id: Annotated[str, "id of the shard"]
    split: Annotated[str, "train, val or test"]
    source: Annotated[str, "id of the source, or of the pool"]
    cases: Annotated[int, "cases in it, holes counted"]
    holes: Annotated[int, "known holes among them"]
    strange_holes: Annotated[int, "known holes that are not among its cases"]
    repeated_cases: Annotated[int, "cases it names more than once"]
    strange_cases: Annotated[int, "cases that no assignment puts there"]
    estimated_mb: Annotated[float, "expected size, MB"]
    estimated_seconds: Annotated[float, "expected CPU seconds"]
    fingerprint: Annotated[str, "sha256 of everything its bytes are a function of"]
    under_its_split: Annotated[bool, "whether its id begins with its split"]


@dataclass(frozen=True)
class LabelTableRow:
    """One label table that planned cases use."""

    id: Annotated[str, "source/table"]
    source: Annotated[str, "id of the source"]
    cases: Annotated[int, "planned cases that use it"]
    known: Annotated[bool, "whether the source manifest has it"]
    structures: Annotated[int, "structures it can name"]
    missing_from_palette: Annotated[int, "of these, without an integer in the palette"]


TABLES: dict[str, type] = {
    "assignments": AssignmentRow,
    "decisions": DecisionRow,
    "patients": SpreadRow,
    "groups": SpreadRow,
    "shards": ShardRow,
    "label_tables": LabelTableRow,
}


CASE_COLUMNS = ("case_id", "source", "patient", "split", "label_tables")
"""What of the inventory's cases is looked at."""


def tables(
    assignments: pa.Table,
    shards: Sequence[ShardPlan],
    cases: pa.Table,
    sources: Sequence[Source],
    palette: Sequence[PaletteEntry],
) -> dict[str, pa.Table]:
    """The plan's tables, by name.

    Args:
        assignments: with the columns of an `Assignment`.
        shards: all shards.
        cases: of the inventory, with the columns `CASE_COLUMNS`.
        sources: source manifests.
        palette: integers of the structures.
    """
    case_of: Any = pc.index_in(assignments["case_id"], value_set=cases["case_id"].combine_chunks())
    case_of = case_of.combine_chunks()
    made = pc.and_(pc.is_valid(assignments["shard"]), pc.is_valid(assignments["split"]))
    made = pc.and_(made, pc.is_null(assignments["left_out"]))
    known = pc.and_(made, pc.is_valid(case_of))
    patients = cases["patient"].take(case_of.filter(known.combine_chunks()))
    every: Any = pc.index_in(cases["case_id"], value_set=pc.unique(assignments["case_id"]))
    counted = assignments["case_id"].combine_chunks().dictionary_encode()
    times = np.append(np.bincount(np.asarray(counted.indices), minlength=len(counted.dictionary)), 0)
    return {
        "assignments": _assignment_rows(assignments, shards, cases, case_of),
        "decisions": column_table(
            DecisionRow,
            {
                "id": cases["case_id"],
                "source": cases["source"],
                "assignments": times[np.asarray(pc.fill_null(every, len(times) - 1))],
            },
        ),
        "patients": spread(patients, assignments["split"].filter(known)),
        "groups": spread(assignments["group"].filter(made), assignments["split"].filter(made)),
        "shards": table(ShardRow, _shard_rows(shards, assignments)),
        "label_tables": table(
            LabelTableRow, _label_table_rows(cases, case_of.filter(known.combine_chunks()), sources, palette)
        ),
    }


def _assignment_rows(
    assignments: pa.Table, shards: Sequence[ShardPlan], cases: pa.Table, case_of: pa.Array
) -> pa.Table:
    placed = np.asarray(pc.is_valid(assignments["shard"]))
    index = pc.index_in(assignments["shard"], value_set=pa.array([s.shard for s in shards], pa.string()))
    shard = np.asarray(pc.fill_null(index, -1), dtype=np.int64)
    sizes = np.array([len(s.cases) for s in shards] or [0], np.int64)
    first = np.concatenate([[0], np.cumsum(sizes)])
    position = np.asarray(pc.fill_null(assignments["position"], -1), dtype=np.int64)
    fits = (shard >= 0) & (position >= 0) & (position < sizes[shard])
    flat = pa.array([c for s in shards for c in s.cases] or [""], pa.string())
    named: Any = flat.take(pa.array(np.where(fits, first[shard] + position, 0)))
    in_its_shard = fits & np.asarray(pc.equal(named, assignments["case_id"].combine_chunks()))
    splits: list[str | None] = [s.split for s in shards]
    split_of: Any = pa.array(splits or [None], pa.string()).take(pa.array(np.maximum(shard, 0)))
    split = assignments["split"].combine_chunks()
    same_split = (shard >= 0) & np.asarray(pc.fill_null(pc.equal(split_of, split), False))
    out: Any = pc.is_valid(assignments["left_out"]).combine_chunks()
    reserved = pc.fill_null(pc.equal(cases["split"].combine_chunks().take(case_of), "test"), False)
    kept = pc.or_(pc.fill_null(pc.equal(split, "test"), False), out)
    return column_table(
        AssignmentRow,
        {
            "id": assignments["case_id"],
            "source": assignments["source"],
            "split": split,
            "left_out": assignments["left_out"],
            "decided": placed | np.asarray(out),
            "reason_known": pc.if_else(
                out, pc.is_in(assignments["left_out"].combine_chunks(), value_set=_REASONS), None
            ),
            "in_inventory": pc.is_valid(case_of),
            "in_its_shard": pa.array(in_its_shard, mask=~placed),
            "split_of_shard": pa.array(same_split, mask=~placed),
            "kept_test": pc.if_else(reserved, kept, None),
        },
    )


_REASONS = pa.array([str(r) for r in Reason], pa.string())


def _shard_rows(shards: Sequence[ShardPlan], assignments: pa.Table) -> Iterator[ShardRow]:
    put = assignments.filter(pc.is_valid(assignments["shard"]))
    assigned: dict[str, set[str]] = defaultdict(set)
    for shard, case_id in zip(put["shard"].to_pylist(), put["case_id"].to_pylist(), strict=True):
        assigned[shard].add(case_id)
    for s in shards:
        named = set(s.cases)
        yield ShardRow(
            id=s.shard,
            split=s.split,
            source=s.source,
            cases=len(s.cases),
            holes=len(s.holes),
            strange_holes=len(set(s.holes) - named),
            repeated_cases=len(s.cases) - len(named),
            strange_cases=len(named - assigned[s.shard]),
            estimated_mb=s.estimated_bytes / 1e6,
            estimated_seconds=s.estimated_seconds,
            fingerprint=s.fingerprint,
            under_its_split=s.shard.startswith(f"{s.split}/"),
        )


def _label_table_rows(
    cases: pa.Table, planned: pa.Array, sources: Sequence[Source], palette: Sequence[PaletteEntry]
) -> Iterator[LabelTableRow]:
    used = cases.select(["source", "label_tables"]).take(planned)
    names: Any = used["label_tables"].combine_chunks()
    owner = used["source"].take(pc.list_parent_indices(names))
    pairs = pa.table({"source": owner, "name": pc.list_flatten(names)})
    counts = pairs.group_by(["source", "name"]).aggregate([([], "count_all")]).to_pylist()
    source_of = {s.id: s for s in sources}
    coloured = {p.structure for p in palette}
    for row in sorted(counts, key=lambda r: (r["source"], r["name"])):
        source, name = row["source"], row["name"]
        if source not in source_of:
            continue  # judged only where the caller has the source manifests at hand
        label_table = source_of[source].labels.get(name)
        structures = label_table.annotated() if label_table else ()
        yield LabelTableRow(
            id=f"{source}/{name}",
            source=source,
            cases=row["count_all"],
            known=label_table is not None,
            structures=len(structures),
            missing_from_palette=sum(s not in coloured for s in structures),
        )
