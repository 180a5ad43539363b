from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from transforms.normalise.taps import (
    INTEGER_WEIGHT,
    Taps,
    cubic_taps,
    identity_taps,
    linear_taps,
    output_size,
    same_spacing,
    steady_mm,
)

sizes = st.integers(1, 60)
spacings = st.one_of(st.sampled_from([0.5, 0.7, 0.8, 0.9765625, 1.0, 1.5, 2.0, 3.0]), st.floats(0.2, 12.0))


def dense(taps: Taps, n_in: int, attribute: str = "weights") -> npt.NDArray[np.float64]:
    """The taps as a matrix (n_out, n_in)."""
    weights = getattr(taps, attribute)
    matrix = np.zeros((len(taps.first), n_in), dtype=weights.dtype)
    for o, first in enumerate(taps.first):
        matrix[o, first : first + taps.width] += weights[o]
    return matrix


def reference(n_in: int, s: float, n_out: int, t: float, *, low_pass: bool) -> npt.NDArray[np.float64]:
    """The same kernel, written without any cleverness."""
    radius = max(1.0, t / s) if low_pass else 1.0
    matrix = np.zeros((n_out, n_in))
    for o in range(n_out):
        centre = (n_in - 1) / 2 + (o - (n_out - 1) / 2) * t / s
        for i in range(int(np.floor(centre - radius)), int(np.ceil(centre + radius)) + 1):
            matrix[o, min(max(i, 0), n_in - 1)] += max(0.0, 1 - abs(i - centre) / radius)
    return matrix / matrix.sum(axis=1, keepdims=True)


@settings(deadline=None)
@given(n=sizes, s=spacings, t=spacings, low_pass=st.booleans())
def test_taps_stay_inside_sum_to_one_and_mirror_exactly(n: int, s: float, t: float, low_pass: bool) -> None:
    n_out = output_size(n, s, t)
    taps = linear_taps(n, s, n_out, t, low_pass=low_pass)
    assert taps.first.min() >= 0
    assert (taps.first + taps.width).max() <= n
    assert taps.weights.min() >= 0
    assert taps.weights.sum(axis=1) == pytest.approx(np.ones(n_out), abs=1e-14)
    assert (taps.integer.sum(axis=1) == INTEGER_WEIGHT).all()
    for attribute in ("weights", "integer"):
        matrix = dense(taps, n, attribute)
        assert (matrix == matrix[::-1, ::-1]).all()


@settings(deadline=None)
@given(n=sizes, s=spacings, t=spacings, low_pass=st.booleans())
def test_taps_are_the_clamped_triangle(n: int, s: float, t: float, low_pass: bool) -> None:
    n_out = output_size(n, s, t)
    taps = linear_taps(n, s, n_out, t, low_pass=low_pass)
    if not taps.identity:
        assert dense(taps, n) == pytest.approx(reference(n, s, n_out, t, low_pass=low_pass), abs=1e-8)
    assert dense(taps, n, "integer") / INTEGER_WEIGHT == pytest.approx(dense(taps, n), abs=taps.width / INTEGER_WEIGHT)


@settings(deadline=None)
@given(n=sizes, s=spacings, t=spacings, low_pass=st.booleans())
def test_flipped_taps_read_a_reversed_axis(n: int, s: float, t: float, low_pass: bool) -> None:
    taps = linear_taps(n, s, output_size(n, s, t), t, low_pass=low_pass)
    assert (dense(taps.flipped(n), n) == dense(taps, n)[:, ::-1]).all()


@settings(deadline=None)
@given(n=sizes, s=spacings, t=spacings)
def test_plain_linear_needs_two_voxels(n: int, s: float, t: float) -> None:
    assert linear_taps(n, s, output_size(n, s, t), t, low_pass=False).width <= 2


@given(n=st.integers(20, 60), ratio=st.floats(1.0, 4.0))
def test_low_pass_is_hardly_wider_than_its_triangle(n: int, ratio: float) -> None:
    taps = linear_taps(n, 1.0, output_size(n, 1.0, ratio), ratio, low_pass=True)
    assert taps.width <= np.ceil(2 * ratio) + 1  # one spare for a middle row that is its own mirror image


@settings(deadline=None)
@given(n=sizes, s=spacings)
def test_equal_spacing_is_the_identity(n: int, s: float) -> None:
    taps = linear_taps(n, s, n, s + 1e-8, low_pass=True)
    assert same_spacing(s, s)
    if same_spacing(s, s + 1e-8):
        assert taps.identity
        assert (dense(taps, n) == np.eye(n)).all()
        assert (dense(taps, n, "integer") == np.eye(n) * INTEGER_WEIGHT).all()


def _keys(x: float) -> float:
    """Keys 1981, equation 15 with a = -1/2, as it is printed."""
    a, s = -0.5, abs(x)
    if s < 1:
        return (a + 2) * s**3 - (a + 3) * s**2 + 1
    return a * s**3 - 5 * a * s**2 + 8 * a * s - 4 * a if s < 2 else 0.0


@settings(deadline=None)
@given(n=sizes, s=spacings, t=spacings, low_pass=st.booleans())
def test_cubic_taps_are_the_clamped_kernel_and_mirror_exactly(n: int, s: float, t: float, low_pass: bool) -> None:
    n_out = output_size(n, s, t)
    taps = cubic_taps(n, s, n_out, t, low_pass=low_pass)
    assert taps.first.min() >= 0
    assert (taps.first + taps.width).max() <= n
    found = dense(taps, n)
    assert (found == found[::-1, ::-1]).all()
    assert (dense(taps.flipped(n), n) == found[:, ::-1]).all()
    if taps.identity:
        return
    wide = max(1.0, t / s) if low_pass else 1.0
    expected = np.zeros((n_out, n))
    for o in range(n_out):
        centre = (n - 1) / 2 + (o - (n_out - 1) / 2) * t / s
        for i in range(int(np.floor(centre - 2 * wide)), int(np.ceil(centre + 2 * wide)) + 1):
            expected[o, min(max(i, 0), n - 1)] += _keys((i - centre) / wide)
    assert found == pytest.approx(expected / expected.sum(axis=1, keepdims=True), abs=1e-8)


@pytest.mark.parametrize(("n", "n_out", "low_pass"), [(40, 61, False), (40, 100, True), (60, 25, True)])
def test_cubic_is_what_pillow_calls_bicubic(n: int, n_out: int, low_pass: bool) -> None:
    image = np.random.default_rng(3).normal(size=(1, n)).astype(np.float32)
    pillow = np.asarray(Image.fromarray(image).resize((n_out, 1), Image.Resampling.BICUBIC))[0]
    taps = cubic_taps(n, 1.0, n_out, n / n_out, low_pass=low_pass)
    ours = dense(taps, n) @ image[0]
    edge = 2 + 2 * n_out // n + 1  # beyond the ends Pillow leaves voxels out, and these values clamp
    assert ours[edge:-edge] == pytest.approx(pillow[edge:-edge], abs=1e-5)


def test_cubic_is_exact_for_parabolas() -> None:
    taps = cubic_taps(30, 1.0, 45, 30 / 45, low_pass=False)
    centre = 14.5 + (np.arange(45) - 22) * 30 / 45
    ours = dense(taps, 30) @ (np.arange(30.0) ** 2)
    assert ours[4:-4] == pytest.approx(centre[4:-4] ** 2, abs=1e-7)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_downsampling_by_an_integer_weighs_every_group_alike(factor: int) -> None:
    taps = linear_taps(12 * factor, 0.5, 12, 0.5 * factor, low_pass=True)
    inner = dense(taps, 12 * factor)[2:-2]
    for o, row in enumerate(inner):
        assert (np.roll(row, -o * factor) == inner[0]).all()
    column_sums = dense(taps, 12 * factor).sum(axis=0)
    assert column_sums[2 * factor : -2 * factor] == pytest.approx(1 / factor)


def test_one_input_voxel_fills_every_output() -> None:
    taps = linear_taps(1, 6.0, 4, 1.5, low_pass=False)
    assert taps.width == 1
    assert (taps.weights == 1).all()
    assert (taps.first == 0).all()


def test_one_output_voxel_lies_in_the_middle() -> None:
    assert dense(linear_taps(4, 1.0, 1, 4.0, low_pass=False), 4).tolist() == [[0, 0.5, 0.5, 0]]
    assert dense(linear_taps(5, 1.0, 1, 5.0, low_pass=False), 5).tolist() == [[0, 0, 1, 0, 0]]
    wide = dense(linear_taps(4, 1.0, 1, 4.0, low_pass=True), 4)
    assert (wide == wide[:, ::-1]).all()


@pytest.mark.parametrize(
    ("n", "s", "t", "expected"),
    [(512, 0.8, 1.5, 273), (300, 1.0, 1.5, 200), (3, 0.5, 1.0, 2), (1, 0.1, 5.0, 1), (10, 0.80000001, 0.8, 10)],
)
def test_output_covers_the_same_field_of_view(n: int, s: float, t: float, expected: int) -> None:
    assert output_size(n, s, t) == expected


def test_single_precision_spacings_keep_their_value() -> None:
    for spacing in (0.8, 0.7421875, 3.27, 0.9765625):
        single = float(np.float32(spacing))
        assert steady_mm(single) == single
    assert steady_mm(np.nextafter(0.7, 1)) == steady_mm(0.7)


def test_a_cut_keeps_the_taps_of_the_outputs_that_stay() -> None:
    taps = linear_taps(20, 1.0, 13, 1.5, low_pass=True)
    assert (dense(taps.cut(3, 9), 20) == dense(taps, 20)[3:9]).all()
    assert not identity_taps(5).cut(1, 5).identity
    assert identity_taps(5).cut(0, 5).identity
