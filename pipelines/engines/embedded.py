"""`embedded`: the portable job protocol on one machine without a JVM. The cheapest rehearsal of a cluster.

The graph is serialised, submitted to a job server inside this process, and run by separate worker processes that share
nothing with it but the protocol: what does not pickle or import does not run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from pipelines.engines import workers
from pipelines.engines.launch import Job, Launch


class Embedded:
    """Portable runner with an embedded job server and a pool of worker processes that lives as long as the run."""

    def check(self, beam_args: Sequence[str]) -> None:
        """Nothing can be missing: it comes with Beam."""

    def here(self, beam_args: Sequence[str]) -> bool:
        """Always."""
        return True

    @contextlib.contextmanager
    def launched(self, job: Job) -> Iterator[Launch]:
        """A pool, and Beam's word for it."""
        with workers.environment(job) as environment:
            yield Launch(["--runner=PortableRunner", "--job_endpoint=embed", *environment, *job.beam_args])
