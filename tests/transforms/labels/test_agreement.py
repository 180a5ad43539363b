from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from mdfp import geometry
from schemas.reasons import Reason
from transforms.labels.agreement import place
from transforms.rejected import Rejected
from transforms.volume import Volume

SHAPE = (5, 7, 9)


def stored_otherwise(volume: Volume, order: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """The same voxels at the same places, with other index axes: what another tool may write."""
    array, affine = volume.array_zyx, volume.affine_ras.copy()
    for axis in range(3):  # index axes x, y, z
        if flips[axis]:
            n = array.shape[2 - axis]
            affine[:3, 3] += affine[:3, axis] * (n - 1)
            affine[:3, axis] *= -1
            array = np.flip(array, 2 - axis)
    turned = affine.copy()
    turned[:, :3] = affine[:, list(order)]
    return Volume(np.ascontiguousarray(array.transpose([2 - order[2 - a] for a in range(3)])), turned)


@pytest.fixture
def volume(oblique: geometry.Affine) -> Volume:
    return Volume(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), oblique)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_permuted_and_flipped_axes_are_the_same_grid(volume: Volume, order: tuple[int, ...]) -> None:
    for flips in product((False, True), repeat=3):
        other = stored_otherwise(volume, order, flips)
        placed = place(other, volume.affine_ras, SHAPE, "ct")
        np.testing.assert_array_equal(placed.array_zyx, volume.array_zyx)
        assert placed.box == (0, 0, 0, *SHAPE)
        assert placed.offset_voxels == 0
        assert np.shares_memory(placed.array_zyx, other.array_zyx)


def test_axes_near_45_degrees_follow_the_image_and_not_their_own_rounding() -> None:
    for angle in (45 - 1e-5, 45 + 1e-5):
        a = np.radians(angle)
        turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        label = Volume(np.zeros(SHAPE, np.uint8), geometry.compose(turn, (1, 1, 2), (0, 0, 0)))
        b = np.radians(45)
        turn = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
        placed = place(label, geometry.compose(turn, (1, 1, 2), (0, 0, 0)), SHAPE, "ct")
        assert placed.array_zyx.strides == label.array_zyx.strides


def test_a_label_within_a_tenth_of_a_voxel_is_taken_and_the_distance_recorded(volume: Volume) -> None:
    moved = volume.affine_ras.copy()
    moved[:3, 3] += 0.09 * moved[:3, 0]
    placed = place(Volume(volume.array_zyx, moved), volume.affine_ras, SHAPE, "ct")
    assert placed.offset_voxels == pytest.approx(0.09, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda a: a[:3, 3].__iadd__(0.5 * a[:3, 1]), r"up to 0\.5 voxels \(0\.45 mm\)"),
        (lambda a: a[:3, 2].__imul__(1.05), r"spacing of the label 0\.8×0\.9×1\.365, of the image 0\.8×0\.9×1\.3"),
        (lambda a: a[:3, 3].__iadd__(a[:3, 0]), r"up to 1 voxels"),  # a whole voxel: sticks out of the image
        (lambda a: a[:3, :3].__imul__(-1), r"expected at most 0\.1"),
    ],
)
def test_a_moved_label_is_refused_with_numbers(volume: Volume, change: Callable[[Any], Any], expected: str) -> None:
    moved = volume.affine_ras.copy()
    change(moved)
    with pytest.raises(Rejected, match=expected) as raised:
        place(Volume(volume.array_zyx, moved), volume.affine_ras, SHAPE, "ct")
    assert raised.value.reason is Reason.LABEL_GRID


def test_a_label_of_another_shape_is_refused_with_both(volume: Volume) -> None:
    bigger = Volume(np.zeros((5, 8, 9), np.uint8), volume.affine_ras)
    with pytest.raises(Rejected, match=r"x, y, z: shape of the label 9×8×5, of the image 9×7×5; "):
        place(bigger, volume.affine_ras, SHAPE, "ct")


def test_a_label_that_covers_a_box_of_the_lattice_is_placed_there(volume: Volume) -> None:
    box = volume.array_zyx[1:4, 2:7, 3:5]
    affine = volume.affine_ras.copy()
    affine[:3, 3] = geometry.apply(affine, (3, 2, 1))
    flipped = stored_otherwise(Volume(box, affine), (1, 0, 2), (True, False, True))
    placed = place(flipped, volume.affine_ras, SHAPE, "ct")
    assert placed.box == (1, 2, 3, 4, 7, 5)
    np.testing.assert_array_equal(placed.array_zyx, box)


@pytest.mark.parametrize("entry", [np.nan, 0.0])
def test_an_affine_that_places_nothing_is_refused(volume: Volume, entry: float) -> None:
    broken = volume.affine_ras.copy()
    broken[:3, 0] = entry
    with pytest.raises(Rejected, match="no usable grid"):
        place(Volume(volume.array_zyx, broken), volume.affine_ras, SHAPE, "ct")


def test_four_axes_are_no_label_of_a_volume(volume: Volume) -> None:
    with pytest.raises(Rejected, match=r"has 3 axes, found shape \(1, 5, 7, 9\)"):
        place(Volume(volume.array_zyx[None], volume.affine_ras), volume.affine_ras, SHAPE, "ct")
