"""Which engine runs a graph, and with which options."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, StandardOptions
from apache_beam.runners.runner import create_runner

from mdfp.errors import UsageError
from pipelines import failure, job, worker_death


@dataclass(frozen=True)
class Engine:
    """How to run Beam.

    Attributes:
        workers: local processes; ignored when `beam_args` name a runner.
        beam_args: what the user wrote after `--`, passed on to Beam.
        stop: asked now and then while a job runs elsewhere; True ends it. Local runs look for themselves.

    Raises:
        UsageError: arguments that are no options, or a runner that is not known or does not do what it says.
    """

    workers: int = 1
    beam_args: tuple[str, ...] = ()
    stop: Callable[[], bool] | None = None

    def __post_init__(self) -> None:
        _check_arguments(self.beam_args)

    @property
    def runner(self) -> str | None:
        """The runner that `beam_args` name, or None."""
        return PipelineOptions(list(self.beam_args)).view_as(StandardOptions).runner

    @property
    def local(self) -> bool:
        """Whether everything happens on this machine, in processes that this one starts."""
        return self.runner in (None, "FnApiRunner")

    def options(self, tasks: int) -> list[str]:
        """Beam's arguments for a graph with so many independent pieces of work."""
        if self.runner is not None:
            return list(self.beam_args)
        processes = max(1, min(self.workers, tasks))
        mode = "multi_processing" if processes > 1 else "in_memory"
        return [
            "--runner=FnApiRunner",
            f"--direct_running_mode={mode}",
            f"--direct_num_workers={processes}",
            *self.beam_args,
        ]

    def run(self, build: Callable[[beam.Pipeline], object], *, tasks: int) -> None:
        """Build a graph and run it to its end.

        Args:
            build: adds the graph's steps to the pipeline it is given.
            tasks: independent pieces of work in it; more processes than that are not started.

        Raises:
            WorkerError: a worker in another process met what may pass, or what its message tells how to remove.
            Exception: whatever else a step raised.
        """
        _prepare()
        worker_death.watch()
        pipeline = beam.Pipeline(options=PipelineOptions(self.options(tasks)))
        build(pipeline)
        with _worker_chatter_to_file() if self.local else contextlib.nullcontext():
            try:
                job.wait(pipeline.run(), None if self.local else self.stop)
            except RuntimeError as error:
                known = failure.translated(error)
                if known is None:
                    raise
                raise known from error


def _prepare() -> None:
    """Make worker processes find our modules and keep to one thread each."""
    checkout = str(Path(__file__).resolve().parent.parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if checkout not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([checkout, *filter(None, paths)])
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    # A volume is a fresh block of 100 MB and more; huge pages spare its 40,000 page faults, a tenth of a case's time.
    # glibc (2.35 and later) reads it when a worker process starts; others do not mind.
    os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    # Workers are started by the name `python`: it must be this interpreter, not another one on the path.
    here = str(Path(sys.executable).parent)
    if not os.environ.get("PATH", "").startswith(here):
        os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", "")])


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


def _check_arguments(beam_args: Sequence[str]) -> None:
    if beam_args and not beam_args[0].startswith("--"):
        raise UsageError(f"after -- Beam options are expected (--name=value), found {beam_args[0]!r}")
    options = PipelineOptions(list(beam_args))
    if options.view_as(SetupOptions).save_main_session:
        raise UsageError("--save_main_session is not needed: all functions live in importable modules; leave it out")
    runner = options.view_as(StandardOptions).runner
    if runner is None:
        return
    if runner.endswith("DirectRunner"):
        raise UsageError(
            f"--runner={runner} changes engines silently, depending on what it can download; "
            "leave --runner out for the local one (FnApiRunner), or name the engine you mean"
        )
    try:
        create_runner(runner)
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(f"--runner={runner}: {error}") from error
