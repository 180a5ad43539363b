"""One door: names promise formats, and the header's format decides who reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its usual name)

from schemas.recipe import Limits
from transforms.read import dicom, series
from transforms.read.array import PREFIX_BYTES, Blob, format_of, read_array, read_header
from transforms.rejected import Rejected

VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.nii", "nifti"), ("a/b.nii.gz", "nifti"), ("A.NII.GZ", "nifti"),
        ("x.mha", "itk"), ("x.mhd", "itk"), ("x.nrrd", "itk"), ("x.seg.nrrd", "itk"), ("x.nhdr", "itk"),
        ("x.dcm", "dicom"), ("x.IMA", "dicom"), ("s/I100", "dicom"), ("s/1.2.840.113", "dicom"), ("IM.0001", "dicom"),
        ("x.zraw", None), ("x.raw", None), ("x.json", None), ("x.txt", None), ("x.gz", None), ("x.hdr", "nifti"), (".DS_Store", None),
    ],
)  # fmt: skip
def test_names_promise_formats(path: str, expected: str | None) -> None:
    assert format_of(path) == expected


def test_a_nifti_is_read_through_the_door() -> None:
    data = nib.Nifti1Image(VOXELS.T, np.diag([1, 2, 3, 1])).to_bytes()
    found = read_header("nifti", data[: PREFIX_BYTES["nifti"]], name="ct", file_bytes=len(data), limits=Limits())
    volume = read_array(found.header, [Blob("x.nii", data)], Limits())
    np.testing.assert_array_equal(volume.array_zyx, VOXELS)


@pytest.mark.parametrize("in_memory", [True, False])
def test_detached_voxels_come_from_the_second_object_or_from_beside_the_file(tmp_path: Path, in_memory: bool) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(tmp_path / "x.mhd"))
    files = [tmp_path / "x.mhd", tmp_path / "x.raw"]
    head = files[0].read_bytes()
    found = read_header("itk", head, name="ct", file_bytes=len(head), limits=Limits())
    blobs = [Blob(f"s/{f.name}", f.read_bytes()) for f in files] if in_memory else [Blob("s/x.mhd", b"", files[0])]
    np.testing.assert_array_equal(read_array(found.header, blobs, Limits()).array_zyx, VOXELS)


def test_a_series_is_read_through_the_door(series_of: Callable[..., Any]) -> None:
    files = series_of([1.0, 2.0, 3.0])
    (found,) = series.diagnose([dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files]).volumes
    volume = read_array(found.header, [Blob(p, d) for p, d in reversed(files)], Limits())
    assert volume.array_zyx[:, 0, 0].tolist() == [0, 100, 200]


NRRD = (
    b"NRRD0004\ntype: uchar\ndimension: 3\nspace: RAS\nsizes: 2 3 4\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
    b"encoding: raw\nspace origin: (0,0,0)\n\n"
)


def test_an_array_without_files_or_of_an_unknown_format_is_an_error() -> None:
    data = nib.Nifti1Image(VOXELS.T, np.eye(4)).to_bytes()
    header = read_header("nifti", data, name="ct", file_bytes=len(data), limits=Limits()).header
    with pytest.raises(Rejected, match="missing_file"):
        read_array(header, [], Limits())
    with pytest.raises(ValueError, match="expected format dicom, nifti, itk, seg, rtstruct or lidc, found 'png'"):
        read_array(dataclasses.replace(header, format="png"), [Blob("x", data)], Limits())


def test_one_of_several_volumes_is_told_by_the_header_and_is_in_no_file_of_one() -> None:
    data = nib.Nifti1Image(np.stack([VOXELS.T, VOXELS.T + 7], axis=-1), np.diag([1, 2, 3, 1])).to_bytes()
    prefix = data[: PREFIX_BYTES["nifti"]]
    found = read_header("nifti", prefix, name="t2", file_bytes=len(data), limits=Limits(), component=1)
    np.testing.assert_array_equal(read_array(found.header, [Blob("x.nii", data)], Limits()).array_zyx, VOXELS + 7)
    with pytest.raises(Rejected, match="unsupported: expected NIfTI for one of several volumes in a file, found itk"):
        read_header("itk", NRRD, name="t2", file_bytes=len(NRRD) + 24, limits=Limits(), component=1)
