"""One DICOM instance: what the doctor and the case need of its header. Its pixels are for `transforms.read.dicom_pixels`.

Nothing of a header is kept that `Instance` does not name. Attributes keep the standard's keywords (PS3.6), in Python's
spelling.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial

from mdfp.errors import MdfpError
from schemas.reasons import Reason
from transforms.read import csa, functional_groups, pet, terms, values
from transforms.read.csa import Mosaic
from transforms.read.deflated import plain_of
from transforms.read.fast_header import Scanner
from transforms.read.functional_groups import Frame
from transforms.read.pet import PetFields
from transforms.read.values import Attributes
from transforms.rejected import Rejected
from transforms.scratch import Bytes

HEADER_PREFIX_BYTES = 1 << 16
"""Bytes of a file that nearly always hold its header. Where they do not, `HeaderCutError` asks for the whole file."""

AGE_CAP_YEARS = 90.0
"""Ages above are kept as this one: with the rest of a record they could point to a person."""

# pydicom warns and logs about values that break the standard, and quotes them: a header would reach a log. Values are
# judged here instead, by `values`.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

_PIXEL_DATA = 0x7FE00010
_FLOAT_PIXEL_DATA = (0x7FE00008, 0x7FE00009)
UNDEFINED_LENGTH = 0xFFFFFFFF
"""Length of an element whose items tell where it ends (PS3.5 7.1.2)."""

NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
"""Transfer syntaxes whose pixels lie in the file as they are."""

_DECODED = (
    uid.DeflatedExplicitVRLittleEndian, uid.RLELossless,
    uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1,
    uid.JPEGLSLossless, uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K,
)  # fmt: skip
_LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless)
"""Encodings that always lose; JPEG 2000 and HTJ2K may, which LossyImageCompression says."""
_NOT_IMAGES = {
    uid.SegmentationStorage: "a segmentation (SEG)",
    uid.UID("1.2.840.10008.5.1.4.1.1.66.7"): "a label map segmentation (SEG)",
    uid.RTDoseStorage: "a dose grid (RTDOSE)",
    uid.ParametricMapStorage: "a parametric map",
}
ENHANCED = (
    uid.EnhancedCTImageStorage, uid.EnhancedMRImageStorage, uid.EnhancedPETImageStorage,
    uid.LegacyConvertedEnhancedCTImageStorage, uid.LegacyConvertedEnhancedMRImageStorage,
    uid.LegacyConvertedEnhancedPETImageStorage,
)  # fmt: skip
"""Classes of multi-frame objects, which have functional groups even of one frame."""

_AGE_UNITS = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}

_KEYWORDS = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "PatientID", "PatientSex", "PatientAge", "StudyInstanceUID", "StudyDate",
    "SeriesInstanceUID", "FrameOfReferenceUID", "ImageType", "InstanceNumber", "AcquisitionNumber", "EchoNumbers", "EchoTime",
    "InversionTime", "DiffusionBValue", "TemporalPositionIdentifier", "TriggerTime", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "NumberOfFrames", "RescaleSlope", "RescaleIntercept",
    "ModalityLUTSequence", "PixelPaddingValue", "BodyPartExamined", "ImageLaterality", "Laterality", "Manufacturer",
    "ManufacturerModelName", "MagneticFieldStrength", "KVP", "ConvolutionKernel", "SpacingBetweenSlices",
    "LossyImageCompression", "BurnedInAnnotation", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime",
    "TemporalResolution", "RepetitionTime", "ScanningSequence", "SequenceVariant", "MRAcquisitionType",
    *pet.KEYWORDS, *functional_groups.KEYWORDS,
)  # fmt: skip
_TAGS: list[Any] = [*map(tag_for_keyword, _KEYWORDS), *pet.PRIVATE_TAGS, *csa.PRIVATE_TAGS]
_SCANNER = Scanner(_KEYWORDS, lambda found: found.get("Modality") == "PT" or "MOSAIC" in (found.get("ImageType") or ()))


class HeaderCutError(MdfpError):
    """The bytes given end before the pixels, and the file goes on: read more of it, or all."""


@dataclass(frozen=True)
class Instance:
    """One image instance, as far as the doctor and the case need it. Small, plain, picklable.

    `patient_id`, `study_date` and the UIDs serve grouping and pseudonyms only and go into no record.

    Attributes:
        path: object below the source's root.
        file_bytes: its size.
        missing_pixel_bytes: how many bytes the pixels announced by the header are short of; 0 for a whole file.
        age_years: at the study, capped at `AGE_CAP_YEARS`.
        image_position_patient: x, y, z in mm, LPS, of the centre of the first pixel; None where absent.
        image_orientation_patient: direction cosines of the row (first three) and of the column, LPS.
        pixel_spacing: mm between rows, then between columns (the standard's order).
        slope: RescaleSlope, 1 where absent (PS3.3 C.11.1).
        intercept: RescaleIntercept, 0 where absent.
        padding: PixelPaddingValue as a stored value.
        lossy: the pixels have been compressed with loss, at least once.
        spacing_between_slices: mm; read for mosaics, which say nothing else of their step.
        pet: what a PET instance says of its activity.
        mosaic: how the slices of a Siemens mosaic lie in it, where it says so.
        frames: the frames of a multi-frame object.
        frame: for a slice taken out of an object by `frames.expand`: its number there.
        tiles: for a slice of a mosaic: tiles along an edge of the picture.
        stack_id: for a frame: StackID.
        diffusion_direction: for a frame: DiffusionGradientOrientation.
        acquired: when it was taken, as text of a DT value; of the day of the year 1 where only the time is said.
        time_offset_s: for a frame: TemporalPositionTimeOffset.
        temporal_resolution: TemporalResolution, ms between time points.
        repetition_time: RepetitionTime, ms.
        volume_a_repetition: echo-planar slices that are all taken within one repetition.
    """

    path: str
    file_bytes: int
    missing_pixel_bytes: int
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str | None
    frame_of_reference_uid: str | None
    patient_id: str | None
    patient_sex: str | None
    age_years: float | None
    study_date: str | None
    modality: str
    image_type: tuple[str, ...]
    instance_number: int | None
    acquisition_number: int | None
    echo_numbers: int | None
    echo_time: float | None
    inversion_time: float | None
    diffusion_b_value: float | None
    temporal_position_identifier: int | None
    trigger_time: float | None
    image_position_patient: tuple[float, float, float] | None
    image_orientation_patient: tuple[float, float, float, float, float, float] | None
    pixel_spacing: tuple[float, float] | None
    slice_thickness: float | None
    rows: int
    columns: int
    samples_per_pixel: int
    photometric_interpretation: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    pixel_representation: int
    number_of_frames: int
    slope: float
    intercept: float
    has_modality_lut: bool
    padding: int | None
    body_part: str | None
    laterality: str | None
    manufacturer: str | None
    scanner_model: str | None
    field_strength_t: float | None
    kvp: float | None
    kernel: str | None
    lossy: bool = False
    spacing_between_slices: float | None = None
    pet: PetFields | None = None
    mosaic: Mosaic | None = None
    frames: tuple[Frame, ...] = ()
    frame: int | None = None
    tiles: int | None = None
    stack_id: str | None = None
    diffusion_direction: tuple[float, float, float] | None = None
    burned_in: bool = False
    acquired: str | None = None
    time_offset_s: float | None = None
    temporal_resolution: float | None = None
    repetition_time: float | None = None
    volume_a_repetition: bool = False

    @property
    def dtype(self) -> np.dtype:
        """Number type of the stored values, native byte order."""
        return np.dtype(f"{'i' if self.pixel_representation else 'u'}{self.bits_allocated // 8}")


@dataclass(frozen=True)
class Opened:
    """An instance and where its pixels lie in the file.

    Attributes:
        instance: what the header says.
        transfer_syntax: how the file is written.
        pixel_offset: first byte of the value of Pixel Data; of a deflated file, in `deflated.plain_of` it.
        pixel_length: bytes of the value, or 0xFFFFFFFF where its fragments tell.
    """

    instance: Instance
    transfer_syntax: uid.UID
    pixel_offset: int
    pixel_length: int


def _parse(data: Bytes, file_bytes: int) -> tuple[Attributes, uid.UID, int, int]:
    """The allowed attributes, the transfer syntax, and where the pixels lie; nothing behind is read."""
    attributes: Attributes
    if fast := _SCANNER.scan(data):
        attributes, syntax, tag = fast, fast.transfer_syntax, fast.pixel_tag
        offset, length = fast.pixel_offset, fast.pixel_length
    else:
        attributes, syntax, tag, offset, length = _parse_slowly(data, file_bytes)
    if tag in _FLOAT_PIXEL_DATA:
        raise Rejected(Reason.UNSUPPORTED, "pixels in floating point (Float Pixel Data)")
    if syntax not in NATIVE and syntax not in _DECODED:
        raise Rejected(
            Reason.UNSUPPORTED, f"transfer syntax {syntax.name if syntax in uid.UID_dictionary else 'unknown'}"
        )
    return attributes, syntax, offset, length


def _parse_slowly(data: Bytes, file_bytes: int) -> tuple[Dataset, uid.UID, int, int, int]:
    """By pydicom: the data set, its transfer syntax, and tag, offset and length of its pixels."""
    found: list[tuple[int, int, int]] = []
    stream = io.BytesIO(data)

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag == _PIXEL_DATA or tag in _FLOAT_PIXEL_DATA:
            found.append((int(tag), length, stream.tell()))
            return True
        return False

    try:
        dataset = read_partial(stream, at_pixels, specific_tags=_TAGS)
    except InvalidDicomError as error:
        raise Rejected(Reason.UNREADABLE, "not DICOM: there is no DICM prefix at byte 128") from error
    except MemoryError:
        raise
    except Exception as error:  # whatever the library raises over a stranger's bytes is about the bytes
        if len(data) < file_bytes and not isinstance(error, RecursionError):
            raise HeaderCutError(f"{len(data)} of {file_bytes} bytes do not hold the header") from error
        raise Rejected(Reason.UNREADABLE, f"a damaged DICOM header ({type(error).__name__})") from error
    if not found:
        if len(data) < file_bytes:
            raise HeaderCutError(f"{len(data)} of {file_bytes} bytes end before the pixels")
        raise Rejected(Reason.NO_PIXELS, "a DICOM object without pixels")
    tag, length, offset = found[0]
    syntax = values.raw(dataset.file_meta, "TransferSyntaxUID") or uid.ImplicitVRLittleEndian
    if not isinstance(syntax, uid.UID):
        raise Rejected(Reason.UNREADABLE, "expected one transfer syntax in the header, found another value")
    return dataset, syntax, tag, offset, length


def read_instance(data: Bytes, *, path: str, file_bytes: int, alone: bool = False) -> Instance:
    """What the header of an image instance says: the `instance` of `open_instance`, which see."""
    return open_instance(data, path=path, file_bytes=file_bytes, alone=alone).instance


def open_instance(data: Bytes, *, path: str, file_bytes: int, alone: bool = False) -> Opened:
    """What the header of an image instance says, and where its pixels lie.

    Whether it can be part of a volume is for `series.diagnose` to say, which sees the whole series.

    Args:
        data: the file, or its first `HEADER_PREFIX_BYTES`.
        path: object below the source's root.
        file_bytes: size of the whole file.
        alone: whether a manifest names the file as a picture of its own. Then it needs no SeriesInstanceUID: some data sets
            of radiographs were stripped of all headers but those of the pixels.

    Raises:
        Rejected: UNREADABLE, not DICOM, or without what every image has; NO_PIXELS, a DICOMDIR, RTSTRUCT, presentation
            state, report, …; UNSUPPORTED, SEG, RTDOSE, floating-point pixels, or an encoding that is not read.
        HeaderCutError: `data` ends before the pixels but the file goes on.
    """
    whole, plain = len(data) >= file_bytes, plain_of(data)
    if plain is None:
        ds, syntax, pixel_offset, pixel_length = _parse(data, file_bytes)
        end: float = file_bytes
    else:
        ds, _, pixel_offset, pixel_length = _parse(plain, len(plain) + (not whole))
        # How long a deflated file is to be, its beginning does not tell.
        syntax, end = uid.DeflatedExplicitVRLittleEndian, len(plain) if whole else math.inf
    sop_class = values.text(ds, "SOPClassUID") or ""
    if sop_class in _NOT_IMAGES:
        raise Rejected(Reason.UNSUPPORTED, f"{_NOT_IMAGES[uid.UID(sop_class)]}, not an image")
    series_uid = values.text(ds, "SeriesInstanceUID")
    rows, columns, bits = (values.integer(ds, k) for k in ("Rows", "Columns", "BitsAllocated"))
    if series_uid is None and alone:
        series_uid = ""
    if series_uid is None or not rows or not columns or not bits:
        raise Rejected(Reason.UNREADABLE, "an image without SeriesInstanceUID, Rows, Columns or BitsAllocated")
    slope, intercept = values.number(ds, "RescaleSlope", 1.0), values.number(ds, "RescaleIntercept", 0.0)
    if not slope or not math.isfinite(slope) or intercept is None or not math.isfinite(intercept):
        raise Rejected(
            Reason.UNREADABLE, f"RescaleSlope {slope} and RescaleIntercept {intercept} give no physical values"
        )
    stored = values.integer(ds, "BitsStored") or bits
    high = values.integer(ds, "HighBit")
    signed = values.integer(ds, "PixelRepresentation") or 0
    frames = values.integer(ds, "NumberOfFrames") or 1
    samples = values.integer(ds, "SamplesPerPixel") or 1
    row_column = values.numbers(ds, "PixelSpacing", 2)
    position, cosines = values.numbers(ds, "ImagePositionPatient", 3), values.numbers(ds, "ImageOrientationPatient", 6)
    modality = values.term(ds, "Modality", terms.MODALITIES) or "OT"
    image_type = values.texts(ds, "ImageType")
    missing = 0
    if (syntax in NATIVE or plain) and pixel_length != UNDEFINED_LENGTH:  # of other syntaxes only decoding can tell
        there = int(min(pixel_length, end - pixel_offset))
        missing = max(0, (rows * columns * samples * frames * bits + 7) // 8 - there)
    instance = Instance(
        path=path,
        file_bytes=file_bytes,
        missing_pixel_bytes=missing,
        sop_class_uid=sop_class,
        sop_instance_uid=values.text(ds, "SOPInstanceUID") or "",
        series_instance_uid=series_uid,
        study_instance_uid=values.text(ds, "StudyInstanceUID"),
        frame_of_reference_uid=values.text(ds, "FrameOfReferenceUID"),
        patient_id=values.text(ds, "PatientID"),
        patient_sex=values.term(ds, "PatientSex", terms.SEXES),
        age_years=_age_years(values.text(ds, "PatientAge")),
        study_date=values.text(ds, "StudyDate"),
        modality=modality,
        image_type=image_type,
        instance_number=values.integer(ds, "InstanceNumber"),
        acquisition_number=values.integer(ds, "AcquisitionNumber"),
        echo_numbers=values.integer(ds, "EchoNumbers"),
        echo_time=values.number(ds, "EchoTime"),
        inversion_time=values.number(ds, "InversionTime"),
        diffusion_b_value=values.number(ds, "DiffusionBValue"),
        temporal_position_identifier=values.integer(ds, "TemporalPositionIdentifier"),
        trigger_time=values.number(ds, "TriggerTime"),
        image_position_patient=position,  # type: ignore[arg-type]  # _numbers gives as many as it was asked for
        image_orientation_patient=cosines,  # type: ignore[arg-type]
        pixel_spacing=row_column,  # type: ignore[arg-type]
        slice_thickness=values.number(ds, "SliceThickness"),
        rows=rows,
        columns=columns,
        samples_per_pixel=samples,
        photometric_interpretation=_photometric(values.text(ds, "PhotometricInterpretation")),
        bits_allocated=bits,
        bits_stored=stored,
        high_bit=stored - 1 if high is None else high,
        pixel_representation=signed,
        number_of_frames=frames,
        slope=slope,
        intercept=intercept,
        has_modality_lut="ModalityLUTSequence" in ds,
        padding=_padding(ds, bits, signed),
        body_part=values.text(ds, "BodyPartExamined"),
        laterality=values.term(ds, "ImageLaterality", terms.SIDES) or values.term(ds, "Laterality", terms.SIDES),
        manufacturer=values.text(ds, "Manufacturer"),
        scanner_model=values.text(ds, "ManufacturerModelName"),
        field_strength_t=values.number(ds, "MagneticFieldStrength"),
        kvp=values.number(ds, "KVP"),
        kernel="\\".join(values.texts(ds, "ConvolutionKernel")) or None,
        lossy=syntax in _LOSSY or values.text(ds, "LossyImageCompression") == "01",
        spacing_between_slices=values.number(ds, "SpacingBetweenSlices"),
        pet=pet.pet_fields(ds) if modality == "PT" else None,
        mosaic=csa.mosaic_of(ds) if "MOSAIC" in image_type else None,
        frames=functional_groups.frames_of(ds) if sop_class in ENHANCED or frames > 1 else (),
        burned_in=values.text(ds, "BurnedInAnnotation") == "YES",
        acquired=_acquired(ds),
        temporal_resolution=values.number(ds, "TemporalResolution"),
        repetition_time=values.number(ds, "RepetitionTime"),
        volume_a_repetition="MOSAIC" in image_type or _single_shot(ds),
    )
    return Opened(instance, syntax, pixel_offset, pixel_length)


def _padding(ds: Attributes, bits: int, signed: int) -> int | None:
    value = values.raw(ds, "PixelPaddingValue")
    if (
        isinstance(value, bytes) and len(value) == 2
    ):  # implicit VR leaves US or SS open; little endian as implicit VR is
        value = int.from_bytes(value, "little", signed=bool(signed))
    if not isinstance(value, int):
        return None
    if signed and value >= 1 << (bits - 1):  # written as US beside signed pixels
        return value - (1 << bits)
    return value + (1 << bits) if not signed and value < 0 else value


def _photometric(value: str | None) -> str:
    if value is None:
        return "MONOCHROME2"
    return value if value in terms.PHOTOMETRIC else "UNKNOWN"


def _acquired(ds: Attributes) -> str | None:
    """When an instance was taken, as one text; for differences, so a day that is not said is any."""
    if (told := values.text(ds, "AcquisitionDateTime")) is not None:
        return told
    time, date = values.text(ds, "AcquisitionTime"), values.text(ds, "AcquisitionDate") or "00010101"
    return None if time is None else date.replace(".", "") + time.replace(":", "")


def _single_shot(ds: Attributes) -> bool:
    """Whether slices are echo-planar, each of one excitation: not segmented k-space, not 3D (PS3.3 C.8.3.1)."""
    echo_planar = "EP" in values.texts(ds, "ScanningSequence") and "SK" not in values.texts(ds, "SequenceVariant")
    return echo_planar and values.text(ds, "MRAcquisitionType") == "2D"


def _age_years(text: str | None) -> float | None:
    if not text or text[-1] not in _AGE_UNITS or not (text.isascii() and text[:-1].isdigit()):
        return None
    return min(AGE_CAP_YEARS, round(int(text[:-1]) / _AGE_UNITS[text[-1]], 2))
