"""Beam: references to work as the first elements of a graph, small enough for any engine to be sent."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

PER_BLOCK = 2_000
"""References that travel as one element. A job request may hold 10 MB in all; 200,000 row numbers are half a megabyte."""


@dataclass
class References(beam.PTransform):
    """Row numbers, or other small values, in the order given.

    They are part of the graph that an engine is sent, so they are packed there and unpacked by the first worker.

    Attributes:
        values: what can be pickled; of types that workers can import.
    """

    values: Sequence[Any]

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        """Two steps: the packed blocks, and what is in them."""
        return begin | "Packed" >> beam.Create(packed(self.values)) | "Unpack" >> beam.FlatMap(unpacked)


def packed(values: Sequence[Any]) -> list[bytes]:
    """Values in compressed blocks."""
    return [
        zlib.compress(pickle.dumps(list(values[n : n + PER_BLOCK]), protocol=5), 9)
        for n in range(0, len(values), PER_BLOCK)
    ]


def unpacked(block: bytes) -> Iterable[Any]:
    """The values of a block."""
    return list(pickle.loads(zlib.decompress(block)))
