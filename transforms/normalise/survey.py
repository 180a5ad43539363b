"""A first look at a volume: its range, what is not a number, and how bright each plane gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.normalise import layout

Box = tuple[int, int, int, int, int, int]
"""z0, y0, x0, z1, y1, x1 in voxels of an array (z, y, x), ends exclusive."""


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
    """

    voxels: int
    nonfinite: int
    minimum: float
    maximum: float
    mean: float
    integral: bool
    brightest_zyx: tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]

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
    rows = layout.rows(array_zyx)
    dtype = rows.flat.dtype
    lowest = np.iinfo(dtype).min if dtype.kind != "f" else np.finfo(dtype).min
    nz, ny, nx = rows.shape_zyx
    brightest = [np.full(n, lowest, dtype=dtype) for n in rows.shape_zyx]
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
    z, y, x = (b[::-1] if f else b for b, f in zip(brightest, rows.flipped_zyx, strict=True))
    return Survey(
        voxels=voxels,
        nonfinite=int(nonfinite),
        minimum=float(low) + 0.0 if finite else 0.0,
        maximum=float(z.max()) + 0.0 if finite else 0.0,
        mean=float(np.float32(total / finite)) if finite else 0.0,
        integral=bool(integral),
        brightest_zyx=(z, y, x),
    )


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
