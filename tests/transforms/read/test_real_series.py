"""Real DICOM series whose manifest row is not one plain volume: 4-D, mosaic, multi-frame, tilted."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk  # noqa: N813 (its usual name)

from mdfp import geometry
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import dicom, series
from transforms.read.assemble import Objects, stacked
from transforms.read.csa import Mosaic
from transforms.read.stack import measure, normal_of
from transforms.read.temporal import TemporalVolume, read_temporal
from transforms.rejected import Rejected

ROOT = Path(os.environ.get("MDFP_TESTDATA", "/nonexistent"))
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not (ROOT / "MANIFEST.csv").is_file(), reason="MDFP_TESTDATA does not name the folder of real files"
    ),
]
EPI = "dicom/dcm-qa-nih/DEV/20180918GE/mr_0004"
MOSAIC = "dicom/dicom2nifti/siemens-mosaic/MR"
FIELD_MAP = "dicom/dcm-qa-enh/Philips/IM_0027_fMAP.dcm"
TILTED = "dicom/dicom2nifti/gantry-tilt/CT"


def row_of(path: str) -> dict[str, str]:
    with (ROOT / "MANIFEST.csv").open(newline="") as file:
        return next(r for r in csv.DictReader(file) if r["path"] == path)


def files_of(path: str) -> list[tuple[str, bytes]]:
    place = ROOT / path
    found = [place] if place.is_file() else sorted(f for f in place.iterdir() if f.suffix != ".txt")
    return [(str(f), f.read_bytes()) for f in found]


def diagnosed(files: list[tuple[str, bytes]]) -> series.Diagnosis:
    return series.diagnose([dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files])


def digest(physical: npt.NDArray, affine_ras: npt.NDArray) -> str:
    """As the manifest makes it, of an array (x, y, z, …)."""
    ras = nib.orientations.apply_orientation(physical, nib.io_orientation(affine_ras))
    return hashlib.sha256(np.ascontiguousarray(ras).astype("<i2").tobytes()).hexdigest()


def assert_as_stated(found: TemporalVolume, row: dict[str, str]) -> None:
    physical = found.array_tzyx.T * found.scale + found.offset
    assert "x".join(map(str, physical.shape)) == row["native_shape"]
    stated = [float(s) for s in row["native_spacing_mm"].split("x")]
    assert geometry.spacing_xyz_mm(found.affine_ras) == pytest.approx(stated, abs=6e-5)
    # The manifest's orientation is dcm2niix', which turns the rows round.
    assert geometry.orientation_code(found.affine_ras) == row["native_orientation"].replace("LAS", "LPS")
    assert (physical.min(), physical.max()) == (float(row["min"]), float(row["max"]))
    assert physical.mean() == pytest.approx(float(row["mean"]), rel=1e-6)
    assert digest(physical, found.affine_ras) == row["ras_int16_sha256"]


def test_a_series_over_time_is_one_array() -> None:
    files = files_of(EPI)
    assert [r.reason for r in diagnosed(files).rejects] == [Reason.TEMPORAL]
    found = read_temporal(files, Limits())
    assert found.ordered_by == "InstanceNumber"
    assert_as_stated(found, row_of(EPI))


def test_mosaics_are_cut_where_their_number_of_slices_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_of(MOSAIC)
    with pytest.raises(Rejected, match="without the private CSA image header"):
        read_temporal(files, Limits())
    # The source project has removed that header. dcm2niix, and so the manifest, takes all 64 tiles along the normal.
    original = dicom.open_instance

    def told(data: bytes, *, path: str, file_bytes: int) -> dicom.Opened:
        opened = original(data, path=path, file_bytes=file_bytes)
        normal = normal_of(opened.instance.image_orientation_patient or ())
        instance = dataclasses.replace(opened.instance, mosaic=Mosaic(64, normal))
        return dataclasses.replace(opened, instance=instance)

    monkeypatch.setattr(dicom, "open_instance", told)
    found = read_temporal(files, Limits())
    assert found.ordered_by == "AcquisitionNumber"
    assert_as_stated(found, row_of(MOSAIC))


def test_magnitude_and_field_map_of_one_file_are_two_volumes() -> None:
    files, row = files_of(FIELD_MAP), row_of(FIELD_MAP)
    whole = sitk.GetArrayFromImage(sitk.ReadImage(files[0][0]))
    diagnosis = diagnosed(files)
    assert not diagnosis.rejects
    assert [v.header.shape for v in diagnosis.volumes] == [(32, 64, 64)] * 2
    assert [k in v.findings[0].detail for v, k in zip(diagnosis.volumes, ("/M/", "FIELD_MAP"), strict=True)] == [
        True
    ] * 2
    for number, found in enumerate(diagnosis.volumes):
        volume = series.read(files, found.header, Limits())
        assert found.header.spacing_xyz_mm == pytest.approx([float(s) for s in row["native_spacing_mm"].split("x")])
        physical = volume.array_zyx * volume.scale + volume.offset
        if number == 0:  # GDCM rescales all frames as the first
            np.testing.assert_allclose(physical, whole[:32], rtol=1e-9)
        else:
            stored = (whole[32:] / diagnosis.volumes[0].header.scale).round()
            np.testing.assert_array_equal(volume.array_zyx, stored)


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed: infra/ci/install.sh")
def test_magnitude_and_field_map_are_those_of_dcm2niix(tmp_path: Path) -> None:
    files = files_of(FIELD_MAP)
    command = ["dcm2niix", "-b", "n", "-z", "n", "-o", str(tmp_path), "-f", "%p", str(Path(files[0][0]).parent)]
    subprocess.run(command, check=True, capture_output=True)
    images = [nib.load(f) for f in sorted(tmp_path.glob("*.nii"), key=lambda f: "fieldmap" in f.name)]
    assert len(images) == 2
    for found, image in zip(diagnosed(files).volumes, images, strict=True):
        volume = series.read(files, found.header, Limits())
        turned = nib.as_closest_canonical(
            nib.Nifti1Image(volume.array_zyx.transpose(2, 1, 0).astype(np.int16), volume.affine_ras)
        )
        other = nib.as_closest_canonical(image)
        np.testing.assert_allclose(turned.affine, other.affine, atol=0.01)
        np.testing.assert_array_equal(np.asarray(turned.dataobj), np.asarray(other.dataobj.get_unscaled()))


def test_the_slices_of_a_tilted_series_are_those_of_gdcm_before_they_are_shifted() -> None:
    files, row = files_of(TILTED), row_of(TILTED)
    objects = Objects(files, Limits())
    stack = measure(objects.slices())
    array, _ = stacked(stack, objects)
    first = stack.slots[0][0]
    physical = array * first.slope + first.intercept
    paths = [slot[0].path for slot in stack.slots]
    np.testing.assert_array_equal(physical, sitk.GetArrayFromImage(sitk.ReadImage(paths)))
    assert digest(physical.transpose(2, 1, 0), stack.affine_ras) == row["ras_int16_sha256"]


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed: infra/ci/install.sh")
def test_a_tilted_series_is_upright_where_dcm2niix_puts_it(tmp_path: Path) -> None:
    files = files_of(TILTED)
    (found,) = diagnosed(files).volumes
    volume = series.read(files, found.header, Limits())
    assert "leans 14.00°" in found.findings[0].detail
    folder = Path(files[0][0]).parent
    subprocess.run(
        ["dcm2niix", "-b", "n", "-z", "n", "-o", str(tmp_path), str(folder)], check=True, capture_output=True
    )
    (corrected,) = tmp_path.glob("*_Tilt_1.nii")
    other = nib.load(corrected)
    assert other.shape == volume.array_zyx.shape[::-1] == (512, 521, 4)
    # It turns the rows round; voxel (0, 0, 0) of one is (0, last, 0) of the other.
    turned = volume.affine_ras @ np.array([[1, 0, 0, 0], [0, -1, 0, other.shape[1] - 1], [0, 0, 1, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(turned, other.affine, atol=1e-4)
    ours = (volume.array_zyx * volume.scale + volume.offset).transpose(2, 1, 0)[:, ::-1]
    apart = np.abs(ours - np.asarray(other.dataobj)) > 1.0  # it cuts fractions off, we round them
    # Half outside a slice it repeats the slice's last row; for us that row is not covered.
    assert apart.any(axis=0).sum(axis=0).max() <= 1
