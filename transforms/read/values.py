"""Single values of a DICOM data set, where what breaks the standard says nothing instead of raising."""

from __future__ import annotations

import datetime
import math
import struct
import zlib
from collections.abc import Collection, Iterable
from typing import Any, Protocol

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

_DAY_S = 86400.0
_FIRST_DAY = datetime.date(1970, 1, 1).toordinal()
DAMAGED = (
    ValueError, TypeError, OverflowError, KeyError, IndexError, NotImplementedError, AttributeError, EOFError, OSError,
    struct.error, zlib.error, BytesLengthException, RecursionError,
)  # fmt: skip
"""What pydicom raises on values that are not what their VR says."""


class Attributes(Protocol):
    """Values by keyword: a pydicom data set, or what `fast_header` makes of one."""

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of a keyword."""

    def __contains__(self, key: Any) -> bool:
        """Whether it is there."""


def raw(ds: Attributes, key: str | int) -> Any:
    """The value of a keyword or, for private elements, of a tag; None where it is absent or its VR forbids it."""
    try:
        if isinstance(key, str):
            return ds.get(key)
        element = ds.get(key) if key in ds else None
        return None if element is None else element.value
    except MemoryError:
        raise
    except Exception:  # whatever the library raises: a value that its VR does not allow says nothing
        return None


def term(ds: Attributes, key: str, known: Collection[str]) -> str | None:
    """Its value where that is one of the standard's terms; other text, which may be anything, is as good as none."""
    value = text(ds, key)
    return value if value in known else None


def text(ds: Attributes, key: str | int) -> str | None:
    """Its value as text; bytes of an unknown VR are read as ASCII. None where empty."""
    value = raw(ds, key)
    if isinstance(value, bytes):
        value = value.decode("ascii", errors="replace")
    return None if value is None else (str(value).strip("\0 ") or None)


def texts(ds: Attributes, key: str | int) -> tuple[str, ...]:
    """All its values as text, whatever their VR; bytes of an unknown one are read as ASCII."""
    value = raw(ds, key)
    if isinstance(value, bytes):
        decoded = value.decode("ascii", errors="replace").strip("\0 ")
        value = decoded.split("\\") if decoded else None
    if value is None or isinstance(value, str):
        return (value,) if value else ()
    return tuple(str(v).strip() for v in (value if isinstance(value, Iterable) else (value,)))


def numbers(ds: Attributes, key: str | int, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, or None."""
    value = raw(ds, key)
    try:
        found = tuple(float(v) for v in value)
    except (TypeError, ValueError):
        return None
    return found if len(found) == count and all(math.isfinite(n) for n in found) else None


def number(ds: Attributes, key: str | int, default: float | None = None) -> float | None:
    """Its value as a number, which may be not finite; `default` where there is none."""
    value = raw(ds, key)
    if isinstance(value, bytes):
        value = value.decode("ascii", errors="replace").strip("\0 ")
    try:
        return default if value in (None, "") else float(value)
    except (TypeError, ValueError):
        return default


def integer(ds: Attributes, key: str | int) -> int | None:
    """Its value as an integer, None where it is no finite number."""
    found = number(ds, key)
    return int(found) if found is not None and math.isfinite(found) else None


def first_item(ds: Attributes, keyword: str) -> Dataset | None:
    """The first item of a sequence; None where there is none."""
    value = raw(ds, keyword)
    try:
        return value[0] if value else None
    except DAMAGED:
        return None


def time_s(value: str | None) -> float | None:
    """Seconds since midnight of a TM value, HHMMSS.FFFFFF or the older HH:MM:SS (PS3.5 6.2); None where it is none."""
    digits = (value or "").replace(":", "")
    whole, _, fraction = digits.partition(".")
    plain = digits.isascii() and whole.isdigit() and (not fraction or fraction.isdigit())
    if not plain or len(whole) not in (2, 4, 6):
        return None
    hours, minutes, seconds = (int(whole[n : n + 2] or 0) for n in (0, 2, 4))
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return 3600.0 * hours + 60.0 * minutes + seconds + (float(f"0.{fraction}") if fraction else 0.0)


def day_of(value: str | None) -> int | None:
    """Number of the day of a DA value, YYYYMMDD or the older YYYY.MM.DD; None where it is none."""
    try:
        return datetime.datetime.strptime((value or "").replace(".", ""), "%Y%m%d").toordinal()
    except ValueError:
        return None


def moment_s(date: str | None, time: str | None) -> float | None:
    """Seconds since 1970 of a DA and a TM value, told apart to a microsecond; None where either is none."""
    day, seconds = day_of(date), time_s(time)
    return None if day is None or seconds is None else (day - _FIRST_DAY) * _DAY_S + seconds


def datetime_s(value: str | None) -> float | None:
    """Seconds on the scale of `moment_s` of a DT value; its offset from UTC is left out, as times have none."""
    plain = (value or "").partition("+")[0].partition("-")[0]
    return moment_s(plain[:8], plain[8:])
