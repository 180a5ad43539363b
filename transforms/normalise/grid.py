"""The grid a volume is stored on: same field of view, same axes, the spacing the recipe asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mdfp import geometry
from mdfp.geometry import Affine
from schemas.recipe import PlaneSpacing, Spacing
from transforms.normalise.taps import Kernel, Taps, cubic_taps, first_centre_mm, linear_taps, output_size, steady_mm

POSITION_DECIMALS = 10
"""Decimals of a mm that the origin of a stored affine keeps."""

DIRECTION_DECIMALS = 13
"""Decimals of a mm per voxel that its other entries keep: over a thousand voxels as exact as the origin."""

_POSITION_STEP, _DIRECTION_STEP = 2.0**-40, 2.0**-48
"""Before that, entries are rounded to multiples of these, which drops the last bits in which the affines of a volume and
of its flipped copy differ. Decimals alone do not: half a spacing often ends in a 5, where the last bit decides."""


@dataclass(frozen=True, eq=False)
class OutputGrid:
    """Where output voxels lie, and the taps that make them, per axis.

    Attributes:
        shape_zyx: output voxels along z, y, x.
        spacing_xyz_mm: output spacing along x, y, z.
        affine_ras: output index (x, y, z) → mm, RAS.
        taps_zyx: taps along z, y, x of the (canonical) input array.
        coverage_zyx: linear taps, by which structures are counted: those of `taps_zyx`, unless images are interpolated
            in another way.
    """

    shape_zyx: tuple[int, int, int]
    spacing_xyz_mm: tuple[float, float, float]
    affine_ras: Affine
    taps_zyx: tuple[Taps, Taps, Taps]
    coverage_zyx: tuple[Taps, Taps, Taps]

    @property
    def identity(self) -> bool:
        """Whether nothing is resampled and nothing is cut off."""
        return all(t.identity for t in self.taps_zyx)

    def cut(self, box_zyx: tuple[int, int, int, int, int, int]) -> OutputGrid:
        """The part of this grid inside a box: shape, affine and taps change together.

        Args:
            box_zyx: z0, y0, x0, z1, y1, x1 in voxels of this grid, ends exclusive.

        Raises:
            ValueError: the box is empty or reaches beyond the grid.
        """
        low, high = box_zyx[:3], box_zyx[3:]
        if not all(0 <= a < b <= n for a, b, n in zip(low, high, self.shape_zyx, strict=True)):
            raise ValueError(f"box {box_zyx} is empty or reaches beyond a grid of {self.shape_zyx} voxels")
        affine = self.affine_ras.copy()
        affine[:3, 3] = geometry.apply(affine, np.array(low[::-1]))
        z, y, x = (t.cut(a, b) for t, a, b in zip(self.taps_zyx, low, high, strict=True))
        cz, cy, cx = (t.cut(a, b) for t, a, b in zip(self.coverage_zyx, low, high, strict=True))
        nz, ny, nx = (b - a for a, b in zip(low, high, strict=True))
        return OutputGrid((nz, ny, nx), self.spacing_xyz_mm, steady_affine(affine), (z, y, x), (cz, cy, cx))


def steady_affine(affine: Affine) -> Affine:
    """`affine` without its last bits and without negative zeros, so that equal grids have equal numbers."""
    a = np.asarray(affine, dtype=np.float64)
    steady = np.round(np.rint(a / _DIRECTION_STEP) * _DIRECTION_STEP, DIRECTION_DECIMALS)
    steady[:3, 3] = np.round(np.rint(a[:3, 3] / _POSITION_STEP) * _POSITION_STEP, POSITION_DECIMALS)
    return steady + 0.0


def acquisition_axis(spacing_xyz_mm: tuple[float, float, float]) -> int:
    """Index axis (0 x, 1 y, 2 z) across the slices: the one with the largest spacing; z when all are alike."""
    x, _, z = spacing_xyz_mm
    largest = max(spacing_xyz_mm)
    if z >= largest * 0.99:
        return 2
    return 0 if x == largest else 1


def target_spacing(
    native_xyz_mm: tuple[float, float, float], spacing: Spacing, *, upsample: bool
) -> tuple[float, float, float]:
    """Spacing x, y, z in mm that a recipe asks for, of a canonical volume with this native spacing.

    Args:
        native_xyz_mm: native spacing.
        spacing: the recipe's wish.
        upsample: False: an axis coarser than asked for keeps its native spacing.
    """
    native = tuple(steady_mm(s) for s in native_xyz_mm)
    if spacing == "native":
        wanted: tuple[float, ...] = native
    elif isinstance(spacing, PlaneSpacing):
        through = acquisition_axis(native_xyz_mm)
        asked = [spacing.through_plane if axis == through else spacing.in_plane for axis in range(3)]
        wanted = tuple(n if a == "native" else float(a) for a, n in zip(asked, native, strict=True))
    else:
        wanted = tuple(float(s) for s in spacing)
    if not upsample:
        wanted = tuple(max(w, n) for w, n in zip(wanted, native, strict=True))
    return _xyz(wanted)


def output_grid(
    shape_zyx: tuple[int, int, int],
    affine_ras: Affine,
    spacing_out_xyz_mm: tuple[float, float, float],
    *,
    low_pass: bool,
    kernel: Kernel = "linear",
) -> OutputGrid:
    """The output grid of a canonical volume, and the taps that fill it.

    Oblique directions stay in the affine. The middle of the field of view does not move.

    Args:
        shape_zyx: input voxels along z, y, x.
        affine_ras: of the input.
        spacing_out_xyz_mm: wanted spacing along x, y, z.
        low_pass: whether the taps average over the output voxel's footprint when downsampling.
        kernel: how images are interpolated.

    Returns:
        The grid; an axis whose voxels stay where they are keeps its native spacing exactly.
    """
    spacing_in = geometry.spacing_xyz_mm(affine_ras)
    n_in = shape_zyx[::-1]
    n_out = tuple(output_size(n, s, t) for n, s, t in zip(n_in, spacing_in, spacing_out_xyz_mm, strict=True))
    axes = list(zip(n_in, spacing_in, n_out, spacing_out_xyz_mm, strict=True))
    coverage = tuple(linear_taps(*axis, low_pass=low_pass) for axis in axes)
    taps = coverage if kernel == "linear" else tuple(cubic_taps(*axis, low_pass=low_pass) for axis in axes)
    if all(t.identity for t in taps):
        spacing_out, affine_out = spacing_in, np.array(affine_ras, dtype=np.float64)
    else:
        # Voxels that do not move keep the spacing and the place they have.
        spacing_out = _xyz(s if k.identity else t for k, s, t in zip(taps, spacing_in, spacing_out_xyz_mm, strict=True))
        start_index = [
            0.0 if k.identity else first_centre_mm(n, s, m, t) / s
            for k, n, s, m, t in zip(taps, n_in, spacing_in, n_out, spacing_out, strict=True)
        ]
        origin = geometry.apply(affine_ras, np.array(start_index))
        affine_out = geometry.compose(geometry.direction(affine_ras), spacing_out, origin)
    (x, y, z), (tx, ty, tz), (cx, cy, cz) = n_out, taps, coverage
    spacing = _xyz(round(s, POSITION_DECIMALS) for s in spacing_out)
    return OutputGrid((z, y, x), spacing, steady_affine(affine_out), (tz, ty, tx), (cz, cy, cx))


def _xyz(values: Iterable[float]) -> tuple[float, float, float]:
    x, y, z = values
    return x, y, z
