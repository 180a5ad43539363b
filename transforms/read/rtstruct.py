"""DICOM RT Structure Set: closed planar contours in patient coordinates, filled on the grid of the series they reference.

PS3.3 A.19 and C.8.8.5, C.8.8.6. Rules:

* CLOSED_PLANAR and CLOSEDPLANAR_XOR only. All contours of a ROI in one slice count together by the even-odd rule
  (`transforms.read.contours`), whether holes come as contours of their own or as keyholes.
* A contour must lie on a slice of the image; slices between two contours are not filled in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from mdfp import geometry
from schemas.reasons import Reason
from transforms.read.contours import Points, fill
from transforms.read.segment import (
    RTSTRUCT,
    Drawing,
    ImageGrid,
    Segment,
    check_segments,
    name,
    needed,
    one_series,
    parse,
    sound,
    text,
)
from transforms.rejected import Rejected
from transforms.scratch import Bytes

PLANE_TOLERANCE = 0.1
"""How far a point of a contour may lie from its slice, in steps between slices. Contours carry the slices' own positions,
rounded to a hundredth of a mm or finer; contours made on another grid lie anywhere between."""

MAX_POINTS = 20_000_000
"""Points of one structure set: 480 MB of coordinates."""

MAX_COORDINATE_MM = 1e5
"""A patient is not 100 m large: coordinates beyond are damaged."""

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


@dataclass(frozen=True, eq=False)
class StructureSet:
    """A structure set, opened.

    Attributes:
        segments: its ROIs.
        contours: by ROINumber, the closed contours: (n, 3) each, mm, LPS; a ROI without contours has none.
    """

    segments: tuple[Segment, ...]
    contours: dict[int, tuple[npt.NDArray[np.float64], ...]]


def describe(data: Bytes, *, path: str, file_bytes: int) -> Drawing:
    """What the object says of itself; contours are not read.

    Raises:
        Rejected: UNREADABLE, TOO_LARGE; ORPHAN_LABEL, it references no series; UNSUPPORTED, it references several, or
            several frames of reference.
        HeaderCutError: `data` is not the whole file.
    """
    ds = parse(data, file_bytes=file_bytes, until=None)
    with sound("the header of the structure set"):
        frames = list(ds.get("ReferencedFrameOfReferenceSequence") or ())
        studies = [s for f in frames for s in f.get("RTReferencedStudySequence") or ()]
        series = [s for study in studies for s in study.get("RTReferencedSeriesSequence") or ()]
        instances = [i for s in series for i in s.get("ContourImageSequence") or ()]
        uids = [u for s in series if (u := text(s, "SeriesInstanceUID"))]
        return Drawing(
            path=path,
            file_bytes=file_bytes,
            format=RTSTRUCT,
            sop_instance_uid=text(ds, "SOPInstanceUID") or "",
            series_instance_uid=one_series(uids),
            instance_uid=text(instances[0], "ReferencedSOPInstanceUID") if instances else None,
            frame_of_reference_uid=_frame_of_reference(ds, frames),
            patient_id=text(ds, "PatientID"),
            segments=_segments(ds),
        )


def _frame_of_reference(ds: Dataset, frames: list[Dataset]) -> str | None:
    """The one frame that all ROIs lie in; where they do not say, the one that is referenced."""
    named = {u for r in ds.get("StructureSetROISequence") or () if (u := text(r, "ReferencedFrameOfReferenceUID"))}
    named = named or {u for f in frames if (u := text(f, "FrameOfReferenceUID"))}
    if len(named) > 1:
        raise Rejected(Reason.UNSUPPORTED, f"the ROIs lie in {len(named)} frames of reference, expected one")
    return next(iter(named), None)


def _segments(ds: Dataset) -> tuple[Segment, ...]:
    return check_segments(
        tuple(
            Segment(
                number=int(needed(item, "ROINumber")),
                name=name(item, "ROIName"),
                algorithm=text(item, "ROIGenerationAlgorithm"),
            )
            for item in ds.get("StructureSetROISequence") or ()
        )
    )


def open_structures(data: Bytes, wanted: frozenset[int] | None = None) -> StructureSet:
    """A structure set with its contours.

    Args:
        data: the file.
        wanted: numbers of the ROIs whose contours are read; None: all.

    Raises:
        Rejected: UNREADABLE; UNSUPPORTED, a wanted ROI has points or open contours; TOO_LARGE.
    """
    ds = parse(data)
    with sound("the structure set"):
        segments = _segments(ds)
        contours: dict[int, list[npt.NDArray[np.float64]]] = {}
        points = 0
        for item in ds.get("ROIContourSequence") or ():
            number = int(needed(item, "ReferencedROINumber"))
            if wanted is not None and number not in wanted:
                continue
            for contour in item.get("ContourSequence") or ():
                found = _contour(contour, MAX_POINTS - points)
                points += len(found)
                contours.setdefault(number, []).append(found)
    return StructureSet(segments, {number: tuple(found) for number, found in contours.items()})


def _contour(item: Dataset, allowed: int) -> npt.NDArray[np.float64]:
    kind = text(item, "ContourGeometricType")
    if kind not in _CLOSED:
        raise Rejected(
            Reason.UNSUPPORTED,
            "a structure has points or open contours (ContourGeometricType), expected CLOSED_PLANAR: they hold no voxels",
        )
    # The text itself: a structure set holds millions of numbers, and an object for each would take minutes.
    raw = item.get_item("ContourData")
    value = b"" if raw is None or raw.value is None else raw.value
    if not isinstance(value, bytes):
        raise Rejected(Reason.UNREADABLE, "ContourData is no text of numbers")
    count = value.count(b"\\") + 1
    if count > 3 * allowed:
        raise Rejected(Reason.TOO_LARGE, f"more than {MAX_POINTS} contour points")
    numbers = np.array([float(v) for v in value.split(b"\\")] if value.strip(b" \0") else [], dtype=np.float64)
    if len(numbers) % 3:
        raise Rejected(Reason.UNREADABLE, f"ContourData holds {len(numbers)} numbers, expected three for each point")
    if not np.all(np.abs(numbers) <= MAX_COORDINATE_MM):
        raise Rejected(Reason.UNREADABLE, f"a contour point is not finite or beyond {MAX_COORDINATE_MM:g} mm")
    return numbers.reshape(-1, 3)


def roi_mask(structures: StructureSet, number: int, grid: ImageGrid) -> npt.NDArray[np.uint8]:
    """Voxels of one ROI: (z, y, x) of the image's grid, 1 inside. Of contours that leave a slice the rest counts.

    Raises:
        Rejected: LABEL_GRID, a contour lies between slices, crosses them, or lies beyond the first or the last.
    """
    mask = np.zeros(grid.shape_zyx, np.uint8)
    to_index = geometry.inverse(grid.affine_ras)
    by_slice: dict[int, list[Points]] = {}
    for contour in structures.contours.get(number, ()):
        if not len(contour):
            continue
        index = geometry.apply(to_index, contour * (-1.0, -1.0, 1.0))  # LPS → RAS → index
        z = int(np.rint(index[0, 2]))
        off = float(np.abs(index[:, 2] - z).max())
        if not off <= PLANE_TOLERANCE:
            raise Rejected(
                Reason.LABEL_GRID,
                f"a contour lies up to {off:.3g} slices beside the image's slice {z}, {PLANE_TOLERANCE} is allowed",
            )
        if not 0 <= z < len(mask):
            raise Rejected(
                Reason.LABEL_GRID, f"a contour lies on slice {z} of its image, which has 0 to {len(mask) - 1}"
            )
        by_slice.setdefault(z, []).append(index[:, :2])
    for z, contours in by_slice.items():
        mask[z] = fill(contours, grid.shape_zyx[1:])
    return mask
