"""What one process may have under way at a time, over all stores and threads: requests, and bytes they ask for."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

REQUESTS = 16
"""Requests of a process under way. Workers × 16 is what a bucket sees: S3 and GCS begin to throttle at some thousands
a second and prefix."""

PARALLEL_PARTS = 4
"""Pieces of one object under way at a time, of those."""

IN_FLIGHT_BYTES = 512 << 20
"""Bytes that requests under way may have asked for."""


class ByteBudget:
    """Counts bytes in and out; whoever would exceed the total waits. A single piece larger than that passes alone.

    Example:
        budget = ByteBudget(512 << 20)
        with budget.hold(len(part)):
            fetch(part)
    """

    def __init__(self, total: int):
        self._total = total
        self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, count: int) -> Iterator[None]:
        """Wait until `count` bytes are free, and keep them."""
        count = min(count, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= count)
            self._free -= count
        try:
            yield
        finally:
            with self._changed:
                self._free += count
                self._changed.notify_all()


class _Limits:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self.requests = threading.BoundedSemaphore(REQUESTS)
        self.bytes = ByteBudget(IN_FLIGHT_BYTES)


_limits = _Limits()


@contextmanager
def request(count: int = 0) -> Iterator[None]:
    """Wait for a place among the process's requests, for one that asks for `count` bytes."""
    global _limits
    if _limits.pid != os.getpid():
        _limits = _Limits()  # a forked child has none of its parent's requests
    limits = _limits
    # Always in this order, and nothing is waited for inside: no two holders can wait for each other.
    with limits.bytes.hold(count), limits.requests:
        yield
