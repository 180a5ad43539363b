"""A plan after its cases were read: copies are left out, and what stays has their terms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from schemas.plan import ShardPlan
from schemas.reasons import Reason
from schemas.recipe import Recipe
from schemas.source import Source
from transforms.plan import inheritance, terms
from transforms.plan.duplicates import Duplicate
from transforms.plan.planner import Plan, with_shards


def revise(plan: Plan, duplicates: Sequence[Duplicate]) -> Plan:
    """The plan in which the given cases are `duplicate` holes. Only their shards get other fingerprints.

    A sample that stays takes over the terms of its copies (`transforms.plan.inheritance`), and its shard is made again
    where these are others; where they do not fit, it is a hole as well.
    """
    settled = _settled_by(plan, duplicates)
    gone = {d.case_id: (Reason.DUPLICATE, d.detail) for d in duplicates} | dict(settled.refused)
    table = plan.table
    cases = table["case_id"].to_pylist()
    lost = pc.is_in(table["case_id"], value_set=pa.array(sorted(gone), pa.string()))
    for name, of in (("left_out", 0), ("detail", 1)):
        values = pa.array([str(gone[c][of]) if c in gone else None for c in cases], pa.string())
        table = _with_column(table, name, pc.if_else(lost, values, table[name]))
    more = pa.array([settled.licenses.get(c) for c in cases], pa.string())
    table = _with_column(table, "terms", pc.coalesce(more, table["terms"]))
    doubts = tuple(dict.fromkeys((*plan.doubts, *settled.doubts)))
    revised = dataclasses.replace(plan, revision=plan.revision + 1, table=table, doubts=doubts)
    return with_shards(revised, tuple(_with_holes(s, gone) for s in plan.shards))


def _with_column(table: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(name), values)


def _settled_by(plan: Plan, duplicates: Sequence[Duplicate]) -> inheritance.Settled:
    """What the terms of copies that were found while building mean for the samples that stay, published ones aside."""
    asked = pa.array(sorted({d.case_id for d in duplicates} | {d.kept for d in duplicates}), pa.string())
    held = plan.relicensed
    found: dict[str, inheritance.Copy] = {}
    for rows in plan.rows.batches() if duplicates else ():
        some = rows.select(["case_id", "source", "license"]).filter(pc.is_in(rows["case_id"], value_set=asked))
        for case_id, source, license_id in zip(*(c.to_pylist() for c in some.columns), strict=True):
            found[case_id] = inheritance.Copy(case_id, source, held.get(case_id, license_id))
    same: dict[str, list[inheritance.Copy]] = {}
    for d in duplicates:
        if d.kept in found and d.case_id in found:
            same.setdefault(d.kept, []).append(found[d.case_id])
    recipe = Recipe.model_validate({**plan.recipe, "out": "-"})
    sources = {i: Source.model_validate(content) for i, content in plan.sources.items()}
    return inheritance.settle([found[c] for c in sorted(same)], same, terms.Compiler(recipe.terms, sources))


def _with_holes(shard: ShardPlan, gone: Mapping[str, tuple[Reason, str]]) -> ShardPlan:
    reasons = shard.hole_reasons or (Reason.DUPLICATE,) * len(shard.holes)
    before = zip(reasons, shard.hole_details, strict=True)
    known = dict(zip(shard.holes, before, strict=True)) | {c: gone[c] for c in shard.cases if c in gone}
    held = tuple(c for c in shard.cases if c in known)
    others = any(known[c][0] != Reason.DUPLICATE for c in held)
    return dataclasses.replace(
        shard,
        holes=held,
        hole_details=tuple(known[c][1] for c in held),
        hole_reasons=tuple(known[c][0] for c in held) if others else (),
    )
