"""Values of masks in a label table: numbers, ranges, colours, a threshold."""

from __future__ import annotations

import pytest

from mdfp.errors import UsageError
from schemas import yaml_file
from schemas.label_table import LabelTable


def table(text):
    return yaml_file.loads(LabelTable, f"origin: expert\n{text}", "table.yaml")


def test_a_range_stands_for_its_numbers():
    found = table("values: {0: background, 55-57: liver, '110 - 111': spleen}")
    assert found.values == {
        0: "background", 55: "liver", 56: "liver", 57: "liver", 110: "spleen", 111: "spleen",
    }  # fmt: skip
    assert LabelTable.model_validate_json(found.model_dump_json()) == found


def test_colours_are_in_small_letters_and_their_structures_are_annotated():
    found = table("colours: {'#FF0000': liver, '#000000': background}\nignore_colours: ['#FFFFFF']")
    assert found.colours == {"#ff0000": "liver", "#000000": "background"}
    assert found.ignore_colours == ("#ffffff",)
    assert found.annotated() == ("liver",)
    assert LabelTable.model_validate_json(found.model_dump_json()) == found


def test_tables_of_numbers_read_as_they_did_before_there_were_colours():
    assert set(table("values: {0: background, 1: liver}").model_dump()) == {
        "values", "structures", "ignore", "ignore_names", "looked_for", "case_table", "all_empty", "origin",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("values: {9-5: liver}", "holds no number"),
        ("values: {0-99999: liver}", "more than 65536"),
        ("values: {5: liver, 4-6: spleen}", "stands twice"),
        ("colours: {red: liver}", "#rrggbb"),
        ("colours: {'#ff0000': livr}", "did you mean 'liver'"),
        ("colours: {'#ff0000': liver}\nvalues: {0: background}", "neither values:"),
        ("colours: {'#ff0000': liver}\nthreshold: 5", "nor threshold:"),
        ("colours: {'#ff0000': liver}\nignore_colours: ['#ff0000']", "both mapped and ignored"),
        ("values: {1: liver}\nignore_colours: ['#ff0000']", "goes with colours:"),
        ("values: {0: background, 2: liver}\nthreshold: 5", "the values 0 and 1"),
        ("values: {0: background, 1: liver}\nthreshold: 0", "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_told(text, words):
    with pytest.raises(UsageError, match=words):
        table(text)
