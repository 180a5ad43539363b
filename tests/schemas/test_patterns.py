"""Patterns say which paths they match, and nothing more."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas import patterns

SEGMENT = st.text("abcXYZ019_-. ()[]+^$", min_size=1, max_size=12)
FIELD_VALUE = st.text("abcXYZ019-", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        ("imagesTr/{case}_0000.nii.gz", "imagesTr/liver_1_0000.nii.gz", {"case": "liver_1"}),
        ("imagesTr/{case}_0000.nii.gz", "imagesTr/sub/liver_1_0000.nii.gz", None),
        ("{a}/{b}.nii", "x/y.nii", {"a": "x", "b": "y"}),
        ("{a}/{a}.nii", "x/x.nii", {"a": "x"}),
        ("{a}/{a}.nii", "x/y.nii", None),
        ("{case:s[0-9]{4}}/ct.nii.gz", "s0001/ct.nii.gz", {"case": "s0001"}),
        ("{case:s[0-9]{4}}/ct.nii.gz", "s001/ct.nii.gz", None),
        ("{n:[0-9]{1,2}}.dcm", "123.dcm", None),
        ("**", "a/b/c", {}),
        ("**/x.nii", "x.nii", {}),
        ("**/x.nii", "a/b/x.nii", {}),
        ("**/x.nii", "a/bx.nii", None),
        ("a/**/x", "a/b/c/x", {}),
        ("a/**/x", "a/x", {}),
        ("**/._*", "a/._b", {}),
        ("*.nii", "a/b.nii", None),
        ("?.nii", "a.nii", {}),
        ("?.nii", "/.nii", None),
        ("a.nii", "abnii", None),
        ("a.nii", "a.nii\n", None),
        ("{scan:CT|PET}.nii", "PET.nii", {"scan": "PET"}),
        ("{other:(?!keep/).*}", "keep/x", None),
        ("{other:(?!keep/).*}", "drop/x", {"other": "drop/x"}),
    ],
)
def test_what_a_pattern_matches(pattern, path, fields):
    assert patterns.match(pattern, path) == fields


@given(SEGMENT, SEGMENT)
def test_text_without_fields_matches_itself_alone(text, other):
    assume("*" not in text and "?" not in text)
    assert patterns.match(text, text) == {}
    if other != text:
        assert patterns.match(text, other) is None


@given(FIELD_VALUE, FIELD_VALUE)
def test_filling_a_pattern_gives_a_path_that_it_matches(case, visit):
    template = "data/{case}/v_{visit}/ct.nii.gz"
    path = patterns.fill(template, {"case": case, "visit": visit})
    assert patterns.match(template, path) == {"case": case, "visit": visit}


@given(
    st.lists(st.sampled_from(["a", "b.nii", "*", "?", "c*d", "x"]), min_size=1, max_size=4),
    st.lists(SEGMENT, min_size=1, max_size=4),
)
def test_stars_within_segments_are_those_of_fnmatch(pattern, path):
    assume(not any(set("[]") & set(segment) for segment in path))
    expected = len(pattern) == len(path) and all(fnmatch.fnmatchcase(s, p) for s, p in zip(path, pattern, strict=False))
    assert (patterns.match("/".join(pattern), "/".join(path)) is not None) == expected


def test_fields_come_in_order_and_once():
    assert patterns.fields("{b}/{a:[0-9]+}/{b}_*.nii") == ("b", "a")


def test_literal_text_is_what_is_left_without_fields_and_wildcards():
    assert patterns.literal("**/{case:s[0-9]{4}}/seg_*.nii?") == "/seg_.nii"


def test_a_broken_expression_is_told_with_the_pattern():
    with pytest.raises(ValueError, match=re.escape("pattern '{case:[}.nii'")):
        patterns.compile_pattern("{case:[}.nii")


def test_filling_needs_every_field():
    with pytest.raises(KeyError, match="visit"):
        patterns.fill("{case}/{visit}", {"case": "a"})
