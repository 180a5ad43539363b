"""What workers tell, brought to where this command was called from."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from mdfp.errors import UsageError
from transforms.event_log import FORMATS, Format

VARIABLE = "MDFP_LOG_FORMAT"
"""off, text or json. Where it is not set, workers of an engine elsewhere tell in JSON and local ones nothing."""

POLL_S = 0.2


def log_format(*, local: bool) -> Format:
    """The format that was asked for, or the usual one.

    Args:
        local: whether workers are processes of this machine.

    Raises:
        UsageError: the variable names no format.
    """
    given = os.environ.get(VARIABLE)
    if given is None or not given:
        return "off" if local else "json"
    for known in FORMATS:
        if given == known:
            return known
    raise UsageError(f"{VARIABLE}={given}: expected one of {', '.join(FORMATS)}")


@contextlib.contextmanager
def following(file: Path, show: Callable[[str], None]) -> Iterator[None]:
    """While the body runs, show each line that somebody appends to a file; the last ones when it ends.

    Args:
        file: local; need not be there yet.
        show: called with each line.
    """
    stop = threading.Event()

    def loop() -> None:
        rest = b""
        position = 0
        last = False
        while not last:
            last = stop.wait(POLL_S)
            try:
                with file.open("rb") as stream:
                    stream.seek(position)
                    rest += stream.read()
                    position = stream.tell()
            except FileNotFoundError:
                continue
            *lines, rest = rest.split(b"\n")
            for line in lines:
                show(line.decode(errors="replace"))

    thread = threading.Thread(target=loop, name="log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
