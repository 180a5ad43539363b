"""Inventory: read the headers of a case's files and make its records. Ranged reads of prefixes only, never pixels.

This module has what all layouts share and the cases of file layouts; DICOM series are in `transforms.inventory_series`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mdfp.errors import UsageError
from mdfp.readers import reader_name
from mdfp.sample import Acquisition, Finding
from schemas import patterns
from schemas.case import ArrayHeader, Case, CaseImage, CaseLabel, ObjectRecord, Reject
from schemas.policy import NOTHING, Policy
from schemas.reasons import Reason
from schemas.recipe import Geometry, Limits, Temporal
from schemas.source import Source
from schemas.terms import license_of
from transforms.annotated import annotated, check_policy, text_records
from transforms.estimate import ArrayCost, estimate
from transforms.flat import is_flat
from transforms.inventory_masks import check_volume_label, is_mask, read_mask
from transforms.layouts.case_files import ArrayFiles, CaseFiles, Fault
from transforms.layouts.group import STAGE, shown_path, to_reject
from transforms.pseudonym import PatientKeys, case_id
from transforms.read import array, flat, itk, nifti, over_time
from transforms.read.header import ReadHeader
from transforms.rejected import Rejected
from transforms.store import ListedObject, SourceStore

_GEOMETRY_REASONS = frozenset(
    {Reason.BAD_SPACING, Reason.NO_GEOMETRY, Reason.BAD_AFFINE, Reason.SHEARED, Reason.LABEL_GRID}
)
"""What a label's header may be guilty of under its own name; whatever else is wrong with it is LABEL_UNREADABLE."""

OnFault = Literal["reject", "image_only"]


@dataclass(frozen=True)
class Inventoried:
    """What reading a case's headers gave. Every object is in `objects`, or is the path of one of `rejects`.

    Attributes:
        case: the case, or None when it was rejected.
        objects: records of its objects, those of a rejected case too.
        rejects: why it was rejected (one row), or what was left out of it (one row for each object).
        study_day: number of the study's day, shifted per patient: only differences mean anything. None without a date.
    """

    case: Case | None
    objects: tuple[ObjectRecord, ...]
    rejects: tuple[Reject, ...]
    study_day: int | None = None


@dataclass(frozen=True)
class Settings:
    """What an inventory is made with.

    Attributes:
        keys: makes pseudonyms.
        limits: what a file may cost.
        on_fault: what to do with a case whose label is faulty.
        wanted: the recipe's geometry, for the estimates.
        policy: what may pass that could name a person.
        temporal: what becomes of images over time.
    """

    keys: PatientKeys
    limits: Limits
    on_fault: OnFault = "reject"
    wanted: Geometry = field(default_factory=Geometry)
    policy: Policy = NOTHING
    temporal: Temporal = "refuse"


def inventory_case(
    files: CaseFiles,
    source: Source,
    store: SourceStore,
    keys: PatientKeys,
    limits: Limits,
    *,
    on_fault: OnFault = "reject",
    wanted: Geometry | None = None,
    policy: Policy = NOTHING,
    temporal: Temporal = "refuse",
) -> Inventoried:
    """Records of one case of a file layout.

    A fault of an image's header rejects the case. A fault of a label rejects it too, or with `image_only` costs it all
    its labels: nothing is then known about any structure.

    Args:
        files: what grouping found.
        source: its manifest.
        store: where its files lie.
        keys: makes pseudonyms.
        limits: what a file may cost.
        on_fault: what to do with a case whose label is faulty.
        wanted: the recipe's geometry, for the estimates; None: native.
        policy: what may pass that could name a person.
        temporal: what becomes of images over time; `transforms.inventory_moments` splits them before it comes here.

    Raises:
        OSError: what may pass, from the store; for the caller to retry.
    """
    settings = Settings(keys, limits, on_fault, wanted or Geometry(), policy, temporal)
    name = case_id(source.id, files.key_name, keys, public=source.public_ids and files.readable)
    records = (*object_records(files.arrays, source, name), *text_records(files.told, source, name))
    if files.name in source.exclude:
        detail = f"excluded by the source manifest: {source.exclude[files.name]}"
        return Inventoried(None, records, (Reject(STAGE, source.id, name, Reason.EXCLUDED, detail, None),))
    if faults := [f for f in files.faults if f.concerns == "case"]:
        return Inventoried(None, records, (one_reject(faults, source, keys, name),))

    images: list[CaseImage] = []
    costs: list[ArrayCost] = []
    findings: list[Finding] = []
    turned: dict[str, int] = {}
    for image in files.images:
        try:
            read = _read_image_header(image, store, source, settings)
        except _BrokenFileError as error:
            fault = error.fault
            broken = Fault(fault.reason, f"image {image.name!r}: {fault.detail}", error.path, "case")
            return Inventoried(None, records, (one_reject([broken], source, keys, name),))
        header, more = overridden(read.header, source, files.name)
        channel = image.channel
        if channel is None:
            raise TypeError(f"{image.record_name} is among the images and has no channel")
        acquisition = Acquisition(sequence=channel.sequence, contrast_phase=channel.contrast_phase)
        images.append(CaseImage(header, channel.modality, acquisition))
        costs.append(ArrayCost(header, channel.modality))
        turned[header.name] = read.orientation
        findings += [*read.findings, *more]

    by_name = {i.header.name: i for i in images}
    labels = label_records(files.labels, files.faults, source, store, settings, name, files.name, by_name, turned)
    if labels.rejected:
        return Inventoried(None, records, labels.rejects)
    try:
        told = annotated(files.told, by_name)
        check_policy([i.modality for i in images], findings, told.texts, source, policy)
    except Rejected as fault:
        wrong = Fault(fault.reason, fault.detail, None, "case")
        return Inventoried(None, records, (one_reject([wrong], source, keys, name),))
    seconds, stored = estimate(costs, labels.costs, settings.wanted)
    case = Case(
        case_id=name,
        source=source.id,
        patient=keys.patient(*_patient(source, files.name, dict(files.fields), told.patient)),
        study=None,
        series=None,
        timepoint=None,
        days_from_first=None,
        sex=told.sex,
        age_years=told.age_years,
        site=told.site,
        split=assigned_split(source, files.name, files.split),
        license=license_of(source.terms, source.origins, files.name),
        images=tuple(images),
        labels=labels.labels,
        annotations=told.annotations,
        texts=told.texts,
        findings=(*findings, *labels.findings),
        estimated_seconds=seconds,
        estimated_bytes=stored,
    )
    dropped = {r.array for r in records if r.array.startswith("label:")} if labels.rejects else set()
    return Inventoried(case, tuple(r for r in records if r.array not in dropped), labels.rejects)


@dataclass(frozen=True)
class LabelRecords:
    """The labels of a case after their headers were read.

    Attributes:
        rejected: whether the case is, with the one row of `rejects`; else that holds a row for each object left out.
    """

    labels: tuple[CaseLabel, ...]
    findings: tuple[Finding, ...]
    costs: tuple[ArrayCost, ...]
    rejects: tuple[Reject, ...]
    rejected: bool


def label_records(
    labels: Sequence[ArrayFiles],
    faults: Sequence[Fault],
    source: Source,
    store: SourceStore,
    settings: Settings,
    name: str,
    name_in_source: str,
    images: dict[str, CaseImage],
    turned: Mapping[str, int] | None = None,
) -> LabelRecords:
    """Read the headers of a case's labels and decide upon their faults.

    Whether a label's grid is its image's is judged when the voxels are there.

    Args:
        labels: their files.
        faults: what grouping found wrong with the case.
        source: its manifest.
        store: where the files lie.
        settings: limits and what to do with a fault.
        name: id of the case.
        name_in_source: what the source calls it.
        images: the case's images by name.
        turned: EXIF orientation of the pictures among them, by name; 1 where it says nothing.
    """
    wrong = [f for f in faults if f.concerns == "label"]
    found: list[CaseLabel] = []
    findings: list[Finding] = []
    costs: list[ArrayCost] = []
    for label in labels if not wrong else ():
        try:
            read = (
                label.known.read if label.known else _read_label(label, store, settings, source, images, turned or {})
            )
        except _BrokenFileError as error:
            fault = error.fault
            reason = fault.reason if fault.reason in _GEOMETRY_REASONS else Reason.LABEL_UNREADABLE
            shown = fault.detail if reason == fault.reason else f"{fault.reason}: {fault.detail}"
            wrong.append(Fault(reason, f"label {label.name!r}: {shown}", error.path, "label"))
            break
        table = source.labels[label.table or ""]
        header, more = overridden(read.header, source, name_in_source)
        origin = reader_name(label.reader) if label.reader else label.known.origin if label.known else table.origin
        found.append(CaseLabel(header, label.image or "", label.table or "", origin, label.looked_for))
        findings += [*read.findings, *more]
        costs.append(ArrayCost(header, images[label.image or ""].modality, files=_files_of_their_own(label)))
    if not wrong:
        return LabelRecords(tuple(found), tuple(findings), tuple(costs), (), False)
    if settings.on_fault == "reject":
        return LabelRecords((), (), (), (one_reject(wrong, source, settings.keys, name),), True)

    first = wrong[0]
    why = Finding("label_left_out", ",".join(a.name for a in labels) or "labels", f"{first.reason}: {first.detail}")
    # No case id: the case itself goes on, without its labels.
    objects = dict.fromkeys(o.path for a in labels for o, _ in a.objects)  # several readers may lie in one file
    rejects = [to_reject(dataclasses.replace(first, path=p), source, settings.keys, None) for p in objects]
    return LabelRecords((), (why,), (), tuple(rejects), False)


def object_records(arrays: Iterable[ArrayFiles], source: Source, name: str) -> tuple[ObjectRecord, ...]:
    """A record for every object of a case."""
    return tuple(
        ObjectRecord(source.id, o.path, o.bytes, o.version, name, a.record_name, ordinal, structure)
        for a in arrays
        for ordinal, (o, structure) in enumerate(a.objects)
    )


def one_reject(faults: Sequence[Fault], source: Source, keys: PatientKeys, name: str) -> Reject:
    """One row for a case, whatever number of faults it has: the first counts, the others are told in its detail."""
    first, *others = faults
    detail = "; also ".join([first.detail, *(f"{f.reason}: {f.detail}" for f in others)])
    return to_reject(dataclasses.replace(first, detail=detail), source, keys, name)


def patient_id(source: Source, name: str, fields: dict[str, str], default: str | None = None) -> str:
    """The patient's id within the source's namespace, before it becomes a pseudonym.

    Args:
        source: its manifest.
        name: the case's name.
        fields: the layout's fields; `{case}` is the case's name where no field is called so.
        default: what to take where the manifest has no template: DICOM PatientID; None: the case's name.

    Raises:
        UsageError: the template names a field that the layout does not have.
    """
    if source.patient.id is None:
        return default or name
    return _filled(source, "patient.id", source.patient.id, name, fields)


def person(source: Source, name: str, fields: dict[str, str], default: str | None = None) -> tuple[str, str]:
    """Namespace and id of a case's patient: another source's where `patient.shared` says so, else the source's own.

    Args:
        source: its manifest.
        name: the case's name.
        fields: the layout's fields.
        default: see `patient_id`.

    Raises:
        UsageError: a template names a field that the layout does not have.
    """
    for pattern, other in source.patient.shared.items():
        if patterns.match(pattern, name) is not None:
            return other.namespace, _filled(source, "patient.shared", other.id, name, fields)
    return source.patient.namespace, patient_id(source, name, fields, default)


def _filled(source: Source, key: str, template: str, name: str, fields: dict[str, str]) -> str:
    try:
        return patterns.fill(template, {"case": name, **fields})
    except KeyError as error:
        raise UsageError(
            f"source {source.id}: {key} {template!r} names the field {error.args[0]!r}, "
            f"the layout has {sorted({'case', *fields})}"
        ) from error


def assigned_split(source: Source, name: str, default: str | None) -> str | None:
    """The split that the source assigns: the first pattern of `split:` that matches the case's name, else the layout's.

    Args:
        source: its manifest.
        name: the case's name.
        default: what the layout says.
    """
    for pattern, split in source.split.items():
        if patterns.match(pattern, name) is not None:
            return split
    return default


def overridden(header: ArrayHeader, source: Source, name: str) -> tuple[ArrayHeader, tuple[Finding, ...]]:
    """The header of an image or label with the spacing that the manifest knows to be right for its case, where it does.

    `transforms.read.array.read_array` corrects the geometry of the voxels in the same way.
    """
    spacing = source.geometry_override.get(name)
    if spacing is None or header.affine_ras is None:
        return header, ()
    after = array.respaced(np.array(header.affine_ras, dtype=np.float64).reshape(4, 4), spacing)
    detail = f"spacing {_shown(header.spacing_xyz_mm)} mm in the header, {_shown(spacing)} mm by the source manifest"
    changed = dataclasses.replace(
        header,
        spacing_xyz_mm=spacing,
        affine_ras=tuple(float(v) for v in after.ravel()),
        spacing_override_xyz_mm=spacing,
    )
    return changed, (Finding("geometry_override", header.name, detail),)


def object_reject(o: ListedObject, source: Source, keys: PatientKeys, fault: Rejected) -> Reject:
    """The row for a single object that could not be read and belongs to no case."""
    return Reject(STAGE, source.id, None, fault.reason, fault.detail, shown_path(o.path, source, keys))


def _patient(source: Source, name: str, fields: dict[str, str], told: str | None) -> tuple[str, str]:
    """Namespace and id of a case's patient; what a table of the source tells goes before what the path does."""
    return (source.patient.namespace, told) if told else person(source, name, fields)


class _BrokenFileError(Exception):
    """One file of an array cannot be used: which, and why."""

    def __init__(self, fault: Rejected, path: str):
        super().__init__(str(fault))
        self.fault = fault
        self.path = path


def _read_image_header(files: ArrayFiles, store: SourceStore, source: Source, settings: Settings) -> ReadHeader:
    """As `_read_header`, of a volume, an image over time or a picture.

    Raises:
        _BrokenFileError: a reader rejects a file.
    """
    (first, _), *more = files.objects
    if more or array.format_of(first.path) in ("nifti", "itk", None):
        return _read_header(files, store, settings.limits, source, keep=settings.temporal == "keep")
    try:
        return flat.read_header(first, store, name=files.name, limits=settings.limits)
    except Rejected as fault:
        raise _BrokenFileError(fault, first.path) from fault


def _read_label(
    files: ArrayFiles,
    store: SourceStore,
    settings: Settings,
    source: Source,
    images: Mapping[str, CaseImage],
    turned: Mapping[str, int],
) -> ReadHeader:
    """Header of a label, a mask in a picture file or a volume; of several masks the first one's, after all were read.

    Raises:
        _BrokenFileError: a reader rejects a file.
    """
    if not is_mask(files):
        try:
            check_volume_label(files, images)
        except Rejected as fault:
            raise _BrokenFileError(fault, files.objects[0][0].path) from fault
        volume = _read_header(files, store, settings.limits, source)
        if is_flat(volume.header.axes):
            colour = Rejected(Reason.UNSUPPORTED, "a label in colour; masks in colour are read from picture files")
            raise _BrokenFileError(colour, files.objects[0][0].path)
        return volume
    table, image = source.labels[files.table or ""], images[files.image or ""]
    orientation = turned.get(image.header.name, 1)
    read: list[ReadHeader] = []
    for o, _ in files.objects:
        try:
            read.append(read_mask(o, files, store, settings.limits, table, image, orientation))
        except Rejected as fault:
            raise _BrokenFileError(fault, o.path) from fault
    total = sum(o.bytes for o, _ in files.objects)
    return dataclasses.replace(read[0], header=dataclasses.replace(read[0].header, bytes=total))


def _read_header(
    files: ArrayFiles, store: SourceStore, limits: Limits, source: Source, *, keep: bool = False
) -> ReadHeader:
    """Header of an array; of several masks the first one's, after all were read.

    Raises:
        _BrokenFileError: a reader rejects a file, or its name is of no format that is read.
    """
    detached = {o.path for o, _ in files.objects if array.format_of(o.path) is None}
    read: list[ReadHeader] = []
    for o, _ in files.objects:
        if o.path in detached and len(detached) < len(files.objects):
            continue  # voxels beside a header
        try:
            read.append(_read_one(o, files, store, limits, source, keep))
        except Rejected as fault:
            raise _BrokenFileError(fault, o.path) from fault
    total = sum(o.bytes for o, _ in files.objects)
    return dataclasses.replace(read[0], header=dataclasses.replace(read[0].header, bytes=total))


def _read_one(
    o: ListedObject, files: ArrayFiles, store: SourceStore, limits: Limits, source: Source, keep: bool
) -> ReadHeader:
    form = array.format_of(o.path)
    if form not in ("nifti", "itk"):
        raise Rejected(Reason.UNSUPPORTED, "expected NIfTI, MetaImage or NRRD by the end of the file's name")
    prefix = store.read(o.path, 0, min(array.PREFIX_BYTES[form], o.bytes), version=o.version)
    placement = None if source.nifti_placement == "standard" else source.nifti_placement
    if keep and files.component is None and over_time.time_points(form, prefix) > 1:
        read = over_time.read_header(
            form, prefix, name=files.name, file_bytes=o.bytes, limits=limits, placement=placement
        )
    else:
        read = array.read_header(
            form,
            prefix,
            name=files.name,
            file_bytes=o.bytes,
            limits=limits,
            component=files.component,
            components=files.components,
            placement=placement,
        )
    if form == "itk":
        _check_detached(prefix, o, files)
    elif nifti.data_file(o.path) and len(files.objects) == 1:
        raise Rejected(Reason.MISSING_FILE, nifti.NO_IMG)
    return read


def _check_detached(prefix: bytes, header: ListedObject, files: ArrayFiles) -> None:
    """Whether the voxels that a header says lie beside it are among the files.

    Raises:
        Rejected: MISSING_FILE.
    """
    detached = itk.data_file(prefix)
    if detached is None:
        return
    folder = header.path.rpartition("/")[0]
    wanted = f"{folder}/{detached}" if folder else detached
    if wanted not in {o.path for o, _ in files.objects}:
        raise Rejected(
            Reason.MISSING_FILE,
            "the file that the header names for its voxels is not there, or has another name than the header's with "
            "the end .raw or .zraw",
        )


def _files_of_their_own(label: ArrayFiles) -> int:
    return label.known.masks if label.known else sum(structure is not None for _, structure in label.objects) or 1


def _shown(spacing: Sequence[float] | None) -> str:
    return "×".join(f"{s:g}" for s in spacing) if spacing else "none"
