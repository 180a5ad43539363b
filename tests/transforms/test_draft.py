from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
import yaml

from mdfp.errors import UsageError
from schemas.source import Source
from transforms.draft import as_yaml, draft_source
from transforms.store import SourceStore


@pytest.fixture
def put(tmp_path):
    def write(path, voxels=None):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        array = np.zeros((4, 5, 6), np.int16) if voxels is None else np.resize(np.array(voxels, np.int16), (4, 5, 6))
        nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 2.0, 3.0, 1.0])), file)

    return write


@pytest.fixture
def draft(tmp_path):
    def run():
        found = draft_source(SourceStore(str(tmp_path)), "mine")
        again = Source.model_validate(yaml.safe_load(as_yaml(found.manifest)))
        assert again == Source.model_validate(found.manifest)
        return found

    return run


@pytest.mark.parametrize(
    ("name", "voxels", "modality"),
    [
        ("a.nii.gz", [-1000, 40], "CT"),
        ("a.nii.gz", [0, 900], "MR"),
        ("scan_T1.nii.gz", [-1000, 40], "MR"),
        ("patient_CT.nii.gz", [0, 40], "CT"),
        ("pet/x.nii.gz", [0, 40], "PT"),
    ],
)
def test_the_modality_comes_from_names_and_then_from_values(name, voxels, modality, put, draft):
    put(name, voxels)
    found = draft()
    assert found.modalities == (modality,)


def test_an_assumed_modality_is_said(put, draft):
    put("a.nii.gz", [0, 900])
    assert any(r.startswith("check: the modality could not be told") for r in draft().remarks)


def test_nothing_private_is_declared_public(put, draft):
    put("a.nii.gz")
    manifest = draft().manifest
    assert manifest["public_ids"] is False
    assert manifest["terms"] == {"license": "own-data"}
    assert manifest["patient"] == {"namespace": "mine"}


def test_hidden_files_are_looked_past(put, draft, tmp_path):
    put("a.nii.gz", [-1000, 0])
    (tmp_path / "._a.nii.gz").write_bytes(b"\0\5\x16\7")
    assert draft().remarks[0] == "found 1 images and 0 label files: layout paired"


def test_images_of_another_pattern_are_named(put, draft):
    put("scans/a.nii.gz")
    put("scans/b.nii.gz")
    put("elsewhere/c.nii.gz")
    found = draft()
    assert found.manifest["layout"]["images"][0]["path"] == "scans/{case}.nii.gz"
    assert any("1 images do not fit" in r and "elsewhere/{case}.nii.gz" in r for r in found.remarks)


def test_a_folder_a_case_with_one_name_for_all_images(put, draft):
    for case in ("p1", "p2"):
        put(f"{case}/ct.nii.gz")
    assert draft().manifest["layout"]["images"][0]["path"] == "{case}/ct.nii.gz"


def test_names_that_differ_in_case_and_spelling_are_structures(put, draft, tmp_path):
    put("imagesTr/x.nii.gz")
    put("labelsTr/x.nii.gz", [0, 1])
    described = {
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "Left Kidney", "2": "Liver tumor"},
        "training": [],
        "test": [],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    values = draft().manifest["labels"]["labels"]["values"]
    assert values == {0: "background", 1: "kidney_left", 2: "liver_tumour"}


@pytest.mark.parametrize(
    "strange",
    ["[" * 100_000, "[1]", '{"channel_names": {"ct": "CT"}}', '{"channel_names": ["CT"]}', '{"labels": {"liver": 1}}'],
)
def test_a_dataset_json_of_another_kind_is_passed_over_and_said(put, draft, tmp_path, strange):
    put("imagesTr/x.nii.gz")
    (tmp_path / "dataset.json").write_text(strange)
    found = draft()
    assert found.manifest["layout"]["kind"] == "paired"
    assert any("dataset.json is no" in r and "passed over" in r for r in found.remarks)


def test_labels_without_meaning_are_skipped_not_read_as_images(put, draft):
    put("a.nii.gz")
    put("a_seg.nii.gz", [0, 5])
    found = draft()
    assert not found.labelled
    assert "*_seg.nii.gz" in found.manifest["skip"]
    assert "._*" in found.manifest["skip"]


def test_nothing_to_draft_from_is_an_error(tmp_path):
    (tmp_path / "x.txt").write_text("no image")
    with pytest.raises(UsageError, match="no DICOM, NIfTI, MHA, MHD or NRRD file found among 1 files"):
        draft_source(SourceStore(str(tmp_path)), "mine")
