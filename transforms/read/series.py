"""The doctor: a series is a patient until proven healthy.

`diagnose` looks at the instances of one SeriesInstanceUID (headers only) and says which volumes they are, or why not.
`read` makes a volume of what the diagnosis named. Verdicts and where they are decided:

| verdict | result | where |
| --- | --- | --- |
| regular | volume | `stack.measure` |
| duplicates | volume if pixels are identical, else CONFLICTING_SLICES | `stack.measure`, settled by `read` |
| irregular | volume, resampled along z, within a tolerance; else IRREGULAR_SPACING | `stack.measure`, `read` |
| mixed | several volumes | `clusters.by_geometry`, `clusters.by_content` |
| gap | MISSING_SLICES | `stack.measure` |
| tilted | TILTED; deskewing belongs beside `_onto_grid` | `stack.measure` |
| temporal | TEMPORAL; a rule that takes or splits time points belongs in `clusters` | `clusters.by_content` |
| localizer | LOCALIZER | `_unfit`, `clusters.is_three_plane` |
| multiframe | MULTIFRAME | `dicom.check_readable` |
| incomplete | INCOMPLETE | `stack.check_plane`, `stack.measure` |
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mdfp.sample import Acquisition, Finding
from schemas.case import ArrayHeader
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import clusters, dicom
from transforms.read.dicom import Instance, StoredSlice
from transforms.read.header import array_header, check_affine, check_extent, check_frames
from transforms.read.stack import Stack, check_plane, measure
from transforms.rejected import Rejected
from transforms.scratch import Bytes
from transforms.volume import Volume

PROJECTIONS = frozenset({"CR", "DX", "MG", "PX", "IO", "XA", "RF", "US", "IVUS", "OP", "ES", "XC", "GM", "SM", "DMS"})
"""Modalities whose instances are pictures or films, not slices."""


@dataclass(frozen=True)
class SeriesVolume:
    """One volume of a series.

    Attributes:
        paths: its objects in slice order, ascending along the normal; candidates for duplicates included.
        header: its record.
        findings: what was noticed; `where` is the header's name.
        verdict: regular, duplicates, irregular or mixed.
        metadata: how it was taken, from the first slice.
        instance: the first slice: modality, patient and UIDs for the case.
    """

    paths: tuple[str, ...]
    header: ArrayHeader
    findings: tuple[Finding, ...]
    verdict: str
    metadata: Acquisition
    instance: Instance


@dataclass(frozen=True)
class SeriesReject:
    """Instances of a series that make no volume.

    Attributes:
        reason: why.
        detail: the numbers.
        paths: the objects, sorted.
        instance: one of them, for the case it would have been.
    """

    reason: Reason
    detail: str
    paths: tuple[str, ...]
    instance: Instance


@dataclass(frozen=True)
class Diagnosis:
    """What a series is. Every instance is in exactly one volume or reject."""

    volumes: tuple[SeriesVolume, ...]
    rejects: tuple[SeriesReject, ...]


def diagnose(instances: Sequence[Instance], *, name: str = "image") -> Diagnosis:
    """Volumes and rejects of the instances of one SeriesInstanceUID. Pure; the order of the instances does not matter.

    Args:
        instances: of one series.
        name: of the array, for header and findings.
    """
    ordered = sorted(instances, key=lambda i: (i.sop_instance_uid, i.path))
    fit, rejects = _fit(ordered)
    volumes: list[SeriesVolume] = []
    parts = clusters.by_geometry(fit) if fit else []
    if clusters.is_three_plane(parts):
        rejects.append(
            _reject(Rejected(Reason.LOCALIZER, f"{len(parts)} planes of few slices each, three at right angles"), fit)
        )
        parts = []
    left_out = len(ordered) - len(fit)
    for part in parts:
        try:
            for piece in clusters.by_content(part):
                try:
                    volumes.append(_volume(piece, measure(_whole(piece)), name, left_out))
                except Rejected as verdict:
                    rejects.append(_reject(verdict, piece.instances))
        except Rejected as verdict:
            rejects.append(_reject(verdict, part.instances))
    volumes.sort(key=lambda v: v.paths)
    rejects.sort(key=lambda r: r.paths)
    return Diagnosis(tuple(volumes), tuple(rejects))


def _fit(instances: Sequence[Instance]) -> tuple[list[Instance], list[SeriesReject]]:
    """Instances that can be slices of a volume; the others as one reject for each reason."""
    fit: list[Instance] = []
    unfit: dict[tuple[Reason, str], list[Instance]] = defaultdict(list)
    for instance in instances:
        try:
            _check_fit(instance)
            fit.append(instance)
        except Rejected as verdict:
            unfit[(verdict.reason, verdict.detail)].append(instance)
    return fit, [_reject(Rejected(*verdict), members) for verdict, members in unfit.items()]


def _check_fit(instance: Instance) -> None:
    dicom.check_readable(instance)
    if "LOCALIZER" in instance.image_type:
        raise Rejected(Reason.LOCALIZER, "ImageType says LOCALIZER")
    if instance.modality in PROJECTIONS:
        raise Rejected(Reason.NOT_A_VOLUME, f"modality {instance.modality}: pictures, not slices of a volume")
    check_plane(instance)


def _whole(part: clusters.Part) -> tuple[Instance, ...]:
    # A volume is not made shorter by a slice that was cut: the whole of it is refused.
    cut = [i for i in part.instances if i.missing_pixel_bytes]
    if cut:
        raise Rejected(
            Reason.TRUNCATED,
            f"the pixels of {len(cut)} of {len(part.instances)} slices are short, by up to "
            f"{max(i.missing_pixel_bytes for i in cut)} bytes",
        )
    return part.instances


def _reject(verdict: Rejected, members: Sequence[Instance]) -> SeriesReject:
    detail = f"{verdict.detail} ({len(members)} instances)"
    return SeriesReject(verdict.reason, detail, tuple(sorted(i.path for i in members)), members[0])


def _volume(part: clusters.Part, stack: Stack, name: str, left_out: int) -> SeriesVolume:
    check_affine(stack.affine_ras)
    flat = [i for slot in stack.slots for i in slot]
    first = flat[0]
    findings = []
    if stack.verdict != "regular":
        findings.append(Finding(stack.verdict, name, stack.detail))
    if part.why:
        findings.append(Finding("mixed", name, f"one of several volumes of its series: {part.why}"))
    if left_out:
        findings.append(Finding("left_out", name, f"{left_out} instances of the series are no slices of a volume"))
    scale, offset = 1.0, 0.0
    pairs = {(i.slope, i.intercept) for i in flat}
    if len(pairs) == 1:
        scale, offset = pairs.pop()
    else:
        slopes = [i.slope for i in flat]
        findings.append(Finding("rescale_varies", name, f"RescaleSlope runs from {min(slopes):g} to {max(slopes):g}"))
    verdict = "mixed" if part.why and stack.verdict == "regular" else stack.verdict
    header = array_header(
        name=name,
        format="dicom",
        shape_zyx=(len(stack.slots), first.rows, first.columns),
        affine_ras=stack.affine_ras,
        dtype=_stored_dtype(flat),
        scale=scale,
        offset=offset,
        file_bytes=sum(i.file_bytes for i in flat),
        frame_of_reference=_digest(first.frame_of_reference_uid),
        verdict=verdict,
    )
    return SeriesVolume(tuple(i.path for i in flat), header, tuple(findings), verdict, _acquisition(first), first)


def _stored_dtype(instances: Sequence[Instance]) -> np.dtype:
    return np.result_type(*{i.dtype for i in instances})


def _digest(frame_of_reference_uid: str | None) -> str | None:
    return None if frame_of_reference_uid is None else hashlib.sha256(frame_of_reference_uid.encode()).hexdigest()[:32]


def _acquisition(i: Instance) -> Acquisition:
    return Acquisition(
        body_part=i.body_part,
        laterality=i.laterality,
        manufacturer=i.manufacturer,
        scanner_model=i.scanner_model,
        field_strength_t=i.field_strength_t,
        kvp=i.kvp,
        kernel=i.kernel,
        slice_thickness_mm=i.slice_thickness,
    )


def read(files: Sequence[tuple[str, Bytes]], header: ArrayHeader, limits: Limits) -> Volume:
    """The volume of a diagnosis from its instances.

    Stored values are kept where one slope and intercept hold for all slices. Else the values are physical: computed in
    float64, returned as float32 if every one of them is exactly a float32 and as float64 if not, since the product of a
    16-bit number and a decimal slope rarely is.

    Args:
        files: (path, whole file) of each instance the diagnosis named.
        header: the volume's record.
        limits: what an array may cost.

    Raises:
        Rejected: CONFLICTING_SLICES, slices at one position differ; TRUNCATED, UNREADABLE, … as `dicom.pixels` does;
            SOURCE_CHANGED, the instances are no longer the volume the inventory saw; TOO_LARGE.
    """
    data = dict(files)
    opened = {path: dicom.open_instance(content, path=path, file_bytes=len(content)) for path, content in files}
    instances = [o.instance for o in opened.values()]
    for instance in instances:
        check_frames(instance.number_of_frames, limits)
        _check_fit(instance)
    stack = measure(instances)
    shape = (len(stack.slots), instances[0].rows, instances[0].columns)
    if shape != header.shape or any((i.rows, i.columns) != shape[1:] for i in instances):
        raise Rejected(Reason.SOURCE_CHANGED, f"the inventory saw {header.shape} voxels (z, y, x), now {shape}")
    uniform = len({(i.slope, i.intercept) for i in instances}) == 1
    dtype = _stored_dtype(instances) if uniform else np.dtype(np.float64)
    check_extent(shape, dtype.itemsize, limits)
    array = np.empty(shape, dtype)
    scale, offset = (instances[0].slope, instances[0].intercept) if uniform else (1.0, 0.0)
    paddings: set[int | None] = set()
    for z, slot in enumerate(stack.slots):
        stored = _settled([(data[i.path], opened[i.path]) for i in slot], stack.offsets_mm[z])
        paddings.add(stored.padding)
        array[z] = stored.array_yx if uniform else stored.array_yx * stored.scale + stored.offset
    common = paddings.pop() if uniform and len(paddings) == 1 else None
    padding = None if common is None else float(common)
    if stack.irregular:
        array = _onto_grid(array, stack, padding)
    if not uniform:
        array = _narrow(array)
    return Volume(array, stack.affine_ras, scale, offset, padding)


def _settled(slot: Sequence[tuple[Bytes, dicom.Opened]], at_mm: float) -> StoredSlice:
    """The one slice of a position: the first of several with the same pixels."""
    first = dicom.pixels(*slot[0])
    for other in slot[1:]:
        second = dicom.pixels(*other)
        same = (first.scale, first.offset) == (second.scale, second.offset) and np.array_equal(
            first.array_yx, second.array_yx
        )
        if not same:
            different = int((first.array_yx != second.array_yx).sum())
            raise Rejected(
                Reason.CONFLICTING_SLICES,
                f"{len(slot)} slices lie at one position, {at_mm:.3f} mm from the first; {different} of "
                f"{first.array_yx.size} pixels differ",
            )
    return first


def _onto_grid(array: npt.NDArray, stack: Stack, padding: float | None) -> npt.NDArray:
    """Slices at measured positions, interpolated linearly to the regular grid; integers rounded half to even.

    Where one of the two neighbours is padding the nearer one is taken: padding is no intensity.
    """
    result = np.empty_like(array)
    positions = stack.offsets_mm
    for z, target in enumerate(stack.regular_mm):
        low = int(np.clip(np.searchsorted(positions, target, side="right") - 1, 0, len(positions) - 2))
        weight = float(np.clip((target - positions[low]) / (positions[low + 1] - positions[low]), 0.0, 1.0))
        near = low + (weight > 0.5)
        mixed = array[low] * (1.0 - weight) + array[low + 1] * weight
        if np.issubdtype(array.dtype, np.integer):
            mixed = np.rint(mixed)
        if padding is not None:
            mixed = np.where((array[low] == padding) | (array[low + 1] == padding), array[near], mixed)
        result[z] = mixed
    return result


def _narrow(array: npt.NDArray[np.float64]) -> npt.NDArray:
    narrow = array.astype(np.float32)
    return narrow if np.array_equal(narrow, array) else array
