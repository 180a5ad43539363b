"""Laws of targets: nothing that cannot be told becomes a class or background, and the same is said in every form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdfp.class_mask import class_mask, structure_masks
from mdfp.errors import UsageError
from mdfp.hierarchy import Hierarchy
from mdfp.label_space import LabelSpace
from mdfp.labels import State
from mdfp.targets import marginal, multi_hot, partition, roll_up, roll_up_table

IGN = 255
MERGED = {"state": State.MERGED, "merged_into": "kidney"}


@pytest.fixture(scope="module")
def hierarchy(golden):
    return Hierarchy(golden.entries(), golden.relations())


@pytest.fixture(scope="module")
def sample_with(golden):
    """A record whose structures are all unknown but for those given; layers `base` and `extra`."""
    blank_mask = np.zeros((1, 1, 4), np.uint8)
    draft = golden.Draft("s", "s", "train", (1, 1, 4), 0, layers={"base": blank_mask, "extra": blank_mask})
    blank = golden.sample_of(draft, golden.volume(draft))

    def make(states):
        rows = []
        for row in blank.structures:
            wanted = states.get(row.structure)
            if wanted in ("present", "extra"):
                row = replace(row, state=State.PRESENT, layer="base" if wanted == "present" else "extra")
            elif isinstance(wanted, dict):
                row = replace(row, **wanted)
            elif wanted:
                row = replace(row, state=State(wanted))
            rows.append(row)
        return replace(blank, structures=tuple(rows))

    return make


def stored(golden, *rows):
    value = {name: entry[0] for name, entry in golden.PALETTE.items()} | {"background": 0, "IGNORE": IGN}
    return [np.array([[[value[v] for v in row]]], dtype=np.uint8) for row in rows]


def marginal_of(golden, space, record, *rows, names=("base", "extra")):
    layers = stored(golden, *rows)
    return marginal(layers, layers[0].shape, (0, 0, 0), space, record, names[: len(rows)])


def test_what_nobody_looked_for_is_one_group_with_the_background(golden, hierarchy, sample_with):
    """Shi et al. 2021: unlabelled organs are merged into the background."""
    space = LabelSpace(["liver", "spleen"], hierarchy)
    found = marginal_of(golden, space, sample_with({"liver": "present"}), ["background", "liver"])
    assert found.groups == ((0, 2), (1,))
    assert found.target.tolist() == [[[0, 1]]]
    assert [found.sets[n] for n in found.set_of[0, 0]] == [(0, 2), (1,)]


def test_undivided_kidneys_are_one_group_without_the_background(golden, hierarchy, sample_with):
    record = sample_with({"kidney": "present", "kidney_left": MERGED, "kidney_right": MERGED, "spleen": "present"})
    space = LabelSpace(["kidney_left", "kidney_right", "spleen"], hierarchy)
    found = marginal_of(golden, space, record, ["background", "kidney", "spleen", "IGNORE"])
    assert found.groups == ((0,), (1, 2), (3,))
    assert found.target.tolist() == [[[0, 1, 2, IGN]]]
    probabilities = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    np.testing.assert_allclose(found.membership() @ probabilities, [0.1, 0.5, 0.4])


def test_a_tumour_that_may_lie_in_the_liver_is_one_group_with_it(golden, hierarchy, sample_with):
    space = LabelSpace(["liver", "liver_tumour"], hierarchy)
    merged = {"state": State.MERGED, "merged_into": "liver"}
    found = marginal_of(
        golden, space, sample_with({"liver": "present", "liver_tumour": merged}), ["background", "liver"]
    )
    assert found.groups == ((0,), (1, 2))
    both = marginal_of(
        golden, space, sample_with({"liver": "present", "liver_tumour": "present"}), ["liver", "liver_tumour"]
    )
    assert both.groups == ((0,), (1,), (2,))


def test_an_unlabelled_sample_says_nothing(golden, hierarchy, sample_with):
    found = marginal_of(golden, LabelSpace(["liver", "spleen"], hierarchy), sample_with({}), ["background"])
    assert found.groups == ((0,), (1,), (2,))
    assert found.target.tolist() == [[[IGN]]]


def test_outside_the_extent_the_set_is_wider_and_the_group_is_not(golden, hierarchy, sample_with):
    partial = {"state": State.PARTIAL, "layer": "base", "extent": (0, 0, 0, 1, 1, 2)}
    space = LabelSpace(["liver", "spleen"], hierarchy)
    record = sample_with({"liver": partial, "spleen": "absent"})
    found = marginal_of(golden, space, record, ["background", "liver", "background", "liver"])
    assert found.groups == ((0,), (1,), (2,))
    assert found.target.tolist() == [[[0, 1, IGN, 1]]]
    assert found.sets[found.set_of[0, 0, 2]] == (0, 1)


def test_an_organ_that_its_lesion_may_be_in_is_a_channel_that_holds_it(golden, hierarchy, sample_with):
    space = LabelSpace(["liver", "liver_tumour"], hierarchy)
    record = sample_with({"liver": "present", "liver_tumour": "present"})
    layers = stored(golden, ["background", "liver", "liver_tumour"])
    found = multi_hot(layers, (1, 1, 3), (0, 0, 0), space, record, ("base",))
    assert found[:, 0, 0].tolist() == [[0, 1, 1], [0, 0, 1]]
    with pytest.raises(UsageError, match="2 to 255"):
        multi_hot(layers, (1, 1, 3), (0, 0, 0), space, record, ("base",), ignore=1)


def test_keep_takes_the_wider_class_as_an_alternative(golden, hierarchy, sample_with):
    record = sample_with({"kidney": "present", "kidney_left": MERGED, "kidney_right": MERGED})
    names = ["kidney", "kidney_left", "kidney_right"]
    layers = stored(golden, ["kidney", "background"])

    def told(keep):
        space = LabelSpace(names, hierarchy, keep=keep)
        return class_mask(layers, (1, 1, 2), (0, 0, 0), space, space.openness(record, ("base",)))[0, 0].tolist()

    assert told([]) == [IGN, 0]
    assert told([("kidney", "kidney_left")]) == [IGN, 0]  # the right one is still in doubt
    assert told([("kidney", "kidney_left"), ("kidney", "kidney_right")]) == [1, 0]


def test_a_partition():
    assert partition([(0, 3), (1, 2), (2, 4)], 5) == ((0, 3), (1, 2, 4), (5,))
    assert partition([], 1) == ((0,), (1,))


def test_rolled_up_masks():
    fine, table = np.array([0, 1, 2, 3, IGN], np.uint8), np.array([0, 1, 1, 2])
    assert roll_up(fine, table).tolist() == [0, 1, 1, 2, IGN]
    with pytest.raises(UsageError, match="found the number 3"):
        roll_up(fine, table[:3])


def test_a_class_that_is_only_in_part_one_of_the_coarser_has_no_table(hierarchy):
    fine = LabelSpace(["liver"], hierarchy)
    with pytest.raises(UsageError, match="liver of the finer space belongs to several"):
        roll_up_table(fine, LabelSpace(["liver", "liver_tumour"], hierarchy))


NAMES = ("kidney", "kidney_left", "kidney_right", "kidney_tumour", "liver", "liver_tumour", "lung_lower_lobe_left",
         "lung_upper_lobe_left", "spleen", "tumour_unspecified")  # fmt: skip
asked = st.lists(st.sampled_from([*NAMES, "lung", "lung_left"]), min_size=1, max_size=5, unique=True)
states = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["present", "extra", "absent", "unknown"]), min_size=1)
row = st.lists(st.sampled_from([*NAMES, "background", "background", "IGNORE"]), min_size=4, max_size=4)
law = settings(max_examples=120, deadline=None)


def drawn(known, *rows):
    """Rows in which only what is present in the layer occurs."""
    return [
        [v if v in ("background", "IGNORE") or known.get(v) == layer else "background" for v in r]
        for r, layer in zip(rows, ("present", "extra"), strict=True)
    ]


@law
@given(asked, states, row, row)
def test_multi_hot_equals_the_mask_of_each_class_alone(golden, hierarchy, sample_with, asked, states, base, extra):
    record, layers = sample_with(states), stored(golden, *drawn(states, base, extra))
    names, shape, start = ("base", "extra"), (1, 1, 4), (0, 0, 0)
    found = multi_hot(layers, shape, start, LabelSpace(asked, hierarchy), record, names)
    for channel, name in zip(found, asked, strict=True):
        alone = LabelSpace([name], hierarchy)
        openness = alone.openness(record, names)
        np.testing.assert_array_equal(channel, class_mask(layers, shape, start, alone, openness))
        np.testing.assert_array_equal(channel, structure_masks(layers, shape, start, alone, openness)[0])


@law
@given(asked, states, row, row)
def test_groups_partition_the_classes_and_agree_with_the_class_mask(
    golden, hierarchy, sample_with, asked, states, base, extra
):
    record, space = sample_with(states), LabelSpace(asked, hierarchy)
    rows = drawn(states, base, extra)
    found = marginal_of(golden, space, record, *rows)
    assert sorted(c for group in found.groups for c in group) == list(range(len(asked) + 1))
    assert 0 in found.groups[0]
    layers = stored(golden, *rows)
    mask = class_mask(layers, (1, 1, 4), (0, 0, 0), space, space.openness(record, ("base", "extra")))
    for told, group, number in zip(mask.flat, found.target.flat, found.set_of.flat, strict=True):
        may_be = found.sets[number]
        if told != IGN:
            assert may_be == (told,)
            assert group != IGN
        else:
            assert may_be != (0,)  # what cannot be told never becomes background
        if group != IGN:
            assert set(may_be) <= set(found.groups[group])


@law
@given(asked, states, row, row)
def test_a_roll_up_commutes_with_masks(golden, hierarchy, sample_with, asked, states, base, extra):
    """The mask of a union is what its members' masks say together: one certain, else one in doubt, else none.

    Where layers overlap the union may be in doubt though each member is excluded by another of them.
    """
    record, layers = sample_with(states), stored(golden, *drawn(states, base, extra))
    names, shape, start = ("base", "extra"), (1, 1, 4), (0, 0, 0)
    union = multi_hot(layers, shape, start, LabelSpace({"union": asked}, hierarchy), record, names)[0]
    each = multi_hot(layers, shape, start, LabelSpace(asked, hierarchy), record, names)
    together = np.where((each == 1).any(axis=0), 1, np.where((each == IGN).any(axis=0), IGN, 0))
    np.testing.assert_array_equal(union == 1, together == 1)
    assert (together[union == 0] == 0).all()
    overlap = (layers[0] != 0) & (layers[1] != 0)
    np.testing.assert_array_equal(union[~overlap], together[~overlap])


@settings(law, max_examples=400)
@given(states, row, row)
def test_a_class_mask_rolls_up_to_that_of_the_coarser_space(golden, hierarchy, sample_with, states, base, extra):
    fine = LabelSpace(
        ["kidney_left", "kidney_right", "lung_lower_lobe_left", "lung_upper_lobe_left", "spleen"], hierarchy
    )
    coarse = LabelSpace(["kidney", "lung_left"], hierarchy)
    table = roll_up_table(fine, coarse)
    assert table.tolist() == [0, 1, 1, 2, 2, 0]
    rows = drawn(states, base, extra)
    rows[1] = [e if b == "background" else "background" for b, e in zip(*rows, strict=True)]  # layers do not overlap
    record, layers = sample_with(states), stored(golden, *rows)
    names, shape, start = ("base", "extra"), (1, 1, 4), (0, 0, 0)
    of_fine = class_mask(layers, shape, start, fine, fine.openness(record, names))
    of_coarse = class_mask(layers, shape, start, coarse, coarse.openness(record, names))
    rolled = roll_up(of_fine, table)
    assert (rolled[of_fine == IGN] == IGN).all()
    certain = (of_fine != IGN) & (of_fine != 0) & (table[np.where(of_fine == IGN, 0, of_fine)] > 0)
    np.testing.assert_array_equal(rolled[certain], of_coarse[certain])


def test_a_sample_of_a_corpus_gives_all_of_them(corpus, written):
    sample = corpus.sample("beta-00")  # kidneys as one, a tumour in one; nobody looked at the liver
    base = written.samples["beta-00"].layers["base"]
    found = sample.marginal(["kidney_left", "kidney_right", "liver"])
    assert found.groups == ((0, 3), (1, 2))
    np.testing.assert_array_equal(found.target, np.select([base == IGN, (base == 1) | (base == 4)], [IGN, 1], 0))
    box = (3, 4, 5, 20, 30, 40)
    part = sample.marginal(["kidney_left", "kidney_right", "liver"], box=box)
    assert part.groups == found.groups
    np.testing.assert_array_equal(part.target, found.target[3:20, 4:30, 5:40])
    channels = sample.multi_hot(["kidney", "kidney_tumour", "liver"], box=box)
    np.testing.assert_array_equal(channels[0], np.select([base == IGN, base > 0], [IGN, 1], 0)[3:20, 4:30, 5:40])
    assert (channels[2] == IGN).any()
