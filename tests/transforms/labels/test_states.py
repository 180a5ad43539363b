"""One test for each row of the table in `transforms.labels.states`, and what the rows must not say."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from mdfp.labels import State
from schemas import ontology
from schemas.label_table import LabelTable
from transforms.labels.states import Statement, looked_for, made_up_of, statements

KNOWN = ontology.load()
PRESENT, ABSENT, UNKNOWN = Statement(State.PRESENT), Statement(State.ABSENT), Statement(State.UNKNOWN)


def merged(into: str) -> Statement:
    return Statement(State.MERGED, into)


def say(structure: str, looked: Iterable[str], drawn: Iterable[str] = ()) -> Statement:
    return statements([structure], frozenset(looked) | frozenset(drawn), frozenset(drawn), KNOWN)[structure]


def test_drawn_is_present() -> None:
    assert say("liver", ["liver"], ["liver"]) == PRESENT


@pytest.mark.parametrize("narrower", ["liver_tumour", "hepatic_vessel"])
def test_looked_for_is_present_where_something_in_it_is_drawn(narrower: str) -> None:
    assert say("liver", ["liver", narrower], [narrower]) == PRESENT


def test_looked_for_and_not_there_is_absent() -> None:
    assert say("liver", ["liver", "spleen"], ["spleen"]) == ABSENT


def test_both_sides_looked_for_tell_of_the_whole() -> None:
    sides = ["kidney_left", "kidney_right"]
    assert say("kidney", sides, ["kidney_right"]) == PRESENT
    assert say("kidney", sides) == ABSENT
    assert say("kidney", ["kidney_left"], ["kidney_left"]) == UNKNOWN


def test_all_lobes_looked_for_tell_of_each_lung_and_of_the_lungs() -> None:
    lobes = [*made_up_of("lung_left", KNOWN), *made_up_of("lung_right", KNOWN)]
    assert len(lobes) == 5
    for whole in ("lung_left", "lung"):
        assert say(whole, lobes, ["lung_upper_lobe_left"]) == PRESENT
    assert say("lung_right", lobes, ["lung_upper_lobe_left"]) == ABSENT


def test_parts_that_are_not_the_whole_leave_it_unknown() -> None:
    assert say("heart", ["heart_left_atrium"], ["heart_left_atrium"]) == UNKNOWN
    assert say("tumour_unspecified", ["liver_tumour"], ["liver_tumour"]) == UNKNOWN


def test_what_a_fact_says_that_a_mask_holds_is_merged_into_it() -> None:
    def say(drawn: frozenset[str]) -> Statement:
        looked, holds = frozenset({"liver"}), {"liver": ("liver_tumour",)}
        return statements(["liver_tumour"], looked, drawn, KNOWN, holds)["liver_tumour"]

    assert say(frozenset({"liver"})) == merged("liver")
    assert say(frozenset()) == ABSENT


def test_a_kind_or_part_of_what_is_present_is_merged_into_it() -> None:
    assert say("kidney_left", ["kidney"], ["kidney"]) == merged("kidney")
    assert say("lung_upper_lobe_left", ["lung_left"], ["lung_left"]) == merged("lung_left")
    assert say("lung_upper_lobe_left", ["lung"], ["lung"]) == merged("lung")
    assert say("lung_upper_lobe", ["lung_left", "lung_right"], ["lung_left"]) == merged("lung")


def test_a_kind_or_part_of_what_is_absent_is_absent() -> None:
    assert say("kidney_left", ["kidney"]) == ABSENT
    assert say("lung_upper_lobe_left", ["lung"]) == ABSENT


def test_a_lesion_in_a_drawn_organ_is_unknown_and_not_merged() -> None:
    assert say("liver_tumour", ["liver"], ["liver"]) == UNKNOWN
    assert say("liver_tumour", ["liver"]) == UNKNOWN


def test_a_looked_for_side_is_absent_though_the_other_was_drawn() -> None:
    assert say("kidney_left", ["kidney", "kidney_left"], ["kidney"]) == ABSENT


def test_nothing_to_do_with_it_is_unknown() -> None:
    assert say("spleen", ["liver"], ["liver"]) == UNKNOWN


def table(**options: object) -> LabelTable:
    return LabelTable(origin="expert", values={0: "background", 1: "liver", 2: "spleen"}, **options)  # type: ignore[arg-type]


CHECKED = ("liver", "spleen")


def test_all_means_everything_checked() -> None:
    assert looked_for(table(), CHECKED, ["liver"], None) == {"liver", "spleen"}
    assert looked_for(table(), CHECKED, [], None) == {"liver", "spleen"}


def test_values_present_means_only_what_is_drawn() -> None:
    options = table(looked_for="values_present")
    assert looked_for(options, CHECKED, ["liver"], None) == {"liver"}
    assert looked_for(options, CHECKED, [], None) == frozenset()


def test_a_case_table_speaks_for_its_rows_only() -> None:
    options = table(looked_for="per_case_table", case_table="looked.csv")
    assert looked_for(options, CHECKED, [], ["spleen", "aorta"]) == {"spleen"}
    assert looked_for(options, CHECKED, ["liver"], []) == {"liver"}
    assert looked_for(options, CHECKED, [], None) == frozenset()


@pytest.mark.parametrize("meaning", ["unknown", "fault"])
def test_a_mask_of_zeros_may_be_no_look_at_anything(meaning: str) -> None:
    assert looked_for(table(all_empty=meaning), CHECKED, [], None) == frozenset()
    assert looked_for(table(all_empty=meaning), CHECKED, ["liver"], None) == {"liver", "spleen"}
