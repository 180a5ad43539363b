"""Parts of a compressed array: each block that several boxes touch is decoded once, and used while it is in the cache.

Crops of one volume overlap, and a block is decoded whole however little of it a crop takes: 96³ crops at random places of a
200×273×273 volume touch 2.3 times their voxels in blocks of 32³ when they are decoded one by one, 1.7 times when four are
decoded together, 1.25 times when eight are.

    boxes        blocks        runs
    ┌─────┐      ┌─┬─┬─┬─┐     a run lies within one block along every axis but the last two, and holds no block
    │  ┌──┼──┐   │a│a│ │ │     that nobody asked for; those of equal extent, one below the other, are one run
    └──┼──┘  │   │b│b│b│b│     (a and d are one each, b another)
       └─────┘   │ │d│d│d│
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Box = tuple[int, ...]
"""Lower corner, then upper corner, ends exclusive."""

Slices = tuple[slice, ...]

RUN_VOXELS = 2**18
"""A run of more blocks than one is no larger, so that what is decoded is still in a core's own cache when it is copied."""


class Share(NamedTuple):
    """What a box gets of a run."""

    box: int
    """Number of the box."""
    here: Slices
    """Where it lies in the run."""
    there: Slices
    """Where it goes in the box."""


class Run(NamedTuple):
    """A part to decode in one call."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    shares: tuple[Share, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(b - a for a, b in zip(self.low, self.high, strict=True))


@lru_cache(maxsize=8)  # image and label of a visit ask alike
def runs(blocks: tuple[int, ...], boxes: tuple[Box, ...]) -> tuple[Run, ...]:
    """How to decode boxes so that no block is decoded twice, and none that no box touches.

    Args:
        blocks: shape of a block.
        boxes: parts of the array, none of them empty.
    """
    found: list[_Cell] = []
    last: dict[tuple[int, ...], _Cell] = {}
    for cell in _cells(blocks, boxes, tuple(range(len(boxes))), [], []):
        above = last.get(cell[2])
        if above is not None and _continues(above, cell):
            above[1][-2] = cell[1][-2]
        else:
            last[cell[2]] = cell
            found.append(cell)
    return tuple(_run(*cell, boxes) for cell in found)


_Cell = tuple[list[int], list[int], tuple[int, ...]]
"""Lower corner, upper corner, the boxes that want some of it."""


def _cells(
    blocks: tuple[int, ...], boxes: Sequence[Box], members: tuple[int, ...], low: list[int], high: list[int]
) -> Iterator[_Cell]:
    """Parts within one block along every axis but the last, cut to what the boxes want of them."""
    axis, n = len(low), len(blocks)
    edge = blocks[axis]
    spans = {m: (boxes[m][axis], boxes[m][axis + n]) for m in members}
    if axis == n - 1:
        for start, stop, group in _joined(edge, spans):
            yield [*low, start], [*high, stop], group
        return
    first = min(start for start, _ in spans.values())
    for a in range(first - first % edge, max(stop for _, stop in spans.values()), edge):
        here = tuple(m for m, (start, stop) in spans.items() if start < a + edge and stop > a)
        if here:
            bottom = max(a, min(spans[m][0] for m in here))
            top = min(a + edge, max(spans[m][1] for m in here))
            yield from _cells(blocks, boxes, here, [*low, bottom], [*high, top])


def _joined(edge: int, spans: dict[int, tuple[int, int]]) -> list[tuple[int, int, tuple[int, ...]]]:
    """(start, stop, boxes): spans along an axis, joined where they share a block."""
    found: list[tuple[int, int, tuple[int, ...]]] = []
    for start, stop, m in sorted((start, stop, m) for m, (start, stop) in spans.items()):
        if found and start // edge < -(-found[-1][1] // edge):
            first, last, group = found[-1]
            found[-1] = (first, max(last, stop), (*group, m))
        else:
            found.append((start, stop, (m,)))
    return found


def _continues(above: _Cell, cell: _Cell) -> bool:
    """Whether a run of the same boxes goes on in the next cell of the last axis but one."""
    (low, high, _), (next_low, next_high, _) = above, cell
    if len(low) < 2 or high[-2] != next_low[-2] or low[-1] != next_low[-1] or high[-1] != next_high[-1]:
        return False
    if low[:-2] != next_low[:-2] or high[:-2] != next_high[:-2]:
        return False
    voxels = next_high[-2] - low[-2]
    for axis in (*range(len(low) - 2), len(low) - 1):
        voxels *= high[axis] - low[axis]
    return voxels <= RUN_VOXELS


def _run(low: list[int], high: list[int], members: tuple[int, ...], boxes: Sequence[Box]) -> Run:
    shares = []
    for m in members:
        box, here, there = boxes[m], [], []
        for axis, (bottom, top) in enumerate(zip(low, high, strict=True)):
            first, start, stop = box[axis], max(box[axis], bottom), min(box[axis + len(low)], top)
            here.append(slice(start - bottom, stop - bottom))
            there.append(slice(start - first, stop - first))
        shares.append(Share(m, tuple(here), tuple(there)))
    return Run(tuple(low), tuple(high), tuple(shares))


Change = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
"""What is done to the numbers of a run, once, whoever they go to."""


def pieces(
    array: Any, boxes: Sequence[Box], change: Change | None = None
) -> Iterator[tuple[int, Slices, npt.NDArray[Any]]]:
    """The contents of boxes, piece by piece: (number of the box, where in the box, the numbers there).

    A piece is overwritten when the next one is asked for. Memory: one run, at most the larger of `RUN_VOXELS` and a row
    of blocks through the volume.

    Args:
        array: a lazy blosc2 array.
        boxes: parts within it, none of them empty.
        change: applied to each run; what it returns has the run's shape.

    Raises:
        RuntimeError: a block does not decode.
    """
    plan = runs(array.blocks, tuple(boxes))
    buffer = np.empty(max((math.prod(run.shape) for run in plan), default=0), dtype=array.dtype)
    for run in plan:
        numbers = buffer[: math.prod(run.shape)].reshape(run.shape)
        # What slicing calls in the end, without 50 µs of looking at kinds of indices first.
        array.get_slice_numpy(numbers, (run.low, run.high))
        if change is not None:
            numbers = change(numbers)
        for share in run.shares:
            yield share.box, share.there, numbers[share.here]
