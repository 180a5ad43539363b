"""Steps of the engines' small jobs: they live in a module that workers can import, and leave a trace of every call."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import apache_beam as beam
from apache_beam.metrics import Metrics

from mdfp.errors import MdfpError


class BrokenError(MdfpError, OSError):
    """What a worker raises on purpose."""


def trace(folder: str, step: str, element: object) -> None:
    """Add a call of a step to the list."""
    handle = os.open(Path(folder) / step, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{element} {os.getpid()}\n".encode())
    os.close(handle)


def calls(folder: Path, step: str) -> list[str]:
    """Elements that a step was called with, again when it was called again."""
    return [line.split()[0] for line in (folder / step).read_text().splitlines()]


class Sort(beam.DoFn):
    """Numbers → pairs to group, and odd ones beside: the shape of the inventory's graph, whose outputs go two ways."""

    ODD = "odd"

    def __init__(self, folder: str, fails_once: frozenset[int] = frozenset()):
        self._folder = folder
        self._fails_once = fails_once
        self._seen = Metrics.counter("Jobs", "seen")

    def process(self, number: int) -> Iterator[object]:
        """Count, trace, sort."""
        trace(self._folder, "Sort", number)
        if number in self._fails_once and _first_time(self._folder, number):
            raise BrokenError(f"{number}: the first attempt fails; try another")
        self._seen.inc()
        sys.stdout.write(
            "nobody reads this, and it must not block: " + "." * 4096
        )  # 40 of these are more than a pipe holds
        if number % 2:
            yield beam.pvalue.TaggedOutput(self.ODD, number)
        else:
            yield number % 10, number


def _first_time(folder: str, number: int) -> bool:
    try:
        os.close(os.open(Path(folder) / f"failed-{number}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


class Collect(beam.DoFn):
    """Groups → their sums, and odd numbers as they are, written under a name of their own."""

    def __init__(self, folder: str):
        self._folder = folder

    def process(self, element: tuple[int, Iterable[int]]) -> Iterator[int]:
        """Write what came together."""
        key, numbers = element
        trace(self._folder, "Collect", key)
        total = sum(numbers)
        (Path(self._folder) / f"sum-{key}").write_text(str(total))
        Metrics.counter("Jobs", "groups").inc()
        yield total


def keyed(number: int) -> tuple[int, int]:
    """Odd numbers as groups."""
    return number % 10, number


def build(pipeline: beam.Pipeline, folder: str, count: int, fails_once: frozenset[int] = frozenset()) -> None:
    """The whole job: spread, sort two ways, group, collect."""
    sorted_ = (
        pipeline
        | "Numbers" >> beam.Create(list(range(count)))
        | "Spread" >> beam.Reshuffle()
        | "Sort" >> beam.ParDo(Sort(folder, fails_once)).with_outputs(Sort.ODD, main="even")
    )
    odd = sorted_[Sort.ODD] | "KeyOdd" >> beam.Map(keyed)
    (
        (sorted_.even, odd)
        | "Both" >> beam.Flatten()
        | "Group" >> beam.GroupByKey()
        | "Collect" >> beam.ParDo(Collect(folder))
    )
