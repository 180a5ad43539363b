"""A job on an engine elsewhere, while this process waits for it: ended early when somebody asks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

POLL_S = 10.0
"""How often a request to end the job is looked for."""


def wait(result: Any, stop: Callable[[], bool] | None, poll_s: float = POLL_S) -> None:
    """Wait for a job; end it through the engine's own interface when `stop` says so.

    Args:
        result: Beam's PipelineResult.
        stop: asked now and then; None: never ended.
        poll_s: seconds between two questions.

    Raises:
        Exception: what the job ended with, unless it was ended from here.
    """
    ended, finished = threading.Event(), threading.Event()

    def watch() -> None:
        while stop is not None and not finished.wait(poll_s):
            try:
                asked = stop()
            except OSError:  # the store did not answer; the job goes on, and so does the watch
                continue
            if asked:
                ended.set()
                result.cancel()
                return

    watcher = threading.Thread(target=watch, name="cancel", daemon=True)
    watcher.start()
    try:
        result.wait_until_finish()
    except RuntimeError:
        if not ended.is_set():  # an ended job says so by an error of its own
            raise
    finally:
        finished.set()
