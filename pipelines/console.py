"""What people see while a command runs: progress, one-line results, errors. Machines ask for `--json`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

POLL_S = 0.5
"""How often a progress display looks."""

WIDE = 200
"""Characters of a line of a table that goes to a file or another program, where nothing says how wide it may be."""

LOG_EVERY_S = 15.0
"""Without a terminal (a log file, CI) a line is printed this often at most."""


def _width() -> int | None:
    """Of standard output; None where rich finds it out."""
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE


@dataclass
class Console:
    """Where messages go. Results go to standard output; progress and remarks to standard error.

    Attributes:
        as_json: one JSON object at the end instead of text for people.
        quiet: no progress.
    """

    as_json: bool = False
    quiet: bool = False
    _err: RichConsole = field(
        default_factory=lambda: RichConsole(file=_own_stderr(), highlight=False, soft_wrap=True, markup=False)
    )
    _out: RichConsole = field(default_factory=lambda: RichConsole(highlight=False, soft_wrap=True, width=_width()))

    def say(self, text: str = "") -> None:
        """A line of result for people; nothing with `--json`."""
        if not self.as_json:
            self._out.print(text, markup=False)

    def table(self, table: Any) -> None:
        """A rich table of results for people."""
        if not self.as_json:
            self._out.print(table)

    def remark(self, text: str) -> None:
        """A line beside the results: a warning, a hint."""
        if not self.quiet:
            self._err.print(text, markup=False, style="yellow")

    def log(self, line: str) -> None:
        """A line of a log as it is, to standard error; with `--quiet` too, because somebody asked for it."""
        self._err.file.write(line + "\n")
        self._err.file.flush()

    def error(self, text: str) -> None:
        """What went wrong, and the remedy."""
        self._err.print(f"error: {text}", markup=False, style="bold red")

    def result(self, content: dict[str, Any]) -> None:
        """The result for machines: one line of JSON, printed with `--json` only."""
        if self.as_json:
            sys.stdout.write(json.dumps(content, sort_keys=True) + "\n")
            sys.stdout.flush()

    @contextlib.contextmanager
    def progress(self, title: str, total: int, count: Callable[[], int]) -> Iterator[None]:
        """Show how far `count()` of `total` is while the body runs.

        A bar on a terminal; elsewhere a line now and then, so that a log stays readable.
        """
        if self.quiet or total == 0:
            yield
        elif self._err.is_terminal:
            with self._bar(title, total, count):
                yield
        else:
            with self._lines(title, total, count):
                yield

    @contextlib.contextmanager
    def _bar(self, title: str, total: int, count: Callable[[], int]) -> Iterator[None]:
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=self._err) as bar:
            task = bar.add_task(title, total=total)
            with _polling(lambda: bar.update(task, completed=min(total, count()))):
                yield

    @contextlib.contextmanager
    def _lines(self, title: str, total: int, count: Callable[[], int]) -> Iterator[None]:
        start = last = time.monotonic()

        def look() -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= LOG_EVERY_S:
                last = now
                done = min(total, count())
                left = f", about {(now - start) / done * (total - done):.0f} s left" if done else ""
                self._err.print(f"{title}: {done} of {total} after {now - start:.0f} s{left}", markup=False)

        with _polling(look):
            yield


def _own_stderr() -> IO[str]:
    """A copy of standard error that stays where it is when the original is turned away (see `pipelines.runner`)."""
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, encoding="utf-8")
    except (OSError, ValueError):  # no file behind it: a test that captures output
        return sys.stderr


@contextlib.contextmanager
def _polling(look: Callable[[], None]) -> Iterator[None]:
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(POLL_S):
            look()

    thread = threading.Thread(target=loop, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        look()


def megabytes(size: float) -> str:
    """A size for people: 12 MB, 3.4 GB."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"


def duration(seconds: float) -> str:
    """A time for people: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
