"""`dataflow`: Google Cloud Dataflow, batch.

    --project=… --region=… --temp_location=gs://…      where it runs; needed
    --sdk_container_image=…                            the worker image (infra/docker); needed: workers install nothing

The rest has values here that suit the job; give another after `--` to override.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, WorkerOptions

from mdfp.errors import UsageError
from pipelines.engines.launch import Job, Launch

DEFAULTS = (
    # The image has everything: no SDK is uploaded and nothing is installed when a worker starts.
    "--sdk_location=container",
    # One case at a time for each process, and one process for each vCPU: a volume and its copies fill a process's share.
    "--number_of_worker_harness_threads=1",
    # 8 GB for each vCPU; the largest case takes 2 to 3.
    "--machine_type=n2-highmem-4",
    # Twice a shard for each process, and the image. The default of 25 GB is too small.
    "--disk_size_gb=100",
    # A shard is 10 minutes of work at most: what takes an hour hangs, and is tried again in a new process.
    "--element_processing_timeout_minutes=60",
)


class Dataflow:
    """Dataflow's runner. Nothing is started here: the service has workers of its own."""

    def check(self, beam_args: Sequence[str]) -> None:
        """What the service will ask for, asked before anything is read.

        Raises:
            UsageError: an option or a package is missing.
        """
        if importlib.util.find_spec("google.cloud.dataflow_v1beta3") is None:
            raise UsageError(
                "--runner dataflow needs Beam's part for it; install it with: pip install 'apache-beam[gcp]'"
            )
        options = PipelineOptions(list(beam_args))
        cloud = options.view_as(GoogleCloudOptions)
        needed = {
            "--project": cloud.project,
            "--region": cloud.region,
            "--temp_location": cloud.temp_location,
            "--sdk_container_image": options.view_as(WorkerOptions).sdk_container_image,
        }
        missing = [name for name, value in needed.items() if not value]
        if missing:
            raise UsageError(
                f"--runner dataflow needs {', '.join(missing)}; give them after --, for example: "
                "-- --project=my-project --region=europe-west4 --temp_location=gs://my-bucket/temp "
                "--sdk_container_image=europe-west4-docker.pkg.dev/my-project/mdfp/worker:1"
            )

    def here(self, beam_args: Sequence[str]) -> bool:
        """Never."""
        return False

    @contextlib.contextmanager
    def launched(self, job: Job) -> Iterator[Launch]:
        """The options, and nothing else."""
        yield Launch(["--runner=DataflowRunner", *DEFAULTS, *job.beam_args])
