"""MR as NIfTI and MHA pairs, with slices far thicker than pixels: axial, oblique and coronal.

Some readers drew each kidney, others both as one "kidney". Patient ids look like those of another clinic and are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from examples.phantom import anatomy, files, manifests
from examples.phantom.anatomy import Person, Point
from examples.phantom.scale import Scale
from examples.phantom.scan import MR_INTENSITY, ScanGrid, label_map, render, scan_grid
from examples.phantom.truth import CaseTruth, Part, case_truth, structures_of

ID = "phantom-mr"

MERGED, SIDES = "merged", "sides"
"""Tables of the manifest: one kidney for both, or each by itself."""


@dataclass(frozen=True)
class Scan:
    """One pair to write.

    Attributes:
        name: stem of its files.
        suffix: nii.gz or mha.
        table: how the kidneys were drawn.
        spacing: spacing along R, A, S at full size, mm.
        orientation: directions the stored axes point to.
        tilt: see `scan_grid`.
        dtype: number type of the image.
        without: organs that were taken out.
    """

    name: str
    suffix: str
    table: str
    spacing: Point = (0.9, 0.9, 4.0)
    orientation: str = "LPS"
    tilt: Point = (0.0, 0.0, 0.0)
    dtype: str = "int16"
    without: tuple[str, ...] = ()


PLANTED = (
    Scan("s0001", "nii.gz", SIDES, tilt=(0.08, -0.05, 0.03)),
    Scan("s0002", "mha", MERGED, (1.1, 1.1, 4.2), dtype="uint16"),
)
"""s0001 is nobody of that name in phantom-ct-structures: it is another clinic's s0001."""

_ORDINARY = (
    Scan("", "mha", SIDES, (1.1, 4.0, 1.1), "LIP"),
    Scan("", "nii.gz", MERGED, (1.0, 1.0, 4.0), "RAS", tilt=(-0.06, 0.04, 0.0), dtype="uint16"),
    Scan("", "mha", SIDES, (1.0, 1.2, 3.5), "LPS", tilt=(0.05, 0.0, 0.04)),
    Scan("", "nii.gz", SIDES, (1.1, 1.1, 4.0), "LAS", without=("spleen",)),
)
"""What ordinary pairs are like, in turn."""


def scans(patients: int) -> tuple[Scan, ...]:
    """Every pair, with this many ordinary patients."""
    ordinary = []
    for i in range(patients):
        like = _ORDINARY[i % len(_ORDINARY)]
        ordinary.append(
            Scan(
                f"m{401 + i:04}",
                like.suffix,
                like.table,
                like.spacing,
                like.orientation,
                like.tilt,
                like.dtype,
                like.without,
            )
        )
    return (*PLANTED, *ordinary)


def take(scan: Scan, scale: Scale) -> tuple[Person, ScanGrid, npt.NDArray[np.int16]]:
    """Who is scanned, the grid, and the picture (z, y, x as stored)."""
    body = anatomy.person(f"{ID}/{scan.name}", size=scale.body, without=scan.without)
    right, anterior, superior = scan.spacing
    # The thick axis scales as the body's slices do, whichever axis it is.
    thick = max(scan.spacing)
    spacing = (
        round(right * scale.in_plane, 4),
        round(anterior * (scale.through_plane if anterior == thick else scale.in_plane), 4),
        round(superior * (scale.through_plane if superior == thick else scale.in_plane), 4),
    )
    # An oblique box has to be larger to hold the same organs.
    extent = scale.extent_ras_mm
    if any(scan.tilt):
        extent = (extent[0] * 1.06, extent[1] * 1.12, extent[2] * 1.16)
    grid = scan_grid(body.centre_ras_mm, extent, spacing, scan.orientation, scan.tilt)
    return body, grid, render(body, grid, MR_INTENSITY, seed=f"{ID} {scan.name}", floor=0)


def write(root: Path, scale: Scale, patients: int) -> Part:
    """Write the source below `root`."""
    described = manifests.load(ID)
    cases: list[CaseTruth] = []
    for scan in scans(patients):
        body, grid, picture = take(scan, scale)
        numbers = manifests.numbers(described, scan.table)
        image = f"images/{scan.name}.{scan.suffix}"
        label = f"labels-{scan.table}/{scan.name}.{scan.suffix}"
        for path, volume in ((image, picture.astype(scan.dtype)), (label, label_map(body, grid, numbers))):
            if scan.suffix == "mha":
                files.put_itk(root, path, volume, grid, compress=path == label)
            else:
                files.put(root, path, files.gz(files.nifti(volume, grid)))
        structures = structures_of(body, numbers, manifests.EVERY_STRUCTURE, dict(MR_INTENSITY))
        cases.append(case_truth(ID, scan.name, body, "MR", grid, structures, images=(image,), labels=(label,)))
    return Part(tuple(cases))
