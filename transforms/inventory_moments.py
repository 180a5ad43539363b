"""Inventory of file cases whose images are over time, where each time point is to be a case of its own.

A case is split only where its images over time have one number of time points: then the first time point of one belongs to
the first of the other. Images without time go with each of them, and so do labels; labels over time are split alike. All
time points are of one patient, so no split or fold parts them. Each is read from the whole file again.
"""

from __future__ import annotations

import math
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
    moments = [taken(_moment(files, counts, number, count)) for number in range(count)]
    if all(m.case is None for m in moments):
        return moments[:1]
    return [_described(m, files, counts, n, count) for n, m in enumerate(moments)]


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


def _described(found: Inventoried, files: CaseFiles, counts: dict[str, int], number: int, count: int) -> Inventoried:
    """What was found of one time point, with the finding that it is one and the time to inflate the others."""
    if found.case is None:
        return found
    over = {i.name for i in files.images if counts[i.record_name] == count}
    told = tuple(Finding("temporal", n, f"time point {number + 1} of {count}") for n in sorted(over))
    headers = [i.header for i in found.case.images if i.header.name in over]
    one = sum(math.prod(h.shape) * np.dtype(h.dtype).itemsize for h in headers)
    seconds = round(found.case.estimated_seconds + (count - 1) * one * INFLATE_S_PER_BYTE, 3)
    case = replace(found.case, findings=(*found.case.findings, *told), estimated_seconds=seconds)
    return replace(found, case=case)
