"""Labels of pictures: masks without a world, through the same steps as those of volumes.

A picture is taken for a volume of one plane. Its lattice is in whole numbers of a length that means nothing: along an axis
on which n pixels become m, a pixel is m long before and n long after, so that both cover n times m and every position is
exact. None of these lengths reaches a record: grids have no spacing, structures no mm³, boxes have y and x alone.

Rule for `longest_side`: a new pixel's coverage by each structure is counted over the very area from which the picture's
area filter makes its value, in whole numbers; then the vote of `transforms.labels.vote` decides. `nearest` and `thin` as for
volumes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp.sample import Grid, SampleLabel, StructureState
from schemas.reasons import Reason
from transforms.labels.account import RATIO, RATIO_FROM_VOXELS
from transforms.normalise.grid import OutputGrid
from transforms.normalise.taps import Taps, identity_taps
from transforms.rejected import Rejected
from transforms.volume import Volume, VoxelGrid


@dataclass(frozen=True, eq=False)
class FlatOnGrid:
    """What a label needs to know of its picture: `transforms.labels.part.ImageOnGrid` for one plane.

    Attributes:
        canonical: the picture as published, one plane.
        grid: the picture as stored.
    """

    canonical: VoxelGrid
    grid: OutputGrid

    @classmethod
    def of(cls, native_yx: tuple[int, int], stored_yx: tuple[int, int]) -> FlatOnGrid:
        """The lattices of a picture.

        Args:
            native_yx: rows and columns as published.
            stored_yx: as stored; none larger.
        """
        (rows, columns), (new_rows, new_columns) = native_yx, stored_yx
        before = np.diag([float(new_columns), float(new_rows), 1.0, 1.0])
        after = np.diag([float(columns), float(rows), 1.0, 1.0])
        # The first new centre lies half a new pixel from the edge, which is half an old one before the first old centre.
        after[0, 3], after[1, 3] = (columns - new_columns) / 2, (rows - new_rows) / 2
        taps = (identity_taps(1), area_taps(rows, new_rows), area_taps(columns, new_columns))
        spacing = (float(columns), float(rows), 1.0)
        grid = OutputGrid((1, new_rows, new_columns), spacing, after, taps, taps)
        return cls(VoxelGrid((1, rows, columns), before), grid)

    @property
    def native_yx(self) -> tuple[int, int]:
        """Rows and columns of the picture as published."""
        _, rows, columns = self.canonical.shape_zyx
        return rows, columns

    def plane(self, mask_yx: npt.NDArray[Any], image: str) -> Volume:
        """A mask on the picture's lattice.

        Args:
            mask_yx: as read.
            image: name of the picture, for the message.

        Raises:
            Rejected: LABEL_GRID, it is of another size.
        """
        check_size(mask_yx.shape, self.native_yx, image)
        return Volume(mask_yx[np.newaxis], self.canonical.affine_ras)


def check_size(mask_yx: Sequence[int], picture_yx: Sequence[int], image: str) -> None:
    """Refuse a mask that is not of its picture's size: nothing says where it would lie.

    Raises:
        Rejected: LABEL_GRID, with both sizes.
    """
    if tuple(mask_yx[:2]) != tuple(picture_yx[:2]):
        raise Rejected(
            Reason.LABEL_GRID,
            f"the mask has {mask_yx[1]}×{mask_yx[0]} pixels (x, y), its picture {image!r} "
            f"{picture_yx[1]}×{picture_yx[0]}",
        )


def area_taps(n: int, m: int) -> Taps:
    """Taps of an axis on which n pixels become m ≤ n: new pixel `v` is made of the area from v·n/m to (v+1)·n/m.

    Weights are whole numbers of an m-th of a pixel, as in `transforms.normalise.flat.shrink`.
    """
    if n == m:
        return identity_taps(n)
    v = np.arange(m, dtype=np.int64)
    top, bottom = v * n, (v + 1) * n
    width = int(((bottom + m - 1) // m - top // m).max())
    first = np.minimum(top // m, n - width)
    pixel = first[:, np.newaxis] + np.arange(width)
    low = np.maximum(top[:, np.newaxis], pixel * m)
    high = np.minimum(bottom[:, np.newaxis], (pixel + 1) * m)
    whole = np.maximum(high - low, 0)
    return Taps(first.astype(np.int32), whole / n, whole, False)


def flattened(
    made: Sequence[tuple[SampleLabel, npt.NDArray[Any]]], entries: Sequence[StructureState], image: FlatOnGrid
) -> tuple[list[tuple[SampleLabel, npt.NDArray[Any]]], tuple[StructureState, ...], list[str]]:
    """Layers (y, x), entries and warnings of a picture's label, without the plane and its lengths.

    Args:
        made: layers of one plane.
        entries: of the palette's structures.
        image: the picture.
    """
    native = Grid(image.native_yx, None, None, None)
    layers = [(dataclasses.replace(record, native=native), mask[0]) for record, mask in made]
    plain = tuple(
        dataclasses.replace(e, native_mm3=None, stored_mm3=None, box=_without_z(e.box), extent=_without_z(e.extent))
        for e in entries
    )
    return layers, plain, _warnings(plain, image)


def _without_z(box: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return None if box is None else (*box[1:3], *box[4:6])


def _warnings(entries: Sequence[StructureState], image: FlatOnGrid) -> list[str]:
    """Structures that vanished, and those whose area changed by more than `RATIO` allows."""
    (rows, columns), (_, new_rows, new_columns) = image.native_yx, image.grid.shape_zyx
    pixel = rows * columns / (new_rows * new_columns)  # native pixels of a stored one
    warnings = []
    for e in entries:
        if e.vanished:
            warnings.append(f"{e.structure} vanished: {e.native_voxels} native pixels, none stored")
        elif e.native_voxels and e.stored_voxels and e.native_voxels >= RATIO_FROM_VOXELS * pixel:
            ratio = e.stored_voxels * pixel / e.native_voxels
            if not RATIO[0] <= ratio <= RATIO[1]:
                warnings.append(f"{e.structure}: stored area is {ratio:.2f} of the native one")
    return warnings
