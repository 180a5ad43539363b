"""Slices of one plane and size, put in order by where they lie, and measured: the doctor's instruments.

Order is the projection of ImagePositionPatient on the normal of the slices (PS3.3 C.7.6.2.1.1); InstanceNumber is never
asked. The step is measured between positions in 3-D; SliceThickness and SpacingBetweenSlices are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mdfp import geometry
from mdfp.geometry import Affine
from schemas.reasons import Reason
from transforms.read.deskew import Skew, skew_of
from transforms.read.dicom import Instance
from transforms.read.header import SHEAR_TOLERANCE_DEG
from transforms.rejected import Rejected

Vector = tuple[float, float, float]

MIN_SLICES = 2
"""Slices at different positions, at least: with one there is no step to measure."""

SAME_POSITION_MM = 0.01
"""Slices closer than this along the normal, in mm, lie at one position. Positions are written with three decimals or
more, and no scanner steps by less than ten times this."""

TILT_TOLERANCE_DEG = SHEAR_TOLERANCE_DEG
"""Angle in degrees between the line through the slices and their normal, from which the series is tilted."""

MAX_TILT_DEG = 45.0
"""Gantries tilt by up to 30°; slices that lean further than this are not a tilted scan but a mistake."""

LATERAL_TOLERANCE_MM = 0.1
"""Slices may lie this far, in mm, beside the straight line through the first and the last: rounding of positions."""

REGULAR_TOLERANCE = 0.02
"""Slices may lie this fraction of a step off the regular grid, and the series still counts as regular."""

REGULAR_TOLERANCE_MM = 0.01
"""Or this far in mm, where that is more: positions are rounded."""

IRREGULAR_TOLERANCE = 0.2
"""Steps that differ from the usual step by at most this fraction of it are resampled on a regular grid, flagged; by
more, the series is refused. The interpolation then never reaches over more than 1.2 usual steps."""

GAP_TOLERANCE = 0.1
"""A step is a gap when it is a whole multiple (2 or more) of the usual one within this fraction of the usual step."""

GAP_STEPS_FRACTION = 0.2
"""Multiples in more than this fraction of the steps (and in more than one) are not slices lost but a spacing that
changes on purpose."""

UNIT_TOLERANCE = 1e-3
"""Direction cosines may differ from unit length, and from right angles, by this much (dimensionless)."""

_SHOWN_GAPS = 8


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order.

    Attributes:
        slots: the instances at each position, ascending along the normal; more than one where positions coincide.
        offsets_mm: (slots,) distance of each position from the first along the line through them.
        affine_ras: index (x, y, z) → mm of the regular, upright grid from the first to the last position.
        shape: (z, y, x) of that grid.
        ailments: (verdict, numbers) of each thing that is not regular: duplicates, tilted, irregular, in this order.
        skew: how leaning slices are shifted onto the grid; None where they stand upright.
    """

    slots: tuple[tuple[Instance, ...], ...]
    offsets_mm: npt.NDArray[np.float64]
    affine_ras: Affine
    shape: tuple[int, int, int]
    ailments: tuple[tuple[str, str], ...]
    skew: Skew | None

    @property
    def verdict(self) -> str:
        """regular, or the first of the ailments."""
        return self.ailments[0][0] if self.ailments else "regular"

    @property
    def regular_mm(self) -> npt.NDArray[np.float64]:
        """(slots,) where slices of the regular grid lie, measured as `offsets_mm`."""
        n = len(self.slots)
        return np.arange(n, dtype=np.float64) * (self.offsets_mm[-1] / (n - 1))

    @property
    def irregular(self) -> bool:
        """Whether slices must be resampled along z to lie on the grid."""
        return not _is_regular(self.offsets_mm)


def dot(a: Sequence[float] | npt.NDArray[np.float64], b: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Scalar product of two vectors of three, written out."""
    return float(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


def normal_of(orientation: Sequence[float]) -> Vector:
    """Normal of a slice: row direction × column direction, LPS (PS3.3 C.7.6.2.1.1)."""
    r, c = orientation[:3], orientation[3:]
    return (r[1] * c[2] - r[2] * c[1], r[2] * c[0] - r[0] * c[2], r[0] * c[1] - r[1] * c[0])


def check_plane(instance: Instance) -> None:
    """Refuse a slice that cannot be placed.

    Raises:
        Rejected: INCOMPLETE, position, orientation or pixel spacing is missing; BAD_SPACING; BAD_AFFINE, the direction
            cosines are no two unit vectors at right angles.
    """
    given = {
        "ImagePositionPatient": instance.image_position_patient,
        "ImageOrientationPatient": instance.image_orientation_patient,
        "PixelSpacing": instance.pixel_spacing,
    }
    missing = [k for k, v in given.items() if v is None]
    if missing or instance.image_orientation_patient is None or instance.pixel_spacing is None:
        raise Rejected(Reason.INCOMPLETE, f"slices without {', '.join(missing)}")
    if min(instance.pixel_spacing) <= 0:
        raise Rejected(Reason.BAD_SPACING, f"expected a positive PixelSpacing, found {instance.pixel_spacing} mm")
    row, column = instance.image_orientation_patient[:3], instance.image_orientation_patient[3:]
    off = max(abs(math.sqrt(dot(row, row)) - 1), abs(math.sqrt(dot(column, column)) - 1), abs(dot(row, column)))
    if off > UNIT_TOLERANCE:
        raise Rejected(Reason.BAD_AFFINE, f"ImageOrientationPatient is {off:.2g} from two unit vectors at right angles")


def position(instance: Instance) -> Vector:
    """ImagePositionPatient of an instance that has passed `check_plane`."""
    if instance.image_position_patient is None:
        raise ValueError("the instance has no position: check_plane comes first")
    return instance.image_position_patient


def slots(instances: Sequence[Instance]) -> tuple[tuple[Instance, ...], ...]:
    """Instances by position, ascending along the normal; those within `SAME_POSITION_MM` share a slot.

    Within a slot the order is by SOPInstanceUID, path and frame, so it does not depend on the listing's.
    """
    plane = instances[0].image_orientation_patient
    if plane is None:
        raise ValueError("the instance has no orientation: check_plane comes first")
    normal = normal_of(plane)
    placed = sorted(((dot(position(i), normal), i) for i in instances), key=lambda p: (p[0], *_identity(p[1])))
    groups: list[list[Instance]] = []
    start = -math.inf
    for along, instance in placed:
        if along - start > SAME_POSITION_MM:
            groups.append([])
            start = along
        groups[-1].append(instance)
    return tuple(tuple(sorted(g, key=_identity)) for g in groups)


def _identity(instance: Instance) -> tuple[str, str, int]:
    return instance.sop_instance_uid, instance.path, instance.frame or 0


def measure(instances: Sequence[Instance]) -> Stack:
    """The stack that slices of one plane, size and spacing make.

    Raises:
        Rejected: INCOMPLETE, fewer than `MIN_SLICES` positions; TILTED, beyond `MAX_TILT_DEG`; MISSING_SLICES,
            with where; IRREGULAR_SPACING, with the steps.
    """
    groups = slots(instances)
    if len(groups) < MIN_SLICES:
        raise Rejected(Reason.INCOMPLETE, f"expected slices at {MIN_SLICES} positions or more, found {len(groups)}")
    first = groups[0][0]
    cosines = first.image_orientation_patient
    row_column = first.pixel_spacing
    if cosines is None or row_column is None:
        raise ValueError("the instance has no plane: check_plane comes first")
    normal = normal_of(cosines)
    points = np.array([position(g[0]) for g in groups])
    line = points[-1] - points[0]
    length = math.sqrt(dot(line, line))
    unit = line / length
    _check_straight(groups, points, unit, length)
    degrees = _tilt_deg(line, normal)
    offsets = (points[:, 0] - points[0, 0]) * unit[0] + (points[:, 1] - points[0, 1]) * unit[1]
    offsets = offsets + (points[:, 2] - points[0, 2]) * unit[2]
    detail = _check_steps(offsets)
    ailments = [("irregular", detail)] if detail else []
    skew, shape_yx = None, (first.rows, first.columns)
    # PixelSpacing is (between rows, between columns): x steps along the row direction by the second number.
    along_x, along_y = np.array(cosines[:3]) * row_column[1], np.array(cosines[3:]) * row_column[0]
    if degrees > TILT_TOLERANCE_DEG:
        per_mm = (dot(unit, cosines[:3]) / row_column[1], dot(unit, cosines[3:]) / row_column[0])
        skew = skew_of(degrees, np.outer(offsets, per_mm))
        shape_yx = skew.shape_yx(first.rows, first.columns)
        points = points + (along_x * skew.start_xy[0] + along_y * skew.start_xy[1])
        line = np.array(normal) * dot(line, normal)
        ailments.insert(0, ("tilted", _tilted(skew, shape_yx, first)))
    doubled = [g for g in groups if len(g) > 1]
    if doubled:
        extra = sum(len(g) - 1 for g in doubled)
        ailments.insert(
            0,
            (
                "duplicates",
                f"{extra} further slices at {len(doubled)} of {len(groups)} positions, one expected at each",
            ),
        )
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along_x, along_y
    affine[:3, 2] = line / (len(groups) - 1)
    affine[:3, 3] = points[0]
    return Stack(groups, offsets, geometry.lps_to_ras(affine), (len(groups), *shape_yx), tuple(ailments), skew)


def _tilted(skew: Skew, shape_yx: tuple[int, int], first: Instance) -> str:
    return (
        f"the line through the slices leans {skew.degrees:.2f}° from their normal, 0° expected: each slice is shifted within "
        f"its plane, by up to {np.abs(skew.shift_xy_px).max():.2f} pixels, onto an upright grid of {shape_yx[1]}×{shape_yx[0]} "
        f"pixels instead of {first.columns}×{first.rows}"
    )


def _check_straight(
    groups: Sequence[Sequence[Instance]], points: npt.NDArray[np.float64], unit: npt.NDArray[np.float64], length: float
) -> None:
    worst = 0.0
    for group in groups:
        for instance in group:
            offset = np.array(position(instance)) - points[0]
            beside = offset - unit * dot(offset, unit)
            worst = max(worst, math.sqrt(dot(beside, beside)))
    if worst > LATERAL_TOLERANCE_MM:
        raise Rejected(
            Reason.IRREGULAR_SPACING,
            f"slices lie up to {worst:.3f} mm beside the line of {length:.3f} mm through the first and the last, "
            f"{LATERAL_TOLERANCE_MM} mm is allowed",
        )


def _tilt_deg(line: npt.NDArray[np.float64], normal: Vector) -> float:
    along = dot(line, normal)
    beside = line - np.array(normal) * along
    degrees = math.degrees(math.atan2(math.sqrt(dot(beside, beside)), along))
    if degrees > MAX_TILT_DEG:
        raise Rejected(
            Reason.TILTED,
            f"the line through the slices leans {degrees:.2f}° from their normal; up to {MAX_TILT_DEG}° is deskewed",
        )
    return degrees


def _is_regular(offsets_mm: npt.NDArray[np.float64]) -> bool:
    n = len(offsets_mm)
    step = offsets_mm[-1] / (n - 1)
    worst = float(np.abs(offsets_mm - np.arange(n) * step).max())
    return worst <= max(REGULAR_TOLERANCE_MM, REGULAR_TOLERANCE * step)


def _check_steps(offsets_mm: npt.NDArray[np.float64]) -> str:
    """What is irregular about the steps, empty for a regular stack."""
    if _is_regular(offsets_mm):
        return ""
    steps = np.diff(offsets_mm)
    # The lower middle: of the steps 1 and 2 mm the usual one is 1 mm, and a slice is missing.
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    ratio = steps / usual
    multiple = np.rint(ratio)
    gaps = np.flatnonzero((multiple >= 2) & (np.abs(ratio - multiple) <= GAP_TOLERANCE))
    others = np.delete(ratio, gaps)
    spread = f"steps run from {steps.min():.4f} to {steps.max():.4f} mm, usually {usual:.4f} mm"
    few = len(gaps) <= max(1, GAP_STEPS_FRACTION * len(steps))
    if len(gaps) and few and np.all(np.abs(others - 1) <= IRREGULAR_TOLERANCE):
        missing = int((multiple[gaps] - 1).sum())
        shown = [f"{int(multiple[g] - 1)} after slice {g + 1} ({offsets_mm[g]:.2f} mm)" for g in gaps[:_SHOWN_GAPS]]
        more = f" and at {len(gaps) - _SHOWN_GAPS} more places" if len(gaps) > _SHOWN_GAPS else ""
        raise Rejected(
            Reason.MISSING_SLICES,
            f"{missing} of {len(offsets_mm) + missing} slices are missing: {', '.join(shown)}{more}; "
            f"the usual step is {usual:.4f} mm",
        )
    worst = float(np.abs(ratio - 1).max())
    if worst > IRREGULAR_TOLERANCE:
        raise Rejected(
            Reason.IRREGULAR_SPACING,
            f"{spread}: {100 * worst:.1f} % off, {100 * IRREGULAR_TOLERANCE:.0f} % is allowed",
        )
    return f"{spread}: resampled along z on a regular grid between the first and the last slice"
