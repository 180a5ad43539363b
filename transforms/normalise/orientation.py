"""Turning a volume to the patient's axes, without touching a single value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mdfp import geometry
from transforms.volume import Volume


def canonicalise(volume: Volume) -> Volume:
    """The same volume with its x, y, z axes along the ones closest to R, A, S.

    Only axes are exchanged and reversed, so every voxel keeps its value and its world position; oblique directions stay
    in the affine. The array is a strided view, nothing is copied. Which axis is closest is decided by
    `mdfp.geometry.closest_axes`, which also says what happens near 45°.

    Raises:
        ValueError: an axis of the affine has no length, or the array is not three-dimensional.
    """
    if volume.array_zyx.ndim != 3:
        raise ValueError(f"a volume has three axes, found shape {volume.array_zyx.shape}")
    old = np.asarray(volume.affine_ras, dtype=np.float64)
    n_xyz = volume.shape_zyx[::-1]
    affine = np.array(old)
    array_axes: list[int] = [0, 0, 0]
    reverse: list[slice] = [slice(None)] * 3
    origin = old[:3, 3].copy()
    for index_axis, (world_axis, sign) in enumerate(geometry.closest_axes(old)):
        array_axis = 2 - world_axis  # arrays are z, y, x
        array_axes[array_axis] = 2 - index_axis
        affine[:3, world_axis] = old[:3, index_axis] * sign
        if sign < 0:
            reverse[array_axis] = slice(None, None, -1)
            origin += old[:3, index_axis] * (n_xyz[index_axis] - 1)
    affine[:3, 3] = origin
    # Adding zero turns the -0.0 of a flipped straight axis into 0.0.
    return replace(volume, array_zyx=volume.array_zyx.transpose(array_axes)[tuple(reverse)], affine_ras=affine + 0.0)
