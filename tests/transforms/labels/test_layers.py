from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schemas import ontology
from transforms.labels import palette as palettes
from transforms.labels.coded import IGNORED, Coded
from transforms.labels.layers import lay_over, layers, look_up, outside_fractions, overlaps, winner_of
from transforms.labels.palette import Palette

KNOWN = ontology.load()
NAMES = ("aorta", "kidney", "kidney_tumour", "liver", "liver_tumour", "spleen")
PALETTE = Palette(palettes.build(NAMES))


def mask(structure: str, array: Any) -> Coded:
    codes = np.asarray(array, np.uint8)
    counts = {int(c): int(n) for c, n in zip(*np.unique(codes, return_counts=True), strict=True)}
    meaning = {0: frozenset[str](), 1: frozenset({structure}), 2: frozenset({IGNORED})}
    return Coded(codes, {c: meaning[c] for c in counts}, counts)


def row(structure: str, start: int, stop: int, n: int = 20) -> Coded:
    array = np.zeros((1, 1, n), np.uint8)
    array[..., start:stop] = 1
    return mask(structure, array)


def stored(label: Coded) -> list[list[int]]:
    return [look_up(label, layer, PALETTE, KNOWN)[label.codes_zyx].ravel().tolist() for layer in layers(label, KNOWN)]


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(2, 5), *[st.integers(1, 4)] * 3), elements=st.integers(0, 1)),
    st.permutations(range(5)),
)
def test_every_voxel_keeps_all_its_structures_in_any_order_of_files(masks: Any, order: Any) -> None:
    named = [mask(NAMES[i], masks[i]) for i in order if i < len(masks)]
    label = lay_over(iter(named))
    for at in np.ndindex(masks.shape[1:]):
        assert label.members[int(label.codes_zyx[at])] == {NAMES[i] for i in range(len(masks)) if masks[i][at]}
    assert sum(label.counts.values()) == masks[0].size
    assert label.sizes == {NAMES[i]: int(masks[i].sum()) for i in range(len(masks)) if masks[i].any()}
    assert layers(label, KNOWN) == layers(lay_over(m for m in reversed(named)), KNOWN)


def test_masks_that_lie_differently_in_memory_are_laid_over_by_position() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 2, (2, 3, 4, 5), dtype=np.uint8)
    turned = mask("liver", np.ascontiguousarray(a[::-1].transpose(2, 0, 1)).transpose(1, 2, 0)[::-1])
    label = lay_over([turned, mask("spleen", b)])
    np.testing.assert_array_equal(look_up(label, frozenset({"liver"}), PALETTE, KNOWN)[label.codes_zyx], a * 4)
    np.testing.assert_array_equal(look_up(label, frozenset({"spleen"}), PALETTE, KNOWN)[label.codes_zyx], b * 6)


def test_a_lesion_in_its_organ_shares_the_layer_and_wins() -> None:
    label = lay_over([row("liver", 0, 10), row("liver_tumour", 4, 6)])
    assert stored(label) == [[4] * 4 + [5] * 2 + [4] * 4 + [0] * 10]
    assert outside_fractions(label, KNOWN) == {"liver_tumour": 0.0}


def test_the_part_of_a_lesion_outside_its_organ_is_kept_and_measured() -> None:
    label = lay_over([row("liver", 0, 10), row("liver_tumour", 7, 11)])
    assert len(stored(label)) == 1
    assert outside_fractions(label, KNOWN) == {"liver_tumour": 0.25}


def test_a_lesion_that_mostly_lies_beside_its_organ_gets_a_layer_and_both_keep_all() -> None:
    label = lay_over([row("liver", 0, 10), row("liver_tumour", 9, 14)])
    assert stored(label) == [[4] * 10 + [0] * 10, [0] * 9 + [5] * 5 + [0] * 6]
    assert outside_fractions(label, KNOWN) == {"liver_tumour": 0.8}


def test_two_unrelated_structures_that_overlap_make_two_layers_largest_first() -> None:
    label = lay_over([row("aorta", 8, 12), row("spleen", 0, 10)])
    assert layers(label, KNOWN) == (frozenset({"spleen"}), frozenset({"aorta"}))
    assert overlaps(label) == {("aorta", "spleen"): 2}
    assert outside_fractions(label, KNOWN) == {}


def test_layers_are_as_few_as_colouring_allows() -> None:
    label = lay_over([row("spleen", 0, 8), row("aorta", 7, 13), row("liver", 12, 20), row("kidney", 2, 5)])
    assert layers(label, KNOWN) == (frozenset({"liver", "spleen"}), frozenset({"aorta", "kidney"}))


def test_an_ignored_voxel_is_ignored_where_no_structure_of_the_layer_claims_it() -> None:
    some = np.zeros((1, 1, 4), np.uint8)
    some[0, 0] = [0, 1, 2, 2]
    label = lay_over([mask("liver", some), row("spleen", 2, 3, 4)])
    assert stored(label) == [[0, 4, 6, 255]]


def test_a_single_map_is_handed_on_without_a_copy() -> None:
    one = row("liver", 0, 3)
    assert lay_over(iter([one])) is one
    with pytest.raises(ValueError, match="at least one mask"):
        lay_over([])


def test_an_empty_label_has_one_empty_layer() -> None:
    assert layers(lay_over([row("liver", 0, 0), row("spleen", 0, 0)]), KNOWN) == (frozenset(),)


def test_masks_of_different_shapes_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="one shape"):
        lay_over([row("liver", 0, 3), row("spleen", 0, 3, 9)])


def test_the_winner_is_the_narrowest_of_a_chain() -> None:
    for order in permutations(["kidney", "kidney_cyst", "kidney_cyst_left"]):
        assert winner_of(frozenset(order), KNOWN) == "kidney_cyst_left"
    assert winner_of(frozenset(), KNOWN) is None
    with pytest.raises(ValueError, match="none of them lies in all others"):
        winner_of(frozenset({"liver", "spleen"}), KNOWN)
