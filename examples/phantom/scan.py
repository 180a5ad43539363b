"""Take a picture of a phantom person: a grid of voxels, what each holds, and which structure its centre lies in.

A voxel takes the value at its centre; there is no partial volume. Noise and texture are integers made from PCG64's raw
output, everything else is written-out IEEE arithmetic, so a scan has the same numbers on every CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from examples.phantom.anatomy import Draws, Ellipsoid, Person, Point
from mdfp import geometry

Mask = npt.NDArray[np.bool_]
Box = tuple[slice, slice, slice]

CT_HU: Mapping[str, int] = {
    "air": -1000, "fat": -95, "muscle": 50,
    "lung_left": -820, "lung_right": -820, "liver": 105, "spleen": 120, "stomach": 15, "kidney_left": 175,
    "kidney_right": 175, "aorta": 210, "vertebra_t12": 330, "vertebra_l1": 330, "vertebra_l2": 330,
    "gallbladder": 8, "liver_tumour": 60,
}  # fmt: skip
"""HU of a portal-venous CT."""

MR_INTENSITY: Mapping[str, int] = {
    "air": 20, "fat": 1050, "muscle": 260,
    "lung_left": 40, "lung_right": 40, "liver": 430, "spleen": 780, "stomach": 620, "kidney_left": 930,
    "kidney_right": 930, "aorta": 90, "vertebra_t12": 540, "vertebra_l1": 540, "vertebra_l2": 540,
    "gallbladder": 1300, "liver_tumour": 700,
}  # fmt: skip
"""Arbitrary numbers of a T2-weighted MR."""

_WORLD_AXIS = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}

_TEXTURE_STEP = 8
"""Voxels between the knots of the texture; a power of two, so that interpolating it stays in integers."""


@dataclass(frozen=True, eq=False)
class ScanGrid:
    """Where the voxels of a scan lie.

    Attributes:
        shape_zyx: voxels along z, y, x as stored.
        affine_ras: 4×4, index (x, y, z) → mm, RAS.
    """

    shape_zyx: tuple[int, int, int]
    affine_ras: geometry.Affine

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        x, y, z = geometry.spacing_xyz_mm(self.affine_ras)
        return x * y * z

    def index_of(self, point_ras_mm: Point) -> tuple[float, float, float]:
        """Fractional index (x, y, z) of a world position. The axes are at right angles, so no matrix is inverted."""
        a = self.affine_ras
        rest = [p - float(o) for p, o in zip(point_ras_mm, a[:3, 3], strict=True)]
        x, y, z = (
            sum(float(a[r, c]) * rest[r] for r in range(3)) / sum(float(a[r, c]) ** 2 for r in range(3))
            for c in range(3)
        )
        return x, y, z

    def position_of(self, index_xyz: tuple[float, float, float]) -> Point:
        """World position in mm of a voxel index, which may be fractional."""
        x, y, z = (float(v) for v in geometry.apply(self.affine_ras, index_xyz))
        return x, y, z


def scan_grid(
    middle_ras_mm: Point, extent_ras_mm: Point, spacing_ras_mm: Point, orientation: str, tilt: Point = (0.0, 0.0, 0.0)
) -> ScanGrid:
    """A grid around a point.

    Args:
        middle_ras_mm: world position of its middle.
        extent_ras_mm: what it must cover along R, A, S before tilting.
        spacing_ras_mm: spacing of the axes closest to R, A, S.
        orientation: directions the stored x, y, z axes point to before tilting, for example "PIR".
        tilt: tangents of half the angles of three rotations, about R, then A, then S. Tangents and not angles because
            sine and cosine of them need no transcendental function.
    """
    axes = [_WORLD_AXIS[letter] for letter in orientation]
    signs = [1.0 if letter in "RAS" else -1.0 for letter in orientation]
    direction = np.zeros((3, 3))
    for column, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        direction[axis, column] = sign
    for about, half_tangent in enumerate(tilt):
        direction = _turned(direction, about, half_tangent)
    spacing = [spacing_ras_mm[a] for a in axes]
    shape_xyz = [round(extent_ras_mm[a] / spacing_ras_mm[a]) for a in axes]
    to_corner = [sum(float(direction[r, c]) * spacing[c] * (shape_xyz[c] - 1) / 2 for c in range(3)) for r in range(3)]
    origin = [m - t for m, t in zip(middle_ras_mm, to_corner, strict=True)]
    x, y, z = shape_xyz
    return ScanGrid((z, y, x), geometry.compose(direction, spacing, origin))


def _turned(direction: npt.NDArray[np.float64], about: int, half_tangent: float) -> npt.NDArray[np.float64]:
    cosine = (1 - half_tangent**2) / (1 + half_tangent**2)
    sine = 2 * half_tangent / (1 + half_tangent**2)
    first, second = ((1, 2), (2, 0), (0, 1))[about]
    turned = direction.copy()
    turned[first] = cosine * direction[first] - sine * direction[second]
    turned[second] = sine * direction[first] + cosine * direction[second]
    return turned


def inside(organ: Ellipsoid, grid: ScanGrid) -> tuple[Box, Mask]:
    """Voxels whose centres lie in the organ: a box of the stored array (z, y, x), and a mask of that box."""
    spacing = geometry.spacing_xyz_mm(grid.affine_ras)
    direction = geometry.direction(grid.affine_ras)
    middle = grid.index_of(organ.centre_ras_mm)
    slices = []
    for axis in range(3):
        reach = sum(abs(float(direction[r, axis])) * organ.semi_axes_mm[r] for r in range(3)) / spacing[axis]
        n = grid.shape_zyx[2 - axis]
        low = min(max(int(np.floor(middle[axis] - reach)), 0), n)
        high = min(max(int(np.ceil(middle[axis] + reach)) + 1, low), n)
        slices.append(slice(low, high))
    box = (slices[2], slices[1], slices[0])
    distance = np.zeros((1, 1, 1))
    for r in range(3):
        from_middle = _world(grid, box, r) - organ.centre_ras_mm[r]
        distance = distance + (from_middle / organ.semi_axes_mm[r]) ** 2
    shape = tuple(s.stop - s.start for s in box)
    return box, np.broadcast_to(distance <= 1.0, shape)


def _world(grid: ScanGrid, box: Box, axis: int) -> npt.NDArray[np.float64]:
    """World coordinate along R, A or S of a box's voxel centres, broadcastable to (z, y, x)."""
    row = grid.affine_ras[axis]
    world = np.full((1, 1, 1), row[3])
    for column in range(3):
        if row[column] != 0.0:
            s = box[2 - column]
            shape = [1, 1, 1]
            shape[2 - column] = -1
            world = world + (row[column] * np.arange(s.start, s.stop)).reshape(shape)
    return world


def render(body: Person, grid: ScanGrid, values: Mapping[str, int], *, seed: str, floor: int) -> npt.NDArray[np.int16]:
    """The picture, (z, y, x) as stored.

    Args:
        body: who is scanned.
        grid: where the voxels lie.
        values: number of each tissue (`CT_HU` or `MR_INTENSITY`).
        seed: names the scan; two scans of one person differ in their noise.
        floor: no voxel is lower.
    """
    z, y, x = grid.shape_zyx
    whole = (slice(0, z), slice(0, y), slice(0, x))
    picture = np.full(grid.shape_zyx, values["air"], dtype=np.int16)
    across, deep = (_world(grid, whole, axis) - body.centre_ras_mm[axis] for axis in range(2))
    for tissue, (a, b) in (("fat", body.torso_mm), ("muscle", body.muscle_mm)):
        picture[np.broadcast_to((across / a) ** 2 + (deep / b) ** 2 <= 1.0, picture.shape)] = values[tissue]
    for structure, organ in body.organs.items():
        box, mask = inside(organ, grid)
        picture[box][mask] = values[structure]
    draws = Draws(f"noise {seed}")
    picture += _texture(draws, grid.shape_zyx)
    picture += _noise(draws, grid.shape_zyx)
    return np.maximum(picture, np.int16(floor))


def _noise(draws: Draws, shape: tuple[int, int, int]) -> npt.NDArray[np.int16]:
    """White noise of mean 0 and a standard deviation of 6.5: the sum of two bytes, a triangle from -16 to 16."""
    n = shape[0] * shape[1] * shape[2]
    raw = np.asarray(draws.bits.random_raw((n + 3) // 4)).astype("<u8").view("<u2")[:n]
    both = (raw >> 8).astype(np.int16) + (raw & 255).astype(np.int16)
    return ((both - 247) >> 4).reshape(shape)  # 255 - 8: the shift rounds down, by a half of 16 on average


def _texture(draws: Draws, shape: tuple[int, int, int]) -> npt.NDArray[np.int16]:
    """A smooth field between -8 and 8: random knots, linear between them, in integers."""
    knots = tuple((n - 1) // _TEXTURE_STEP + 2 for n in shape)
    raw = np.asarray(draws.bits.random_raw(knots[0] * knots[1] * knots[2]))
    field = ((raw >> 32) % 17).astype(np.int16).reshape(knots) - np.int16(8)
    for axis in range(3):
        index = np.arange(shape[axis])
        low, part = index // _TEXTURE_STEP, (index % _TEXTURE_STEP).astype(np.int16)
        column = [1, 1, 1]
        column[axis] = -1
        weight = part.reshape(column)
        field = field.take(low, axis) * (np.int16(_TEXTURE_STEP) - weight) + field.take(low + 1, axis) * weight
    # Three axes have multiplied it by 8**3; 8 * 512 fits 16 bits. Half is added because the shift rounds down.
    return (field + np.int16(256)) >> 9


def mask_of(body: Person, structure: str, grid: ScanGrid) -> npt.NDArray[np.uint8]:
    """A mask of one structure, (z, y, x): 1 inside, 0 outside. Empty when the person does not have it."""
    mask = np.zeros(grid.shape_zyx, dtype=np.uint8)
    if structure in body.organs:
        box, there = inside(body.organs[structure], grid)
        mask[box][there] = 1
    return mask


def label_map(body: Person, grid: ScanGrid, values: Mapping[str, int]) -> npt.NDArray[np.uint8]:
    """A map of numbers, (z, y, x): a structure's number where its voxels are, 0 elsewhere; a lesion covers its organ.

    Args:
        body: who is drawn.
        grid: where the voxels lie.
        values: number of each structure that is drawn. `kidney` stands for both kidneys, drawn as one.
    """
    labels = np.zeros(grid.shape_zyx, dtype=np.uint8)
    for structure, organ in body.organs.items():
        drawn_as = structure if structure in values else merged_into(structure)
        if drawn_as in values:
            box, there = inside(organ, grid)
            labels[box][there] = values[drawn_as]
    return labels


def merged_into(structure: str) -> str:
    """What a side of a paired organ is called when both sides are drawn as one; else the structure itself."""
    return structure.removesuffix("_left").removesuffix("_right")
