"""Trying again, and when not to.

Waits are drawn between half and all of their length, so that workers who were throttled together do not come back
together.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from transforms.stores.errors import may_pass

T = TypeVar("T")

LONGEST_WAIT_S = 20.0
"""Between two attempts."""

_again = 0
"""Attempts after the first, of all requests of this process, since they were last taken."""
_lock = threading.Lock()


def with_retries(action: Callable[[], T], *, attempts: int, first_wait_s: float = 0.5) -> T:
    """Run `action`; after an OSError that may pass wait, about twice as long each time, and run it again.

    Raises:
        OSError: the last one, after `attempts`; at once where it does not pass by waiting.
    """
    for attempt in range(1, attempts + 1):
        try:
            return action()
        except OSError as error:
            if attempt == attempts or not may_pass(error):
                raise
            wait(attempt, first_wait_s)
    raise ValueError(f"attempts must be at least 1, found {attempts}")


def take_count() -> int:
    """How often this process tried something again since the last call, for counters: throttling shows here first."""
    global _again
    with _lock:
        taken, _again = _again, 0
    return taken


def wait(attempt: int, first_wait_s: float) -> None:
    """Sleep after a failed attempt, the first being 1."""
    global _again
    with _lock:
        _again += 1
    time.sleep(min(LONGEST_WAIT_S, first_wait_s * 2 ** (attempt - 1)) * random.uniform(0.5, 1))
