"""Tables of the plan: where each case goes, what must stay together, and the shards."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import pyarrow as pa

from expectations.tables.build import SpreadRow, spread, table
from mdfp.manifest import PaletteEntry
from schemas.case import Case
from schemas.plan import Assignment, ShardPlan
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


def tables(
    assignments: Sequence[Assignment],
    shards: Sequence[ShardPlan],
    cases: Sequence[Case],
    sources: Sequence[Source],
    palette: Sequence[PaletteEntry],
) -> dict[str, pa.Table]:
    """The plan's tables, by name."""
    case_of = {c.case_id: c for c in cases}
    shard_of = {s.shard: s for s in shards}
    made = [a for a in assignments if a.shard is not None and a.split is not None and a.left_out is None]
    times = Counter(a.case_id for a in assignments)
    return {
        "assignments": table(AssignmentRow, (_assignment_row(a, case_of, shard_of) for a in assignments)),
        "decisions": table(DecisionRow, (DecisionRow(c.case_id, c.source, times[c.case_id]) for c in cases)),
        "patients": spread((case_of[a.case_id].patient, a.split or "") for a in made if a.case_id in case_of),
        "groups": spread((a.group, a.split or "") for a in made),
        "shards": table(ShardRow, _shard_rows(shards, assignments)),
        "label_tables": table(
            LabelTableRow,
            _label_table_rows([case_of[a.case_id] for a in made if a.case_id in case_of], sources, palette),
        ),
    }


def _assignment_row(a: Assignment, case_of: Mapping[str, Case], shard_of: Mapping[str, ShardPlan]) -> AssignmentRow:
    case, shard = case_of.get(a.case_id), shard_of.get(a.shard) if a.shard else None
    named = shard is not None and a.position is not None and shard.cases[a.position : a.position + 1] == (a.case_id,)
    reserved = case is not None and case.split == "test"
    return AssignmentRow(
        id=a.case_id,
        source=a.source,
        split=a.split,
        left_out=a.left_out,
        decided=a.shard is not None or a.left_out is not None,
        reason_known=None if a.left_out is None else a.left_out in set(Reason),
        in_inventory=case is not None,
        in_its_shard=named if a.shard else None,
        split_of_shard=(shard is not None and shard.split == a.split) if a.shard else None,
        kept_test=(a.split == "test" or a.left_out is not None) if reserved else None,
    )


def _shard_rows(shards: Sequence[ShardPlan], assignments: Sequence[Assignment]) -> Iterator[ShardRow]:
    assigned: dict[str, set[str]] = defaultdict(set)
    for a in assignments:
        if a.shard:
            assigned[a.shard].add(a.case_id)
    for s in shards:
        yield ShardRow(
            id=s.shard,
            split=s.split,
            source=s.source,
            cases=len(s.cases),
            holes=len(s.holes),
            strange_holes=len(set(s.holes) - set(s.cases)),
            repeated_cases=len(s.cases) - len(set(s.cases)),
            strange_cases=len(set(s.cases) - assigned[s.shard]),
            estimated_mb=s.estimated_bytes / 1e6,
            estimated_seconds=s.estimated_seconds,
            fingerprint=s.fingerprint,
            under_its_split=s.shard.startswith(f"{s.split}/"),
        )


def _label_table_rows(
    planned: Sequence[Case], sources: Sequence[Source], palette: Sequence[PaletteEntry]
) -> Iterator[LabelTableRow]:
    used = Counter((c.source, name) for c in planned for name in sorted({label.table for label in c.labels}))
    source_of = {s.id: s for s in sources}
    coloured = {p.structure for p in palette}
    for (source, name), cases in sorted(used.items()):
        if source not in source_of:
            continue  # judged only where the caller has the source manifests at hand
        label_table = source_of[source].labels.get(name)
        structures = label_table.annotated() if label_table else ()
        yield LabelTableRow(
            id=f"{source}/{name}",
            source=source,
            cases=cases,
            known=label_table is not None,
            structures=len(structures),
            missing_from_palette=sum(s not in coloured for s in structures),
        )
