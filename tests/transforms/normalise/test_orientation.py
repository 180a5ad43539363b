from __future__ import annotations

from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdfp import geometry
from transforms.normalise.orientation import canonicalise
from transforms.volume import Volume

Oblique = Callable[..., geometry.Affine]

rotations = st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: sum(v * v for v in q) > 0.01)
"""Unnormalised quaternions."""


def rotation(quaternion: list[float]) -> np.ndarray:
    w, x, y, z = np.array(quaternion) / np.sqrt(sum(v * v for v in quaternion))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def numbered(shape_zyx: tuple[int, int, int] = (4, 5, 6)) -> np.ndarray:
    return np.arange(np.prod(shape_zyx), dtype=np.int16).reshape(shape_zyx)


def index_of_each_value(array_zyx: np.ndarray) -> np.ndarray:
    """(values, 3): index x, y, z of voxel value v, for an array that holds every number once."""
    z, y, x = np.unravel_index(np.argsort(array_zyx, axis=None), array_zyx.shape)
    return np.stack([x, y, z], axis=-1)


def assert_same_world(before: Volume, after: Volume) -> None:
    a = geometry.apply(before.affine_ras, index_of_each_value(before.array_zyx))
    b = geometry.apply(after.affine_ras, index_of_each_value(after.array_zyx))
    assert b == pytest.approx(a, abs=1e-10)


def test_every_voxel_keeps_value_and_place_in_all_48_orientations(code: str, oblique: Oblique) -> None:
    volume = Volume(numbered(), oblique(code=code), scale=2.0, offset=-3.0, padding=7.0)
    result = canonicalise(volume)
    assert geometry.orientation_code(volume.affine_ras) == code
    assert geometry.orientation_code(result.affine_ras) == "RAS"
    assert_same_world(volume, result)
    assert (result.scale, result.offset, result.padding) == (2.0, -3.0, 7.0)


def test_nothing_is_copied(oblique: Oblique) -> None:
    volume = Volume(numbered(), oblique(code="PIL"))
    assert np.shares_memory(canonicalise(volume).array_zyx, volume.array_zyx)


def test_agrees_with_nibabel_in_all_48_orientations(code: str, oblique: Oblique) -> None:
    volume = Volume(numbered(), oblique(code=code))
    closest = nib.as_closest_canonical(nib.Nifti1Image(volume.array_zyx.transpose(2, 1, 0), volume.affine_ras))
    result = canonicalise(volume)
    assert (np.asanyarray(closest.dataobj).transpose(2, 1, 0) == result.array_zyx).all()
    assert closest.affine == pytest.approx(result.affine_ras, abs=1e-12)


def test_left_handed_affines_stay_true(oblique: Oblique) -> None:
    volume = Volume(numbered(), oblique(code="RPS"))
    assert np.linalg.det(volume.affine_ras[:3, :3]) < 0
    assert_same_world(volume, canonicalise(volume))


@given(rotations, st.booleans())
def test_any_rotation_keeps_every_voxel_where_it_is(quaternion: list[float], left_handed: bool) -> None:
    directions = rotation(quaternion) * ([-1, 1, 1] if left_handed else [1, 1, 1])
    volume = Volume(numbered((2, 3, 4)), geometry.compose(directions, (0.7, 1.1, 2.5), (10, -20, 30)))
    result = canonicalise(volume)
    assert_same_world(volume, result)
    assert [sign for _, sign in geometry.closest_axes(result.affine_ras)] == [1, 1, 1]
    again = canonicalise(result)
    assert again.array_zyx.shape == result.array_zyx.shape
    assert (again.array_zyx == result.array_zyx).all()
    assert (again.affine_ras == result.affine_ras).all()


@pytest.mark.parametrize("angle", [45.0, 45.0 + 1e-7, 45.0 - 1e-7, 135.0, -45.0])
def test_near_45_degrees_the_first_axis_goes_to_r(angle: float) -> None:
    turn = np.radians(angle)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    assert [world for world, _ in geometry.closest_axes(affine)] == [0, 1, 2]
    volume = Volume(numbered(), affine)
    assert canonicalise(volume).array_zyx.shape == volume.array_zyx.shape
    assert_same_world(volume, canonicalise(volume))


def test_straight_affines_have_no_negative_zeros() -> None:
    result = canonicalise(Volume(numbered(), np.diag([-1.0, -1.0, 1.0, 1.0])))
    assert not np.signbit(result.affine_ras[result.affine_ras == 0]).any()


def test_other_than_three_axes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"three axes, found shape \(2, 3\)"):
        canonicalise(Volume(np.zeros((2, 3)), np.eye(4)))
