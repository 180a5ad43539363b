"""Worker processes of the local runner that die: an error, where Beam 2.77 alone waits for an answer that never comes.

When a process of `--direct_running_mode=multi_processing` is killed (by the kernel, for memory, most often), the thread
that waits for the process raises into nothing and the driver goes on waiting for its answer and its data.
"""

from __future__ import annotations

import threading

from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers

ANSWER_EVERY_S = 0.2
"""How often what is asked of a dead worker is answered with its death."""

DEATH = (
    "ChildProcessError: a worker process ended before its work was done: it was killed, often by the kernel for want of "
    "memory; with fewer --workers each has more"
)
"""In the form of a traceback's last line, by which `pipelines.failure` knows it."""


class WatchedWorker(worker_handlers.SubprocessSdkWorkerHandler):
    """A local worker process whose end is noticed."""

    def start_worker(self) -> None:
        """Start the process, and a watch over it."""
        self._closing = threading.Event()
        super().start_worker()
        threading.Thread(name="watch_worker", target=self._watch, daemon=True).start()

    def close(self) -> None:
        """Tell the process to end; what it does not answer from now on does not matter."""
        self._closing.set()
        super().close()

    def _watch(self) -> None:
        self.worker_thread.join()
        while not self._closing.wait(ANSWER_EVERY_S):
            for asked in list(self.control_conn._futures_by_id):
                self.control_conn._futures_by_id.pop(asked).set(
                    beam_fn_api_pb2.InstructionResponse(instruction_id=asked, error=f"\n{DEATH}")
                )


def watch() -> None:
    """Have the local runner use `WatchedWorker` for its processes from now on."""
    worker_handlers.WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)(WatchedWorker)
