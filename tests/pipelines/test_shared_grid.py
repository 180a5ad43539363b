"""CT and a turned MR of one patient on one grid, from files to what a training job is given."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

import mdfp
from mdfp import geometry
from mdfp.class_mask import UNTOLD
from mdfp.labels import State
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from schemas.reasons import Reason
from transforms.plan.planner import Selection
from transforms.publish import rejects_path

CENTRE_MM = np.array([6.0, -4.0, 9.0])
RADIUS_MM = 12.0
SPACING_MM = [2.0, 2.0, 2.0]

SOURCE = {
    "id": "two-scans",
    "title": "CT and MR of one patient",
    "terms": {"license": "own-data"},
    "public_ids": True,
    "patient": {"namespace": "two-scans"},
    "layout": {
        "kind": "paired",
        "images": [
            {"name": "ct", "modality": "CT", "path": "{case}/ct.nii.gz", "optional": True},
            {"name": "mr", "modality": "MR", "path": "{case}/mr.nii.gz"},
        ],
        "labels": [{"table": "organs", "image": "mr", "path": "{case}/spleen.nii.gz"}],
    },
    "labels": {"organs": {"origin": "expert", "values": {0: "background", 1: "spleen"}}},
}


def _affine(spacing: tuple[float, float, float], degrees: float, shape: tuple[int, int, int]) -> np.ndarray:
    """Turned about z, its middle in the world's."""
    a = np.radians(degrees)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    affine = geometry.compose(turn, spacing, (0.0, 0.0, 0.0))
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _ball(shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    index = np.moveaxis(np.indices(shape), 0, -1)
    return np.linalg.norm(geometry.apply(affine, index) - CENTRE_MM, axis=-1) <= RADIUS_MM


def _write(folder: Path, *, ct: bool) -> None:
    folder.mkdir(parents=True)
    noise = np.random.default_rng(len(folder.name) + ord(folder.name[-1]))
    shape = (48, 44, 40)
    affine = _affine((1.5, 1.5, 2.0), 0.0, shape)
    if ct:
        hu = np.where(_ball(shape, affine), 60, -900) + noise.integers(-9, 10, shape)
        nibabel.save(nibabel.Nifti1Image(hu.astype(np.int16), affine), folder / "ct.nii.gz")
    shape = (40, 36, 22)
    affine = _affine((1.2, 1.2, 3.0), 25.0, shape)
    ball = _ball(shape, affine)
    t1 = np.where(ball, 800, 100) + noise.integers(0, 20, shape)
    nibabel.save(nibabel.Nifti1Image(t1.astype(np.int16), affine), folder / "mr.nii.gz")
    nibabel.save(nibabel.Nifti1Image(ball.astype(np.uint8), affine), folder / "spleen.nii.gz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, console):
    folder = tmp_path_factory.mktemp("shared-grid")
    for name in "abc":
        _write(folder / "raw" / name, ct=name != "c")
    (folder / "two-scans.yaml").write_text(yaml.safe_dump(SOURCE))
    recipe = {
        "corpus": "two-scans",
        "out": str(folder / "corpus"),
        "sources": [{"id": "two-scans", "manifest": "two-scans.yaml", "root": str(folder / "raw")}],
        "terms": {"accept": ["own-data"]},
        "geometry": {"spacing_mm": SPACING_MM, "grid": {"reference": "CT"}},
        "labels": {"space": ["spleen"]},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    workspace = open_workspace(folder / "recipe.yaml")
    runs.run(workspace, Selection(), Engine(1), BuildOptions(max_holes=0.9), console)
    return folder / "corpus"


@pytest.fixture(scope="module")
def built(folder):
    return mdfp.open(str(folder))


def _centre(weights: np.ndarray, affine: np.ndarray) -> np.ndarray:
    z, y, x = (np.average(i, weights=weights) for i in np.indices(weights.shape))
    return geometry.apply(affine, np.array([x, y, z]))


def test_all_images_of_a_case_are_on_the_grid_of_its_ct(built):
    assert len(built.samples) == 2
    for record in built.samples:
        ct, mr = record.images
        assert (ct.name, mr.name) == ("ct", "mr")
        assert ct.stored == mr.stored
        assert ct.stored.spacing_xyz_mm == tuple(SPACING_MM)
        assert mr.obliquity_deg == pytest.approx(25, abs=0.1)
        assert any("the grid of the reference" in step for step in record.done)
        assert any("voxels outside its field of view set to" in step for step in record.done)


def test_the_organ_is_where_it_is_in_the_world_in_both_images_and_in_the_label(built):
    for record in built.samples:
        sample = built.sample(record.key)
        affine = sample.affine("ct")
        in_ct = sample.image("ct", values="physical") > -400
        in_mr = sample.image("mr", values="physical") > 450
        drawn = sample.classes(["spleen"], image="mr")
        for found in (in_ct, in_mr, drawn == 1):
            assert np.abs(_centre(found.astype(float), affine) - CENTRE_MM).max() < 0.5 * SPACING_MM[0]
            assert found.sum() * np.prod(SPACING_MM) == pytest.approx(4 / 3 * np.pi * RADIUS_MM**3, rel=0.06)
        (state,) = [s for s in record.structures if s.structure == "spleen"]
        assert state.state == State.PRESENT
        # Nobody looked beyond the MR's field of view.
        outside = sample.image("mr", values="stored") == sample.image("mr", values="stored").min()
        assert set(np.unique(drawn).tolist()) == {0, 1, UNTOLD}
        assert (outside[drawn == UNTOLD]).all()


def test_a_case_without_the_reference_is_a_hole_that_says_so(built, folder):
    rejects = pq.read_table(folder / rejects_path(built.manifest.number)).to_pylist()
    ((case, reason, detail),) = [(r["case_id"], r["reason"], r["detail"]) for r in rejects]
    assert (case, reason) == ("two-scans-c", Reason.OFF_GRID)
    assert detail == "expected an image of modality CT, whose grid all share; found MR"
