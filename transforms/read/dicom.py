"""One DICOM instance: what the doctor and the case need of its header, and its pixels as stored values.

Nothing of a header is kept that `Instance` does not name. Attributes keep the standard's keywords (PS3.6), in Python's
spelling.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial

from mdfp.errors import MdfpError
from schemas.reasons import Reason
from transforms.read import isolated, terms
from transforms.read.decoders import dicom_pixels
from transforms.read.deflated import check_deflated
from transforms.rejected import Rejected
from transforms.scratch import Bytes

HEADER_PREFIX_BYTES = 1 << 16
"""Bytes of a file that nearly always hold its header. Where they do not, `HeaderCutError` asks for the whole file."""

AGE_CAP_YEARS = 90.0
"""Ages above are kept as this one: with the rest of a record they could point to a person."""

# pydicom warns and logs about values that break the standard, and quotes them: a header would reach a log. Values are
# judged here instead, by `_raw` and what calls it.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

_PIXEL_DATA = 0x7FE00010
_FLOAT_PIXEL_DATA = (0x7FE00008, 0x7FE00009)
_UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM, _DELIMITER = 0xFFFEE000, 0xFFFEE0DD
_NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
_DECODED = (
    uid.DeflatedExplicitVRLittleEndian, uid.RLELossless,
    uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1,
    uid.JPEGLSLossless, uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K,
)  # fmt: skip
_NOT_IMAGES = {
    uid.SegmentationStorage: "a segmentation (SEG)",
    uid.RTDoseStorage: "a dose grid (RTDOSE)",
    uid.ParametricMapStorage: "a parametric map",
}
_ENHANCED = (
    uid.EnhancedCTImageStorage, uid.EnhancedMRImageStorage, uid.EnhancedPETImageStorage,
    uid.LegacyConvertedEnhancedCTImageStorage, uid.LegacyConvertedEnhancedMRImageStorage,
    uid.LegacyConvertedEnhancedPETImageStorage,
)  # fmt: skip
_CALIBRATED = ("CT", "PT")
_AGE_UNITS = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}

_KEYWORDS = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "PatientID", "PatientSex", "PatientAge", "StudyInstanceUID", "StudyDate",
    "SeriesInstanceUID", "FrameOfReferenceUID", "ImageType", "InstanceNumber", "AcquisitionNumber", "EchoNumbers", "EchoTime",
    "InversionTime", "DiffusionBValue", "TemporalPositionIdentifier", "TriggerTime", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "NumberOfFrames", "RescaleSlope", "RescaleIntercept",
    "ModalityLUTSequence", "PixelPaddingValue", "BodyPartExamined", "ImageLaterality", "Laterality", "Manufacturer",
    "ManufacturerModelName", "MagneticFieldStrength", "KVP", "ConvolutionKernel",
)  # fmt: skip
_TAGS: list[Any] = [tag_for_keyword(k) for k in _KEYWORDS]


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

    @property
    def dtype(self) -> np.dtype:
        """Number type of the stored values, native byte order."""
        return np.dtype(f"{'i' if self.pixel_representation else 'u'}{self.bits_allocated // 8}")


@dataclass(frozen=True, eq=False)
class StoredSlice:
    """Pixels of an instance.

    Attributes:
        array_yx: shape (rows, columns), stored values, native byte order; may be a read-only view of the file.
        scale: physical = stored * scale + offset.
        offset: see scale.
        padding: stored value that marks pixels outside the scan, or None.
    """

    array_yx: npt.NDArray[Any]
    scale: float
    offset: float
    padding: int | None


@dataclass(frozen=True)
class Opened:
    """An instance and where its pixels lie in the file.

    Attributes:
        instance: what the header says.
        transfer_syntax: how the file is written.
        pixel_offset: first byte of the value of Pixel Data; meaningless in a deflated data set.
        pixel_length: bytes of the value, or 0xFFFFFFFF where its fragments tell.
    """

    instance: Instance
    transfer_syntax: uid.UID
    pixel_offset: int
    pixel_length: int


def _parse(data: Bytes, file_bytes: int) -> tuple[Dataset, uid.UID, int, int]:
    """The allowed attributes, the transfer syntax, and where the pixels lie; nothing behind is read."""
    found: list[tuple[int, int, int]] = []
    check_deflated(data)
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
        if len(data) < file_bytes:
            raise HeaderCutError(f"{len(data)} of {file_bytes} bytes do not hold the header") from error
        raise Rejected(Reason.UNREADABLE, f"a damaged DICOM header ({type(error).__name__})") from error
    if not found:
        if len(data) < file_bytes:
            raise HeaderCutError(f"{len(data)} of {file_bytes} bytes end before the pixels")
        raise Rejected(Reason.NO_PIXELS, "a DICOM object without pixels")
    tag, length, offset = found[0]
    if tag in _FLOAT_PIXEL_DATA:
        raise Rejected(Reason.UNSUPPORTED, "pixels in floating point (Float Pixel Data)")
    syntax = _raw(dataset.file_meta, "TransferSyntaxUID") or uid.ImplicitVRLittleEndian
    if not isinstance(syntax, uid.UID):
        raise Rejected(Reason.UNREADABLE, "expected one transfer syntax in the header, found another value")
    if syntax not in _NATIVE and syntax not in _DECODED:
        named = syntax.name if syntax in uid.UID_dictionary else "that the standard does not have"
        raise Rejected(Reason.UNSUPPORTED, f"transfer syntax {named}")
    return dataset, syntax, offset, length


def read_instance(data: Bytes, *, path: str, file_bytes: int) -> Instance:
    """What the header of an image instance says: the `instance` of `open_instance`, which see."""
    return open_instance(data, path=path, file_bytes=file_bytes).instance


def open_instance(data: Bytes, *, path: str, file_bytes: int) -> Opened:
    """What the header of an image instance says, and where its pixels lie.

    Whether it can be part of a volume is for `series.diagnose` to say, which sees the whole series.

    Args:
        data: the file, or its first `HEADER_PREFIX_BYTES`.
        path: object below the source's root.
        file_bytes: size of the whole file.

    Raises:
        Rejected: UNREADABLE, not DICOM, or without what every image has; NO_PIXELS, a DICOMDIR, RTSTRUCT, presentation
            state, report, …; UNSUPPORTED, SEG, RTDOSE, floating-point pixels, or an encoding that is not read.
        HeaderCutError: `data` ends before the pixels but the file goes on.
    """
    ds, syntax, pixel_offset, pixel_length = _parse(data, file_bytes)
    sop_class = _text(ds, "SOPClassUID") or ""
    if sop_class in _NOT_IMAGES:
        raise Rejected(Reason.UNSUPPORTED, f"{_NOT_IMAGES[uid.UID(sop_class)]}, not an image")
    series_uid = _text(ds, "SeriesInstanceUID")
    rows, columns, bits = (_integer(ds, k) for k in ("Rows", "Columns", "BitsAllocated"))
    if series_uid is None or not rows or not columns or not bits:
        raise Rejected(Reason.UNREADABLE, "an image without SeriesInstanceUID, Rows, Columns or BitsAllocated")
    slope, intercept = _number(ds, "RescaleSlope", 1.0), _number(ds, "RescaleIntercept", 0.0)
    if not slope or not math.isfinite(slope) or intercept is None or not math.isfinite(intercept):
        raise Rejected(
            Reason.UNREADABLE, f"RescaleSlope {slope} and RescaleIntercept {intercept} give no physical values"
        )
    stored = _integer(ds, "BitsStored") or bits
    high = _integer(ds, "HighBit")
    signed = _integer(ds, "PixelRepresentation") or 0
    frames = _integer(ds, "NumberOfFrames") or 1
    samples = _integer(ds, "SamplesPerPixel") or 1
    row_column = _numbers(ds, "PixelSpacing", 2)
    position, cosines = _numbers(ds, "ImagePositionPatient", 3), _numbers(ds, "ImageOrientationPatient", 6)
    missing = 0
    if syntax in _NATIVE and pixel_length != _UNDEFINED_LENGTH:  # of other syntaxes only decoding can tell
        there = min(pixel_length, file_bytes - pixel_offset)
        missing = max(0, (rows * columns * samples * frames * bits + 7) // 8 - there)
    instance = Instance(
        path=path,
        file_bytes=file_bytes,
        missing_pixel_bytes=missing,
        sop_class_uid=sop_class,
        sop_instance_uid=_text(ds, "SOPInstanceUID") or "",
        series_instance_uid=series_uid,
        study_instance_uid=_text(ds, "StudyInstanceUID"),
        frame_of_reference_uid=_text(ds, "FrameOfReferenceUID"),
        patient_id=_text(ds, "PatientID"),
        patient_sex=_term(ds, "PatientSex", terms.SEXES),
        age_years=_age_years(_text(ds, "PatientAge")),
        study_date=_text(ds, "StudyDate"),
        modality=_term(ds, "Modality", terms.MODALITIES) or "OT",
        image_type=_texts(ds, "ImageType"),
        instance_number=_integer(ds, "InstanceNumber"),
        acquisition_number=_integer(ds, "AcquisitionNumber"),
        echo_numbers=_integer(ds, "EchoNumbers"),
        echo_time=_number(ds, "EchoTime"),
        inversion_time=_number(ds, "InversionTime"),
        diffusion_b_value=_number(ds, "DiffusionBValue"),
        temporal_position_identifier=_integer(ds, "TemporalPositionIdentifier"),
        trigger_time=_number(ds, "TriggerTime"),
        image_position_patient=position,  # type: ignore[arg-type]  # _numbers gives as many as it was asked for
        image_orientation_patient=cosines,  # type: ignore[arg-type]
        pixel_spacing=row_column,  # type: ignore[arg-type]
        slice_thickness=_number(ds, "SliceThickness"),
        rows=rows,
        columns=columns,
        samples_per_pixel=samples,
        photometric_interpretation=_photometric(_text(ds, "PhotometricInterpretation")),
        bits_allocated=bits,
        bits_stored=stored,
        high_bit=stored - 1 if high is None else high,
        pixel_representation=signed,
        number_of_frames=frames,
        slope=slope,
        intercept=intercept,
        has_modality_lut="ModalityLUTSequence" in ds,
        padding=_padding(ds, bits, signed),
        body_part=_text(ds, "BodyPartExamined"),
        laterality=_term(ds, "ImageLaterality", terms.SIDES) or _term(ds, "Laterality", terms.SIDES),
        manufacturer=_text(ds, "Manufacturer"),
        scanner_model=_text(ds, "ManufacturerModelName"),
        field_strength_t=_number(ds, "MagneticFieldStrength"),
        kvp=_number(ds, "KVP"),
        kernel="\\".join(_texts(ds, "ConvolutionKernel")) or None,
    )
    return Opened(instance, syntax, pixel_offset, pixel_length)


def pixels(data: Bytes, opened: Opened | None = None) -> StoredSlice:
    """Pixels of a single-frame grey instance, and how they become physical values.

    Stored values are as PS3.5 8.1.1 defines them: BitsStored bits ending at HighBit, sign-extended where
    PixelRepresentation is 1; other bits are not pixels. MONOCHROME1 (low is bright) is mirrored within the range of the
    stored bits, here and nowhere else, except in CT and PET, whose numbers are HU and activity however they are
    displayed.

    Args:
        data: the whole file.
        opened: from `open_instance`, where the caller has it already.

    Raises:
        Rejected: TRUNCATED, fewer pixels than announced; UNREADABLE, they cannot be decoded; UNSUPPORTED, colour, 1 or
            64 bits, a modality LUT; MULTIFRAME; else as `read_instance` does.
    """
    opened = opened or open_instance(data, path="", file_bytes=len(data))
    instance, syntax = opened.instance, opened.transfer_syntax
    check_readable(instance)
    if instance.missing_pixel_bytes:
        raise Rejected(Reason.TRUNCATED, f"the pixels are {instance.missing_pixel_bytes} bytes short")
    big = syntax == uid.ExplicitVRBigEndian
    if syntax in _NATIVE and not (big and instance.bits_allocated == 8):  # there pairs of bytes may be swapped
        dtype = instance.dtype.newbyteorder(">" if big else "<")
        needed = instance.rows * instance.columns * dtype.itemsize
        found = (
            0 if opened.pixel_length == _UNDEFINED_LENGTH else min(opened.pixel_length, len(data) - opened.pixel_offset)
        )
        if found < needed:  # another length than one frame's, or none that a native syntax has
            raise Rejected(Reason.TRUNCATED, f"expected {needed} bytes of pixels, found {max(0, found)}")
        stored = np.frombuffer(data, dtype, count=instance.rows * instance.columns, offset=opened.pixel_offset)
        stored = stored.astype(instance.dtype, copy=False).reshape(instance.rows, instance.columns)
    else:
        stored = _decoded(data, opened)
    stored = _stored_bits(stored, instance)
    padding = instance.padding
    if instance.photometric_interpretation == "MONOCHROME1" and instance.modality not in _CALIBRATED:
        # The sum of the lowest and the highest value: (0, 2**n - 1) or (-2**(n-1), 2**(n-1) - 1).
        both_ends = -1 if instance.pixel_representation else (1 << instance.bits_stored) - 1
        stored = (both_ends - stored.astype(np.int64)).astype(stored.dtype)
        padding = None if padding is None else both_ends - padding
    return StoredSlice(stored, instance.slope, instance.intercept, padding)


def check_readable(instance: Instance) -> None:
    """Refuse an instance whose pixels this version does not turn into a slice.

    Raises:
        Rejected: MULTIFRAME, several frames or a Siemens mosaic of them; UNSUPPORTED, colour, 1 or 64 bits, a modality LUT.
    """
    if instance.number_of_frames > 1 or instance.sop_class_uid in _ENHANCED:
        raise Rejected(Reason.MULTIFRAME, f"a multi-frame object of {instance.number_of_frames} frames")
    if "MOSAIC" in instance.image_type:
        raise Rejected(Reason.MULTIFRAME, "a Siemens mosaic: one instance shows all slices side by side")
    if instance.samples_per_pixel != 1 or not instance.photometric_interpretation.startswith("MONOCHROME"):
        raise Rejected(
            Reason.UNSUPPORTED,
            f"colour: {instance.samples_per_pixel} samples per pixel, {instance.photometric_interpretation}",
        )
    if instance.bits_allocated not in (8, 16, 32):
        raise Rejected(Reason.UNSUPPORTED, f"{instance.bits_allocated} bits a pixel; 8, 16 and 32 are read")
    if instance.has_modality_lut:
        raise Rejected(Reason.UNSUPPORTED, "a modality LUT instead of RescaleSlope and RescaleIntercept")


def _decoded(data: Bytes, opened: Opened) -> npt.NDArray[Any]:
    instance, syntax = opened.instance, opened.transfer_syntax
    if opened.pixel_length == _UNDEFINED_LENGTH:
        _check_fragments(data, opened.pixel_offset)
    # Decoders in C and C++ of what a stranger compressed: in a process of their own, with limits.
    stored = (
        isolated.run("transforms.read.decoders:dicom_pixels", data)
        if syntax.is_encapsulated
        else dicom_pixels(bytes(data))
    )
    if stored.shape != (instance.rows, instance.columns):
        raise Rejected(
            Reason.UNREADABLE, f"expected {instance.rows}×{instance.columns} pixels, the stream holds {stored.shape}"
        )
    return stored.astype(instance.dtype, copy=False)


def _check_fragments(data: Bytes, offset: int) -> None:
    """Every fragment of encapsulated pixels must be whole (PS3.5 A.4): decoders fill what is missing with a guess."""
    while True:
        if offset + 8 > len(data):
            raise Rejected(Reason.TRUNCATED, "the encapsulated pixels have no end: the file is cut short")
        group, element, length = struct.unpack_from("<HHI", data, offset)
        tag = group << 16 | element
        if tag == _DELIMITER:
            return
        if tag != _ITEM or offset + 8 + length > len(data):
            raise Rejected(Reason.TRUNCATED, "a fragment of the encapsulated pixels is cut short")
        offset += 8 + length


def _stored_bits(stored: npt.NDArray[Any], instance: Instance) -> npt.NDArray[Any]:
    above = instance.bits_allocated - 1 - instance.high_bit
    below = instance.high_bit + 1 - instance.bits_stored
    if above < 0 or below < 0:
        raise Rejected(
            Reason.UNREADABLE,
            f"{instance.bits_stored} bits ending at bit {instance.high_bit} do not fit in {instance.bits_allocated}",
        )
    if above + below == 0:
        return stored
    # Up, so that the highest bit is the sign, and down again: arithmetic for signed, filling zeros for unsigned.
    return (stored << above) >> (above + below)


def _padding(ds: Dataset, bits: int, signed: int) -> int | None:
    value = _raw(ds, "PixelPaddingValue")
    if (
        isinstance(value, bytes) and len(value) == 2
    ):  # implicit VR leaves US or SS open; little endian as implicit VR is
        value = int.from_bytes(value, "little", signed=bool(signed))
    if not isinstance(value, int):
        return None
    if signed and value >= 1 << (bits - 1):  # written as US beside signed pixels
        return value - (1 << bits)
    return value + (1 << bits) if not signed and value < 0 else value


def _raw(ds: Dataset, keyword: str) -> Any:
    try:
        return ds.get(keyword)
    except MemoryError:
        raise
    except Exception:  # whatever the library raises: a value that its VR does not allow says nothing
        return None


def _text(ds: Dataset, keyword: str) -> str | None:
    value = _raw(ds, keyword)
    return None if value is None else (str(value).strip("\0 ") or None)


def _term(ds: Dataset, keyword: str, terms: Collection[str]) -> str | None:
    """A value that is one of the standard's terms; other text, which may be anything, is as good as none."""
    value = _text(ds, keyword)
    return value if value in terms else None


def _photometric(value: str | None) -> str:
    if value is None:
        return "MONOCHROME2"
    return value if value in terms.PHOTOMETRIC else "UNKNOWN"


def _texts(ds: Dataset, keyword: str) -> tuple[str, ...]:
    value = _raw(ds, keyword)
    if value is None or isinstance(value, str):
        return (value,) if value else ()
    return tuple(str(v).strip() for v in value)


def _numbers(ds: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    value = _raw(ds, keyword)
    try:
        numbers = tuple(float(v) for v in value)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(math.isfinite(n) for n in numbers) else None


def _number(ds: Dataset, keyword: str, default: float | None = None) -> float | None:
    value = _raw(ds, keyword)
    try:
        return default if value in (None, "") else float(value)
    except (TypeError, ValueError):
        return default


def _integer(ds: Dataset, keyword: str) -> int | None:
    number = _number(ds, keyword)
    return int(number) if number is not None and math.isfinite(number) else None


def _age_years(text: str | None) -> float | None:
    if not text or text[-1] not in _AGE_UNITS or not text[:-1].isdigit():
        return None
    return min(AGE_CAP_YEARS, round(int(text[:-1]) / _AGE_UNITS[text[-1]], 2))
