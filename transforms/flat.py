"""A picture, or a film of pictures, in memory: pixels, what their numbers mean, and no world around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

FLAT_AXES = ("yx", "yxc", "tyx", "tyxc")
"""Axes of what is no volume: y rows from the top, x columns from the left, c channels, t frames."""


def is_flat(axes: str) -> bool:
    """Whether an array with these axes is a picture or a film."""
    return axes in FLAT_AXES


@dataclass(frozen=True, eq=False)
class Flat:
    """Pixels as a file of its kind shows them: rows from the top, columns from the left.

    Attributes:
        array: axes as named, unsigned integers of 8 or 16 bits. Two channels are grey and alpha, three RGB, four RGBA.
        axes: one of `FLAT_AXES`.
        spacing_xy_mm: mm between pixel centres along x and y, at the patient; None where the file says nothing of it.
        scale: physical = stored * scale + offset.
        offset: see scale.
        window: physical values that the file wants shown as black and white (VOI), or None.
        top: the largest stored value that its bits can hold: 255, 1023, 65535.
        frame_time_ms: between frames of a film, where the file says.
        jpeg: the file's own JPEG stream without metadata, where it decodes to exactly this array; else None.
        done: what reading changed, for the sample's record.
    """

    array: npt.NDArray[Any]
    axes: str
    spacing_xy_mm: tuple[float, float] | None = None
    scale: float = 1.0
    offset: float = 0.0
    window: tuple[float, float] | None = None
    top: int = 255
    frame_time_ms: float | None = None
    jpeg: bytes | None = None
    done: tuple[str, ...] = ()
