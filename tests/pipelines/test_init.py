"""`init` drafts a manifest and a recipe that run as they are, and never invents what a label means."""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import yaml
from typer.testing import CliRunner

import mdfp
from pipelines.cli import app


@pytest.fixture
def call():
    def run(*words):
        return CliRunner().invoke(app, [str(w) for w in words], prog_name="python -m pipelines")

    return run


@pytest.fixture
def put(tmp_path):
    """Write a small volume below the data folder: CT-like noise, or a label of the given values."""

    def write(path, *, seed=0, values=None):
        file = tmp_path / "my Data" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        x, y, _ = np.mgrid[0:24, 0:20, 0:16]
        if values is None:
            noise = np.random.default_rng(seed).integers(-20, 20, x.shape)
            voxels = (np.where((x - 12) ** 2 + (y - 10) ** 2 < 60, 40, -1000) + noise).astype(np.int16)
        else:
            voxels = np.zeros(x.shape, np.uint8)
            for number, value in enumerate(values):
                voxels[4 + 4 * number : 7 + 4 * number, 6:14, 4:12] = value
        if file.name.endswith(".nii.gz"):
            nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-2.0, -2.0, 3.0, 1.0])), file)
        else:
            image = sitk.GetImageFromArray(voxels.transpose(2, 1, 0))
            image.SetSpacing((2.0, 2.0, 3.0))
            sitk.WriteImage(image, str(file))
        return file

    return write


@pytest.fixture
def drafted(call, tmp_path):
    """Draft, run as drafted, and open what came of it: (output of init, manifest, corpus)."""

    def run(*more, folder=None):
        data = folder or tmp_path / "my Data"
        first = call("init", data, "--into", tmp_path / "drafts", *more)
        assert first.exit_code == 0, first.output
        (recipe,) = (tmp_path / "drafts").glob("*.recipe.yaml")
        (manifest,) = (tmp_path / "drafts").glob("*.source.yaml")
        assert f"python -m pipelines run {recipe}" in first.stdout
        second = call("run", recipe, "--quiet", "--workers", "1")
        assert second.exit_code == 0, second.output
        out = yaml.safe_load(recipe.read_text())["out"]
        return first.stdout, yaml.safe_load(manifest.read_text()), mdfp.open(str(recipe.parent / out))

    return run


def test_decathlon_layout_with_known_names(put, drafted, tmp_path):
    for i in range(4):
        put(f"imagesTr/case_{i}.nii.gz", seed=i)
        put(f"labelsTr/case_{i}.nii.gz", values=(1, 2))
    put("imagesTs/case_9.nii.gz", seed=9)
    described = {
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver", "2": "spleen"},
        "training": [
            {"image": f"./imagesTr/case_{i}.nii.gz", "label": f"./labelsTr/case_{i}.nii.gz"} for i in range(4)
        ],
        "test": ["./imagesTs/case_9.nii.gz"],
    }
    (tmp_path / "my Data" / "dataset.json").write_text(json.dumps(described))
    said, manifest, corpus = drafted()
    assert "found a dataset.json: layout msd, 1 channels" in said
    assert manifest["layout"]["kind"] == "msd"
    assert manifest["labels"]["labels"]["values"] == {0: "background", 1: "liver", 2: "spleen"}
    assert len(corpus.samples) == 5
    assert len(corpus.samples.where(states={"liver": "present", "spleen": "present"})) == 4
    assert corpus.manifest.label_space == ("liver", "spleen")


def test_decathlon_layout_with_names_nobody_knows_takes_images_only(put, drafted, tmp_path):
    put("imagesTr/case_0.nii.gz")
    put("labelsTr/case_0.nii.gz", values=(1,))
    described = {
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "thingamajig"},
        "training": [{"image": "./imagesTr/case_0.nii.gz", "label": "./labelsTr/case_0.nii.gz"}],
        "test": [],
    }
    (tmp_path / "my Data" / "dataset.json").write_text(json.dumps(described))
    said, manifest, corpus = drafted()
    assert "'thingamajig', which is no structure of the ontology" in said
    assert "labels" not in manifest
    assert len(corpus.samples) == 1
    assert corpus.samples[0].labels == ()


def test_a_dataset_json_that_is_none_is_passed_over_and_said(put, drafted, tmp_path):
    put("scans/a.nii.gz")
    (tmp_path / "my Data" / "dataset.json").write_text("{")
    said, manifest, _ = drafted()
    assert "check: dataset.json is no JSON" in said
    assert manifest["layout"]["kind"] == "paired"


def test_nnunet_layout(put, drafted, tmp_path):
    for i in range(3):
        put(f"Dataset007_Mine/imagesTr/case_{i}_0000.nii.gz", seed=i)
        put(f"Dataset007_Mine/imagesTr/case_{i}_0001.nii.gz", seed=10 + i)
        put(f"Dataset007_Mine/labelsTr/case_{i}.nii.gz", values=(1,))
    described = {
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": {"background": 0, "liver": 1},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    (tmp_path / "my Data" / "Dataset007_Mine" / "dataset.json").write_text(json.dumps(described))
    said, manifest, corpus = drafted()
    assert "layout nnunet, 2 channels" in said
    assert manifest["layout"]["folder"] == "Dataset007_Mine"
    assert [[i.name for i in s.images] for s in corpus.samples] == [["t1", "flair"]] * 3
    assert len(corpus.samples.where(states={"liver": "present"})) == 3


def test_one_mask_a_structure(put, drafted):
    for i in range(3):
        put(f"p{i}/ct.nii.gz", seed=i)
        put(f"p{i}/segmentations/liver.nii.gz", values=(1,))
        put(f"p{i}/segmentations/kidney_left.nii.gz", values=(0, 1))
    put("p2/segmentations/thingamajig.nii.gz", values=(0, 0, 1))
    said, manifest, corpus = drafted()
    assert "one mask file per structure" in said
    assert "'thingamajig' is no structure of the ontology; its files are skipped" in said
    assert manifest["layout"]["image"]["path"] == "{case}/ct.nii.gz"
    assert set(manifest["labels"]["labels"]["structures"]) == {"liver", "kidney_left"}
    assert len(corpus.samples) == 3
    assert len(corpus.samples.where(states={"liver": "present", "kidney_left": "present"})) == 3


def test_dicom(bucket, drafted, tmp_path):
    source = bucket.folder / "phantom-ct-dicom" / "dicom"
    for patient in ("s0001", "d0201", "d0202"):
        shutil.copytree(source / patient, tmp_path / "my Data" / patient)
    said, manifest, corpus = drafted()
    assert "found DICOM files" in said
    assert manifest["public_ids"] is False
    assert len(corpus.samples) == 3
    assert {m for s in corpus.samples for m in s.modalities} == {"CT"}


def test_loose_images_without_labels(put, drafted):
    for i, name in enumerate(("a.nii.gz", "b.nii.gz", "c.nii.gz")):
        put(name, seed=i)
    said, manifest, corpus = drafted()
    assert "3 images and 0 label files" in said
    assert "modality CT, because values go below -500" in said
    assert "labels" not in manifest
    assert len(corpus.samples) == 3


def test_loose_images_in_folders_of_metaimage(put, drafted):
    for i in range(3):
        put(f"scans/visit-{i}.mha", seed=i)
    _, manifest, corpus = drafted("--name", "Visits of Ours")
    assert manifest["id"] == "visits-of-ours"
    assert corpus.name == "visits-of-ours"
    assert len(corpus.samples) == 3


def test_pairs_whose_numbers_say_nothing_are_taken_without_labels(put, drafted):
    for i in range(3):
        put(f"images/x{i}.nii.gz", seed=i)
        put(f"labels/x{i}.nii.gz", values=(1, 7))
    said, manifest, corpus = drafted()
    assert "hold the values 0, 1, 7; say under labels: what they mean" in said
    assert "labels" not in manifest
    assert len(corpus.samples) == 3


def test_a_suffix_for_labels_in_one_folder(put, drafted):
    for i in range(3):
        put(f"x{i}.nii.gz", seed=i)
        put(f"x{i}_seg.nii.gz", values=(1,))
    said, manifest, corpus = drafted()
    assert "3 images and 3 label files" in said
    assert manifest["layout"]["images"][0]["path"] == "{case}.nii.gz"
    assert len(corpus.samples) == 3


def test_modalities_that_file_names_tell_apart(put, drafted):
    for i in range(2):
        put(f"images/p{i}_CT.nii.gz", seed=i)
        put(f"images/p{i}_MR.nii.gz", seed=10 + i)
    said, manifest, corpus = drafted()
    assert "modalities CT, MR" in said
    assert "patient of its own" in said
    assert [i["modality"] for i in manifest["layout"]["images"]] == ["CT", "MR"]
    assert sorted(s.modalities for s in corpus.samples) == [("CT",), ("CT",), ("MR",), ("MR",)]


@pytest.mark.parametrize("content", [None, "notes.txt"])
def test_a_folder_without_images_is_an_error(content, call, tmp_path):
    (tmp_path / "data").mkdir()
    if content:
        (tmp_path / "data" / content).write_text("nothing to see")
    result = call("init", tmp_path / "data", "--into", tmp_path / "drafts")
    assert result.exit_code == 2
    assert "no DICOM, NIfTI, MHA, MHD or NRRD file found" in result.stderr
    assert "give the folder that holds the images" in result.stderr
    assert not (tmp_path / "drafts").exists()


def test_a_folder_that_is_not_there_is_an_error(call, tmp_path):
    result = call("init", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "expected a folder, found nothing" in result.stderr


def test_drafts_are_not_written_over(put, call, tmp_path):
    put("a.nii.gz")
    words = ("init", tmp_path / "my Data", "--into", tmp_path / "drafts")
    assert call(*words).exit_code == 0
    before = {f.name: f.read_text() for f in (tmp_path / "drafts").iterdir()}
    again = call(*words)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert call(*words, "--force").exit_code == 0
    assert {f.name: f.read_text() for f in (tmp_path / "drafts").iterdir()} == before
