"""`prism`: Beam's portable runner in Go, a second implementation of the model with bundles of its own. One machine."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions, PrismRunnerOptions

from pipelines.engines import artifacts, workers
from pipelines.engines.launch import Job, Launch
from pipelines.engines.tie import script


class Prism:
    """Prism with a pool of worker processes. It starts one worker and sends it several bundles at a time."""

    def check(self, beam_args: Sequence[str]) -> None:
        """Never let Beam download a binary by itself: which engine runs must not depend on what can be reached.

        Raises:
            UsageError: no binary.
        """
        if _location(beam_args) is None:
            artifacts.PRISM.require()

    def here(self, beam_args: Sequence[str]) -> bool:
        """Always."""
        return True

    @contextlib.contextmanager
    def launched(self, job: Job) -> Iterator[Launch]:
        """A pool, the binary tied to this process, and little talk."""
        with tempfile.TemporaryDirectory(prefix="mdfp-prism-") as folder, workers.environment(job) as environment:
            location = _location(job.beam_args) or script(str(artifacts.PRISM.require()), Path(folder))
            yield Launch(
                [
                    "--runner=PrismRunner",
                    f"--prism_location={location}",
                    "--prism_log_level=warn",
                    *environment,
                    *job.beam_args,
                ]
            )


def _location(beam_args: Sequence[str]) -> str | None:
    found: str | None = PipelineOptions(list(beam_args)).view_as(PrismRunnerOptions).prism_location
    return found
