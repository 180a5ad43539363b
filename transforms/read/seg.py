"""DICOM Segmentation: BINARY, FRACTIONAL and LABELMAP, on the grid of the series it references.

PS3.3 A.51 and C.8.20; Label Map: Supplement 243. Rules:

* A frame lies where its Plane Position, Plane Orientation and Pixel Measures put it. Neither the order of the frames nor
  the dimension indices are asked.
* A frame that is not there is empty: writers leave out frames without a voxel (C.8.20.2).
* In a label map the background is PixelPaddingValue, a segment of the type Background, and 0 where no segment has it.
* FRACTIONAL is foreground from one half of MaximumFractionalValue on, for PROBABILITY and OCCUPANCY alike.
* A frame must be a whole plane of the image's grid, along any two of its axes; else the label's grid is not its image's.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder

from mdfp import geometry
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read.segment import (
    DAMAGED,
    LABEL_MAP_STORAGE,
    SEG,
    Code,
    Drawing,
    ImageGrid,
    Segment,
    check_segments,
    code,
    name,
    needed,
    numbers,
    one_series,
    parse,
    sound,
    text,
)
from transforms.rejected import Rejected
from transforms.scratch import Bytes

GRID_TOLERANCE_VOXELS = 0.1
"""How far a corner of a frame may lie from the image's lattice, in voxels of the image; as for labels in files."""

MAX_FRAMES = 200_000
"""Frames of one object: a hundred segments over two thousand slices."""

_FUNCTIONAL_GROUPS = 0x52009229  # Shared, the first tag that the inventory has no use for; Per-Frame and pixels follow
_BITS = {"BINARY": (1, 8), "FRACTIONAL": (8,), "LABELMAP": (8, 16)}
_BACKGROUND = Code("DCM", "125040")
_DEFLATED_FRAMES = uid.UID("1.2.840.10008.1.2.8.1")
"""Deflated Image Frame Compression (Supplement 244), made for single bits."""
_UNDECODED: tuple[type[Exception], ...] = (RuntimeError, *DAMAGED)
_NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian)


@dataclass(frozen=True)
class Frame:
    """One frame and where it lies.

    Attributes:
        segment: its ReferencedSegmentNumber; None in a label map.
        position: x, y, z in mm, LPS, of the centre of its first pixel.
        cosines: direction of its rows (first three) and of its columns, LPS.
        spacing: mm between rows, then between columns (the standard's order).
    """

    segment: int | None
    position: tuple[float, ...]
    cosines: tuple[float, ...]
    spacing: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class SegFile:
    """A segmentation, opened.

    Attributes:
        kind: BINARY, FRACTIONAL or LABELMAP.
        segments: what it describes.
        frames: where each frame lies.
        rows: pixels along a column.
        columns: pixels along a row.
        bits: BitsAllocated.
        maximum: MaximumFractionalValue of a fractional one, else 1.
        background: values of a label map that are no segment; the first is what it has where there is no frame.
        dataset: the data set, for its pixels.
    """

    kind: str
    segments: tuple[Segment, ...]
    frames: tuple[Frame, ...]
    rows: int
    columns: int
    bits: int
    maximum: int
    background: tuple[int, ...]
    dataset: Dataset

    @property
    def _syntax(self) -> uid.UID:
        found = self.dataset.file_meta.get("TransferSyntaxUID", uid.ImplicitVRLittleEndian)
        if not isinstance(found, str):  # empty, or several
            raise Rejected(Reason.UNREADABLE, "expected one TransferSyntaxUID")
        return uid.UID(found)

    def stored(self, wanted: Sequence[int]) -> Iterator[npt.NDArray[Any]]:
        """Stored values (rows, columns) of the frames with these numbers, one after the other."""
        for n in wanted:
            yield self._native(n) if self._syntax in _NATIVE else self._decoded[n]

    def foreground(self, wanted: Sequence[int]) -> Iterator[npt.NDArray[np.bool_]]:
        """Where frames of a binary or fractional segmentation show their segment."""
        for array in self.stored(wanted):
            yield array != 0 if self.kind == "BINARY" else array.astype(np.int32) * 2 >= self.maximum

    def _native(self, n: int) -> npt.NDArray[Any]:
        return self._unpacked(self._pixel_data, n)

    def _unpacked(self, data: bytes, n: int) -> npt.NDArray[Any]:
        """Frame n of uncompressed pixels."""
        size = self.rows * self.columns
        if self.bits == 1:
            # Frames follow each other bit by bit, without a break at a byte (PS3.5 8.1.1), lowest bit first.
            first = n * size
            packed = np.frombuffer(data, np.uint8, count=(first + size + 7) // 8 - first // 8, offset=first // 8)
            bits = np.unpackbits(packed, bitorder="little")[first % 8 : first % 8 + size]
            return bits.reshape(self.rows, self.columns)
        dtype = np.dtype(f"<u{self.bits // 8}")
        return np.frombuffer(data, dtype, count=size, offset=n * size * dtype.itemsize).reshape(self.rows, self.columns)

    @cached_property
    def _pixel_data(self) -> bytes:
        data = needed(self.dataset, "PixelData")
        expected = (len(self.frames) * self.rows * self.columns * self.bits + 7) // 8
        if len(data) < expected:
            raise Rejected(Reason.TRUNCATED, f"the pixels are {expected - len(data)} bytes short")
        return bytes(data)

    @cached_property
    def _decoded(self) -> npt.NDArray[Any]:
        """(frames, rows, columns) of encapsulated pixels: their frames can only be found one after the other."""
        if self._syntax == _DEFLATED_FRAMES:
            return self._inflated()
        try:
            decoder = get_decoder(self._syntax)
        except NotImplementedError as error:
            raise Rejected(Reason.UNSUPPORTED, f"transfer syntax {self._syntax}") from error
        if not decoder.is_available:
            raise RuntimeError(f"no decoder installed for {self._syntax.name}: {decoder.missing_dependencies}")
        array = np.empty((len(self.frames), self.rows, self.columns), np.uint16 if self.bits == 16 else np.uint8)
        count = 0
        try:
            for frame, _ in decoder.iter_array(self.dataset, raw=True):
                array[count] = frame
                count += 1
        except _UNDECODED as error:
            detail = f"the {self._syntax.name} stream cannot be decoded ({type(error).__name__})"
            raise Rejected(Reason.UNREADABLE, detail) from error
        if count < len(self.frames):
            raise Rejected(Reason.TRUNCATED, f"{len(self.frames)} frames are announced, {count} are there")
        return array

    def _inflated(self) -> npt.NDArray[Any]:
        """Frames that were deflated one by one, each from a byte of its own (PS3.5 8.2.16, A.4.13)."""
        array = np.empty((len(self.frames), self.rows, self.columns), np.uint16 if self.bits == 16 else np.uint8)
        expected = (self.rows * self.columns * self.bits + 7) // 8
        data, count = needed(self.dataset, "PixelData"), 0
        with sound("the deflated frames"):
            for n, frame in enumerate(generate_frames(data, number_of_frames=len(self.frames))):
                array[n] = self._unpacked(zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, expected), 0)
                count += 1
        if count < len(self.frames):
            raise Rejected(Reason.TRUNCATED, f"{len(self.frames)} frames are announced, {count} are there")
        return array


def describe(data: Bytes, *, path: str, file_bytes: int) -> Drawing:
    """What the header says, from the file or a beginning of it; pixels and functional groups are not read.

    Raises:
        Rejected: UNREADABLE, TOO_LARGE; ORPHAN_LABEL, it references no series; UNSUPPORTED, it references several.
        HeaderCutError: `data` ends within the header.
    """
    ds = parse(data, file_bytes=file_bytes, until=_FUNCTIONAL_GROUPS)
    with sound("the header of the segmentation"):
        _check_size(ds)
        references = list(ds.get("ReferencedSeriesSequence") or ())
        if not references:  # images of another study (PS3.3 C.12.2)
            studies = ds.get("StudiesContainingOtherReferencedInstancesSequence") or ()
            references = [s for study in studies for s in study.get("ReferencedSeriesSequence") or ()]
        uids = [u for item in references if (u := text(item, "SeriesInstanceUID"))]
        instances = [i for item in references for i in item.get("ReferencedInstanceSequence") or ()]
        return Drawing(
            path=path,
            file_bytes=file_bytes,
            format=SEG,
            sop_instance_uid=text(ds, "SOPInstanceUID") or "",
            series_instance_uid=one_series(uids),
            instance_uid=text(instances[0], "ReferencedSOPInstanceUID") if instances else None,
            frame_of_reference_uid=text(ds, "FrameOfReferenceUID"),
            patient_id=text(ds, "PatientID"),
            segments=_segments(ds, _background(ds)),
        )


def open_seg(data: Bytes, limits: Limits) -> SegFile:
    """A segmentation with the places of its frames; pixels are decoded when they are asked for.

    Raises:
        Rejected: UNREADABLE; NO_GEOMETRY, a frame without position, orientation or spacing; TOO_LARGE; UNSUPPORTED.
    """
    ds = parse(data)
    with sound("the segmentation"):
        kind, rows, columns, frames, bits = _check_size(ds)
        groups = list(needed(ds, "PerFrameFunctionalGroupsSequence"))
        if len(groups) != frames:
            detail = f"NumberOfFrames is {frames}, there are functional groups of {len(groups)} frames"
            raise Rejected(Reason.UNREADABLE, detail)
        shared = next(iter(ds.get("SharedFunctionalGroupsSequence") or ()), Dataset())
        maximum = int(needed(ds, "MaximumFractionalValue")) if kind == "FRACTIONAL" else 1
        background = _background(ds)
        found = SegFile(
            kind=kind,
            segments=_segments(ds, background),
            frames=tuple(_frame(g, shared, kind) for g in groups),
            rows=rows,
            columns=columns,
            bits=bits,
            maximum=maximum,
            background=background,
            dataset=ds,
        )
    if maximum < 1:
        raise Rejected(Reason.UNREADABLE, f"expected a positive MaximumFractionalValue, found {maximum}")
    if (size := frames * rows * columns * (2 if bits == 16 else 1)) > limits.max_bytes and found._syntax not in _NATIVE:
        raise Rejected(
            Reason.TOO_LARGE, f"{size} bytes of decoded frames; the recipe's limits allow {limits.max_bytes}"
        )
    unknown = {f.segment for f in found.frames} - {s.number for s in found.segments} - {None}
    if unknown:
        raise Rejected(Reason.UNREADABLE, f"frames of {len(unknown)} segments that are not described")
    return found


def _check_size(ds: Dataset) -> tuple[str, int, int, int, int]:
    """(kind, rows, columns, frames, bits allocated), checked before anything is made of their size."""
    label_map = text(ds, "SOPClassUID") == LABEL_MAP_STORAGE
    kind = text(ds, "SegmentationType") or ("LABELMAP" if label_map else "")
    rows, columns, bits = (int(needed(ds, k)) for k in ("Rows", "Columns", "BitsAllocated"))
    frames = int(ds.get("NumberOfFrames") or 1)
    if kind not in _BITS:
        raise Rejected(Reason.UNSUPPORTED, "a SegmentationType other than BINARY, FRACTIONAL and LABELMAP")
    if bits not in _BITS[kind]:
        raise Rejected(Reason.UNREADABLE, f"a {kind} segmentation of {bits} bits a pixel, expected {_BITS[kind]}")
    if rows < 1 or columns < 1 or frames < 1:
        raise Rejected(Reason.UNREADABLE, f"{frames} frames of {rows}×{columns} pixels")
    if frames > MAX_FRAMES:
        raise Rejected(Reason.TOO_LARGE, f"{frames} frames, {MAX_FRAMES} are allowed")
    return kind, rows, columns, frames, bits


def _background(ds: Dataset) -> tuple[int, ...]:
    """Values of a label map that are background, sorted; none for other kinds.

    Raises:
        Rejected: UNSUPPORTED, every value is a segment.
    """
    if text(ds, "SegmentationType") != "LABELMAP" and text(ds, "SOPClassUID") != LABEL_MAP_STORAGE:
        return ()
    items = {int(needed(item, "SegmentNumber")): item for item in ds.get("SegmentSequence") or ()}
    found = {n for n, item in items.items() if code(item, "SegmentedPropertyTypeCodeSequence") == _BACKGROUND}
    padding = ds.get("PixelPaddingValue")
    if isinstance(padding, bytes):  # implicit VR leaves its number type open
        padding = int.from_bytes(padding, "little")
    if padding is not None and padding != "":
        found.add(int(padding))
    if 0 not in items:
        found.add(0)
    if not found:
        raise Rejected(Reason.UNSUPPORTED, "a label map in which no value is background")
    return tuple(sorted(found))


def _segments(ds: Dataset, background: tuple[int, ...]) -> tuple[Segment, ...]:
    return check_segments(
        tuple(
            Segment(
                number=int(needed(item, "SegmentNumber")),
                name=name(item, "SegmentLabel"),
                algorithm=text(item, "SegmentAlgorithmType"),
                category=code(item, "SegmentedPropertyCategoryCodeSequence"),
                property_type=code(item, "SegmentedPropertyTypeCodeSequence"),
            )
            for item in ds.get("SegmentSequence") or ()
            if item.get("SegmentNumber") not in background
        )
    )


def _frame(group: Dataset, shared: Dataset, kind: str) -> Frame:
    """A frame from its functional groups; what they do not hold the shared ones do (PS3.3 C.7.6.16)."""

    def macro(keyword: str) -> Dataset:
        for place in (group, shared):
            for item in place.get(keyword) or ():
                return item
        return Dataset()

    identification = macro("SegmentIdentificationSequence")
    return Frame(
        segment=None if kind == "LABELMAP" else int(needed(identification, "ReferencedSegmentNumber")),
        position=numbers(macro("PlanePositionSequence"), "ImagePositionPatient", 3),
        cosines=numbers(macro("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        spacing=numbers(macro("PixelMeasuresSequence"), "PixelSpacing", 2),
    )


def check_size(seg: SegFile, grid: ImageGrid) -> None:
    """Refuse frames that can be no plane of the grid, before any is decoded.

    Raises:
        Rejected: LABEL_GRID.
    """
    if not {seg.rows, seg.columns} <= set(grid.shape_zyx):
        raise Rejected(
            Reason.LABEL_GRID,
            f"frames of {seg.columns}×{seg.rows} pixels are no planes of an image of "
            f"{'×'.join(str(n) for n in grid.shape_zyx[::-1])} voxels (x, y, z)",
        )


def segment_mask(seg: SegFile, number: int, grid: ImageGrid) -> npt.NDArray[np.uint8]:
    """Voxels of one segment of a binary or fractional segmentation: (z, y, x) of the image's grid, 1 inside.

    Raises:
        Rejected: LABEL_GRID, a frame is no plane of the grid; TRUNCATED, UNREADABLE, UNSUPPORTED.
    """
    mask = np.zeros(grid.shape_zyx, np.uint8)
    wanted = [n for n, f in enumerate(seg.frames) if f.segment == number]
    for n, inside in zip(wanted, seg.foreground(wanted), strict=True):
        plane = _plane(mask, seg, seg.frames[n], grid, drawn=bool(inside.any()))
        if plane is not None:
            plane |= inside
    return mask


def label_map(seg: SegFile, grid: ImageGrid) -> npt.NDArray[Any]:
    """Numbers of a label map's segments: (z, y, x) of the image's grid, uint8 or uint16.

    Background, also where there is no frame, is the first of its `background`.

    Raises:
        Rejected: LABEL_GRID, a frame is no plane of the grid; CONFLICTING_SLICES, two frames at one place hold different
            labels; TRUNCATED, UNREADABLE, UNSUPPORTED.
    """
    nothing = seg.background[0]
    array = np.full(grid.shape_zyx, nothing, np.uint16 if seg.bits == 16 else np.uint8)
    everything = range(len(seg.frames))
    for n, stored in zip(everything, seg.stored(everything), strict=True):
        values = np.where(np.isin(stored, seg.background), nothing, stored).astype(array.dtype)
        plane = _plane(array, seg, seg.frames[n], grid, drawn=bool((values != nothing).any()))
        if plane is None:
            continue
        if bool(((plane != nothing) & (plane != values)).any()):
            raise Rejected(Reason.CONFLICTING_SLICES, "two frames at one place hold different labels")
        plane[...] = values
    return array


def _plane(
    array: npt.NDArray[Any], seg: SegFile, frame: Frame, grid: ImageGrid, *, drawn: bool
) -> npt.NDArray[Any] | None:
    """A view of the voxels that a frame covers, (rows, columns); None for an empty frame beside the image.

    Raises:
        Rejected: LABEL_GRID.
    """
    to_index = geometry.inverse(grid.affine_ras)
    # Frames are LPS, the grid's world is RAS: x and y change their sign.
    position, row, column = (
        np.array([-v[0], -v[1], v[2]]) for v in (frame.position, frame.cosines[:3], frame.cosines[3:])
    )
    start = geometry.apply(to_index, position)
    origin = geometry.apply(to_index, (0.0, 0.0, 0.0))
    along_x = geometry.apply(to_index, row * frame.spacing[1]) - origin
    along_y = geometry.apply(to_index, column * frame.spacing[0]) - origin
    end = start + along_x * (seg.columns - 1) + along_y * (seg.rows - 1)
    unit_x, unit_y = (np.rint(v).astype(np.int64) for v in (along_x, along_y))
    lattice = np.rint(start).astype(np.int64)
    far = lattice + unit_x * (seg.columns - 1) + unit_y * (seg.rows - 1)
    off = max(float(np.abs(start - lattice).max()), float(np.abs(end - far).max()))
    if not off <= GRID_TOLERANCE_VOXELS or np.abs(unit_x).sum() != 1 or np.abs(unit_y).sum() != 1:
        raise Rejected(
            Reason.LABEL_GRID,
            f"a frame of the segmentation lies {off:.3g} voxels from the lattice of its image, expected at most "
            f"{GRID_TOLERANCE_VOXELS}",
        )
    a, b = int(np.abs(unit_x).argmax()), int(np.abs(unit_y).argmax())
    size = grid.shape_zyx[::-1]
    c = 3 - a - b
    if a == b or (size[a], size[b]) != (seg.columns, seg.rows) or {lattice[a], far[a]} != {0, size[a] - 1} or (
        {lattice[b], far[b]} != {0, size[b] - 1}
    ):  # fmt: skip
        raise Rejected(
            Reason.LABEL_GRID,
            f"a frame of {seg.columns}×{seg.rows} pixels covers no whole plane of its image of "
            f"{'×'.join(str(n) for n in size)} voxels (x, y, z)",
        )
    if not 0 <= lattice[c] < size[c]:
        if drawn:
            raise Rejected(
                Reason.LABEL_GRID,
                f"a frame that shows something lies on plane {lattice[c]} of its image, which has 0 to {size[c] - 1}",
            )
        return None
    view = np.moveaxis(array, (2 - b, 2 - a, 2 - c), (0, 1, 2))[:, :, int(lattice[c])]
    return view[:: int(unit_y[b]), :: int(unit_x[a])]
