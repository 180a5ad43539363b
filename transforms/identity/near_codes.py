"""All pairs of codes within a Hamming distance, exactly, without comparing each with each.

Multi-index hashing (Norouzi, Punjani, Fleet 2014): a code is cut into words of 16 bits. Two codes that differ in at most r
bits differ in at most r // words bits in at least one word (pigeonhole), so looking up each word, and every word that is so
close to it, finds every pair; what was found is then counted in full. A code whose words are so common that looking them up
would cost more than comparing it with all is compared with all.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import intrinsic

Codes = npt.NDArray[np.uint8]
"""(n, bytes) codes."""

Pairs = npt.NDArray[np.int64]
"""(m, 2) row numbers, first < second, sorted."""

WORD_BITS = 16

QUERIES = 1024
"""Codes that a thread looks up at a time."""

_ROOM = 1 << 16
"""Pairs that there is room for at first; a block that finds more is done again with more room."""


def near_pairs(codes: Codes, radius: int) -> Pairs:
    """Every pair of different rows whose codes differ in at most `radius` bits; the same as comparing all.

    Memory: 4 bytes a code and word for the tables, and 16 bytes a pair.

    Raises:
        ValueError: codes are no whole number of 64 bits, or the radius is negative.
    """
    if codes.ndim != 2 or codes.shape[1] == 0 or codes.shape[1] % 8 or radius < 0:
        raise ValueError(
            f"expected (n, bytes) codes of whole 64-bit words and a radius of 0 or more, found {codes.shape} and {radius}"
        )
    if len(codes) < 2:
        return np.empty((0, 2), np.int64)
    whole = np.ascontiguousarray(codes).view("<u8").astype(np.uint64)
    words = np.ascontiguousarray(np.ascontiguousarray(codes).view("<u2").astype(np.uint16).T)
    rows, starts = _tables(words)
    masks = _masks(radius // len(words))

    def look_up(first: int) -> Pairs:
        last = min(len(codes), first + QUERIES)
        room = _ROOM
        while True:
            found = np.empty((room, 2), np.int64)
            count = _look_up(first, last, whole, words, rows, starts, masks, radius, radius // len(words), found)
            if count <= room:
                return found[:count].copy()
            room = count

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        pairs = np.concatenate(list(pool.map(look_up, range(0, len(codes), QUERIES))))
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _tables(words: npt.NDArray[np.uint16]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """For each place of a word: the rows in the order of their words, and where each of the 65536 words begins."""
    rows = np.empty(words.shape, np.int32)
    starts = np.zeros((len(words), (1 << WORD_BITS) + 1), np.int64)
    for place, column in enumerate(words):
        rows[place] = np.argsort(column, kind="stable")
        np.cumsum(np.bincount(column, minlength=1 << WORD_BITS), out=starts[place, 1:])
    return rows, starts


def _masks(flips: int) -> npt.NDArray[np.uint16]:
    """Every word with at most so many bits set."""
    chosen = itertools.chain.from_iterable(
        itertools.combinations(range(WORD_BITS), n) for n in range(min(flips, WORD_BITS) + 1)
    )
    return np.array([sum(1 << bit for bit in bits) for bits in chosen], np.uint16)


def _count_ones(typing_context: Any, value: Any) -> Any:
    """How many bits of a word are set: one instruction of the CPU."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


_ones: Any = intrinsic(_count_ones)


@njit(cache=True, nogil=True)
def _look_up(first, last, whole, words, rows, starts, masks, radius, flips, found):  # type: ignore[no-untyped-def]
    """Pairs (q, row) with first <= q < last and q < row; returns their number, which may be more than there is room for."""
    n = len(whole)
    places = len(words)
    count = 0
    for q in range(first, last):
        met = 0
        for place in range(places):
            for m in range(len(masks)):
                word = np.int64(words[place, q] ^ masks[m])
                met += starts[place, word + 1] - starts[place, word]
        if met > n - q:
            for later in range(q + 1, n):
                if _distance(whole, q, later, radius) <= radius:
                    if count < len(found):
                        found[count, 0], found[count, 1] = q, later
                    count += 1
            continue
        for place in range(places):
            for m in range(len(masks)):
                word = np.int64(words[place, q] ^ masks[m])
                for at in range(starts[place, word], starts[place, word + 1]):
                    row = np.int64(rows[place, at])
                    if row <= q or _distance(whole, q, row, radius) > radius:
                        continue
                    if _met_before(words, place, q, row, flips):
                        continue
                    if count < len(found):
                        found[count, 0], found[count, 1] = q, row
                    count += 1
    return count


@njit(cache=True, nogil=True)
def _distance(whole, a, b, radius):  # type: ignore[no-untyped-def]
    """Hamming distance; counting stops where it is beyond the radius."""
    distance = np.int64(0)
    for k in range(whole.shape[1]):
        distance += np.int64(_ones(whole[a, k] ^ whole[b, k]))
        if distance > radius:
            break
    return distance


@njit(cache=True, nogil=True)
def _met_before(words, place, a, b, flips):  # type: ignore[no-untyped-def]
    """Whether an earlier word brought the two together already."""
    for earlier in range(place):  # noqa: SIM110 (compiled code knows no any())
        if np.int64(_ones(np.uint64(words[earlier, a] ^ words[earlier, b]))) <= flips:
            return True
    return False
