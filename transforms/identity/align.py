"""How alike two volumes are once one is laid on the other: the exact comparison behind a near edge.

Two cubes (`transforms.identity.thumbnail`) are laid over each other in millimetres, the second is moved until they agree
best, and their fine structure is correlated where they overlap. Moving is what makes a volume whose slices were cut off
at one end fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

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

HOPELESS = 0.93
"""Cubes whose fine structure correlates less than this after the coarse search are not laid on each other more exactly."""

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
        box_mm: length of its sides along R, A, S.
        few: whether its own volume has few voxels.
        order: which of two cubes is the first: comparing does not depend on the order in which they are given.
    """

    smooth: npt.NDArray[np.float32]
    fine: npt.NDArray[np.float32]
    box_mm: Box
    few: bool
    order: tuple[float, Box, bytes]

    @cached_property
    def fine_of_few(self) -> npt.NDArray[np.float32]:
        """The fine structure after `MORE_SMOOTHING`, for comparing with a volume of few voxels."""
        return np.asarray(_without_broad(_smoothed(self.smooth, MORE_SMOOTHING - 1), _BROAD), np.float32)


def prepare(thumbnail: Thumbnail) -> Prepared:
    """Smooth a cube, and take its broad structure off."""
    few = math.prod(thumbnail.voxels_xyz) < FINE_EDGE**3
    smooth = _smoothed(thumbnail.cells_zyx.astype(np.float32), 1)
    box = thumbnail.box_mm
    order = (box[0] * box[1] * box[2], box, thumbnail.cells_zyx.tobytes())
    return Prepared(smooth, _without_broad(smooth, _BROAD), box, few, order)


def likeness(a: Prepared, b: Prepared) -> Likeness:
    """Lay two cubes over each other and compare them. The order of the two does not matter but for the shift's sign."""
    swapped = a.order < b.order
    first, second = (b, a) if swapped else (a, b)
    few = first.few or second.few
    fine_a, fine_b = (p.fine_of_few if few else p.fine for p in (first, second))
    cell_a = np.array(first.box_mm) / CELLS
    cell_b = np.array(second.box_mm) / CELLS
    reach = np.abs(cell_a - cell_b) * CELLS / 2 + cell_a
    shift, score, overlap = _search(first.smooth, second.smooth, fine_a, fine_b, cell_a, cell_b, reach, HOPELESS)
    x, y, z = ((-1.0 if swapped else 1.0) * float(s) for s in shift)
    return Likeness(float(score), float(overlap), (x, y, z))


@njit(cache=True, nogil=True)
def _smoothed(cube, times):  # type: ignore[no-untyped-def]
    for _ in range(times):
        for axis in range(3):
            cube = _mean_along(cube, axis, 1, True)
    return cube


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
    out = np.zeros_like(cube)
    weight = np.float32(0.0)
    for d in range(-half, half + 1):
        w = np.float32(2.0) if binomial and d == 0 else np.float32(1.0)
        weight += w
        for i in range(n):
            from_i = min(max(i + d, 0), n - 1) if axis == 0 else i
            for j in range(n):
                from_j = min(max(j + d, 0), n - 1) if axis == 1 else j
                if axis < 2:
                    for k in range(n):
                        out[i, j, k] += w * cube[from_i, from_j, k]
                else:
                    for k in range(n):
                        out[i, j, k] += w * cube[i, j, min(max(k + d, 0), n - 1)]
    return out / weight


@njit(cache=True, nogil=True)
def _search(smooth_a, smooth_b, fine_a, fine_b, cell_a, cell_b, reach, hopeless):  # type: ignore[no-untyped-def]
    """Move b on a by steps that are halved until nothing gains: (shift, correlation of fine structure, overlap)."""
    shift = np.zeros(3)
    best_shift = np.zeros(3)
    best = -2.0
    # Starts: middles on each other; then, along the axis where they differ most, either end on the other's.
    axis = int(np.argmax(np.abs(cell_a - cell_b) / np.maximum(cell_a, cell_b)))
    for start in range(3):
        shift[:] = 0.0
        if start:
            shift[axis] = (cell_a[axis] - cell_b[axis]) * smooth_a.shape[0] / 2 * (1.0 if start == 1 else -1.0)
        score, _ = _correlate(smooth_a, smooth_b, cell_a, cell_b, shift, 2)
        if score > best:
            best = score
            best_shift[:] = shift
    _climb(smooth_a, smooth_b, cell_a, cell_b, best_shift, reach)
    _settle(smooth_a, smooth_b, cell_a, cell_b, best_shift, reach, 2, 0.5)
    score, overlap = _correlate(fine_a, fine_b, cell_a, cell_b, best_shift, 2)
    if score < hopeless:
        return best_shift, score, overlap
    _settle(smooth_a, smooth_b, cell_a, cell_b, best_shift, reach, 1, 0.25)
    _settle(smooth_a, smooth_b, cell_a, cell_b, best_shift, reach, 1, 0.1)
    score, overlap = _correlate(fine_a, fine_b, cell_a, cell_b, best_shift, 1)
    return best_shift, score, overlap


@njit(cache=True, nogil=True)
def _climb(a, b, cell_a, cell_b, best_shift, reach):  # type: ignore[no-untyped-def]
    """Change `best_shift` by whole cells, then by halves, for as long as the correlation grows."""
    best, _ = _correlate(a, b, cell_a, cell_b, best_shift, 2)
    shift = np.empty(3)
    for step in (1.0, 0.5):
        gained = True
        while gained:
            gained = False
            for k in range(3):
                for sign in (-1.0, 1.0):
                    shift[:] = best_shift
                    shift[k] += sign * step * cell_a[k]
                    if abs(shift[k]) > reach[k]:
                        continue
                    score, _ = _correlate(a, b, cell_a, cell_b, shift, 2)
                    if score > best:
                        best = score
                        best_shift[:] = shift
                        gained = True


@njit(cache=True, nogil=True)
def _settle(a, b, cell_a, cell_b, shift, reach, stride, step):  # type: ignore[no-untyped-def]
    """Move `shift` along each axis to the top of the parabola through three correlations, at most by a step, in cells."""
    for k in range(3):
        middle = shift[k]
        here, _ = _correlate(a, b, cell_a, cell_b, shift, stride)
        shift[k] = middle - step * cell_a[k]
        before, _ = _correlate(a, b, cell_a, cell_b, shift, stride)
        shift[k] = middle + step * cell_a[k]
        after, _ = _correlate(a, b, cell_a, cell_b, shift, stride)
        bend = before - 2.0 * here + after
        move = 0.0 if bend >= 0.0 else min(max(0.5 * (before - after) / bend, -1.0), 1.0)
        shift[k] = min(max(middle + move * step * cell_a[k], -reach[k]), reach[k])


@njit(cache=True, nogil=True)
def _correlate(a, b, cell_a, cell_b, shift, stride):  # type: ignore[no-untyped-def]
    """Pearson correlation of every `stride`-th cell of a with b read between its own, and how many of a's b covers.

    b is read linearly, one axis after the other.
    """
    n = a.shape[0]
    m = n // stride
    at = np.empty((3, m), dtype=np.int64)
    part = np.empty((3, m), dtype=np.float32)
    first = np.zeros(3, dtype=np.int64)
    count = np.zeros(3, dtype=np.int64)
    middle = (n - 1) / 2.0
    for axis in range(3):
        of_world = 2 - axis  # cubes are z, y, x; cells and shifts are R, A, S
        for i in range(m):
            position = ((i * stride - middle) * cell_a[of_world] - shift[of_world]) / cell_b[of_world] + middle
            if -0.5 <= position <= n - 0.5:
                position = min(max(position, 0.0), n - 1.0)
                low = min(int(position), n - 2)
                if count[axis] == 0:
                    first[axis] = i
                at[axis, count[axis]] = low
                part[axis, count[axis]] = np.float32(position - low)
                count[axis] += 1
    cells = count[0] * count[1] * count[2]
    if cells == 0:
        return -2.0, 0.0
    sa, sb, saa, sbb, sab = 0.0, 0.0, 0.0, 0.0, 0.0
    plane = np.empty((n, n), dtype=np.float32)
    row = np.empty(n, dtype=np.float32)
    for i in range(count[0]):
        low, f = at[0, i], part[0, i]
        for y in range(n):
            for x in range(n):
                plane[y, x] = b[low, y, x] + (b[low + 1, y, x] - b[low, y, x]) * f
        z = (first[0] + i) * stride
        for j in range(count[1]):
            low, f = at[1, j], part[1, j]
            for x in range(n):
                row[x] = plane[low, x] + (plane[low + 1, x] - plane[low, x]) * f
            y = (first[1] + j) * stride
            for k in range(count[2]):
                low, f = at[2, k], part[2, k]
                vb = np.float64(row[low] + (row[low + 1] - row[low]) * f)
                va = np.float64(a[z, y, (first[2] + k) * stride])
                sa += va
                sb += vb
                saa += va * va
                sbb += vb * vb
                sab += va * vb
    variance = (saa - sa * sa / cells) * (sbb - sb * sb / cells)
    if variance <= 0.0:
        return 0.0, cells / (m * m * m)
    return (sab - sa * sb / cells) / np.sqrt(variance), cells / (m * m * m)
