"""Which mask is of which picture: by the fields of paths, by a table's cells, one file or one for each structure."""

from __future__ import annotations

import pytest

from mdfp.errors import UsageError
from schemas import yaml_file
from schemas.reasons import Reason
from schemas.source import Source
from transforms import layouts
from transforms.pseudonym import PatientKeys
from transforms.store import ListedObject

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")
HEAD = "id: toy\ntitle: Toy\npublic_ids: true\npatient: {namespace: toy}\n"
EYE = "labels: {eye: {origin: expert, structures: {disc: optic_disc, cup: optic_cup, note: background}}}\n"
SKIN = "labels: {skin: {origin: expert, values: {0: background, 1: skin_lesion}}}\n"


def source(layout, labels):
    return yaml_file.loads(Source, f"{HEAD}layout:\n{layout}\n{labels}", "toy.yaml")


def grouped(found, paths, tables=None):
    tables = tables or {}
    listing = [ListedObject(p, 10, "v") for p in [*paths, *tables]]
    return layouts.group(found, listing, lambda path: tables[path].encode(), KEYS)


def pairs(result):
    """case -> label -> (image, [(path, structure)])."""
    return {c.name: {a.name: (a.image, [(o.path, s) for o, s in a.objects]) for a in c.labels} for c in result.cases}


PAIRED = """
  kind: paired
  images: [{name: eye, modality: OP, path: "img/{case}.jpg"}]
  labels: [{table: eye, image: eye, path: "gt/{case}_{structure:disc|cup|note|rim}.tif"}]"""


def test_paired_takes_a_mask_for_each_structure():
    paths = ["img/a.jpg", "img/b.jpg", "img/c.jpg", "gt/a_disc.tif", "gt/a_cup.tif", "gt/a_note.tif", "gt/b_disc.tif"]
    result = grouped(source(PAIRED, EYE), paths)
    assert pairs(result) == {
        "a": {"eye": ("eye", [("gt/a_cup.tif", "optic_cup"), ("gt/a_disc.tif", "optic_disc")])},
        "b": {"eye": ("eye", [("gt/b_disc.tif", "optic_disc")])},
        "c": {},
    }
    assert result.rejects == ()
    assert result.counts.balanced()


def test_a_mask_whose_name_the_table_lacks_is_a_label_fault():
    result = grouped(source(PAIRED, EYE), ["img/a.jpg", "gt/a_rim.tif"])
    ((fault,),) = [c.faults for c in result.cases]
    assert (fault.reason, fault.concerns) == (Reason.UNMAPPED_LABEL, "label")
    assert "'rim'" in fault.detail


FOLDERS = """
  kind: folders
  image: {name: us, modality: US, path: "{dx}/{case:[^_]+}.png"}
  labels: [{table: skin, path: "{dx}/{case:[^_]+}_mask.png", required: true}]
  classes: [{field: dx, name: diagnosis}]"""


def test_folders_join_masks_by_the_fields_of_their_paths():
    result = grouped(
        source(FOLDERS, SKIN), ["benign/1.png", "benign/1_mask.png", "malignant/1.png", "benign/7_mask.png"]
    )
    assert pairs(result) == {
        "benign_1": {"skin": ("us", [("benign/1_mask.png", None)])},
        "malignant_1": {},
    }
    faults = {c.name: [f.reason for f in c.faults] for c in result.cases}
    assert faults == {"benign_1": [], "malignant_1": [Reason.MISSING_LABEL]}
    assert [(r.reason, r.path) for r in result.rejects] == [(Reason.NO_IMAGE, "benign/7_mask.png")]
    assert result.counts.balanced()


def test_folders_unite_several_masks_of_one_structure():
    layout = FOLDERS.replace("_mask.png", "_mask{structure:.*}.png")
    labels = 'labels: {skin: {origin: expert, structures: {"": breast_lesion, "_1": breast_lesion}}}\n'
    result = grouped(source(layout, labels), ["benign/1.png", "benign/1_mask.png", "benign/1_mask_1.png"])
    masks = [("benign/1_mask.png", "breast_lesion"), ("benign/1_mask_1.png", "breast_lesion")]
    assert pairs(result) == {"benign_1": {"skin": ("us", masks)}}


def test_a_mask_that_two_images_could_claim_is_a_label_fault_of_the_second():
    layout = FOLDERS.replace('path: "{dx}/{case:[^_]+}_mask.png", required: true', 'path: "{dx}/all_mask.png"')
    result = grouped(source(layout, SKIN), ["benign/1.png", "benign/2.png", "benign/all_mask.png"])
    assert [[f.reason for f in c.faults] for c in result.cases] == [[], [Reason.CONFLICTING_FILES]]


TABLE = """
  kind: table
  path: t.csv
  images: [{name: eye, modality: OP, file: "img/{id}.png"}]
  labels: [{table: eye, files: {disc: "{disc}", cup: "gt/{id}_cup.png"}}]"""


def test_a_table_names_a_mask_for_each_structure_and_rows_may_lack_them():
    tables = {"t.csv": "id,disc\na,gt/a_d.png\nb,\nc,gt/missing.png\n"}
    paths = ["img/a.png", "img/b.png", "img/c.png", "gt/a_d.png", "gt/a_cup.png", "gt/b_cup.png"]
    result = grouped(source(TABLE, EYE), paths, tables)
    assert pairs(result) == {
        "a": {"eye": ("eye", [("gt/a_cup.png", "optic_cup"), ("gt/a_d.png", "optic_disc")])},
        "b": {"eye": ("eye", [("gt/b_cup.png", "optic_cup")])},
        "c": {},
    }
    assert [c.faults for c in result.cases] == [(), (), ()]
    assert result.counts.balanced()
    strict = source(TABLE.replace('_cup.png"}', '_cup.png"}, required: true'), EYE)
    faults = {c.name: [f.reason for f in c.faults] for c in grouped(strict, paths, tables).cases}
    assert faults == {"a": [], "b": [], "c": [Reason.MISSING_LABEL]}


def test_masks_of_several_images_of_one_case_go_with_the_image_of_their_row():
    layout = """
  kind: table
  path: t.csv
  case: "{who}"
  images: [{name: eye, modality: OP, file: "img/{id}.png"}]
  labels: [{table: skin, file: "gt/{id}.png"}]"""
    tables = {"t.csv": "who,id\np,a\np,b\n"}
    result = grouped(source(layout, SKIN), ["img/a.png", "img/b.png", "gt/a.png", "gt/b.png"], tables)
    assert pairs(result) == {
        "p": {"skin": ("eye", [("gt/a.png", None)]), "skin_eye_2": ("eye_2", [("gt/b.png", None)])}
    }


@pytest.mark.parametrize(
    ("layout", "labels", "words"),
    [
        (PAIRED, SKIN.replace("skin:", "eye:"), "needs structures:"),
        (TABLE.replace('files: {disc: "{disc}", cup: "gt/{id}_cup.png"}', "image: eye"), EYE, "one of them"),
        (TABLE.replace("table: eye, files", "table: eye, image: ear, files"), EYE, "images: has"),
        (FOLDERS.replace("{dx}/{case:[^_]+}_mask", "m_{number}"), SKIN, "share no field"),
        (FOLDERS.replace("table: skin", "table: skn"), SKIN, "label table 'skn'"),
        (PAIRED.replace("image: eye,", "image: eye, slices: file_names,"), EYE, "kind: dicom"),
        (PAIRED.replace("image: eye,", "image: eye, every: true,"), EYE, "slices:"),
        ("\n  kind: folders\n  image: {name: a, modality: US, path: '{case}.png'}", SKIN, "classes:"),
    ],
)
def test_a_layout_that_cannot_be_is_told_so(layout, labels, words):
    with pytest.raises(UsageError, match=words):
        source(layout, labels)
