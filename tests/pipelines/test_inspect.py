"""`inspect` says what a build would: same readers, same reasons; and it leaves nothing behind but its picture."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import fsspec
import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli import app


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        result = CliRunner().invoke(app, ["inspect", *map(str, words)], prog_name="python -m pipelines")
        return result, json.loads(result.stdout.splitlines()[-1]) if "--json" in words else None

    return run


def volume(path, seed=0, affine=None):
    voxels = np.random.default_rng(seed).integers(0, 900, (12, 14, 16)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-2.0, 2.0, 3.0, 1.0]) if affine is None else affine), path)
    return voxels


READING = {"bad_spacing", "corrupt_gzip", "localizer", "missing_slices"}
"""Planted faults that show in one file or series; the others need its label, its table or another case."""


def test_every_fault_of_the_demo_has_the_reason_of_the_corpus_and_every_image_is_told(call, corpus):
    rejects = pq.read_table(corpus.folder / "rejects" / "000001.parquet").to_pylist()
    met = Counter()
    for source in corpus.plan.sources:
        result, told = call(corpus.bucket.folder / source, "--json", "--no-picture", "--quiet", "--limit", 1000)
        assert result.exit_code == 0
        found = Counter(d["rejected"]["reason"] for d in told["found"] if d["rejected"])
        assert found == Counter(r["reason"] for r in rejects if r["source"] == source and r["reason"] in READING)
        met += found
        sound = [d for d in told["found"] if d["rejected"] is None]
        assert all(d["minimum"] <= d["mean"] <= d["maximum"] and len(d["shape"]) == 3 for d in sound)
        assert len(sound) >= sum(s.source == source for s in corpus.samples)
    assert set(met) == READING


def test_an_image_over_time_is_shown_whole_and_says_what_a_recipe_needs(call, tmp_path):
    voxels = np.random.default_rng(1).integers(0, 900, (12, 14, 16, 5)).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, np.diag([-2.0, 2.0, 3.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms((2, 2, 3, 1.5))
    nibabel.save(image, tmp_path / "bold.nii.gz")
    result, _ = call("bold.nii.gz", "--quiet")
    assert result.exit_code == 0
    for text in (
        "bold.nii.gz   temporal",
        "12 × 14 × 16 voxels (x, y, z), 5 time points, int16",
        f"values    {voxels.min()} to {voxels.max()}",
        "found     temporal: 5 time points along the fourth axis, 1500 ms apart",
        "refused by default; `temporal: keep` or `split` in the recipe takes them",
    ):
        assert text in result.stdout
    _, told = call("bold.nii.gz", "--quiet", "--json", "--no-picture")
    assert (told["found"][0]["axes"], told["found"][0]["shape"]) == ("tzyx", [5, 16, 14, 12])
    with Image.open(tmp_path / "inspect.png") as picture:
        assert picture.width > 300


def test_colour_in_nifti_is_a_picture_or_says_what_to_do(call, tmp_path):
    rgb = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    for name, planes in (("plane.nii", 1), ("volume.nii.gz", 5)):
        voxels = np.random.default_rng(1).integers(0, 255, (20, 12, planes, 3)).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(voxels.view(rgb)[..., 0], np.diag([0.5, 0.25, 1, 1])), tmp_path / name)
    result, told = call(".", "--json", "--quiet")
    assert result.exit_code == 0
    plane, volume = told["found"]
    assert (plane["axes"], plane["shape"], plane["rejected"]) == ("yxc", [12, 20, 3], None)
    assert volume["rejected"]["reason"] == "unsupported"
    assert "a NIfTI for each channel" in volume["rejected"]["detail"]
    result, _ = call("plane.nii", "--quiet")
    assert "size      20 × 12 pixels (x, y), 3 channels, uint8" in result.stdout


def test_a_file_is_described_and_drawn(call, tmp_path):
    voxels = volume(tmp_path / "mine.nii.gz")
    result, _ = call("mine.nii.gz", "--quiet")
    assert result.exit_code == 0
    for text in (
        "mine.nii.gz   regular",
        "12 × 14 × 16 voxels (x, y, z), int16",
        "2 × 2 × 3 mm, LAS",
        f"values    {voxels.min()} to {voxels.max()}",
        "found     unit_unstated",
        "1 of 1 would be read as images",
        "picture: inspect.png",
    ):
        assert text in result.stdout
    with Image.open(tmp_path / "inspect.png") as picture:
        assert picture.width > 300
    assert sorted(p.name for p in tmp_path.iterdir()) == ["inspect.png", "mine.nii.gz"]


def test_a_fault_of_the_voxels_is_told_though_the_header_is_sound(call, tmp_path):
    volume(tmp_path / "mine.nii.gz")
    data = (tmp_path / "mine.nii.gz").read_bytes()
    (tmp_path / "mine.nii.gz").write_bytes(data[: len(data) // 2])
    result, told = call("mine.nii.gz", "--json", "--quiet")
    assert result.exit_code == 0
    assert told["picture"] is None
    assert told["found"][0]["rejected"]["reason"] == "corrupt_gzip"
    assert told["found"][0]["shape"] == [16, 14, 12]
    assert call("mine.nii.gz", "--json", "--limit", 0)[1]["found"][0]["rejected"] is None  # headers only


def test_a_url_of_a_folder_or_a_file_will_do(call, tmp_path):
    volume(tmp_path / "a.nii")
    store = fsspec.filesystem("memory")
    store.pipe("/inspected/deep/a.nii", (tmp_path / "a.nii").read_bytes())
    store.pipe("/inspected/notes.txt", b"words")
    try:
        for place in ("memory://inspected", "memory://inspected/deep/a.nii"):
            result, told = call(place, "--json", "--no-picture", "--quiet")
            assert result.exit_code == 0, result.stderr
            assert [d["shape"] for d in told["found"]] == [[16, 14, 12]]
    finally:
        store.rm("/inspected", recursive=True)


def test_files_that_are_no_images_are_counted(call, tmp_path):
    (tmp_path / "in").mkdir()
    volume(tmp_path / "in" / "a.nii")
    for name in ("b.txt", "c.txt", "d.csv"):
        (tmp_path / "in" / name).write_text("x")
    (tmp_path / "in" / "e.dcm").write_bytes(b"no DICOM at all" * 20)
    result, _ = call("in", "--quiet")
    assert "not looked into: 3 other files (2 .txt, 1 .csv)" in result.stdout
    assert "e.dcm   REJECTED unreadable" in result.stdout
    assert "1 of 2 would be read as images" in result.stdout


@pytest.mark.skipif("MDFP_TESTDATA" not in os.environ, reason="MDFP_TESTDATA does not name the folder of real files")
def test_what_is_drawn_on_a_series_is_told_with_it_and_alone_it_is_an_orphan(call):
    folder = Path(os.environ["MDFP_TESTDATA"]) / "dicom" / "soft-tissue-sarcoma" / "STS_003"
    _, told = call(folder, "--json", "--no-picture", "--quiet", "--limit", 0)
    drawn = [d for d in told["found"] if d["drawn"]]
    assert [(d["name"], d["format"], d["drawn"], d["rejected"]) for d in drawn] == [
        (f"{series}/mask/RS.dcm", "rtstruct", 1, None) for series in ("CT", "MR_T1", "PET")
    ]
    result, told = call(folder / "CT" / "mask", "--json", "--no-picture", "--quiet")
    assert result.exit_code == 0
    assert told["found"][0]["rejected"]["reason"] == "orphan_label"


@pytest.mark.parametrize("place", ["nowhere", "nowhere/at/all.nii", "empty"])
def test_nothing_there_is_wrong_use(call, tmp_path, place):
    (tmp_path / "empty").mkdir()
    result, _ = call(place)
    assert result.exit_code == 2
    assert "expected" in result.stderr
    assert "Traceback" not in result.output
    shutil.rmtree(tmp_path / "empty")
    assert list(tmp_path.iterdir()) == []
