"""What a Segmentation (SEG, PS3.3 A.51) and an RT Structure Set (RTSTRUCT, PS3.3 A.19) have in common.

Both draw named segments on the images of one series. `Drawing` is what grouping and the case need of the header; of the
rest nothing is kept. Names of segments are free text of people: they serve the look-up in the manifest's table, and go
into no record.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset

from mdfp.geometry import Affine
from schemas.reasons import Reason
from transforms.read.dicom import HeaderCutError
from transforms.rejected import Rejected
from transforms.scratch import Bytes

SEG, RTSTRUCT = "seg", "rtstruct"
FORMATS = (SEG, RTSTRUCT)
"""Formats of labels that are drawings."""

LABEL_MAP_STORAGE = uid.UID("1.2.840.10008.5.1.4.1.1.66.7")
"""Label Map Segmentation Storage (Supplement 243)."""

_FORMAT_OF_CLASS = {
    uid.SegmentationStorage: SEG,
    LABEL_MAP_STORAGE: SEG,
    uid.RTStructureSetStorage: RTSTRUCT,
}

MAX_SEGMENTS = 10_000
"""Segments or ROIs of one object; the largest atlases have some hundreds."""

MAX_NAME = 256
"""Characters of a name that are looked at: the standard allows 64 (LO, PS3.5 6.2)."""

MAX_INFLATED_BYTES = 1 << 31
"""Bytes that a deflated data set may hold."""

DAMAGED: tuple[type[Exception], ...] = (
    EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError, NotImplementedError, OverflowError,
    RecursionError, struct.error, OSError, zlib.error, BytesLengthException,
)  # fmt: skip
"""What pydicom raises of values that it cannot make sense of."""

_UNDEFINED_LENGTH = 0xFFFFFFFF
_PREFIX = 132  # preamble and DICM
_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
_DEFLATED = str(uid.DeflatedExplicitVRLittleEndian)
_BIG = str(uid.ExplicitVRBigEndian)


@dataclass(frozen=True)
class Code:
    """A coded concept (PS3.3 8.8): its scheme, such as SCT or SRT, and its value there."""

    scheme: str
    value: str


@dataclass(frozen=True)
class Segment:
    """One segment of a SEG or ROI of an RTSTRUCT.

    Attributes:
        number: SegmentNumber or ROINumber.
        name: SegmentLabel or ROIName.
        algorithm: SegmentAlgorithmType or ROIGenerationAlgorithm: MANUAL, SEMIAUTOMATIC, AUTOMATIC; else None.
        category: Segmented Property Category; None in an RTSTRUCT.
        property_type: Segmented Property Type; None in an RTSTRUCT.
    """

    number: int
    name: str
    algorithm: str | None = None
    category: Code | None = None
    property_type: Code | None = None


@dataclass(frozen=True)
class Drawing:
    """The header of a SEG or RTSTRUCT, as far as grouping and the case need it. Small, plain, picklable.

    `patient_id`, the UIDs and the segments' names serve grouping only and go into no record.

    Attributes:
        path: object below the source's root.
        file_bytes: its size.
        format: seg or rtstruct.
        sop_instance_uid: its own.
        series_instance_uid: of the series it is drawn on.
        instance_uid: an instance of that series, where it names one.
        frame_of_reference_uid: of its coordinates.
        patient_id: whose it says it is.
        segments: in the object's order.
    """

    path: str
    file_bytes: int
    format: str
    sop_instance_uid: str
    series_instance_uid: str
    instance_uid: str | None
    frame_of_reference_uid: str | None
    patient_id: str | None
    segments: tuple[Segment, ...]


@dataclass(frozen=True, eq=False)
class ImageGrid:
    """The grid of the series that a drawing references, slices as the doctor ordered them.

    Attributes:
        affine_ras: 4×4, index (x, y, z) → mm, RAS world.
        shape_zyx: voxels along z, y, x.
    """

    affine_ras: Affine
    shape_zyx: tuple[int, int, int]


def format_of(data: Bytes) -> str | None:
    """Format of a drawing, seg or rtstruct, when the file meta information says so (PS3.10 7.1); else None.

    Args:
        data: the file or its first kilobytes.
    """
    try:
        meta, _ = _file_meta(data)
        with sound("file meta information"):
            return _FORMAT_OF_CLASS.get(meta.get("MediaStorageSOPClassUID"))
    except (Rejected, HeaderCutError):
        return None


def parse(data: Bytes, *, file_bytes: int | None = None, until: int | None = None) -> Dataset:
    """The data set of a file, with its file meta information.

    Args:
        data: the file, or with `until` a beginning of it.
        file_bytes: size of the whole file; None: that of `data`.
        until: tag before which reading may stop.

    Raises:
        Rejected: UNREADABLE; TRUNCATED; TOO_LARGE, a deflated data set of more than `MAX_INFLATED_BYTES`; UNSUPPORTED, big endian.
        HeaderCutError: `data` ends before `until`, and the file goes on.
    """
    cut = len(data) < (len(data) if file_bytes is None else file_bytes)
    try:
        meta, end = _file_meta(data)
    except HeaderCutError as error:
        if cut:
            raise
        raise Rejected(Reason.TRUNCATED, str(error)) from error
    with sound("file meta information"):
        syntax = str(meta.get("TransferSyntaxUID", uid.ImplicitVRLittleEndian))
    if syntax == _BIG:
        raise Rejected(Reason.UNSUPPORTED, "a segmentation in big endian, which the standard has retired")
    if syntax == _DEFLATED and cut:
        raise HeaderCutError("a deflated data set is read as a whole")
    reached = False
    announced = 0
    stream = io.BytesIO()

    def stop(tag: int, vr: str | None, length: int) -> bool:
        nonlocal reached, announced
        reached = until is not None and tag >= until
        if not reached and length != _UNDEFINED_LENGTH:
            announced = max(announced, stream.tell() + length)
        return reached

    try:
        body = _inflated(data[end:]) if syntax == _DEFLATED else bytes(data[end:])
        stream = io.BytesIO(body)
        dataset = read_dataset(stream, syntax == str(uid.ImplicitVRLittleEndian), True, stop_when=stop)
    except DAMAGED as error:
        if cut:
            raise HeaderCutError(f"{len(data)} of {file_bytes} bytes do not hold the header") from error
        raise Rejected(Reason.UNREADABLE, f"a damaged DICOM data set ({type(error).__name__})") from error
    if cut and not reached:
        raise HeaderCutError(f"{len(data)} of {file_bytes} bytes do not hold the header")
    if announced > len(body):  # pydicom takes what there is of the last value
        raise Rejected(Reason.TRUNCATED, f"the data set is {announced - len(body)} bytes short")
    dataset.file_meta = meta
    return dataset


def _file_meta(data: Bytes) -> tuple[FileMetaDataset, int]:
    """File meta information, and where it ends."""
    if bytes(data[128:_PREFIX]) != b"DICM" or bytes(data[_PREFIX : _PREFIX + 8]) != _GROUP_LENGTH:
        raise Rejected(Reason.UNREADABLE, "not DICOM: there is no DICM prefix at byte 128 with the length of its group")
    end = _PREFIX + 12 + int.from_bytes(data[_PREFIX + 8 : _PREFIX + 12], "little")
    if end > len(data):
        raise HeaderCutError("the file meta information is cut")
    with sound("file meta information"):
        return FileMetaDataset(read_dataset(io.BytesIO(bytes(data[_PREFIX + 12 : end])), False, True)), end


def _inflated(data: Bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    body = inflater.decompress(data, MAX_INFLATED_BYTES)
    if inflater.unconsumed_tail:
        raise Rejected(Reason.TOO_LARGE, f"the deflated data set holds more than {MAX_INFLATED_BYTES} bytes")
    if not inflater.eof:
        raise Rejected(Reason.TRUNCATED, "the deflated data set is cut short")
    return body


@contextmanager
def sound(what: str) -> Iterator[None]:
    """Around what looks into a data set: whatever its parser raises late is a fault of the file.

    Raises:
        Rejected: UNREADABLE.
    """
    try:
        yield
    except DAMAGED as error:
        raise Rejected(Reason.UNREADABLE, f"{what}: damaged ({type(error).__name__})") from error


def text(ds: Dataset, keyword: str) -> str | None:
    """A text attribute without padding; None where it is absent or empty."""
    value = ds.get(keyword)
    return None if value is None else (str(value).strip("\0 ") or None)


def name(ds: Dataset, keyword: str) -> str:
    """The name of a segment, empty where it has none, cut where no standard allows one so long."""
    return (text(ds, keyword) or "")[:MAX_NAME]


def needed(ds: Dataset, keyword: str) -> Any:
    """An attribute that must be there.

    Raises:
        Rejected: UNREADABLE, it is absent or empty.
    """
    value = ds.get(keyword)
    if value is None or value == "":
        raise Rejected(Reason.UNREADABLE, f"expected {keyword}, found none")
    return value


def numbers(ds: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """Finite numbers that must be there.

    Raises:
        Rejected: NO_GEOMETRY, they are not there, or not so many, or not finite.
    """
    value = ds.get(keyword)
    found = () if value is None or isinstance(value, str) else tuple(float(v) for v in value)
    if len(found) != count or not all(math.isfinite(v) for v in found):
        raise Rejected(Reason.NO_GEOMETRY, f"expected {count} numbers in {keyword}, found {len(found) or 'none'}")
    return found


def code(ds: Dataset, keyword: str) -> Code | None:
    """The first item of a code sequence."""
    for item in ds.get(keyword) or ():
        value = text(item, "CodeValue") or text(item, "LongCodeValue")
        return Code(text(item, "CodingSchemeDesignator") or "", value) if value else None
    return None


def one_series(uids: list[str]) -> str:
    """The one series that a drawing references.

    Raises:
        Rejected: ORPHAN_LABEL, it references none; UNSUPPORTED, several.
    """
    distinct = sorted(set(uids))
    if not distinct:
        raise Rejected(Reason.ORPHAN_LABEL, "the object names no series that it is drawn on")
    if len(distinct) > 1:
        raise Rejected(Reason.UNSUPPORTED, f"the object references {len(distinct)} series, expected one")
    return distinct[0]


def check_segments(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """The segments, when there are some and their numbers are their own.

    Raises:
        Rejected: UNREADABLE, TOO_LARGE.
    """
    if not segments:
        raise Rejected(Reason.UNREADABLE, "expected one segment or more, found none")
    if len(segments) > MAX_SEGMENTS:
        raise Rejected(Reason.TOO_LARGE, f"{len(segments)} segments, {MAX_SEGMENTS} are allowed")
    if len({s.number for s in segments}) < len(segments):
        raise Rejected(Reason.UNREADABLE, "two segments have one number")
    return segments
