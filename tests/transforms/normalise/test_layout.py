from __future__ import annotations

import itertools

import numpy as np
import pytest

from transforms.normalise.layout import kernel_type, rows, settle

SHAPE = (3, 70, 67)  # more than one tile along y and x


def numbered(dtype: str = "i4") -> np.ndarray:
    return np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)


def read_back(array: np.ndarray) -> np.ndarray:
    """What the rows of an array say, voxel by voxel."""
    r = rows(array)
    (nz, ny, nx), (step_z, step_y) = r.shape_zyx, r.steps_zy
    z, y, x = (np.arange(n)[::-1] if f else np.arange(n) for n, f in zip((nz, ny, nx), r.flipped_zyx, strict=True))
    return r.flat[(z * step_z)[:, None, None] + (y * step_y)[None, :, None] + x[None, None, :]]


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", list(itertools.product((1, -1), repeat=3)))
def test_rows_and_settled_arrays_equal_the_view(axes: tuple[int, ...], flips: tuple[int, ...]) -> None:
    view = numbered().transpose(axes)[tuple(slice(None, None, f) for f in flips)]
    assert (read_back(view) == view).all()
    settled = settle(view)
    assert (settled == view).all()
    assert not settled.flags.writeable
    assert np.shares_memory(rows(settled).flat, settled)


def test_a_view_whose_x_is_contiguous_is_not_copied() -> None:
    array = numbered()
    assert np.shares_memory(rows(array[::-1, ::-1, ::-1]).flat, array)
    assert np.shares_memory(rows(array.transpose(1, 0, 2)).flat, array)
    assert not np.shares_memory(rows(array.transpose(2, 1, 0)).flat, array)


@pytest.mark.parametrize("axes", [(2, 1, 0), (0, 2, 1)])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
def test_exchanging_axes_moves_bytes_whatever_they_mean(axes: tuple[int, ...], dtype: str) -> None:
    view = (numbered() % 251).astype(dtype).transpose(axes)
    assert (read_back(view) == view).all()
    assert rows(view).flat.dtype == dtype


def test_a_part_of_a_larger_array_is_read_rightly() -> None:
    view = numbered()[1:, 3:60:2, 5:]
    assert (read_back(view) == view).all()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(">i2", "i2"), ("i1", "i2"), ("?", "u1"), ("u4", "f8"), ("i8", "f8"), ("f2", "f4"), (">f4", "f4"), ("u2", "u2")],
)
def test_types_without_kernels_are_computed_in_one_that_holds_them(dtype: str, expected: str) -> None:
    array = (numbered() % 100).astype(dtype)
    assert kernel_type(dtype) == expected
    assert rows(array).flat.dtype == np.dtype(expected)
    assert (read_back(array[:, ::-1]) == array[:, ::-1]).all()


def test_complex_voxels_are_refused() -> None:
    with pytest.raises(TypeError, match="integers or floats, found complex64"):
        rows(np.zeros((2, 2, 2), dtype=np.complex64))


def test_unaligned_voxels_are_read_rightly() -> None:
    raw = np.zeros(1 + 4 * 24, dtype=np.uint8)
    array = np.frombuffer(raw.data, dtype="<f4", count=24, offset=1).reshape(2, 3, 4)
    assert (read_back(array) == array).all()
