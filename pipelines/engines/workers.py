"""The worker processes of a portable engine on this machine: a pool that is started before a run and ends with it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from mdfp.errors import MdfpError
from pipelines.engines import pool
from pipelines.engines.launch import Job

CLUSTER_POOL = "localhost:50000"
"""Where a worker host of a cluster finds the pool beside it, when nothing else is said."""

STOP_S = 20.0
"""A pool that was told to end gets so long before it is killed. What its workers held is not half-done anywhere."""


class PoolError(MdfpError):
    """The worker pool did not start."""


@contextlib.contextmanager
def environment(job: Job) -> Iterator[list[str]]:
    """Beam's arguments for workers of this machine; the pool runs while the body does.

    A user's own `--environment_type` is left alone, and no pool is started for it.
    """
    if PipelineOptions(list(job.beam_args)).view_as(PortableOptions).environment_type is not None:
        yield []
        return
    with _pool() as address:
        yield [
            "--environment_type=EXTERNAL",
            f"--environment_config={address}",
            f"--sdk_worker_parallelism={job.processes}",
        ]


@contextlib.contextmanager
def _pool() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.engines.pool", "--until-stdin-closes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = process.stdout.readline().strip()
        if not said.startswith(pool.LISTENING):
            raise PoolError(f"the worker pool ended with exit code {process.wait()} before it listened")
        yield said.removeprefix(pool.LISTENING)
    finally:
        process.stdin.close()  # its word to end
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
