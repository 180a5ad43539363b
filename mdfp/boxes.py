"""Boxes of voxels: lower corner, then upper corner, which is exclusive, in the order of an array's axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp.pieces import Box


def whole(shape: tuple[int, ...]) -> Box:
    """The box of a volume."""
    return (*(0 for _ in shape), *shape)


def spread(box: Box, frames: tuple[int, int]) -> Box:
    """A box of one time point at several: from the first of `frames` to before the second."""
    n = len(box) // 2
    return (frames[0], *box[:n], frames[1], *box[n:])


def at_one_time(box: Box, axes: int) -> Box:
    """A box of an array of so many axes, time first, without time; a box without it as it is."""
    return box if len(box) < 2 * axes else (*box[1:axes], *box[axes + 1 :])


def shape_of(box: Box) -> tuple[int, ...]:
    """Shape of the part in a box."""
    n = len(box) // 2
    return tuple(b - a for a, b in zip(box[:n], box[n:], strict=True))


def empty(boxes: Sequence[Box], dtype: np.dtype[Any]) -> list[npt.NDArray[Any]]:
    """Room for the parts in some boxes, not filled."""
    return [np.empty(shape_of(box), dtype=dtype) for box in boxes]
