from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mdfp.sample import PERCENTS
from transforms.normalise.distribution import _moments, countable, distribution
from transforms.normalise.statistics import body_box, body_threshold, measure
from transforms.normalise.survey import survey

SHAPE = (5, 9, 14)


def integers(dtype: str = "i2", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 250, SHAPE).astype(dtype)


def floats(seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=SHAPE) * 1000).astype(np.float32)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8", ">i2", "i8"])
@pytest.mark.parametrize("view", [np.s_[:, :, :], np.s_[::-1, :, ::-1]])
def test_counted_statistics_equal_numpys(dtype: str, view: tuple[slice, ...]) -> None:
    array = integers(dtype)[view]
    seen = survey(array)
    dist = distribution(array, seen, 99.5, PERCENTS)
    body = array[array > 99.5].astype(np.float64)
    assert countable(seen)
    assert (seen.minimum, seen.maximum) == (array.min(), array.max())
    assert dist.mean == pytest.approx(array.astype(np.float64).mean(), rel=1e-14)
    assert dist.std == pytest.approx(array.astype(np.float64).std(), rel=1e-12)
    assert dist.body_mean == pytest.approx(body.mean(), rel=1e-14)
    assert dist.body_std == pytest.approx(body.std(), rel=1e-12)
    expected = np.percentile(array.astype(np.float64), PERCENTS)
    assert [dist.percentiles[p] for p in PERCENTS] == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(
    hnp.arrays(st.sampled_from(["u1", "i1", "i2", "u2", ">i2"]), st.tuples(*[st.integers(1, 19)] * 3)),
    st.permutations([0, 1, 2]),
    st.sampled_from([1, -1, 2]),
)
def test_a_survey_of_small_integers_counts_every_value(array: np.ndarray, order: list[int], step: int) -> None:
    view = array.transpose(order)[::step, :, ::step]
    seen = survey(view)
    assert seen.counts is not None
    first, counts = seen.counts
    values, times = np.unique(view, return_counts=True)
    assert (first, seen.minimum, seen.maximum) == (values[0], values[0], values[-1])
    assert dict(zip((np.flatnonzero(counts) + first).tolist(), counts[counts > 0].tolist(), strict=True)) == dict(
        zip(values.tolist(), times.tolist(), strict=True)
    )
    assert seen.mean == np.float32(view.astype(np.int64).sum() / view.size)
    for axis, brightest in enumerate(seen.brightest_zyx):
        np.testing.assert_array_equal(brightest, view.max(axis=tuple({0, 1, 2} - {axis})))


def test_moments_are_exact_where_their_sums_are_large() -> None:
    array = np.full((2, 1200, 1300), 65535, dtype=np.uint16)
    array[0, 0, 0] = 0
    dist = distribution(array, survey(array), -1.0, PERCENTS)
    n = array.size
    assert dist.mean == dist.body_mean == 65535 * (n - 1) / n
    assert dist.std == dist.body_std == pytest.approx(65535 * math.sqrt((n - 1) / (n * n)), rel=1e-15)


def test_moments_of_more_voxels_than_64_bits_hold_the_squares_of_are_exact() -> None:
    counts = np.zeros(65536, dtype=np.int64)
    counts[[0, 7, 65535]] = 2**40, 5, 2**41 + 3
    n, total = 3 * 2**40 + 8, 5 * 7 + (2**41 + 3) * 65535
    squares = 5 * 49 + (2**41 + 3) * 65535**2
    assert n * 65536**2 > 2**63
    assert _moments(-5, counts) == ((-5 * n + total) / n, math.sqrt((n * squares - total * total) / (n * n)))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.one_of(st.floats(-(2.0**100), 2.0**100, width=32), st.sampled_from([0.5, -0.0, 1e-40])),
        min_size=2,
        max_size=40,
    )
)
def test_ranked_percentiles_are_those_of_a_sorted_copy(values: list[float]) -> None:
    array = np.array([*values, 0.25], dtype=np.float32).reshape(1, 1, -1)
    seen = survey(array)
    percents = (0.0, 0.5, 33.0, 50.0, 99.5, 100.0)
    dist = distribution(array, seen, 0.0, percents)
    expected = np.percentile(array.astype(np.float64), percents)
    assert [dist.percentiles[p] for p in percents] == pytest.approx(expected, rel=1e-6, abs=1e-37)


def test_ranked_moments_equal_numpys() -> None:
    array = floats()
    dist = distribution(array, survey(array), 300.0, PERCENTS)
    body = array[array > 300].astype(np.float64)
    assert dist.mean == pytest.approx(array.astype(np.float64).mean(), rel=1e-12)
    assert dist.std == pytest.approx(array.astype(np.float64).std(), rel=1e-12)
    assert (dist.body_mean, dist.body_std) == pytest.approx((body.mean(), body.std()), rel=1e-12)


@pytest.mark.parametrize("make", [integers, floats])
def test_how_a_volume_lies_in_memory_changes_no_bit(make: object) -> None:
    array = make()  # type: ignore[operator]
    stored = np.ascontiguousarray(array.transpose(2, 0, 1)[::-1, :, ::-1])
    view = stored[::-1, :, ::-1].transpose(1, 2, 0)
    assert (view == array).all()
    assert measure(view, 120.0).stats == measure(array, 120.0).stats
    assert measure(view, None).stats == measure(array, None).stats


def test_what_is_not_finite_counts_nowhere() -> None:
    for array in (floats(), integers("f4")):
        clean = array[np.isfinite(array)]
        array[0, 0, :3] = (np.nan, np.inf, -np.inf)
        clean = array[np.isfinite(array)].astype(np.float64)
        seen = survey(array)
        dist = distribution(array, seen, 100.0, (50.0,))
        assert seen.nonfinite == 3
        assert (seen.minimum, seen.maximum) == (clean.min(), clean.max())
        assert dist.mean == pytest.approx(clean.mean(), rel=1e-12)
        assert dist.percentiles[50.0] == pytest.approx(np.percentile(clean, 50), rel=1e-6)
        body = clean[clean > 100]
        assert (dist.body_mean, dist.body_std) == pytest.approx((body.mean(), body.std()), rel=1e-12)


def test_a_volume_without_a_number_gives_zeros() -> None:
    array = np.full(SHAPE, np.nan, dtype=np.float32)
    seen = survey(array)
    assert (seen.minimum, seen.maximum, seen.nonfinite) == (0, 0, array.size)
    assert distribution(array, seen, 0.0, (1.0,)).percentiles == {1.0: 0.0}
    assert seen.box_above(0) is None


def test_scale_and_offset_turn_stored_into_physical_statistics() -> None:
    array = integers()
    plain = measure(array, 1000.0).stats
    scaled = measure(array, 1000.0, scale=0.5, offset=-7.0).stats
    assert scaled.minimum == plain.minimum * 0.5 - 7
    assert scaled.std == pytest.approx(plain.std * 0.5)
    assert scaled.percentiles == pytest.approx([p * 0.5 - 7 for p in plain.percentiles])
    assert scaled.body_mean is None


def test_a_negative_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="positive scale, found -1"):
        measure(integers(), None, scale=-1.0)


def test_the_ct_body_is_what_is_denser_than_half_air() -> None:
    array = np.full(SHAPE, -1000, dtype=np.int16)
    array[1:3, 2:6, 4:9] = -499
    array[4, 8, 13] = -500
    assert body_box(survey(array), body_threshold("CT")) == (1, 2, 4, 3, 6, 9)
    assert body_box(survey(array[:, ::-1]), body_threshold("CT")) == (1, 3, 4, 3, 7, 9)
    stored = (array + 1024).astype(np.uint16)
    assert body_box(survey(stored), body_threshold("CT"), offset=-1024) == (1, 2, 4, 3, 6, 9)


def test_the_body_of_other_modalities_is_brighter_than_the_mean() -> None:
    array = np.zeros(SHAPE, dtype=np.float32)
    array[2:, 3:8, 1:7] = 100.5
    assert body_box(survey(array), body_threshold("MR")) == (2, 3, 1, 5, 8, 7)
    assert body_box(survey(np.zeros(SHAPE)), body_threshold("MR")) is None
