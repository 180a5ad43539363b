"""Real public files: what independent tools measured of them is what we read."""

from __future__ import annotations

import csv
import hashlib
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from schemas.case import ArrayHeader
from schemas.recipe import Limits
from transforms.read import dicom, series
from transforms.read.array import PREFIX_BYTES, Blob, format_of, read_array, read_header
from transforms.read.itk import data_file
from transforms.rejected import Rejected
from transforms.volume import Volume

ROOT = Path(os.environ.get("MDFP_TESTDATA", "/nonexistent"))
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not (ROOT / "MANIFEST.csv").is_file(), reason="MDFP_TESTDATA does not name the folder of real files"
    ),
]

FILE_KINDS = {
    "nifti-image",
    "nifti-label",
    "nifti-4d",
    "nifti-rgb",
    "nrrd-image",
    "nrrd-label",
    "mha-image",
    "mha-label",
    "mhd-image",
}
REFUSED = {
    "dicom/dicom2nifti/rgb/MR": "unsupported",
    "dicom/dicom2nifti/siemens-mosaic/MR": "multiframe",
    "dicom/dcm-qa-nih/DEV/20180918GE/mr_0004": "temporal",
    "dicom/pydicom/US/examples_ybr_color.dcm": "multiframe",
    "dicom/pydicom/US/examples_palette.dcm": "unsupported",
    "dicom/pydicom/US/examples_rgb_color.dcm": "unsupported",
    "dicom/pydicom/MR/MR_small_bigendian.dcm": "incomplete",
    "dicom/pydicom/CT/CT_small.dcm": "incomplete",
    "dicom/pydicom/SEG/liver_1frame.dcm": "unsupported",
    "dicom/pydicom/NM/JPEG2000.dcm": "incomplete",
    "dicom/pydicom/MR/MR_truncated.dcm": "truncated",
    "dicom/pydicom/SC/SC_rgb_small_odd.dcm": "unsupported",
    "dicom/highdicom/DX/dx_image.dcm": "not_a_volume",
    "dicom/nema-wg04/CR/RG3_JLSL": "not_a_volume",
    "nifti/nibabel/example4d.nii.gz": "temporal",
    "nifti/odd/rgb24_report.nii.gz": "unsupported",
}
"""Rows that are no volume for this version. SEG and RTSTRUCT rows are refused at their instance."""
SUV_FACTORS = {"dicom/soft-tissue-sarcoma-raw/STS_001/PT": 0.000242902977}
"""The manifest states this PET in Bq/ml; its note gives the factor to SUVbw."""
OWN_TESTS = {  # test_real_series.py
    "dicom/dicom2nifti/gantry-tilt/CT",  # the manifest states the slices before they are deskewed
    "dicom/dcm-qa-enh/Philips/IM_0027_fMAP.dcm",  # and two volumes as one
}
REFUSED_KINDS = {"dicom-seg": "unsupported", "dicom-rtstruct": "no_pixels"}


def rows() -> list[dict[str, str]]:
    if not (ROOT / "MANIFEST.csv").is_file():
        return []
    with (ROOT / "MANIFEST.csv").open(newline="") as file:
        return [r for r in csv.DictReader(file) if r["kind"] in FILE_KINDS or r["kind"].startswith("dicom")]


def read(path: Path) -> tuple[ArrayHeader, Volume]:
    """Header and volume of a row, through the same doors as the pipeline."""
    limits = Limits()
    if path.is_file() and (kind := format_of(path.name)) in PREFIX_BYTES:
        data = path.read_bytes()
        blobs = [Blob(path.name, data)]
        if kind == "itk" and (detached := data_file(data)):
            blobs.append(Blob(detached, path.with_name(detached).read_bytes()))
        prefix = data[: PREFIX_BYTES[kind]]
        header = read_header(kind, prefix, name="x", file_bytes=len(data), limits=limits).header
        return header, read_array(header, blobs, limits)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    contents = {f.name: f.read_bytes() for f in files if format_of(f.name) == "dicom"}
    instances = []
    for name, data in contents.items():
        try:
            instances.append(dicom.read_instance(data, path=name, file_bytes=len(data)))
        except Rejected:
            if len(contents) == 1:
                raise
    diagnosis = series.diagnose(instances)
    for reject in diagnosis.rejects:
        raise Rejected(reject.reason, reject.detail)
    (volume,) = diagnosis.volumes
    return volume.header, read_array(volume.header, [Blob(p, contents[p]) for p in volume.paths], limits)


@pytest.mark.parametrize("row", [r for r in rows() if r["path"] not in OWN_TESTS], ids=lambda r: r["path"])
@pytest.mark.filterwarnings("ignore")  # pydicom's, about values of the files' own making
def test_a_real_file_is_read_as_measured_or_refused_for_its_reason(row: dict[str, str]) -> None:
    reason = REFUSED.get(row["path"]) or REFUSED_KINDS.get(row["kind"])
    if reason:
        with pytest.raises(Rejected) as rejected:
            read(ROOT / row["path"])
        assert rejected.value.reason == reason
        return
    header, volume = read(ROOT / row["path"])
    assert header.shape == volume.array_zyx.shape
    assert "×".join(str(n) for n in header.shape[::-1]) == row["native_shape"].replace("x", "×")
    assert header.spacing_xyz_mm == pytest.approx([float(s) for s in row["native_spacing_mm"].split("x")], abs=6e-5)
    assert header.orientation == row["native_orientation"]
    assert header.affine_ras == tuple(volume.affine_ras.ravel())
    physical = volume.array_zyx.T * volume.scale + volume.offset
    factor = SUV_FACTORS.get(row["path"], 1.0)
    measured = (physical.min(), physical.max(), physical.mean())
    stated = [float(row[k]) * factor for k in ("min", "max", "mean")]
    assert measured[:2] == pytest.approx(stated[:2], rel=1e-7 if factor == 1.0 else 1e-6)
    assert measured[2] == pytest.approx(stated[2], rel=1e-6, abs=1e-4 * factor)  # written with four decimals or more
    if row["ras_int16_sha256"]:
        ras = nib.orientations.apply_orientation(physical, nib.io_orientation(volume.affine_ras))
        assert "x".join(str(n) for n in ras.shape) == row["ras_shape"]
        digest = hashlib.sha256(np.ascontiguousarray(ras).astype("<i2").tobytes()).hexdigest()
        assert digest == row["ras_int16_sha256"]


def test_every_mask_of_a_folder_of_masks_is_read() -> None:
    masks = sorted((ROOT / "nifti/totalsegmentator-like/s0001/segmentations").iterdir())
    assert len(masks) == 117
    for mask in masks:
        header, volume = read(mask)
        assert (header.orientation, volume.array_zyx.shape) == ("RAS", (30, 101, 122))
