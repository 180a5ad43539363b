"""Pictures of the world's people, and the same pictures as another data set publishes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from examples.phantom.anatomy import Draws, Person
from examples.phantom.scan import ScanGrid, inside, render, scan_grid
from examples.phantom.variations import ORIENTATIONS, cropped, respaced, turned
from examples.world.people import Somebody, somebody
from transforms.volume import Volume

VOXELS_RAS = (64, 56, 60)
"""Voxels of a scan along R, A, S: about 3.5 mm of a torso."""


@dataclass(frozen=True)
class Scan:
    """An examination: who, and which one of theirs."""

    person: str
    visit: int = 0

    @property
    def name(self) -> str:
        """Names it in the truth; equal for all copies."""
        return f"{self.person}/{self.visit}"

    def who(self) -> Somebody:
        """The person as of that day."""
        return somebody(self.person, self.visit)


def taken(who: Somebody, scan: Scan, orientation: str, tissue: str = "CT") -> Volume:
    """The picture as its own data set has it: int16, HU or the MR's numbers (`CT`, `MR`)."""
    spacing = [round(e / n, 4) for e, n in zip(who.extent_ras_mm, VOXELS_RAS, strict=True)]
    middle = who.body.centre_ras_mm
    grid = scan_grid(middle, who.extent_ras_mm, (spacing[0], spacing[1], spacing[2]), "LPS")
    numbers = who.numbers[tissue]
    hu = render(who.body, grid, numbers, seed=f"world {scan.name}", floor=-1024 if tissue == "CT" else 0)
    return _oriented(Volume(hu, grid.affine_ras), orientation)


def rewritten(volume: Volume, draws: Draws, orientation: str | None) -> Volume:
    """The picture as somebody else publishes it: cropped, re-spaced and turned.

    Up to 4 % of the slices and 2 columns or rows are cut off at each side, spacings are multiplied by 0.8 to 1.3, each
    axis by its own factor; one in four keeps its grid, and one in four its size.

    Args:
        volume: as first published.
        draws: what is done.
        orientation: where the stored axes point; None: any of the 48 ways.
    """
    kind = draws.uniform(0, 1)
    if kind >= 0.25:
        per_axis = ((volume.shape_zyx[0] * 4) // 100, 2, 2)
        cuts = [tuple(round(draws.uniform(0, most)) for most in per_axis) for _ in range(2)]
        volume = cropped(volume, cuts[0], cuts[1])
    if kind >= 0.5:
        volume = respaced(volume, [draws.uniform(0.8, 1.3) for _ in range(3)])
    return _oriented(volume, orientation or ORIENTATIONS[int(draws.uniform(0, len(ORIENTATIONS)))])


def _oriented(volume: Volume, orientation: str) -> Volume:
    """Stored axes x, y, z turned to point where `orientation` says."""
    world = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
    affine = volume.affine_ras
    at = {int(np.argmax(np.abs(affine[:3, c]))): c for c in range(3)}  # world axis -> stored axis x, y, z
    order, reverse = [], []
    for letter in reversed(orientation):
        column = at[world[letter]]
        order.append(2 - column)
        forwards = affine[world[letter], column] > 0
        reverse.append(forwards != (letter in "RAS"))
    return turned(volume, order, reverse)


def grid_of(volume: Volume) -> ScanGrid:
    """Where the voxels lie, for drawing on them."""
    return ScanGrid(volume.shape_zyx, volume.affine_ras)


def seen(body: Person, grid: ScanGrid) -> Person:
    """The person with those organs alone of which a voxel's centre lies in the picture."""
    there = {s: o for s, o in body.organs.items() if not s.startswith("clutter") and inside(o, grid)[1].any()}
    return Person(body.name, body.centre_ras_mm, body.torso_mm, body.muscle_mm, there)


def frontal(volume: Volume) -> npt.NDArray[np.uint8]:
    """A radiograph: the mean along A of a picture in LPS, head up, rows from top to bottom."""
    mean = volume.array_zyx.astype(np.int32).sum(axis=1)[::-1] // volume.shape_zyx[1]
    low, high = int(mean.min()), int(mean.max())
    grey: npt.NDArray[np.uint8] = ((mean - low) * 255 // max(1, high - low)).astype(np.uint8)
    return grey
