"""On which grids a mask of a published image may lie: that of the stored image, or the one that its source published.

Both follow from the record of the image and the recipe, so no pixel is read again. The stored grid is what `mdfp export`
writes and what a model trained on the corpus predicts on; a mask on it is taken as it is. A mask on the published grid is
brought over as in building, by the very grid that building made: it is made again from the published one, and where that
does not give the stored grid, the mask is not taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mdfp import geometry
from mdfp.geometry import Affine
from mdfp.sample import Grid, Sample, SampleImage
from schemas.recipe import Recipe, ReferenceGrid
from transforms.flat import is_flat
from transforms.labels.flat import FlatOnGrid
from transforms.labels.part import ImageOnGrid
from transforms.normalise.grid import OutputGrid, output_grid, target_spacing
from transforms.normalise.orientation import canonicalise
from transforms.normalise.shared_grid import SharedGrid, shared_grid
from transforms.normalise.taps import identity_taps
from transforms.volume import Volume, VoxelGrid

SAME_AFFINE_VOXELS = 1e-3
"""How far, in voxels, a corner of the grid that is made again may lie from the stored one: rounding, and nothing else."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """A grid that masks of an image may lie on: `transforms.labels.part.ImageOnGrid`.

    Attributes:
        canonical: where the voxels of the mask are expected, axes along R, A, S.
        grid: where the stored voxels lie, and how they follow from those.
    """

    canonical: VoxelGrid
    grid: OutputGrid | SharedGrid


def lattices(record: Sample, image: SampleImage, recipe: Recipe) -> Iterator[tuple[str, ImageOnGrid]]:
    """The grids on which a mask of an image is taken, each with its name: `stored`, and `published` where it can be made again.

    None for a film, whose frames are not masked.

    Args:
        record: the image's sample.
        image: one of its images.
        recipe: of the corpus.
    """
    if is_flat(image.axes):
        if "t" in image.axes:
            return
        (rows, columns), native = image.stored.shape[:2], image.native.shape[:2]
        yield "stored", FlatOnGrid.of((rows, columns), (rows, columns))
        if native != (rows, columns):
            yield "published", FlatOnGrid.of((native[0], native[1]), (rows, columns))
        return
    stored = _voxels(image.stored)
    if stored is None:
        return
    published = _published(record, image, recipe)
    # Where nothing was resampled both are one, and the published one is what a build would have used.
    if published is None or not published.grid.identity:
        yield "stored", Lattice(stored, _as_it_is(stored))
    if published is not None:
        yield "published", published


def _published(record: Sample, image: SampleImage, recipe: Recipe) -> Lattice | None:
    """The published grid, and how the stored one follows from it; None where that does not come out."""
    native, stored = _voxels(image.native), _voxels(image.stored)
    if native is None or stored is None:
        return None
    canonical = _canonical(native)
    wanted = recipe.geometry.grid
    if isinstance(wanted, ReferenceGrid):
        solid = [i for i in record.images if not is_flat(i.axes)]
        reference = next((i for i in solid if i.modality == wanted.reference), None)
        if reference is None:
            return None
        if reference.name != image.name:
            of_reference = _published(record, reference, recipe)
            if of_reference is None or not isinstance(of_reference.grid, OutputGrid):
                return None
            shared = shared_grid(canonical.affine_ras, of_reference.grid, low_pass=recipe.geometry.low_pass)
            return Lattice(canonical, shared) if _same(shared.shape_zyx, shared.affine_ras, stored) else None
    spacing = target_spacing(
        geometry.spacing_xyz_mm(canonical.affine_ras),
        recipe.geometry.spacing_for(image.modality),
        upsample=recipe.geometry.upsample == "allow",
    )
    grid = output_grid(
        canonical.shape_zyx,
        canonical.affine_ras,
        spacing,
        low_pass=recipe.geometry.low_pass,
        kernel=recipe.geometry.interpolation,
    )
    if grid.shape_zyx != stored.shape_zyx and recipe.geometry.crop == "foreground":
        box = _box_within(grid, stored)
        if box is None:
            return None
        grid = grid.cut(box)
    return Lattice(canonical, grid) if _same(grid.shape_zyx, grid.affine_ras, stored) else None


def _voxels(grid: Grid) -> VoxelGrid | None:
    """Where voxels lie, at each time; None where nothing says it."""
    if grid.affine_ras is None or len(grid.shape) < 3:
        return None
    z, y, x = grid.shape[-3:]
    return VoxelGrid((z, y, x), np.array(grid.affine_ras, dtype=np.float64).reshape(4, 4))


def _canonical(native: VoxelGrid) -> VoxelGrid:
    empty = np.broadcast_to(np.uint8(0), native.shape_zyx)
    return canonicalise(Volume(empty, native.affine_ras)).grid


def _as_it_is(stored: VoxelGrid) -> OutputGrid:
    """The grid on which nothing is resampled."""
    z, y, x = (identity_taps(n) for n in stored.shape_zyx)
    sx, sy, sz = geometry.spacing_xyz_mm(stored.affine_ras)
    return OutputGrid(stored.shape_zyx, (sx, sy, sz), stored.affine_ras, (z, y, x), (z, y, x))


def _box_within(grid: OutputGrid, stored: VoxelGrid) -> tuple[int, int, int, int, int, int] | None:
    """The part of a whole grid that was kept: z0, y0, x0, z1, y1, x1; None where the stored grid is no part of it."""
    first = geometry.apply(geometry.inverse(grid.affine_ras), stored.affine_ras[:3, 3])
    x, y, z = (int(v) for v in np.rint(first))
    nz, ny, nx = stored.shape_zyx
    box = (z, y, x, z + nz, y + ny, x + nx)
    inside = all(0 <= a < b <= n for a, b, n in zip(box[:3], box[3:], grid.shape_zyx, strict=True))
    return box if inside else None


def _same(shape_zyx: Sequence[int], affine_ras: Affine, stored: VoxelGrid) -> bool:
    if tuple(shape_zyx) != stored.shape_zyx:
        return False
    last = np.array(stored.shape_zyx[::-1], dtype=np.float64) - 1
    corners = np.array([[a, b, c] for a in (0.0, last[0]) for b in (0.0, last[1]) for c in (0.0, last[2])])
    apart = geometry.apply(geometry.inverse(stored.affine_ras), geometry.apply(affine_ras, corners)) - corners
    return bool(np.abs(apart).max() <= SAME_AFFINE_VOXELS)
