"""What an Enhanced multi-frame object says of each of its frames (PS3.3 C.7.6.16).

Attributes lie in the item of the frame (PerFrameFunctionalGroupsSequence) or, where they are the same for all, in the
one item of SharedFunctionalGroupsSequence; a frame's own item comes first. Legacy converted objects carry the rest in
UnassignedPerFrameConvertedAttributesSequence, which is not read.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from transforms.read import values
from transforms.read.values import Attributes

KEYWORDS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")

_FRAME_TYPES = (
    "MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence", "XAXRFFrameCharacteristicsSequence",
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """One frame of a multi-frame object; names and units as in `dicom.Instance`.

    Attributes:
        stack_id: StackID: frames of one stack lie on one grid.
        diffusion_direction: DiffusionGradientOrientation.
        slope: RescaleSlope of the PixelValueTransformationSequence, None where it has none.
        units: code of the units of the first real-world value mapping.
        real_slope: RealWorldValueSlope of that mapping.
        real_intercept: RealWorldValueIntercept of that mapping.
        acquired: FrameAcquisitionDateTime.
        time_offset_s: TemporalPositionTimeOffset.
    """

    image_position_patient: tuple[float, float, float] | None
    image_orientation_patient: tuple[float, float, float, float, float, float] | None
    pixel_spacing: tuple[float, float] | None
    slice_thickness: float | None
    slope: float | None
    intercept: float | None
    image_type: tuple[str, ...]
    stack_id: str | None
    temporal_position: int | None
    trigger_time: float | None
    echo_time: float | None
    inversion_time: float | None
    diffusion_b_value: float | None
    diffusion_direction: tuple[float, float, float] | None
    units: str | None = None
    real_slope: float | None = None
    real_intercept: float | None = None
    acquired: str | None = None
    time_offset_s: float | None = None


def frames_of(ds: Attributes) -> tuple[Frame, ...]:
    """The frames of an object, in their order; empty where it has no functional groups."""
    items = values.raw(ds, "PerFrameFunctionalGroupsSequence")
    if not items:
        return ()
    shared = values.first_item(ds, "SharedFunctionalGroupsSequence") or Dataset()
    return tuple(_frame(item, shared) for item in items)


def _frame(own: Dataset, shared: Dataset) -> Frame:
    def group(*keywords: str) -> Dataset:
        for keyword in keywords:
            for item in (own, shared):
                if (found := values.first_item(item, keyword)) is not None:
                    return found
        return Dataset()

    measures, rescale = group("PixelMeasuresSequence"), group("PixelValueTransformationSequence")
    content, diffusion = group("FrameContentSequence"), group("MRDiffusionSequence")
    direction = values.first_item(diffusion, "DiffusionGradientDirectionSequence") or Dataset()
    kind, real = group(*_FRAME_TYPES), group("RealWorldValueMappingSequence")
    return Frame(
        image_position_patient=values.numbers(group("PlanePositionSequence"), "ImagePositionPatient", 3),  # type: ignore[arg-type]
        image_orientation_patient=values.numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6),  # type: ignore[arg-type]
        pixel_spacing=values.numbers(measures, "PixelSpacing", 2),  # type: ignore[arg-type]
        slice_thickness=values.number(measures, "SliceThickness"),
        slope=values.number(rescale, "RescaleSlope"),
        intercept=values.number(rescale, "RescaleIntercept"),
        image_type=(*values.texts(kind, "FrameType"), *values.texts(kind, "ComplexImageComponent")),
        stack_id=values.text(content, "StackID"),
        temporal_position=values.integer(content, "TemporalPositionIndex"),
        trigger_time=values.number(group("CardiacSynchronizationSequence"), "NominalCardiacTriggerDelayTime"),
        echo_time=values.number(group("MREchoSequence"), "EffectiveEchoTime"),
        inversion_time=values.number(group("MRModifierSequence"), "InversionTimes"),
        diffusion_b_value=values.number(diffusion, "DiffusionBValue"),
        diffusion_direction=values.numbers(direction, "DiffusionGradientOrientation", 3),  # type: ignore[arg-type]
        units=values.text(values.first_item(real, "MeasurementUnitsCodeSequence") or Dataset(), "CodeValue"),
        real_slope=values.number(real, "RealWorldValueSlope"),
        real_intercept=values.number(real, "RealWorldValueIntercept"),
        acquired=values.text(content, "FrameAcquisitionDateTime"),
        time_offset_s=values.number(group("TemporalPositionSequence"), "TemporalPositionTimeOffset"),
    )
