"""What happens while a shard is built, for whoever measures it: the builder tells, an observer remembers."""

from __future__ import annotations

import time
from dataclasses import dataclass

from schemas.plan import Marker
from schemas.reasons import Reason
from transforms import retry, telemetry
from transforms.event_log import EventLog
from transforms.plan.files import ShardWork
from transforms.stopwatch import Stopwatch
from transforms.telemetry import ShardTelemetry


@dataclass(frozen=True)
class Attempt:
    """One finished attempt at a shard.

    Attributes:
        record: what was measured.
        reasons: of the holes, one each.
    """

    record: ShardTelemetry
    reasons: tuple[str, ...]


class Observer:
    """Measures one worker. Not shared between threads that build.

    Args:
        log: where events are told.
    """

    def __init__(self, log: EventLog | None = None):
        self.watch = Stopwatch()
        self._log = log or EventLog()
        self._started = 0.0
        self._attempt: Attempt | None = None

    def skipped(self, work: ShardWork) -> None:
        """The shard was there."""
        self._log.event("DEBUG", "shard skipped: it is committed", shard=work.shard.shard, stage="build")

    def started(self, work: ShardWork) -> None:
        """Work on a shard begins."""
        self._started = time.time()
        self.watch.take()
        retry.take_count()
        self._log.event("INFO", "shard started", shard=work.shard.shard, stage="build")

    def hole(self, work: ShardWork, case_id: str | None, reason: Reason) -> None:
        """A case could not be made, for a permanent reason."""
        self._log.event(
            "WARNING", "a case is a hole", shard=work.shard.shard, case=case_id, stage="build", reason=str(reason)
        )

    def finished(self, work: ShardWork, built: Marker, winner: Marker) -> None:
        """An attempt made a tar, and the shard has a marker: this attempt's or another's.

        Args:
            work: what was built.
            built: what this attempt would have committed.
            winner: what is committed; `built` itself when it won.
        """
        now = time.time()
        same = built.sha256 == winner.sha256
        record = ShardTelemetry(
            shard=built.shard,
            fingerprint=built.fingerprint,
            worker=telemetry.worker(),
            started=self._started,
            finished=now,
            cases_ok=len(work.shard.cases) - len(built.holes),
            holes=telemetry.counts(str(h.reason) for h in built.holes),
            bytes_in=sum(o.bytes for o in work.objects),
            bytes_out=built.bytes,
            retries=retry.take_count(),
            seconds=telemetry.seconds(self.watch.take()),
            committed=winner is built,
            deterministic=same,
        )
        self._attempt = Attempt(record, tuple(str(h.reason) for h in built.holes))
        self._log.event(
            "INFO",
            "shard committed" if winner is built else "another attempt committed the shard first",
            shard=built.shard,
            stage="build",
            seconds=now - self._started,
            bytes_out=built.bytes,
        )
        if not same:
            self._log.event(
                "ERROR",
                "two attempts at one plan made different bytes; the first one stays",
                shard=built.shard,
                stage="build",
            )

    def take(self) -> Attempt | None:
        """The attempt that finished since the last call."""
        attempt, self._attempt = self._attempt, None
        return attempt
