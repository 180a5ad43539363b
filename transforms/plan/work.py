"""Whole rows of cases, moved from the inventory's order into the plan's: files whose batches are one shard's work each.

A file is an Arrow file of a record batch a shard, compressed as a whole. Parquet took 3 ms a row group to write, for some
seventy columns with pages of their own, and a plan has tens of thousands of shards.

Rows pass through memory a bucket at a time. Each part of the inventory is read once and cut into buckets of neighbouring
shards on local scratch; then each bucket is put in order and written.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mdfp import arrow
from schemas.inventory import WorkRow
from transforms import commit
from transforms.rows import compress
from transforms.store import CorpusStore

if TYPE_CHECKING:
    from transforms.plan.planner import Plan

SHARDS_PER_FILE = 16
"""Shards whose work shares a file: a worker reads one such file for each shard it builds, a few MB."""

BUCKET_OBJECTS = 500_000
"""Objects of the cases that are in memory at a time, about: 100 bytes each, twice while they are put in order."""

BUCKET_CASES = 15_000
"""Cases in memory at a time, about: their headers take up to 2 kB each."""

WRITERS = 2
"""Buckets that are put in order and written at a time."""


def file_path(base: str, number: int) -> str:
    """Where a file of a plan's work lies below the corpus."""
    return f"{base}/work/{number:05d}.arrow.zst"


def file_count(shards: int) -> int:
    """Files of the work of so many shards."""
    return -(-shards // SHARDS_PER_FILE)


def write(plan: Plan, store: CorpusStore, base: str) -> None:
    """Write the work of all shards of a plan from the rows it was made of."""
    if not plan.shards:
        return
    placed = plan.placed
    sizes = np.array([len(s.cases) for s in plan.shards], np.int64)
    first = np.concatenate([[0], np.cumsum(sizes)])
    objects = placed["object_count"].to_numpy().astype(np.int64)
    buckets = _buckets(first, np.concatenate([[0], np.cumsum(objects)]))
    place = _places(plan, placed)
    with tempfile.TemporaryDirectory(prefix="mdfp-plan-") as scratch:
        _cut(plan, place, first[buckets], Path(scratch))

        def finish(bucket: int) -> None:
            start, stop = buckets[bucket], buckets[bucket + 1]
            rows = _in_order(Path(scratch) / str(bucket))
            if plan.image_only:
                empty = pa.array([[]] * rows.num_rows, rows.schema.field("labels").type)
                rows = rows.set_column(rows.schema.get_field_index("labels"), rows.schema.field("labels"), empty)
            part = placed.slice(int(first[start]), rows.num_rows)
            rows = _licensed(rows, part["terms"])
            columns = [part[f.name] if f.name in ("group", "fold") else rows[f.name] for f in _schema()]
            table = pa.Table.from_arrays(columns, schema=_schema())
            for at in range(start, stop, SHARDS_PER_FILE):
                shards = range(at, min(stop, at + SHARDS_PER_FILE))
                groups = [(int(first[n] - first[start]), int(sizes[n])) for n in shards]
                commit.create_bytes(_file(table, groups), store, file_path(base, at // SHARDS_PER_FILE))

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(finish, range(len(buckets) - 1)))


def _licensed(rows: pa.Table, terms: pa.ChunkedArray) -> pa.Table:
    """Rows whose licence is that of the sample to be."""
    if terms.null_count == len(terms):
        return rows
    at = rows.schema.get_field_index("license")
    return rows.set_column(at, rows.schema.field("license"), pc.coalesce(terms, rows["license"]))


def _schema() -> pa.Schema:
    return arrow.arrow_schema(WorkRow)


def _buckets(first_case: npt.NDArray[np.int64], objects_before: npt.NDArray[np.int64]) -> list[int]:
    """Numbers of the shards at which buckets begin, and the number of shards at the end; whole files always."""
    shards = len(first_case) - 1
    result = [0]
    for at in range(SHARDS_PER_FILE, shards, SHARDS_PER_FILE):
        cases = first_case[min(shards, at + SHARDS_PER_FILE)] - first_case[result[-1]]
        objects = objects_before[first_case[min(shards, at + SHARDS_PER_FILE)]] - objects_before[first_case[result[-1]]]
        if cases > BUCKET_CASES or objects > BUCKET_OBJECTS:
            result.append(at)
    return [*result, shards]


def _places(plan: Plan, placed: pa.Table) -> dict[str, int]:
    """Place of each planned case in the order of the shards."""
    return {case_id: n for n, case_id in enumerate(placed["case_id"].to_pylist())}


def _cut(plan: Plan, place: dict[str, int], first: npt.NDArray[np.int64], scratch: Path) -> None:
    """Cut all rows into buckets. Row `first[b]` of the plan is the first of bucket b."""
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with ExitStack() as stack:
        writers: dict[int, pa.RecordBatchWriter] = {}
        for rows in _chunks(plan.rows.batches()):
            at = np.array([place.get(c, -1) for c in rows["case_id"].to_pylist()], np.int64)
            order = np.argsort(at, kind="stable")
            order = order[np.searchsorted(at[order], 0) :]
            rows = rows.append_column("place", pa.array(at)).combine_chunks().take(pa.array(order))
            cuts = np.searchsorted(at[order], first)
            for bucket, (start, stop) in enumerate(itertools.pairwise(cuts)):
                if stop > start:
                    if bucket not in writers:
                        path = str(scratch / str(bucket))
                        writers[bucket] = stack.enter_context(pa.ipc.new_stream(path, rows.schema, options=options))
                    writers[bucket].write_table(rows.slice(start, stop - start))


def _chunks(batches: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The planned columns of the rows, in tables of up to about `BUCKET_OBJECTS / 2` objects, so that cuts are few."""
    names = [f.name for f in _schema() if f.name not in ("group", "fold")]
    held: list[pa.Table] = []
    count = 0
    for table in batches:
        held.append(table.select(names))
        count += sum(len(chunk.values) for chunk in table["objects"].chunks) + table.num_rows
        if count > BUCKET_OBJECTS // 2:
            yield pa.concat_tables(held)
            held, count = [], 0
    if held:
        yield pa.concat_tables(held)


def _in_order(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
        rows = reader.read_all()
    order = np.argsort(rows["place"].to_numpy(), kind="stable")
    return rows.drop_columns(["place"]).combine_chunks().take(pa.array(order))


def _file(table: pa.Table, groups: Sequence[tuple[int, int]]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        for start, count in groups:
            # Taken, not sliced: a slice carries its offsets, and equal rows would be other bytes.
            rows = table.take(pa.array(np.arange(start, start + count)))
            writer.write_batch(rows.combine_chunks().to_batches()[0])
    return compress(sink.getvalue())


def open_file(data: bytes) -> pa.RecordBatchFileReader:
    """A file of work, open: `get_batch(n)` is the n-th shard's."""
    return pa.ipc.open_file(pa.CompressedInputStream(pa.BufferReader(data), "zstd").read())
