"""CT as DICOM: a folder per patient, study and series, one file a slice, and NRRD label maps in a tree of their own.

File names say nothing about the order of slices. Among the series: one with a gap, one with slices sent twice, one with
a scout among its slices, a scout that is a series by itself, a patient lying prone, slices from head to feet, pixels
that are not square, and voxels outside the field of view marked as padding.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from examples.phantom import anatomy, files, manifests
from examples.phantom.anatomy import Person, Point
from examples.phantom.dicom_file import RESCALE_INTERCEPT, Series, slice_file
from examples.phantom.scale import Scale
from examples.phantom.scan import CT_HU, ScanGrid, label_map, render, scan_grid
from examples.phantom.truth import CaseTruth, Part, PlantedFault, PlantedFinding, case_truth, structures_of
from schemas.reasons import Reason

ID = "phantom-ct-dicom"
NAMESPACE = "phantom-clinic"
"""Whose patient ids these are; another source uses the same."""

_PADDING = -2000
"""Stored value outside the field of view."""


@dataclass(frozen=True)
class Scan:
    """One series to write.

    Attributes:
        patient: PatientID.
        spacing: spacing along R, A, S at full size, mm.
        orientation: directions of columns, rows and slice order.
        without: organs that were taken out.
        labelled: whether it has a label map.
        tilt: see `scan_grid`.
        oddity: what is planted: missing, twice, scout_inside, scout_beside, padding; or nothing.
    """

    patient: str
    spacing: Point
    orientation: str = "LPS"
    without: tuple[str, ...] = ()
    labelled: bool = True
    tilt: Point = (0.0, 0.0, 0.0)
    oddity: str = ""

    @property
    def folder(self) -> str:
        """Path of the series below the source's root."""
        return f"dicom/{self.patient}/ST01/SE02"

    @property
    def name(self) -> str:
        """What the truth calls it."""
        return f"{self.patient}_SE02"


PLANTED = (
    Scan("s0001", (1.5, 1.5, 3.0)),
    Scan("d0102", (1.5, 1.5, 3.0), oddity="scout_inside"),
    Scan("d0103", (1.6, 1.6, 2.4), oddity="twice"),
    Scan("d0104", (1.5, 1.5, 3.0), labelled=False, oddity="scout_beside"),
    Scan("d0105", (1.5, 1.5, 3.0), labelled=False, oddity="missing"),
)
"""Series with something planted. s0001 is a patient of phantom-ct-structures too."""

_ORDINARY = (
    Scan("", (1.4, 1.4, 3.0), orientation="LPI"),
    Scan("", (1.5, 1.5, 2.4), orientation="RAS", without=("kidney_left",)),
    Scan("", (1.5, 1.5, 3.0), oddity="padding"),
    Scan("", (1.3, 1.6, 3.0)),
)
"""What ordinary patients' series are like, in turn: head first, prone with one kidney, padded, with oblong pixels."""


def scans(patients: int) -> tuple[Scan, ...]:
    """Every series that has volume data, with this many ordinary patients."""
    ordinary = []
    for i in range(patients):
        like = _ORDINARY[i % len(_ORDINARY)]
        ordinary.append(
            Scan(f"d{201 + i:04}", like.spacing, like.orientation, like.without, like.labelled, like.tilt, like.oddity)
        )
    return (*PLANTED, *ordinary)


def take(scan: Scan, scale: Scale) -> tuple[Person, ScanGrid, npt.NDArray[np.int16]]:
    """Who is scanned, the grid, and HU (z, y, x) before any slice is lost."""
    body = anatomy.person(f"{NAMESPACE}/{scan.patient}", size=scale.body, without=scan.without)
    grid = scan_grid(body.centre_ras_mm, scale.extent_ras_mm, scale.spacing(*scan.spacing), scan.orientation, scan.tilt)
    return body, grid, render(body, grid, CT_HU, seed=f"{ID} {scan.patient}", floor=-1024)


def write(root: Path, scale: Scale, patients: int) -> Part:
    """Write the source below `root`."""
    numbers = manifests.numbers(manifests.load(ID), "organs")
    cases: list[CaseTruth] = []
    faults: list[PlantedFault] = []
    findings: list[PlantedFinding] = []
    for scan in scans(patients):
        body, grid, hu = take(scan, scale)
        series = Series(scan.patient, scan.folder, "SE02", manufacturer="Phantom Works", slice_gap_factor=1.25)
        stored = (hu - np.int16(RESCALE_INTERCEPT)).astype(np.int16)
        if scan.oddity == "padding":
            stored[:, _outside_circle(grid)] = _PADDING
        paths = _write_slices(root, scan, series, stored, grid)
        if scan.oddity == "padding":
            findings.append(PlantedFinding(ID, scan.name, "padding", tuple(paths)))
        elif scan.oddity == "twice":
            findings.append(
                PlantedFinding(ID, scan.name, "duplicates", tuple(_send_twice(root, series, stored, grid, paths)))
            )
        elif scan.oddity == "scout_inside":
            path = _write_scout(root, body, scan, series, grid, scale)
            findings.append(PlantedFinding(ID, scan.name, "left_out", (path,)))
            detail = "a scout view among the slices of a series"
            faults.append(PlantedFault(ID, f"{scan.name}-scout", Reason.LOCALIZER, (path,), detail))
        elif scan.oddity == "scout_beside":
            folder = f"dicom/{scan.patient}/ST01/SE01"
            beside = Series(scan.patient, folder, "SE01", manufacturer="Phantom Works", slice_gap_factor=1.0)
            path = _write_scout(root, body, scan, beside, grid, scale)
            detail = "a series that is one scout view"
            faults.append(PlantedFault(ID, f"{scan.patient}_SE01", Reason.LOCALIZER, (path,), detail))
        elif scan.oddity == "missing":
            lost = paths.pop(len(paths) // 2)
            (root / lost).unlink()
            detail = "a slice in the middle of the series is not there"
            faults.append(PlantedFault(ID, scan.name, Reason.MISSING_SLICES, tuple(paths), detail))
        labels = []
        if scan.labelled:
            path = f"segmentations/{scan.patient}/SE02.seg.nrrd"
            labels.append(files.put_itk(root, path, label_map(body, grid, numbers), grid))
        structures = structures_of(body, numbers if labels else (), manifests.EVERY_STRUCTURE, dict(CT_HU))
        reason = Reason.MISSING_SLICES if scan.oddity == "missing" else None
        cases.append(
            case_truth(ID, scan.name, body, "CT", grid, structures, images=paths, labels=labels, reason=reason)
        )
    return Part(tuple(cases), tuple(faults), tuple(findings))


def _write_slices(root: Path, scan: Scan, series: Series, stored: npt.NDArray[np.int16], grid: ScanGrid) -> list[str]:
    """Every slice as a file; paths in the order of the array."""
    padding = _PADDING if scan.oddity == "padding" else None
    paths = []
    for k, pixels in enumerate(stored):
        content = slice_file(series, pixels, grid, k, instance_number=k + 1, padding=padding)
        paths.append(files.put(root, f"{scan.folder}/{_file_name(series, k)}", content))
    return paths


def _file_name(series: Series, number: int | str) -> str:
    """A name without order: sorting a folder by name shuffles the slices."""
    return f"IM{hashlib.sha256(f'{series.folder} {number}'.encode()).hexdigest()[:8].upper()}.dcm"


def _send_twice(
    root: Path, series: Series, stored: npt.NDArray[np.int16], grid: ScanGrid, paths: list[str]
) -> list[str]:
    """One slice sent again as a new instance, and one file copied."""
    k = stored.shape[0] // 3
    again = slice_file(series, stored[k], grid, k, instance_number=stored.shape[0] + 1, resent=True)
    copy = paths[2 * k]
    return [
        files.put(root, f"{series.folder}/{_file_name(series, 'again')}", again),
        files.put(root, copy.replace(".dcm", "_copy.dcm"), (root / copy).read_bytes()),
    ]


def _write_scout(root: Path, body: Person, scan: Scan, series: Series, grid: ScanGrid, scale: Scale) -> str:
    """A frontal scout view: the mean along A of a coarse scan, as one coronal image."""
    spacing = scale.spacing(3.0, 46.0, 3.0)
    front = scan_grid(body.centre_ras_mm, scale.extent_ras_mm, spacing, "LIP")
    hu = render(body, front, CT_HU, seed=f"scout {scan.patient}", floor=-1024)
    view = hu.astype(np.int32).sum(axis=0) // hu.shape[0] - RESCALE_INTERCEPT
    content = slice_file(series, view.astype(np.int16), front, 0, instance_number=1000, localizer=True)
    return files.put(root, f"{series.folder}/{_file_name(series, 'scout')}", content)


def _outside_circle(grid: ScanGrid) -> npt.NDArray[np.bool_]:
    """Pixels (y, x) of the four corners, outside the ellipse that fills the slice and a little more."""
    _, rows, columns = grid.shape_zyx
    y = (2 * np.arange(rows) + 1 - rows)[:, None] / rows
    x = (2 * np.arange(columns) + 1 - columns)[None, :] / columns
    return x * x + y * y > 1.2
