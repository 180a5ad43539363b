"""How the values of a volume are distributed: exact, without a sorted copy, and equal on every CPU.

Integers of a small range are counted, one bin a value. Other values are ranked by their bits in two passes (a radix
selection), which gives the very order statistics that sorting would, to single precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.normalise import layout
from transforms.normalise.survey import Counts, Survey

MAX_COUNTED_RANGE = 1 << 16
"""Integers that span less than this are counted: at most 512 KB a table, which a CPU's second cache holds."""

_TABLES = 4
"""Voxels in a row go to different tables, so that a constant background does not wait for its own last count."""


@dataclass(frozen=True)
class Distribution:
    """Finite values of a volume, or of a box in it.

    Attributes:
        mean: arithmetic mean.
        std: standard deviation, of the voxels as a whole population.
        body_mean: mean of the voxels above the level that divides body and air; None where there are none.
        body_std: their standard deviation.
        percentiles: value at each percent that was asked for, linear between neighbours as numpy's default.
        counts: of integers of a small range; None when the values were not counted.
    """

    mean: float
    std: float
    body_mean: float | None
    body_std: float | None
    percentiles: dict[float, float]
    counts: Counts | None

    def replaced(self, lower: float, padding: float | None) -> int:
        """Voxels below `lower` or equal to `padding`; only of counted values."""
        assert self.counts is not None
        first, counts = self.counts
        below = max(math.ceil(lower) - first, 0)
        total = int(counts[:below].sum())
        if padding is not None and float(padding).is_integer() and below <= int(padding) - first < len(counts):
            total += int(counts[int(padding) - first])
        return total


def countable(seen: Survey) -> bool:
    """Whether the values are integers of so small a range that each can have a bin."""
    return seen.integral and seen.maximum - seen.minimum < MAX_COUNTED_RANGE


def distribution(array_zyx: npt.NDArray[Any], seen: Survey, level: float, percents: Sequence[float]) -> Distribution:
    """Moments and percentiles of the finite values of a volume.

    Args:
        array_zyx: any strides and real dtype; or several volumes, (t, z, y, x). Values that are not counted are taken in
            single precision.
        seen: its survey.
        level: voxels above it are the body.
        percents: 0 to 100; which percentiles to take.
    """
    if seen.nonfinite == seen.voxels:
        return Distribution(0.0, 0.0, None, None, dict.fromkeys(percents, 0.0), None)
    return _counted(array_zyx, seen, level, percents) if countable(seen) else _ranked(array_zyx, seen, level, percents)


def _percentile(voxels: int, percent: float, value_at: Callable[[int], float]) -> float:
    """Interpolated between the two order statistics around the rank (numpy's "linear")."""
    rank = percent / 100 * (voxels - 1)
    lower = min(int(rank), voxels - 1)
    a, b = value_at(lower), value_at(min(lower + 1, voxels - 1))
    return a + (b - a) * (rank - lower) + 0.0


# Counting


def _counted(array_zyx: npt.NDArray[Any], seen: Survey, level: float, percents: Sequence[float]) -> Distribution:
    first, counts = seen.counts or _count_values(array_zyx, seen)
    mean, std = _moments(first, counts)
    above = min(max(math.floor(level) + 1 - first, 0), len(counts))
    body = counts[above:]
    body_mean, body_std = _moments(first + above, body) if body.any() else (None, None)
    running = np.cumsum(counts)

    voxels = int(running[-1])

    def value_at(rank: int) -> float:
        return float(first + int(np.searchsorted(running, rank, side="right")))

    return Distribution(
        mean, std, body_mean, body_std, {p: _percentile(voxels, p, value_at) for p in percents}, (first, counts)
    )


def _moments(first: int, counts: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Mean and standard deviation of counted values, from whole numbers: no rounding before the last step."""
    used = np.flatnonzero(counts)
    held = counts[used]
    n = int(held.sum())
    exact = np.int64 if n * len(counts) ** 2 < 1 << 63 else object  # Python's own integers have no end
    values = used.astype(exact)
    weighted = held.astype(exact) * values
    total = int(weighted.sum())
    squares = int((weighted * values).sum())
    return (first * n + total) / n, math.sqrt((n * squares - total * total) / (n * n))


def _count_values(array_zyx: npt.NDArray[Any], seen: Survey) -> Counts:
    first = int(seen.minimum)
    tables = np.zeros((_TABLES, int(seen.maximum) - first + 1), dtype=np.int64)
    for volume in array_zyx if array_zyx.ndim == 4 else (array_zyx,):
        rows = layout.rows(volume)
        _count(rows.flat, *rows.shape_zyx, *rows.steps_zy, first, tables)
    return first, tables.sum(axis=0)


@njit(cache=True, nogil=True)
def _count(flat, nz, ny, nx, step_z, step_y, first, tables):  # type: ignore[no-untyped-def]
    for z in range(nz):
        for y in range(ny):
            start = z * step_z + y * step_y
            _count_row(flat[start : start + nx], first, tables)


@njit(cache=True, nogil=True)
def _count_row(row, first, tables):  # type: ignore[no-untyped-def]
    c0, c1, c2, c3 = tables[0], tables[1], tables[2], tables[3]
    whole = row.shape[0] // 4 * 4
    for x in range(0, whole, 4):
        a, b, c, d = row[x], row[x + 1], row[x + 2], row[x + 3]
        if a - a == 0:  # finite
            c0[np.uint64(np.int64(a) - first)] += 1
        if b - b == 0:
            c1[np.uint64(np.int64(b) - first)] += 1
        if c - c == 0:
            c2[np.uint64(np.int64(c) - first)] += 1
        if d - d == 0:
            c3[np.uint64(np.int64(d) - first)] += 1
    for x in range(whole, row.shape[0]):
        a = row[x]
        if a - a == 0:
            c0[np.uint64(np.int64(a) - first)] += 1


# Ranking by bits


def _ranked(array_zyx: npt.NDArray[Any], seen: Survey, level: float, percents: Sequence[float]) -> Distribution:
    high = np.zeros(1 << 16, dtype=np.int64)
    whole, body = np.zeros(3), np.zeros(3)
    for plane in _planes(array_zyx):
        _count_keys(plane.view(np.uint32), high)
        _add_moments(plane, -np.inf, seen.mean, whole)
        _add_moments(plane, level, seen.mean, body)
    running = np.cumsum(high)
    voxels = int(running[-1])
    if voxels == 0:
        return Distribution(0.0, 0.0, None, None, dict.fromkeys(percents, 0.0), None)

    ranks = sorted({r for p in percents for r in _neighbours(voxels, p)})
    bins = [int(np.searchsorted(running, r, side="right")) for r in ranks]
    slots = np.full(1 << 16, -1, dtype=np.int64)
    used = sorted(set(bins))
    slots[used] = np.arange(len(used))
    low = np.zeros((len(used), 1 << 16), dtype=np.int64)
    for plane in _planes(array_zyx):
        _count_low_keys(plane.view(np.uint32), slots, low)
    values: dict[int, float] = {}
    for rank, key_high in zip(ranks, bins, strict=True):
        before = int(running[key_high - 1]) if key_high else 0
        key_low = int(np.searchsorted(np.cumsum(low[slots[key_high]]), rank - before, side="right"))
        values[rank] = _value_of_key(key_high << 16 | key_low)

    mean, std = _finish_moments(whole, seen.mean)
    body_mean, body_std = _finish_moments(body, seen.mean) if body[0] else (None, None)
    return Distribution(
        mean, std, body_mean, body_std, {p: _percentile(voxels, p, values.__getitem__) for p in percents}, None
    )


def _planes(array_zyx: npt.NDArray[Any]) -> Iterator[npt.NDArray[np.float32]]:
    """Planes (y, x) in single precision and C order, so that every layout of a volume is read in one order."""
    volumes = array_zyx if array_zyx.ndim == 4 else (array_zyx,)
    for plane in (plane for volume in volumes for plane in volume):
        with np.errstate(over="ignore", invalid="ignore"):
            yield np.ascontiguousarray(plane, dtype=np.float32)


def _neighbours(voxels: int, percent: float) -> tuple[int, int]:
    lower = min(int(percent / 100 * (voxels - 1)), voxels - 1)
    return lower, min(lower + 1, voxels - 1)


def _value_of_key(key: int) -> float:
    bits = key ^ 0x80000000 if key & 0x80000000 else key ^ 0xFFFFFFFF
    return float(np.array(bits, dtype=np.uint32).view(np.float32))


@njit(cache=True, nogil=True)
def _key(bits):  # type: ignore[no-untyped-def]
    """An integer that sorts as the float with these bits does."""
    return bits ^ np.uint32(0xFFFFFFFF) if bits & np.uint32(0x80000000) else bits ^ np.uint32(0x80000000)


@njit(cache=True, nogil=True)
def _is_finite(bits):  # type: ignore[no-untyped-def]
    return bits & np.uint32(0x7F800000) != np.uint32(0x7F800000)


@njit(cache=True, nogil=True)
def _count_keys(plane_bits, high):  # type: ignore[no-untyped-def]
    for y in range(plane_bits.shape[0]):
        for x in range(plane_bits.shape[1]):
            bits = plane_bits[y, x]
            if _is_finite(bits):
                high[_key(bits) >> np.uint32(16)] += 1


@njit(cache=True, nogil=True)
def _count_low_keys(plane_bits, slots, low):  # type: ignore[no-untyped-def]
    for y in range(plane_bits.shape[0]):
        for x in range(plane_bits.shape[1]):
            bits = plane_bits[y, x]
            if _is_finite(bits):
                key = _key(bits)
                slot = slots[key >> np.uint32(16)]
                if slot >= 0:
                    low[slot, key & np.uint32(0xFFFF)] += 1


@njit(cache=True, nogil=True)
def _add_moments(plane, level, centre, moments):  # type: ignore[no-untyped-def]
    """Adds count, sum and sum of squares of `value - centre` of finite values above a level, row by row."""
    for y in range(plane.shape[0]):
        n, total, squares = 0.0, 0.0, 0.0
        for x in range(plane.shape[1]):
            v = np.float64(plane[y, x]) - centre
            if v - v == 0 and plane[y, x] > level:
                n += 1
                total += v
                squares += v * v
        moments[0] += n
        moments[1] += total
        moments[2] += squares


def _finish_moments(moments: npt.NDArray[np.float64], centre: float) -> tuple[float, float]:
    n, total, squares = (float(m) for m in moments)
    shift = total / n
    return centre + shift, math.sqrt(max(0.0, squares / n - shift * shift))
