"""A volume in memory, or several at different moments: voxels, where they are, and what their numbers mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from mdfp.geometry import Affine


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with their geometry; they always change together.

    Attributes:
        array_zyx: shape (z, y, x), any strides (often a read-only view of the file's buffer), stored values.
        affine_ras: 4×4, index (x, y, z) → mm, RAS world.
        scale: physical = stored * scale + offset.
        offset: see scale.
        padding: stored value that marks voxels outside the scan (DICOM PixelPaddingValue), or None.
    """

    array_zyx: npt.NDArray[Any]
    affine_ras: Affine
    scale: float = 1.0
    offset: float = 0.0
    padding: float | None = None

    @property
    def array(self) -> npt.NDArray[Any]:
        """`array_zyx`."""
        return self.array_zyx

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        z, y, x = self.array_zyx.shape
        return z, y, x

    @property
    def grid(self) -> VoxelGrid:
        """Where its voxels are."""
        return VoxelGrid(self.shape_zyx, self.affine_ras)


@dataclass(frozen=True, eq=False)
class TemporalVolume:
    """Volumes of one place at several moments, on one grid and with one meaning of their numbers.

    Attributes:
        array_tzyx: shape (t, z, y, x), any strides, stored values.
        affine_ras: 4×4, index (x, y, z) → mm, RAS world; the same for all moments.
        ordered_by: the attribute or axis that puts the moments in order.
        scale: physical = stored * scale + offset.
        offset: see scale.
        padding: stored value that marks voxels outside the scan, or None.
        step_ms: from one moment to the next, where the file says and it is one; else None.
        times_ms: of each moment after the first, where the file says and there is no one step; else empty.
    """

    array_tzyx: npt.NDArray[Any]
    affine_ras: Affine
    ordered_by: str
    scale: float = 1.0
    offset: float = 0.0
    padding: float | None = None
    step_ms: float | None = None
    times_ms: tuple[float, ...] = ()

    @property
    def array(self) -> npt.NDArray[Any]:
        """`array_tzyx`."""
        return self.array_tzyx

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Voxels along z, y, x of one moment."""
        _, z, y, x = self.array_tzyx.shape
        return z, y, x

    @property
    def grid(self) -> VoxelGrid:
        """Where the voxels of each moment are."""
        return VoxelGrid(self.shape_zyx, self.affine_ras)

    def moment(self, number: int) -> Volume:
        """The volume of one moment, from 0; a view."""
        return Volume(self.array_tzyx[number], self.affine_ras, self.scale, self.offset, self.padding)


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """Where voxels are, without their values: what is left of a volume when its memory is given back.

    Attributes:
        shape_zyx: voxels along z, y, x.
        affine_ras: 4×4, index (x, y, z) → mm, RAS world.
    """

    shape_zyx: tuple[int, int, int]
    affine_ras: Affine
