"""`local`: Beam's own runner, in this process or with several worker processes. No JVM, no server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from pipelines.engines.launch import Job, Launch


class Local:
    """FnApiRunner. An exception keeps its type; nothing is tried again: running again resumes."""

    def check(self, beam_args: Sequence[str]) -> None:
        """Nothing can be missing: it comes with Beam."""

    def here(self, beam_args: Sequence[str]) -> bool:
        """Always."""
        return True

    @contextlib.contextmanager
    def launched(self, job: Job) -> Iterator[Launch]:
        """Several processes only when there is work for several: each takes seconds to start."""
        mode = "multi_processing" if job.processes > 1 else "in_memory"
        yield Launch(
            [
                "--runner=FnApiRunner",
                f"--direct_running_mode={mode}",
                f"--direct_num_workers={job.processes}",
                *job.beam_args,
            ]
        )
