"""The doctor: a series is a patient until proven healthy.

`diagnose` looks at the instances of one SeriesInstanceUID (headers only) and says which volumes they are, or why not.
`read` makes a volume of what the diagnosis named. Verdicts and where they are decided:

| verdict | result | where |
| --- | --- | --- |
| regular | volume | `stack.measure` |
| duplicates | volume if pixels are identical, else CONFLICTING_SLICES | `stack.measure`, settled by `assemble` |
| irregular | volume, resampled along z, within a tolerance; else IRREGULAR_SPACING | `stack.measure`, `assemble` |
| mixed | several volumes | `clusters.by_geometry`, `clusters.by_content` |
| gap | MISSING_SLICES | `stack.measure` |
| tilted | volume, deskewed | `stack.measure`, `deskew` |
| temporal | TEMPORAL, or as the recipe says: one image over time, or a volume for each time point | `clusters.by_content`, `temporal` |
| localizer | LOCALIZER | `assemble.slices_of`, `clusters.is_three_plane` |
| multiframe, mosaic | as the series of its frames or tiles; MULTIFRAME where it does not say where they lie | `frames.expand` |
| incomplete | INCOMPLETE | `stack.check_plane`, `stack.measure` |
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mdfp.sample import Acquisition, Finding
from schemas.case import ArrayHeader
from schemas.reasons import Reason
from schemas.recipe import Limits, Temporal
from transforms.read import clusters
from transforms.read.assemble import Objects, assembled, partitions, slices_of, stored_dtype, to_suv
from transforms.read.dicom import Instance
from transforms.read.header import array_header, check_affine, over_time
from transforms.read.stack import Stack, measure, slots
from transforms.read.temporal import measured, told_apart
from transforms.rejected import Rejected
from transforms.scratch import Bytes
from transforms.volume import Volume

SUV_UNIT = "g/ml (SUVbw)"
"""Of PET, as DICOM (Units GML) and QIBA have it: activity over injected dose per body weight."""


@dataclass(frozen=True)
class SeriesVolume:
    """One volume of a series.

    Attributes:
        paths: its objects in slice order, ascending along the normal; candidates for duplicates included. An object of
            several volumes is named by each of them.
        header: its record.
        findings: what was noticed; `where` is the header's name.
        verdict: regular, duplicates, tilted, irregular, mixed, multiframe, mosaic or temporal.
        metadata: how it was taken, from the first slice.
        instance: the first slice: modality, patient and UIDs for the case.
        moment: (which of the images over time of its series, which time point of that), both from 0, of a volume that is one
            of several time points; else None.
    """

    paths: tuple[str, ...]
    header: ArrayHeader
    findings: tuple[Finding, ...]
    verdict: str
    metadata: Acquisition
    instance: Instance
    moment: tuple[int, int] | None = None


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
    """What a series is. Every slice is in exactly one volume or reject."""

    volumes: tuple[SeriesVolume, ...]
    rejects: tuple[SeriesReject, ...]

    def joined(self, other: Diagnosis) -> Diagnosis:
        """This and another of the same series, which have no instance in common."""
        return Diagnosis((*self.volumes, *other.volumes), (*self.rejects, *other.rejects))


def diagnose(instances: Sequence[Instance], *, name: str = "image", temporal: Temporal = "refuse") -> Diagnosis:
    """Volumes and rejects of the instances of one SeriesInstanceUID. Pure; the order of the instances does not matter.

    Args:
        instances: of one series.
        name: of the array, for header and findings.
        temporal: what becomes of several time points at each position.
    """
    ordered = sorted(instances, key=lambda i: (i.sop_instance_uid, i.path))
    fit, rejects = _fit(ordered)
    found: list[tuple[list[int], SeriesVolume]] = []
    parts = clusters.by_geometry(fit) if fit else []
    if clusters.is_three_plane(parts):
        rejects.append(
            _reject(Rejected(Reason.LOCALIZER, f"{len(parts)} planes of few slices each, three at right angles"), fit)
        )
        parts = []
    left_out = len(ordered) - len({i.path for i in fit})
    pieces: list[clusters.Part] = []
    for part in parts:
        try:
            pieces += clusters.by_content(part, over_time=temporal != "refuse")
        except Rejected as verdict:
            rejects.append(_reject(verdict, part.instances))
    for number, piece in enumerate(pieces):
        among = f"one of {len(pieces)} volumes of its series, one expected: {piece.why}" if piece.why else ""
        try:
            if piece.temporal and temporal == "split":
                for t, moment in enumerate(_split(piece, name, left_out, fit, rejects)):
                    if moment is not None:
                        found.append(([number, t], replace(moment, moment=(number, t))))
                continue
            slices, suv = to_suv(_whole(piece))
            volume = (
                _kept(slices, name, left_out, among, suv)
                if piece.temporal
                else _volume([measure(slices)], name, left_out, among, suv)
            )
            numbers = sorted(i.frame or 0 for i in piece.instances)
            found.append((numbers, _numbered(volume, piece, fit)))
        except Rejected as verdict:
            rejects.append(_reject(verdict, piece.instances))
    volumes = tuple(v for _, v in sorted(found, key=lambda f: (f[1].paths, f[0])))
    rejects.sort(key=lambda r: r.paths)
    return Diagnosis(volumes, tuple(rejects))


def _kept(slices: Sequence[Instance], name: str, left_out: int, among: str, suv: str) -> SeriesVolume:
    """All moments as one image over time."""
    found = measured(slices)
    volume = _volume(found.stacks, name, left_out, among, suv)
    header = over_time(volume.header, len(found.stacks))
    detail = f"{len(found.stacks)} time points of {len(found.stacks[0].slots)} slices, by {found.ordered_by}"
    times = found.times
    findings = (*volume.findings, Finding("temporal", name, detail if times is None else f"{detail}, {times.told}"))
    if times is not None and times.step_ms is None:
        findings += (Finding("irregular_times", name, f"{len(found.stacks)} time points, {times.told}"),)
    return replace(volume, header=header, findings=findings, verdict=header.verdict)


def _split(
    piece: clusters.Part, name: str, left_out: int, fit: Sequence[Instance], rejects: list[SeriesReject]
) -> list[SeriesVolume | None]:
    """Each moment as a volume of its own; None for one that is none, which becomes one of `rejects`.

    Raises:
        Rejected: the moments cannot be told apart.
    """
    ordered_by, moments = told_apart(piece.instances)
    expected = len(slots(piece.instances))
    result: list[SeriesVolume | None] = []
    for t, instances in enumerate(moments):
        try:
            if len(instances) != expected:
                # A stack cut short is a regular one; only the other moments tell.
                raise Rejected(
                    Reason.MISSING_SLICES,
                    f"time point {t + 1} of {len(moments)} has {len(instances)} slices, expected {expected}",
                )
            moment = clusters.Part(instances, f"time point {t + 1} of {len(moments)}, by {ordered_by}")
            slices, suv = to_suv(_whole(moment))
            volume = _volume([measure(slices)], name, left_out, "", suv)
            volume = _numbered(volume, piece, fit, moment=t)
            findings = (*volume.findings, Finding("temporal", name, moment.why))
            header = replace(volume.header, verdict="temporal")
            result.append(replace(volume, header=header, findings=findings, verdict="temporal"))
        except Rejected as verdict:
            rejects.append(_reject(verdict, instances))
            result.append(None)
    return result


def _numbered(
    volume: SeriesVolume, piece: clusters.Part, fit: Sequence[Instance], moment: int | None = None
) -> SeriesVolume:
    """The volume with its number among the volumes of its objects, so that `read` finds it again in them alone.

    Args:
        volume: the volume.
        piece: what it was made of; of a moment, all moments.
        fit: the slices of the series.
        moment: which moment of the piece it is; None: all of it.
    """
    paths = set(volume.paths)
    within = [i for i in fit if i.path in paths]
    if len(within) == (len(piece.instances) if moment is None else len(slots(piece.instances))):
        return volume  # its objects hold nothing else
    if moment is not None:
        volume = replace(volume, header=replace(volume.header, component=moment))
    wanted = {(i.path, i.frame) for i in piece.instances}
    for number, other in enumerate(partitions(within, temporal=piece.temporal)):
        if {(i.path, i.frame) for i in other.instances} == wanted:
            return replace(volume, header=replace(volume.header, part=number))
    raise Rejected(Reason.MULTIFRAME, "the frames of this volume cannot be told from the others by its objects alone")


def _fit(instances: Sequence[Instance]) -> tuple[list[Instance], list[SeriesReject]]:
    """Slices that can be part of a volume; the other objects as one reject for each reason."""
    fit: list[Instance] = []
    unfit: dict[tuple[Reason, str], list[Instance]] = defaultdict(list)
    for instance in instances:
        try:
            fit += slices_of(instance)
        except Rejected as verdict:
            unfit[(verdict.reason, verdict.detail)].append(instance)
    return fit, [_reject(Rejected(*verdict), members) for verdict, members in unfit.items()]


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
    paths = tuple(sorted({i.path for i in members}))
    count = (
        f"{len(paths)} instances" if len(paths) == len(members) else f"{len(members)} slices of {len(paths)} instances"
    )
    return SeriesReject(verdict.reason, f"{verdict.detail} ({count})", paths, members[0])


def _volume(stacks: Sequence[Stack], name: str, left_out: int, among: str, suv: str) -> SeriesVolume:
    """The volume of a stack; of several moments the first, with the objects and findings of all."""
    stack = stacks[0]
    check_affine(stack.affine_ras)
    flat = [i for moment in stacks for slot in moment.slots for i in slot]
    first = flat[0]
    ailments: dict[str, str] = {}
    for code, detail in (a for moment in stacks for a in moment.ailments):
        ailments.setdefault(code, detail)
    findings = [Finding(code, name, detail) for code, detail in ailments.items()]
    if among:
        findings.append(Finding("mixed", name, among))
    if left_out:
        findings.append(Finding("left_out", name, f"{left_out} instances of the series are no slices of a volume"))
    scale, offset = 1.0, 0.0
    pairs = {(i.slope, i.intercept) for i in flat}
    if len(pairs) == 1:
        scale, offset = pairs.pop()
    else:
        slopes = [i.slope for i in flat]
        findings.append(Finding("rescale_varies", name, f"RescaleSlope runs from {min(slopes):g} to {max(slopes):g}"))
    if suv:
        findings.append(Finding("suv", name, suv))
    announced = first.pet.slices if first.pet is not None else None
    if announced is not None and announced > len(stack.slots):
        detail = f"the header announces {announced} slices (NumberOfSlices), {len(stack.slots)} are here"
        findings.append(Finding("incomplete", name, detail))
    if lossy := sum(i.lossy for i in flat):
        findings.append(Finding("lossy", name, f"{lossy} of {len(flat)} slices were compressed with loss"))
    sizes = {i.path: i.file_bytes for i in flat}
    verdict = stack.verdict
    if first.frame is not None:
        kind = "mosaic" if first.tiles else "multiframe"
        findings.append(Finding(kind, name, f"{len(flat)} slices from {len(sizes)} objects"))
        verdict = kind if verdict == "regular" else verdict
    if among and verdict in ("regular", "multiframe", "mosaic"):
        verdict = "mixed"
    header = array_header(
        name=name,
        format="dicom",
        shape_zyx=stack.shape,
        affine_ras=stack.affine_ras,
        dtype=stored_dtype(flat),
        scale=scale,
        offset=offset,
        file_bytes=sum(sizes.values()),
        frame_of_reference=_digest(first.frame_of_reference_uid),
        verdict=verdict,
        unit=SUV_UNIT if suv else None,
    )
    return SeriesVolume(tuple(sizes), header, tuple(findings), verdict, _acquisition(first), first)


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
    16-bit number and a decimal slope rarely is. PET is SUVbw.

    Args:
        files: (path, whole file) of each instance the diagnosis named.
        header: the volume's record.
        limits: what an array may cost.

    Raises:
        Rejected: CONFLICTING_SLICES, slices at one position differ; TRUNCATED, UNREADABLE, … as `dicom_pixels.pixels` does;
            SOURCE_CHANGED, the instances are no longer the volume the inventory saw; TOO_LARGE; NO_SUV.
    """
    objects = Objects(files, limits)
    slices = objects.slices()
    if header.part is not None:
        slices = _part(slices, header.part, header.component)
    scaled, _ = to_suv(slices)
    stack = measure(scaled)
    if stack.shape != header.shape or any((i.rows, i.columns) != (scaled[0].rows, scaled[0].columns) for i in scaled):
        raise Rejected(Reason.SOURCE_CHANGED, f"the inventory saw {header.shape} voxels (z, y, x), now {stack.shape}")
    return assembled(stack, objects, limits)


def _part(slices: Sequence[Instance], part: int, moment: int | None) -> list[Instance]:
    """One of several volumes of some objects, as `_numbered` counts them.

    Raises:
        Rejected: SOURCE_CHANGED, there are fewer.
    """
    pieces = partitions(slices, temporal=moment is not None)
    if part < len(pieces):
        if moment is None:
            return list(pieces[part].instances)
        _, moments = told_apart(pieces[part].instances)
        if moment < len(moments):
            return list(moments[moment])
    raise Rejected(Reason.SOURCE_CHANGED, f"the inventory saw volume {part} of these objects, now there are fewer")
