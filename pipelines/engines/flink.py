"""`flink`: Flink 1.19 through Beam's job server, inside its JVM (`[local]`, the default) or on a cluster (`host:8081`).

On a cluster every task manager's host runs `python -m pipelines.engines.pool --port 50000`, or give
`--environment_type=DOCKER --environment_config=IMAGE`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from apache_beam.options.pipeline_options import FlinkRunnerOptions, JobServerOptions, PipelineOptions, PortableOptions
from apache_beam.runners.portability import flink_runner

from pipelines.engines import artifacts, jvm, workers
from pipelines.engines.launch import Job, Launch
from pipelines.engines.own_job_server import OwnJobServer

RETRIES = 3
"""Flink starts a failed job anew so often. Its own default is never; what is committed is skipped."""


class Flink:
    """Flink's portable runner, batch."""

    def check(self, beam_args: Sequence[str]) -> None:
        """The job server must be there before anything starts.

        Raises:
            UsageError: no Java, or no jar.
        """
        options = PipelineOptions(list(beam_args))
        if options.view_as(FlinkRunnerOptions).flink_job_server_jar is None:
            artifacts.FLINK_JOB_SERVER.require()
        jvm.require(options.view_as(JobServerOptions).job_server_java_launcher)

    def here(self, beam_args: Sequence[str]) -> bool:
        """Whether the master is the job server itself."""
        return _local(beam_args)

    @contextlib.contextmanager
    def launched(self, job: Job) -> Iterator[Launch]:
        """A job server in a JVM of its own, and a pool of workers unless the cluster has them."""
        options = PipelineOptions(list(job.beam_args))
        arguments = ["--runner=FlinkRunner", f"--flink_version={artifacts.FLINK}", *jvm.arguments([])]
        if options.view_as(FlinkRunnerOptions).flink_job_server_jar is None:
            arguments.append(f"--flink_job_server_jar={artifacts.FLINK_JOB_SERVER.require()}")
        own = options.view_as(PortableOptions).environment_type is not None
        with contextlib.ExitStack() as stack:
            if _local(job.beam_args):
                arguments += ["--flink_master=[local]", f"--parallelism={job.processes}"]
                arguments += stack.enter_context(workers.environment(job))
            else:
                arguments.append(f"--number_of_execution_retries={RETRIES}")
                if not own:
                    arguments += ["--environment_type=EXTERNAL", f"--environment_config={workers.CLUSTER_POOL}"]
            runner = _Runner()
            stack.callback(runner.stop)
            yield Launch([*arguments, *job.beam_args], runner)


class _Runner(OwnJobServer, flink_runner.FlinkRunner):
    """Flink's."""


def _local(beam_args: Sequence[str]) -> bool:
    # Without a word Beam's master is [auto]: a cluster when it runs inside one. Ours is this machine then.
    return PipelineOptions(list(beam_args)).view_as(FlinkRunnerOptions).flink_master in flink_runner.MAGIC_HOST_NAMES
