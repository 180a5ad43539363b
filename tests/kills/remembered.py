"""Parquet worked out once: in a thousand histories of one tiny world the same few tables are written and read.

Only pure functions are remembered: rows to a table, tables to the bytes of a file, and back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

from mdfp import arrow

ENTRIES = 4000
"""Answers kept; all are forgotten when there are more."""

_answers: dict[Any, Any] = {}
_tables: dict[int, pa.Table] = {}
"""Tables that were made here, by id: they live as long as the answers, so that an id means one table."""


def _once(key: Any, work: Callable[[], Any]) -> Any:
    if key not in _answers:
        _answers[key] = work()
    answer = _answers[key]
    if isinstance(answer, pa.Table):
        _tables[id(answer)] = answer
    return answer


def forget() -> None:
    """Make room; between histories, when nobody holds on to anything."""
    if len(_answers) > ENTRIES:
        _answers.clear()
        _tables.clear()


def _bytes_of(source: Any) -> bytes | None:
    if isinstance(source, pa.BufferReader):
        return bytes(source.getvalue()) if hasattr(source, "getvalue") else bytes(source.read_buffer())
    return bytes(source.getvalue()) if hasattr(source, "getvalue") else None  # None: a file or a name


class _Writer:
    """`pq.ParquetWriter` into memory, whose bytes are made when it is closed and only once."""

    def __init__(self, sink: Any, schema: pa.Schema, **how: Any):
        self._sink, self._schema, self._how = sink, schema, how
        self._parts: list[tuple[pa.Table, int | None]] = []

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()

    def write_table(self, table: pa.Table, row_group_size: int | None = None) -> None:
        self._parts.append((table, row_group_size))

    def close(self) -> None:
        key: Any = ("writer", self._schema, tuple(self._how.items()), tuple((id(t), n) for t, n in self._parts))
        if all(id(t) in _tables for t, _ in self._parts):
            self._sink.write(_once(key, self._encode))
        else:
            self._sink.write(self._encode())

    def _encode(self) -> bytes:
        memory = pa.BufferOutputStream()
        with _ParquetWriter(memory, self._schema, **self._how) as writer:
            for table, size in self._parts:
                writer.write_table(table, row_group_size=size)
        return bytes(memory.getvalue())


class _File:
    """`pq.ParquetFile` of bytes in memory, whose row groups are decoded only once."""

    def __init__(self, data: bytes, file: pq.ParquetFile):
        self._data, self._file = data, file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read_row_group(self, number: int, *what: Any, **how: Any) -> pa.Table:
        key = ("group", self._data, number, repr(what), repr(sorted(how.items())))
        return _once(key, lambda: self._file.read_row_group(number, *what, **how))


_ParquetWriter = pq.ParquetWriter


@contextlib.contextmanager
def remembered() -> Iterator[None]:
    """While the body runs, no table is converted, encoded or decoded twice."""
    to_table, from_table = arrow.to_table, arrow.from_table
    read_table, write_table, parquet_file = pq.read_table, pq.write_table, pq.ParquetFile

    def to(record: type, rows: Iterable[Any]) -> pa.Table:
        kept = tuple(rows)
        return _once(("to", record, kept), lambda: to_table(record, kept))

    def of(record: type[Any], table: pa.Table) -> list[Any]:
        if id(table) not in _tables:
            return from_table(record, table)
        return list(_once(("of", record, id(table)), lambda: from_table(record, table)))

    def read(source: Any, **how: Any) -> pa.Table:
        data = _bytes_of(source)
        if data is None:
            return read_table(source, **how)
        return _once(("read", data, repr(sorted(how.items()))), lambda: read_table(pa.BufferReader(data), **how))

    def write(table: pa.Table, sink: Any, **how: Any) -> None:
        if not hasattr(sink, "write"):
            write_table(table, sink, **how)
            return

        def encode() -> bytes:
            memory = pa.BufferOutputStream()
            write_table(table, memory, **how)
            return bytes(memory.getvalue())

        sink.write(_once(("write", id(table), repr(how)), encode) if id(table) in _tables else encode())

    def writer(sink: Any, schema: pa.Schema, **how: Any) -> Any:
        return (_Writer if hasattr(sink, "write") else _ParquetWriter)(sink, schema, **how)

    def open_file(source: Any, **how: Any) -> Any:
        data = _bytes_of(source)
        if data is None:
            return parquet_file(source, **how)
        return _once(("file", data), lambda: _File(data, parquet_file(pa.BufferReader(data), **how)))

    with contextlib.ExitStack() as stack:
        for target, name, instead in (
            (arrow, "to_table", to),
            (arrow, "from_table", of),
            (pq, "read_table", read),
            (pq, "write_table", write),
            (pq, "ParquetFile", open_file),
            (pq, "ParquetWriter", writer),
        ):
            stack.enter_context(mock.patch.object(target, name, instead))
        try:
            yield
        finally:
            _answers.clear()
            _tables.clear()
