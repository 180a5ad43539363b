"""The XML files of LIDC-IDRI: what each of up to four radiologists marked on one CT series.

Armato et al., The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative (IDRI): a completed
reference database of lung nodules on CT scans, Med. Phys. 38 (2011), doi:10.1118/1.3528204; McNitt-Gray et al., Acad.
Radiol. 14 (2007), doi:10.1016/j.acra.2007.07.021. Rules:

* An edge map is the outer border of a nodule: its pixels are the first outside of it. The nodule is what the border
  encloses; no pixel of an edge map belongs to it. pylidc's `Annotation.boolean_mask` has the same rule.
* Within one region the even-odd rule of `transforms.read.contours` decides, with the pixels of the edge map as corners in
  their order. Regions of one slice are joined; a region with `inclusion` FALSE is a hole, and is taken out with its border
  after all others were filled.
* xCoord is a column and yCoord a row, counted from 0.
* A region lies on the slice whose SOPInstanceUID it names. imageZposition is looked at and never decides.
* A nodule of less than 3 mm is one point and has no extent, and so has a non-nodule: neither draws a voxel.

Reading sessions are numbered in the order of the file. The same number in two files may be two persons: sessions are
anonymous. Names, dates, ids of nodules and of radiologists are not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mdfp import geometry
from mdfp.geometry import Affine
from schemas.reasons import Reason
from transforms.read import sealed_xml
from transforms.read.contours import fill
from transforms.read.dicom import Instance
from transforms.rejected import Rejected
from transforms.scratch import Bytes

FORMAT = "lidc"
"""Format of a label that is one reader's marks in such a file."""

SCALES = {
    "subtlety": (1, 5), "internalStructure": (1, 4), "calcification": (1, 6), "sphericity": (1, 5), "margin": (1, 5),
    "lobulation": (1, 5), "spiculation": (1, 5), "texture": (1, 5), "malignancy": (1, 5),
}  # fmt: skip
"""Characteristics of a nodule and the ends of their scales (McNitt-Gray et al.)."""

MAX_SESSIONS = 32
"""Readers of one file; LIDC has four."""

MAX_MARKS = 20_000
"""Nodules, regions and non-nodules of one file."""

MAX_POINTS = 4_000_000
"""Points of all edge maps of one file."""

MAX_COORDINATE = 1 << 16
"""Rows and columns of a DICOM image are 16-bit numbers."""

POSITION_TOLERANCE = 0.1
"""How far a slice may lie from the volume's grid for its marks to be drawn there, in voxels."""

_ROOT = "LidcReadMessage"
_NODULE, _NON_NODULE, _SESSION = "unblindedReadNodule", "nonNodule", "readingSession"
_POINTS = {"edgeMap", "locus"}
Box = tuple[int, int, int, int]
"""First column, first row, last column, last row of an edge map."""


@dataclass(frozen=True, eq=False)
class Region:
    """One edge map.

    Attributes:
        instance_uid: SOPInstanceUID of its slice.
        z_mm: imageZposition; None where it is not there.
        inclusion: False for a hole.
        box: around its pixels.
        count: how many pixels it has.
        points: (n, 2) int32, column and row of each; None once they are left out.
    """

    instance_uid: str
    z_mm: float | None
    inclusion: bool
    box: Box
    count: int
    points: npt.NDArray[np.int32] | None


@dataclass(frozen=True, eq=False)
class Nodule:
    """What one reader calls a nodule.

    Attributes:
        characteristics: name and grade, as in `SCALES`; those of other values are left out.
        regions: its edge maps.
    """

    characteristics: tuple[tuple[str, int], ...]
    regions: tuple[Region, ...]

    @property
    def small(self) -> bool:
        """Whether it is a point: a nodule of less than 3 mm."""
        return all(r.count == 1 for r in self.regions)


@dataclass(frozen=True, eq=False)
class Session:
    """What one reader marked."""

    nodules: tuple[Nodule, ...]
    non_nodules: tuple[Region, ...]

    @property
    def regions(self) -> tuple[Region, ...]:
        """Every region of it."""
        return (*(r for n in self.nodules for r in n.regions), *self.non_nodules)


@dataclass(frozen=True, eq=False)
class Marks:
    """A file of marks.

    Attributes:
        series_instance_uid: of the series that was read; serves grouping and goes into no record.
        sessions: the readers in the order of the file.
    """

    series_instance_uid: str
    sessions: tuple[Session, ...]

    def outlined(self) -> Marks:
        """The same without the points of edge maps: small enough to travel."""

        def bare(regions: Iterable[Region]) -> tuple[Region, ...]:
            return tuple(replace(r, points=None) for r in regions)

        sessions = (
            Session(tuple(replace(n, regions=bare(n.regions)) for n in s.nodules), bare(s.non_nodules))
            for s in self.sessions
        )
        return replace(self, sessions=tuple(sessions))


def parse(data: Bytes) -> Marks:
    """The marks of a file.

    Raises:
        Rejected: UNREADABLE, not such a file, or a mark without slice or place; NOT_SELECTED, marks on radiographs;
            ORPHAN_LABEL, it names no series; TOO_LARGE; UNSUPPORTED, see `sealed_xml.walk`.
    """
    found = _Marks()
    sealed_xml.walk(data, found.start, found.end)
    if not found.series:
        raise Rejected(Reason.ORPHAN_LABEL, "the file of marks names no series (SeriesInstanceUid)")
    if not found.sessions:
        raise Rejected(Reason.UNREADABLE, "expected reading sessions, found none")
    return Marks(found.series, tuple(found.sessions))


class _Marks:
    """What was met so far; nested elements fill the lists that the element around them takes when it ends."""

    def __init__(self) -> None:
        self.series = ""
        self.sessions: list[Session] = []
        self._path: list[str] = []
        self._nodules: list[Nodule] = []
        self._non_nodules: list[Region] = []
        self._regions: list[Region] = []
        self._grades: dict[str, int] = {}
        self._numbers: list[int] = []
        self._said: dict[str, str] = {}
        self._point: dict[str, str] = {}
        self._marks = self._points = 0

    def start(self, name: str) -> None:
        if not self._path and name != _ROOT:
            if name == "IdriReadMessage":
                raise Rejected(Reason.NOT_SELECTED, "marks on radiographs; those on CT are read")
            raise Rejected(Reason.UNREADABLE, f"expected {_ROOT}, found another root of the XML")
        self._path.append(name)
        if name in ("roi", _NON_NODULE):
            self._numbers, self._said = [], {}
        if name == _NODULE:
            self._regions, self._grades = [], {}
        if name == _SESSION:
            self._nodules, self._non_nodules = [], []
        if name in _POINTS:
            self._point = {}

    def end(self, name: str, text: str) -> None:
        self._path.pop()
        inside = self._path[-1] if self._path else ""
        if inside == "ResponseHeader" and name == "SeriesInstanceUid":
            self.series = text
        elif inside in _POINTS and name in ("xCoord", "yCoord"):
            self._point[name] = text
        elif name in _POINTS and inside in ("roi", _NON_NODULE):
            self._add_point()
        elif inside in ("roi", _NON_NODULE) and name in ("imageZposition", "imageSOP_UID", "inclusion"):
            self._said[name] = text
        elif inside == "characteristics" and name in SCALES:
            self._add_grade(name, text)
        elif name == "roi" and inside == _NODULE:
            self._regions.append(self._region())
        elif name == _NODULE and inside == _SESSION:
            self._add_nodule()
        elif name == _NON_NODULE and inside == _SESSION:
            self._non_nodules.append(self._region())
        elif name == _SESSION and inside == _ROOT:
            if len(self.sessions) == MAX_SESSIONS:
                raise Rejected(Reason.TOO_LARGE, f"more than {MAX_SESSIONS} reading sessions")
            self.sessions.append(Session(tuple(self._nodules), tuple(self._non_nodules)))

    def _count(self) -> None:
        self._marks += 1
        if self._marks > MAX_MARKS:
            raise Rejected(Reason.TOO_LARGE, f"more than {MAX_MARKS} marks in one file")

    def _add_point(self) -> None:
        self._points += 1
        if self._points > MAX_POINTS:
            raise Rejected(Reason.TOO_LARGE, f"more than {MAX_POINTS} points of edge maps")
        for axis in ("xCoord", "yCoord"):
            text = self._point.get(axis, "")
            if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < MAX_COORDINATE):
                raise Rejected(
                    Reason.UNREADABLE, f"expected a {axis} from 0 to {MAX_COORDINATE - 1}, found something else"
                )
            self._numbers.append(int(text))

    def _add_grade(self, name: str, text: str) -> None:
        low, high = SCALES[name]
        if text.isascii() and text.isdigit() and len(text) < 3 and low <= int(text) <= high:
            self._grades[name] = int(text)

    def _region(self) -> Region:
        self._count()
        points = np.array(self._numbers, dtype=np.int32).reshape(-1, 2)
        uid = self._said.get("imageSOP_UID", "")
        if not uid or not len(points):
            raise Rejected(Reason.UNREADABLE, "a mark that names no slice (imageSOP_UID), or has no point")
        inclusion = self._said.get("inclusion", "TRUE").upper()
        if inclusion not in ("TRUE", "FALSE"):
            raise Rejected(Reason.UNREADABLE, "expected TRUE or FALSE for inclusion, found something else")
        low, high = points.min(axis=0), points.max(axis=0)
        box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
        return Region(uid, _number(self._said.get("imageZposition")), inclusion == "TRUE", box, len(points), points)

    def _add_nodule(self) -> None:
        self._count()
        if not self._regions:
            raise Rejected(Reason.UNREADABLE, "a nodule without a region (roi)")
        self._nodules.append(Nodule(tuple(self._grades.items()), tuple(self._regions)))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def slice_numbers(instances: Iterable[Instance], affine_ras: Affine, shape_zyx: Sequence[int]) -> dict[str, int]:
    """SOPInstanceUID → index z of the slice that an instance is in its volume.

    Instances that lie on no slice of the grid are left out: those of a series that was deskewed or resampled along z, and
    objects of several frames.

    Args:
        instances: of the series.
        affine_ras: of the volume.
        shape_zyx: its voxels.
    """
    to_index = geometry.inverse(affine_ras)
    found: dict[str, int] = {}
    for instance in instances:
        position = instance.image_position_patient
        if position is None or instance.number_of_frames > 1 or instance.frames:
            continue
        index = geometry.apply(to_index, (-position[0], -position[1], position[2]))  # LPS → RAS → index
        z = int(np.rint(index[2]))
        lies = float(np.abs(index - (0.0, 0.0, z)).max()) <= POSITION_TOLERANCE
        if lies and 0 <= z < shape_zyx[0] and (instance.rows, instance.columns) == tuple(shape_zyx[1:]):
            found[instance.sop_instance_uid] = z
    return found


def reader_mask(session: Session, slices: Mapping[str, int], shape_zyx: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Voxels of a reader's nodules of 3 mm and more: (z, y, x) of the image, 1 inside.

    Args:
        session: with its points.
        slices: `slice_numbers` of the image.
        shape_zyx: the image's voxels.

    Raises:
        Rejected: LABEL_GRID, a region names a slice that the image does not have, or leaves it.
    """
    mask = np.zeros(shape_zyx, np.uint8)
    for nodule in session.nodules:
        if nodule.small:
            continue
        by_slice: dict[int, list[Region]] = {}
        for region in nodule.regions:
            check_place(region, slices, shape_zyx)
            by_slice.setdefault(slices[region.instance_uid], []).append(region)
        for z, regions in by_slice.items():
            boxes = np.array([r.box for r in regions])
            x0, y0 = (int(v) for v in boxes[:, :2].min(axis=0))
            x1, y1 = (int(v) + 1 for v in boxes[:, 2:].max(axis=0))
            mask[z, y0:y1, x0:x1] |= _slice_of(regions, (x0, y0), (y1 - y0, x1 - x0))
    return mask


def check_place(region: Region, slices: Mapping[str, int], shape_zyx: Sequence[int]) -> None:
    """Refuse a region beside its image.

    Raises:
        Rejected: LABEL_GRID.
    """
    if region.instance_uid not in slices:
        raise Rejected(Reason.LABEL_GRID, "a mark lies on a slice (imageSOP_UID) that its image does not have")
    if region.box[2] >= shape_zyx[2] or region.box[3] >= shape_zyx[1]:
        raise Rejected(
            Reason.LABEL_GRID,
            f"a mark at column {region.box[2]}, row {region.box[3]} of an image of {shape_zyx[2]}×{shape_zyx[1]} pixels",
        )


def _slice_of(regions: Sequence[Region], corner: tuple[int, int], shape_yx: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A nodule in one slice: (y, x) from a corner (column, row)."""
    mask = np.zeros(shape_yx, np.uint8)
    for region in sorted(regions, key=lambda r: not r.inclusion):  # holes last
        assert region.points is not None
        points = region.points - np.array(corner)
        enclosed = fill([points.astype(np.float64)], shape_yx)
        border = (points[:, 1], points[:, 0])
        if region.inclusion:
            enclosed[border] = 0
            mask |= enclosed
        else:
            enclosed[border] = 1
            mask &= 1 - enclosed
    return mask
