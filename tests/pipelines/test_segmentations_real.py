"""Real SEG and RTSTRUCT objects through the whole pipeline: the voxels in the shards are those of other tools' masks."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

import mdfp
from mdfp.labels import State
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from transforms.plan.planner import Selection

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("MDFP_TESTDATA" not in os.environ, reason="MDFP_TESTDATA names no folder of real files"),
]

RECIPE = Path(__file__).parents[2] / "examples" / "recipes" / "real-segmentations.yaml"
VOXELS = {"CT": 25693, "PT": 817, "MR": 25693}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, console):
    out = str(tmp_path_factory.mktemp("real") / "corpus")
    runs.run(open_workspace(RECIPE, (), out), Selection(), Engine(1), BuildOptions(), console)
    return mdfp.open(out)


def masks_of(corpus, source, structure):
    """(sample, mask z, y, x in RAS) of each sample of a source."""
    for row in corpus.samples:
        if row.source == source:
            sample = corpus.sample(row.key)
            yield row, sample.masks([structure])[0].astype(bool)


def test_tumours_from_contours_are_the_authors_masks(corpus):
    folder = Path(os.environ["MDFP_TESTDATA"]) / "nifti/soft-tissue-sarcoma/labelsTr"
    names = {"CT": "CT", "PT": "PET", "MR": "MR_T1"}
    seen = {}
    for row, mask in masks_of(corpus, "sts-rtstruct", "tumour_unspecified"):
        (modality,) = row.modalities
        authors = nibabel.as_closest_canonical(nibabel.load(folder / f"STS_003_{names[modality]}.nii.gz"))
        np.testing.assert_array_equal(mask, np.asarray(authors.dataobj).transpose(2, 1, 0) != 0)
        (tumour,) = [s for s in row.structures if s.structure == "tumour_unspecified"]
        (liver,) = [s for s in row.structures if s.structure == "liver"]
        assert (tumour.state, liver.state) == (State.PRESENT, State.UNKNOWN)
        seen[modality] = tumour.native_voxels
    assert seen == VOXELS


def test_the_liver_of_a_seg_is_the_nrrd(corpus):
    path = Path(os.environ["MDFP_TESTDATA"]) / "nrrd/dcmqi-liver/liver_seg.nrrd"
    nrrd = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS"))
    ((row, mask),) = masks_of(corpus, "dcmqi-seg", "liver")
    assert [s.native_voxels for s in row.structures if s.structure == "liver"] == [107098]
    np.testing.assert_array_equal(mask, nrrd != 0)
