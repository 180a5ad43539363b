"""The grid a volume is stored on: same field of view, same axes, the spacing the recipe asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdfp import geometry
from mdfp.geometry import Affine
from schemas.recipe import PlaneSpacing, Spacing
from transforms.normalise.taps import SPACING_DECIMALS, Taps, first_centre_mm, linear_taps, output_size


@dataclass(frozen=True, eq=False)
class OutputGrid:
    """Where output voxels lie, and the taps that make them, per axis.

    Attributes:
        shape_zyx: output voxels along z, y, x.
        spacing_xyz_mm: output spacing along x, y, z.
        affine_ras: output index (x, y, z) → mm, RAS.
        taps_zyx: taps along z, y, x of the (canonical) input array.
    """

    shape_zyx: tuple[int, int, int]
    spacing_xyz_mm: tuple[float, float, float]
    affine_ras: Affine
    taps_zyx: tuple[Taps, Taps, Taps]

    @property
    def identity(self) -> bool:
        """Whether nothing is resampled."""
        return all(t.identity for t in self.taps_zyx)


def acquisition_axis(spacing_xyz_mm: tuple[float, float, float]) -> int:
    """Index axis (0 x, 1 y, 2 z) across the slices: the one with the largest spacing; z when all are alike."""
    x, y, z = spacing_xyz_mm
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
    native = tuple(round(s, SPACING_DECIMALS) for s in native_xyz_mm)
    if spacing == "native":
        wanted: tuple[float, ...] = native
    elif isinstance(spacing, PlaneSpacing):
        through = acquisition_axis(native_xyz_mm)
        asked = [spacing.through_plane if axis == through else spacing.in_plane for axis in range(3)]
        wanted = tuple(n if a == "native" else float(a) for a, n in zip(asked, native, strict=True))
    else:
        wanted = tuple(float(s) for s in spacing)  # type: ignore[arg-type]  # "native" is dealt with above
    if not upsample:
        wanted = tuple(max(w, n) for w, n in zip(wanted, native, strict=True))
    x, y, z = wanted
    return x, y, z


def output_grid(
    shape_zyx: tuple[int, int, int],
    affine_ras: Affine,
    spacing_out_xyz_mm: tuple[float, float, float],
    *,
    low_pass: bool,
) -> OutputGrid:
    """The output grid of a canonical volume, and the taps that fill it.

    Oblique directions stay in the affine. The middle of the field of view does not move.

    Args:
        shape_zyx: input voxels along z, y, x.
        affine_ras: of the input.
        spacing_out_xyz_mm: wanted spacing along x, y, z.
        low_pass: whether the taps average over the output voxel's footprint when downsampling.
    """
    spacing_in = geometry.spacing_xyz_mm(affine_ras)
    n_in = shape_zyx[::-1]
    n_out = tuple(output_size(n, s, t) for n, s, t in zip(n_in, spacing_in, spacing_out_xyz_mm, strict=True))
    taps = [
        linear_taps(n, s, m, t, low_pass=low_pass)
        for n, s, m, t in zip(n_in, spacing_in, n_out, spacing_out_xyz_mm, strict=True)
    ]
    if all(t.identity for t in taps):
        affine_out = np.array(affine_ras, dtype=np.float64)
    else:
        start_mm = [
            first_centre_mm(n, s, m, t) for n, s, m, t in zip(n_in, spacing_in, n_out, spacing_out_xyz_mm, strict=True)
        ]
        start_index = [mm / round(s, SPACING_DECIMALS) for mm, s in zip(start_mm, spacing_in, strict=True)]
        affine_out = geometry.compose(
            geometry.direction(affine_ras), spacing_out_xyz_mm, geometry.apply(affine_ras, np.array(start_index))
        )
    x, y, z = n_out
    tx, ty, tz = taps
    return OutputGrid((z, y, x), spacing_out_xyz_mm, affine_out, (tz, ty, tx))
