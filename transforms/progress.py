"""How far a build is and when it will end: commit markers, as one listing shows them, against the plan.

Pure arithmetic on names and times. The times are the store's own, so that a build which runs elsewhere, on machines with
other clocks, is judged by one clock; only the age of the newest marker compares it with the reader's.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PAUSE_S = 1800.0
"""No shard takes longer than ten minutes of work, so half an hour without a marker parts one run from the next."""

WINDOW = 500
"""Markers that the speed is taken from, the newest ones: a run changes its number of workers."""


@dataclass(frozen=True)
class PlannedShard:
    """What progress needs to know of one shard of a plan."""

    shard: str
    marker: str
    """Path of its commit marker below the corpus."""
    cases: int
    estimated_seconds: float


@dataclass(frozen=True)
class Speed:
    """How fast the run that committed last is, or was.

    Attributes:
        cases_per_hour: planned cases of the shards committed.
        work_per_second: estimated CPU seconds done in a second: about the number of workers.
        over_s: seconds between the first and the last of the markers looked at.
        idle_s: since the last marker.
        eta_s: until the last planned shard is committed; None when nothing was committed for long, or nothing is left.
    """

    cases_per_hour: float
    work_per_second: float
    over_s: float
    idle_s: float
    eta_s: float | None


@dataclass(frozen=True)
class Progress:
    """Markers counted against a plan.

    Attributes:
        shards_done, shards_planned: shards.
        cases_done, cases_planned: cases of these shards, holes included.
        speed: None before two markers are there.
    """

    shards_done: int
    shards_planned: int
    cases_done: int
    cases_planned: int
    speed: Speed | None


def progress(planned: Sequence[PlannedShard], times: Mapping[str, float], now: float) -> Progress:
    """How far a build is.

    Args:
        planned: the plan's shards.
        times: Unix time of each marker that is there, by path; others than the plan's are passed over.
        now: Unix time.
    """
    done = [s for s in planned if s.marker in times]
    left = sum(s.estimated_seconds for s in planned if s.marker not in times)
    return Progress(
        shards_done=len(done),
        shards_planned=len(planned),
        cases_done=sum(s.cases for s in done),
        cases_planned=sum(s.cases for s in planned),
        speed=_speed(sorted(done, key=lambda s: times[s.marker]), times, left, now),
    )


def _speed(done: Sequence[PlannedShard], times: Mapping[str, float], left: float, now: float) -> Speed | None:
    """`done` is sorted by time."""
    recent = _last_run(done, times)[-WINDOW:]
    if len(recent) < 2:
        return None
    first, last = times[recent[0].marker], times[recent[-1].marker]
    over = last - first
    if over <= 0:
        return None
    # The first marker only starts the clock: its work was done before.
    work = sum(s.estimated_seconds for s in recent[1:]) / over
    cases = sum(s.cases for s in recent[1:]) / over * 3600
    idle = max(0.0, now - last)
    stalled = idle > max(PAUSE_S, 5 * _usual_gap(recent, times))
    eta = None if stalled or not left or not work else max(0.0, left / work - idle)
    return Speed(
        round(cases, 1), round(work, 3), round(over, 1), round(idle, 1), None if eta is None else round(eta, 1)
    )


def _last_run(done: Sequence[PlannedShard], times: Mapping[str, float]) -> Sequence[PlannedShard]:
    for i in range(len(done) - 1, 0, -1):
        if times[done[i].marker] - times[done[i - 1].marker] > PAUSE_S:
            return done[i:]
    return done


def _usual_gap(recent: Sequence[PlannedShard], times: Mapping[str, float]) -> float:
    moments = [times[s.marker] for s in recent]
    return statistics.median(b - a for a, b in itertools.pairwise(moments))
