"""One label of a case: its masks, read one at a time and brought to its image's grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mdfp import geometry
from mdfp.sample import Grid
from schemas.case import CaseLabel
from schemas.label_table import LabelTable
from schemas.ontology.structures import BACKGROUND
from schemas.reasons import Reason
from transforms.labels.agreement import place
from transforms.labels.coded import IGNORED, Coded, label_map, structure_mask
from transforms.labels.layers import lay_over
from transforms.normalise.grid import OutputGrid
from transforms.normalise.shared_grid import SharedGrid
from transforms.rejected import Rejected
from transforms.volume import Volume, VoxelGrid

Mask = tuple[Volume | Callable[[], Volume], str | None]
"""A volume, or what reads it when its turn comes, and the structure it shows; None for a map of integers."""


class ImageOnGrid(Protocol):
    """What a label needs to know of its image, once that is normalised."""

    @property
    def canonical(self) -> VoxelGrid:
        """Where the image's voxels are with its axes along R, A, S, before resampling."""

    @property
    def grid(self) -> OutputGrid | SharedGrid:
        """Where its stored voxels lie."""


@dataclass(frozen=True, eq=False)
class LabelPart:
    """One label of a case.

    Attributes:
        case_label: what the inventory says of it.
        table: what its values mean.
        masks: one map of integers, or one mask a structure; read one at a time when they are given as functions.
        also_checked: structures that it speaks of though no mask shows them.
    """

    case_label: CaseLabel
    table: LabelTable
    masks: tuple[Mask, ...]
    also_checked: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class LabelOnGrid:
    """A label on its image's canonical grid, all its masks in one map.

    Attributes:
        coded: codes and their structures; voxels outside `box` are ignored.
        box: z0, y0, x0, z1, y1, x1 of the image's voxels that were looked at.
        partial: whether that is less than the image.
        offset_voxels: how far it lay from the image's lattice.
        native: the grid the source published; of the first mask, when there are several.
        checked: structures that it speaks of, whether or not they are there.
        several: whether it came as several masks, so that structures could overlap.
    """

    coded: Coded
    box: tuple[int, ...]
    partial: bool
    offset_voxels: float
    native: Grid
    checked: frozenset[str]
    several: bool


def read_part(part: LabelPart, image: ImageOnGrid) -> LabelOnGrid:
    """Read, place and remap the masks of a label.

    Memory: two masks as read, and where there are several masks or a part of the image was looked at, a map of codes.

    Raises:
        Rejected: UNMAPPED_LABEL, LABEL_NOT_INTEGER, LABEL_GRID, MISSING_LABEL, or whatever reading a mask raises.
    """
    table, name = part.table, part.case_label.image
    shape = image.canonical.shape_zyx
    boxes: list[tuple[int, ...]] = []
    offsets: list[float] = []
    published: list[Grid] = []

    def masks() -> Iterator[Coded]:
        for source, structure in part.masks:
            volume = source() if callable(source) else source
            placed = place(volume, image.canonical.affine_ras, shape, name)
            boxes.append(placed.box)
            offsets.append(placed.offset_voxels)
            published.append(published_grid(volume))
            if placed.box != boxes[0]:
                raise Rejected(
                    Reason.LABEL_GRID,
                    f"the masks of one label cover one box of {name!r}; found z0, y0, x0, z1, y1, x1 "
                    f"{boxes[0]} and {placed.box}",
                )
            if structure is None:
                yield label_map(placed.array_zyx, volume.scale, volume.offset, table)
            else:
                yield structure_mask(placed.array_zyx, volume.scale, volume.offset, structure, table)

    coded = lay_over(masks())
    if table.all_empty == "fault" and not any(coded.members.values()):
        raise Rejected(
            Reason.MISSING_LABEL,
            f"every voxel of the label is background, which the table {part.case_label.table!r} calls a fault",
        )
    of_maps = set(table.values.values()) if any(s is None for _, s in part.masks) else set()
    partial = boxes[0] != (0, 0, 0, *shape)
    return LabelOnGrid(
        coded=_embed(coded, boxes[0], shape) if partial else coded,
        box=boxes[0],
        partial=partial,
        offset_voxels=max(offsets),
        native=published[0],
        checked=frozenset(of_maps | {s for _, s in part.masks if s is not None} | part.also_checked) - {BACKGROUND},
        several=len(part.masks) > 1,
    )


def published_grid(volume: Volume) -> Grid:
    """The grid of a volume as read, for its record."""
    affine = np.asarray(volume.affine_ras, dtype=np.float64)
    return Grid(
        shape=tuple(int(n) for n in volume.shape_zyx),
        spacing_xyz_mm=geometry.spacing_xyz_mm(affine),
        orientation=geometry.orientation_code(affine),
        affine_ras=tuple(float(v) for v in affine.ravel()),
    )


def _embed(coded: Coded, box: tuple[int, ...], shape_zyx: tuple[int, int, int]) -> Coded:
    """The label in an array of its image's shape, ignored where it does not reach."""
    free = next(c for c in range(coded.codes + 1) if c not in coded.members)
    if free == 1 << 16:
        raise ValueError("65 536 codes leave none for what lies outside the label")
    codes = np.full(shape_zyx, free, dtype=np.uint8 if max(free, *coded.members) < 1 << 8 else np.uint16)
    codes[tuple(slice(a, b) for a, b in zip(box[:3], box[3:], strict=True))] = coded.codes_zyx
    outside = codes.size - coded.codes_zyx.size
    return Coded(codes, {**coded.members, free: frozenset({IGNORED})}, {**coded.counts, free: outside})
