"""One object that holds many slices, taken apart: multi-frame objects into frames, Siemens mosaics into tiles.

Each slice becomes an `Instance` of its own, with `frame` as its number in the object, so that the doctor measures frames
and tiles as it measures files.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from schemas.reasons import Reason
from transforms.read.dicom import Instance
from transforms.read.functional_groups import Frame
from transforms.read.pet import UCUM_UNITS
from transforms.rejected import Rejected

NORMAL_TOLERANCE = 0.01
"""A mosaic's slice normal may differ from its plane's by this much (dimensionless), either way round."""


def is_mosaic(instance: Instance) -> bool:
    """Whether one picture shows all slices of a volume side by side."""
    return "MOSAIC" in instance.image_type


def expand(instance: Instance) -> tuple[Instance, ...]:
    """The slices of an object: itself where it is one slice.

    Raises:
        Rejected: MULTIFRAME, the object does not say where its frames or tiles lie.
    """
    if instance.frame is not None:
        return (instance,)
    if instance.number_of_frames > 1 or instance.frames:
        return _frames(instance)
    if is_mosaic(instance):
        return _tiles(instance)
    return (instance,)


def _frames(instance: Instance) -> tuple[Instance, ...]:
    if len(instance.frames) != instance.number_of_frames:
        raise Rejected(
            Reason.MULTIFRAME,
            f"a multi-frame object of {instance.number_of_frames} frames; {len(instance.frames)} of them are described",
        )
    return tuple(_single(instance, frame, number) for number, frame in enumerate(instance.frames))


def _single(instance: Instance, frame: Frame, number: int) -> Instance:
    slope = instance.slope if frame.slope is None else frame.slope
    intercept = instance.intercept if frame.intercept is None else frame.intercept
    pet = instance.pet
    if (
        pet is not None
        and frame.units in UCUM_UNITS
        and frame.real_slope is not None
        and frame.real_intercept is not None
    ):
        pet = replace(pet, units=UCUM_UNITS[frame.units])
        slope, intercept = frame.real_slope, frame.real_intercept
    if not slope or not math.isfinite(slope) or not math.isfinite(intercept):
        raise Rejected(
            Reason.UNREADABLE, f"RescaleSlope {slope} and RescaleIntercept {intercept} give no physical values"
        )
    return replace(
        instance,
        frame=number,
        frames=(),
        number_of_frames=1,
        instance_number=number,
        image_type=frame.image_type or instance.image_type,
        image_position_patient=frame.image_position_patient,
        image_orientation_patient=frame.image_orientation_patient,
        pixel_spacing=frame.pixel_spacing,
        slice_thickness=frame.slice_thickness,
        slope=slope,
        intercept=intercept,
        pet=pet,
        stack_id=frame.stack_id,
        temporal_position_identifier=frame.temporal_position,
        trigger_time=frame.trigger_time,
        echo_time=frame.echo_time,
        inversion_time=frame.inversion_time,
        diffusion_b_value=frame.diffusion_b_value,
        diffusion_direction=frame.diffusion_direction,
        acquired=frame.acquired or instance.acquired,
        time_offset_s=frame.time_offset_s,
    )


def tiles_across(count: int) -> int:
    """Tiles along an edge of the square picture of `count` slices."""
    across = math.isqrt(count)
    return across if across * across == count else across + 1


def _tiles(instance: Instance) -> tuple[Instance, ...]:
    """Tiles as slices.

    ImagePositionPatient of a mosaic is where its corner would lie if it were one large slice around the volume's axis; the
    tiles' own corner lies half the difference in size inwards (nibabel, "Siemens mosaic").
    """
    mosaic, spacing = instance.mosaic, instance.pixel_spacing
    plane, corner = instance.image_orientation_patient, instance.image_position_patient
    if mosaic is None:
        raise Rejected(
            Reason.MULTIFRAME,
            "a Siemens mosaic without the private CSA image header, which says how many slices it holds and their order",
        )
    step = instance.spacing_between_slices
    if spacing is None or plane is None or corner is None or step is None or step <= 0:
        raise Rejected(
            Reason.INCOMPLETE,
            "expected PixelSpacing, ImageOrientationPatient, ImagePositionPatient and SpacingBetweenSlices of a mosaic",
        )
    across = tiles_across(mosaic.count)
    if instance.rows % across or instance.columns % across:
        raise Rejected(
            Reason.MULTIFRAME,
            f"a mosaic of {mosaic.count} slices has {across} tiles along an edge, which do not divide its "
            f"{instance.columns}×{instance.rows} pixels",
        )
    rows, columns = instance.rows // across, instance.columns // across
    row, column = plane[:3], plane[3:]
    normal = (
        row[1] * column[2] - row[2] * column[1],
        row[2] * column[0] - row[0] * column[2],
        row[0] * column[1] - row[1] * column[0],
    )
    sign = 1.0 if sum(a * b for a, b in zip(normal, mosaic.normal, strict=True)) > 0 else -1.0
    if max(abs(sign * a - b) for a, b in zip(normal, mosaic.normal, strict=True)) > NORMAL_TOLERANCE:
        raise Rejected(Reason.BAD_AFFINE, "the mosaic's SliceNormalVector is not the normal of its plane")
    right, down = spacing[1] * (instance.columns - columns) / 2, spacing[0] * (instance.rows - rows) / 2
    first = [p + r * right + c * down for p, r, c in zip(corner, row, column, strict=True)]
    return tuple(
        replace(
            instance,
            frame=number,
            mosaic=None,
            tiles=across,
            rows=rows,
            columns=columns,
            image_type=tuple(t for t in instance.image_type if t != "MOSAIC"),
            image_position_patient=tuple(p + sign * n * step * number for p, n in zip(first, normal, strict=True)),  # type: ignore[arg-type]
        )
        for number in range(mosaic.count)
    )


def cut(stored: npt.NDArray[Any], piece: Instance) -> npt.NDArray[Any]:
    """The pixels of one frame or tile.

    Args:
        stored: shape (frames, rows, columns) of the object.
        piece: from `expand`.
    """
    number = piece.frame or 0
    if not piece.tiles:
        return stored[number]
    y, x = divmod(number, piece.tiles)
    return stored[0, y * piece.rows : (y + 1) * piece.rows, x * piece.columns : (x + 1) * piece.columns]
