"""Labels of pictures: the area filter's rule, states and layers as of volumes, and no lengths in any record."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mdfp.labels import State
from mdfp.sample import Grid
from schemas import recipe
from schemas.case import ArrayHeader, CaseLabel
from schemas.label_table import LabelTable
from schemas.reasons import Reason
from transforms.labels import palette
from transforms.labels.flat import FlatOnGrid, area_taps
from transforms.labels.label import normalise_labels
from transforms.labels.part import LabelPart
from transforms.labels.resample import resample
from transforms.normalise.flat import shrink, smaller
from transforms.rejected import Rejected

HEADER = ArrayHeader(
    "m", "mask", "yx", (1, 1), None, None, None, None, "uint8", 1.0, 0.0, None, "regular", 0
)  # fmt: skip
SIZES = st.tuples(st.integers(1, 24), st.integers(1, 24))


def resampled(mask, new, how="vote", thin=frozenset()):
    image = FlatOnGrid.of(mask.shape, new)
    lut = np.arange(256, dtype=np.uint8)
    found = resample(mask[np.newaxis], lut, image.canonical.affine_ras, image.grid, how=how, ignore=255, thin=thin)
    return found[0]


@settings(deadline=None)
@given(st.data())
def test_a_vote_over_two_values_is_the_area_filter_at_one_half(data):
    shape = data.draw(SIZES)
    mask = data.draw(arrays.arrays(np.uint8, shape, elements=st.integers(0, 1)))
    new = smaller(shape, data.draw(st.integers(1, 24)))
    # In 16 bits the mean of so few pixels is never rounded up to one half.
    expected = shrink(mask * np.uint16(65534), "yx", new) >= 32767
    np.testing.assert_array_equal(resampled(mask, new), expected)


@settings(deadline=None)
@given(st.data())
def test_turning_before_or_after_is_the_same(data):
    shape = data.draw(SIZES)
    mask = data.draw(arrays.arrays(np.uint8, shape, elements=st.integers(0, 3)))
    new = smaller(shape, data.draw(st.integers(1, 24)))
    for how in ("vote", "nearest"):
        if how == "vote":
            turned = resampled(np.ascontiguousarray(mask[::-1, ::-1]), new)
            np.testing.assert_array_equal(turned[::-1, ::-1], resampled(mask, new))
        flipped = resampled(np.ascontiguousarray(mask.T), new[::-1], how)
        np.testing.assert_array_equal(flipped.T, resampled(mask, new, how))


@given(st.integers(1, 60), st.data())
def test_weights_are_areas(n, data):
    m = data.draw(st.integers(1, n))
    taps = area_taps(n, m)
    if n == m:
        assert taps.identity
        return
    dense = np.zeros((m, n), np.int64)
    for v in range(m):
        dense[v, taps.first[v] : taps.first[v] + taps.width] = taps.integer[v]
    assert (dense.sum(axis=1) == n).all()
    assert (dense.sum(axis=0) == m).all()
    edges = np.arange(n + 1) * m
    for v in range(m):
        overlap = np.minimum(edges[1:], (v + 1) * n) - np.maximum(edges[:-1], v * n)
        np.testing.assert_array_equal(dense[v], np.maximum(overlap, 0))


def test_nearest_takes_the_pixel_under_the_new_centre():
    mask = np.arange(36, dtype=np.uint8).reshape(6, 6)
    np.testing.assert_array_equal(resampled(mask, (2, 2), "nearest"), mask[1::3, 1::3])


def test_thin_structures_stay_where_any_of_their_pixels_falls():
    mask = np.zeros((40, 40), np.uint8)
    mask[:, 7] = 1
    assert not resampled(mask, (10, 10)).any()
    kept = resampled(mask, (10, 10), thin=frozenset({1}))
    assert (kept[:, 1] == 1).all()
    assert kept.sum() == 10


def made(masks, table, native=(20, 30), stored=(20, 30), **wanted):
    table = LabelTable.model_validate({"origin": "expert", **table})
    image = FlatOnGrid.of(native, stored)
    label = CaseLabel(HEADER, "photo", "t", "expert")
    part = LabelPart(label, table, tuple((lambda m=m: image.plane(m, "photo"), s) for m, s in masks))
    return normalise_labels([part], {"photo": image}, palette.build(table.annotated()), recipe.Labels(**wanted))


def square(y, x, edge, shape=(20, 30)):
    mask = np.zeros(shape, np.uint8)
    mask[y : y + edge, x : x + edge] = 1
    return mask


NERVE = {"structures": {"disc": "optic_disc", "cup": "optic_cup"}}


def test_records_of_pictures_have_rows_and_columns_and_no_lengths():
    found = made([(square(2, 3, 10), "optic_disc"), (square(4, 5, 4), "optic_cup")], NERVE)
    ((record, mask),) = found.layers
    assert (record.layer, record.dtype, record.native) == ("base", "uint8", Grid((20, 30), None, None, None))
    assert mask.shape == (20, 30)
    states = {s.structure: s for s in found.states}
    disc, cup = states["optic_disc"], states["optic_cup"]
    assert (disc.state, disc.native_voxels, disc.stored_voxels, disc.box) == (State.PRESENT, 84, 84, (2, 3, 12, 13))
    assert (cup.state, cup.native_voxels, cup.box, cup.outside_fraction) == (State.PRESENT, 16, (4, 5, 8, 9), 0.0)
    assert {s.native_mm3 for s in found.states} == {s.stored_mm3 for s in found.states} == {None}
    assert found.warnings == ()


def test_masks_that_overlap_and_are_no_parts_of_each_other_get_layers():
    table = {"structures": {"a": "retinal_vessel", "b": "retinal_haemorrhage"}}
    found = made([(square(0, 0, 10), "retinal_vessel"), (square(5, 5, 6), "retinal_haemorrhage")], table)
    assert [(r.layer, int((m > 0).sum())) for r, m in found.layers] == [("base", 100), ("overlap1", 36)]


def test_several_masks_of_one_structure_are_united():
    table = {"structures": {"1": "breast_lesion", "2": "breast_lesion"}}
    found = made([(square(0, 0, 4), "breast_lesion"), (square(2, 2, 4), "breast_lesion")], table)
    assert [s.native_voxels for s in found.states] == [28]


def test_an_empty_mask_means_what_the_table_says():
    values = {"values": {0: "background", 1: "skin_lesion"}}
    empty = [(np.zeros((20, 30), np.uint8), None)]
    assert made(empty, values).states[0].state == State.ABSENT
    assert made(empty, {**values, "all_empty": "unknown"}).states[0].state == State.UNKNOWN
    with pytest.raises(Rejected) as fault:
        made(empty, {**values, "all_empty": "fault"})
    assert fault.value.reason == Reason.MISSING_LABEL
    assert made(empty, {**values, "looked_for": "values_present"}).states[0].state == State.UNKNOWN


def test_what_the_table_ignores_is_ignored_and_nothing_is_absent_then():
    mask = square(3, 3, 5) * np.uint8(9)
    found = made([(mask, None)], {"values": {0: "background", 1: "skin_lesion"}, "ignore": [9]})
    ((_, stored),) = found.layers
    assert (stored == 255).sum() == 25
    assert (found.states[0].state, found.states[0].extent) == (State.PARTIAL, (0, 0, 20, 30))


def test_a_lesion_that_a_smaller_picture_loses_has_vanished_and_is_not_absent():
    found = made([(square(4, 4, 1), None)], {"values": {0: "background", 1: "skin_lesion"}}, stored=(5, 8))
    (state,) = found.states
    assert (state.state, state.native_voxels, state.stored_voxels, state.vanished) == (State.PRESENT, 1, 0, True)
    assert "skin_lesion vanished: 1 native pixels" in found.warnings[0]


@pytest.mark.parametrize("shape", [(20, 29), (30, 20), (10, 10)])
def test_a_mask_of_another_size_is_a_fault_also_where_it_would_fit_into_its_picture(shape):
    with pytest.raises(Rejected, match="its picture 'photo' 30×20") as fault:
        made([(np.zeros(shape, np.uint8), None)], {"values": {0: "background", 1: "skin_lesion"}})
    assert fault.value.reason == Reason.LABEL_GRID


def test_a_value_without_a_meaning_is_a_fault():
    with pytest.raises(Rejected, match="7") as fault:
        made([(square(0, 0, 2) * np.uint8(7), None)], {"values": {0: "background", 1: "skin_lesion"}})
    assert fault.value.reason == Reason.UNMAPPED_LABEL
