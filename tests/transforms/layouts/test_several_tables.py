"""Tables of several files, packed ones, columns inside texts, lists of splits, files in folders that only a pattern knows."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdfp.errors import UsageError
from schemas import patterns
from schemas.reasons import Reason
from schemas.source import Source
from tests.transforms.layouts.test_table import STATES, grouped, said, source
from transforms.layouts.table_files import Files
from transforms.store import ListedObject


def by_name(found):
    return {c.name: c for c in found.cases}


def test_a_pattern_names_several_tables_and_its_fields_are_columns():
    layout = {
        "path": "l_{part:train|test}.csv",
        "images": [{"name": "xray", "modality": "DX", "file": "{part}/{f}.png"}],
        "split": "part",
        "findings": [{"table": "more_{part:train|test}.csv", "columns": ["Edema"], "values": STATES}],
    }
    tables = {
        "l_train.csv": "f\na\n",
        "l_test.csv": "f\na\n",
        "more_train.csv": "f,Edema\na,1\n",
        "more_test.csv": "f,Edema\na,0\n",
    }
    found = by_name(grouped(layout, tables, files=["train/a.png", "test/a.png"]))
    assert {n: (c.split, said(c)) for n, c in found.items()} == {
        "train_a": ("train", [("Edema", None, "present")]),
        "test_a": ("test", [("Edema", None, "absent")]),
    }
    with pytest.raises(UsageError, match=r"names tables 'l_.*found none"):
        grouped(layout, {"other.csv": "f\na\n"}, files=[])


def test_a_packed_table_is_a_table():
    packed = gzip.compress(b"f,Edema\na,1\n")
    layout = {"path": "t.csv.gz", "findings": [{"columns": ["Edema"], "values": STATES}]}
    assert said(grouped(layout, {"t.csv.gz": packed}, files=["a.png"]).cases[0]) == [("Edema", None, "present")]
    for broken, message in (
        (packed[:-6], "one whole gzip"),
        (b"f,Edema\n", "does not inflate"),
        (packed * 2, "one whole"),
    ):
        with pytest.raises(UsageError, match=message):
            grouped(layout, {"t.csv.gz": broken}, files=["a.png"])


def test_columns_stand_in_the_text_of_another():
    layout = {
        "fields": [{"column": "Path", "pattern": "**/{who}/{view}.png"}],
        "images": [{"name": "xray", "modality": "DX", "file": "{Path}"}],
        "classes": [{"column": "view", "name": "view"}],
    }
    tables = {"t.csv": "Path\nx/p1/pa.png\nx/p2/pa.png\nflat.png\n"}
    found = by_name(grouped(layout, tables, files=["x/p1/pa.png", "x/p2/pa.png", "flat.png"], patient="{who}"))
    assert [found[f"x/{p}/pa"].told.patient for p in ("p1", "p2")] == ["p1", "p2"]
    assert said(found["x/p1/pa"]) == [("view", "pa", "present")]
    # A text of another form has empty fields: here nobody can say whose picture it is.
    assert [f.reason for f in found["flat"].faults] == [Reason.BAD_ANNOTATION]


def test_lists_say_which_split():
    layout = {"split_lists": {"column": "f", "files": {"train": "train.txt", "test": "test.txt"}}}
    tables = {"t.csv": "f\na\nb\nc\n", "train.txt": "a\n", "test.txt": "b\r\n\n"}
    assert {n: c.split for n, c in by_name(grouped(layout, tables)).items()} == {"a": "train", "b": "test", "c": None}
    with pytest.raises(UsageError, match="expected each in one split"):
        grouped(layout, tables | {"test.txt": "a\n"})
    both = {**layout, "case": "{g}"}
    (case,) = grouped(both, tables | {"t.csv": "f,g\na,1\nb,1\n"}).cases
    assert [f.reason for f in case.faults] == [Reason.BAD_ANNOTATION]


def test_texts_and_facts_may_stand_in_joined_tables():
    layout = {
        "case": "{u}",
        "texts": [{"name": "impression", "kind": "impression", "column": "I", "table": "r.csv"}],
        "sex": {"column": "S", "table": "r.csv", "values": {"w": "F"}},
        "split": {"column": "part", "table": "r.csv", "values": {"validate": "val"}},
    }
    (case,) = grouped(
        layout, {"t.csv": "f,u\na,1\nb,1\n", "r.csv": "u,I,S,part\n1,fine,w,validate\n2,other,w,train\n"}
    ).cases
    assert [t.value for t in case.told.texts] == ["fine"]
    assert (case.told.sex, case.split, len(case.images)) == ("F", "val", 2)


def test_readers_who_differ_leave_it_uncertain():
    rows = "f,Edema,Mass,Nodule\na,1,0,\na,0,0,1\na,0,0,\n"
    finding = {"columns": ["Edema", "Mass", "Nodule"], "values": STATES}
    (case,) = grouped({"findings": [finding]}, {"t.csv": rows}).cases
    assert [f.reason for f in case.faults] == [Reason.BAD_ANNOTATION]
    (case,) = grouped({"findings": [{**finding, "several": "uncertain"}]}, {"t.csv": rows}).cases
    assert case.faults == ()
    assert said(case) == [("Edema", None, "uncertain"), ("Mass", None, "absent"), ("Nodule", None, "present")]


def test_a_list_of_many_terms():
    listed = {
        "column": "L", "separator": ";", "names": {"Mass": "mass", "Edema": "edema"}, "absent_if": ["normal"],
        "unnamed": "ignore", "others": "unknown",
    }  # fmt: skip
    rows = "f,L\na,Mass;Spine\nb,normal\nc,Spine\nd,normal;Mass\n"
    found = by_name(grouped({"findings": [listed]}, {"t.csv": rows}))
    assert {n: [s for _, _, s in said(c)] for n, c in found.items() if n != "d"} == {
        "a": ["present", "unknown"],
        "b": ["absent", "absent"],
        "c": ["unknown", "unknown"],
    }
    assert [f.reason for f in found["d"].faults] == [Reason.BAD_ANNOTATION]


LISTED = [
    ListedObject(p, 1, "v") for p in ("s_1/images/a.png", "s_2/images/a*.png", "deep/er/images/b.png", "s_1/b.png")
]


@pytest.mark.parametrize(
    ("template", "cell", "path"),
    [
        ("s_*/images/{f}.png", "a", "s_1/images/a.png"),
        ("s_*/images/{f}.png", "a*", "s_2/images/a*.png"),
        ("s_*/images/{f}.png", "*", None),  # a cell is text
        ("**/images/{f}.png", "b", "deep/er/images/b.png"),
        ("*/images/{f}.png", "b", None),
        ("s_1/{f}.png", "b", "s_1/b.png"),
    ],
)
def test_files_are_found_by_their_names(template, cell, path):
    found = Files(LISTED).find(template, {"f": cell})
    assert (found and found.path) == path


SEGMENT = st.text("ab", min_size=1, max_size=3)


@given(
    st.lists(SEGMENT, min_size=1, max_size=4),
    st.lists(st.sampled_from(["**", "*", "a*", "*b", "a*b", "a", "ab", "*a*"]), max_size=3),
)
def test_folders_fit_as_patterns_do(path, folders):
    """Against the patterns of paths: the same wildcards, there by an expression."""
    template = "/".join([*folders, path[-1]])
    found = Files([ListedObject("/".join(path), 1, "v")]).find(template.removesuffix(path[-1]) + "{f}", {"f": path[-1]})
    fits = patterns.match(template, "/".join(path)) is not None
    assert (found is not None) == (fits if folders else len(path) == 1)


def test_a_template_that_finds_two_files_is_told():
    with pytest.raises(UsageError, match="finds 2 files for one row"):
        Files(LISTED).find("**/{f}.png", {"f": "b"})


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"images": [{"name": "x", "modality": "DX", "file": "a/{f}*.png"}]}, "no wildcards"),
        ({"texts": [{"name": "t", "file": "{f}.txt", "table": "r.csv"}]}, "goes with column"),
        ({"fields": [{"column": "f", "pattern": "**/*.png"}]}, "a pattern with fields"),
        ({"split": "s", "split_lists": {"column": "f", "files": {"test": "t.txt"}}}, "one of them"),
    ],
)
def test_what_cannot_be_meant_is_told(layout, message):
    with pytest.raises(ValueError, match=message):
        source(layout)


def test_what_is_not_asked_for_is_not_in_a_plan():
    plain = source(
        {"findings": [{"columns": ["E"], "values": STATES}], "texts": [{"name": "t", "column": "T"}], "sex": "S"}
    )
    content = str(plain.model_dump(mode="json"))
    assert not [w for w in ("several", "split_lists", "'fields'", "unnamed", "absent_if") if w in content]
    assert content.count("'table'") == 2  # the kind, and where findings stand, as ever
    assert Source.model_validate(plain.model_dump(mode="json")) == plain
