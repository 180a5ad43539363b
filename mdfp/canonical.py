"""One byte string for one value: canonical JSON, so that equal content has equal hashes everywhere."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

_AS_THEY_ARE = frozenset({str, int, bool, type(None)})
"""Types that are JSON already; most values of a record are of these, and are looked at first."""

SPARSE = "sparse"
"""Key of a dataclass field's metadata: left out of the JSON where the field is empty."""


def plain(value: Any) -> Any:
    """`value` as JSON types: dataclasses and mappings become dicts, sequences lists, numpy scalars numbers.

    A field whose metadata says `SPARSE` is left out where it holds nothing: records that do not use it keep their bytes.

    Raises:
        ValueError: a float is not finite (JSON has no word for it).
        TypeError: a type that has no JSON form.
    """
    kind: Any = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is float:
        return _finite(value)
    if kind is tuple:
        return [plain(v) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        held = ((name, sparse, getattr(value, name)) for name, sparse in _fields(kind))
        return {name: plain(v) for name, sparse, v in held if not (sparse and v in (None, ()))}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(v) for v in value)
    if value is None or isinstance(value, (bool, str)):
        return str(value) if isinstance(value, str) else value
    if hasattr(value, "item") and not isinstance(value, (int, float)):
        return plain(value.item())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _finite(float(value))
    raise TypeError(f"no canonical JSON form for {kind.__name__}")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"canonical JSON holds finite numbers only, found {value}")
    return value


@functools.cache
def _fields(kind: Any) -> tuple[tuple[str, bool], ...]:
    """Fields of a dataclass, and whether each is left out where it is empty."""
    return tuple((f.name, SPARSE in f.metadata) for f in dataclasses.fields(kind))


def dumps(value: Any) -> bytes:
    """Canonical JSON: keys sorted, no spaces, shortest round-trip floats, UTF-8."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def pretty(value: Any) -> bytes:
    """The same content for people: keys sorted, indented, ending in a newline."""
    return (json.dumps(plain(value), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def digest(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(dumps(value)).hexdigest()
