from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.phantom.variations import ORIENTATIONS, VARIATIONS, cropped, respaced, revalued, turned
from mdfp.sample import Acquisition
from schemas.case import ArrayHeader, CaseImage
from schemas.recipe import Recipe
from transforms.flat import Flat
from transforms.identity.align import likeness, prepare
from transforms.identity.fingerprint import CODE_BITS, fingerprint
from transforms.identity.matching import RADIUS
from transforms.identity.thumbnail import CELLS, thumbnail
from transforms.normalise.image import normalise_image
from transforms.volume import TemporalVolume, Volume

SURVIVED = [
    name
    for name in VARIATIONS
    if name
    not in {"25 % of slices at one end", "half of the slices", "axes exchanged, header not", "spacing lost (1 mm)",
            "gamma of 0.5", "inverted"}
]  # fmt: skip
"""The ways of writing a scan that a fingerprint must survive; docs/identity.md says what becomes of the others."""


def distance(a: bytes | None, b: bytes | None) -> int:
    assert a is not None
    assert b is not None
    return int(np.bitwise_count(np.frombuffer(a, np.uint8) ^ np.frombuffer(b, np.uint8)).sum())


def alike(a, b) -> bool:
    return distance(a.code, b.code) <= RADIUS and likeness(prepare(a.thumbnail), prepare(b.thumbnail)).same_image


def same(a, b) -> bool:
    return (
        np.array_equal(a.thumbnail.cells_zyx, b.thumbnail.cells_zyx)
        and a.code == b.code
        and a.thumbnail.box_mm == b.thumbnail.box_mm
    )


orders = st.permutations([0, 1, 2])
reversals = st.tuples(st.booleans(), st.booleans(), st.booleans())


@given(orders, reversals)
@settings(max_examples=48, deadline=None)
def test_the_order_in_which_voxels_are_stored_changes_nothing(noise_volume, order, reverse):
    a, b = fingerprint(noise_volume), fingerprint(turned(noise_volume, order, reverse))
    assert same(a, b)
    assert a.content_hash == b.content_hash


@given(st.sampled_from([0.25, 0.5, 2.0, 4.0, 3.0]), st.integers(-2000, 2000))
@settings(max_examples=20, deadline=None)
def test_scale_and_offset_change_nothing_but_the_exact_hash(noise_volume, scale, offset):
    rescaled = Volume(noise_volume.array_zyx, noise_volume.affine_ras, scale, float(offset))
    written = revalued(noise_volume, lambda a: a.astype(np.float64) * scale + offset)
    assert same(fingerprint(rescaled), fingerprint(noise_volume))
    assert fingerprint(written).content_hash == fingerprint(rescaled).content_hash
    assert distance(fingerprint(written).code, fingerprint(noise_volume).code) <= 2  # values are binned anew
    assert alike(fingerprint(written), fingerprint(noise_volume))


def test_a_negative_scale_is_the_physical_picture(noise_volume):
    stored = Volume(-noise_volume.array_zyx, noise_volume.affine_ras, -1.0, 0.0)
    assert same(fingerprint(stored), fingerprint(noise_volume))


@pytest.fixture(scope="module")
def noise_volume():
    draws = np.random.default_rng(3)
    array = draws.integers(0, 1000, (3, 5, 7)).repeat(4, 0).repeat(4, 1).repeat(4, 2) + draws.integers(
        0, 30, (12, 20, 28)
    )
    affine = np.array([[-0.8, 0, 0, 5.0], [0, -0.9, 0, 7.0], [0, 0, 2.5, -30.0], [0, 0, 0, 1]])
    return Volume(array.astype(np.int16), affine)


@pytest.mark.parametrize("name", SURVIVED)
def test_a_scan_is_recognised_however_it_is_written(scan, name):
    original = scan("somebody")
    assert alike(fingerprint(original), fingerprint(VARIATIONS[name](original)))


@given(
    st.tuples(*[st.floats(0.7, 1.5)] * 3), st.integers(0, 3), st.integers(0, 3), orders, reversals,
    st.floats(0.01, 50), st.floats(-2000, 2000),
)  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_a_scan_is_recognised_after_all_of_it_at_once(one_scan, factors, low, high, order, reverse, scale, offset):
    written = cropped(respaced(one_scan, factors), (low, 0, 0), (high, 0, 0))
    written = revalued(turned(written, order, reverse), lambda a: (a * scale + offset).astype(np.float32))
    assert alike(fingerprint(one_scan), fingerprint(written))


@pytest.fixture(scope="module")
def one_scan(scan):
    return scan("somebody else")


def test_other_people_and_other_scans_of_one_are_other_images(scan):
    people = [fingerprint(scan(f"person {n}")) for n in range(12)]
    for n, a in enumerate(people):
        assert not [
            m
            for m, b in enumerate(people)
            if m != n and likeness(prepare(a.thumbnail), prepare(b.thumbnail)).same_image
        ]
    for what, values in (("again", {}), ("other phase", {"liver": 60, "spleen": 55, "aorta": 40})):
        assert not alike(people[0], fingerprint(scan("person 0", seed=what, values=values)))


def test_an_oblique_scan_is_recognised_in_its_own_axes(scan):
    oblique = scan("tilted", tilt=(0.05, -0.03, 0.02))
    assert alike(fingerprint(oblique), fingerprint(turned(oblique, (1, 0, 2), (True, False, True))))


def test_a_likeness_does_not_depend_on_the_order(scan):
    a = prepare(thumbnail(scan("a")))
    b = prepare(thumbnail(VARIATIONS["all of it"](scan("a"))))
    one, other = likeness(a, b), likeness(b, a)
    assert (one.score, one.overlap) == (other.score, other.overlap)
    assert one.shift_mm == tuple(-s for s in other.shift_mm)


def test_a_cut_end_is_found_where_it_was_cut(scan):
    whole = scan("a")
    seen = likeness(prepare(thumbnail(whole)), prepare(thumbnail(cropped(whole, (6, 0, 0), (0, 0, 0)))))
    # Six slices of 2.25 mm at the lower end: the middle of what is left lies half of that higher.
    assert seen.shift_mm[2] == pytest.approx(6 * 2.25 / 2, abs=1.0)
    assert abs(seen.shift_mm[0]) < 1
    assert abs(seen.shift_mm[1]) < 1


def test_the_cube_is_a_mean_of_ranks_in_the_patients_axes():
    # Bright towards the patient's left, at the front and above: only that corner of the cube may be bright.
    array = np.zeros((40, 40, 40), np.int16)
    array[20:, 20:, 20:] = 100
    array[25:, 25:, 25:] = 200
    cube = thumbnail(Volume(array, np.diag([-1.0, 1.0, 1.0, 1.0])))
    assert cube is not None
    assert cube.cells_zyx.shape == (CELLS, CELLS, CELLS)
    assert cube.cells_zyx[-1, -1, 0] > cube.cells_zyx[0, 0, -1] > 0
    assert cube.box_mm == pytest.approx((20, 20, 20), abs=0.5)


@pytest.mark.parametrize("array", [np.zeros((4, 5, 6), np.int16), np.full((4, 5, 6), np.nan, np.float32)])
def test_what_shows_nothing_has_an_exact_hash_and_no_cube(array):
    found = fingerprint(Volume(array, np.eye(4)))
    assert found.thumbnail is None
    assert found.code is None
    assert len(found.content_hash) == 32


def test_voxels_that_are_no_numbers_do_not_disturb_the_rest(one_scan):
    holed = one_scan.array_zyx.astype(np.float32)
    holed[:2, :4, :4] = np.nan
    holed[3, :4, :4] = np.inf
    assert alike(fingerprint(one_scan), fingerprint(Volume(holed, one_scan.affine_ras)))


def test_padding_outside_the_field_of_view_is_air_of_ct(one_scan):
    _, y, x = one_scan.shape_zyx
    outside = (np.arange(y)[:, None] - y / 2) ** 2 + (np.arange(x) - x / 2) ** 2 > (x / 2) ** 2
    padded = one_scan.array_zyx.copy()
    padded[:, outside] = -3024
    unpadded = padded.clip(-1024)
    a, b = (fingerprint(Volume(v, one_scan.affine_ras), "CT") for v in (padded, unpadded))
    assert same(a, b)
    assert alike(a, fingerprint(one_scan, "CT"))


def test_one_slice_is_a_volume_too():
    draws = np.random.default_rng(0)
    array = draws.integers(0, 255, (1, 50, 40)).astype(np.uint8)
    found = fingerprint(Volume(array, np.eye(4)))
    assert found.code is not None
    assert len(found.code) * 8 == CODE_BITS


def test_a_picture_has_the_exact_hash_alone():
    array = np.arange(35, dtype=np.uint8).reshape(5, 7)
    found = fingerprint(Flat(array, "yx"))
    assert (found.thumbnail, found.code) == (None, None)
    assert found.content_hash != fingerprint(Flat(array + 1, "yx")).content_hash


def test_there_are_forty_eight_orientations():
    assert len(set(ORIENTATIONS)) == 48


def test_an_image_over_time_is_known_by_its_voxels_alone():
    moments = np.random.default_rng(5).integers(0, 900, (3, 6, 8, 10)).astype(np.int16)
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    header = ArrayHeader(
        "mr", "nifti", "tzyx", moments.shape, (2.0, 2.0, 3.0), "RAS", None, 0.0, "int16", 1.0, 0.0, None, "temporal", 0
    )
    recipe = Recipe.model_validate({"corpus": "c", "out": "-", "sources": [{"id": "s"}], "terms": {"accept": []}})
    stored = normalise_image(TemporalVolume(moments, affine, "axis"), CaseImage(header, "MR", Acquisition()), recipe)
    found = fingerprint(TemporalVolume(moments, affine, "axis"))
    assert (found.content_hash, found.thumbnail, found.code) == (stored.record.content_hash, None, None)
    flipped = affine @ np.array([[-1.0, 0, 0, 9], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert fingerprint(TemporalVolume(moments[..., ::-1], flipped, "axis")).content_hash == found.content_hash
    assert fingerprint(TemporalVolume(moments[::-1], affine, "axis")).content_hash != found.content_hash
