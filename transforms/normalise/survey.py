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
    low = -lowest
    nonfinite = np.int64(0)
    fractions = np.int64(0)
    for z in range(nz):
        for y in range(ny):
            start = z * step_z + y * step_y
            row = flat[start : start + nx]
            row_low, row_high = -lowest, lowest
            for x in range(nx):
                v = row[x]
                finite = v - v == 0
                nonfinite += not finite
                fractions += finite and np.rint(v) != v
                sums[x] += v if finite else 0.0
                u = v if finite else lowest
                row_high = u if u > row_high else row_high
                brightest_x[x] = u if u > brightest_x[x] else brightest_x[x]
                u = v if finite else -lowest
                row_low = u if u < row_low else row_low
            low = min(low, row_low)
            brightest_z[z] = max(brightest_z[z], row_high)
            brightest_y[y] = max(brightest_y[y], row_high)
    return low, nonfinite, fractions == 0
