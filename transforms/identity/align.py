"""How alike two volumes are once one is laid on the other: the exact comparison behind a near edge.

Two cubes (`transforms.identity.thumbnail`) are laid over each other in millimetres, the second is moved until they agree
best, and their fine structure is correlated where they overlap. Moving is what makes a volume whose slices were cut off
at one end fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.identity.thumbnail import CELLS, Thumbnail

Box = tuple[float, float, float]

SAME_IMAGE = 0.97
"""Correlation of fine structure from which on two volumes are taken for one image: docs/identity.md says how it was chosen."""

MIN_OVERLAP = 0.5
"""Fraction of the larger cube that must be compared at least."""

FINE_EDGE = 60
"""Voxels along the edge of a cube of as many voxels as the volume. Below it a cell holds so few voxels that noise and
interpolation show, and both cubes are smoothed more before they are compared."""

MORE_SMOOTHING = 4
"""Times that a cube of a volume with few voxels is smoothed; others once."""

HOPELESS = 0.7
"""Cubes that correlate less than this after the coarse search are not looked at more closely."""

_BROAD = 3
"""Half width, in cells, of the surroundings that are taken off a cell: what is left is its fine structure."""


@dataclass(frozen=True)
class Likeness:
    """What comparing two cubes gives.

    Attributes:
        score: correlation of fine structure, -1 to 1.
        overlap: fraction of the larger cube that was compared.
        shift_mm: by how much the second cube was moved along R, A, S.
    """

    score: float
    overlap: float
    shift_mm: Box

    @property
    def same_image(self) -> bool:
        """Whether the two are taken for one image."""
        return self.score >= SAME_IMAGE and self.overlap >= MIN_OVERLAP


@dataclass(frozen=True, eq=False)
class Prepared:
    """A cube made ready for many comparisons.

    Attributes:
        smooth: the cube, smoothed so that it can be read between its cells.
        fine: its fine structure.
        finest_of_few: the same after `MORE_SMOOTHING`, for comparing with a volume of few voxels.
        box_mm: length of its sides along R, A, S.
        few: whether its own volume has few voxels.
        order: which of two cubes is the first: comparing does not depend on the order in which they are given.
    """

    smooth: npt.NDArray[np.float32]
    fine: npt.NDArray[np.float32]
    finest_of_few: npt.NDArray[np.float32]
    box_mm: Box
    few: bool
    order: tuple[float, Box, bytes]


def prepare(thumbnail: Thumbnail) -> Prepared:
    """Smooth a cube, and take its broad structure off."""
    few = math.prod(thumbnail.voxels_xyz) < FINE_EDGE**3
    smooth, fine, of_few = _prepared(thumbnail.cells_zyx, MORE_SMOOTHING, _BROAD)
    box = thumbnail.box_mm
    order = (box[0] * box[1] * box[2], box, thumbnail.cells_zyx.tobytes())
    return Prepared(smooth, fine, of_few, box, few, order)


def likeness(a: Prepared, b: Prepared) -> Likeness:
    """Lay two cubes over each other and compare them. The order of the two does not matter but for the shift's sign."""
    swapped = a.order < b.order
    first, second = (b, a) if swapped else (a, b)
    few = first.few or second.few
    fine_a, fine_b = (p.finest_of_few if few else p.fine for p in (first, second))
    cell_a = np.array(first.box_mm) / CELLS
    cell_b = np.array(second.box_mm) / CELLS
    reach = np.abs(cell_a - cell_b) * CELLS / 2 + cell_a
    shift, score, overlap = _search(first.smooth, second.smooth, fine_a, fine_b, cell_a, cell_b, reach, HOPELESS)
    x, y, z = ((-1.0 if swapped else 1.0) * float(s) for s in shift)
    return Likeness(float(score), float(overlap), (x, y, z))


@njit(cache=True, nogil=True)
def _prepared(cells, more, broad):  # type: ignore[no-untyped-def]
    """(smoothed once, its fine structure, the fine structure after more smoothing)."""
    cube = cells.astype(np.float32)
    smooth = np.empty_like(cube)
    fine = np.empty_like(cube)
    for times in range(more):
        for axis in range(3):
            cube = _mean_along(cube, axis, 1, True)
        if times == 0:
            smooth[:] = cube
            fine[:] = _without_broad(cube, broad)
    return smooth, fine, _without_broad(cube, broad)


@njit(cache=True, nogil=True)
def _without_broad(cube, broad):  # type: ignore[no-untyped-def]
    wide = cube
    for axis in range(3):
        wide = _mean_along(wide, axis, broad, False)
    return cube - wide


@njit(cache=True, nogil=True)
def _mean_along(cube, axis, half, binomial):  # type: ignore[no-untyped-def]
    """Mean of each cell and `half` neighbours on both sides along an axis; `binomial`: weights 1, 2, 1. Ends repeat."""
    n = cube.shape[0]
    out = np.empty_like(cube)
    for i in range(n):
        for j in range(n):
            for k in range(n):
                total, weight = np.float32(0.0), np.float32(0.0)
                for d in range(-half, half + 1):
                    w = np.float32(2.0) if binomial and d == 0 else np.float32(1.0)
                    if axis == 0:
                        value = cube[min(max(i + d, 0), n - 1), j, k]
                    elif axis == 1:
                        value = cube[i, min(max(j + d, 0), n - 1), k]
                    else:
                        value = cube[i, j, min(max(k + d, 0), n - 1)]
                    total += w * value
                    weight += w
                out[i, j, k] = total / weight
    return out


@njit(cache=True, nogil=True)
def _search(smooth_a, smooth_b, fine_a, fine_b, cell_a, cell_b, reach, hopeless):  # type: ignore[no-untyped-def]
    """Move b on a by steps that are halved until nothing gains."""
    best, best_shift = -2.0, np.zeros(3)
    shift = np.zeros(3)
    # Starts: middles on each other; then, along the axis where they differ most, either end on the other's.
    differ = np.abs(cell_a - cell_b) / np.maximum(cell_a, cell_b)
    axis = int(np.argmax(differ))
    for start in range(3):
        shift[:] = 0.0
        if start:
            shift[axis] = (cell_a[axis] - cell_b[axis]) * smooth_a.shape[0] / 2 * (1.0 if start == 1 else -1.0)
        score, _ = _correlate(smooth_a, smooth_b, cell_a, cell_b, shift, 2)
        if score > best:
            best = score
            best_shift[:] = shift
    for stride in (2, 1):
        if stride == 1 and best < hopeless:
            return best_shift, best, 0.0
        best, _ = _correlate(smooth_a, smooth_b, cell_a, cell_b, best_shift, stride)
        step = 1.0 if stride == 2 else 0.125
        while step >= (0.125 if stride == 2 else 0.03125):
            gained = False
            for k in range(3):
                for sign in (-1.0, 1.0):
                    shift[:] = best_shift
                    shift[k] += sign * step * cell_a[k]
                    if abs(shift[k]) > reach[k]:
                        continue
                    score, _ = _correlate(smooth_a, smooth_b, cell_a, cell_b, shift, stride)
                    if score > best:
                        best = score
                        best_shift[:] = shift
                        gained = True
            if not gained:
                step *= 0.5
    score, overlap = _correlate(fine_a, fine_b, cell_a, cell_b, best_shift, 1)
    return best_shift, score, overlap


@njit(cache=True, nogil=True)
def _correlate(a, b, cell_a, cell_b, shift, stride):  # type: ignore[no-untyped-def]
    """Pearson correlation of a's cells with b read between its own, and the fraction of a's cells that b covers."""
    n = a.shape[0]
    at = np.empty((3, n), dtype=np.int64)
    part = np.empty((3, n))
    middle = (n - 1) / 2.0
    for k in range(3):
        for i in range(n):
            position = ((i - middle) * cell_a[k] - shift[k]) / cell_b[k] + middle
            at[k, i] = -1
            if -0.5 <= position <= n - 0.5:
                position = min(max(position, 0.0), n - 1.0)
                low = min(int(position), n - 2)
                at[k, i] = low
                part[k, i] = position - low
    count, sa, sb, saa, sbb, sab = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    total = 0
    for i in range(0, n, stride):
        for j in range(0, n, stride):
            for k in range(0, n, stride):
                total += 1
                z, y, x = at[2, i], at[1, j], at[0, k]
                if z < 0 or y < 0 or x < 0:
                    continue
                fz, fy, fx = part[2, i], part[1, j], part[0, k]
                low = (b[z, y, x] * (1 - fx) + b[z, y, x + 1] * fx) * (1 - fy) + (
                    b[z, y + 1, x] * (1 - fx) + b[z, y + 1, x + 1] * fx
                ) * fy
                high = (b[z + 1, y, x] * (1 - fx) + b[z + 1, y, x + 1] * fx) * (1 - fy) + (
                    b[z + 1, y + 1, x] * (1 - fx) + b[z + 1, y + 1, x + 1] * fx
                ) * fy
                vb = low * (1 - fz) + high * fz
                va = a[i, j, k]
                count += 1
                sa += va
                sb += vb
                saa += va * va
                sbb += vb * vb
                sab += va * vb
    if count == 0:
        return -2.0, 0.0
    variance = (saa - sa * sa / count) * (sbb - sb * sb / count)
    if variance <= 0.0:
        return 0.0, count / total
    return (sab - sa * sb / count) / np.sqrt(variance), count / total
