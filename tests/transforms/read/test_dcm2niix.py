"""Agreement with dcm2niix, a reader that shares no code with ours: the same voxels at the same places."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.uid import MRImageStorage

from examples import phantom
from mdfp import geometry
from schemas.recipe import Limits, Temporal
from transforms.normalise.over_time import canonicalise
from transforms.read import dicom, series
from transforms.read.array import Blob
from transforms.read.flat import read_any
from transforms.rejected import Rejected

pytestmark = pytest.mark.skipif(
    shutil.which("dcm2niix") is None, reason="dcm2niix is not installed: infra/ci/install.sh"
)

POSITION_TOLERANCE_MM = 0.01
"""dcm2niix writes single-precision affines and rounds slice positions."""


def convert(folder: Path, out: Path) -> list[nib.Nifti1Image]:
    """What dcm2niix makes of a folder; nothing of what it cannot decode (JPEG-LS, for one)."""
    out.mkdir()
    command = ["dcm2niix", "-b", "n", "-z", "n", "-m", "n", "-o", str(out), str(folder)]
    subprocess.run(command, check=False, capture_output=True)
    return [nib.load(f) for f in sorted(out.glob("*.nii"))]


def ours(folder: Path, temporal: Temporal = "refuse") -> list:
    """What we make of it: a canonical volume, or image over time, for each that the doctor passes."""
    files = {}
    instances = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        try:
            instances.append(dicom.read_instance(data, path=path.name, file_bytes=len(data)))
            files[path.name] = data
        except Rejected:
            continue
    found = series.diagnose(instances, temporal=temporal)
    read = (read_any(v.header, [Blob(p, files[p]) for p in v.paths], Limits()) for v in found.volumes)
    return [canonicalise(image) for image in read]


def assert_equal(volume, image) -> None:
    other = nib.as_closest_canonical(image)
    values = volume.array * volume.scale + volume.offset
    np.testing.assert_array_equal(values.T, np.asarray(other.dataobj, dtype=values.dtype))
    corners = np.array([[0, 0, 0], np.array(other.shape[:3]) - 1])
    mine, theirs = (geometry.apply(a, corners) for a in (volume.affine_ras, other.affine))
    np.testing.assert_allclose(mine, theirs, atol=POSITION_TOLERANCE_MM)


def test_phantom_series_are_read_alike(tmp_path):
    truth = phantom.write_bucket(tmp_path / "bucket", scale="small")
    odd = {f.name for f in (*truth.faults, *truth.findings) if f.source == "phantom-ct-dicom"}
    sound = [c for c in truth.cases if c.source == "phantom-ct-dicom" and c.reason is None and c.name not in odd]
    assert sound
    for number, case in enumerate(sound):
        folder = (tmp_path / "bucket" / case.source / case.image_paths[0]).parent
        (image,) = convert(folder, tmp_path / f"out{number}")
        (volume,) = ours(folder)
        assert_equal(volume, image)


def test_a_series_over_time_is_read_alike(tmp_path, slice_bytes):
    folder = tmp_path / "dynamic"
    folder.mkdir()
    rng = np.random.default_rng(4)
    for t in range(4):
        for z in range(3):
            number = 3 * t + z + 1
            data = slice_bytes(
                rng.integers(0, 900, (10, 8)).astype(np.int16), position=(-5.0, 7.0, 4.0 * z), name=f"{number}",
                SOPClassUID=MRImageStorage, Modality="MR", InstanceNumber=number, AcquisitionNumber=t + 1,
                TemporalPositionIdentifier=t + 1, NumberOfTemporalPositions=4, RepetitionTime=1500, SeriesNumber=1,
            )  # fmt: skip
            (folder / f"{number:02}.dcm").write_bytes(data)
    (image,) = convert(folder, tmp_path / "out")
    assert image.shape == (8, 10, 3, 4)
    (found,) = ours(folder, "keep")
    assert_equal(found, image)
    for t, moment in enumerate(ours(folder, "split")):
        np.testing.assert_array_equal(moment.array, found.array[t])


@pytest.mark.real
@pytest.mark.skipif("MDFP_TESTDATA" not in os.environ, reason="MDFP_TESTDATA names no folder of real files")
def test_a_real_series_over_time_is_read_alike(tmp_path):
    folder = Path(os.environ.get("MDFP_TESTDATA", ".")) / "dicom/dcm-qa-nih/DEV/20180918GE/mr_0004"
    (image,) = convert(folder, tmp_path / "out")
    assert image.shape == (64, 64, 15, 10)
    (found,) = ours(folder, "keep")
    assert_equal(found, image)


@pytest.mark.real
@pytest.mark.skipif("MDFP_TESTDATA" not in os.environ, reason="MDFP_TESTDATA names no folder of real files")
def test_real_series_are_read_alike(tmp_path):
    root = Path(os.environ.get("MDFP_TESTDATA", "."))
    with (root / "MANIFEST.csv").open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["kind"] == "dicom-series" and r["ras_int16_sha256"]]
    compared = 0
    for number, row in enumerate(rows):
        volumes = ours(root / row["path"])
        images = convert(root / row["path"], tmp_path / str(number)) if len(volumes) == 1 else []
        if len(images) == 1:  # what either of us splits or refuses is judged elsewhere
            assert_equal(volumes[0], images[0])
            compared += 1
    assert compared >= 5
