"""The index of a corpus: one row a sample, kept as an arrow table and turned into records on demand."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mdfp import arrow, canonical
from mdfp.errors import CorpusError, UsageError
from mdfp.labels import State
from mdfp.manifest import Manifest
from mdfp.sample import Sample
from mdfp.store import CorpusStore

RECORDS_KEPT = 4096
"""Records kept in memory once made; one of a sample with a hundred structures takes about 50 kB."""

Wanted = str | Collection[str] | None
"""One value, several, or None for any."""


def read(store: CorpusStore, manifest: Manifest) -> pa.Table:
    """Rows of all generations whose shard the manifest names.

    Raises:
        CorpusError: an index file is missing, unreadable or has another number of rows than the manifest says.
    """
    tables = []
    for entry in manifest.indexes:
        table = read_one(store, entry.path)
        if table.num_rows != entry.rows:
            raise CorpusError(
                f"{store.where(entry.path)}: expected {entry.rows} rows as manifest {manifest.number} says, "
                f"found {table.num_rows}"
            )
        tables.append(table)
    if not tables:
        return arrow.to_table(Sample, [])
    # An earlier generation may lack columns that were added since.
    table = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    named = pa.array([s.path for s in manifest.shards], pa.string())
    return table.filter(pc.is_in(table["shard"], value_set=named))


def read_one(store: CorpusStore, path: str) -> pa.Table:
    """Rows of one index file, all of them.

    Raises:
        CorpusError: missing or unreadable.
    """
    try:
        return pq.read_table(pa.BufferReader(store.read(path)))
    except FileNotFoundError as error:
        raise CorpusError(f"{store.where(path)}: named by the manifest and not there") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise CorpusError(f"{store.where(path)}: expected a parquet file, found something else ({error})") from error


def rows_digest(rows: Iterable[Sample]) -> str:
    """sha256 of the rows' canonical JSON, a line each: equal for equal rows, whatever wrote the file."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(canonical.dumps(row) + b"\n")
    return digest.hexdigest()


def digest_of_shards(digests: Iterable[str]) -> str:
    """Digest of an index file from those of its shards' rows, in order: no row is needed to make it."""
    return hashlib.sha256("".join(f"{d}\n" for d in digests).encode()).hexdigest()


def file_digest(rows: Iterable[Sample], digest_of: str) -> str:
    """What `IndexEntry.rows_sha256` must be for a file of these rows."""
    if digest_of == "rows":
        return rows_digest(rows)
    return digest_of_shards(rows_digest(those) for _, those in itertools.groupby(rows, key=lambda r: r.shard))


class Samples(Sequence[Sample]):
    """Samples of a corpus, or those that a filter left: a lazy sequence of records.

    Example:
        liver = corpus.samples.where(split="train", modality="CT", states={"liver": "present"})
        len(liver), liver[0].key
    """

    def __init__(self, table: pa.Table, rows: npt.NDArray[np.int64] | None = None):
        self.table = table
        """The whole index; `rows` says which of it belong here."""
        self.rows = np.arange(table.num_rows, dtype=np.int64) if rows is None else rows
        """Row numbers in `table`, in order."""
        self._record = lru_cache(maxsize=RECORDS_KEPT)(self._make)

    def __reduce__(self) -> tuple[type[Samples], tuple[pa.Table, npt.NDArray[np.int64]]]:
        return Samples, (self.table, self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Samples: ...
    def __getitem__(self, index: int | slice) -> Sample | Samples:
        if isinstance(index, slice):
            return Samples(self.table, self.rows[index])
        return self._record(int(self.rows[index]))

    def __iter__(self) -> Iterator[Sample]:
        for row in self.rows:
            yield self._record(int(row))

    def record(self, row: int) -> Sample:
        """The record at a row of the whole index."""
        return self._record(row)

    def _make(self, row: int) -> Sample:
        return arrow.from_dict(Sample, self.table.slice(row, 1).to_pylist()[0])

    @property
    def keys(self) -> list[str]:
        """Keys, in order, without making records."""
        return [str(k) for k in self.column("key").to_pylist()]

    def column(self, name: str) -> pa.ChunkedArray:
        """One column for these samples."""
        rows: Any = pa.array(self.rows)
        return self.table[name].take(rows)

    def where(
        self,
        *,
        split: Wanted = None,
        source: Wanted = None,
        modality: Wanted = None,
        key: Wanted = None,
        states: Mapping[str, State | str | Collection[State | str]] | None = None,
        findings: Mapping[str, State | str | Collection[State | str]] | None = None,
        classes: Mapping[str, str | Collection[str]] | None = None,
    ) -> Samples:
        """The samples that meet every condition, in the same order.

        Args:
            split: train, val or test.
            source: ids of sources.
            modality: DICOM modality of any of a sample's images.
            key: keys of samples.
            states: for each structure the state, or states, it may have. A structure that a sample's generation did
                not know is `unknown` in it.
            findings: the same for each finding that annotations speak of; nobody said is `unknown`.
            classes: for each classification the class, or classes, it may say: {"diagnosis": "nevus"}.

        Raises:
            UsageError: a word that is no state.
        """
        keep = np.ones(self.table.num_rows, dtype=bool)
        for name, wanted in (("split", split), ("source", source), ("key", key)):
            if wanted is not None:
                keep &= _true(pc.is_in(self.table[name], value_set=pa.array(_several(wanted), pa.string())))
        if modality is not None:
            keep &= self._any_in_list("modalities", _several(modality))
        for structure, wanted_states in (states or {}).items():
            keep &= self._in_state("structures", "structure", structure, wanted_states)
        for finding, wanted_states in (findings or {}).items():
            keep &= self._in_state("annotations", "name", finding, wanted_states)
        for what, wanted_classes in (classes or {}).items():
            keep &= self._of_class(what, _several(wanted_classes))
        return Samples(self.table, self.rows[keep[self.rows]])

    def _any_in_list(self, name: str, wanted: list[str]) -> npt.NDArray[np.bool_]:
        lists = self.table[name].combine_chunks()
        hit = _true(pc.is_in(pc.list_flatten(lists), value_set=pa.array(wanted, pa.string())))
        result = np.zeros(self.table.num_rows, dtype=bool)
        result[np.asarray(pc.list_parent_indices(lists))[hit]] = True
        return result

    def _of_class(self, what: str, wanted: list[str]) -> npt.NDArray[np.bool_]:
        lists = self.table["annotations"].combine_chunks()
        flat, parents = pc.list_flatten(lists), np.asarray(pc.list_parent_indices(lists))
        hit = np.ones(len(flat), dtype=bool)
        for field, values in (("kind", ["class"]), ("name", [what]), ("value", wanted), ("state", [State.PRESENT])):
            hit &= _true(pc.is_in(pc.struct_field(flat, field), value_set=pa.array(_several(values), pa.string())))
        result = np.zeros(self.table.num_rows, dtype=bool)
        result[parents[hit]] = True
        return result

    def _in_state(
        self, column: str, field: str, what: str, wanted: State | str | Collection[State | str]
    ) -> npt.NDArray[np.bool_]:
        names = _several(wanted)
        if strange := [n for n in names if n not in set(State)]:
            raise UsageError(f"states of {what}: expected some of {[str(s) for s in State]}, found {strange}")
        lists = self.table[column].combine_chunks()
        flat, parents = pc.list_flatten(lists), np.asarray(pc.list_parent_indices(lists))
        about = _true(pc.is_in(pc.struct_field(flat, field), value_set=pa.array([what], pa.string())))
        if column == "annotations":
            about &= _true(pc.is_in(pc.struct_field(flat, "kind"), value_set=pa.array(["class"], pa.string())))
        hit = about & _true(pc.is_in(pc.struct_field(flat, "state"), value_set=pa.array(names, pa.string())))
        result = np.zeros(self.table.num_rows, dtype=bool)
        if State.UNKNOWN in names:
            result[:] = True
            result[parents[about]] = False
        result[parents[hit]] = True
        return result


def _several(wanted: str | Collection[str]) -> list[str]:
    return [str(wanted)] if isinstance(wanted, str) else [str(w) for w in wanted]


def _true(mask: Any) -> npt.NDArray[np.bool_]:
    return np.asarray(mask, dtype=bool)
