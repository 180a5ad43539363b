"""The rules a suite may use: Great Expectations' own names, and a few of ours that stand for one of those.

Each rule that judges rows carries the predicate that says which rows fail. Great Expectations decides whether the
expectation holds; the predicate finds the ids, because asking Great Expectations for them (`COMPLETE`) takes 20 times
as long. `expectations.engine` checks in every run that both count the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from schemas.recipe import MODALITIES

Failing = Callable[[pd.DataFrame, tuple[str, ...], Mapping[str, Any]], "pd.Series[bool]"]
"""(rows, columns, arguments) -> True where a row fails. Rows without a value do not fail, unless the rule says so."""

Columns = Literal["one", "two", "several", "none"]


@dataclass(frozen=True)
class Rule:
    """One of Great Expectations' expectations, as suites may use it.

    Attributes:
        columns: how many columns it takes.
        arguments: names it accepts under `with:`, beside `mostly` where rows are judged.
        failing: which rows fail; None where the rule judges the table as a whole.
        fixed: arguments that are always given to Great Expectations.
        skips_missing: whether rows without a value are passed over.
    """

    columns: Columns
    arguments: tuple[str, ...] = ()
    failing: Failing | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    skips_missing: bool = True


@dataclass(frozen=True)
class Named:
    """A rule of ours: one of Great Expectations' with its arguments filled in, which a suite may still override."""

    rule: str
    arguments: Mapping[str, Any]
    meaning: str


def _given(rows: pd.DataFrame, column: str) -> pd.Series[bool]:
    return rows[column].notna()


def _between(values: pd.Series[Any], arguments: Mapping[str, Any]) -> pd.Series[bool]:
    inside = pd.Series(True, index=values.index)
    low, high = arguments.get("min_value"), arguments.get("max_value")
    if low is not None:
        inside &= values > low if arguments.get("strict_min") else values >= low
    if high is not None:
        inside &= values < high if arguments.get("strict_max") else values <= high
    return inside


def _not_between(rows: pd.DataFrame, columns: tuple[str, ...], arguments: Mapping[str, Any]) -> pd.Series[bool]:
    return ~_between(rows[columns[0]], arguments) & _given(rows, columns[0])


def _length_not_between(rows: pd.DataFrame, columns: tuple[str, ...], arguments: Mapping[str, Any]) -> pd.Series[bool]:
    return ~_between(rows[columns[0]].str.len(), arguments) & _given(rows, columns[0])


def _outside_set(rows: pd.DataFrame, columns: tuple[str, ...], arguments: Mapping[str, Any]) -> pd.Series[bool]:
    return ~rows[columns[0]].isin(list(arguments["value_set"])) & _given(rows, columns[0])


def _inside_set(rows: pd.DataFrame, columns: tuple[str, ...], arguments: Mapping[str, Any]) -> pd.Series[bool]:
    return rows[columns[0]].isin(list(arguments["value_set"])) & _given(rows, columns[0])


def _matches(rows: pd.DataFrame, columns: tuple[str, ...], arguments: Mapping[str, Any]) -> pd.Series[bool]:
    pattern = re.compile(arguments["regex"])
    # As Great Expectations does: the pattern may match anywhere; anchor it with ^ and $.
    return rows[columns[0]].map(lambda v: pattern.search(v) is not None, na_action="ignore").eq(True)


def _no_match(rows: pd.DataFrame, columns: tuple[str, ...], arguments: Mapping[str, Any]) -> pd.Series[bool]:
    return ~_matches(rows, columns, arguments) & _given(rows, columns[0])


def _repeated(rows: pd.DataFrame, columns: tuple[str, ...], arguments: Mapping[str, Any]) -> pd.Series[bool]:
    return rows[columns[0]].duplicated(keep=False) & _given(rows, columns[0])


def _repeated_together(rows: pd.DataFrame, columns: tuple[str, ...], arguments: Mapping[str, Any]) -> pd.Series[bool]:
    return rows.duplicated(subset=list(columns), keep=False)


def _missing(rows: pd.DataFrame, columns: tuple[str, ...], arguments: Mapping[str, Any]) -> pd.Series[bool]:
    return ~_given(rows, columns[0])


def _not_missing(rows: pd.DataFrame, columns: tuple[str, ...], arguments: Mapping[str, Any]) -> pd.Series[bool]:
    return _given(rows, columns[0])


def _not_greater(rows: pd.DataFrame, columns: tuple[str, ...], arguments: Mapping[str, Any]) -> pd.Series[bool]:
    a, b = rows[columns[0]], rows[columns[1]]
    greater = a >= b if arguments.get("or_equal") else a > b
    return ~greater & a.notna() & b.notna()


def _unequal(rows: pd.DataFrame, columns: tuple[str, ...], arguments: Mapping[str, Any]) -> pd.Series[bool]:
    a, b = rows[columns[0]], rows[columns[1]]
    return a.ne(b) & a.notna() & b.notna()


_BOUNDS = ("min_value", "max_value", "strict_min", "strict_max")
_PAIR = {"ignore_row_if": "either_value_is_missing"}

RULES: dict[str, Rule] = {
    "expect_column_values_to_be_between": Rule("one", _BOUNDS, _not_between),
    "expect_column_value_lengths_to_be_between": Rule("one", _BOUNDS, _length_not_between),
    "expect_column_values_to_be_in_set": Rule("one", ("value_set",), _outside_set),
    "expect_column_values_to_not_be_in_set": Rule("one", ("value_set",), _inside_set),
    "expect_column_values_to_match_regex": Rule("one", ("regex",), _no_match),
    "expect_column_values_to_not_match_regex": Rule("one", ("regex",), _matches),
    "expect_column_values_to_be_unique": Rule("one", (), _repeated),
    "expect_column_values_to_not_be_null": Rule("one", (), _missing, skips_missing=False),
    "expect_column_values_to_be_null": Rule("one", (), _not_missing, skips_missing=False),
    "expect_column_pair_values_a_to_be_greater_than_b": Rule("two", ("or_equal",), _not_greater, _PAIR),
    "expect_column_pair_values_to_be_equal": Rule("two", (), _unequal, _PAIR),
    "expect_compound_columns_to_be_unique": Rule(
        "several", (), _repeated_together, {"ignore_row_if": "never"}, skips_missing=False
    ),
    "expect_column_min_to_be_between": Rule("one", _BOUNDS),
    "expect_column_max_to_be_between": Rule("one", _BOUNDS),
    "expect_column_mean_to_be_between": Rule("one", _BOUNDS),
    "expect_column_median_to_be_between": Rule("one", _BOUNDS),
    "expect_column_stdev_to_be_between": Rule("one", _BOUNDS),
    "expect_column_sum_to_be_between": Rule("one", _BOUNDS),
    "expect_column_unique_value_count_to_be_between": Rule("one", _BOUNDS),
    "expect_column_distinct_values_to_be_in_set": Rule("one", ("value_set",)),
    "expect_column_distinct_values_to_contain_set": Rule("one", ("value_set",)),
    "expect_table_row_count_to_be_between": Rule("none", _BOUNDS, skips_missing=False),
}
"""Great Expectations' expectations that suites may use, by name."""

_BETWEEN = "expect_column_values_to_be_between"
_IN_SET = "expect_column_values_to_be_in_set"
_REGEX = "expect_column_values_to_match_regex"

NAMED: dict[str, Named] = {
    "expect_true": Named(_IN_SET, {"value_set": [True]}, "the statement holds"),
    "expect_none": Named(_BETWEEN, {"min_value": 0, "max_value": 0}, "there is none"),
    "expect_exactly_one": Named(_BETWEEN, {"min_value": 1, "max_value": 1}, "there is one"),
    "expect_at_least_one": Named(_BETWEEN, {"min_value": 1}, "there is at least one"),
    "expect_physical_spacing": Named(
        _BETWEEN, {"min_value": 0.05, "max_value": 30}, "a spacing in mm that a scanner for people can have"
    ),
    "expect_volume_ratio_near_one": Named(
        _BETWEEN, {"min_value": 0.9, "max_value": 1.1}, "resampling kept the volume within a tenth"
    ),
    "expect_known_modality": Named(_IN_SET, {"value_set": list(MODALITIES)}, "a DICOM modality code that recipes know"),
    "expect_known_split": Named(_IN_SET, {"value_set": ["train", "val", "test"]}, "train, val or test"),
    "expect_portable_key": Named(
        _REGEX,
        {"regex": r"^[a-z0-9_-]{1,80}$"},
        "WebDataset splits names at the first dot",
    ),
    "expect_sha256": Named(_REGEX, {"regex": r"^[0-9a-f]{64}$"}, "a sha256 in hex"),
    "expect_xxh3_128": Named(_REGEX, {"regex": r"^[0-9a-f]{32}$"}, "an xxh3-128 in hex"),
    "expect_license": Named(
        _REGEX,
        {
            "regex": r"^(?:LicenseRef-.+|own-data|[A-Z][A-Za-z0-9.-]+)(?: AND (?:LicenseRef-.+|own-data|[A-Z][A-Za-z0-9.-]+))*$"
        },
        "an SPDX id, own-data or LicenseRef-<name>, or several joined by AND",
    ),
}
"""Our own names."""


def resolve(name: str, arguments: Mapping[str, Any]) -> tuple[str, Rule, dict[str, Any]]:
    """(Great Expectations' name, the rule, all arguments) of a rule that a suite names.

    Raises:
        KeyError: neither Great Expectations' nor ours.
    """
    filled = dict(arguments)
    if name in NAMED:
        filled = {**NAMED[name].arguments, **filled}
        name = NAMED[name].rule
    return name, RULES[name], filled


def names() -> Sequence[str]:
    """Every name a suite may write."""
    return (*NAMED, *RULES)
