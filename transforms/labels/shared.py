"""A label on the grid that its case's images share: by coverage or nearest, remapped on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms import scratch
from transforms.labels.vote import decide
from transforms.normalise import layout
from transforms.normalise.shared_grid import SharedGrid, covers, locate, surround
from transforms.normalise.taps import INTEGER_WEIGHT


def vote(codes_zyx: npt.NDArray[Any], lut: npt.NDArray[Any], grid: SharedGrid, *, ignore: int) -> npt.NDArray[Any]:
    """A label at the voxels of a shared grid by coverage, as `transforms.labels.vote` decides, remapped on the way.

    Args:
        codes_zyx: canonical label, uint8 or uint16, any strides.
        lut: (256,) or (65536,) stored value of each code; 0 is background.
        grid: where to look.
        ignore: stored value of voxels whose centre lies outside the field of view.

    Returns:
        (z, y, x) array of `lut`'s dtype, C order.
    """
    out = scratch.empty(grid.shape_zyx, lut.dtype)
    rows = layout.rows(codes_zyx)
    _vote(
        rows.flat, np.array(rows.shape_zyx), np.array(rows.steps_zy), np.array(rows.flipped_zyx), grid.to_input,
        grid.offsets(), lut, INTEGER_WEIGHT, ignore, out,
    )  # fmt: skip
    return out


def nearest(codes_zyx: npt.NDArray[Any], lut: npt.NDArray[Any], grid: SharedGrid, *, ignore: int) -> npt.NDArray[Any]:
    """A label at the voxels of a shared grid by its nearest voxel, ties to the lower index; arguments as `vote`."""
    out = scratch.empty(grid.shape_zyx, lut.dtype)
    rows = layout.rows(codes_zyx)
    _nearest(
        rows.flat, np.array(rows.shape_zyx), np.array(rows.steps_zy), np.array(rows.flipped_zyx), grid.to_input, lut,
        ignore, out,
    )  # fmt: skip
    return out


@njit(cache=True, nogil=True)
def _vote(flat, shape, steps, flipped, to_input, offsets, lut, one, ignore, out):  # type: ignore[no-untyped-def]
    nz, ny, nx = out.shape
    position = np.empty(3)
    index = np.empty((3, 2), dtype=np.int64)
    weights = np.empty((3, 2))
    parts = np.empty((3, 2), dtype=np.int64)
    coverage = np.zeros(int(lut.max()) + 1, dtype=np.int64)
    met = np.empty(8 * offsets.shape[0], dtype=np.int64)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                locate(to_input, float(x), float(y), float(z), position)
                if not covers(shape, position):
                    out[z, y, x] = ignore
                    continue
                count, total = 0, 0
                for s in range(offsets.shape[0]):
                    if offsets.shape[0] > 1:
                        locate(to_input, x + offsets[s, 0], y + offsets[s, 1], z + offsets[s, 2], position)
                    surround(position, shape, flipped, 1, index, weights)
                    for axis in range(3):
                        parts[axis, 1] = int(np.rint(weights[axis, 1] * one))
                        parts[axis, 0] = one - parts[axis, 1]
                    for i in range(2):
                        for j in range(2):
                            start = index[0, i] * steps[0] + index[1, j] * steps[1]
                            for k in range(2):
                                w = parts[0, i] * parts[1, j] * parts[2, k]
                                if w == 0:
                                    continue
                                value = lut[flat[start + index[2, k]]]
                                if coverage[value] == 0:
                                    met[count] = value
                                    count += 1
                                coverage[value] += w
                                total += w
                out[z, y, x] = decide(coverage, met, count, total)


@njit(cache=True, nogil=True)
def _nearest(flat, shape, steps, flipped, to_input, lut, ignore, out):  # type: ignore[no-untyped-def]
    nz, ny, nx = out.shape
    position = np.empty(3)
    index = np.empty(3, dtype=np.int64)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                locate(to_input, float(x), float(y), float(z), position)
                if not covers(shape, position):
                    out[z, y, x] = ignore
                    continue
                for axis in range(3):
                    n = shape[axis]
                    i = min(max(int(np.ceil(position[axis] - 0.5)), 0), n - 1)
                    index[axis] = n - 1 - i if flipped[axis] else i
                out[z, y, x] = lut[flat[index[0] * steps[0] + index[1] * steps[1] + index[2]]]
