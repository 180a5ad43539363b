"""A worker pool: starts Python workers for an engine that asks, on the machine where it runs.

    python -m pipelines.engines.pool --port 50000

One beside every Spark executor or Flink task manager; the engines of one machine start their own. Workers are processes
of this very interpreter with this very environment, whatever `python` on the path is, and their standard output goes
where the errors go: nobody reads it, and a full pipe would stop them.

It listens on this host only: who may start workers here may run code here.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from pipelines.engines import surroundings

LISTENING = "listening on "
"""The one line that a pool prints, before its address."""

HOST = "127.0.0.1"

END_S = 5.0
"""A worker that was told to end gets so long before it is killed."""


class Pool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """The service that engines ask for workers."""

    def __init__(self) -> None:
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def StartWorker(  # noqa: N802 (the protocol's name)
        self, request: beam_fn_api_pb2.StartWorkerRequest, context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StartWorkerResponse:
        """Start a process that works for the control service named in the request."""
        command = [sys.executable, "-m", "pipelines.engines.harness", request.control_endpoint.url, request.worker_id]
        try:
            worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        except OSError as error:
            return beam_fn_api_pb2.StartWorkerResponse(error=f"{command[0]}: {error}")
        with self._lock:
            self._workers[request.worker_id] = worker
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(  # noqa: N802
        self, request: beam_fn_api_pb2.StopWorkerRequest, context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StopWorkerResponse:
        """End a process that was started here."""
        with self._lock:
            worker = self._workers.pop(request.worker_id, None)
        if worker is not None:
            _end([worker])
        return beam_fn_api_pb2.StopWorkerResponse()

    def stop(self) -> None:
        """End all of them."""
        with self._lock:
            left = list(self._workers.values())
            self._workers.clear()
        _end(left)


def _end(workers: list[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        worker.terminate()
    for worker in workers:
        try:
            worker.wait(END_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def main() -> int:
    """Serve until told to end: by a signal, or by the end of standard input."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.engines.pool", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0: any that is free; it is printed")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with whoever started this")
    arguments = parser.parse_args()
    surroundings.prepare()
    server = grpc.server(ThreadPoolExecutor(max_workers=16))
    pool = Pool()
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    port = server.add_insecure_port(f"{HOST}:{arguments.port}")
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"{LISTENING}{HOST}:{port}", flush=True)  # noqa: T201 (its interface)
    try:
        if arguments.until_stdin_closes:
            sys.stdin.read()
        else:
            signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop(0)
        pool.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
