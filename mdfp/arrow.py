"""Arrow schemas from frozen dataclasses: one definition of a record, in Python and on disk.

A field is written `name: Annotated[type, "what it means"]`. Types are `str`, `int`, `float`, `bool`, `bytes`, `X | None`,
`tuple[X, ...]` and other such dataclasses; the text becomes the column's `doc` metadata.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

Record = TypeVar("Record")

ON_DEMAND = "on_demand"
"""Key of a dataclass field's metadata: a column that may be null, and that a table has only where a row holds something in it.
Files of records that do not use it have the bytes that they had before there was such a field."""

_SCALARS: dict[type, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
}


def _unwrap(hint: Any) -> tuple[Any, str, bool]:
    """(bare type, doc, nullable) of a field's annotation."""
    doc = ""
    if get_origin(hint) is Annotated:
        hint, doc = get_args(hint)[:2]
    nullable = False
    if get_origin(hint) in (Union, types.UnionType):
        options = [a for a in get_args(hint) if a is not type(None)]
        if len(options) != 1 or len(get_args(hint)) != 2:
            raise TypeError(f"a column is one type or that type and None, found {hint}")
        hint, nullable = options[0], True
    return hint, doc, nullable


def _data_type(hint: Any, on_demand: bool) -> pa.DataType:
    bare, _, _ = _unwrap(hint)
    if isinstance(bare, type) and issubclass(bare, str):
        return pa.string()  # also the StrEnums
    if bare in _SCALARS:
        return _SCALARS[bare]
    if get_origin(bare) is tuple:
        item, *rest = get_args(bare)
        if rest != [Ellipsis]:
            raise TypeError(f"a list column is tuple[X, ...], found {bare}")
        return pa.list_(pa.field("item", _data_type(item, on_demand), nullable=_unwrap(item)[2]))
    if dataclasses.is_dataclass(bare):
        return pa.struct(_fields(typing.cast(type, bare), on_demand))
    raise TypeError(f"no column type for {bare}")


@cache
def _hints(record: Any) -> dict[str, Any]:
    return get_type_hints(record, include_extras=True)


def _fields(record: type, on_demand: bool) -> list[pa.Field]:
    result = []
    for field in dataclasses.fields(record):
        if ON_DEMAND in field.metadata and not on_demand:
            continue
        hint = _hints(record)[field.name]
        _, doc, nullable = _unwrap(hint)
        kind = _data_type(hint, on_demand)
        result.append(pa.field(field.name, kind, nullable=nullable, metadata={"doc": doc} if doc else None))
    return result


@cache
def arrow_schema(record: type, on_demand: bool = False) -> pa.Schema:
    """Arrow schema of a record class; each column's metadata holds its documentation under `doc`.

    Args:
        record: the class.
        on_demand: with the columns that a table has only where they are used.

    Raises:
        TypeError: a field has a type that no column can hold.
    """
    doc = (record.__doc__ or "").strip().split("\n")[0]
    return pa.schema(_fields(record, on_demand), metadata={"record": record.__name__, "doc": doc})


def to_table(record: type, rows: Iterable[Any]) -> pa.Table:
    """Rows (instances of `record`) as a table with that record's schema, order kept."""
    held = list(rows)
    used = any(_holds(row, path) for path in _on_demand(typing.cast(Any, record)) for row in held)
    return pa.Table.from_pylist([as_dict(r) for r in held], schema=arrow_schema(record, used))


@cache
def _on_demand(record: Any) -> tuple[tuple[str, ...], ...]:
    """Ways, field by field, to what a table has only where it is used."""
    found: list[tuple[str, ...]] = []
    for field in dataclasses.fields(record):
        if ON_DEMAND in field.metadata:
            found.append((field.name,))
        bare, _, _ = _unwrap(_hints(record)[field.name])
        while get_origin(bare) is tuple:
            bare, _, _ = _unwrap(get_args(bare)[0])
        if dataclasses.is_dataclass(bare):
            found += [(field.name, *rest) for rest in _on_demand(typing.cast(Any, bare))]
    return tuple(found)


def _holds(value: Any, path: tuple[str, ...]) -> bool:
    """Whether anything stands at the end of a way, through every item of the lists on it."""
    if isinstance(value, tuple):
        return any(_holds(item, path) for item in value)
    if not path:
        return value is not None
    return value is not None and _holds(getattr(value, path[0]), path[1:])


def as_dict(row: Any) -> dict[str, Any]:
    """A record as nested dicts and lists (like `dataclasses.asdict`, several times faster)."""
    return {f: _plain(getattr(row, f)) for f in _names(typing.cast(Any, type(row)))}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return as_dict(value) if dataclasses.is_dataclass(value) else value


@cache
def _names(record: Any) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(record))


def from_table(record: type[Record], table: pa.Table) -> list[Record]:
    """Rows of a table as records. Columns the record does not know are ignored; absent ones take its defaults."""
    return [from_dict(record, row) for row in table.to_pylist()]


def from_dict(record: type[Record], row: dict[str, Any]) -> Record:
    """A record from nested dicts and lists, as parquet and JSON give them.

    Raises:
        TypeError: a field without a default is missing.
    """
    hints = _hints(typing.cast(Any, record))
    late = _late(typing.cast(Any, record))
    values = {
        name: _restore(hints[name], row[name])
        for name in hints
        if name in row and not (row[name] is None and name in late)
    }
    return record(**values)


@cache
def _late(record: Any) -> frozenset[str]:
    """Fields with a default that are never null: null in a table joined from files of which some lack the column."""
    fields = (f for f in dataclasses.fields(record) if f.default is not dataclasses.MISSING)
    return frozenset(f.name for f in fields if not _unwrap(_hints(record)[f.name])[2])


def _restore(hint: Any, value: Any) -> Any:
    bare, _, _ = _unwrap(hint)
    if value is None:
        return None
    if get_origin(bare) is tuple:
        item = get_args(bare)[0]
        return tuple(_restore(item, v) for v in value)
    if dataclasses.is_dataclass(bare):
        return from_dict(typing.cast(type, bare), value)
    if bare is float:
        return float(value)
    if isinstance(bare, type) and issubclass(bare, str) and bare is not str:
        return bare(value)
    return value


def undocumented(record: type, path: str = "") -> Sequence[str]:
    """Dotted names of the fields, nested ones included, that say nothing about themselves."""
    missing: list[str] = []
    for name in _names(record):
        bare, doc, _ = _unwrap(_hints(record)[name])
        if not doc:
            missing.append(f"{path}{record.__name__}.{name}")
        while get_origin(bare) is tuple:
            bare = _unwrap(get_args(bare)[0])[0]
        if dataclasses.is_dataclass(bare):
            missing.extend(undocumented(typing.cast(type, bare), f"{path}{record.__name__}.{name}: "))
    return missing
