"""A coded label on its image's output grid: vote or nearest, thin structures, or the voxels as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mdfp import geometry
from mdfp.geometry import Affine
from transforms.labels import shared
from transforms.labels.nearest import Indices, keep_thin, nearest_index, remap, take_nearest
from transforms.labels.vote import vote
from transforms.normalise import shared_grid
from transforms.normalise.grid import OutputGrid
from transforms.normalise.shared_grid import SharedGrid
from transforms.normalise.taps import first_centre_mm, output_size


def resample(
    codes_zyx: npt.NDArray[Any],
    lut: npt.NDArray[Any],
    affine_ras: Affine,
    grid: OutputGrid | SharedGrid,
    *,
    how: Literal["vote", "nearest"],
    ignore: int,
    thin: frozenset[int] = frozenset(),
) -> npt.NDArray[Any]:
    """Remap and resample a label in one pass.

    Args:
        codes_zyx: label on its image's canonical grid, uint8 or uint16, any strides.
        lut: (256,) or (65536,) stored value of each code.
        affine_ras: of the image's canonical array.
        grid: where the output voxels lie; may be a part of the full output grid.
        how: coverage and vote, or nearest voxel.
        ignore: stored value where a shared grid reaches beyond the label's image.
        thin: stored values kept in every output voxel into which one of their input voxels falls.

    Returns:
        (z, y, x) array of `lut`'s dtype and `grid`'s shape, C order.
    """
    if isinstance(grid, SharedGrid):
        brought = (shared.nearest if how == "nearest" else shared.vote)(codes_zyx, lut, grid, ignore=ignore)
        return _keep_thin_shared(brought, codes_zyx, lut, thin, grid) if thin else brought
    if grid.identity:
        return remap(codes_zyx, lut)
    if how == "nearest":
        stored = take_nearest(codes_zyx, lut, nearest_inputs(codes_zyx.shape, affine_ras, grid))
    else:
        stored = vote(codes_zyx, lut, grid.coverage_zyx)
    if thin:
        stored = keep_thin(stored, codes_zyx, lut, thin, _owners(codes_zyx.shape, affine_ras, grid))
    return stored


def stored_extent(
    box: tuple[int, ...], shape_zyx: Sequence[int], affine_ras: Affine, grid: OutputGrid | SharedGrid
) -> tuple[int, ...]:
    """Stored voxels whose nearest native voxel lies in a box of native voxels; on a shared grid, the box around them.

    Both boxes are z0, y0, x0, z1, y1, x1, ends exclusive.
    """
    if isinstance(grid, SharedGrid):
        return shared_grid.extent(box, grid)
    inputs = nearest_inputs(shape_zyx, affine_ras, grid)
    low = [int(np.searchsorted(i, a)) for i, a in zip(inputs, box[:3], strict=True)]
    high = [int(np.searchsorted(i, b)) for i, b in zip(inputs, box[3:], strict=True)]
    return (*low, *high)


def _keep_thin_shared(
    stored_zyx: npt.NDArray[Any],
    codes_zyx: npt.NDArray[Any],
    lut: npt.NDArray[Any],
    thin: frozenset[int],
    grid: SharedGrid,
) -> npt.NDArray[Any]:
    """`keep_thin` on a shared grid."""
    values = np.array(sorted(thin, reverse=True), dtype=lut.dtype)
    claims = np.zeros_like(stored_zyx)
    for value in values:  # the lowest comes last and has it
        owner = shared_grid.owners(np.argwhere(lut[codes_zyx] == value), grid)
        z, y, x = owner[owner[:, 0] >= 0].T
        claims[z, y, x] = value
    return np.where((claims != 0) & ~np.isin(stored_zyx, values), claims, stored_zyx)


def nearest_inputs(shape_zyx: Sequence[int], affine_ras: Affine, grid: OutputGrid) -> tuple[Indices, Indices, Indices]:
    """For each output index along z, y, x the nearest index of the input."""
    x, y, z = (
        nearest_index(n_in, s, n_all, t)[start : start + n_out]
        for n_in, s, n_all, t, start, n_out in _axes(shape_zyx, affine_ras, grid)
    )
    return z, y, x


def _owners(shape_zyx: Sequence[int], affine_ras: Affine, grid: OutputGrid) -> tuple[Indices, Indices, Indices]:
    """For each input index along z, y, x the output index it is nearest to; -1 outside the output."""
    found = []
    for n_in, s, n_all, t, start, n_out in _axes(shape_zyx, affine_ras, grid):
        owner = nearest_index(n_all, t, n_in, s) - start
        found.append(np.where((owner >= 0) & (owner < n_out), owner, -1))
    x, y, z = found
    return z, y, x


def _axes(
    shape_zyx: Sequence[int], affine_ras: Affine, grid: OutputGrid
) -> list[tuple[int, float, int, float, int, int]]:
    """Along x, y, z: input voxels and spacing, voxels and spacing of the full output grid, and which part is kept.

    The part is its first voxel and its number of voxels; a grid cut to a box says by its affine where it begins.
    """
    spacing = geometry.spacing_xyz_mm(affine_ras)
    origin = geometry.apply(geometry.inverse(affine_ras), grid.affine_ras[:3, 3])
    result = []
    for axis in range(3):
        n_in, s, t = shape_zyx[2 - axis], spacing[axis], grid.spacing_xyz_mm[axis]
        n_all = output_size(n_in, s, t)
        start = round((float(origin[axis]) * s - first_centre_mm(n_in, s, n_all, t)) / t)
        result.append((n_in, s, n_all, t, start, grid.shape_zyx[2 - axis]))
    return result
