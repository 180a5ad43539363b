"""Values of masks as people write them in a label table: numbers, ranges of numbers, colours."""

from __future__ import annotations

import re
from typing import Any

_RANGE = re.compile(r"(\d+)\s*-\s*(\d+)")
_COLOUR = re.compile(r"#[0-9a-f]{6}")

MAX_RANGE = 1 << 16
"""A range of more numbers is a slip: masks hold numbers of at most 16 bits."""


def ranges_as_numbers(value: Any) -> Any:
    """A table of values with an entry for each number of a range such as `55-70`.

    Raises:
        ValueError: a range that is empty or too long, or a number that stands twice.
    """
    if not isinstance(value, dict):
        return value
    found: dict[Any, Any] = {}
    for key, structure in value.items():
        match = _RANGE.fullmatch(key.strip()) if isinstance(key, str) else None
        numbers: Any = [key]
        if match:
            first, last = int(match[1]), int(match[2])
            if not first <= last < first + MAX_RANGE:
                raise ValueError(f"the range {key!r} holds no number, or more than {MAX_RANGE}")
            numbers = range(first, last + 1)
        for number in numbers:
            if number in found:
                raise ValueError(f"the value {number} stands twice, once within a range")
            found[number] = structure
    return found


def colours_as_text(value: Any) -> Any:
    """Colours of a table or a list as `#rrggbb` in lower case.

    Raises:
        ValueError: something else than a colour.
    """
    if isinstance(value, dict):
        return {_colour(k): v for k, v in value.items()}
    return tuple(_colour(v) for v in value) if isinstance(value, (list, tuple)) else value


def _colour(text: Any) -> str:
    shown = str(text).strip().lower()
    if not _COLOUR.fullmatch(shown):
        raise ValueError(f'a colour is written "#rrggbb", in quotation marks, for example "#ff0000"; found {text!r}')
    return shown


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of `#rrggbb`, 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
