from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reasons import Reason
from schemas.recipe import Splits
from transforms.plan.splits import draw, place


def splits(**changes):
    return Splits(**{"train": 0.7, "val": 0.15, "test": 0.15, **changes})


@pytest.fixture
def cohort(make_case):
    return [make_case(case_id=f"a-{i}", patient=f"p{i // 2}") for i in range(400)]


def test_cases_of_one_patient_share_a_split(cohort):
    places = place(cohort, splits(), "k", {})
    for i in range(0, 400, 2):
        assert places[f"a-{i}"].split == places[f"a-{i + 1}"].split


def test_splits_have_about_the_asked_size(cohort):
    places = place(cohort, splits(), "k", {})
    share = sum(p.split == "train" for p in places.values()) / len(places)
    assert 0.6 < share < 0.8


def test_adding_data_moves_nobody(cohort):
    before = place(cohort[:100], splits(), "k", {})
    after = place(cohort, splits(), "k", {})
    assert all(after[c].split == before[c].split for c in before)


def test_the_order_of_cases_does_not_matter(cohort):
    assert place(cohort, splits(), "k", {}) == place(cohort[::-1], splits(), "k", {})


def test_another_key_is_another_draw(cohort):
    a, b = place(cohort, splits(), "k", {}), place(cohort, splits(), "l", {})
    assert any(a[c].split != b[c].split for c in a)


def test_a_held_out_source_takes_its_patients_to_test(make_case):
    cases = [make_case(case_id="a-1", source="a", patient="p"), make_case(case_id="b-1", source="b", patient="p")]
    places = place(cases, splits(train=1.0, val=0.0, test={"sources": ["b"]}), "k", {})
    assert {p.split for p in places.values()} == {"test"}


def test_the_sources_own_test_split_is_kept(make_case):
    places = place([make_case(split="test")], splits(train=1.0, val=0, test=0.0), "k", {})
    assert places["a-1"].split == "test"


def test_a_published_group_never_moves(make_case):
    places = place([make_case()], splits(train=0, val=0, test=1.0), "k", {"p1": "train"})
    assert places["a-1"].split == "train"


def test_what_conflicts_with_a_published_split_is_left_out(make_case):
    cases = [make_case(split="test"), make_case(case_id="a-2")]
    places = place(cases, splits(), "k", {"p1": "train"})
    assert places["a-1"].left_out == Reason.PATIENT_CONFLICT
    assert "never move" in places["a-1"].detail
    assert places["a-2"].left_out is None


def test_a_test_patient_keeps_new_cases_out_of_train(make_case):
    places = place([make_case(split="train")], splits(), "k", {"p1": "test"})
    assert places["a-1"].split == "test"
    assert places["a-1"].left_out is None


def test_folds_are_for_training_and_by_patient(cohort):
    places = place(cohort, splits(folds=5), "k", {})
    assert {p.fold for p in places.values() if p.split == "train"} == set(range(5))
    assert {p.fold for p in places.values() if p.split != "train"} == {None}
    assert all(places[f"a-{i}"].fold == places[f"a-{i + 1}"].fold for i in range(0, 400, 2))


@given(st.text(), st.text())
def test_a_draw_lies_in_the_unit_interval_and_repeats(key, group):
    assert 0 <= draw(key, "split", group) < 1
    assert draw(key, "split", group) == draw(key, "split", group)
