"""What a source manifest means."""

from __future__ import annotations

import pytest

from schemas.label_table import LabelTable
from schemas.layouts import LabelFiles, label_names
from schemas.source import Source

PAIRED = {
    "id": "toy",
    "title": "Toy",
    "patient": {"namespace": "toy"},
    "layout": {
        "kind": "paired",
        "images": [{"name": "ct", "modality": "CT", "path": "{case}.nii.gz"}],
        "labels": [{"table": "organs", "image": "ct", "path": "{case}_seg.nii.gz"}],
    },
    "labels": {"organs": {"origin": "expert", "values": {0: "background", 1: "spleen", 7: "liver"}, "ignore": [255]}},
}


def label(table, image):
    return LabelFiles(table=table, image=image, path="{case}.nii")


def test_annotated_structures_are_those_a_table_can_name_sorted():
    assert Source.model_validate(PAIRED).annotated() == ("liver", "spleen")
    masks = LabelTable(origin="model", structures={"hip_left": "hip_bone_left", "junk": "background"})
    assert masks.annotated() == ("hip_bone_left",)


def test_a_manifest_survives_json():
    source = Source.model_validate(PAIRED)
    assert Source.model_validate_json(source.model_dump_json()) == source
    assert source.labels["organs"].values == {0: "background", 1: "spleen", 7: "liver"}


def test_macos_twins_are_skipped_unless_told_otherwise():
    assert Source.model_validate(PAIRED).skip == ("**/._*", "._*")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([("organs", "ct")], ("organs",)),
        ([("organs", "ct"), ("lesions", "ct")], ("organs", "lesions")),
        ([("organs", "ct"), ("organs", "mr"), ("lesions", "mr")], ("organs_ct", "organs_mr", "lesions")),
        ([("organs", "ct"), ("organs", "ct")], ("organs_ct_1", "organs_ct_2")),
    ],
)
def test_names_of_labels_are_as_short_as_they_can_be(labels, names):
    assert label_names([label(*x) for x in labels]) == names


def test_a_dicom_layout_has_no_split_table():
    content = {**PAIRED, "layout": {"kind": "dicom"}, "split_table": {"path": "meta.csv", "case": "id"}}
    with pytest.raises(ValueError, match="split_table: is for layouts of files"):
        Source.model_validate(content)


def test_labels_beside_dicom_need_a_field_to_join_them():
    layout = {"kind": "dicom", "labels": [{"table": "organs", "image": "ct", "path": "{case}.nrrd"}]}
    with pytest.raises(ValueError, match="share no field, for example"):
        Source.model_validate({**PAIRED, "layout": layout})


def test_masks_need_the_name_of_their_structure_and_of_their_case():
    layout = {
        "kind": "per-structure",
        "image": {"name": "ct", "modality": "CT", "path": "{case}/ct.nii"},
        "table": "organs",
    }
    with pytest.raises(ValueError, match=r"needs a field \{structure\}"):
        Source.model_validate({**PAIRED, "layout": {**layout, "structures": "{case}/seg/*.nii"}})
    with pytest.raises(ValueError, match=r"share no field, for example \{case\}"):
        Source.model_validate({**PAIRED, "layout": {**layout, "structures": "seg/{structure}.nii"}})


def test_readers_are_named_in_their_labels_and_leave_no_trace_where_there_are_none():
    several = [LabelFiles(table="organs", image="ct", path="{case}.nii", reader=n) for n in (1, 2)]
    assert label_names(several) == ("organs_reader1", "organs_reader2")
    (written,) = Source.model_validate(PAIRED).model_dump(mode="json")["layout"]["labels"]
    assert "reader" not in written
    assert "marks" not in Source.model_validate({**PAIRED, "layout": {"kind": "dicom"}}).model_dump()["layout"]


@pytest.mark.parametrize(
    ("readers", "words"),
    [([1, 1], "reader: 1 is given to two labels"), ([1, None], "number all")],
)
def test_it_must_be_clear_which_reader_drew_a_label(readers, words):
    labels = [
        {"table": "organs", "image": "ct", "path": f"{{case}}_{n}.nii", **({"reader": r} if r else {})}
        for n, r in enumerate(readers)
    ]
    with pytest.raises(ValueError, match=words):
        Source.model_validate({**PAIRED, "layout": {**PAIRED["layout"], "labels": labels}})


MARKED = {
    **PAIRED,
    "layout": {"kind": "dicom", "marks": {"format": "lidc", "table": "nodules"}},
    "labels": {"nodules": {"origin": "expert", "structures": {"nodule": "lung_nodule"}}},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": {"nodules": {"origin": "expert", "values": {1: "lung_nodule"}}}}, "{nodule: <structure>}"),
        (
            {"labels": {"nodules": {"origin": "expert", "structures": {"nodule": "lung_nodule", "gtv": "liver"}}}},
            "{nodule: <structure>}",
        ),
        ({"labels": {}}, "names the label table 'nodules'"),
        (
            {"layout": {**MARKED["layout"], "segmentations": {"table": "nodules"}}},
            "is used by other labels too",
        ),
        (
            {
                "layout": {
                    **MARKED["layout"],
                    "path": "{case}/CT/**",
                    "labels": [{"table": "lungs", "image": "ct", "path": "{case}/lungs.nii"}],
                },
                "labels": {**MARKED["labels"], "lungs": {"origin": "expert", "values": {1: "lung_left"}}},
            },
            "marks.path",
        ),
    ],
)
def test_marks_need_a_table_of_their_own(change, words):
    assert Source.model_validate(MARKED).annotated() == ("lung_nodule",)
    with pytest.raises(ValueError, match=words):
        Source.model_validate({**MARKED, **change})
