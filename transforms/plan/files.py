"""A plan on disk: one JSON file to review, and tables whose row groups are the work of one shard each.

A plan's id does not depend on when local files were changed, its tables do: a folder that was copied gives the same plan
and other versions of its objects. So a folder's name holds the plan's edition too.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mdfp import arrow, canonical
from mdfp.errors import CorpusError
from mdfp.manifest import PaletteEntry, Relation
from schemas.case import Case, ObjectRecord, Reject
from schemas.plan import Assignment, ShardPlan
from transforms import commit
from transforms.plan.planner import Plan
from transforms.store import CorpusStore

_TABLES: dict[str, type] = {
    "cases": Case,
    "objects": ObjectRecord,
    "assignments": Assignment,
    "shards": ShardPlan,
    "rejects": Reject,
}
_PER_SHARD = ("cases", "objects")


LATEST = "plans/LATEST"
"""Names the folder of the plan that was made last."""


def folder(plan: Plan) -> str:
    """Folder of a plan below the corpus."""
    return f"plans/{plan.plan_id[:16]}-{plan.edition[:8]}"


def write(plan: Plan, store: CorpusStore) -> str:
    """Write a plan (nothing happens when it is there already); returns its folder."""
    base = folder(plan)
    shard_of = {a.case_id: a.shard for a in plan.assignments}
    for name, record in _TABLES.items():
        rows = getattr(plan, name)
        groups = [rows]
        if name in _PER_SHARD:
            by_shard: dict[str | None, list[Any]] = {s.shard: [] for s in plan.shards}
            for row in rows:
                by_shard[shard_of[row.case_id]].append(row)
            groups = list(by_shard.values())
        commit.create_bytes(_parquet(record, groups), store, f"{base}/{name}.parquet")
    # The header comes last: a plan without it is not there.
    commit.create_same(canonical.pretty(_header(plan)), store, f"{base}/plan.json")
    commit.replace(f"{base}\n".encode(), store, LATEST)
    return base


def _header(plan: Plan) -> dict[str, Any]:
    content = {f: getattr(plan, f) for f in plan.__dataclass_fields__ if f not in _TABLES}
    content["totals"] = {
        "cases": plan.planned,
        "shards": len(plan.shards),
        "estimated_bytes": sum(s.estimated_bytes for s in plan.shards),
        "estimated_seconds": round(sum(s.estimated_seconds for s in plan.shards), 1),
        "left_out": len(plan.left_out()),
        "rejects": len(plan.rejects),
    }
    return dict(canonical.plain(content))


def _parquet(record: type, groups: list[Any]) -> bytes:
    sink = io.BytesIO()
    schema = arrow.arrow_schema(record)
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for rows in groups:
            writer.write_table(arrow.to_table(record, rows), row_group_size=max(1, len(rows)))
    return sink.getvalue()


def latest(store: CorpusStore) -> str | None:
    """Folder of the plan that was made last, or None."""
    try:
        return store.read(LATEST).decode().strip()
    except FileNotFoundError:
        return None


def find(store: CorpusStore, plan_id: str) -> str:
    """Folder of a plan with this id: the newest, when files were copied or touched and there are several editions.

    Raises:
        CorpusError: there is none.
    """
    newest = latest(store) or ""
    found = [o.path.removesuffix("/plan.json") for o in store.list("plans") if o.path.endswith("/plan.json")]
    found = [f for f in found if f.startswith(f"plans/{plan_id[:16]}-")]
    if not found:
        raise CorpusError(f"{store.url('plans')}: the plan {plan_id[:16]} is not there; it was moved or deleted")
    return newest if newest in found else found[-1]


def read(store: CorpusStore, base: str) -> Plan:
    """A whole plan.

    Args:
        store: the corpus.
        base: the plan's folder: `folder`, `latest` or `find`.

    Raises:
        CorpusError: it is not there.
    """
    header = read_header(store, base)
    rows: dict[str, Any] = {}
    for name, record in _TABLES.items():
        table = pq.read_table(io.BytesIO(store.read(f"{base}/{name}.parquet")))
        rows[name] = tuple(arrow.from_table(record, table))
    header.pop("totals")
    header["palette"] = tuple(arrow.from_dict(PaletteEntry, e) for e in header["palette"])
    header["relations"] = tuple(arrow.from_dict(Relation, e) for e in header["relations"])
    return Plan(**header, **rows)


def read_header(store: CorpusStore, base: str) -> dict[str, Any]:
    """`plan.json` of the plan in a folder.

    Raises:
        CorpusError: it is not there.
    """
    try:
        return dict(json.loads(store.read(f"{base}/plan.json")))
    except FileNotFoundError as error:
        raise CorpusError(f"{store.url(base)}: there is no such plan; make one with the plan command") from error


@dataclass(frozen=True)
class ShardWork:
    """What a worker reads of a plan to build one shard."""

    shard: ShardPlan
    cases: tuple[Case, ...]
    objects: tuple[ObjectRecord, ...]
    assignments: tuple[Assignment, ...]


class PlanReader:
    """Reads the work of single shards; opened once in each worker."""

    def __init__(self, store: CorpusStore, base: str):
        self.header = read_header(store, base)
        self._files = {
            name: pq.ParquetFile(pa.BufferReader(store.read(f"{base}/{name}.parquet"))) for name in _PER_SHARD
        }
        shards = pq.read_table(io.BytesIO(store.read(f"{base}/shards.parquet")))
        self.shards = tuple(arrow.from_table(ShardPlan, shards))
        assignments = pq.read_table(io.BytesIO(store.read(f"{base}/assignments.parquet")))
        self._assignments = {a.case_id: a for a in arrow.from_table(Assignment, assignments)}

    def work(self, number: int) -> ShardWork:
        """The work of the shard in that row of the shard table."""
        shard = self.shards[number]
        cases = tuple(arrow.from_table(Case, self._files["cases"].read_row_group(number)))
        objects = tuple(arrow.from_table(ObjectRecord, self._files["objects"].read_row_group(number)))
        return ShardWork(shard, cases, objects, tuple(self._assignments[c] for c in shard.cases))
