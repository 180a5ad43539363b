"""Small tables that come with a data set: a case's split, its annotated frames, the structures looked for in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace

from mdfp.errors import UsageError
from schemas import patterns
from schemas.ontology.structures import BACKGROUND
from schemas.reasons import Reason
from schemas.source import FrameTable, Source
from schemas.suggest import nearest
from transforms.layouts.case_files import CaseFiles, Fault
from transforms.layouts.registry import Read
from transforms.store import ListedObject

MAX_CELL_CHARACTERS = 1 << 24
"""A longer cell makes a file no table. Python's own limit, 128 kB, is below what a report may be."""

_DELIMITERS = ",;\t"
SPLITS = {"train": "train", "training": "train", "val": "val", "validation": "val", "test": "test"}
_YES = {"1", "1.0", "true", "yes"}


def read_table(
    pattern: str, listing: Sequence[ListedObject], read: Read, wanted: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Rows of a CSV file by column; the delimiter is the one of comma, semicolon and tab that its first line has most.

    Args:
        pattern: which file; exactly one object of the listing must match.
        listing: all objects.
        read: gives the bytes of a file.
        wanted: columns that must be there.

    Raises:
        UsageError: none or several files match, it is not UTF-8 text, or it lacks a wanted column.
    """
    matching = [o.path for o in listing if patterns.match(pattern, o.path) is not None]
    if len(matching) != 1:
        raise UsageError(f"the manifest names one table {pattern!r} below the root, found {len(matching)}")
    return parse_table(matching[0], read(matching[0]), wanted)


def parse_table(path: str, data: bytes, wanted: Sequence[str] = ()) -> list[dict[str, str]]:
    """Rows of a CSV file by column, from its bytes; as `read_table`.

    Raises:
        UsageError: it is not UTF-8 text, or lacks a wanted column.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: expected a table in UTF-8, found other bytes") from error
    csv.field_size_limit(MAX_CELL_CHARACTERS)  # of this process: the module knows no other way
    first = text.split("\n", 1)[0]
    rows = csv.DictReader(io.StringIO(text), delimiter=max(_DELIMITERS, key=first.count))
    try:
        columns = list(rows.fieldnames or ())
        cells = [{k: (v or "").strip() for k, v in row.items() if isinstance(k, str)} for row in rows]
    except csv.Error as error:
        raise UsageError(f"{path}: line {rows.line_num} is no line of a table ({error})") from error
    for column in wanted:
        if column not in columns:
            raise UsageError(f"{path}: no column {column!r}{nearest(column, columns)} (columns: {', '.join(columns)})")
    return cells


def with_tables(
    cases: Sequence[CaseFiles], source: Source, listing: Sequence[ListedObject], read: Read
) -> list[CaseFiles]:
    """Cases with what the source's own tables say of them: their frames, their split, and what was looked for.

    A case that a table does not list keeps the split of its layout, and nothing was looked for in it; one whose frames
    are not listed is a fault (missing_label), for nobody can say which of its frames are annotated.

    Raises:
        UsageError: a table is missing or lacks a column.
    """
    result = list(cases)
    if source.frames is not None:
        result = _by_frame(result, source.frames, listing, read)
    if source.split_table is not None:
        table = source.split_table
        splits = {
            row[table.case]: row[table.split].lower()
            for row in read_table(table.path, listing, read, (table.case, table.split))
        }
        result = [replace(c, split=SPLITS.get(splits.get(c.name, ""), c.split)) for c in result]
    for name, labels in source.labels.items():
        if labels.looked_for == "per_case_table" and labels.case_table:
            looked_for = _looked_for(labels.case_table, labels.annotated(), listing, read)
            result = [_with_looked_for(c, name, looked_for.get(c.name, ())) for c in result]
    return result


def _by_frame(
    cases: Sequence[CaseFiles], table: FrameTable, listing: Sequence[ListedObject], read: Read
) -> list[CaseFiles]:
    """One case for each frame that the table names; its images and labels are those volumes of the same files."""
    rows = {r[table.column]: r for r in read_table(table.path, listing, read, (table.column, *table.frames.values()))}
    result: list[CaseFiles] = []
    for case in cases:
        row = rows.get(patterns.fill(table.case, {"case": case.name, **dict(case.fields)}), {})
        numbers = {frame: row.get(column, "") for frame, column in table.frames.items()}
        if not all(n.isascii() and n.isdigit() for n in numbers.values()):
            detail = f"expected a row of {table.path} with the numbers of the frames {', '.join(table.frames)}"
            fault = Fault(Reason.MISSING_LABEL, detail, None, "case")
            result.append(replace(case, faults=(*case.faults, fault)))
            continue
        for frame, number in numbers.items():
            images = tuple(replace(a, component=int(number)) for a in case.images)
            labels = tuple(replace(a, component=int(number)) for a in case.labels)
            result.append(replace(case, name=f"{case.name}_{frame}", images=images, labels=labels))
    return result


def _looked_for(
    path: str, structures: Sequence[str], listing: Sequence[ListedObject], read: Read
) -> dict[str, tuple[str, ...]]:
    """Case name -> structures whose column says yes. The first column names the case."""
    rows = read_table(path, listing, read)
    result: dict[str, tuple[str, ...]] = {}
    for row in rows:
        case, *columns = row
        if strange := [c for c in columns if c not in structures and c != BACKGROUND]:
            raise UsageError(
                f"{path}: the column {strange[0]!r} is no structure of its table{nearest(strange[0], structures)}"
            )
        result[row[case]] = tuple(sorted(c for c in columns if row[c].lower() in _YES))
    return result


def _with_looked_for(case: CaseFiles, table: str, structures: tuple[str, ...]) -> CaseFiles:
    labels = tuple(replace(a, looked_for=structures) if a.table == table else a for a in case.labels)
    return replace(case, labels=labels)
