"""Columns of nested records as flat arrays: what the tables of a million samples are counted from without records."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def whole(column: Any) -> Any:
    """A column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


class Nested:
    """The elements of a column of lists, and the row each belongs to.

    Attributes:
        flat: all elements, in order.
        parent: number of each one's row.
        counts: elements of each row.
    """

    def __init__(self, column: Any):
        lists = whole(column)
        self.flat: Any = pc.list_flatten(lists)
        self.parent: Ints = np.asarray(pc.list_parent_indices(lists), dtype=np.int64)
        self.counts: Ints = np.bincount(self.parent, minlength=len(lists)).astype(np.int64)

    def __len__(self) -> int:
        return len(self.flat)

    def field(self, *path: str) -> Any:
        """A field of the elements, which are records; several names go down into nested ones."""
        return pc.struct_field(self.flat, list(path))

    def total(self, values: Any) -> Ints:
        """Sum of a value for each element, by row."""
        sums = np.bincount(self.parent, weights=np.asarray(values, dtype=np.float64), minlength=len(self.counts))
        return np.asarray(np.round(sums), dtype=np.int64)


def floats(values: Any) -> Floats:
    """Numbers as float64; NaN where there is none."""
    return np.asarray(whole(values).to_numpy(zero_copy_only=False), dtype=np.float64)


def ints(values: Any, missing: int = 0) -> Ints:
    """Integers; `missing` where there is none."""
    return np.asarray(pc.fill_null(whole(values), missing), dtype=np.int64)


def flags(values: Any) -> Bools:
    """Truth values; False where there is none."""
    return np.asarray(pc.fill_null(whole(values), False), dtype=bool)


def given(values: Any) -> Bools:
    """Where there is a value."""
    return np.asarray(pc.is_valid(whole(values)), dtype=bool)


def known(values: Any, where: Any) -> pa.Array:
    """An Arrow array of values, null outside `where`."""
    return pa.array(values, mask=~np.asarray(where, dtype=bool))


def codes(*columns: Any) -> tuple[list[Any], list[Ints]]:
    """(distinct values, code of each value of each column): equal values have equal codes; -1 where there is none."""
    everything = pa.concat_arrays([whole(c).cast(pa.string()) for c in columns])
    encoded: Any = everything.dictionary_encode()
    numbers = np.asarray(pc.fill_null(encoded.indices, -1), dtype=np.int64)
    ends = np.cumsum([len(c) for c in columns])
    return encoded.dictionary.to_pylist(), np.split(numbers, ends[:-1])


def pairs(a: Ints, b: Ints, width: int) -> Ints:
    """One number for each pair; `b` lies in [-1, width)."""
    return np.asarray(a * (width + 1) + b + 1, dtype=np.int64)


def find(keys: Ints, wanted: Ints, *, last: bool = False) -> Ints:
    """Index in `keys` of each wanted number: the first one's (or the last one's) where it is repeated; -1: not there."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    at = np.searchsorted(ordered, wanted, side="right" if last else "left") - int(last)
    at = np.clip(at, 0, len(keys) - 1)
    return np.where(ordered[at] == wanted, order[at], -1)


def lowest(lists: Any) -> Floats:
    """Smallest number of each list; NaN for one that is null or empty."""
    return _reduced(np.minimum, lists, np.nan)


def highest(lists: Any) -> Floats:
    """Largest number of each list; NaN for one that is null or empty."""
    return _reduced(np.maximum, lists, np.nan)


def product(lists: Any) -> Floats:
    """Product of the numbers of each list; 1 for one that is null or empty."""
    return _reduced(np.multiply, lists, 1.0)


def _reduced(how: np.ufunc, lists: Any, missing: float) -> Floats:
    array = whole(lists)
    lengths = ints(pc.list_value_length(array))
    result = np.full(len(array), missing)
    if filled := int((lengths > 0).sum()):
        starts = np.concatenate([[0], np.cumsum(lengths[lengths > 0])])[:filled]
        result[lengths > 0] = how.reduceat(floats(pc.list_flatten(array)), starts)
    return result


def matrix(lists: Any, width: int) -> Floats:
    """A row for each list; NaN in the rows of lists that are null or of another length."""
    array = whole(lists)
    lengths = ints(pc.list_value_length(array), -1)
    result = np.full((len(array), width), np.nan)
    fits = lengths == width
    if fits.any():
        result[fits] = floats(pc.list_flatten(array.filter(pa.array(fits)))).reshape(-1, width)
    return result


def repeated(keys: Ints) -> Bools:
    """The first element of every number that occurs more than once."""
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    result = np.zeros(len(keys), dtype=bool)
    result[first[counts > 1]] = True
    return result


def once(keys: Ints) -> Bools:
    """The first element of every number."""
    result = np.zeros(len(keys), dtype=bool)
    result[np.unique(keys, return_index=True)[1]] = True
    return result
