"""Inventory of SEG and RTSTRUCT objects: each becomes a label of the case of the series that it is drawn on.

What is wrong with one ends in one of two places. Where the case is known it is a fault of the case's label, and the
recipe decides upon it; where it is not (an orphan), it is a reject of the object alone. Names of segments go into neither:
they are free text of people.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from mdfp.sample import Finding
from schemas import segment_names
from schemas.case import Reject
from schemas.label_table import LabelTable
from schemas.layouts import DicomLayout, label_names
from schemas.ontology.structures import BACKGROUND
from schemas.reasons import Reason
from schemas.source import Source
from transforms.layouts.case_files import ArrayFiles, Fault, HeaderFile, KnownLabel
from transforms.layouts.group import to_reject
from transforms.pseudonym import PatientKeys
from transforms.read import dicom, drawing
from transforms.read.header import OVER_TIME, ReadHeader, at_one_moment
from transforms.read.segment import Drawing, Segment
from transforms.read.series import SeriesVolume
from transforms.rejected import Rejected
from transforms.store import SourceStore

ORIGINS = {"MANUAL": "expert", "SEMIAUTOMATIC": "expert", "AUTOMATIC": "model"}
"""Who drew a segment, by SegmentAlgorithmType (PS3.3 C.8.20.4) or ROIGenerationAlgorithm (C.8.8.5)."""

MAX_HEADER_BYTES = 1 << 28
"""How much of an object is read for its header: all of an RTSTRUCT, of which the largest have some tens of MB."""

_GROWTH = 16  # each reading of a header that was cut takes so many times more of the file
_LISTED = 10

Labels = tuple[tuple[ArrayFiles, ...], tuple[Fault, ...]]


class SeriesCase(Protocol):
    """What a drawing needs to know of a volume that may become a case."""

    @property
    def name(self) -> str:
        """Of the case."""

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""

    @property
    def found(self) -> SeriesVolume:
        """The volume, diagnosed."""

    @property
    def files(self) -> ArrayFiles:
        """Its image."""

    @property
    def instance_uids(self) -> frozenset[str]:
        """SOPInstanceUIDs of its slices."""


def read_drawing(file: HeaderFile, prefix: bytes, store: SourceStore) -> Drawing | None:
    """The header of an object, when it is a SEG or RTSTRUCT and the manifest takes such; else None.

    More of the file is read while its header goes on; of a SEG with its pixels behind that is rarely all of it.

    Args:
        file: the object.
        prefix: its first bytes.
        store: where it lies.

    Raises:
        Rejected: it is one, and damaged, or references no series; TOO_LARGE.
        OSError: what may pass, from the store; for the caller to retry.
    """
    if not file.drawings:
        return None
    path, size, version = file.object.path, file.object.bytes, file.object.version
    data, whole = prefix, False
    while True:
        try:
            found = drawing.describe(data, path=path, file_bytes=len(data) if whole else size)
            break
        except dicom.HeaderCutError:
            longer = min(size, len(data) * _GROWTH)
            if len(data) >= MAX_HEADER_BYTES or (longer == size > MAX_HEADER_BYTES):
                raise Rejected(
                    Reason.TOO_LARGE, f"a header beyond {len(data)} bytes; {MAX_HEADER_BYTES} are read"
                ) from None
            whole = longer == size
            data = store.read(path, version=version) if whole else store.read(path, 0, longer, version=version)
    if found is not None and _kind(found) not in file.drawings:
        raise Rejected(Reason.NOT_SELECTED, f"a {_kind(found)}, the manifest takes {', '.join(file.drawings)}")
    return found


def join_drawings(
    drawings: Sequence[tuple[HeaderFile, Drawing]],
    volumes: Sequence[SeriesCase],
    series: Iterable[str],
    source: Source,
    keys: PatientKeys,
) -> tuple[dict[str, Labels], list[Reject]]:
    """Labels and label faults of each volume, by its name; and objects that belong to no case, as rejects.

    Args:
        drawings: in the order of their paths.
        volumes: what became of the series.
        series: SeriesInstanceUIDs of all instances they are inventoried with.
        source: the manifest.
        keys: makes pseudonyms.
    """
    there = frozenset(series)
    of_volume: dict[str, list[tuple[HeaderFile, Drawing]]] = {v.name: [] for v in volumes}
    rejects: list[Reject] = []
    seen: set[str] = set()
    for file, drawn in drawings:
        try:
            if drawn.sop_instance_uid in seen:
                raise Rejected(Reason.CONFLICTING_FILES, "another object has its SOPInstanceUID, which is kept")
            of_volume[_volume_of(drawn, volumes, there, source).name].append((file, drawn))
            seen.add(drawn.sop_instance_uid)
        except Rejected as verdict:
            fault = Fault(verdict.reason, verdict.detail, file.object.path, "object")
            rejects.append(to_reject(fault, source, keys, None))
    return {v.name: _labels(of_volume[v.name], v, source) for v in volumes}, rejects


def _volume_of(drawn: Drawing, volumes: Sequence[SeriesCase], there: frozenset[str], source: Source) -> SeriesCase:
    """The one volume that an object is drawn on.

    Raises:
        Rejected: ORPHAN_LABEL, NO_IMAGE, CONFLICTING_FILES; NOT_SELECTED, the table looks past all of its segments.
    """
    if drawn.series_instance_uid not in there:
        raise Rejected(
            Reason.ORPHAN_LABEL,
            f"the series that the {_kind(drawn)} references is not in the source, or not under equal fields of layout.path",
        )
    found = [v for v in volumes if v.uid == drawn.series_instance_uid]
    if not found:
        raise Rejected(Reason.NO_IMAGE, f"the series that the {_kind(drawn)} references gave no volume")
    if len(found) > 1:
        found = [v for v in found if drawn.instance_uid in v.instance_uids]
    if len(found) != 1:
        detail = (
            f"the series that the {_kind(drawn)} references is several volumes, and it does not tell which is meant"
        )
        raise Rejected(Reason.CONFLICTING_FILES, detail)
    if all(_structure(s, _table(source)) == BACKGROUND for s in drawn.segments):
        raise Rejected(Reason.NOT_SELECTED, f"the manifest ignores all {len(drawn.segments)} segments of the object")
    return found[0]


def _labels(drawings: Sequence[tuple[HeaderFile, Drawing]], volume: SeriesCase, source: Source) -> Labels:
    layout, arrays, faults = source.layout, [], []
    if not isinstance(layout, DicomLayout) or layout.segmentations is None:
        return (), ()
    taken = set(label_names(layout.labels))
    table = layout.segmentations.table
    names = (n for n in (table, *(f"{table}_{k}" for k in range(2, len(drawings) + len(taken) + 2))) if n not in taken)
    for (file, drawn), name in zip(drawings, names, strict=False):
        arrays.append(
            ArrayFiles(
                name,
                ((file.object, None),),
                table=table,
                image=volume.files.name,
                known=_known(drawn, name, volume, _table(source)),
            )
        )
        if fault := _fault(drawn, volume, source):
            faults.append(Fault(fault.reason, f"label {name!r}: {fault.detail}", drawn.path, "label"))
    return tuple(arrays), tuple(faults)


def _fault(drawn: Drawing, volume: SeriesCase, source: Source) -> Rejected | None:
    """Why an object cannot be the label of a volume, or None."""
    instance, table = volume.found.instance, _table(source)
    unmapped = [s.number for s in drawn.segments if _structure(s, table) is None]
    if unmapped:
        shown = ", ".join(str(n) for n in unmapped[:_LISTED]) + (", …" if len(unmapped) > _LISTED else "")
        return Rejected(
            Reason.UNMAPPED_LABEL,
            f"the names of {len(unmapped)} of {len(drawn.segments)} segments are neither under structures: nor under "
            f"ignore_names: of the table (numbers {shown}; names of segments are free text and are not repeated here)",
        )
    if drawn.patient_id != instance.patient_id and drawn.patient_id and instance.patient_id:
        return Rejected(Reason.CONFLICTING_FILES, f"the {_kind(drawn)} names another patient than its series")
    frames = drawn.frame_of_reference_uid, instance.frame_of_reference_uid
    if frames[0] != frames[1] and all(frames):
        return Rejected(Reason.LABEL_GRID, f"the {_kind(drawn)} lies in another frame of reference than its image")
    if volume.name in source.geometry_override:
        detail = "the manifest overrides the geometry of the case, so coordinates of segmentations mean nothing"
        return Rejected(Reason.LABEL_GRID, detail)
    return None


def _known(drawn: Drawing, name: str, volume: SeriesCase, table: LabelTable) -> KnownLabel:
    """The header of a label that lies on its image's grid, with who drew it."""
    header = replace(
        at_one_moment(volume.found.header),
        name=name,
        format=drawn.format,
        dtype="uint8",
        scale=1.0,
        offset=0.0,
        verdict="regular",
        bytes=drawn.file_bytes,
    )
    used = [s for s in drawn.segments if _structure(s, table) not in (None, BACKGROUND)]
    said = {ORIGINS[s.algorithm] for s in used if s.algorithm in ORIGINS}
    findings: tuple[Finding, ...] = ()
    origin: str = table.origin
    if origin == "unknown" and len(said) == 1:
        origin = next(iter(said))
    elif said and origin in ("expert", "model") and said != {origin}:
        algorithms = sorted({s.algorithm for s in used if s.algorithm in ORIGINS})
        detail = f"origin {origin} by the manifest, drawn {', '.join(map(str, algorithms))} by the object"
        findings = (Finding("origin_differs", name, detail),)
    if volume.found.header.axes == OVER_TIME:
        detail = f"drawn on one series of {volume.found.header.shape[0]} time points: one mask for all of them"
        findings += (Finding("temporal", name, detail),)
    return KnownLabel(ReadHeader(header, findings), origin, len(used))


def _structure(segment: Segment, table: LabelTable) -> str | None:
    return segment_names.look_up(segment.name, table.structures, table.ignore_names)


def _table(source: Source) -> LabelTable:
    layout = source.layout
    if not isinstance(layout, DicomLayout) or layout.segmentations is None:
        raise TypeError("the layout takes no segmentations")
    return source.labels[layout.segmentations.table]


def _kind(drawn: Drawing) -> str:
    return drawn.format.upper()
