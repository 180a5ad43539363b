"""Huffman codes of JPEG scans: their tables, and the next code in entropy-coded data (ITU-T T.81 annexes C and F.2.2).

Bits are kept as (place of the next byte, bits at hand, how many they are). Bits behind the last byte count as ones, which
is how an encoder pads; whoever takes a code of more bits than are at hand has come to the end of the data.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

_PEEK = 16
"""Bits of the longest code."""

Table = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
"""Of each number of 16 bits: the length of the code that it begins with (0: none does), and that code's symbol."""


def tables(content: bytes) -> dict[int, Table]:
    """Tables of a DHT segment, by their first byte: 16 times the class (0 DC or lossless, 1 AC) and the number.

    Raises:
        IndexError: the segment ends within a table.
        ValueError: more codes than there are.
    """
    found = {}
    at = 0
    while at < len(content):
        number, counts = content[at], content[at + 1 : at + 17]
        at += 17
        lengths, symbols = np.zeros(1 << _PEEK, np.uint8), np.zeros(1 << _PEEK, np.uint8)
        code = 0
        for length, count in enumerate(counts, start=1):
            for _ in range(count):
                first = code << (_PEEK - length)
                if first >= 1 << _PEEK:
                    raise ValueError("a Huffman table of more codes than there are")
                lengths[first : first + (1 << (_PEEK - length))] = length
                symbols[first : first + (1 << (_PEEK - length))] = content[at]
                code, at = code + 1, at + 1
            code <<= 1
        found[number] = (lengths, symbols)
    return found


@njit(cache=True, nogil=True)
def filled(data: Any, at: int, bits: Any, have: int) -> Any:
    """(at, bits, have) with more than 40 bits at hand, or as many as there are before the next marker."""
    size = len(data)
    while have <= 40 and at < size:
        byte = data[at]
        if byte == 0xFF:
            if at + 1 >= size or data[at + 1] != 0:
                break  # a marker
            at += 1
        at += 1
        bits = (bits << np.uint64(8)) | np.uint64(byte)
        have += 8
    return at, bits, have


@njit(cache=True, nogil=True)
def peeked(bits: Any, have: int) -> Any:
    """The next 16 bits."""
    if have >= 16:
        return (bits >> np.uint64(have - 16)) & np.uint64(0xFFFF)
    return ((bits << np.uint64(16 - have)) | np.uint64((1 << (16 - have)) - 1)) & np.uint64(0xFFFF)


@njit(cache=True, nogil=True)
def dropped(bits: Any, have: int, count: int) -> Any:
    """(bits, have) without the next `count`."""
    have -= count
    return bits & ((np.uint64(1) << np.uint64(have)) - np.uint64(1)), have


@njit(cache=True, nogil=True)
def after_restart(data: Any, at: int) -> int:
    """Place behind the restart marker that stands at `at`, fill bytes before it passed over; -1 where there is none."""
    size = len(data)
    while at + 1 < size and data[at] == 0xFF and data[at + 1] == 0xFF:
        at += 1
    if at + 1 >= size or data[at] != 0xFF or data[at + 1] < 0xD0 or data[at + 1] > 0xD7:
        return -1
    return at + 2
