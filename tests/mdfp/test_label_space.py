from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdfp.class_mask import class_mask, mask_dtype, structure_masks
from mdfp.errors import UsageError
from mdfp.hierarchy import Hierarchy
from mdfp.label_space import LabelSpace
from mdfp.labels import State
from mdfp.manifest import PaletteEntry

V = {
    "background": 0,
    "kidney": 1,
    "kidney_left": 2,
    "kidney_right": 3,
    "kidney_tumour": 4,
    "liver": 5,
    "liver_tumour": 6,
    "lung_lower_lobe_left": 7,
    "lung_upper_lobe_left": 8,
    "spleen": 9,
    "tumour_unspecified": 10,
    "IGNORE": 255,
    "unlisted": 99,
}
IGN = 255


@pytest.fixture(scope="session")
def hierarchy(golden):
    return Hierarchy(golden.entries(), golden.relations())


@pytest.fixture(scope="session")
def sample_with(golden):
    """A record whose structures are all unknown but for those given."""
    draft = golden.Draft("s", "s", "train", (4, 5, 6), 0, layers={"base": np.zeros((4, 5, 6), np.uint8)})
    blank = golden.sample_of(draft, golden.volume(draft))

    def make(**states):
        rows = []
        for row in blank.structures:
            wanted = states.get(row.structure)
            if wanted == "present":
                row = replace(row, state=State.PRESENT, layer="base")
            elif isinstance(wanted, dict):
                row = replace(row, **wanted)
            elif wanted:
                row = replace(row, state=State(wanted))
            rows.append(row)
        return replace(blank, structures=tuple(rows))

    return make


def told(hierarchy, sample, classes, values, unknown="ignore", layers=("base",)):
    """(class of each voxel, masks) for one row of stored values, or several layers of them."""
    space = LabelSpace(classes, hierarchy, unknown=unknown)
    rows = values if isinstance(values, tuple) else (values,)
    arrays = [np.array([[[V[v] for v in row]]], dtype=np.uint8) for row in rows]
    openness = space.openness(sample, layers)
    shape = arrays[0].shape
    mask = class_mask(arrays, shape, (0, 0, 0), space, openness)
    masks = structure_masks(arrays, shape, (0, 0, 0), space, openness)
    return mask[0, 0].tolist(), {n: m[0, 0].tolist() for n, m in zip(space.names, masks, strict=True)}


MERGED = {"state": State.MERGED, "merged_into": "kidney"}


def test_rule_1_a_voxel_counts_as_everything_wider(hierarchy, sample_with):
    sample = sample_with(kidney_left="present", kidney_right="present", lung_upper_lobe_left="present")
    mask, masks = told(hierarchy, sample, ["kidney", "lung"], ["kidney_left", "kidney_right", "lung_upper_lobe_left"])
    assert mask == [1, 1, 2]
    assert masks["kidney"] == [1, 1, 0]


def test_rule_2_a_lesion_counts_as_its_organ(hierarchy, sample_with):
    sample = sample_with(liver="present", liver_tumour="present")
    mask, masks = told(hierarchy, sample, ["liver"], ["liver", "liver_tumour", "background"])
    assert mask == [1, 1, 0]
    assert masks["liver"] == [1, 1, 0]


def test_rule_3_unless_the_lesion_itself_is_asked_for(hierarchy, sample_with):
    sample = sample_with(liver="present", liver_tumour="present")
    mask, masks = told(hierarchy, sample, ["liver", "liver_tumour"], ["liver", "liver_tumour"])
    assert mask == [1, 2]
    assert masks == {"liver": [1, 0], "liver_tumour": [0, 1]}
    # ... or a kind it is of.
    sample = sample_with(liver="present", liver_tumour="present", tumour_unspecified="present")
    assert told(hierarchy, sample, ["liver", "tumour_unspecified"], ["liver", "liver_tumour"])[0] == [1, 2]


def test_rule_4_kidney_painted_and_left_asked_is_ignored_not_background(hierarchy, sample_with):
    sample = sample_with(kidney="present", kidney_left=MERGED, kidney_right=MERGED)
    mask, masks = told(hierarchy, sample, ["kidney_left", "kidney_right"], ["kidney", "background"])
    assert mask == [IGN, 0]
    assert masks == {"kidney_left": [IGN, 0], "kidney_right": [IGN, 0]}


def test_rule_4_the_wider_class_does_not_hide_a_narrower_one_that_is_possible(hierarchy, sample_with):
    sample = sample_with(kidney="present", kidney_left=MERGED, kidney_right=MERGED)
    mask, masks = told(hierarchy, sample, ["kidney", "kidney_left"], ["kidney", "background"])
    assert mask == [IGN, 0]
    assert masks == {"kidney": [1, 0], "kidney_left": [IGN, 0]}


def test_rule_4_a_side_that_was_drawn_is_not_the_other(hierarchy, sample_with):
    sample = sample_with(kidney_left="present", kidney_right="present")
    assert told(hierarchy, sample, ["kidney_left"], ["kidney_left", "kidney_right", "background"])[0] == [1, 0, 0]


def test_rule_5_a_lesion_nobody_looked_for_may_be_in_its_organ(hierarchy, sample_with):
    sample = sample_with(liver="present", spleen="present")
    mask, masks = told(hierarchy, sample, ["liver", "liver_tumour"], ["liver", "spleen"])
    assert mask == [IGN, 0]
    assert masks == {"liver": [1, 0], "liver_tumour": [IGN, 0]}
    looked = sample_with(liver="present", liver_tumour="absent")
    assert told(hierarchy, looked, ["liver", "liver_tumour"], ["liver", "background"])[0] == [1, 0]


def test_rule_5_a_lesion_of_no_place_may_be_anywhere(hierarchy, sample_with):
    sample = sample_with(liver="present", spleen="present")
    assert told(hierarchy, sample, ["spleen", "tumour_unspecified"], ["spleen", "liver"])[0] == [IGN, IGN]
    sided = sample_with(kidney_left="present")
    assert told(hierarchy, sided, ["kidney_tumour"], ["kidney_left", "spleen"])[0] == [IGN, 0]


def test_rule_6_the_side_of_a_tumour_cannot_be_told(hierarchy, sample_with):
    sample = sample_with(kidney_left="present", kidney_right="present", kidney_tumour="present")
    mask, masks = told(hierarchy, sample, ["kidney_left", "kidney_right"], ["kidney_tumour", "kidney_left"])
    assert mask == [IGN, 1]
    assert masks == {"kidney_left": [IGN, 1], "kidney_right": [IGN, 0]}
    absent = sample_with(kidney_left="absent", kidney_right="present", kidney_tumour="present")
    assert told(hierarchy, absent, ["kidney_left"], ["kidney_tumour"])[0] == [0]
    assert told(hierarchy, sample, ["kidney_left", "kidney_tumour"], ["kidney_tumour"])[0] == [2]


def test_rule_7_what_the_mask_does_not_state_is_ignored(hierarchy, sample_with):
    sample = sample_with(liver="present")
    mask, masks = told(hierarchy, sample, ["liver"], ["IGNORE", "unlisted", "liver"])
    assert mask == [IGN, IGN, 1]
    assert masks["liver"] == [IGN, IGN, 1]
    absent = sample_with(liver="absent")
    assert told(hierarchy, absent, ["liver"], ["IGNORE"], unknown="absent")[0] == [IGN]


def test_rule_8_other_structures_are_background_even_where_unknown_is_open(hierarchy, sample_with):
    sample = sample_with(spleen="present")
    assert told(hierarchy, sample, ["liver"], ["spleen", "background"])[0] == [0, IGN]


def test_rule_9_background_is_not_a_negative(hierarchy, sample_with):
    assert told(hierarchy, sample_with(), ["liver"], ["background"])[0] == [IGN]
    assert told(hierarchy, sample_with(liver="absent"), ["liver"], ["background"])[0] == [0]
    assert told(hierarchy, sample_with(), ["liver"], ["background"], unknown="absent")[0] == [0]
    both = sample_with(liver="present")
    mask, masks = told(hierarchy, both, ["liver", "spleen"], ["background", "liver"])
    assert mask == [IGN, 1]
    assert masks == {"liver": [0, 1], "spleen": [IGN, 0]}


def test_open_where_a_present_structure_lies_in_a_layer_that_is_not_read(hierarchy, sample_with):
    elsewhere = sample_with(liver={"state": State.PRESENT, "layer": "other"})
    assert told(hierarchy, elsewhere, ["liver"], ["background"])[0] == [IGN]
    vanished = sample_with(liver_tumour={"state": State.PRESENT, "layer": None, "vanished": True})
    assert told(hierarchy, vanished, ["liver_tumour"], ["background"])[0] == [0]


def test_open_where_the_parts_lie_in_a_layer_that_is_not_read(hierarchy, sample_with):
    sample = sample_with(
        kidney={"state": State.PRESENT, "layer": None}, kidney_left={"state": State.PRESENT, "layer": "other"}
    )
    assert told(hierarchy, sample, ["kidney"], ["background"])[0] == [IGN]
    assert told(hierarchy, sample, ["kidney"], ["background"], layers=("other",))[0] == [0]
    partial = {"state": State.PARTIAL, "layer": "other", "extent": (0, 0, 0, 1, 1, 1)}
    assert told(hierarchy, sample_with(liver=partial), ["liver"], ["background"])[0] == [IGN]


def test_open_outside_the_extent_only(hierarchy, sample_with):
    sample = sample_with(liver={"state": State.PARTIAL, "extent": (0, 0, 1, 1, 1, 3)}, spleen="absent")
    mask, masks = told(hierarchy, sample, ["liver", "spleen"], ["background", "background", "liver", "background"])
    assert mask == [IGN, 0, 1, IGN]
    assert masks == {"liver": [IGN, 0, 1, IGN], "spleen": [0, 0, 0, 0]}


def test_extents_count_from_the_volume_not_from_the_crop(hierarchy, sample_with):
    sample = sample_with(liver={"state": State.PARTIAL, "extent": (0, 0, 11, 1, 1, 13)})
    space = LabelSpace(["liver"], hierarchy)
    layer = np.zeros((1, 1, 4), np.uint8)
    mask = class_mask([layer], (1, 1, 4), (0, 0, 10), space, space.openness(sample, ("base",)))
    assert mask[0, 0].tolist() == [IGN, 0, 0, IGN]


def test_both_sides_looked_for_is_the_whole_looked_for(hierarchy, sample_with):
    both = sample_with(kidney_left="present", kidney_right="absent")
    assert told(hierarchy, both, ["kidney"], ["background", "kidney_left"])[0] == [0, 1]
    one = sample_with(kidney_left="present")
    assert told(hierarchy, one, ["kidney"], ["background", "kidney_left"])[0] == [IGN, 1]


def test_a_tumour_that_the_livers_mask_holds_is_nowhere_else(hierarchy, sample_with):
    held = sample_with(liver="present", liver_tumour={"state": State.MERGED, "merged_into": "liver"})
    assert told(hierarchy, held, ["liver_tumour"], ["liver", "background", "spleen"])[0] == [IGN, 0, 0]
    silent = sample_with(liver="present")
    assert told(hierarchy, silent, ["liver_tumour"], ["liver", "background"])[0] == [IGN, IGN]


def test_all_lobes_looked_for_is_the_lung_looked_for(golden, sample_with):
    lobes = sample_with(lung_lower_lobe_left="present", lung_upper_lobe_left="present")
    hierarchy = Hierarchy(golden.entries(), golden.relations())
    assert told(hierarchy, lobes, ["lung_left"], ["background", "lung_lower_lobe_left"])[0] == [0, 1]
    assert told(hierarchy, lobes, ["lung"], ["background", "lung_lower_lobe_left"])[0] == [IGN, 1]


def test_a_part_lies_inside_a_whole_that_was_looked_for(hierarchy, sample_with):
    sample = sample_with(kidney="present")
    assert told(hierarchy, sample, ["kidney_left"], ["background", "kidney", "spleen"])[0] == [0, IGN, 0]
    none = sample_with(kidney="absent")
    assert told(hierarchy, none, ["kidney_left"], ["background"])[0] == [0]


def test_layers_combine_certain_before_excluded_before_possible(hierarchy, sample_with):
    sample = sample_with(kidney_left="present", kidney_right="present", kidney_tumour="present")
    base = ["kidney_left", "kidney_right", "background", "IGNORE"]
    extra = ["kidney_tumour", "kidney_tumour", "kidney_tumour", "kidney_left"]
    mask, masks = told(hierarchy, sample, ["kidney_left"], (base, extra), layers=("base", "extra"))
    assert mask == [1, 0, IGN, 1]
    assert masks["kidney_left"] == mask
    assert told(hierarchy, sample, ["kidney_left"], (extra, base), layers=("base", "extra"))[0] == mask


def test_an_overlap_of_layers_is_both_in_masks_and_the_narrower_in_the_class_mask(hierarchy, sample_with):
    sample = sample_with(liver="present", kidney="present", liver_tumour="present")
    mask, masks = told(hierarchy, sample, ["kidney", "liver"], (["liver", "liver"], ["kidney", "background"]))
    assert mask == [1, 2]
    assert masks == {"kidney": [1, 0], "liver": [1, 1]}
    mask, _ = told(hierarchy, sample, ["liver", "liver_tumour"], (["liver_tumour"], ["liver"]))
    assert mask == [2]


def test_more_than_three_layers_combine_alike(hierarchy, sample_with):
    sample = sample_with(liver="present", spleen="present", kidney="present")
    rows = tuple([v, "background"] for v in ("liver", "background", "background", "spleen", "kidney"))
    assert told(hierarchy, sample, ["spleen", "liver", "kidney"], rows)[0] == [1, 0]


def test_a_group_is_one_class(hierarchy, sample_with):
    sample = sample_with(kidney_left="present", kidney_right="present", spleen="present", liver="absent")
    classes = {"kidneys": ("kidney_left", "kidney_right"), "other": ("spleen", "liver")}
    mask, masks = told(hierarchy, sample, classes, ["kidney_left", "kidney_right", "spleen", "background"])
    assert mask == [1, 1, 2, 0]
    assert masks["kidneys"] == [1, 1, 0, 0]
    half = sample_with(kidney_left="present")
    assert told(hierarchy, half, classes, ["background", "kidney_left"])[0] == [IGN, 1]


def test_states_of_classes(hierarchy, sample_with):
    space = LabelSpace({"kidney": "kidney", "left": "kidney_left", "liver": "liver", "spleen": "spleen"}, hierarchy)
    sample = sample_with(kidney="present", kidney_left=MERGED, liver_tumour="present", spleen="absent")
    assert space.states(sample) == {
        "kidney": State.PRESENT,
        "left": State.MERGED,
        "liver": State.PRESENT,
        "spleen": State.ABSENT,
    }
    assert set(space.states(sample_with()).values()) == {State.UNKNOWN}


def test_a_misspelt_structure_names_near_ones(hierarchy):
    with pytest.raises(UsageError, match=r"no structure 'kidney_lef'; did you mean kidney_left"):
        LabelSpace(["kidney_lef"], hierarchy)
    with pytest.raises(UsageError, match="named twice"):
        LabelSpace(["liver", "liver"], hierarchy)
    with pytest.raises(UsageError, match="belongs to two classes"):
        LabelSpace({"a": "liver", "b": ("liver", "spleen")}, hierarchy)
    with pytest.raises(UsageError, match="list of structures, found the text"):
        LabelSpace("liver", hierarchy)


def test_the_ignore_number_is_never_a_class():
    assert mask_dtype(3, 255) == np.uint8
    assert mask_dtype(3, -1) == np.int16
    assert mask_dtype(300, 65535) == np.int32
    with pytest.raises(UsageError, match="the number of one of the 300 classes"):
        mask_dtype(300, 255)


def test_every_structure_of_the_default_space_is_seen_in_a_corpus(corpus, written):
    for key in ("alpha-00", "beta-00", "gamma-00", "delta-00"):
        sample = corpus.sample(key)
        mask = sample.classes()
        assert mask.dtype == np.uint8
        assert mask.shape == sample.record.images[0].stored.shape
        if key == "alpha-00":
            base = written.samples[key].layers["base"]
            np.testing.assert_array_equal(mask, np.choose(np.minimum(base, 6), [0, 0, 2, 3, 0, 1, 1]))
        if key == "delta-00":
            assert (mask == 255).all()


def test_sixteen_bit_layers_are_told_like_eight_bit_ones(corpus, written):
    layers = written.samples["gamma-00"].layers
    mask = corpus.sample("gamma-00").classes(["liver_tumour"])
    np.testing.assert_array_equal(mask == 1, layers["pseudo"] == 6)
    only = corpus.sample("gamma-00").classes(["liver_tumour"], layers=["base"])
    assert (only == 255).all() or set(np.unique(only)) <= {0, 255}
    assert not (only == 1).any()


ALL = [s for s in V if s not in ("background", "IGNORE", "unlisted")]


@settings(max_examples=150, deadline=None)
@given(
    asked=st.lists(st.sampled_from([*ALL, "lung", "lung_left"]), min_size=1, max_size=4, unique=True),
    states=st.dictionaries(st.sampled_from(ALL), st.sampled_from(["present", "absent", "unknown"])),
    stored=st.lists(st.sampled_from([*ALL, "background", "IGNORE"]), min_size=1, max_size=8),
)
def test_no_class_is_invented(hierarchy, sample_with, asked, states, stored):
    """A class is told only where a stored value is it or narrower; a background only where nothing asked for is open."""
    mask, masks = told(hierarchy, sample_with(**states), asked, stored)
    for voxel, (value, seen) in enumerate(zip(stored, mask, strict=True)):
        if seen == IGN:
            continue
        if seen > 0:
            assert asked[seen - 1] in hierarchy.wider(value)
            assert masks[asked[seen - 1]][voxel] == 1
        else:
            assert value != "IGNORE"
            assert all(masks[a][voxel] == 0 for a in asked)
            if value == "background":
                for a in asked:
                    assert (
                        states.get(a, "unknown") != "unknown"
                        or any(states.get(w, "unknown") != "unknown" for w in hierarchy.tissue(a))
                        or hierarchy.covers(a)
                    )


def test_a_palette_of_no_structures_gives_nothing_certain(sample_with):
    space = LabelSpace([], Hierarchy((), ()))
    openness = space.openness(sample_with(), ("base",))
    assert class_mask([], (2, 3, 4), (0, 0, 0), space, openness).tolist() == np.zeros((2, 3, 4)).tolist()


def test_a_device_is_like_a_lesion():
    def entry(value, structure, kind):
        return PaletteEntry(value, structure, None, None, None, kind, (), (), ())

    h = Hierarchy((entry(1, "heart", "anatomy"), entry(2, "pacemaker", "device")), ())
    assert h.is_lesion("pacemaker")
    assert not h.is_lesion("heart")
