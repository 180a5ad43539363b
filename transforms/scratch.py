"""Large buffers that serve one volume after another in a process.

Fresh memory is not free: the kernel clears every page when it is first touched, and all of it is given back after use.
For a CT in `.nii.gz` that is a tenth of the time that reading, inflating and resampling take together. What held the
last volume holds the next one.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = bytes | memoryview
"""What was read of an object: bytes, or a read-only view of a buffer for a large one."""

KEPT_BYTES = 1 << 30
"""What the buffers of a process may come to; a volume for which there is no room has memory of its own."""

LARGE_BYTES = 4 << 20
"""Below this the allocator does as well. numpy asks for huge pages from here on."""


class Scratch:
    """The buffers of one process. Threads may share it."""

    def __init__(self, kept_bytes: int = KEPT_BYTES):
        self._kept_bytes = kept_bytes
        self._buffers: list[npt.NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def take(self, n: int) -> npt.NDArray[np.uint8]:
        """A writable array of `n` bytes, whose content is not defined.

        It is the caller's for as long as it, a view of it or a memoryview is alive. Nothing need be given back.
        """
        if n < LARGE_BYTES:
            return np.empty(n, dtype=np.uint8)
        with self._lock:
            # A buffer that only this list refers to is free: a view of any depth refers to the buffer itself.
            free = [i for i in range(len(self._buffers)) if sys.getrefcount(self._buffers[i]) == _UNREFERENCED]
            fitting = [i for i in free if self._buffers[i].size >= n]
            if fitting:
                return self._buffers[min(fitting, key=lambda i: self._buffers[i].size)][:n]
            made = np.empty(_rounded(n), dtype=np.uint8)
            if self._make_room(free, made.size):
                self._buffers.append(made)
        return made[:n]

    def _make_room(self, free: Sequence[int], n: int) -> bool:
        """Whether another `n` bytes may be kept, once those that are free and too small have made room.

        One of them goes even where there is room for all: volumes that grow from case to case would each leave one.
        """
        held, displaced = sum(b.size for b in self._buffers), list[int]()
        for i in sorted(free, key=lambda i: self._buffers[i].size):
            if displaced and held + n <= self._kept_bytes:
                break
            displaced.append(i)
            held -= self._buffers[i].size
        for i in sorted(displaced, reverse=True):
            del self._buffers[i]
        return held + n <= self._kept_bytes


def _rounded(n: int) -> int:
    step = 1 << (n.bit_length() - 4)
    return -(-n // step) * step


def _references() -> int:
    buffers = [np.empty(0)]
    return sys.getrefcount(buffers[0])


_UNREFERENCED = _references()

_scratch = Scratch()


def take(n: int) -> npt.NDArray[np.uint8]:
    """`Scratch.take` of this process's own buffers."""
    return _scratch.take(n)


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """As `numpy.empty`, in memory that `take` gives."""
    wanted = np.dtype(dtype)
    return take(math.prod(shape) * wanted.itemsize).view(wanted).reshape(shape)
