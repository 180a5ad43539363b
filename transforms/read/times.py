"""When the time points of a DICOM series were taken, relative to the first, and whether at one step.

The first clock counts that every slice has and that goes forward at every position from each time point to the next:

| clock | unit |
| --- | --- |
| TemporalPositionTimeOffset (0020,930D) of a frame | s |
| TriggerTime (0018,1060), NominalCardiacTriggerDelayTime (0020,9153) of a frame | ms |
| FrameAcquisitionDateTime (0018,9074), AcquisitionDateTime (0008,002A), AcquisitionDate and AcquisitionTime (0008,0032) | |

Where none does, a header may state the step itself: TemporalResolution (0020,0110), or, of echo-planar images that take a
whole volume in one repetition (2D, mosaics among them), RepetitionTime (0018,0080); both in ms. A stated step that the clock
bears out is taken as it is, since clocks are rounded.

Positions are compared with themselves: slices of one time point may be taken one after the other. Only differences leave
this module, never a time of day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.read import values
from transforms.read.dicom import Instance
from transforms.read.stack import Stack

REGULAR_FRACTION = 0.02
"""Time points may lie this fraction of a step from where one step would put them, beyond the rounding of the clock."""

DRIFT_FRACTION = 0.001
"""A clock may run faster or slower than the scanner's stated step by this fraction."""

_DECIMALS = 3  # of a millisecond: beyond what any clock in a header resolves
_SECONDS_DIGITS = 14  # YYYYMMDDHHMMSS

Clock = Callable[[Instance], tuple[float, float] | None]
"""(ms on some scale, resolution in ms) of a slice; None where it has none."""


@dataclass(frozen=True)
class Times:
    """When the time points of one image were taken.

    Attributes:
        by: the attribute that says so.
        step_ms: from each to the next; None where there is no one step.
        at_ms: after the first, one for each; empty where `step_ms` says all, or where positions do not agree.
        steps_ms: shortest and longest step at any position.
    """

    by: str
    step_ms: float | None
    at_ms: tuple[float, ...]
    steps_ms: tuple[float, float]

    @property
    def told(self) -> str:
        """The times for a person."""
        if self.step_ms is not None:
            return f"{self.step_ms:g} ms apart by {self.by}"
        shortest, longest = self.steps_ms
        return f"{shortest:g} to {longest:g} ms apart by {self.by}"


def times_of(stacks: Sequence[Stack]) -> Times | None:
    """The times of moments on one grid, in their order; None where the headers do not say.

    Args:
        stacks: of each moment.
    """
    if len(stacks) < 2:
        return None
    stated = _stated_step(stacks)
    for name, clock in _CLOCKS.items():
        read = _read(stacks, clock)
        if read is not None:
            return _judged(name, *read, stated)
    if stated is None:
        return None
    name, step = stated
    return Times(name, step, (), (step, step))


def _read(stacks: Sequence[Stack], clock: Clock) -> tuple[npt.NDArray[np.float64], float] | None:
    """Time after the first moment, shape (moments, positions), and the clock's resolution, in ms.

    None where a slice has no time, or time does not go forward.
    """
    found = [[clock(slot[0]) for slot in stack.slots] for stack in stacks]
    if any(stamp is None for moment in found for stamp in moment):
        return None
    stamps = np.array(found, dtype=np.float64)
    if not np.isfinite(stamps).all():
        return None
    at = stamps[:, :, 0] - stamps[0, :, 0]
    return (at, float(stamps[:, :, 1].max())) if (np.diff(at, axis=0) > 0).all() else None


def _judged(name: str, at: npt.NDArray[np.float64], resolution_ms: float, stated: tuple[str, float] | None) -> Times:
    count = len(at)
    steps = np.diff(at, axis=0)
    shortest, longest = round(float(steps.min()), _DECIMALS), round(float(steps.max()), _DECIMALS)
    number = np.arange(count)[:, np.newaxis]
    if stated is not None:
        by, step = stated
        allowed = resolution_ms + REGULAR_FRACTION * step + DRIFT_FRACTION * step * number
        if (np.abs(at - step * number) <= allowed).all():
            return Times(by, step, (), (shortest, longest))
    step = float(at[-1].mean()) / (count - 1)
    if (np.abs(at - step * number) <= resolution_ms + REGULAR_FRACTION * step).all():
        return Times(name, round(step, _DECIMALS), (), (shortest, longest))
    spread = at.max(axis=1) - at.min(axis=1)
    together = bool((spread <= resolution_ms + REGULAR_FRACTION * steps.min()).all())
    told = tuple(round(float(t), _DECIMALS) for t in at[:, 0]) if together else ()
    return Times(name, None, told, (shortest, longest))


def _stated_step(stacks: Sequence[Stack]) -> tuple[str, float] | None:
    """A step that all slices state alike, and the attribute that states it."""
    slices = [i for stack in stacks for slot in stack.slots for i in slot]
    for name, step_of in _STEPS.items():
        found = {step_of(i) for i in slices}
        step = found.pop() if len(found) == 1 else None
        if step is not None and 0 < step < float("inf"):
            return name, step
    return None


def _offset(i: Instance) -> tuple[float, float] | None:
    return None if i.time_offset_s is None else (i.time_offset_s * 1000.0, 0.0)


def _trigger(i: Instance) -> tuple[float, float] | None:
    return None if i.trigger_time is None else (i.trigger_time, 0.0)


def _acquired(i: Instance) -> tuple[float, float] | None:
    seconds = values.datetime_s(i.acquired)
    if i.acquired is None or seconds is None:
        return None
    whole, _, fraction = i.acquired.partition("+")[0].partition("-")[0].partition(".")
    resolution_s = 10.0 ** -len(fraction) if len(whole) >= _SECONDS_DIGITS else 60.0
    return seconds * 1000.0, resolution_s * 1000.0


_CLOCKS: dict[str, Clock] = {
    "TemporalPositionTimeOffset": _offset,
    "TriggerTime": _trigger,
    "acquisition time": _acquired,
}

_STEPS: dict[str, Callable[[Instance], float | None]] = {
    "TemporalResolution": lambda i: i.temporal_resolution,
    "RepetitionTime": lambda i: i.repetition_time if i.volume_a_repetition else None,
}
