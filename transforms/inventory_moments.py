"""Inventory of file cases whose images are over time, where each time point is to be a case of its own.

A case is split only where its images over time have one number of time points: then the first time point of one belongs to
the first of the other. The labels of these images go with each time point; labels over time are split alike. Images without
time stay a case of their own, so that no image is there twice. All are of one patient, so no split or fold parts them. The
estimate of a time point counts inflating the whole file, which a worker is spared where it still has it (`shared_files`).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from mdfp.sample import Finding
from schemas.policy import NOTHING, Policy
from schemas.reasons import Reason
from schemas.recipe import Geometry, Limits, Temporal
from schemas.source import Source
from transforms.estimate import INFLATE_S_PER_BYTE
from transforms.inventory import Inventoried, OnFault, inventory_case
from transforms.layouts.case_files import ArrayFiles, CaseFiles, Fault
from transforms.pseudonym import PatientKeys
from transforms.read import array, over_time
from transforms.rejected import Rejected
from transforms.store import SourceStore


def inventory_moments(
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
) -> list[Inventoried]:
    """The cases that one case of a file layout is: one, or with `temporal="split"` one for each time point.

    Arguments as `inventory_case`.

    Raises:
        OSError: what may pass, from the store; for the caller to retry.
    """

    def taken(case: CaseFiles) -> Inventoried:
        return inventory_case(
            case, source, store, keys, limits, on_fault=on_fault, wanted=wanted, policy=policy, temporal=temporal
        )

    if temporal != "split":
        return [taken(files)]
    counts = {a.record_name: _time_points(a, store) for a in files.arrays}
    of_images = {counts[i.record_name] for i in files.images} - {1}
    if not of_images:
        return [taken(files)]
    if len(of_images) > 1:
        shown = " and ".join(str(n) for n in sorted(of_images))
        detail = f"images of {shown} time points in one case, which no rule pairs; temporal: keep takes them"
        fault = Fault(Reason.TEMPORAL, detail, files.images[0].objects[0][0].path, "case")
        return [taken(replace(files, faults=(*files.faults, fault)))]
    (count,) = of_images
    still = {i.name for i in files.images if counts[i.record_name] == 1}
    rest = [taken(_with_images(files, still))] if still else []
    moving = _with_images(files, {i.name for i in files.images} - still)
    moments = [taken(_moment(moving, counts, number, count)) for number in range(count)]
    if all(m.case is None for m in moments):
        return [*rest, *moments[:1]]
    return [*rest, *(_described(m, moving, n, count) for n, m in enumerate(moments))]


def _with_images(files: CaseFiles, names: Collection[str]) -> CaseFiles:
    """The case with some of its images, and with what belongs to them or to the whole case."""
    told = files.told
    if told is not None:
        annotations, fractions = (
            tuple(a for a in those if a.image is None or a.image in names)
            for those in (told.annotations, told.fractions)
        )
        told = replace(told, annotations=annotations, fractions=fractions)
    images = tuple(i for i in files.images if i.name in names)
    return replace(files, images=images, labels=tuple(x for x in files.labels if x.image in names), told=told)


def _time_points(files: ArrayFiles, store: SourceStore) -> int:
    """Time points of an array; 1 of a volume, and of what cannot be read, which its reader will say."""
    path = files.objects[0][0].path if files.objects else ""
    form = array.format_of(path)
    if files.known or files.component is not None or form not in array.PREFIX_BYTES:
        return 1
    o = files.objects[0][0]
    try:
        prefix = store.read(path, 0, min(array.PREFIX_BYTES[form], o.bytes), version=o.version)
        return over_time.time_points(form, bytes(prefix))
    except Rejected:
        return 1


def _moment(files: CaseFiles, counts: dict[str, int], number: int, count: int) -> CaseFiles:
    def chosen(arrays: tuple[ArrayFiles, ...]) -> tuple[ArrayFiles, ...]:
        return tuple(
            replace(a, component=number, components=count) if counts[a.record_name] == count else a for a in arrays
        )

    return replace(files, images=chosen(files.images), labels=chosen(files.labels), moment=number)


def _described(found: Inventoried, files: CaseFiles, number: int, count: int) -> Inventoried:
    """What was found of one time point, with the finding that it is one and the time to inflate the others."""
    if found.case is None:
        return found
    over = {i.name for i in files.images}
    told = tuple(Finding("temporal", n, f"time point {number + 1} of {count}") for n in sorted(over))
    headers = [i.header for i in found.case.images if i.header.name in over]
    one = sum(math.prod(h.shape) * np.dtype(h.dtype).itemsize for h in headers)
    seconds = round(found.case.estimated_seconds + (count - 1) * one * INFLATE_S_PER_BYTE, 3)
    case = replace(found.case, findings=(*found.case.findings, *told), estimated_seconds=seconds)
    return replace(found, case=case)
