"""Trees of collections as TCIA's downloader writes them: Collection/PatientID/study/series/1-001.dcm, and papers beside them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import SimpleITK

from examples.phantom import anatomy
from examples.phantom.dicom_file import RESCALE_INTERCEPT, Series, slice_file, uid
from examples.phantom.scale import SCALES
from examples.phantom.scan import CT_HU, ScanGrid, render, scan_grid
from mdfp import geometry

SOURCES = (
    "anti-pd-1-lung", "cmb-lca", "covid-19-ny-sbu", "cptac-lscc", "cptac-luad", "nlst", "qin-lung-ct", "rider-lung-pet-ct",
    "tcga-luad", "tcga-lusc",
)  # fmt: skip
"""Sources of this layout."""


def scanned(patient: str, moment: int = 0) -> tuple[npt.NDArray[Any], ScanGrid]:
    """A doll of its own for each patient and moment, 48 × 37 × 24 voxels: HU (z, y, x), and where they lie."""
    scale = SCALES["small"]
    body = anatomy.person(f"{patient} {moment}", size=scale.body)
    grid = scan_grid(body.centre_ras_mm, scale.extent_ras_mm, scale.spacing(1.5, 1.5, 3.0), "LPS")
    return render(body, grid, CT_HU, seed=f"{patient} {moment}", floor=-1024), grid


def write_series(folder: Path, patient: str, study: str, number: int, modality: str = "CT", moment: int = 0) -> str:
    """One series of a patient; returns its SeriesInstanceUID."""
    hu, grid = scanned(patient, moment)
    name = f"{patient} {study} {number}"
    series = Series(patient, name, "CHEST", manufacturer="Phantom Works", slice_gap_factor=1.0)
    target = folder / patient / study / f"{number}.000000-CHEST-{12345 + number}"
    target.mkdir(parents=True)
    for k, pixels in enumerate((hu - RESCALE_INTERCEPT).astype("int16")):
        content = slice_file(series, pixels, grid, k, instance_number=k + 1)
        if modality != "CT":
            read = pydicom.dcmread(io.BytesIO(content))
            read.Modality = modality
            buffer = io.BytesIO()
            read.save_as(buffer)
            content = buffer.getvalue()
        (target / f"1-{k + 1:03d}.dcm").write_bytes(content)
    return uid(f"series {name}")


def write(root: Path, source: str) -> dict[str, str]:
    """The tree of a source: a CT of each of two patients, a later one of the first, and a PET; returns CT series -> patient."""
    folder = root / source.upper()
    first, second = (f"{source.upper()}-000{n}" for n in (1, 2))
    found = {
        write_series(folder, first, "01-02-2000-NA-CHEST-00001", 2): first,
        write_series(folder, second, "01-02-2000-NA-CHEST-00002", 2): second,
        write_series(folder, first, "03-04-2001-NA-CHEST-77777", 3, moment=1): first,
    }
    write_series(folder, first, "03-04-2001-NA-CHEST-77777", 4, "PT", moment=2)
    (folder / "LICENSE").write_text("terms\n")
    (root / "metadata.csv").write_text("Series UID,Collection\n")
    return found


def write_luna16(root: Path, patients: dict[str, str]) -> None:
    """LUNA16 of these first scans, SeriesInstanceUID -> patient: named by the UID, equal voxels, without the patient."""
    for number, (series, patient) in enumerate(sorted(patients.items())):
        hu, grid = scanned(patient)
        affine_lps = geometry.lps_to_ras(grid.affine_ras)
        spacing = np.linalg.norm(affine_lps[:3, :3], axis=0)
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(hu, np.int16))
        image.SetSpacing(spacing.tolist())
        image.SetDirection((affine_lps[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(affine_lps[:3, 3].tolist())
        target = root / f"subset{number % 10}"
        target.mkdir(parents=True, exist_ok=True)
        SimpleITK.WriteImage(image, str(target / f"{series}.mhd"))
