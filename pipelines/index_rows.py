"""The index rows of a corpus on their way through publish: a chunk at a time, read ahead, never all of them in memory."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mdfp import arrow
from mdfp.manifest import IndexEntry
from mdfp.sample import Sample
from schemas.plan import Marker
from transforms import commit
from transforms.plan.published import Published
from transforms.publish import index_entry
from transforms.rows import read_rows
from transforms.store import CorpusStore

CHUNK_ROWS = 20_000
"""Samples in memory at a time, about, and rows of an index file: of twenty structures each they take 150 MB."""

READERS = 8
"""Rows of shards that are read at a time: on an object store each is a request."""

ROW_GROUP = 5_000
"""Rows of a row group of an index file."""


@dataclass(frozen=True)
class Chunk:
    """Some rows: those of an index file of an earlier generation, or of some shards of this one.

    Attributes:
        pieces: read its rows, a shard or file each.
        entry: the index file that it becomes; None for one that is there.
    """

    pieces: tuple[Callable[[], pa.Table], ...]
    entry: IndexEntry | None


@dataclass
class Passed:
    """What is remembered of rows that passed: where each key is to be found again."""

    pieces: list[tuple[Callable[[], pa.Table], pa.Array]] = field(default_factory=list)
    patients: dict[str, set[str]] = field(default_factory=dict)

    def add(self, chunk: Chunk, rows: Sequence[int], keys: pa.ChunkedArray) -> None:
        """Remember the keys of a chunk whose pieces have so many rows."""
        # Copied: a column that was read is a view of its whole file, and would keep that in memory.
        copied = keys.combine_chunks().take(pa.array(np.arange(len(keys))))
        start = 0
        for read, count in zip(chunk.pieces, rows, strict=True):
            self.pieces.append((read, copied.slice(start, count)))
            start += count

    def find(self, keys: Collection[str]) -> list[Sample]:
        """The samples of these keys, read again."""
        wanted = pa.array(sorted(keys), pa.string())
        found: list[Sample] = []
        for read, held in self.pieces:
            if pc.any(pc.is_in(held, value_set=wanted)).as_py():
                table = read()
                found += arrow.from_table(Sample, table.filter(pc.is_in(table["key"], value_set=wanted)))
        return found

    def patients_of_splits(self) -> Counter[str]:
        """Patients of each split."""
        return Counter({split: len(those) for split, those in self.patients.items()})


def each(store: CorpusStore, markers: Iterable[Marker], columns: Sequence[str]) -> Iterator[pa.Table]:
    """These columns of the rows of each shard, in order; some shards are read at a time."""
    with ThreadPoolExecutor(READERS) as pool:
        todo = iter([m for m in markers if m.rows is not None])
        while group := list(itertools.islice(todo, 8 * READERS)):
            yield from pool.map(lambda m: read_rows(store, m, columns), group)


def chunks(store: CorpusStore, number: int, markers: Sequence[Marker], published: Published | None) -> list[Chunk]:
    """The rows of all generations in chunks: earlier ones first, then these markers', whole shards always.

    Args:
        store: the corpus.
        number: of the generation that is published.
        markers: of its shards, in the plan's order.
        published: earlier generations.
    """
    result = [Chunk((part,), None) for part in (published.parts() if published else [])]
    held: list[Marker] = []
    groups: list[list[Marker]] = []
    for marker in markers:
        if marker.rows is None:
            continue
        if held and sum(m.samples for m in held) + marker.samples > CHUNK_ROWS:
            groups.append(held)
            held = []
        held.append(marker)
    # A generation without samples has an index file too: one without rows.
    if held or (not groups and number):
        groups.append(held)
    for group in groups:
        pieces = tuple(partial(read_rows, store, m) for m in group)
        result.append(Chunk(pieces, index_entry(number, group)))
    return result


def walk(todo: Sequence[Chunk], passed: Passed, scratch: Path | None) -> Iterator[pa.Table]:
    """The rows of each chunk, one after the other; the next is read while the caller works on the present one.

    Args:
        todo: what to read.
        passed: filled on the way.
        scratch: where index files are written meanwhile, each under the name of its entry; None: they are not.
    """
    with ThreadPoolExecutor(READERS) as readers, ThreadPoolExecutor(2) as others:
        upcoming: Future[list[pa.Table]] | None = None
        writing: Future[None] | None = None
        for number, chunk in enumerate(todo):
            tables = (upcoming or others.submit(_read, chunk, readers)).result()
            upcoming = others.submit(_read, todo[number + 1], readers) if number + 1 < len(todo) else None
            empty = arrow.to_table(Sample, [])
            table = pa.concat_tables([empty, *tables], promote_options="permissive").combine_chunks()
            passed.add(chunk, [t.num_rows for t in tables], table["key"])
            del tables
            for split in pc.unique(table["split"]).to_pylist():
                those = pc.unique(table.filter(pc.equal(table["split"], split))["patient"]).to_pylist()
                passed.patients.setdefault(split, set()).update(those)
            if writing is not None:
                writing.result()
            if chunk.entry is not None and scratch is not None:
                writing = others.submit(_write, table, scratch / Path(chunk.entry.path).name)
            yield table
        if writing is not None:
            writing.result()


def _read(chunk: Chunk, readers: ThreadPoolExecutor) -> list[pa.Table]:
    return list(readers.map(lambda read: read(), chunk.pieces))


def _write(table: pa.Table, file: Path) -> None:
    pq.write_table(table, file, compression="zstd", row_group_size=ROW_GROUP)


def create(todo: Sequence[Chunk], scratch: Path, store: CorpusStore) -> None:
    """Put the index files that `walk` wrote into the corpus."""
    for chunk in todo:
        if chunk.entry is not None:
            commit.create_file(scratch / Path(chunk.entry.path).name, store, chunk.entry.path)
