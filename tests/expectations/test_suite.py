"""Suites are files with good errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from expectations import suite
from expectations.tables import SUITES, TABLES, documentation
from mdfp.arrow import undocumented
from mdfp.errors import UsageError

GOOD = """suite: samples
expectations:
  - id: small-enough
    table: images
    rule: expect_column_values_to_be_between
    column: shape_max
    with: {max_value: 512}
    where: {modality: [CT, MR]}
    severity: warn
    meaning: Nothing is longer than 512 voxels.
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("name", SUITES)
def test_suites_of_the_project_load_and_become_great_expectations(name: str) -> None:
    loaded = suite.load_with(name)
    gx_suite = suite.to_gx(loaded.expectations, name)

    assert [e.meta["id"] for e in gx_suite.expectations] == [e.id for e in loaded.expectations]
    assert {e.severity for e in loaded.expectations} == {"gate", "warn"}
    assert {str(e.severity.value) for e in gx_suite.expectations} == {"critical", "warning"}


@pytest.mark.parametrize("name", SUITES)
def test_every_table_of_a_suite_is_judged(name: str) -> None:
    assert {e.table for e in suite.load_with(name).expectations} == set(SUITES[name])


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_documented_and_every_table_has_an_id(table: str) -> None:
    assert undocumented(TABLES[table]) == []
    assert next(iter(documentation(table))) == "id"


def test_a_file_of_ones_own_is_added(write) -> None:
    loaded = suite.load_with("samples", [write(GOOD)])
    assert loaded.expectations[-1].id == "small-enough"
    assert len(loaded.expectations) == len(suite.load_with("samples").expectations) + 1


def test_a_file_for_another_suite_is_set_aside(write) -> None:
    assert suite.load_with("plan", [write(GOOD)]) == suite.load_with("plan")


def test_an_expectation_of_the_same_id_replaces_ours(write) -> None:
    loaded = suite.load_with("samples", [write(GOOD.replace("small-enough", "ct-above-floor"))])
    assert len(loaded.expectations) == len(suite.load_with("samples").expectations)
    assert next(e for e in loaded.expectations if e.id == "ct-above-floor").severity == "warn"


@pytest.mark.parametrize(
    ("good", "wrong", "message"),
    [
        ("column: shape_max", "column: shape_mx", r"mine.yaml:3: .*no column 'shape_mx'; did you mean 'shape_max'"),
        (
            "values_to_be_between",
            "values_to_be_betwen",
            r":5: .*unknown expectation .*did you mean 'expect_column_values_to_be",
        ),
        ("table: images", "table: image", r"mine.yaml:4: .*unknown table 'image'; did you mean 'images'"),
        (
            "max_value: 512",
            "max_val: 512",
            r"no argument 'max_val'; did you mean 'max_value'.*valid: min_value, max_value",
        ),
        ("modality: [CT, MR]", "modalities: CT", r"no column 'modalities'; did you mean 'modality'"),
        ("severity: warn", "severity: warning", r"mine.yaml:9: .*expected 'gate' or 'warn'.*did you mean 'warn'"),
        ("    meaning:", "    why:", r"unknown key 'why'"),
        ("table: images", "table: shards", r"no column 'shape_max'"),
        ("column: shape_max", "columns: [shape_max, shape_min]", r"takes column:, found"),
    ],
)
def test_a_wrong_suite_says_where_and_what_would_be_right(write, good: str, wrong: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        suite.load(write(GOOD.replace(good, wrong)))


def test_a_table_of_another_suite_is_refused(write) -> None:
    with pytest.raises(UsageError, match="plan has no table 'images'"):
        suite.load(write(GOOD.replace("suite: samples", "suite: plan")))


def test_one_id_twice_in_a_file_is_refused(write) -> None:
    with pytest.raises(UsageError, match="named twice: small-enough"):
        suite.load(write(GOOD + GOOD.partition("expectations:\n")[2]))


def test_an_argument_of_the_wrong_type_is_refused(write) -> None:
    loaded = suite.load(
        write(GOOD.replace("values_to_be_between", "values_to_be_in_set").replace("max_value: 512", "value_set: 3"))
    )
    with pytest.raises(UsageError, match=r"expectation small-enough: .* does not take"):
        suite.to_gx(loaded.expectations, "x")


def test_a_missing_file_is_said() -> None:
    with pytest.raises(UsageError, match=r"nowhere\.yaml: cannot be read"):
        suite.load("nowhere.yaml")
