"""The law of images over time: each time point is the volume that it would be alone, under one mapping of its numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdfp import arrow, canonical
from mdfp.sample import SampleImage
from schemas.reasons import Reason
from transforms.normalise import content_hash, over_time
from transforms.normalise.image import normalise_image
from transforms.normalise.statistics import measure
from transforms.normalise.survey import survey
from transforms.rejected import Rejected
from transforms.volume import TemporalVolume, Volume

TIMES, SHAPE = 4, (9, 12, 15)


@dataclass(frozen=True)
class Holder:
    """Images, as a sample holds them."""

    images: Annotated[tuple[SampleImage, ...], "images"]


COARSE = {"spacing_mm": [1.6, 1.6, 3.0]}


def voxels(dtype: str, seed: int = 0) -> np.ndarray:
    """(t, z, y, x), every axis another length, other ranges at other times."""
    rng = np.random.default_rng(seed)
    base = rng.normal(200, 90, (TIMES, *SHAPE)) + 40 * np.arange(TIMES)[:, None, None, None]
    return base.clip(0).astype(dtype) if np.dtype(dtype).kind != "f" else base.astype(dtype)


def whole(array: np.ndarray, affine: np.ndarray, **more) -> TemporalVolume:
    return TemporalVolume(array, affine, "test", **more)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", ">i2"])
@pytest.mark.parametrize(("code", "modality"), [("RAS", "MR"), ("LPS", "CT"), ("AIL", "MR"), ("SPR", "PT")])
@pytest.mark.parametrize("kernel", ["linear", "cubic"])
def test_integers_have_the_bytes_of_the_volume_alone(recipe, case_image, oblique, dtype, code, modality, kernel):
    wanted = recipe(geometry={**COARSE, "interpolation": kernel})
    array = voxels(dtype)
    array[:, 0, 0, 0], array[:, -1, -1, -1] = array.min(), array.max()  # one range: cubic stays within the image's own
    image = whole(array, oblique(code=code))
    made = normalise_image(image, case_image(modality, dtype=dtype), wanted)
    assert made.record.axes == "tzyx"
    assert made.array.flags.c_contiguous
    for t in range(TIMES):
        alone = normalise_image(image.moment(t), case_image(modality, dtype=dtype), wanted)
        assert made.array[t].dtype == alone.array.dtype
        assert made.array[t].tobytes() == alone.array_zyx.tobytes()
        assert made.record.stored.affine_ras == alone.record.stored.affine_ras
        assert made.record.stored.shape[1:] == alone.record.stored.shape
        assert (made.grid.shape_zyx, made.canonical.shape_zyx) == (alone.grid.shape_zyx, alone.canonical.shape_zyx)


def test_fractions_share_one_scale_and_are_as_exact_as_it(recipe, case_image, oblique):
    image = whole(voxels("float32"), oblique(code="LPI"))
    made = normalise_image(image, case_image("MR", dtype="float32"), recipe(geometry=COARSE))
    assert made.record.dtype == "uint16"
    for t in range(TIMES):
        alone = normalise_image(image.moment(t), case_image("MR", dtype="float32"), recipe(geometry=COARSE))
        mine = made.array[t] * made.record.scale + made.record.offset
        theirs = alone.array * alone.record.scale + alone.record.offset
        np.testing.assert_allclose(mine, theirs, atol=(made.record.scale + alone.record.scale) / 2 * 1.001)


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64"])
def test_statistics_are_of_all_time_points(recipe, case_image, oblique, dtype):
    array = voxels(dtype)
    array[1, 2, 3, 4] = 5 if array.dtype.kind != "f" else np.nan
    made = normalise_image(whole(array, oblique()), case_image("MR", dtype=dtype), recipe(intensity="native"))
    stacked = np.concatenate(list(array))
    expected = measure(stacked, None)
    found = made.record.native_intensity
    assert (found.minimum, found.maximum) == (expected.stats.minimum, expected.stats.maximum)
    assert found.mean == pytest.approx(expected.stats.mean, rel=1e-9)
    assert found.std == pytest.approx(expected.stats.std, rel=1e-9)
    assert found.percentiles == pytest.approx(expected.stats.percentiles, rel=1e-6)
    assert made.record.nonfinite_voxels == (array.dtype.kind == "f")
    box = made.record.body_box
    bright = (array > np.nanmean(array, dtype=np.float64)).any(axis=0)
    assert box == tuple(int(f(np.nonzero(bright)[a])) + (f is np.max) for f in (np.min, np.max) for a in range(3))


@given(code=st.sampled_from(["RAS", "LPS", "ARS", "SLP", "IPL"]), wide=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
def test_how_a_file_turns_its_axes_does_not_show(recipe, case_image, oblique, code, wide):
    affine = oblique(angles=(0.0, 0.0, 0.0))
    array = voxels("int32" if wide else "int16")
    plain = whole(array, affine)
    axes = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
    turned, new = np.moveaxis(array, 0, -1).transpose(2, 1, 0, 3), affine.copy()  # (x, y, z, t)
    for axis, direction in enumerate("RAS"):
        letter = next(c for c in code if axes[c] == axis)
        if letter != direction:
            new[:3, 3] += new[:3, axis] * (turned.shape[axis] - 1)
            new[:3, axis] *= -1
            turned = np.flip(turned, axis)
    order = [axes[c] for c in code]
    turned, new[:3, :3] = turned.transpose(*order, 3), new[:3, order]
    other = whole(np.ascontiguousarray(turned.T), new)
    first, second = (
        normalise_image(v, case_image("MR", dtype=str(array.dtype)), recipe(geometry=COARSE)) for v in (plain, other)
    )
    assert first.array.tobytes() == second.array.tobytes()
    assert first.record.content_hash == second.record.content_hash
    assert first.record.stored_intensity == second.record.stored_intensity


def test_a_negative_slope_is_dealt_with_as_of_a_volume(recipe, case_image, oblique):
    image = whole(voxels("int16"), oblique(), scale=-0.5, offset=3.0)
    made = normalise_image(image, case_image("MR"), recipe(intensity="native"))
    for t in range(TIMES):
        np.testing.assert_array_equal(made.array[t], voxels("int16")[t] * np.float32(-0.5) + np.float32(3))


def test_the_hash_knows_order_and_number_of_time_points(recipe, case_image, oblique):
    def digest(array):
        return normalise_image(whole(array, oblique()), case_image("MR"), recipe()).record.content_hash

    array = voxels("int16")
    assert digest(array) == digest(array.astype(np.int32)) == digest(array.astype(np.float32))
    alone = normalise_image(Volume(array[0], oblique()), case_image("MR"), recipe()).record.content_hash
    assert len({digest(array), digest(array[::-1].copy()), digest(array[:2]), digest(array[:1]), alone}) == 5
    seen, found = over_time.survey_and_hash(array, scale=1.0, offset=0.0)
    assert found == content_hash.content_hash(array, seen)
    assert over_time.merged([survey(array[0])]).voxels == array[0].size


def test_foreground_is_cut_alike_at_all_times(recipe, case_image, oblique):
    array = np.full((TIMES, *SHAPE), -1000, np.int16)
    array[0, 2:4, 3:6, 4:9] = 50
    array[3, 4:7, 5:8, 2:5] = 50
    made = normalise_image(whole(array, oblique()), case_image("CT"), recipe(geometry={"crop": "foreground"}))
    np.testing.assert_array_equal(made.array, array[:, 2:7, 3:8, 2:9])
    assert made.crop == (2, 3, 2, 7, 8, 9)


@pytest.mark.parametrize("kernel", ["linear", "cubic"])
def test_a_shared_grid_is_that_of_each_time_point(recipe, case_image, oblique, kernel):
    wanted = recipe(geometry={**COARSE, "interpolation": kernel, "grid": {"reference": "CT"}})
    ct = normalise_image(Volume(voxels("int16")[0], oblique(code="LPS")), case_image("CT"), wanted)
    array = voxels("int16")
    array[:, 0, 0, 0], array[:, -1, -1, -1] = array.min(), array.max()
    image = whole(array, oblique(angles=(3.0, 5.0, 2.0), spacing=(0.9, 1.0, 2.0)))
    made = normalise_image(image, case_image("MR"), wanted, ct.grid)
    for t in range(TIMES):
        alone = normalise_image(image.moment(t), case_image("MR"), wanted, ct.grid)
        assert made.array[t].tobytes() == alone.array.tobytes()
        assert made.done == alone.done


def test_baked_numbers_are_those_of_all_time_points(recipe, case_image, oblique):
    array = voxels("int16")
    made = normalise_image(whole(array, oblique()), case_image("MR"), recipe(intensity={"store": "normalised"}))
    low, high = np.percentile(array, [0.5, 99.5])
    expected = np.clip((array - low) / (high - low), 0, 1)
    np.testing.assert_allclose(made.array * made.record.scale, expected, atol=2e-5)


def test_limits_are_of_the_whole_result(recipe, case_image, oblique):
    fine = {"spacing_mm": [0.5, 0.5, 1.0]}
    one = normalise_image(Volume(voxels("int16")[0], oblique()), case_image("MR"), recipe(geometry=fine))
    limits = {"max_voxels": one.array.size * TIMES - 1}
    normalise_image(Volume(voxels("int16")[0], oblique()), case_image("MR"), recipe(geometry=fine, limits=limits))
    with pytest.raises(Rejected, match="at each of 4 time points") as refused:
        normalise_image(whole(voxels("int16"), oblique()), case_image("MR"), recipe(geometry=fine, limits=limits))
    assert refused.value.reason is Reason.TOO_LARGE


def test_a_volume_is_asked_for_by_its_axes(recipe, case_image, oblique):
    made = normalise_image(whole(voxels("int16"), oblique(), step_ms=40.0), case_image("MR"), recipe())
    with pytest.raises(ValueError, match="found axes tzyx"):
        _ = made.array_zyx
    assert [(a.name, a.value) for a in made.annotations] == [("frame_time", "40 ms")]
    assert replace(made, array=made.array[0]).array_zyx.shape == SHAPE


def test_times_at_no_one_step_are_kept_and_take_no_room_elsewhere(recipe, case_image, oblique):
    times = (0.0, 1000.0, 2500.0, 9000.0)
    told = normalise_image(whole(voxels("int16"), oblique(), times_ms=times), case_image("MR"), recipe())
    without = normalise_image(whole(voxels("int16"), oblique()), case_image("MR"), recipe())
    assert (told.record.times_ms, told.annotations) == (times, ())
    assert replace(told.record, times_ms=None) == without.record
    assert "times_ms" not in canonical.plain(without.record)
    assert canonical.plain(told.record)["times_ms"] == list(times)


def test_an_index_without_times_is_read_beside_one_with_them(recipe, case_image, oblique):
    times = (0.0, 1000.0, 2500.0, 9000.0)
    told = normalise_image(whole(voxels("int16"), oblique(), times_ms=times), case_image("MR"), recipe()).record
    new = arrow.to_table(Holder, [Holder((told,))])
    struct = new.schema.field("images").type.value_type
    older = pa.struct([f for f in struct if f.name != "times_ms"])
    old = pa.Table.from_pylist(
        [{"images": [{k: v for k, v in arrow.as_dict(told).items() if k != "times_ms"}]}],
        schema=pa.schema([pa.field("images", pa.list_(older))]),
    )
    both = pa.concat_tables([old, new], promote_options="permissive")
    first, second = arrow.from_table(Holder, both)
    assert (first.images[0].times_ms, second.images[0].times_ms) == (None, times)
    assert replace(second.images[0], times_ms=None) == first.images[0]
