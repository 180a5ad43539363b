"""Sections of a recipe that say how its corpus is read: what they mean, and what is wrong with wrong ones."""

from __future__ import annotations

import pytest

from mdfp.errors import UsageError
from schemas import yaml_file
from schemas.recipe import Recipe

RECIPE = """\
corpus: tiny
out: there
sources: [{id: a}, {id: b}]
terms: {accept: [CC-BY-4.0]}
"""


def parsed(more=""):
    return yaml_file.loads(Recipe, RECIPE + more, "recipe.yaml")


@pytest.mark.parametrize(
    ("rule", "exponent"), [("proportional", 1), ("equal", 0), ("{temperature: 0.5}", 0.5), ("{temperature: 0}", 0)]
)
def test_a_rule_is_a_power(rule, exponent):
    assert parsed(f"sampling: {{by: source, rule: {rule}}}\n").sampling.exponent == exponent


def test_a_cap_is_a_share_or_a_number():
    caps = parsed("sampling: {by: source, caps: {a: 0.25, b: 500}}\n").sampling.caps
    assert caps == {"a": 0.25, "b": 500}
    assert [type(c) for c in caps.values()] == [float, int]


def test_the_sections_come_back_from_a_plan_and_leave_no_trace_where_there_are_none():
    more = "sampling: {by: anatomy, caps: {a: 1.0}, anatomy: {b: liver}}\nsites: {by: site}\nabout: {published: 2026-01-02}\n"
    recipe = parsed(more)
    again = Recipe.model_validate({**recipe.without_locations(), "out": "there"})
    assert (again.sampling, again.sites, again.about) == (recipe.sampling, recipe.sites, recipe.about)
    assert type(again.sampling.caps["a"]) is float
    assert not {"sampling", "sites", "about"} & set(parsed().without_locations())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("sampling: {by: mood}", "'source', 'modality' or 'anatomy'"),
        ("sampling: {rule: equal}", "by"),
        ("sampling: {by: source, rule: {temperature: 2}}", "less than or equal to 1"),
        ("sampling: {by: source, caps: {c: 0.5}}", "sampling.caps names ..c.."),
        ("sampling: {by: source, caps: {a: 1.5}}", "a share lies above 0 and is at most 1.0"),
        ("sampling: {by: source, caps: {a: 0}}", "at least 1, found 0"),
        ("sampling: {by: source, caps: {a: 0.3, b: 0.3}}", "leaves 40% of an epoch to nobody"),
        ("sampling: {by: source, anatomy: {a: liver}}", "belongs to by: anatomy"),
        ("sampling: {by: anatomy, anatomy: {c: liver}}", "sampling.anatomy names ..c.."),
        ("sites: {by: country}", "'source' or 'site'"),
        ("about: {url: example.org}", "expected https"),
        ("about: {published: yesterday}", "date"),
    ],
)
def test_a_wrong_section_says_what_would_be_right(more, message):
    with pytest.raises(UsageError, match=message):
        parsed(more + "\n")
