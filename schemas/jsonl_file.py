"""Rows of a JSON Lines file as frozen dataclasses, and back: one row a line, in one canonical form.

Canonical: keys in the order of the fields, what equals its default left out, no key twice. So two people who write the
same row write the same bytes, and a line of a diff is a change of facts.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, get_type_hints

import pydantic

from mdfp.errors import UsageError
from schemas.suggest import nearest

Record = TypeVar("Record")


@dataclass(frozen=True)
class Row(Generic[Record]):
    """A record and the line it stands in, from 1."""

    line: int
    record: Record


def read(record: type[Record], path: str | Path) -> tuple[tuple[Row[Record], ...], tuple[str, ...]]:
    """The rows of a file that are right, and a message `file:line: …` for each fault of the others.

    Raises:
        UsageError: the file cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    return parse(record, text, str(path))


def parse(record: type[Record], text: str, where: str) -> tuple[tuple[Row[Record], ...], tuple[str, ...]]:
    """Like `read`, from text; `where` is what messages call it."""
    adapter = _adapter(cast("Any", record))
    rows: list[Row[Record]] = []
    faults: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line and number == text.count("\n") + 1:
            break  # after the last newline
        try:
            found = adapter.validate_json(line)
        except pydantic.ValidationError as error:
            faults += [f"{where}:{number}: {_name(line)}{message}" for message in _messages(error, record)]
            continue
        rows.append(Row(number, found))
        if (canonical := dumps(found)) != line:
            faults.append(f"{where}:{number}: {_name(line)}{_difference(canonical, line)}")
    return tuple(rows), tuple(faults)


def dumps(record: Any) -> str:
    """The canonical line of a record, without its newline."""
    return json.dumps(_plain(record), ensure_ascii=False)


def _plain(record: Any) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if value == field.default:
            continue
        if dataclasses.is_dataclass(value):
            value = _plain(value)
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            value = [_plain(v) for v in value]
        result[field.name] = value
    return result


@cache
def _adapter(record: Any) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(record)


def _name(line: str) -> str:
    """`kits23: `, for a line that names its row."""
    try:
        return f"{json.loads(line)['id']}: "
    except (ValueError, TypeError, KeyError):
        return ""


def _messages(error: pydantic.ValidationError, record: Any) -> Iterable[str]:
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"])
        kind = fault["type"]
        if kind == "unexpected_keyword_argument":
            valid = _fields_at(record, fault["loc"][:-1])
            yield f"unknown key {place!r}{nearest(str(fault['loc'][-1]), valid) or '; expected one of ' + ', '.join(valid)}"
        elif kind == "missing":
            yield f"the key {place!r} is missing"
        elif kind == "json_invalid":
            yield f"not JSON: {fault['ctx']['error']}"
        else:
            text = str(fault["msg"])
            shown = repr(fault["input"])
            shown = shown if len(shown) <= 80 else shown[:77] + "…"
            # pydantic says "Input should be a valid integer".
            expected = text.replace("Input should be ", "expected ").replace("String should match", "expected to match")
            yield f"{place + ': ' if place else ''}{expected}, found {shown}"


def _fields_at(record: Any, loc: Iterable[Any]) -> list[str]:
    """Fields of the dataclass found by following a location down."""
    for part in loc:
        if isinstance(part, str):
            hint = get_type_hints(record)[part]
            record = next((t for t in _types(hint) if dataclasses.is_dataclass(t)), record)
    return [f.name for f in dataclasses.fields(record)]


def _types(hint: Any) -> list[Any]:
    arguments = getattr(hint, "__args__", ())
    return [hint] if isinstance(hint, type) and not arguments else [t for a in arguments for t in _types(a)]


def _difference(canonical: str, line: str) -> str:
    """Where a line leaves the canonical form."""
    at = next(
        (i for i, (a, b) in enumerate(zip(canonical, line, strict=False)) if a != b), min(len(canonical), len(line))
    )
    start = max(0, at - 12)
    return (
        f"not in the one form of a row (order of the fields, defaults left out, no key twice): "
        f"expected …{canonical[start : at + 28]!r}, found …{line[start : at + 28]!r}; python -m catalog.tidy rewrites it"
    )
