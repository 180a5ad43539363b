"""Rows of the tables that a `table` layout names: one file or several of one form, CSV, TSV or Parquet, some of them gzip."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence

from mdfp.errors import UsageError
from schemas import patterns
from schemas.suggest import nearest
from schemas.table_layout import (
    SplitLists,
    TableBoxes,
    TableClass,
    TableFields,
    TableFindings,
    TableLayout,
    TableList,
    TableMeasurement,
    TablePoints,
    columns_of,
)
from transforms.layouts.registry import Read
from transforms.layouts.tables import parse_table
from transforms.read import isolated
from transforms.rejected import Rejected
from transforms.store import ListedObject

Row = dict[str, str]

MAX_TABLE_BYTES = 4 * 2**30
"""A gzip that holds more is no table of a data set."""


def read_tables(
    layout: TableLayout, patient: Sequence[str], listing: Sequence[ListedObject], read: Read
) -> dict[str, list[Row]]:
    """Rows of the layout's table and of those joined to it, by the path that the manifest gives, with the columns it names.

    Args:
        layout: of the manifest.
        patient: columns that the patient's id is made of.
        listing: all objects of the source, for tables that are several files.
        read: gives the bytes of a file.

    Raises:
        UsageError: a table is missing, cannot be read, or lacks a column that the manifest names.
    """
    wanted = _wanted(layout, patient)
    result = {}
    for path, columns in wanted.items():
        rows: list[Row] = []
        for file in files_of(path, listing):
            rows += _rows(file, path, columns, layout.fields, read)
        result[path] = rows
    return result


def files_of(path: str, listing: Sequence[ListedObject]) -> tuple[str, ...]:
    """Files of a table: itself, or all that its pattern matches, sorted.

    Raises:
        UsageError: no file matches the pattern.
    """
    if not _several(path):
        return (path,)
    found = tuple(sorted(o.path for o in listing if patterns.match(path, o.path) is not None))
    if not found:
        raise UsageError(f"the manifest names tables {path!r} below the root, found none")
    return found


def split_of(lists: SplitLists | None, read: Read) -> dict[str, str]:
    """What lists of splits name -> its split.

    Raises:
        UsageError: a list is missing or not text; two lists name the same.
    """
    result: dict[str, str] = {}
    for split, path in lists.files.items() if lists else ():
        try:
            lines = _bytes(path, read).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: expected a list in UTF-8, a line each, found other bytes") from error
        for name in filter(None, map(str.strip, lines)):
            if result.setdefault(name, split) != split:
                raise UsageError(f"{path}: lists what the list of {result[name]} has too; expected each in one split")
    return result


def _several(path: str) -> bool:
    return bool(patterns.fields(path)) or "*" in path


def _wanted(layout: TableLayout, patient: Sequence[str]) -> dict[str, set[str]]:
    """Columns that the manifest names, by table."""
    key = set(columns_of(layout.case_template))
    wanted: dict[str, set[str]] = {layout.path: key | set(patient)}
    own = wanted[layout.path]
    for image in layout.images:
        own |= set(columns_of(image.file))
    for label in layout.labels:
        own |= {c for _, template in label.templates for c in columns_of(template)}
    for text in layout.texts:
        wanted.setdefault(text.table or layout.path, set(key)).update(
            [text.column] if text.column else columns_of(text.file or "")
        )
    for cell in (layout.split, layout.sex, layout.age, layout.site):
        if cell is not None:
            wanted.setdefault(cell.table or layout.path, set(key)).add(cell.column)
    if layout.split_lists is not None:
        own.add(layout.split_lists.column)
    for entry in (*layout.classes, *layout.findings, *layout.boxes, *layout.points, *layout.measurements):
        wanted.setdefault(entry.table or layout.path, set(key)).update(_columns(entry))
    return wanted


def _columns(entry: object) -> set[str]:
    if isinstance(entry, TableFindings):
        return {*entry.columns, *entry.named}
    if isinstance(entry, TableBoxes):
        return {*entry.corner, *(entry.size or ()), *(entry.opposite or ()), *([entry.column] if entry.column else [])}
    if isinstance(entry, TablePoints):
        return {*entry.at, *([entry.column] if entry.column else [])}
    assert isinstance(entry, (TableClass, TableList, TableMeasurement))
    return {entry.column}


def _rows(file: str, path: str, columns: set[str], taken: Sequence[TableFields], read: Read) -> list[Row]:
    """Rows of one file, with what its own path and the texts of its columns say."""
    told = (patterns.match(path, file) or {}) if _several(path) else {}
    asked = [f for f in taken if columns & set(patterns.fields(f.pattern))]
    inner = {name for f in asked for name in patterns.fields(f.pattern)}
    written = columns - set(told) - inner | {f.column for f in asked if f.column not in told}
    rows = _parsed(file, sorted(written), read)
    for row in rows:
        row.update(told)
        for f in asked:
            row.update(patterns.match(f.pattern, row[f.column]) or dict.fromkeys(patterns.fields(f.pattern), ""))
    return rows


def _parsed(path: str, wanted: Sequence[str], read: Read) -> list[Row]:
    data = _bytes(path, read)
    if not path.lower().endswith(".parquet"):
        return parse_table(path, data, wanted)
    try:
        told = isolated.run("transforms.read.decoders:parquet_cells", json.dumps(list(wanted)).encode() + b"\n" + data)
    except Rejected as fault:
        raise UsageError(f"{path}: expected a Parquet file, found something that does not read as one") from fault
    found: Mapping[str, dict[str, list[str]]] = json.loads(told.tobytes())
    columns = found["cells"]
    for column in wanted:
        if column not in columns:
            raise UsageError(f"{path}: no column {column!r}{nearest(column, list(found['names']))}")
    return [dict(zip(wanted, cells, strict=True)) for cells in zip(*(columns[c] for c in wanted), strict=True)]


def _bytes(path: str, read: Read) -> bytes:
    """Content of a file, inflated where its name ends in .gz.

    Raises:
        UsageError: it cannot be read, is no gzip, or holds more than `MAX_TABLE_BYTES`.
    """
    try:
        data = read(path)
    except Rejected as fault:
        raise UsageError(
            f"the manifest names the table {path!r} below the root, which cannot be read ({fault})"
        ) from fault
    if not path.lower().endswith(".gz"):
        return data
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        content = inflate.decompress(data, MAX_TABLE_BYTES)
    except zlib.error as error:
        raise UsageError(f"{path}: expected a gzip, found something that does not inflate ({error})") from error
    if not inflate.eof or inflate.unconsumed_tail or inflate.unused_data:
        raise UsageError(f"{path}: expected one whole gzip of at most {MAX_TABLE_BYTES:,} bytes, found more or less")
    return content
