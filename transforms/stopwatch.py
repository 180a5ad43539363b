"""Where the time of a worker goes: seconds per stage, each second counted once however stages are nested."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

STAGES = ("fetch", "decode", "normalise", "encode", "upload")
"""What a build spends its time on. Fetching goes on beside the others."""


class Stopwatch:
    """Adds up wall seconds by stage, over the threads of one process.

    Example:
        watch = Stopwatch()
        with watch.measure("normalise"), watch.measure("decode"):
            ...  # all of it is decode: an inner stage's time is not the outer one's
        watch.take()  # {"decode": 1.2, "normalise": 0.0}
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._nested = threading.local()

    @contextlib.contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count the body's time for `stage`, less what stages measured inside it take."""
        stack: list[float] = self._nested.__dict__.setdefault("stack", [])
        stack.append(0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            total = time.perf_counter() - start
            inner = stack.pop()
            if stack:
                stack[-1] += total
            with self._lock:
                self._seconds[stage] = self._seconds.get(stage, 0.0) + total - inner

    def take(self) -> dict[str, float]:
        """Seconds by stage since the last call; counting starts anew."""
        with self._lock:
            taken, self._seconds = self._seconds, {}
        return taken
