"""What the header of any format must satisfy before memory is taken, and the record it becomes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mdfp import geometry
from mdfp.geometry import Affine
from mdfp.sample import Finding
from schemas.case import ArrayHeader
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.rejected import Rejected

SHEAR_TOLERANCE_DEG = 0.1
"""Index axes may be this far from right angles, in degrees: half a millimetre over 300 mm. Headers in single precision
stay below a thousandth of a degree; gantry tilt starts at about one."""

SINGULAR_TOLERANCE = 1e-6
"""Smallest volume of the parallelepiped of the three unit axis directions (dimensionless; 1 for right angles)."""

MIN_EDGE = 2
"""Voxels along each axis of a volume, at least: with one there is no distance between centres to measure."""

IF_WANTED = "`temporal: keep` or `split` in the recipe takes them"
"""What a refusal of time points says last."""

OVER_TIME = "tzyx"
"""Axes of an image over time, slowest first."""

_ANGLE_DECIMALS = 6  # of a degree: angles come from libm, whose last bit differs between systems


@dataclass(frozen=True)
class ReadHeader:
    """A header as read.

    Attributes:
        header: what it says, checked.
        findings: what was noticed while reading it; `where` is the array's name.
        orientation: EXIF's, 1 to 8, by which a picture in a file is turned upright.
    """

    header: ArrayHeader
    findings: tuple[Finding, ...]
    orientation: int = 1


def check_extent(shape_zyx: Sequence[int], itemsize: int, limits: Limits) -> None:
    """Refuse an array before memory is taken for it.

    Args:
        shape_zyx: voxels along z, y, x as the header announces them.
        itemsize: bytes of one voxel in memory.
        limits: what an array may cost.

    Raises:
        Rejected: TOO_LARGE, with what is announced and what is allowed; NOT_A_VOLUME, an axis is shorter than
            `MIN_EDGE`.
    """
    shape = "×".join(str(n) for n in reversed(shape_zyx))
    if min(shape_zyx) < MIN_EDGE:
        raise Rejected(
            Reason.NOT_A_VOLUME, f"expected at least {MIN_EDGE} voxels along each axis, found {shape} (x, y, z)"
        )
    voxels = math.prod(shape_zyx)
    for what, found, allowed in (
        ("voxels along one axis", max(shape_zyx), limits.max_edge),
        ("voxels", voxels, limits.max_voxels),
        ("bytes in memory", voxels * itemsize, limits.max_bytes),
    ):
        if found > allowed:
            raise Rejected(
                Reason.TOO_LARGE,
                f"the header announces {shape} (x, y, z), {found} {what}; the recipe's limits allow {allowed}",
            )


def check_frames(frames: int, limits: Limits) -> None:
    """Refuse an object by the number of frames that its header announces.

    Raises:
        Rejected: TOO_LARGE; UNREADABLE, a negative number.
    """
    if frames < 0:
        raise Rejected(Reason.UNREADABLE, f"expected a number of frames, found {frames}")
    if frames > limits.max_frames:
        raise Rejected(
            Reason.TOO_LARGE, f"the header announces {frames} frames; the recipe's limits allow {limits.max_frames}"
        )


def check_affine(affine_ras: Affine) -> None:
    """Refuse a voxel-to-world matrix that is no honest grid.

    Raises:
        Rejected: BAD_AFFINE, not finite or singular; BAD_SPACING, an axis without length; SHEARED, axes further than
            `SHEAR_TOLERANCE_DEG` from right angles.
    """
    if not np.all(np.isfinite(affine_ras)):
        raise Rejected(Reason.BAD_AFFINE, "the voxel-to-world matrix holds numbers that are not finite")
    spacing = geometry.spacing_xyz_mm(affine_ras)
    check_spacing(spacing)
    d = geometry.direction(affine_ras)
    volume = (
        d[0, 0] * (d[1, 1] * d[2, 2] - d[1, 2] * d[2, 1])
        - d[0, 1] * (d[1, 0] * d[2, 2] - d[1, 2] * d[2, 0])
        + d[0, 2] * (d[1, 0] * d[2, 1] - d[1, 1] * d[2, 0])
    )
    if abs(float(volume)) < SINGULAR_TOLERANCE:
        raise Rejected(Reason.BAD_AFFINE, "the voxel-to-world matrix is singular: its axes lie in one plane")
    shear = geometry.shear_deg(affine_ras)
    if shear > SHEAR_TOLERANCE_DEG:
        raise Rejected(Reason.SHEARED, f"axes are {shear:.3f}° from right angles, {SHEAR_TOLERANCE_DEG}° is allowed")


def check_spacing(spacing_xyz_mm: Sequence[float]) -> None:
    """Refuse a spacing that is zero, negative or not finite.

    Raises:
        Rejected: BAD_SPACING, with the numbers.
    """
    if not all(math.isfinite(s) and s > 0 for s in spacing_xyz_mm):
        shown = ", ".join(f"{s:g}" for s in spacing_xyz_mm)
        raise Rejected(Reason.BAD_SPACING, f"expected a positive spacing along x, y, z, found {shown} mm")


def array_header(
    *,
    name: str,
    format: str,
    shape_zyx: tuple[int, int, int],
    affine_ras: Affine,
    dtype: np.dtype,
    scale: float,
    offset: float,
    file_bytes: int,
    frame_of_reference: str | None = None,
    verdict: str = "regular",
    unit: str | None = None,
) -> ArrayHeader:
    """The record of a volume whose geometry has passed `check_affine`."""
    return ArrayHeader(
        name=name,
        format=format,
        axes="zyx",
        shape=shape_zyx,
        spacing_xyz_mm=geometry.spacing_xyz_mm(affine_ras),
        orientation=geometry.orientation_code(affine_ras),
        affine_ras=tuple(float(v) for v in np.asarray(affine_ras).ravel()),
        obliquity_deg=round(geometry.obliquity_deg(affine_ras), _ANGLE_DECIMALS),
        dtype=dtype.name,
        scale=scale,
        offset=offset,
        frame_of_reference=frame_of_reference,
        verdict=verdict,
        bytes=file_bytes,
        unit=unit,
    )


def over_time(header: ArrayHeader, count: int) -> ArrayHeader:
    """The header of one moment as that of all of them."""
    return replace(header, axes=OVER_TIME, shape=(count, *header.shape), verdict="temporal")


def at_one_moment(header: ArrayHeader) -> ArrayHeader:
    """The header of all moments as that of one: its grid, for what is drawn on all of them."""
    return header if header.axes != OVER_TIME else replace(header, axes="zyx", shape=header.shape[1:])


def check_extent_over_time(header: ArrayHeader, limits: Limits) -> None:
    """Refuse an image over time before memory is taken for it.

    Raises:
        Rejected: as `check_extent` of one moment; TOO_LARGE, the voxels, bytes or number of all moments.
    """
    count, *shape = header.shape
    check_frames(count, limits)
    itemsize = np.dtype(header.dtype).itemsize
    check_extent(shape, itemsize, limits)
    voxels = math.prod(header.shape)
    for what, found, allowed in (
        ("voxels", voxels, limits.max_voxels),
        ("bytes in memory", voxels * itemsize, limits.max_bytes),
    ):
        if found > allowed:
            shown = "×".join(str(n) for n in (*shape[::-1], count))
            raise Rejected(
                Reason.TOO_LARGE,
                f"the header announces {shown} (x, y, z, t), {found} {what}; the recipe's limits allow {allowed}",
            )


def affine_of(header: ArrayHeader) -> Affine:
    """The 4×4 of a header's record.

    Raises:
        Rejected: NO_GEOMETRY, the header has none.
    """
    if header.affine_ras is None:
        raise Rejected(Reason.NO_GEOMETRY, "the header holds no voxel-to-world matrix")
    return np.array(header.affine_ras, dtype=np.float64).reshape(4, 4)


def furthest_corner_mm(first_ras: Affine, second_ras: Affine, shape_zyx: Sequence[int]) -> float:
    """Largest distance in mm between where two affines put a corner voxel's centre of one array."""
    z, y, x = (n - 1 for n in shape_zyx)
    corners = np.array([(i, j, k) for i in (0, x) for j in (0, y) for k in (0, z)], dtype=np.float64)
    gap = geometry.apply(first_ras, corners) - geometry.apply(second_ras, corners)
    return float(np.sqrt((gap * gap).sum(axis=1)).max())
