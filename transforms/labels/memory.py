"""Arrays in the order in which they lie in memory, so that a kernel's inner loop runs over neighbours.

A canonical label is a view: a file stored from left to right and from head to foot is read with two negative strides
and without a copy. Kernels are given the same voxels in memory order, and per-axis tables turned the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Layout:
    """How an array's axes lie in memory.

    Attributes:
        order: axes of the array from the slowest to the fastest.
        reverse: for each axis of the array, whether its indices run against memory.
    """

    order: tuple[int, ...]
    reverse: tuple[bool, ...]

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> Layout:
        """The layout of an array of any strides. Axes of one voxel keep their place and direction."""
        step = [0 if n == 1 else s for n, s in zip(array.shape, array.strides, strict=True)]
        moving = [a for a in range(array.ndim) if step[a]]
        places = iter(sorted(moving, key=lambda a: -abs(step[a])))
        order = tuple(next(places) if step[a] else a for a in range(array.ndim))
        return cls(order, tuple(s < 0 for s in step))

    def to_memory(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """View with axes from slow to fast, all running along memory (of an array that has this layout)."""
        return array[self._slices()].transpose(self.order)

    def from_memory(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The reverse of `to_memory`, also a view."""
        return array.transpose(np.argsort(self.order))[self._slices()]

    def _slices(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1) if r else slice(None) for r in self.reverse)


def contiguous(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array itself when it is C-contiguous, else a copy; read-only, so that kernels see one type of argument."""
    result = np.ascontiguousarray(array).view()
    result.flags.writeable = False
    return result


@numba.njit(cache=True, nogil=True)
def one_value(row):  # type: ignore[no-untyped-def]
    """Whether all of a row is the same. Most rows of most labels are, and vector code sees it at once."""
    low = high = row[0]  # of the row's own type: vectors of bytes, where sums would be vectors of 64-bit numbers
    for x in range(row.shape[0]):
        low, high = min(low, row[x]), max(high, row[x])
    return low == high
