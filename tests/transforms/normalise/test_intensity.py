from __future__ import annotations

import numpy as np
import pytest

from mdfp.sample import Normalisation
from schemas.recipe import ModalityIntensity
from transforms.normalise import intensity
from transforms.normalise.intensity import Encoding, bake, default_normalisation, encoding, wanted_percentiles
from transforms.normalise.survey import survey

SHAPE = (2, 3, 5)


def code_of(
    array: np.ndarray, modality: str = "MR", scale: float = 1.0, offset: float = 0.0, store: str = "physical"
) -> Encoding:
    return encoding(modality, array.dtype, survey(array), scale=scale, offset=offset, padding=None, store=store)  # type: ignore[arg-type]


def ramp(dtype: str, low: float = 0, high: float = 200) -> np.ndarray:
    return np.linspace(low, high, 30).reshape(SHAPE).astype(dtype)


def stored(array: np.ndarray, code: Encoding) -> np.ndarray:
    return np.rint(array * code.gain + code.bias)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4"])
def test_ct_is_stored_as_hounsfield_units(dtype: str) -> None:
    code = code_of(ramp(dtype), "CT", scale=2.0, offset=-1000.0)
    assert (code.dtype, code.scale, code.offset, code.unit) == (np.dtype("<i2"), 1.0, 0.0, "HU")
    assert (code.gain, code.bias, code.lower) == (2.0, -1000.0, -12.0)


@pytest.mark.parametrize(("dtype", "kept"), [("u1", "u1"), ("i1", "i2"), ("i2", "i2"), ("u2", "u2"), (">i2", "<i2")])
def test_small_integers_keep_numbers_scale_and_offset(dtype: str, kept: str) -> None:
    code = code_of(ramp(dtype, 0, 100), scale=0.37, offset=4.0)
    assert code == Encoding(np.dtype(kept).newbyteorder("<"), 0.37, 4.0, None, None, None, 1.0, 0.0)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.rint(ramp("f4", -300, 4000)), "<i2"),
        (np.rint(ramp("f8", 0, 60000)), "<u2"),
        (ramp("i4", -300, 4000), "<i2"),
        (ramp("u4", 0, 60000), "<u2"),
    ],
)
def test_values_that_are_integers_and_fit_become_integers(array: np.ndarray, dtype: str) -> None:
    code = code_of(array)
    assert code.dtype == dtype
    assert (stored(array, code) == array).all()


@pytest.mark.parametrize("array", [ramp("f4", -1.5, 7.25), ramp("i4", -70000, 900000), ramp("f8", 1e-12, 3e-12)])
def test_everything_else_runs_from_its_minimum_to_its_maximum(array: np.ndarray) -> None:
    code = code_of(array, "PT", scale=3.0, offset=1.0)
    numbers = stored(array, code)
    assert code.dtype == "<u2"
    assert (numbers.min(), numbers.max()) == (0, 65535)
    physical = array.astype(np.float64) * 3 + 1
    assert numbers * code.scale + code.offset == pytest.approx(physical, abs=code.scale * 0.5000001 + 1e-15)
    assert numbers.max() * code.scale + code.offset == pytest.approx(physical.max(), rel=1e-12)


def test_one_value_only_is_kept() -> None:
    code = code_of(np.full(SHAPE, 0.3))
    assert stored(np.full(SHAPE, 0.3), code).tolist() == np.zeros(SHAPE).tolist()
    assert code.offset == 0.3


def test_what_is_not_finite_gets_the_minimum_or_the_ct_floor() -> None:
    array = ramp("f4", 3, 9.5)
    assert code_of(array).lower is None
    array[0, 0, 0] = np.nan
    assert code_of(array).lower == survey(array).minimum
    assert code_of(array, "CT").lower == -1024
    assert code_of(array, store="native").lower == survey(array).minimum


@pytest.mark.parametrize(("dtype", "kept"), [(">f4", "<f4"), ("f8", "<f8"), ("i4", "<i4"), ("u1", "u1"), ("f2", "<f4")])
def test_native_keeps_type_scale_and_offset(dtype: str, kept: str) -> None:
    code = code_of(ramp(dtype), "CT", scale=2.0, offset=-1000.0, store="native")
    assert code == Encoding(np.dtype(kept), 2.0, -1000.0, "HU", None, None, 1.0, 0.0)


def test_the_recipe_decides_the_default_normalisation() -> None:
    window = ModalityIntensity(window_hu=(-160.0, 240.0), percentiles=None)
    percentiles = ModalityIntensity(window_hu=None, percentiles=(1.0, 99.0))
    assert wanted_percentiles("CT", window) == ()
    assert default_normalisation("CT", window, {}) == Normalisation("window_hu", -160, 240)
    assert wanted_percentiles("MR", percentiles) == (1.0, 99.0)
    assert default_normalisation("MR", percentiles, {1.0: 3.0, 99.0: 8.0}) == Normalisation("percentiles", 3, 8)


def test_without_a_word_in_the_recipe_ct_gets_a_window_and_others_percentiles() -> None:
    assert default_normalisation("CT", None, {}) == Normalisation("window_hu", *intensity.DEFAULT_CT_WINDOW_HU)
    lower, upper = wanted_percentiles("MR", None)
    assert default_normalisation("MR", None, {lower: 2.0, upper: 5.0}) == Normalisation("percentiles", 2.0, 5.0)


def test_a_volume_of_one_value_still_has_a_range() -> None:
    lower, upper = wanted_percentiles("MR", None)
    assert default_normalisation("MR", None, {lower: 2.0, upper: 2.0}) == Normalisation("percentiles", 2.0, 3.0)


@pytest.mark.parametrize("dtype", ["i2", "u2", "u1"])
def test_baking_clips_and_maps_to_the_whole_of_uint16(dtype: str) -> None:
    array = ramp(dtype, 0, 200)
    baked = bake(array, Normalisation("window_hu", 100.0, 300.0), scale=2.0, offset=0.0)
    expected = np.clip((array * 2.0 - 100) / 200, 0, 1)
    assert baked.dtype == np.uint16
    assert baked / 65535 == pytest.approx(expected, abs=0.5 / 65535 + 1e-12)
