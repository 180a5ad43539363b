"""A count that several local processes add to and one watches: the number of cases done so far.

For a progress display on one machine only. Progress of a run elsewhere is the number of commit markers.
"""

from __future__ import annotations

import os
from pathlib import Path


class Ticks:
    """One byte appended to a file of this process for each tick; the sum of the files' sizes is the count."""

    def __init__(self, folder: str | Path):
        self._folder = Path(folder)

    def tick(self) -> None:
        """Add one. A display is not worth failing for: a folder that is gone is passed over."""
        try:
            handle = os.open(self._folder / f"{os.getpid()}.ticks", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        except FileNotFoundError:
            return
        try:
            os.write(handle, b".")
        finally:
            os.close(handle)

    def count(self) -> int:
        """Ticks of all processes so far."""
        return sum(f.stat().st_size for f in self._folder.glob("*.ticks"))
