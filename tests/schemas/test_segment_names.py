"""Names of segments and ROIs, and the manifest that says what they mean."""

from __future__ import annotations

import pytest

from mdfp.errors import UsageError
from schemas import segment_names, yaml_file
from schemas.source import Source

TABLE = {"GTV*": "tumour_unspecified", "GTV_Liver": "liver_tumour", "gtv_l*": "liver", "Lt  Kidney": "kidney_left"}


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("GTV_Mass_CT", "tumour_unspecified"),
        ("gtv", "tumour_unspecified"),
        ("GTV_LIVER", "liver_tumour"),  # without a wildcard before any pattern
        ("GTV_lung", "liver"),  # of two patterns the one that says more
        (" lt kidney ", "kidney_left"),
        ("Lt_Kidney", None),
        ("PTV", None),
        ("Body", "background"),
        ("external 1", "background"),
        ("external", None),
        ("", None),
    ],
)
def test_a_name_means_what_fits_it_best(name, structure):
    assert segment_names.look_up(name, TABLE, ["BODY", "External ?"]) == structure


def test_what_means_something_else_in_a_regular_expression_means_itself():
    assert segment_names.look_up("a.b", {"a.b": "liver"}) == "liver"
    assert segment_names.look_up("axb", {"a.b*": "liver"}) is None
    assert segment_names.look_up("(1)+x", {"(1)+*": "liver"}) == "liver"


def manifest(**tables):
    table = {"origin": "expert", "structures": {"GTV*": "tumour_unspecified"}, **tables}
    return {
        "id": "toy",
        "title": "Toy",
        "patient": {"namespace": "toy"},
        "layout": {"kind": "dicom", "segmentations": {"table": "drawn"}},
        "labels": {"drawn": table, "other": {"origin": "expert", "structures": {"x": "liver"}}},
    }


def test_a_table_of_segmentations_says_nothing_of_what_is_not_drawn_unless_it_says_so():
    made = Source.model_validate(manifest())
    assert made.labels["drawn"].looked_for == "values_present"
    assert made.labels["other"].looked_for == "all"
    assert Source.model_validate(manifest(looked_for="all")).labels["drawn"].looked_for == "all"
    assert Source.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"values": {1: "liver"}}, "structures: .names of segments"),
        ({"structures": {}, "values": {0: "background", 1: "liver"}}, "structures: .names of segments"),
        ({"structures": {"Liver": "liver", "LIVER ": "spleen"}}, "both liver and spleen"),
        ({"ignore_names": ["gtv*"]}, "both tumour_unspecified and ignored"),
        ({"looked_for": "per_case_table", "case_table": "a.csv"}, "looked_for: all or values_present"),
    ],
)
def test_a_table_that_cannot_name_segments_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        Source.model_validate(manifest(**table))


def test_what_is_written_wrongly_is_answered_with_its_line_and_what_would_be_right():
    text = """\
id: toy
title: Toy
patient: {namespace: toy}
layout:
  kind: dicom
  segmentations: {tabel: drawn, kinds: [RTSTRUCTS]}
"""
    with pytest.raises(UsageError) as fault:
        yaml_file.loads(Source, text, "toy.yaml")
    message = str(fault.value)
    assert "toy.yaml:6: layout.segmentations: unknown key 'tabel'; did you mean 'table'?" in message
    assert "'SEG' or 'RTSTRUCT'" in message


def test_the_table_must_be_there():
    content = {**manifest(), "labels": {}}
    with pytest.raises(ValueError, match="names the label table 'drawn'"):
        Source.model_validate(content)
