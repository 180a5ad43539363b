"""Spark standalone on this machine: a master, a worker with its executors, and the pool that starts Python workers.

Three processes, as on three machines: the driver's job server submits to the master, the worker starts an executor in a
JVM of its own, and the executor asks the pool beside it for Python workers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.engines.artifacts import SPARK_DISTRIBUTION

HOST = "127.0.0.1"

START_S = 120.0
"""A JVM on a busy machine takes tens of seconds."""

STOP_S = 20.0


class ClusterError(Exception):
    """A part of the cluster did not start; the message holds the end of its log."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs.

    Attributes:
        master: URL of the master.
        pool: address of the worker pool, as executors see it.
        cores: of the worker.
    """

    master: str
    pool: str
    cores: int

    def beam_args(self) -> list[str]:
        """Beam's options for a job on it."""
        return [
            f"--spark_master_url={self.master}",
            "--environment_type=EXTERNAL",
            f"--environment_config={self.pool}",
            f"--sdk_worker_parallelism={self.cores}",
            # All of it is on this machine, whose name need not be known to anyone.
            f"--job_server_jvm_properties=-Dspark.driver.host={HOST}",
        ]


@contextlib.contextmanager
def cluster(folder: Path, *, cores: int, memory_mb: int, port: int = 0) -> Iterator[Cluster]:
    """Start a cluster and stop it when the body ends.

    Args:
        folder: for logs and what executors are sent.
        cores: of the worker.
        memory_mb: for its executors.
        port: of the master; 0: one that is free.

    Raises:
        UsageError: Spark was not fetched.
        ClusterError: something did not start.
    """
    home = SPARK_DISTRIBUTION.require()
    port = port or _free_port()
    master = f"spark://{HOST}:{port}"
    environment = {
        **os.environ,
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": HOST,
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "SPARK_DAEMON_MEMORY": "512m",
    }
    spark = ["bash", str(home / "bin" / "spark-class"), "org.apache.spark.deploy"]
    with contextlib.ExitStack() as stack:

        def start(name: str, words: list[str], says: str) -> str:
            log = folder / f"{name}.log"
            process = stack.enter_context(_process(words, log, environment))
            return _wait(name, process, log, says)

        deploy = [*spark[:-1], f"{spark[-1]}.master.Master", "--host", HOST, "--port", str(port), "--webui-port", "0"]
        start("master", deploy, "I have been elected leader")
        worker = [*spark[:-1], f"{spark[-1]}.worker.Worker", "--host", HOST, "--webui-port", "0"]
        worker += ["--cores", str(cores), "--memory", f"{memory_mb}m", "--work-dir", str(folder / "work"), master]
        start("worker", worker, "Successfully registered with master")
        line = start("pool", [sys.executable, "-m", "pipelines.engines.pool"], "listening on ")
        yield Cluster(master, line.rpartition(" ")[2], cores)


@contextlib.contextmanager
def _process(words: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    # It ends with whoever started it, also when that one is killed.
    tie = [program, "--pdeathsig=TERM"] if (program := shutil.which("setpriv")) else []
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*tie, *words], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(name: str, process: subprocess.Popen[bytes], log: Path, says: str) -> str:
    """The line in which a process says that it is ready."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        lines = log.read_text(errors="replace").splitlines()
        if found := next((line for line in lines if says in line), None):
            return found
        if process.poll() is not None:
            break
        time.sleep(0.2)
    last = "\n  ".join(log.read_text(errors="replace").splitlines()[-15:])
    raise ClusterError(f"the {name} did not start (exit code {process.poll()}); its log ends with:\n  {last}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
