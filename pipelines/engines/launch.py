"""What an engine is, to those who start one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from apache_beam.runners.runner import PipelineRunner


@dataclass(frozen=True)
class Job:
    """A graph that is about to run.

    Attributes:
        tasks: independent pieces of work in it; more processes than that are not started.
        workers: processes at most, where this machine does the work.
        beam_args: what the user wrote after `--`; comes last, so that it overrides.
    """

    tasks: int
    workers: int
    beam_args: tuple[str, ...]

    @property
    def processes(self) -> int:
        """Worker processes worth starting."""
        return max(1, min(self.workers, self.tasks))


@dataclass(frozen=True)
class Launch:
    """What Beam is called with.

    Attributes:
        arguments: complete, the user's own included.
        runner: the runner itself where it must be stopped by us; None: the one `arguments` name.
    """

    arguments: list[str]
    runner: PipelineRunner | None = None


class Launcher(Protocol):
    """One engine: which options it takes, what must be there, what is started and stopped around a run."""

    def check(self, beam_args: Sequence[str]) -> None:
        """Find out, before anything is read or written, that it cannot run.

        Raises:
            UsageError: something is missing or contradicts itself; the message says what to do.
        """

    def here(self, beam_args: Sequence[str]) -> bool:
        """Whether all workers are processes of this machine, with its file system."""

    def launched(self, job: Job) -> AbstractContextManager[Launch]:
        """Start what the job needs beside Beam, and stop it when the body ends."""
