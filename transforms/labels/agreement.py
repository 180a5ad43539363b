"""Whether a label lies on its image's grid, by position: how its axes are stored plays no part.

Expected is one lattice. Where every corner of the label lies within `TOLERANCE_VOXELS` of the image's, the image's
grid is taken and the distance is recorded. A label that covers a box of the image's lattice is placed there. Anything
else is a fault: to resample a label that somebody moved would only hide it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp import geometry
from mdfp.geometry import Affine
from schemas.reasons import Reason
from transforms.normalise.orientation import canonicalise
from transforms.rejected import Rejected
from transforms.volume import Volume

TOLERANCE_VOXELS = 0.1
"""How far a corner of a label may lie from the image's lattice, in voxels of the image. Single-precision headers
leave up to about 0.001; half a voxel is the usual mistake, and it must not pass."""

OFFSET_DECIMALS = 6
"""Decimals of a voxel that are recorded: the rest is rounding."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A label's voxels on its image's lattice.

    Attributes:
        array_zyx: the label's voxels with the axes of the image's array; a view.
        box: z0, y0, x0, z1, y1, x1 of the image's voxels that it covers, ends exclusive.
        offset_voxels: largest distance of a corner from its place on the lattice, in voxels.
    """

    array_zyx: npt.NDArray[Any]
    box: tuple[int, ...]
    offset_voxels: float


def place(label: Volume, affine_ras: Affine, shape_zyx: tuple[int, int, int], image: str) -> Placed:
    """Place a label on the lattice of its image.

    Args:
        label: as read, axes in any order and direction.
        affine_ras: of the image's canonical array, index (x, y, z) → mm, RAS.
        shape_zyx: of the image's canonical array.
        image: the image's name, for messages.

    Raises:
        Rejected: LABEL_GRID, with the numbers.
    """
    if label.array_zyx.ndim != 3:
        raise Rejected(Reason.LABEL_GRID, f"a label of {image!r} has 3 axes, found shape {label.array_zyx.shape}")
    spacing = geometry.spacing_xyz_mm(affine_ras)
    try:
        # In the image's own frame, so that an orientation near 45°, where rounding decides between two codes, cannot
        # part a label from its image. Turning is exact, and a view.
        turned = canonicalise(replace(label, affine_ras=_in_frame(label.affine_ras, affine_ras, spacing)))
    except ValueError as error:
        raise Rejected(Reason.LABEL_GRID, f"the label of {image!r} has no usable grid: {error}") from error
    size, image_size = np.array(turned.shape_zyx[::-1]), np.array(shape_zyx[::-1])
    corners = np.array(list(product((0, 1), repeat=3))) * (size - 1)
    found = geometry.apply(turned.affine_ras, corners) / spacing
    start = np.rint(found[0]).astype(np.int64)
    offset = _largest_norm(found - (start + corners))
    inside = bool((start >= 0).all() and (start + size <= image_size).all())
    if not (offset <= TOLERANCE_VOXELS and inside):
        apart = found - np.array(list(product((0, 1), repeat=3))) * (image_size - 1)
        corners_lie = (
            f"corners lie up to {_largest_norm(apart):.3g} voxels ({_largest_norm(apart * spacing):.3g} mm) from those of "
            f"{image!r}, expected at most {TOLERANCE_VOXELS}"
        )
        shapes = f"shape of the label {_shape(size)}, of the image {_shape(image_size)}"
        spacings = f"spacing of the label {_spacing(turned.affine_ras)}, of the image {_spacing(affine_ras)} mm"
        # What differs most plainly comes first: corners may be close together although planes are missing.
        told = (corners_lie, shapes, spacings) if (size == image_size).all() else (shapes, spacings, corners_lie)
        raise Rejected(
            Reason.LABEL_GRID, "the label is not on its image's grid, in the image's axes x, y, z: " + "; ".join(told)
        )
    low, high = start[::-1], (start + size)[::-1]
    box = tuple(int(v) for v in (*low, *high))
    return Placed(turned.array_zyx, box, round(offset, OFFSET_DECIMALS))


def _in_frame(label_ras: Affine, image_ras: Affine, spacing_xyz: tuple[float, float, float]) -> Affine:
    """The label's affine with the image's frame for a world: mm along the image's index axes, from its first voxel.

    Raises:
        ValueError: the affine is not finite.
    """
    if not np.isfinite(label_ras).all():
        raise ValueError("its affine is not finite")
    to_index = geometry.inverse(image_ras)
    frame = np.eye(4)
    for column in range(4):
        v = label_ras[:3, column]
        for row in range(3):
            t = to_index[row]
            shift = t[3] if column == 3 else 0.0
            frame[row, column] = (t[0] * v[0] + t[1] * v[1] + t[2] * v[2] + shift) * spacing_xyz[row]
    return frame


def _largest_norm(vectors: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(vectors[:, 0] ** 2 + vectors[:, 1] ** 2 + vectors[:, 2] ** 2).max())


def _shape(size: npt.NDArray[Any]) -> str:
    return "×".join(str(int(n)) for n in size)


def _spacing(affine: Affine) -> str:
    return "×".join(f"{s:.4g}" for s in geometry.spacing_xyz_mm(affine))
