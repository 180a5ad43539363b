"""Our predicates find the rows that Great Expectations counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from expectations import rules
from expectations.suite import Expectation, great_expectations, to_gx

ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "expect_column_values_to_be_between": [
        {"min_value": 0, "max_value": 1},
        {"min_value": 0, "strict_min": True},
        {"max_value": 1, "strict_max": True},
        {"min_value": 0, "max_value": 1, "mostly": 0.5},
    ],
    "expect_column_value_lengths_to_be_between": [{"min_value": 2, "max_value": 3}],
    "expect_column_values_to_be_in_set": [{"value_set": ["ab", "abc"]}],
    "expect_column_values_to_not_be_in_set": [{"value_set": ["ab", "abc"]}],
    "expect_column_values_to_match_regex": [{"regex": "^a"}, {"regex": "b"}],
    "expect_column_values_to_not_match_regex": [{"regex": "b"}],
    "expect_column_values_to_be_unique": [{}],
    "expect_column_values_to_not_be_null": [{}],
    "expect_column_values_to_be_null": [{}],
    "expect_column_pair_values_a_to_be_greater_than_b": [{}, {"or_equal": True}],
    "expect_column_pair_values_to_be_equal": [{}],
    "expect_compound_columns_to_be_unique": [{}],
}
TEXT = ("length", "set", "regex")


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 200
    number = rng.integers(-1, 4, n) / 2.0
    other = rng.integers(-1, 4, n) / 2.0
    number[::7] = np.nan
    other[::5] = np.nan
    text = pd.Series(rng.choice(["a", "ab", "abc", "bcd", "cde"], n))
    text[::11] = None
    return pd.DataFrame({"id": [f"r{i}" for i in range(n)], "number": number, "other": other, "text": text})


def columns(name: str) -> tuple[str, ...]:
    kind = rules.RULES[name].columns
    if kind == "two":
        return ("number", "other")
    if kind == "several":
        return ("number", "other", "text")
    return ("text",) if any(t in name for t in TEXT) else ("number",)


@pytest.mark.parametrize(
    ("name", "arguments"), [(name, arguments) for name, those in ARGUMENTS.items() for arguments in those]
)
def test_predicate_and_great_expectations_count_the_same_rows(name: str, arguments: dict[str, Any]) -> None:
    rows = frame()
    about = columns(name)
    e = Expectation.model_construct(
        id="x",
        table="t",
        rule=name,
        column=None,
        columns=about,
        arguments=arguments,
        where={},
        severity="gate",
        meaning="",
    )
    gx = great_expectations()
    context = gx.get_context(mode="ephemeral")
    batch = context.data_sources.add_pandas("p").add_dataframe_asset("t").add_batch_definition_whole_dataframe("all")
    definition = gx.ValidationDefinition(name="v", data=batch, suite=context.suites.add(to_gx([e], "s")))
    context.validation_definitions.add(definition)
    [result] = definition.run(
        batch_parameters={"dataframe": rows},
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["id"]},
    ).results

    failing = rules.RULES[name].failing
    assert failing is not None
    ids = set(rows.loc[failing(rows, about, arguments).astype(bool), "id"])

    assert ids == {found["id"] for found in result.result.get("unexpected_index_list") or []}
    assert 0 < len(ids) < len(rows)


def test_every_rule_that_judges_rows_is_compared() -> None:
    assert set(ARGUMENTS) == {name for name, rule in rules.RULES.items() if rule.failing}


def test_every_rule_is_one_of_great_expectations() -> None:
    great_expectations()
    from great_expectations.expectations.registry import get_expectation_impl

    for name in rules.RULES:
        assert get_expectation_impl(name) is not None


def test_named_rules_give_their_arguments_and_let_a_suite_override_them() -> None:
    assert rules.resolve("expect_physical_spacing", {})[2] == {"min_value": 0.05, "max_value": 30}
    name, _, arguments = rules.resolve("expect_physical_spacing", {"max_value": 10})
    assert name == "expect_column_values_to_be_between"
    assert arguments == {"min_value": 0.05, "max_value": 10}


@pytest.mark.parametrize("license_id", ["CC-BY-4.0", "own-data", "LicenseRef-hospital", "MIT", "ODbL-1.0"])
def test_known_terms_pass_the_licence_rule(license_id: str) -> None:
    rows = pd.DataFrame({"license": [license_id, "", "unknown terms"]})
    _, rule, arguments = rules.resolve("expect_license", {})
    assert rule.failing is not None
    assert list(rule.failing(rows, ("license",), arguments)) == [False, True, True]
