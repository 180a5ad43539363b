"""A plan on disk: one JSON file to review, tables of its cases and shards, and files whose batches are a shard's work.

    plan.json          the header: what is built, after what, and totals
    cases.parquet      a row for each case of the inventory: where it goes, or why it is left out
    shards.parquet     a row for each shard
    rejects.parquet    what the inventory left out
    work/00000.arrow.zst   the cases and objects of shards 0 to 15, a record batch each; 00001: of 16 to 31; and so on

A plan's id does not depend on when local files were changed, its tables do: a folder that was copied gives the same plan
and other versions of its objects. So a folder's name holds the plan's edition too.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mdfp import arrow, canonical
from mdfp.errors import CorpusError
from mdfp.fusion import Fusion
from mdfp.manifest import PaletteEntry, Relation
from schemas.case import Case, ObjectRecord, Reject
from schemas.plan import Assignment, PlannedCase, ShardPlan
from schemas.reasons import Reason
from transforms import commit
from transforms.plan import work
from transforms.plan.inventory import records_of
from transforms.plan.planner import Plan
from transforms.store import CorpusStore

_APART = ("table", "shards", "rejects", "rows")
"""Parts of a plan that are not in its header."""

LATEST = "plans/LATEST"
"""Names the folder of the plan that was made last."""


def folder(plan: Plan) -> str:
    """Folder of a plan below the corpus."""
    return f"plans/{plan.plan_id[:16]}-{plan.edition[:8]}"


def write(plan: Plan, store: CorpusStore) -> str:
    """Write a plan (nothing happens when it is there already); returns its folder."""
    base = folder(plan)
    if not store.exists(f"{base}/plan.json"):
        if isinstance(plan.rows, WorkFolder) and not plan.relicensed:
            for number in range(work.file_count(len(plan.shards))):
                data = plan.rows.store.read(work.file_path(plan.rows.base, number))
                commit.create_bytes(data, store, work.file_path(base, number))
        else:
            work.write(plan, store, base)
        commit.create_bytes(_parquet(plan.table), store, f"{base}/cases.parquet")
        commit.create_bytes(_parquet(arrow.to_table(ShardPlan, plan.shards)), store, f"{base}/shards.parquet")
        commit.create_bytes(_parquet(arrow.to_table(Reject, plan.rejects)), store, f"{base}/rejects.parquet")
    # The header comes last: a plan without it is not there.
    commit.create_same(canonical.pretty(_header(plan)), store, f"{base}/plan.json")
    commit.replace(f"{base}\n".encode(), store, LATEST)
    return base


def _header(plan: Plan) -> dict[str, Any]:
    content = {f: getattr(plan, f) for f in plan.__dataclass_fields__ if f not in _APART}
    content["totals"] = {
        "cases": plan.planned,
        "shards": len(plan.shards),
        "objects": pc.sum(plan.placed["object_count"]).as_py() or 0,
        "object_bytes": pc.sum(plan.placed["object_bytes"]).as_py() or 0,
        "estimated_bytes": sum(s.estimated_bytes for s in plan.shards),
        "estimated_seconds": round(sum(s.estimated_seconds for s in plan.shards), 1),
        "left_out": plan.table.num_rows - plan.placed.num_rows,
        "rejects": len(plan.rejects),
    }
    return dict(canonical.plain(content))


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def latest(store: CorpusStore) -> str | None:
    """Folder of the plan that was made last, or None."""
    try:
        return store.read(LATEST).decode().strip()
    except FileNotFoundError:
        return None


def editions(store: CorpusStore, plan_id: str) -> tuple[str, ...]:
    """Folders of all plans with this id, the newest first: files that were copied or touched, or other code, make another.

    Raises:
        CorpusError: there is none.
    """
    newest = latest(store) or ""
    found = [o.path.removesuffix("/plan.json") for o in store.list("plans") if o.path.endswith("/plan.json")]
    found = [f for f in reversed(found) if f.startswith(f"plans/{plan_id[:16]}-")]
    if not found:
        raise CorpusError(f"{store.url('plans')}: the plan {plan_id[:16]} is not there; it was moved or deleted")
    return tuple(sorted(found, key=lambda f: f != newest))


def find(store: CorpusStore, plan_id: str) -> str:
    """Folder of the newest plan with this id, see `editions`.

    Raises:
        CorpusError: there is none.
    """
    return editions(store, plan_id)[0]


def read(store: CorpusStore, base: str) -> Plan:
    """A whole plan.

    Args:
        store: the corpus.
        base: the plan's folder: `folder`, `latest` or `find`.

    Raises:
        CorpusError: it is not there.
    """
    header = read_header(store, base)
    header.pop("totals")
    header["palette"] = tuple(arrow.from_dict(PaletteEntry, e) for e in header["palette"])
    header["relations"] = tuple(arrow.from_dict(Relation, e) for e in header["relations"])
    table = _whole(_table(store, f"{base}/cases.parquet"))
    shards = tuple(arrow.from_table(ShardPlan, _table(store, f"{base}/shards.parquet")))
    rejects = tuple(arrow.from_table(Reject, _table(store, f"{base}/rejects.parquet")))
    rows = WorkFolder(store, base, len(shards))
    if header.get("fusion") is not None:
        header["fusion"] = arrow.from_dict(Fusion, header["fusion"])
    header["doubts"] = tuple(header.get("doubts", ()))
    return Plan(**header, table=table, shards=shards, rejects=rejects, rows=rows)


def _whole(table: pa.Table) -> pa.Table:
    """A table of planned cases with all columns: older plans have fewer, and nothing in those."""
    schema = arrow.arrow_schema(PlannedCase)
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(schema.names).cast(schema)


def _table(store: CorpusStore, path: str) -> pa.Table:
    return pq.read_table(pa.BufferReader(store.read(path)))


@dataclass(frozen=True)
class WorkFolder:
    """The whole rows of a plan's cases, where a plan lies.

    Attributes:
        store: the corpus.
        base: the plan's folder.
        shards: how many it has.
    """

    store: CorpusStore
    base: str
    shards: int

    def batches(self) -> Iterator[pa.Table]:
        """Rows with the columns of a `WorkRow`, a file at a time, in the order of the shards."""
        for number in range(work.file_count(self.shards)):
            yield work.open_file(self.store.read(work.file_path(self.base, number))).read_all()


def planned_objects(store: CorpusStore, base: str) -> pa.Table:
    """The objects of all planned cases: case_id, source, and the columns of a `CaseObject`, a row each.

    Raises:
        CorpusError: there is no such plan.
    """
    count = pq.ParquetFile(pa.BufferReader(_shards_bytes(store, base))).metadata.num_rows
    tables = []
    for rows in WorkFolder(store, base, count).batches():
        objects = rows["objects"].combine_chunks()
        parent = pc.list_parent_indices(objects)
        flat = pa.Table.from_struct_array(pc.list_flatten(objects))
        for name in ("source", "case_id"):
            flat = flat.add_column(0, name, rows[name].take(parent))
        tables.append(flat)
    if tables:
        return pa.concat_tables(tables)
    return arrow.to_table(ObjectRecord, [])


def _shards_bytes(store: CorpusStore, base: str) -> bytes:
    try:
        return store.read(f"{base}/shards.parquet")
    except FileNotFoundError as error:
        raise CorpusError(f"{store.url(base)}: there is no such plan; make one with the plan command") from error


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
    """Reads the work of single shards; opened once in each worker. It holds the list of shards and one file of work."""

    def __init__(self, store: CorpusStore, base: str):
        self.header = read_header(store, base)
        self._store, self._base = store, base
        self._shards = pq.read_table(pa.BufferReader(_shards_bytes(store, base)))
        self._open: tuple[int, Any] | None = None

    @property
    def shards(self) -> tuple[ShardPlan, ...]:
        """All shards, in order."""
        return tuple(arrow.from_table(ShardPlan, self._shards))

    def work(self, number: int) -> ShardWork:
        """The work of the shard in that row of the shard table."""
        (shard,) = arrow.from_table(ShardPlan, self._shards.slice(number, 1))
        batch = self._file(number // work.SHARDS_PER_FILE).get_batch(number % work.SHARDS_PER_FILE)
        rows = pa.Table.from_batches([batch])
        records = list(records_of(rows))
        holes = dict(zip(shard.holes, shard.hole_details, strict=True))
        reasons = dict(zip(shard.holes, shard.hole_reasons, strict=False))
        assignments = tuple(
            Assignment(
                case_id=case.case_id,
                source=case.source,
                split=shard.split,
                fold=fold,
                group=group,
                shard=shard.shard,
                position=position,
                left_out=reasons.get(case.case_id, Reason.DUPLICATE) if case.case_id in holes else None,
                detail=holes.get(case.case_id, ""),
            )
            for position, ((case, _), group, fold) in enumerate(
                zip(records, rows["group"].to_pylist(), rows["fold"].to_pylist(), strict=True)
            )
        )
        objects = tuple(o for _, those in records for o in those)
        return ShardWork(shard, tuple(case for case, _ in records), objects, assignments)

    def _file(self, number: int) -> Any:
        if self._open is None or self._open[0] != number:
            data = self._store.read(work.file_path(self._base, number))
            self._open = number, work.open_file(data)
        return self._open[1]
