"""One door for drawings: what a SEG or RTSTRUCT says of itself, and its masks on the image's grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.case import ArrayHeader
from schemas.recipe import Limits
from transforms.read import rtstruct, seg
from transforms.read.header import affine_of
from transforms.read.segment import SEG, Drawing, ImageGrid, Segment, format_of
from transforms.scratch import Bytes
from transforms.volume import Volume


@dataclass(frozen=True, eq=False)
class OpenedDrawing:
    """A SEG or RTSTRUCT and what draws its masks.

    Attributes:
        segments: what it describes, in its order.
        mask: number of a segment → (z, y, x), 1 inside; segments may overlap.
        label_map: what gives its numbers as one map, (z, y, x), where it is stored so; else None.
        background: the number of that map which is no segment.
    """

    segments: tuple[Segment, ...]
    mask: Callable[[int], npt.NDArray[np.uint8]]
    label_map: Callable[[], npt.NDArray[Any]] | None = None
    background: int = 0


def describe(data: Bytes, *, path: str, file_bytes: int) -> Drawing | None:
    """The header of a SEG or RTSTRUCT; None for any other file.

    Raises:
        Rejected: as `seg.describe` and `rtstruct.describe` do.
        HeaderCutError: `data` ends within the header; read more of the file.
    """
    form = format_of(data)
    if form is None:
        return None
    return (seg.describe if form == SEG else rtstruct.describe)(data, path=path, file_bytes=file_bytes)


def open_drawing(
    header: ArrayHeader, data: Bytes, limits: Limits, wanted: frozenset[int] | None = None
) -> OpenedDrawing:
    """A drawing on the grid that the inventory recorded for it: its image's.

    Args:
        header: of the label; its shape and affine are the image's, slices in the doctor's order.
        data: the file.
        limits: what an array may cost.
        wanted: numbers of the segments whose masks will be asked for; None: all.

    Raises:
        Rejected: as `seg.open_seg` and `rtstruct.open_structures` do.
    """
    z, y, x = header.shape
    grid = ImageGrid(affine_of(header), (z, y, x))
    if header.format == SEG:
        found = seg.open_seg(data, limits)
        seg.check_size(found, grid)
        if found.kind == "LABELMAP":
            return OpenedDrawing(
                found.segments,
                lambda n: (seg.label_map(found, grid) == n).astype(np.uint8),
                lambda: seg.label_map(found, grid),
                found.background[0],
            )
        return OpenedDrawing(found.segments, lambda n: seg.segment_mask(found, n, grid))
    structures = rtstruct.open_structures(data, wanted)
    return OpenedDrawing(structures.segments, lambda n: rtstruct.roi_mask(structures, n, grid))


def read_union(header: ArrayHeader, data: Bytes, limits: Limits, wanted: Sequence[int] | None = None) -> Volume:
    """Where a drawing shows any of its segments (or of those wanted), as one mask on its image's grid.

    Raises:
        Rejected: as `open_drawing` and the masks do.
    """
    opened = open_drawing(header, data, limits, None if wanted is None else frozenset(wanted))
    union = np.zeros(header.shape, np.uint8)
    for segment in opened.segments:
        if wanted is None or segment.number in wanted:
            union |= opened.mask(segment.number)
    return Volume(union, affine_of(header))
