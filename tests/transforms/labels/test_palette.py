from __future__ import annotations

import numpy as np
import pytest

from mdfp.errors import UsageError
from mdfp.labels import IGNORE
from mdfp.manifest import PaletteEntry, Relation
from schemas import ontology
from transforms.labels import palette
from transforms.labels.palette import Palette


def test_values_are_given_from_one_in_the_order_of_ids() -> None:
    entries = palette.build(["spleen", "kidney_left", "liver", "spleen"])
    assert [(e.value, e.structure) for e in entries] == [(1, "kidney_left"), (2, "liver"), (3, "spleen")]
    assert entries[0].side == "left"
    assert entries[0].is_a == ("kidney",)
    assert entries[1].code == "10200004"


def test_a_later_generation_appends_and_never_changes_a_published_value() -> None:
    first = palette.build(["spleen", "liver"])
    second = palette.build(["aorta", "liver"], previous=first)
    assert second[:2] == first
    assert [(e.value, e.structure) for e in second] == [(1, "liver"), (2, "spleen"), (3, "aorta")]
    assert palette.build([], previous=second) == second


def test_an_unknown_structure_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"unknown structure 'livre'.*liver"):
        palette.build(["livre"])


def test_relations_reach_every_ancestor_and_every_narrower_structure() -> None:
    edges = palette.relations(palette.build(["kidney", "lung_upper_lobe_left"]))
    assert Relation("kidney_left", "is_a", "kidney") in edges  # what "kidney" may hide
    assert Relation("lung_upper_lobe_left", "part_of", "lung_left") in edges
    assert Relation("lung_left", "is_a", "lung") in edges  # an ancestor's own edge
    assert not any(r.child == "spleen" or "vertebra" in r.child for r in edges)
    assert list(edges) == sorted(edges, key=lambda r: (r.child, ("is_a", "part_of", "located_in").index(r.relation)))


def test_the_number_type_leaves_room_for_the_ignore_marker() -> None:
    structures = sorted(ontology.load())
    largest_in_8_bits = Palette(palette.build(structures[:254]))
    assert (largest_in_8_bits.dtype, largest_in_8_bits.ignore, largest_in_8_bits.largest) == (np.uint8, 255, 254)
    one_more = Palette(palette.build(structures[:255]))
    assert (one_more.dtype, one_more.ignore) == (np.uint16, 65535)
    assert IGNORE == {"uint8": 255, "uint16": 65535}


def test_a_palette_that_fills_16_bits_is_refused() -> None:
    last = PaletteEntry(65534, "liver", None, None, None, "anatomy", (), (), ())
    with pytest.raises(UsageError, match="at most 65534 structures"):
        palette.build(["spleen"], previous=[last])
