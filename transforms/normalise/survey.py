"""A first look at a volume: its range, what is not a number, and how bright each plane gets.

Integers of 8 or 16 bits, which nearly all scanners write, are counted on the way, value by value: range, mean and all
that is ever asked about their distribution follow from the counts, so memory is read once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.normalise import layout
from transforms.normalise.prefetch import LINE_BYTES, prefetch

Box = tuple[int, int, int, int, int, int]
"""z0, y0, x0, z1, y1, x1 in voxels of an array (z, y, x), ends exclusive."""

Counts = tuple[int, npt.NDArray[np.int64]]
"""A value, and how many voxels have it, the next integer, and so on."""

_TABLES = 8
"""Voxels in a row are counted in different tables, so that none waits for the count of its equal neighbour."""

_APART = 16
"""Bins between two tables. Without them equal values of all tables have addresses that differ by a multiple of 4 KB,
which a CPU takes for one address when it looks whether a load depends on an earlier store: half as fast again."""


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over a volume says.

    Attributes:
        voxels: all voxels.
        nonfinite: those that are NaN or infinite; they count nowhere else.
        minimum: smallest value; 0 when none is finite.
        maximum: largest value; 0 when none is finite.
        mean: to single precision, so that the order of summation does not show.
        integral: every finite value is an integer.
        brightest_zyx: per axis, the largest value in each plane across it; the type's lowest where none is finite.
        counts: of integers of 8 or 16 bits: voxels of each value from the minimum to the maximum.
    """

    voxels: int
    nonfinite: int
    minimum: float
    maximum: float
    mean: float
    integral: bool
    brightest_zyx: tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]
    counts: Counts | None

    def box_above(self, threshold: float) -> Box | None:
        """The smallest box that holds every voxel brighter than `threshold`, or None when there is none."""
        low, high = [], []
        for brightest in self.brightest_zyx:
            inside = np.flatnonzero(brightest > threshold)
            if len(inside) == 0:
                return None
            low.append(int(inside[0]))
            high.append(int(inside[-1]) + 1)
        return (low[0], low[1], low[2], high[0], high[1], high[2])


def survey(array_zyx: npt.NDArray[Any]) -> Survey:
    """Look at a volume once. Any strides and real dtype; at least one voxel."""
    if narrow(array_zyx.dtype):
        return survey_narrow(array_zyx)
    rows = layout.rows(array_zyx)
    dtype = rows.flat.dtype
    nz, ny, nx = rows.shape_zyx
    brightest = _darkest(rows)
    step_z, step_y = rows.steps_zy
    voxels = nz * ny * nx
    if dtype.kind == "f":
        sums = np.zeros(nx)
        low, nonfinite, integral = _survey_floats(rows.flat, nz, ny, nx, step_z, step_y, sums, *brightest)
        total = 0.0
        for column in sums.tolist():  # summed one by one: numpy's order may follow the CPU
            total += column
    else:
        low, summed = _survey_integers(rows.flat, nz, ny, nx, step_z, step_y, *brightest)
        total, nonfinite, integral = float(summed), 0, True
    finite = voxels - int(nonfinite)
    z, y, x = _turned(brightest, rows)
    return Survey(
        voxels=voxels,
        nonfinite=int(nonfinite),
        minimum=float(low) + 0.0 if finite else 0.0,
        maximum=float(z.max()) + 0.0 if finite else 0.0,
        mean=float(np.float32(total / finite)) if finite else 0.0,
        integral=bool(integral),
        brightest_zyx=(z, y, x),
        counts=None,
    )


def narrow(dtype: npt.DTypeLike) -> bool:
    """Whether voxels are integers of 8 or 16 bits."""
    worked = layout.kernel_type(dtype)
    return worked.kind != "f" and worked.itemsize <= 2


def survey_narrow(
    array_zyx: npt.NDArray[Any], planes: Callable[[memoryview], object] | None = None, shift: int = 0
) -> Survey:
    """Look at a volume of integers of 8 or 16 bits once.

    Args:
        array_zyx: any strides; at least one voxel.
        planes: is given each plane (y, x) in turn, as little-endian int16 in C order, from a buffer that is used again.
        shift: added to the voxels of these planes; what is then beyond int16 wraps around.
    """
    rows = layout.rows(array_zyx)
    nz, ny, nx = rows.shape_zyx
    step_z, step_y = rows.steps_zy
    flip_z, flip_y, flip_x = rows.flipped_zyx
    dtype = rows.flat.dtype
    bins = 1 << (8 * dtype.itemsize)
    tables = np.zeros((_TABLES, bins + _APART), dtype=np.uint32 if nz * ny * nx < 1 << 32 else np.uint64)
    brightest = _darkest(rows)
    brightest_z, brightest_y, brightest_x = brightest
    plane = np.empty((ny, nx) if planes else (0, 0), dtype="<i2")
    unsigned = rows.flat.view(f"u{dtype.itemsize}")
    for z in range(nz - 1, -1, -1) if flip_z else range(nz):
        _look_and_count(
            rows.flat, unsigned, z * step_z, step_y, ny, nx, tables, brightest_z[z : z + 1], brightest_y, brightest_x,
            shift, flip_y, flip_x, plane,
        )  # fmt: skip
        if planes:
            planes(plane.data)
    counts = tables[:, :bins].sum(axis=0, dtype=np.int64)
    lowest = np.iinfo(dtype).min
    counts = np.roll(counts, -lowest)  # the bins of negative numbers, read as unsigned ones, stand last
    met = np.flatnonzero(counts)
    low, high = int(met[0]) + lowest, int(met[-1]) + lowest
    counts = counts[met[0] : met[-1] + 1]
    total = int((counts * np.arange(low, high + 1)).sum())
    return Survey(
        voxels=nz * ny * nx,
        nonfinite=0,
        minimum=float(low),
        maximum=float(high),
        mean=float(np.float32(total / (nz * ny * nx))),
        integral=True,
        brightest_zyx=_turned(brightest, rows),
        counts=(low, counts),
    )


def _darkest(rows: layout.Rows) -> list[npt.NDArray[Any]]:
    dtype = rows.flat.dtype
    lowest = np.iinfo(dtype).min if dtype.kind != "f" else np.finfo(dtype).min
    return [np.full(n, lowest, dtype=dtype) for n in rows.shape_zyx]


def _turned(
    brightest: list[npt.NDArray[Any]], rows: layout.Rows
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """From memory order to that of the volume."""
    z, y, x = (b[::-1] if f else b for b, f in zip(brightest, rows.flipped_zyx, strict=True))
    return z, y, x


@njit(cache=True, nogil=True)
def _look_and_count(  # type: ignore[no-untyped-def]
    flat, unsigned, start, step_y, ny, nx, tables, brightest_z, brightest_y, brightest_x, shift, flip_y, flip_x, plane
):  # fmt: skip
    """One plane: each row is looked at, counted and copied while it is in the first cache.

    Args:
        flat: see `layout.Rows`.
        unsigned: the same memory as unsigned integers.
        start: where the plane starts.
        step_y: distance between rows.
        ny: rows.
        nx: voxels in a row.
        tables: (`_TABLES`, at least as many as the type has values).
        brightest_z: (1,), of this plane.
        brightest_y: (ny,).
        brightest_x: (nx,).
        shift: added to the voxels of `plane`.
        flip_y: whether the plane's rows are in the opposite order in memory.
        flip_x: whether each row runs backwards in memory.
        plane: (ny, nx) int16, becomes the plane in its own order; (0, 0) when none is wanted.
    """
    last = np.uint64(nx - 1)  # an unsigned index is not checked for wrapping around, and the loop becomes vector code
    line = LINE_BYTES // flat.itemsize
    for y in range(ny):
        first = start + y * step_y
        for x in range(0, nx, line):
            prefetch(flat, first + step_y + x)
        row = flat[first : first + nx]
        high = row[0]
        for x in range(nx):
            high = max(high, row[x])
            brightest_x[x] = max(brightest_x[x], row[x])
        brightest_y[y] = max(brightest_y[y], high)
        brightest_z[0] = max(brightest_z[0], high)
        _count_row(unsigned[first : first + nx], tables)
        if plane.shape[0] == 0:
            continue
        target = plane[ny - 1 - y if flip_y else y]
        if flip_x:
            for x in range(nx):
                target[last - np.uint64(x)] = row[x] + shift
        else:
            for x in range(nx):
                target[x] = row[x] + shift


@njit(cache=True, nogil=True)
def _count_row(row, tables):  # type: ignore[no-untyped-def]
    one = tables.dtype.type(1)
    whole = row.shape[0] // _TABLES * _TABLES
    for x in range(0, whole, _TABLES):
        for k in range(_TABLES):
            tables[k, row[x + k]] += one
    for x in range(whole, row.shape[0]):
        tables[0, row[x]] += one


@njit(cache=True, nogil=True)
def _survey_integers(flat, nz, ny, nx, step_z, step_y, brightest_z, brightest_y, brightest_x):  # type: ignore[no-untyped-def]
    low = flat[0]
    total = np.int64(0)
    for z in range(nz):
        for y in range(ny):
            start = z * step_z + y * step_y
            row = flat[start : start + nx]
            row_low, row_high, row_total = row[0], row[0], np.int64(0)
            for x in range(nx):
                v = row[x]
                row_low = min(row_low, v)
                row_high = max(row_high, v)
                row_total += v
                brightest_x[x] = max(brightest_x[x], v)
            low = min(low, row_low)
            total += row_total
            brightest_z[z] = max(brightest_z[z], row_high)
            brightest_y[y] = max(brightest_y[y], row_high)
    return low, total


@njit(cache=True, nogil=True)
def _survey_floats(flat, nz, ny, nx, step_z, step_y, sums, brightest_z, brightest_y, brightest_x):  # type: ignore[no-untyped-def]
    lowest = brightest_z[0]  # the type's lowest value; its negative is the highest
    darkest_x = -brightest_x
    finite = np.empty_like(brightest_x)
    nonfinite = np.int64(0)
    fractions = np.int64(0)
    for z in range(nz):
        for y in range(ny):
            start = z * step_z + y * step_y
            row = flat[start : start + nx]
            bad = 0
            for x in range(nx):
                bad += 0 if row[x] - row[x] == 0 else 1
            if bad == 0:
                high = _look(row, sums, darkest_x, brightest_x)
                fractions += _count_fractions(row)
            else:
                nonfinite += bad
                for x in range(nx):
                    finite[x] = row[x] if row[x] - row[x] == 0 else 0
                fractions += _count_fractions(finite)
                for x in range(nx):
                    sums[x] += finite[x]
                high = lowest
                for x in range(nx):
                    if row[x] - row[x] == 0:
                        high = max(high, row[x])
                        darkest_x[x] = min(darkest_x[x], row[x])
                        brightest_x[x] = max(brightest_x[x], row[x])
            brightest_z[z] = max(brightest_z[z], high)
            brightest_y[y] = max(brightest_y[y], high)
    return darkest_x.min(), nonfinite, fractions == 0


@njit(cache=True, nogil=True)
def _count_fractions(row):  # type: ignore[no-untyped-def]
    count = 0
    for x in range(row.shape[0]):
        count += 1 if np.rint(row[x]) != row[x] else 0
    return count


@njit(cache=True, nogil=True)
def _look(row, sums, darkest, brightest):  # type: ignore[no-untyped-def]
    """Fold a finite row into columns; gives its largest value."""
    # Apart, and with the maximum in eight lanes, these loops become vector code without any sum being reordered.
    n = row.shape[0]
    for x in range(n):
        sums[x] += row[x]
    for x in range(n):
        brightest[x] = row[x] if row[x] > brightest[x] else brightest[x]
    for x in range(n):
        darkest[x] = row[x] if row[x] < darkest[x] else darkest[x]
    a = b = c = d = e = f = g = h = row[0]
    for x in range(0, n // 8 * 8, 8):
        a, b, c, d = max(a, row[x]), max(b, row[x + 1]), max(c, row[x + 2]), max(d, row[x + 3])
        e, f, g, h = max(e, row[x + 4]), max(f, row[x + 5]), max(g, row[x + 6]), max(h, row[x + 7])
    for x in range(n // 8 * 8, n):
        a = max(a, row[x])
    return max(max(max(a, b), max(c, d)), max(max(e, f), max(g, h)))
