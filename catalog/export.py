"""Tables of the catalog as files: Parquet as they are, CSV with lists joined, JSON lines."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mdfp.errors import UsageError

SUFFIXES = (".parquet", ".csv", ".jsonl")

SEPARATOR = "|"
"""Between the values of a list in a cell of a CSV; no value of the catalog's lists has it (a test says so)."""


def check(file: Path, *, force: bool) -> None:
    """Refuse early what `write` would refuse.

    Raises:
        UsageError: another suffix than `SUFFIXES`, no such folder, or a file that is there without `force`.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{file}: expected a name that ends in {', '.join(SUFFIXES)}, found {file.suffix or 'no ending'!r}"
        )
    if not file.parent.is_dir():
        raise UsageError(f"{file}: there is no folder {file.parent}")
    if file.exists() and not force:
        raise UsageError(f"{file} is there already; --force replaces it")


def write(table: pa.Table, file: Path, *, force: bool = False) -> None:
    """Write a table; what kind of file is told by its name.

    Raises:
        UsageError: see `check`.
    """
    check(file, force=force)
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        pq.write_table(table, file, compression="zstd")
    elif suffix == ".jsonl":
        rows = (json.dumps(row, ensure_ascii=False) for row in plain_rows(table))
        file.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    else:
        with file.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened)
            writer.writerow(table.column_names)
            writer.writerows([_cell(v) for v in row.values()] for row in table.to_pylist())


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows that JSON can say: dates and decimals become text."""
    rows: list[dict[str, Any]] = json.loads(json.dumps(table.to_pylist(), default=str))
    return rows


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return SEPARATOR.join(_cell(v) for v in value)
    if isinstance(value, dict):
        return "; ".join(f"{k}: {_cell(v)}" for k, v in value.items() if v is not None)
    return str(value)
