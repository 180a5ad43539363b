"""Inventory of DICOM: instances that belong together by path or SeriesInstanceUID become cases, one for each volume."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from schemas.case import ArrayHeader, Case, CaseAnnotation, CaseImage, CaseLabel
from schemas.layouts import DicomLayout, ImageChannel, label_names
from schemas.policy import NOTHING, Policy
from schemas.reasons import Reason
from schemas.recipe import Geometry, Limits, Temporal
from schemas.source import Source
from schemas.terms import license_of
from transforms.annotated import check_policy
from transforms.estimate import ArrayCost, estimate
from transforms.inventory import (
    Inventoried,
    OnFault,
    Settings,
    assigned_split,
    label_records,
    object_records,
    one_reject,
    overridden,
    person,
)
from transforms.inventory_drawings import join_drawings, read_drawing
from transforms.inventory_marks import join_marks, read_marks
from transforms.inventory_slices import sliced_label
from transforms.layouts.case_files import ArrayFiles, Fault, HeaderFile, moment_name
from transforms.layouts.dicom import join_fields
from transforms.layouts.group import to_reject
from transforms.pseudonym import PatientKeys, case_id, slug
from transforms.read import dicom, dicom_flat, series
from transforms.read.dicom import Instance
from transforms.read.header import OVER_TIME, at_one_moment, check_extent, check_extent_over_time
from transforms.read.lidc import Marks
from transforms.read.segment import Drawing
from transforms.rejected import Rejected
from transforms.store import SourceStore

_SUFFIX_DIGITS = 8
"""Hex digits of the series' pseudonym in the name of a case that shares its path's fields with other series."""


@dataclass(frozen=True)
class ReadFile:
    """An object that was listed and, unless it is a label in a file of another format, read."""

    file: HeaderFile
    instance: Instance | None
    drawing: Drawing | None = None
    marks: Marks | None = None


def read_header(file: HeaderFile, store: SourceStore) -> ReadFile:
    """Read what an instance's header says; a label file is passed on unread.

    A prefix is read, and the whole object only where the header is longer.

    Raises:
        Rejected: not DICOM, or no image; or it is no longer the object that was listed.
        OSError: what may pass, from the store; for the caller to retry.
    """
    if file.label is not None:
        return ReadFile(file, None)
    if file.marks:
        return ReadFile(file, None, marks=read_marks(file, store))
    path, size, version = file.object.path, file.object.bytes, file.object.version
    prefix = store.read(path, 0, min(dicom.HEADER_PREFIX_BYTES, size), version=version)
    try:
        return ReadFile(file, dicom.read_instance(prefix, path=path, file_bytes=size))
    except dicom.HeaderCutError:
        if drawing := read_drawing(file, prefix, store):
            return ReadFile(file, None, drawing)
        return ReadFile(file, dicom.read_instance(store.read(path, version=version), path=path, file_bytes=size))
    except Rejected:
        if drawing := read_drawing(file, prefix, store):
            return ReadFile(file, None, drawing)
        raise


def group_key(read: ReadFile) -> str:
    """What must be inventoried together: equal fields of the path, or, where it has none, one SeriesInstanceUID.

    A SEG or RTSTRUCT goes with the series that it references, a file of marks with the one that it names.
    """
    found = read.instance or read.drawing or read.marks
    return read.file.group if read.file.group or found is None else found.series_instance_uid


def inventory_series(
    group: Iterable[ReadFile],
    source: Source,
    store: SourceStore,
    keys: PatientKeys,
    limits: Limits,
    *,
    on_fault: OnFault = "reject",
    wanted: Geometry | None = None,
    policy: Policy = NOTHING,
    temporal: Temporal = "refuse",
) -> list[Inventoried]:
    """Cases of everything with one `group_key`, in any order.

    Every object is in exactly one of the results, but for what several time points share: a label, frames of one object.

    Args:
        group: instances, and labels that their paths join to them.
        source: the manifest.
        store: where the labels' headers lie.
        keys: makes pseudonyms.
        limits: what an array may cost.
        on_fault: what to do with a case whose label is faulty.
        wanted: the recipe's geometry, for the estimates; None: native.
        policy: what may pass that could name a person.
        temporal: what becomes of several time points at each position.

    Raises:
        OSError: what may pass, from the store; for the caller to retry.
    """
    layout = source.layout
    if not isinstance(layout, DicomLayout):
        raise TypeError(f"expected a dicom layout, found {layout.kind}")
    settings = Settings(keys, limits, on_fault, wanted or Geometry(), policy, temporal)
    files = sorted(group, key=lambda r: r.file.object.path)
    by_series: dict[str, list[ReadFile]] = {}
    for read in files:
        if read.instance is not None:
            by_series.setdefault(read.instance.series_instance_uid, []).append(read)
    labels = [read.file for read in files if read.file.label is not None]
    drawings = [(read.file, read.drawing) for read in files if read.drawing is not None]
    marks = [(read.file, read.marks) for read in files if read.marks is not None]

    results: list[Inventoried] = []
    volumes: list[_Volume] = []
    for uid, members in sorted(by_series.items()):
        base = _base_name(layout, members[0].file, uid, len(by_series), keys)
        kept, left_out = _diagnosed(uid, base, members, source, settings)
        volumes += kept
        results += left_out
    joined, orphans = _join(labels, volumes, layout, source, store, settings)
    drawn, without = join_drawings(drawings, volumes, by_series, source, keys)
    instances = {u: [r.instance for r in m if r.instance is not None] for u, m in by_series.items()}
    marked, unmarked = join_marks(marks, volumes, instances, source, keys)
    for volume in volumes:
        (arrays, faults), (more, wrong) = joined[volume.name], drawn[volume.name]
        own = marked[volume.name]
        everything = (*arrays, *more, *own.labels)
        wrongs = (*faults, *wrong, *own.faults)
        results.append(_case(volume, everything, wrongs, own.annotations, source, store, settings))
    results += [Inventoried(None, (), (reject,)) for reject in (*without, *unmarked)]
    return [*results, *orphans]


@dataclass(frozen=True)
class _Volume:
    """A volume that may become a case.

    Attributes:
        name: its own.
        of: the same, of a time point that of all of them.
        base: of its series.
    """

    name: str
    of: str
    base: str
    uid: str
    found: series.SeriesVolume
    files: ArrayFiles
    fields: tuple[tuple[str, str], ...]
    instance_uids: frozenset[str]


def _base_name(layout: DicomLayout, file: HeaderFile, uid: str, count: int, keys: PatientKeys) -> str:
    """Name of a series: its path's fields, with a suffix where several series share them; else its UID."""
    fields = dict(file.fields)
    shared = join_fields(layout)
    if not shared:
        return uid
    name = "_".join(fields[f] for f in shared)
    return name if count == 1 else f"{name}-{keys.uid(uid)[:_SUFFIX_DIGITS]}"


def _diagnosed(
    uid: str, base: str, members: Sequence[ReadFile], source: Source, settings: Settings
) -> tuple[list[_Volume], list[Inventoried]]:
    """Volumes of one series that may become cases, and what was left out of it."""
    layout = source.layout
    instances = [r.instance for r in members if r.instance is not None]
    by_path = {r.file.object.path: r.file for r in members}
    first = instances[0]
    image = image_name(first.modality)

    def array(paths: Sequence[str]) -> ArrayFiles:
        # Not checked: a header may say anything, and it goes no further than the record of the image.
        channel = ImageChannel.model_construct(name=image, modality=first.modality)
        return ArrayFiles(image, tuple((by_path[p].object, None) for p in paths), channel=channel)

    def left_out(name: str, paths: Sequence[str], reason: Reason, detail: str) -> Inventoried:
        identity = _identity(name, source, settings.keys)
        reject = one_reject([Fault(reason, detail, paths[0], "case")], source, settings.keys, identity)
        return Inventoried(None, object_records([array(paths)], source, identity), (reject,))

    everything = sorted(by_path)
    if isinstance(layout, DicomLayout) and layout.modalities and first.modality not in layout.modalities:
        detail = f"modality {first.modality}, the manifest takes {', '.join(layout.modalities)}"
        return [], [left_out(base, everything, Reason.NOT_SELECTED, detail)]
    if (patients := len({i.patient_id for i in instances})) > 1:
        detail = f"the instances of one series name {patients} patients, expected one"
        return [], [left_out(base, everything, Reason.CONFLICTING_FILES, detail)]

    flat = dicom_flat.pictures(instances, name=image)
    diagnosis = flat.found.joined(series.diagnose(flat.others, name=image, temporal=settings.temporal))
    kept: list[_Volume] = []
    results: list[Inventoried] = []
    names = itertools.chain([base], (f"{base}-{n}" for n in itertools.count(2)))
    over_time: dict[int, str] = {}
    for found in diagnosis.volumes:
        name = of = _next_name(names, found, over_time)
        if found.moment is not None:
            name = moment_name(of, found.moment[1])
        if excluded := next((source.exclude[n] for n in (name, of, base, uid) if n in source.exclude), None):
            detail = f"excluded by the source manifest: {excluded}"
            results.append(left_out(name, found.paths, Reason.EXCLUDED, detail))
            continue
        try:
            _check_extent(found.header, settings.limits)
            check_policy([first.modality], found.findings, (), source, settings.policy)
        except Rejected as fault:
            results.append(left_out(name, found.paths, fault.reason, fault.detail))
            continue
        paths = frozenset(found.paths)
        uids = frozenset(i.sop_instance_uid for i in instances if i.path in paths)
        kept.append(_Volume(name, of, base, uid, found, array(found.paths), by_path[found.paths[0]].fields, uids))
    results += [left_out(next(names), r.paths, r.reason, r.detail) for r in diagnosis.rejects]
    return kept, results


def _next_name(names: Iterator[str], found: series.SeriesVolume, over_time: dict[int, str]) -> str:
    """The name of a volume; the time points of one image share one, which `over_time` remembers."""
    if found.moment is None:
        return next(names)
    image, _ = found.moment
    if image not in over_time:
        over_time[image] = next(names)
    return over_time[image]


def _check_extent(header: ArrayHeader, limits: Limits) -> None:
    if header.axes == OVER_TIME:
        check_extent_over_time(header, limits)
    else:
        check_extent(header.shape, np.dtype(header.dtype).itemsize, limits)


def _join(
    labels: Sequence[HeaderFile],
    volumes: Sequence[_Volume],
    layout: DicomLayout,
    source: Source,
    store: SourceStore,
    settings: Settings,
) -> tuple[dict[str, tuple[tuple[ArrayFiles, ...], tuple[Fault, ...]]], list[Inventoried]]:
    """Labels and label faults of each volume, by its name; and labels that belong to none."""
    arrays: dict[str, list[ArrayFiles]] = {v.name: [] for v in volumes}
    faults: dict[str, list[Fault]] = {v.name: [] for v in volumes}
    orphans: list[Inventoried] = []
    for number, (role, own) in enumerate(zip(layout.labels, label_names(layout.labels), strict=True)):
        files = [f for f in labels if f.label == number]
        images = [v for v in volumes if v.files.name == role.image]
        if role.slices and files and (len(images) == 1 or (images and role.every)):
            for image in images:
                objects = tuple(f.object for f in files)
                table = source.labels[role.table]
                array, wrong = sliced_label(objects, image.found, role, own, table, store, settings.limits)
                arrays[image.name].append(array)
                faults[image.name] += [wrong] if wrong else []
        elif len({v.of for v in images}) == 1 and files:
            pairs = tuple((f.object, None) for f in files)
            for name in (v.name for v in images):  # one, or all its time points
                arrays[name].append(ArrayFiles(own, pairs, table=role.table, image=role.image, reader=role.reader))
                if len(files) > 1:
                    detail = f"{len(files)} files claim to be the label {own!r} of one case, expected one"
                    faults[name].append(Fault(Reason.CONFLICTING_FILES, detail, files[1].object.path, "label"))
        elif files:
            reason = Reason.NO_IMAGE if not images else Reason.CONFLICTING_FILES
            detail = f"the label is of one image {role.image!r} with the same fields, found {len(images)} volumes"
            for image in images:
                faults[image.name].append(Fault(reason, detail, None, "label"))
            for f in files:
                reject = to_reject(Fault(reason, detail, f.object.path, "object"), source, settings.keys, None)
                orphans.append(Inventoried(None, (), (reject,)))
        elif role.required:
            for image in images:
                detail = f"no label for the image {role.image!r}: expected {role.path} with the fields of its case"
                faults[image.name].append(Fault(Reason.MISSING_LABEL, detail, None, "label"))
    return {n: (tuple(arrays[n]), tuple(faults[n])) for n in arrays}, orphans


def _case(
    volume: _Volume,
    labels: Sequence[ArrayFiles],
    faults: Sequence[Fault],
    annotations: tuple[CaseAnnotation, ...],
    source: Source,
    store: SourceStore,
    settings: Settings,
) -> Inventoried:
    keys = settings.keys
    name = _identity(volume.name, source, keys)
    records = object_records([volume.files, *labels], source, name)
    instance = volume.found.instance
    header, changed = overridden(volume.found.header, source, volume.of)
    image = CaseImage(header, instance.modality, volume.found.metadata)
    found = label_records(labels, faults, source, store, settings, name, volume.of, {header.name: image})
    if slanted := _on_slanted_slices(volume.found, found.labels, labels):
        found = label_records(
            labels, (*faults, slanted), source, store, settings, name, volume.of, {header.name: image}
        )
    if found.rejected:
        return Inventoried(None, records, found.rejects)

    cost = ArrayCost(header, instance.modality, instances=len(volume.files.objects))
    seconds, stored = estimate([cost], found.costs, settings.wanted)
    default = instance.patient_id or instance.study_instance_uid or volume.uid
    patient = keys.patient(*person(source, volume.base, dict(volume.fields), default))
    case = Case(
        case_id=name,
        source=source.id,
        patient=patient,
        study=keys.uid(instance.study_instance_uid) if instance.study_instance_uid else None,
        series=keys.uid(volume.uid),
        timepoint=None,
        days_from_first=None,
        sex=instance.patient_sex,
        age_years=instance.age_years,
        site=None,
        split=assigned_split(source, volume.of, None),
        license=license_of(source.terms, source.origins, volume.of),
        images=(image,),
        labels=found.labels,
        annotations=annotations,
        texts=(),
        findings=(*volume.found.findings, *changed, *found.findings),
        estimated_seconds=seconds,
        estimated_bytes=stored,
    )
    kept = tuple(r for r in records if not (found.rejects and r.array.startswith("label:")))
    day = _day(instance.study_date)
    return Inventoried(case, kept, found.rejects, None if day is None else keys.shifted_day(patient, day))


def _on_slanted_slices(
    found: series.SeriesVolume, labels: Sequence[CaseLabel], files: Sequence[ArrayFiles]
) -> Fault | None:
    """The fault of a label that was drawn on a tilted series as its slices lie.

    Its volume is deskewed, onto a grid of another size. Formats that cannot say that slices lean would put such a label on
    the upright grid's lattice and shift it against the image.
    """
    if not any(f.code == "tilted" for f in found.findings):
        return None
    for label, array in zip(labels, files, strict=False):
        volume = at_one_moment(found.header).shape
        if sorted(label.header.shape) != sorted(volume):
            shape, other = ("×".join(str(n) for n in s[::-1]) for s in (volume, label.header.shape))
            detail = f"the image was tilted and is deskewed to {shape} voxels (x, y, z); its label has {other}"
            return Fault(Reason.LABEL_GRID, detail, array.objects[0][0].path, "label")
    return None


def _identity(name: str, source: Source, keys: PatientKeys) -> str:
    # Groups are made apart from each other, so a name that a key cannot show might meet another one: such get pseudonyms.
    return case_id(source.id, name, keys, public=source.public_ids and slug(name) == name.lower())


def image_name(modality: str) -> str:
    """Name of the image of a series, from its modality."""
    return re.sub(r"[^a-z0-9]+", "", modality.lower())[:24] or "image"


def _day(date: str | None) -> int | None:
    """Number of the day of a DICOM DA value (PS3.5 6.2: YYYYMMDD); None where it is not one."""
    try:
        return datetime.datetime.strptime(date or "", "%Y%m%d").toordinal()
    except ValueError:
        return None
