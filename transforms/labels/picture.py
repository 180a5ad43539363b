"""Masks in picture files as a label: of a picture, or one for each slice of a volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mdfp.geometry import Affine
from schemas.case import CaseLabel
from schemas.label_table import LabelTable
from schemas.reasons import Reason
from transforms.flat import Flat
from transforms.labels.flat import FlatOnGrid
from transforms.labels.part import ImageOnGrid, LabelPart, Mask
from transforms.labels.pixels import meaning, numbers
from transforms.read.array import Blob
from transforms.read.header import affine_of
from transforms.rejected import Rejected
from transforms.volume import Volume

Pixels = Callable[[Blob], Flat]
"""Reads a mask's file."""


def picture_part(
    case_label: CaseLabel,
    table: LabelTable,
    blobs: Sequence[tuple[Blob, str | None]],
    pixels: Pixels,
    image: ImageOnGrid | None,
) -> LabelPart:
    """The label of a picture: one mask, or one for each structure, each read only when its turn comes.

    Args:
        case_label: what the inventory says of it.
        table: what its numbers or colours mean.
        blobs: its files, each with the structure that it shows, or None.
        pixels: reads one of them.
        image: its picture.

    Raises:
        Rejected: LABEL_GRID, its image is a volume or film; UNMAPPED_LABEL, a colour without a meaning; LABEL_NOT_INTEGER.
    """
    if not isinstance(image, FlatOnGrid):
        raise Rejected(
            Reason.LABEL_GRID,
            f"a mask in a picture file is of a picture; its image {case_label.image!r} is a volume or a film",
        )

    def reader(blob: Blob) -> Callable[[], Volume]:
        return lambda: image.plane(numbers(pixels(blob).array, table), case_label.image)

    masks: tuple[Mask, ...] = tuple((reader(blob), structure) for blob, structure in blobs)
    return LabelPart(case_label, meaning(table), masks)


def sliced_part(case_label: CaseLabel, table: LabelTable, blobs: Sequence[Blob], pixels: Pixels) -> LabelPart:
    """The label of a volume whose slices are masks in picture files, in the order of the volume's slices.

    Args:
        case_label: what the inventory says of it; the affine is that of its volume's slices.
        table: what its numbers or colours mean.
        blobs: the masks, first slice first.
        pixels: reads one of them.

    Raises:
        Rejected: as `picture_part`.
    """
    affine: Affine = affine_of(case_label.header)
    shape = case_label.header.shape

    def volume() -> Volume:
        stack: np.ndarray | None = None
        for z, blob in enumerate(blobs):
            plane = numbers(pixels(blob).array, table)
            if plane.shape != shape[1:]:
                raise Rejected(Reason.LABEL_GRID, f"a mask of {plane.shape} pixels (y, x), its slices have {shape[1:]}")
            if stack is None:
                stack = np.empty(shape, np.uint16)
            stack[z] = plane
        if stack is None or len(blobs) != shape[0]:
            raise Rejected(Reason.LABEL_GRID, f"{len(blobs)} masks for {shape[0]} slices")
        return Volume(stack, affine)

    return LabelPart(case_label, meaning(table), ((volume, None),))
