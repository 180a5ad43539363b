"""Inventory of files of marks (LIDC-IDRI's XML): each reader becomes a label of the case of the series that was read.

The file belongs to the series whose SeriesInstanceUID it names, and a mark to the slice whose SOPInstanceUID it names; z
positions decide nothing. A series without a file has no label: nobody says whether anybody looked. What is wrong with a
file whose case is known is a fault of the case's label; one without a series is a reject of the file alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mdfp.readers import reader_name
from mdfp.sample import Finding
from schemas.case import CaseAnnotation, Reject
from schemas.label_table import LabelTable
from schemas.layouts import DicomLayout, ReaderMarks
from schemas.reasons import Reason
from schemas.source import Source
from transforms.inventory_drawings import SeriesCase
from transforms.layouts.case_files import ArrayFiles, Fault, HeaderFile, KnownLabel
from transforms.layouts.group import to_reject
from transforms.pseudonym import PatientKeys
from transforms.read import lidc, sealed_xml
from transforms.read.dicom import Instance
from transforms.read.header import ReadHeader, affine_of
from transforms.read.lidc import Marks, Nodule, Region, Session
from transforms.rejected import Rejected
from transforms.store import SourceStore

SMALL, NON_NODULE = "nodule_under_3_mm", "non_nodule"
"""Names of the points that nodules of less than 3 mm and non-nodules become."""

CHARACTERISTICS = {
    name: "".join(f"_{c.lower()}" if c.isupper() else c for c in name) for name in lidc.SCALES
}  # internalStructure → internal_structure
"""Names of the measurements that a nodule's characteristics become."""


@dataclass(frozen=True)
class Marked:
    """What files of marks give one volume."""

    labels: tuple[ArrayFiles, ...] = ()
    faults: tuple[Fault, ...] = ()
    annotations: tuple[CaseAnnotation, ...] = ()


def read_marks(file: HeaderFile, store: SourceStore) -> Marks:
    """The marks of a file, without the points of edge maps.

    Raises:
        Rejected: as `lidc.parse` does.
        OSError: what may pass, from the store; for the caller to retry.
    """
    if file.object.bytes > sealed_xml.MAX_BYTES:
        raise Rejected(Reason.TOO_LARGE, f"{file.object.bytes} bytes of XML, {sealed_xml.MAX_BYTES} are read")
    return lidc.parse(store.read(file.object.path, version=file.object.version)).outlined()


def join_marks(
    files: Sequence[tuple[HeaderFile, Marks]],
    volumes: Sequence[SeriesCase],
    series: Mapping[str, Sequence[Instance]],
    source: Source,
    keys: PatientKeys,
) -> tuple[dict[str, Marked], list[Reject]]:
    """Labels, label faults and annotations of each volume, by its name; and files that belong to no case, as rejects.

    Args:
        files: in the order of their paths.
        volumes: what became of the series.
        series: instances by SeriesInstanceUID.
        source: the manifest.
        keys: makes pseudonyms.
    """
    of_volume: dict[str, Marked] = {v.name: Marked() for v in volumes}
    rejects: list[Reject] = []
    for file, marks in files:
        try:
            volume = _volume_of(marks, volumes, series)
        except Rejected as verdict:
            fault = Fault(verdict.reason, verdict.detail, file.object.path, "object")
            rejects.append(to_reject(fault, source, keys, None))
            continue
        before = of_volume[volume.name]
        if before.labels:
            detail = "several files of marks name one series, expected one; name one under skip:"
            rejects.append(
                to_reject(Fault(Reason.CONFLICTING_FILES, detail, file.object.path, "object"), source, keys, None)
            )
            fault = Fault(Reason.CONFLICTING_FILES, detail, file.object.path, "label")
            of_volume[volume.name] = replace(before, faults=(*before.faults, fault))
            continue
        of_volume[volume.name] = _marked(file, marks, volume, series[volume.uid], source)
    return of_volume, rejects


def _volume_of(marks: Marks, volumes: Sequence[SeriesCase], series: Mapping[str, Sequence[Instance]]) -> SeriesCase:
    """The one volume that a file marks.

    Raises:
        Rejected: ORPHAN_LABEL, NO_IMAGE, CONFLICTING_FILES.
    """
    if marks.series_instance_uid not in series:
        raise Rejected(
            Reason.ORPHAN_LABEL,
            "the series that the file of marks names is not in the source, or not under equal fields of layout.path",
        )
    found = [v for v in volumes if v.uid == marks.series_instance_uid and v.found.header.axes == "zyx"]
    if not found:
        raise Rejected(Reason.NO_IMAGE, "the series that the file of marks names gave no volume")
    if len(found) > 1:
        named = {r.instance_uid for s in marks.sessions for r in s.regions}
        found = [v for v in found if named & v.instance_uids]
    if len(found) != 1:
        raise Rejected(
            Reason.CONFLICTING_FILES, "the series of the marks is several volumes, and they do not all lie on one"
        )
    return found[0]


def _marked(
    file: HeaderFile, marks: Marks, volume: SeriesCase, instances: Sequence[Instance], source: Source
) -> Marked:
    wanted, table = _wanted(source)
    header = volume.found.header
    slices = lidc.slice_numbers(instances, affine_of(header), header.shape)
    readers = list(enumerate(marks.sessions, start=1))
    labels = tuple(_label(file, n, session, volume, slices, wanted.table) for n, session in readers)
    try:
        if volume.name in source.geometry_override:
            raise Rejected(
                Reason.LABEL_GRID, "the manifest overrides the geometry of the case, so slices have no place"
            )
        for region in (r for session in marks.sessions for r in session.regions):
            lidc.check_place(region, slices, header.shape)
    except Rejected as verdict:
        fault = Fault(verdict.reason, f"label {wanted.table!r}: {verdict.detail}", file.object.path, "label")
        return Marked(labels, (fault,))
    (structure,) = table.structures.values()
    found = (_annotations(session, reader_name(n), structure, volume.files.name, slices) for n, session in readers)
    return Marked(labels, (), tuple(a for annotations in found for a in annotations))


def _label(
    file: HeaderFile, number: int, session: Session, volume: SeriesCase, slices: Mapping[str, int], table: str
) -> ArrayFiles:
    """One reader's label, on the grid of its image."""
    name = f"{table}_reader{number}"
    header = replace(
        volume.found.header,
        name=name,
        format=lidc.FORMAT,
        dtype="uint8",
        scale=1.0,
        offset=0.0,
        verdict="regular",
        bytes=file.object.bytes,
        component=number - 1,
        part=None,
        unit=None,
    )
    findings = _misplaced(session, slices, header.affine_ras or (), name)
    known = KnownLabel(ReadHeader(header, findings), reader_name(number), 1)
    return ArrayFiles(name, ((file.object, None),), table=table, image=volume.files.name, known=known)


def _annotations(
    session: Session, origin: str, structure: str, image: str, slices: Mapping[str, int]
) -> list[CaseAnnotation]:
    """Boxes, characteristics and points of one reader; `value` of a box or point is the nodule's number in the session."""

    def made(kind: str, name: str, value: str | None, index: tuple[float, ...]) -> CaseAnnotation:
        return CaseAnnotation(kind, name, value, "present", "image", origin, image, index, ())

    def point(region: Region) -> tuple[float, ...]:
        x, y = region.box[:2]
        return float(x), float(y), float(slices[region.instance_uid])

    found = []
    for number, nodule in enumerate(session.nodules, start=1):
        if nodule.small:
            found += [made("point", SMALL, str(number), point(r)) for r in nodule.regions]
            continue
        box = _box(nodule, slices)
        found.append(made("box", structure, str(number), box))
        found += [made("measurement", CHARACTERISTICS[n], str(grade), box) for n, grade in nodule.characteristics]
    return [*found, *(made("point", NON_NODULE, None, point(r)) for r in session.non_nodules)]


def _box(nodule: Nodule, slices: Mapping[str, int]) -> tuple[float, ...]:
    """Edges of what the borders of a nodule enclose, in voxels: x, y, z of the lower corner, then of the upper."""
    regions = [r for r in nodule.regions if r.inclusion] or list(nodule.regions)
    lower = [min(r.box[0] for r in regions), min(r.box[1] for r in regions)]
    upper = [max(r.box[2] for r in regions), max(r.box[3] for r in regions)]
    edges = []
    for a, b in zip(lower, upper, strict=True):
        # The border lies outside; where it is too thin to enclose anything the box is around itself.
        edges.append((a + 0.5, b - 0.5) if b - a > 1 else (a - 0.5, b + 0.5))
    z = [slices[r.instance_uid] for r in regions]
    (x0, x1), (y0, y1) = edges
    return x0, y0, min(z) - 0.5, x1, y1, max(z) + 0.5


def _misplaced(
    session: Session, slices: Mapping[str, int], affine_ras: Sequence[float], name: str
) -> tuple[Finding, ...]:
    """A finding where imageZposition is not the z of the slice that a mark names."""
    step, first = affine_ras[10], affine_ras[11]
    known = [r for r in session.regions if r.z_mm is not None and r.instance_uid in slices]
    off = [abs(r.z_mm - (first + step * slices[r.instance_uid])) for r in known if r.z_mm is not None]
    wrong = [d for d in off if d > abs(step) / 2]
    if not wrong:
        return ()
    detail = f"{len(wrong)} of {len(off)} marks say a z up to {max(wrong):.3g} mm from the slice they name"
    return (Finding("mark_position_differs", name, detail),)


def _wanted(source: Source) -> tuple[ReaderMarks, LabelTable]:
    layout = source.layout
    if not isinstance(layout, DicomLayout) or layout.marks is None:
        raise TypeError("the layout takes no marks")
    return layout.marks, source.labels[layout.marks.table]
