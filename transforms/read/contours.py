"""Closed contours to voxels: the even-odd rule at voxel centres, in double precision, with one answer for every tie.

A voxel belongs to a region when a ray from its centre crosses the contours of its slice an odd number of times. All
contours of a slice count together, so a contour within a contour is a hole, one within the hole is an island, contours
beside each other are regions of their own, and the two ways of a keyhole (PS3.3 C.8.8.6.3) cancel.

Ties: a region is closed at its lower and open at its higher index side, along x and along y. A centre exactly on a
contour therefore belongs to the region whose lower side it lies on, and of two regions that share an edge every centre
on it belongs to exactly one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
"""(n, 2): x and y of the corners of a closed contour in voxels, 0 at the centre of the first; the last corner is
joined to the first, which may be repeated."""


def fill(contours: Sequence[Points], shape_yx: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The voxels of one slice that lie inside: (y, x), 1 inside and 0 outside.

    What lies outside the slice is cut off. Contours of fewer than three corners enclose nothing.

    Args:
        contours: finite coordinates.
        shape_yx: rows and columns of the slice.
    """
    mask = np.zeros(shape_yx, dtype=np.uint8)
    first, last = shape_yx[0], 0
    for points in contours:
        if len(points) > 2:
            _toggle(np.ascontiguousarray(points, dtype=np.float64), mask)
            first, last = min(first, int(points[:, 1].min())), max(last, int(points[:, 1].max()) + 1)
    _run(mask[max(first, 0) : max(last, 0)])
    return mask


@numba.njit(cache=True, nogil=True)
def _toggle(points: Any, mask: Any) -> None:
    """Flip the first voxel at or behind each crossing of an edge with a row of voxel centres."""
    rows, columns = mask.shape
    for n in range(len(points)):
        m = n + 1 if n + 1 < len(points) else 0
        # From its lower end, whichever way the contour runs: an edge that is passed twice crosses at equal numbers.
        ax, ay, bx, by = points[n, 0], points[n, 1], points[m, 0], points[m, 1]
        if (by, bx) < (ay, ax):
            ax, ay, bx, by = bx, by, ax, ay
        # Rows with ay <= row < by: a corner on a row counts for one of its two edges, a horizontal edge for none.
        for row in range(int(np.ceil(max(ay, 0.0))), int(np.ceil(min(by, float(rows))))):
            # Multiplied first: where the crossing is a whole number, so is what is computed.
            x = ax + (row - ay) * (bx - ax) / (by - ay)
            column = int(np.ceil(min(max(x, 0.0), float(columns))))
            if column < columns:
                mask[row, column] ^= 1


@numba.njit(cache=True, nogil=True)
def _run(mask: Any) -> None:
    """From flips to voxels: each is inside when the flips up to it are odd."""
    for row in range(mask.shape[0]):
        inside = 0
        for column in range(mask.shape[1]):
            inside ^= mask[row, column]
            mask[row, column] = inside
