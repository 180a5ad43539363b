"""What is known about each structure of a sample: its state."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """What a source says of one structure in one case, decided on the native label.

    Background is not a negative: a structure that nobody looked for is `UNKNOWN`, not `ABSENT`.
    """

    PRESENT = "present"
    """Looked for, and there."""
    ABSENT = "absent"
    """Looked for, and not there."""
    UNKNOWN = "unknown"
    """Nobody looked."""
    MERGED = "merged"
    """Inside a parent that was drawn instead: the left kidney where "kidneys" were painted."""
    PARTIAL = "partial"
    """Looked for within an extent only (box, slices or frames): outside it, nothing is known."""
    UNCERTAIN = "uncertain"
    """For annotations: the reader of the image would not say."""


LOOKED_FOR = frozenset({State.PRESENT, State.ABSENT})
"""States in which a voxel that is not the structure is known not to be it."""

IGNORE: Mapping[str, int] = MappingProxyType({"uint8": 255, "uint16": 65535})
"""What a voxel of a stored mask holds where its source makes no statement, by the number type of the mask.

It is the largest value of the type, which no palette gives to a structure. Such a voxel is neither a structure nor
background: a loss leaves it out, whatever label space was asked for. Causes: a value that the source's table ignores,
and voxels outside the part of the image that was looked at (state `partial`).
"""
