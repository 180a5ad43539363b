"""Series over time: the same positions at several moments, as one 4-D array on one grid.

The moments are told apart, and put in order, by the first attribute that does so (`clusters.TIMES`); where none does, by
the order of InstanceNumber at each position. How far apart they lie is for `transforms.read.times` to say.

The inventory refuses such series as TEMPORAL unless the recipe takes them (`schemas.recipe.Temporal`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import clusters
from transforms.read.assemble import Objects, assembled, partitions, to_suv
from transforms.read.dicom import Instance
from transforms.read.header import check_affine, furthest_corner_mm
from transforms.read.stack import Stack, measure, slots
from transforms.read.times import Times, times_of
from transforms.rejected import Rejected
from transforms.scratch import Bytes
from transforms.volume import TemporalVolume

SAME_GRID_MM = 0.01
"""Corners of the volumes of two moments may lie this far apart, in mm: positions are rounded."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Slices over time, put in order and measured.

    Attributes:
        stacks: of each moment, all on one grid.
        ordered_by: the attribute that orders them.
        times: when they were taken; None where the headers do not say.
    """

    stacks: tuple[Stack, ...]
    ordered_by: str
    times: Times | None


def measured(slices: Sequence[Instance]) -> Moments:
    """The moments of slices of one geometry.

    Raises:
        Rejected: as `moments` and `stack.measure`; TEMPORAL, the moments lie on different grids.
    """
    name, pieces = moments(slices)
    stacks = tuple(measure(p) for p in pieces)
    _check_one_grid(stacks)
    return Moments(stacks, name, times_of(stacks))


def moments(slices: Sequence[Instance]) -> tuple[str, list[tuple[Instance, ...]]]:
    """The attribute that orders the moments of slices of one geometry, and the slices of each moment.

    Raises:
        Rejected: TEMPORAL, the moments cannot be told apart; MISSING_SLICES, some of them have fewer slices than others.
    """
    name, pieces = told_apart(slices)
    positions = len(slots(slices))
    if short := [p for p in pieces if len(p) != positions]:
        raise Rejected(
            Reason.MISSING_SLICES,
            f"{len(short)} of {len(pieces)} time points have fewer than {positions} slices, down to {min(map(len, short))}",
        )
    return name, pieces


def told_apart(slices: Sequence[Instance]) -> tuple[str, list[tuple[Instance, ...]]]:
    """As `moments`, those included that have fewer slices than others.

    Raises:
        Rejected: TEMPORAL, the moments cannot be told apart.
    """
    name, pieces = clusters.time_points(slices)
    groups = slots(slices)
    if not name:
        numbered = [sorted(g, key=lambda i: (i.instance_number or 0, i.frame or 0)) for g in groups]
        counts = {len({i.instance_number for i in g}) for g in numbered}
        if len(counts) > 1 or any(len(g) != len({i.instance_number for i in g}) for g in numbered):
            raise Rejected(
                Reason.TEMPORAL,
                f"expected as many InstanceNumbers at each of {len(groups)} positions, found {min(counts)} to {max(counts)}",
            )
        return "InstanceNumber", [tuple(g[t] for g in numbered) for t in range(counts.pop())]
    return name, pieces


def read_temporal(files: Sequence[tuple[str, Bytes]], limits: Limits, part: int | None = None) -> TemporalVolume:
    """A series over time as one 4-D array.

    Stored values are kept where one slope and intercept hold for all slices of all moments; else the values are physical,
    in float64.

    Args:
        files: (path, whole file) of each instance of the series.
        limits: what the 4-D array may cost.
        part: which of the series over time that the objects hold; None: they hold one and nothing else.

    Raises:
        Rejected: TEMPORAL, slices of several geometries, or moments that cannot be told apart; MISSING_SLICES; TOO_LARGE;
            as `series.read` does.
    """
    objects = Objects(files, limits)
    slices, _ = to_suv(_chosen(objects.slices(), part))
    found = measured(slices)
    name, stacks = found.ordered_by, found.stacks
    first = slices[0]
    uniform = len({(i.slope, i.intercept) for i in slices}) == 1
    dtype = np.result_type(*{i.dtype for i in slices}) if uniform else np.dtype(np.float64)
    shape = (len(stacks), *stacks[0].shape)
    if (taken := int(np.prod(shape)) * dtype.itemsize) > limits.max_bytes:
        raise Rejected(
            Reason.TOO_LARGE, f"{shape} voxels (t, z, y, x) take {taken} bytes, {limits.max_bytes} are allowed"
        )
    array = np.empty(shape, dtype)
    paddings = set()
    for t, stack in enumerate(stacks):
        volume = assembled(stack, objects, limits)
        array[t] = volume.array_zyx if uniform else volume.array_zyx * volume.scale + volume.offset
        paddings.add(volume.padding)
    scale, offset = (first.slope, first.intercept) if uniform else (1.0, 0.0)
    padding = paddings.pop() if uniform and len(paddings) == 1 else None
    step_ms, times_ms = (None, ()) if found.times is None else (found.times.step_ms, found.times.at_ms)
    return TemporalVolume(array, stacks[0].affine_ras, name, scale, offset, padding, step_ms, times_ms)


def _chosen(slices: Sequence[Instance], part: int | None) -> Sequence[Instance]:
    if part is not None:
        pieces = partitions(slices, temporal=True)
        if part >= len(pieces):
            raise Rejected(Reason.SOURCE_CHANGED, f"the inventory saw {part + 1} series over time, now {len(pieces)}")
        return pieces[part].instances
    parts = clusters.by_geometry(slices)
    if len(parts) != 1:
        raise Rejected(Reason.TEMPORAL, f"expected slices of one plane, size and spacing, found {len(parts)} kinds")
    return slices


def _check_one_grid(stacks: Sequence[Stack]) -> None:
    first = stacks[0]
    check_affine(first.affine_ras)
    for stack in stacks[1:]:
        if stack.shape != first.shape:
            raise Rejected(
                Reason.MISSING_SLICES, f"one time point has {first.shape} voxels (z, y, x), another {stack.shape}"
            )
        apart = furthest_corner_mm(first.affine_ras, stack.affine_ras, first.shape)
        if apart > SAME_GRID_MM:
            raise Rejected(
                Reason.TEMPORAL, f"the grids of two time points lie {apart:.3f} mm apart, {SAME_GRID_MM} allowed"
            )
