from __future__ import annotations

import numpy as np
import pytest

from transforms.normalise.content_hash import content_hash, survey_and_hash
from transforms.normalise.survey import survey

SHAPE = (3, 5, 7)


def hash_of(array: np.ndarray, scale: float = 1.0, offset: float = 0.0) -> str:
    return content_hash(array, survey(array), scale=scale, offset=offset)


def ct() -> np.ndarray:
    return np.random.default_rng(1).integers(-1024, 3000, SHAPE).astype(np.int16)


@pytest.mark.parametrize("dtype", ["i2", ">i2", "i4", "i8", "f4", ">f4", "f8"])
def test_equal_numbers_of_any_type_have_one_hash(dtype: str) -> None:
    assert hash_of(ct().astype(dtype)) == hash_of(ct())


def test_equal_physical_values_have_one_hash() -> None:
    assert hash_of((ct() + 1024).astype(np.uint16), offset=-1024) == hash_of(ct())
    assert hash_of((ct() * 2).astype(np.int16), scale=0.5) != hash_of(ct())  # single precision, not integers
    fractions = ct().astype(np.float32) * np.float32(0.5)
    assert hash_of(ct(), scale=0.5) == hash_of(fractions) == hash_of(fractions.astype(np.float64))


def test_memory_layout_does_not_matter() -> None:
    array = ct()
    assert hash_of(np.ascontiguousarray(array[:, ::-1, ::-1])[:, ::-1, ::-1]) == hash_of(array)
    assert hash_of(np.ascontiguousarray(array.T).T) == hash_of(array)


def test_other_values_shapes_and_orientations_have_other_hashes() -> None:
    array = ct()
    other = array.copy()
    other[2, 3, 4] += 1
    variants = [array, other, array[:, ::-1], array[::-1], array.reshape(5, 3, 7), array.astype(np.int32) * 100]
    assert len({hash_of(v) for v in variants}) == len(variants)


@pytest.mark.parametrize(
    ("dtype", "scale", "offset"),
    [
        ("i2", 1.0, 0.0),
        (">i2", 1.0, -1024.0),
        ("i2", 1.0, 30000.0),  # beyond int16: one pass is not enough
        ("i2", 1.0, 0.5),
        ("i2", 0.5, 0.0),
        ("u2", 1.0, -1024.0),
        ("u2", 1.0, 40000.0),
        ("u1", 1.0, 3.0),
        ("i1", 1.0, 0.0),
        ("b1", 1.0, 0.0),
        ("i4", 1.0, -7.0),
        ("f4", 1.0, 0.0),
    ],
)
@pytest.mark.parametrize("view", [np.s_[:, :, :], np.s_[::-1, :, ::-1], np.s_[:, ::-1, :]])
def test_one_pass_gives_what_two_give(dtype: str, scale: float, offset: float, view: tuple[slice, ...]) -> None:
    array = ct().clip(0 if dtype in ("u1", "u2", "b1") else None).astype(dtype)
    turned = np.ascontiguousarray(array[view])[view]
    seen, digest = survey_and_hash(turned, scale=scale, offset=offset)
    assert digest == hash_of(array.astype("f8"), scale, offset)
    assert (seen.minimum, seen.maximum, seen.voxels) == (array.min(), array.max(), array.size)


def test_both_zeros_and_all_that_is_not_finite_are_one() -> None:
    a = np.array([[[0.5, 0.0, np.nan]]], dtype=np.float32)
    b = np.array([[[0.5, -0.0, np.inf]]], dtype=np.float32)
    assert hash_of(a) == hash_of(b)


def test_the_hash_is_the_one_written_down() -> None:
    assert hash_of(np.arange(24, dtype=np.int16).reshape(2, 3, 4)) == "7aa90eea85fc0f1501cce952d32ef9f4"
