"""Beam: references to work as the first elements of a graph, small enough for any engine to be sent."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

PER_BLOCK = 2_000
"""References that are compressed together."""


@dataclass
class References(beam.PTransform):
    """Row numbers, or other small values, in the order given.

    They are part of the graph that an engine is sent: packed there, and unpacked by the first worker. `beam.Create` would
    send each as an element of its own, several times as large. What follows spreads them.

    Attributes:
        values: what can be pickled; of types that workers can import.
    """

    values: Sequence[Any]

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        """One step."""
        return begin | "Start" >> beam.Impulse() | "Unpack" >> beam.ParDo(_UnpackFn(packed(self.values)))


class _UnpackFn(beam.DoFn):
    """Holds the packed values, and gives them."""

    def __init__(self, blocks: list[bytes]):
        self._blocks = blocks

    def process(self, start: bytes) -> Iterator[Any]:
        for block in self._blocks:
            yield from unpacked(block)


def packed(values: Sequence[Any]) -> list[bytes]:
    """Values in compressed blocks."""
    return [
        zlib.compress(pickle.dumps(list(values[n : n + PER_BLOCK]), protocol=5), 9)
        for n in range(0, len(values), PER_BLOCK)
    ]


def unpacked(block: bytes) -> Iterable[Any]:
    """The values of a block."""
    return list(pickle.loads(zlib.decompress(block)))
