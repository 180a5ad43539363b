"""States on one slice, row by row of the table in `transforms.labels.on_slice`."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdfp.labels import State
from mdfp.sample import StructureState
from schemas import ontology
from transforms.labels.on_slice import Plane, states_on_slice

KNOWN = ontology.load()
SHAPE = (6, 5, 4)


def entry(structure: str, value: int, state: State, **more) -> StructureState:
    none = dict.fromkeys(f.name for f in dataclasses.fields(StructureState))
    given = {
        "structure": structure,
        "value": value,
        "state": state,
        "origin": "expert",
        "blocks": (),
        "vanished": False,
    }
    return StructureState(**{**none, **given, **more})


def on(number: int, entries, mask: np.ndarray, axis: int = 0) -> dict[str, StructureState]:
    plane = Plane(axis, number, SHAPE)
    found = states_on_slice(entries, {"base": plane.of(mask)}, plane, KNOWN)
    assert [f.structure for f in found] == [e.structure for e in entries]
    return {f.structure: f for f in found}


@pytest.fixture
def mask() -> np.ndarray:
    """A spleen (1) on planes 1 and 2, a liver tumour (3) on plane 4."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, 1:3, 0:2] = 1
    mask[4, 0, 0] = 3
    return mask


def test_drawn_is_present_where_it_is_drawn_and_absent_elsewhere(mask):
    spleen = entry("spleen", 1, State.PRESENT, layer="base")
    here = on(1, [spleen], mask)["spleen"]
    # Rows and columns run against the axes: y 1..2 of 5 becomes 2..3, x 0..1 of 4 becomes 2..3.
    assert (here.state, here.layer, here.stored_voxels, here.box) == (State.PRESENT, "base", 4, (2, 2, 4, 4))
    assert (here.native_voxels, here.stored_mm3) == (None, None)
    away = on(0, [spleen], mask)["spleen"]
    assert (away.state, away.layer, away.stored_voxels, away.box) == (State.ABSENT, None, 0, None)


def test_unknown_stays_unknown_and_absent_absent(mask):
    entries = [entry("aorta", 5, State.UNKNOWN, origin=None), entry("stomach", 6, State.ABSENT)]
    for number in range(SHAPE[0]):
        found = on(number, entries, mask)
        assert (found["aorta"].state, found["stomach"].state) == (State.UNKNOWN, State.ABSENT)


def test_a_lesion_makes_its_organ_present_without_voxels_of_its_own(mask):
    entries = [
        entry("liver", 2, State.PRESENT, layer="base"),
        entry("liver_tumour", 3, State.PRESENT, layer="base"),
    ]
    found = on(4, entries, mask)
    assert found["liver"].state == State.PRESENT
    assert found["liver"].layer is None
    assert found["liver"].stored_voxels == 0
    assert found["liver_tumour"].stored_voxels == 1
    assert on(1, entries, mask)["liver"].state == State.ABSENT


def test_merged_follows_the_wider_one(mask):
    mask[mask == 1] = 7
    kidney = entry("kidney", 7, State.PRESENT, layer="base")
    left = entry("kidney_left", 8, State.MERGED, merged_into="kidney")
    assert on(1, [kidney, left], mask)["kidney_left"].state == State.MERGED
    there = on(1, [kidney, left], mask)["kidney_left"]
    assert there.merged_into == "kidney"
    away = on(0, [kidney, left], mask)["kidney_left"]
    assert (away.state, away.merged_into) == (State.ABSENT, None)
    outside = on(0, [dataclasses.replace(kidney, state=State.PARTIAL, extent=(1, 0, 0, 6, 5, 4)), left], mask)
    assert outside["kidney_left"].state == State.UNKNOWN


def test_partial_is_judged_by_the_part_that_was_looked_at(mask):
    spleen = entry("spleen", 1, State.PARTIAL, layer="base", extent=(1, 0, 0, 4, 5, 4))
    states = [on(n, [spleen], mask)["spleen"].state for n in range(SHAPE[0])]
    assert states == [State.UNKNOWN, State.PRESENT, State.PRESENT, State.ABSENT, State.UNKNOWN, State.UNKNOWN]
    assert on(0, [spleen], mask)["spleen"].origin is None
    half = on(1, [dataclasses.replace(spleen, extent=(0, 0, 0, 6, 3, 4))], mask)["spleen"]
    assert (half.state, half.extent, half.stored_voxels) == (State.PARTIAL, (2, 0, 5, 4), 4)
    none = on(3, [dataclasses.replace(spleen, extent=(0, 0, 0, 6, 3, 4))], mask)["spleen"]
    assert (none.state, none.extent, none.layer) == (State.PARTIAL, (2, 0, 5, 4), None)


def test_ignored_pixels_leave_absence_open_on_their_slice_alone(mask):
    mask[5, 0, 0] = 255
    stomach = entry("stomach", 6, State.PARTIAL, extent=(0, 0, 0, *SHAPE))
    assert on(5, [stomach], mask)["stomach"].state == State.PARTIAL
    assert on(5, [stomach], mask)["stomach"].extent == (0, 0, 5, 4)
    assert on(4, [stomach], mask)["stomach"].state == State.ABSENT


def test_what_resampling_lost_is_unknown_everywhere(mask):
    liver = entry("liver", 2, State.PRESENT, layer=None)
    tumour = entry("liver_tumour", 9, State.PRESENT, vanished=True)
    for number in (0, 4):
        found = on(number, [liver, tumour], mask)
        assert (found["liver"].state, found["liver_tumour"].state) == (State.UNKNOWN, State.UNKNOWN)
        assert not found["liver_tumour"].vanished


@given(st.integers(0, 2), st.data())
def test_boxes_and_parts_are_those_of_the_turned_plane(axis, data):
    number = data.draw(st.integers(0, SHAPE[axis] - 1))
    box = [data.draw(st.tuples(st.integers(0, n - 1), st.integers(1, n)).filter(lambda b: b[0] < b[1])) for n in SHAPE]
    inside = np.zeros(SHAPE, bool)
    inside[tuple(slice(*b) for b in box)] = True
    plane = Plane(axis, number, SHAPE)
    seen = np.argwhere(plane.of(inside))
    part = plane.part((*(a for a, _ in box), *(b for _, b in box)))
    if len(seen):
        assert part == (*seen.min(axis=0), *(seen.max(axis=0) + 1))
    else:
        assert part is None
