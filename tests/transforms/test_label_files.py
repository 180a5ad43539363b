"""A file is of the sample that its path names; nothing is given to two, and nothing is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdfp.errors import UsageError
from schemas.added_labels import AddedLabels
from transforms.label_files import PublishedRow, match
from transforms.pseudonym import PatientKeys
from transforms.store import ListedObject

KEYS = PatientKeys(b"a secret of enough bytes")
TABLE = {"origin": "model", "values": {0: "background", 1: "liver"}}
SEVERAL = {
    "origin": "model",
    "structures": {"liver": "liver", "left kidney": "kidney_left", "gtv*": "tumour_unspecified"},
}


def spec(path, **more):
    content = {"layer": "m", "title": "M", "root": ".", "path": path, "labels": TABLE} | more
    return AddedLabels.model_validate(content)


def row(key, images=("ct",), layers=(), source="scans"):
    return PublishedRow(key, key, source, f"shards/train/{source}-00001-00.tar", "own-data", images, layers)


def objects(*paths):
    return [ListedObject(p, 10, "mtime:1", None) for p in paths]


def given_to(found):
    return {f.path: (f.key, f.image, f.structure) for f in found.files}


def test_underscores_of_keys_images_and_structures_are_told_apart():
    rows = [row("a", ("t1", "t1_ce")), row("a_1", ("t1", "t1_ce"))]
    paths = ("a_t1.nii", "a_t1_ce.nii", "a_1_t1.nii", "a_1_t1_ce.nii")
    found = match(objects(*paths), rows, spec("{key}_{image}.nii"), KEYS)
    assert given_to(found) == {
        "a_t1.nii": ("a", "t1", None),
        "a_t1_ce.nii": ("a", "t1_ce", None),
        "a_1_t1.nii": ("a_1", "t1", None),
        "a_1_t1_ce.nii": ("a_1", "t1_ce", None),
    }
    paths = ("a_liver.nii", "a_1_LEFT KIDNEY.nii", "a_1_gtv_mass.nii")
    found = match(objects(*paths), [row("a"), row("a_1")], spec("{key}_{structure}.nii", labels=SEVERAL), KEYS)
    assert given_to(found) == {
        "a_liver.nii": ("a", "ct", "liver"),
        "a_1_LEFT KIDNEY.nii": ("a_1", "ct", "kidney_left"),
        "a_1_gtv_mass.nii": ("a_1", "ct", "tumour_unspecified"),
    }


def test_what_files_are_called_is_shown_and_not_recorded():
    rows = [row("a"), row("b")]
    paths = ("a_liver.nii", "a_Jane Roe.nii", "Jane Roe.nii", "zz_liver.nii")
    found = match(objects(*paths), rows, spec("{key}_{structure}.nii", labels=SEVERAL), KEYS)
    assert found.files == ()
    assert set(found.strange) == set(paths[1:])
    assert "Roe" not in repr(found.rejects)
    reasons = sorted((r.case_id or "", str(r.reason)) for r in found.rejects)
    assert reasons == [("", "no_image"), ("", "unmatched"), ("a", "unmapped_label"), ("b", "missing_label")]


names = st.text("ab1_-", min_size=1, max_size=5)


@settings(max_examples=200, deadline=None)
@given(
    st.sets(names, min_size=1, max_size=5), st.sampled_from(["{key}.nii", "{source}/{key}/m.nii", "x-{key}_seg.nii"])
)
def test_what_is_named_by_the_pattern_is_found(keys, path):
    rows = [row(k) for k in sorted(keys)]
    files = {path.replace("{key}", k).replace("{source}", "scans"): k for k in keys}
    found = match(objects(*sorted(files)), rows, spec(path), KEYS)
    assert {f.path: f.key for f in found.files} == files
    assert (found.rejects, found.strange) == ((), ())


def test_samples_of_several_images_are_asked_which():
    rows = [row("a", ("ct", "pt")), row("b")]
    found = match(objects("a.nii", "b.nii"), rows, spec("{key}.nii"), KEYS)
    assert [f.key for f in found.files] == ["b"]
    assert [(r.case_id, r.reason) for r in found.rejects] == [("a", "no_image")]
    assert "ct, pt" in found.rejects[0].detail
    found = match(objects("a.nii", "b.nii"), rows, spec("{key}.nii", image="pt"), KEYS)
    assert [(f.key, f.image) for f in found.files] == [("a", "pt")]


def test_a_sample_that_has_the_layer_is_passed_over():
    found = match(objects("a.nii", "b.nii"), [row("a", layers=("base", "m")), row("b")], spec("{key}.nii"), KEYS)
    assert ([f.key for f in found.files], found.there, found.rejects) == (["b"], 1, ())


def test_another_source_is_another_sample():
    found = match(objects("other/a.nii"), [row("a")], spec("{source}/{key}.nii"), KEYS)
    assert (found.files, sorted(r.reason for r in found.rejects)) == ((), ["missing_label", "no_image"])


def test_names_of_members_have_room_in_a_tar():
    with pytest.raises(UsageError, match="shorten it by"):
        match(objects(f"{'k' * 80}.nii"), [row("k" * 80)], spec("{key}.nii", layer="m" * 20), KEYS)
