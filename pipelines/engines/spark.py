"""`spark`: Spark 3.5 through Beam's job server, in one JVM (`local[n]`, the default) or on a cluster (`spark://host:7077`).

    --spark_master_url=spark://host:7077      a standalone cluster; its workers need a worker pool each (see below)
    --environment_type=DOCKER --environment_config=IMAGE      or a container for each executor instead of a pool

On a cluster every worker host runs `python -m pipelines.engines.pool --port 50000` beside its executor, from a checkout or
image with this very version.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator, Sequence

from apache_beam.options.pipeline_options import JobServerOptions, PipelineOptions, PortableOptions, SparkRunnerOptions
from apache_beam.runners.portability import spark_runner

from pipelines.engines import artifacts, jvm, workers
from pipelines.engines.launch import Job, Launch
from pipelines.engines.own_job_server import OwnJobServer

ENVIRONMENT_CACHE_MS = 600_000
"""Workers wait so long for their next task. Without it Spark starts new ones for every stage, at seconds each."""

MAX_PARTITIONS = 1_000
"""Partitions of a stage at most. A shuffle has the square of it in blocks, and a task that is tried again skips what is
committed: finer ones would gain nothing."""


class Spark:
    """Spark's portable runner. A stage's partitions are its bundles; what is recomputed finds its shards committed."""

    def check(self, beam_args: Sequence[str]) -> None:
        """The job server must be there before anything starts.

        Raises:
            UsageError: no Java, or no jar.
        """
        options = PipelineOptions(list(beam_args))
        if options.view_as(SparkRunnerOptions).spark_job_server_jar is None:
            artifacts.SPARK_JOB_SERVER.require()
        jvm.require(options.view_as(JobServerOptions).job_server_java_launcher)

    def here(self, beam_args: Sequence[str]) -> bool:
        """Whether the master is `local[n]`."""
        return _local(_master(beam_args))

    @contextlib.contextmanager
    def launched(self, job: Job) -> Iterator[Launch]:
        """A job server in a JVM of its own, and a pool of workers unless the cluster has them."""
        options = PipelineOptions(list(job.beam_args))
        master = _master(job.beam_args) or f"local[{job.processes}]"
        local = _local(master)
        arguments = [
            "--runner=SparkRunner",
            f"--spark_master_url={master}",
            f"--environment_cache_millis={ENVIRONMENT_CACHE_MS}",
            *jvm.arguments(_properties(job, local)),
        ]
        if options.view_as(SparkRunnerOptions).spark_job_server_jar is None:
            arguments.append(f"--spark_job_server_jar={artifacts.SPARK_JOB_SERVER.require()}")
        own = options.view_as(PortableOptions).environment_type is not None
        with contextlib.ExitStack() as stack:
            if local:
                arguments += stack.enter_context(workers.environment(job))
            elif not own:
                arguments += ["--environment_type=EXTERNAL", f"--environment_config={workers.CLUSTER_POOL}"]
            runner = _Runner()
            stack.callback(runner.stop)
            yield Launch([*arguments, *job.beam_args], runner)


class _Runner(OwnJobServer, spark_runner.SparkRunner):
    """Spark's."""

    def stop(self) -> None:
        """End the server, and let Beam forget it."""
        spark_runner.JOB_SERVER_CACHE.clear()
        super().stop()


def _properties(job: Job, local: bool) -> list[str]:
    partitions = min(MAX_PARTITIONS, max(job.tasks, 4 * job.processes))
    properties = [
        "-Dspark.ui.enabled=false",
        # Spark would take the number of cores: too few bundles to balance shards of minutes each.
        f"-Dspark.default.parallelism={partitions}",
        # What Spark 3.5 reaches into on Java 17; Beam gives it to the job server, executors need it too.
        "-Dspark.executor.extraJavaOptions=" + " ".join(spark_runner.SPARK_JAR_JOB_SERVER_JVM_ARGS),
    ]
    return [*properties, "-Dspark.driver.host=127.0.0.1"] if local else properties


def _master(beam_args: Sequence[str]) -> str | None:
    # Beam's own default, local[4], cannot be told from a master that was asked for.
    given = [a.partition("=")[2] for a in beam_args if a.startswith("--spark_master_url=")]
    for flag, value in itertools.pairwise(beam_args):
        if flag == "--spark_master_url":
            given.append(value)
    return given[-1] if given else None


def _local(master: str | None) -> bool:
    return master is None or re.match(spark_runner.LOCAL_MASTER_PATTERN, master) is not None
