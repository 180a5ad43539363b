"""Run a graph on the engine that was asked for."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from mdfp.errors import UsageError
from pipelines import failure, job, worker_death
from pipelines.engines import arguments, registry, surroundings
from pipelines.engines.counters import counters
from pipelines.engines.launch import Job, Launch, Launcher
from transforms import patient_key
from transforms.patient_key import KeyReference
from transforms.store import local_path

LOCAL = "local"
"""The engine when nothing is said."""


@dataclass(frozen=True)
class Engine:
    """How to run Beam.

    Attributes:
        workers: processes at most, where this machine does the work.
        beam_args: what the user wrote after `--`; added to the engine's own options, and stronger than they.
        name: a word of `pipelines.engines.registry`. When `beam_args` name a runner of Beam's, that one is used with
            these arguments and no others.
        stop: asked now and then while a job runs elsewhere; True ends it. Local runs look for themselves.

    Raises:
        UsageError: arguments that are no options, an engine that is not known, contradicts them or cannot run here.
    """

    workers: int = 1
    beam_args: tuple[str, ...] = ()
    name: str = LOCAL
    stop: Callable[[], bool] | None = None

    def __post_init__(self) -> None:
        arguments.check(self.beam_args)
        if self.runner is not None and self.name != LOCAL:
            raise UsageError(f"--runner {self.name} and, after --, --runner={self.runner}: one of them is enough")
        self._launcher.check(self.beam_args)

    @property
    def _launcher(self) -> Launcher:
        return _Named() if self.runner else registry.launcher(self.name)

    @property
    def runner(self) -> str | None:
        """The runner of Beam's that `beam_args` name, or None."""
        return arguments.named_runner(self.beam_args)

    @property
    def local(self) -> bool:
        """Whether all workers are processes of this machine, with its file system."""
        return self._launcher.here(self.beam_args)

    def check_places(self, places: Mapping[str, str]) -> None:
        """Make sure that workers of another machine can reach what lies at these places.

        Args:
            places: URLs by what they are called in a message.

        Raises:
            UsageError: a folder of this machine, for workers that have no way to it.
        """
        if self.name != "dataflow":
            return  # a cluster of one's own may share a folder
        for name, url in sorted(places.items()):
            if local_path(url) is not None:
                raise UsageError(
                    f"{name} is the local folder {url}; workers of --runner dataflow need a bucket (gs://…)"
                )

    def check_key(self, key: KeyReference) -> None:
        """Make sure that workers of another machine can read the patient key, which no job carries.

        Raises:
            UsageError: it is in a file or a variable of this machine, for workers that have neither.
        """
        if self.name == "dataflow" and key.of_this_machine:
            found = key.place or f"the variable {patient_key.VARIABLE}"
            raise UsageError(
                f"the patient key comes from {found}, which workers of --runner dataflow cannot read, and no job carries it; "
                f"put it where they may, and set {patient_key.FILE_VARIABLE} to projects/P/secrets/S/versions/V or gs://… "
                f"(with {patient_key.VARIABLE} unset), or take the inventory with --runner local"
            )

    def run(self, build: Callable[[beam.Pipeline], object], *, tasks: int) -> dict[str, int]:
        """Build a graph and run it to its end.

        Args:
            build: adds the graph's steps to the pipeline it is given.
            tasks: independent pieces of work in it; more processes than that are not started.

        Returns:
            What its steps counted, see `pipelines.engines.counters`.

        Raises:
            WorkerError: a worker in another process met what may pass, or what its message tells how to remove.
            Exception: whatever else a step raised.
        """
        surroundings.prepare()
        worker_death.watch()
        asked = Job(tasks, self.workers, self.beam_args)
        quiet = _worker_chatter_to_file() if self.local else contextlib.nullcontext()
        with quiet, self._launcher.launched(asked) as launch:
            pipeline = beam.Pipeline(runner=launch.runner, options=PipelineOptions(launch.arguments))
            build(pipeline)
            try:
                result = pipeline.run()
                job.wait(result, None if self.local else self.stop)
            except RuntimeError as error:
                known = failure.translated(error)
                if known is None:
                    raise
                raise known from error
            return counters(result)


class _Named:
    """A runner of Beam's that the user named, with nothing of ours."""

    def check(self, beam_args: Sequence[str]) -> None:
        """`pipelines.engines.arguments` did."""

    def here(self, beam_args: Sequence[str]) -> bool:
        return arguments.named_runner(beam_args) == "FnApiRunner"

    @contextlib.contextmanager
    def launched(self, job: Job) -> Iterator[Launch]:
        yield Launch(list(job.beam_args))


@contextlib.contextmanager
def _worker_chatter_to_file() -> Iterator[None]:
    """While the body runs, what anyone writes to standard error goes to a temporary file.

    Beam's local worker processes log every step of their start there, and take no word about it. What goes wrong in them
    is raised here anyway; a process that dies without a word leaves its last lines in the file, so they are shown then.
    The console writes to its own copy of standard error and is not affected.
    """
    if os.environ.get("MDFP_LOG"):
        yield
        return
    with tempfile.TemporaryFile() as log:
        sys.stderr.flush()
        original = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except Exception as error:
            if not failure.expected(error):
                log.seek(0)
                lines = log.read().decode(errors="replace").splitlines()
                os.write(original, "\n".join(line for line in lines[-20:] if not line.startswith("INFO:")).encode())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


def local_workers(asked: int | None) -> int:
    """Number of local processes: what was asked for, or one per core.

    Raises:
        UsageError: fewer than one.
    """
    if asked is not None and asked < 1:
        raise UsageError(f"--workers {asked}: expected at least 1")
    return asked or len(os.sched_getaffinity(0))
