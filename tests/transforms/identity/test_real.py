"""Real scans are recognised when they are written another way, and not taken for each other."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from examples.phantom.variations import VARIATIONS, cropped
from transforms.identity.align import likeness, prepare
from transforms.identity.fingerprint import fingerprint
from transforms.identity.matching import RADIUS
from transforms.volume import Volume

pytestmark = pytest.mark.real

FILES = (
    "nifti/soft-tissue-sarcoma/imagesTr/STS_003_CT_0000.nii.gz",
    "nifti/soft-tissue-sarcoma/imagesTr/STS_003_PET_0000.nii.gz",
    "nifti/soft-tissue-sarcoma/imagesTr/STS_003_MR_T1_0000.nii.gz",
    "nifti/totalsegmentator-like/s0001/ct.nii.gz",
    "nifti/monai-pair/images/anatomical.nii",
)

WAYS = ("turned to PIR", "spacing x 0.7", "spacing x 1.0, 1.5, 0.8", "float32, other scale and offset", "HU + 1024")


@pytest.fixture(scope="module")
def scans():
    folder = os.environ.get("MDFP_TESTDATA")
    if not folder:
        pytest.skip("set MDFP_TESTDATA to the folder of real files")
    found = {}
    for name in FILES:
        image = nibabel.load(Path(folder) / name)
        array = np.asarray(image.get_fdata(), np.float32).transpose(2, 1, 0)
        found[name] = Volume(np.ascontiguousarray(array), np.asarray(image.affine, np.float64))
    return found


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("way", WAYS)
def test_a_real_scan_is_recognised(scans, name, way):
    assert alike(fingerprint(scans[name]), fingerprint(VARIATIONS[way](scans[name])))


@pytest.mark.parametrize("name", FILES)
def test_a_real_scan_is_recognised_without_its_first_slices(scans, name):
    few = max(1, scans[name].shape_zyx[0] // 20)
    assert alike(fingerprint(scans[name]), fingerprint(cropped(scans[name], (few, 0, 0), (0, 0, 0))))


def test_different_scans_are_different_images(scans):
    prints = [fingerprint(v) for v in scans.values()]
    assert not [(a, b) for a, b in itertools.combinations(prints, 2) if alike(a, b)]


def alike(a, b) -> bool:
    assert a.code is not None
    assert b.code is not None
    bits = np.bitwise_count(np.frombuffer(a.code, "u1") ^ np.frombuffer(b.code, "u1")).sum()
    seen = likeness(prepare(a.thumbnail), prepare(b.thumbnail))
    return bool(bits <= RADIUS and seen.same_image)
