"""What a recipe may say of slices."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.recipe import Recipe
from schemas.slices import Slices

BASE = {"corpus": "c", "out": "-", "sources": [{"id": "s"}], "terms": {"accept": ["CC-BY-4.0"]}}


@given(st.integers(1, 900), st.integers(1, 40))
def test_every_is_a_step_and_both_ends_lose_alike(slices, every):
    found = list(Slices(along="axial", every=every).positions(slices, 1.0))
    before, after = found[0], slices - 1 - found[-1]
    assert {b - a for a, b in itertools.pairwise(found)} <= {every}
    assert 0 <= after - before <= 1
    assert after < every


@pytest.mark.parametrize(("mm", "spacing", "step"), [(5, 1.5, 3), (5, 2.0, 3), (5, 5.0, 1), (5, 12.0, 1), (4, 0.8, 5)])
def test_mm_become_the_nearest_whole_number_of_slices(mm, spacing, step):
    found = Slices(along="axial", every_mm=mm).positions(100, spacing)
    assert found.step == step


@given(st.integers(1, 200), st.integers(1, 50))
def test_at_most_is_spread_over_all_that_is_kept(kept, most):
    found = Slices(along="axial", at_most=most).spread(list(range(kept)))
    assert len(found) == min(kept, most)
    assert found == sorted(set(found))
    assert set(found) <= set(range(kept))
    gaps = {b - a for a, b in itertools.pairwise(found)}
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"slices": {"along": "oblique"}}, "axial"),
        ({"slices": {}}, "along"),
        ({"slices": {"along": "axial", "every": 0}}, "greater than or equal to 1"),
        ({"slices": {"along": "axial", "every": 2, "every_mm": 5}}, "not both"),
        ({"slices": {"along": "axial", "at_most": 0}}, "greater than or equal to 1"),
        ({"slices": {"along": "axial"}, "temporal": "keep"}, "temporal: split"),
        ({"slices": {"along": "axial"}, "sources": [{"id": "s", "temporal": "keep"}]}, "temporal: split"),
        ({"slices": {"along": "axial"}, "intensity": "native"}, "store: physical"),
    ],
)
def test_wrong_use_says_what_would_be_right(changes, said):
    with pytest.raises(ValidationError, match=said):
        Recipe.model_validate({**BASE, **changes})


def test_split_time_points_may_be_cut_and_nothing_changes_where_slices_are_not_asked_for():
    Recipe.model_validate({**BASE, "slices": {"along": "axial"}, "temporal": "split"})
    assert "slices" not in Recipe.model_validate(BASE).without_locations()
