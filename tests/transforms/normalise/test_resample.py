from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (the name its documentation uses)
from hypothesis import given, settings
from hypothesis import strategies as st

from mdfp import geometry
from transforms.normalise.grid import output_grid
from transforms.normalise.orientation import canonicalise
from transforms.normalise.resample import resample
from transforms.normalise.taps import Taps, identity_taps, linear_taps, output_size
from transforms.volume import Volume

Oblique = Callable[..., geometry.Affine]
ThreeTaps = tuple[Taps, Taps, Taps]


def taps_for(
    shape: tuple[int, ...], steps: tuple[float, float, float] = (0.8, 1.9, 1.5), *, low_pass: bool = True
) -> ThreeTaps:
    z, y, x = (
        linear_taps(n, 1.0, output_size(n, 1.0, t), t, low_pass=low_pass) for n, t in zip(shape, steps, strict=True)
    )
    return z, y, x


def dense(taps: Taps, n_in: int) -> np.ndarray:
    matrix = np.zeros((len(taps.first), n_in))
    for o, first in enumerate(taps.first):
        matrix[o, first : first + taps.width] += taps.weights[o]
    return matrix


def reference(array: np.ndarray, taps: ThreeTaps) -> np.ndarray:
    """The same taps as three matrices, in double precision."""
    z, y, x = (dense(t, n) for t, n in zip(taps, array.shape, strict=True))
    return np.einsum("zk,yj,xi,kji->zyx", z, y, x, array.astype(np.float64), optimize=True)


def noise(shape: tuple[int, ...] = (9, 21, 16), low: int = -1024, high: int = 3072, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.int16)


@pytest.mark.parametrize("low_pass", [False, True])
@pytest.mark.parametrize(
    "steps", [(0.8, 1.9, 1.5), (1.0, 2.0, 3.0), (0.5, 1.0, 1.0), (20.0, 0.3, 1.0), (1.0, 1.0, 4.0)]
)
def test_result_is_the_rounded_product_of_three_matrices(steps: tuple[float, float, float], low_pass: bool) -> None:
    array = noise()
    taps = taps_for(array.shape, steps, low_pass=low_pass)
    result = resample(array, taps, dtype=np.int16)
    assert result.flags.c_contiguous
    assert np.abs(result - reference(array, taps)).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f2", "f4", "f8", ">i2", ">f4", "?"])
def test_every_type_of_voxel_is_resampled(dtype: str) -> None:
    array = noise(low=0, high=2 if dtype == "?" else 100).astype(dtype)
    taps = taps_for(array.shape)
    result = resample(array, taps, dtype=np.float64)
    assert result == pytest.approx(reference(array, taps), abs=1e-9)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8", "i8"])
def test_every_stored_type_is_rounded_and_clamped_to_its_range(dtype: str) -> None:
    array = noise(low=-300, high=300)
    taps = taps_for(array.shape)
    result = resample(array, taps, dtype=dtype)
    expected = reference(array, taps)
    assert result.dtype == dtype
    if np.dtype(dtype).kind != "f":
        expected = np.clip(expected, max(np.iinfo(dtype).min, -(2**53)), min(np.iinfo(dtype).max, 2**53))
        assert np.abs(result - expected).max() <= 0.5 + 1e-9
    else:
        assert result == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("flips", list(itertools.product((1, -1), repeat=3)))
@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_how_the_volume_lies_in_memory_changes_no_bit(axes: tuple[int, ...], flips: tuple[int, ...]) -> None:
    array = noise().astype(np.float32) / 7
    taps = taps_for(array.shape)
    back = np.argsort(axes)
    stored = np.ascontiguousarray(array.transpose(axes)[tuple(slice(None, None, f) for f in flips)])
    view = stored[tuple(slice(None, None, f) for f in flips)].transpose(back)
    assert (view == array).all()
    assert (resample(view, taps, dtype=np.float64) == resample(array, taps, dtype=np.float64)).all()


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    steps=st.tuples(*[st.floats(0.3, 5.0)] * 3),
    low_pass=st.booleans(),
    axis=st.integers(0, 2),
    seed=st.integers(0, 1000),
)
def test_flipping_before_or_after_gives_the_same_bits(
    shape: tuple[int, int, int], steps: tuple[float, float, float], low_pass: bool, axis: int, seed: int
) -> None:
    array = np.random.default_rng(seed).normal(size=shape)
    taps = taps_for(shape, steps, low_pass=low_pass)
    before = resample(np.ascontiguousarray(np.flip(array, axis)), taps, dtype=np.float64)
    assert (before == np.flip(resample(array, taps, dtype=np.float64), axis)).all()


@pytest.mark.parametrize("low_pass", [False, True])
def test_a_constant_volume_stays_constant(low_pass: bool) -> None:
    array = np.full((7, 8, 9), -1003, dtype=np.int16)
    assert (resample(array, taps_for(array.shape, low_pass=low_pass), dtype=np.int16) == -1003).all()


def test_halves_are_rounded_to_even() -> None:
    array = np.array([[[0, 1, 2, 3, 4, 5]]], dtype=np.int16)
    halves = linear_taps(6, 1.0, 3, 2.0, low_pass=False)
    result = resample(array, (identity_taps(1), identity_taps(1), halves), dtype=np.int16)
    assert result.tolist() == [[[0, 2, 4]]]


@pytest.mark.parametrize("resampled", [False, True])
def test_padding_is_floored_before_the_filter_sees_it(resampled: bool) -> None:
    array = noise()
    array[:, :4] = -2000
    array[0] = 2999
    floored = np.where((array < -1024) | (array == 2999), -1024, array)
    taps = taps_for(array.shape) if resampled else tuple(identity_taps(n) for n in array.shape)
    result = resample(array, taps, dtype=np.int16, lower=-1024, padding=2999)
    assert (result == resample(floored, taps, dtype=np.int16)).all()
    assert (resample(array.astype(np.float32), taps, dtype=np.int16, lower=-1024, padding=2999) == result).all()


@pytest.mark.parametrize("resampled", [False, True])
def test_what_is_not_finite_becomes_the_floor(resampled: bool) -> None:
    array = noise().astype(np.float32)
    clean = array.copy()
    for at, value in enumerate((np.nan, np.inf, -np.inf)):
        array[2, 3, at] = value
        clean[2, 3, at] = -1024
    taps = taps_for(array.shape) if resampled else tuple(identity_taps(n) for n in array.shape)
    result = resample(array, taps, dtype=np.float32, lower=-1024)
    assert (result == resample(clean, taps, dtype=np.float32)).all()
    assert np.isfinite(result).all()


@pytest.mark.parametrize("resampled", [False, True])
def test_gain_bias_and_range_act_on_the_filtered_value(resampled: bool) -> None:
    array = noise()
    taps = taps_for(array.shape) if resampled else tuple(identity_taps(n) for n in array.shape)
    result = resample(array, taps, dtype=np.int16, gain=0.5, bias=-10.25, within=(-400, 500))
    expected = np.clip(reference(array, taps) * 0.5 - 10.25, -400, 500)
    assert np.abs(result - expected).max() <= 0.5 + 1e-9


def test_an_untouched_volume_is_copied_exactly() -> None:
    for dtype in (">i2", "u1", "i8", "f4"):
        array = noise(low=0, high=99).astype(dtype)[::-1, :, ::-1]
        result = resample(array, tuple(identity_taps(n) for n in array.shape), dtype=dtype)
        assert (result == array).all()
        assert result.dtype == np.dtype(dtype).newbyteorder("<")
        assert result.flags.c_contiguous


def test_the_copy_agrees_with_the_kernel() -> None:
    array = noise().astype(np.float64) / 3
    whole = tuple(identity_taps(n) for n in array.shape)
    kernel = tuple(Taps(t.first, t.weights, t.integer, identity=False) for t in whole)
    for dtype in ("i2", "u1", "f4"):
        options = {"dtype": dtype, "lower": -100.0, "gain": 0.37, "bias": 11.0, "within": (-20.5, 201.5)}
        assert (resample(array, whole, **options) == resample(array, kernel, **options)).all()


def test_padding_without_a_floor_is_refused() -> None:
    with pytest.raises(ValueError, match="padding needs lower"):
        resample(noise(), taps_for((9, 21, 16)), dtype=np.int16, padding=3.0)


def to_sitk(volume: Volume) -> sitk.Image:
    image = sitk.GetImageFromArray(volume.array_zyx)
    affine = geometry.lps_to_ras(volume.affine_ras)
    image.SetSpacing(geometry.spacing_xyz_mm(affine))
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection(geometry.direction(affine).reshape(-1).tolist())
    return image


@pytest.mark.parametrize("code", ["RAS", "LPS", "PIR", "SAL"])
@pytest.mark.parametrize("target", [(1.5, 1.5, 1.5), (0.5, 3.1, 2.2)])
def test_agrees_with_simpleitk_on_an_oblique_grid(
    oblique: Oblique, code: str, target: tuple[float, float, float]
) -> None:
    volume = Volume(noise((13, 22, 31), seed=5), oblique(spacing=(0.7421875, 0.8, 2.5), code=code))
    canonical = canonicalise(volume)
    grid = output_grid(canonical.shape_zyx, canonical.affine_ras, target, low_pass=False)
    ours = resample(canonical.array_zyx, grid.taps_zyx, dtype=np.int16)

    outside = -30000.0
    like = to_sitk(Volume(np.zeros(grid.shape_zyx, dtype=np.uint8), grid.affine_ras))
    theirs = sitk.GetArrayFromImage(
        sitk.Resample(to_sitk(volume), like, sitk.Transform(), sitk.sitkLinear, outside, sitk.sitkFloat64)
    )
    # Inside is where every voxel around the point exists: beyond that SimpleITK extrapolates or fills.
    inside = np.ones(grid.shape_zyx, dtype=bool)
    for axis, taps in enumerate(grid.taps_zyx):
        n = canonical.shape_zyx[axis]
        step = target[2 - axis] / geometry.spacing_xyz_mm(canonical.affine_ras)[2 - axis]
        m = grid.shape_zyx[axis]
        position = (n - 1) / 2 + (np.arange(m) - (m - 1) / 2) * step
        assert len(taps.first) == m
        keep = (position >= 0) & (position <= n - 1)
        inside &= np.expand_dims(keep, tuple(a for a in range(3) if a != axis))
    assert inside.mean() > 0.5
    assert np.abs(ours - theirs)[inside].max() <= 0.5 + 1e-6
