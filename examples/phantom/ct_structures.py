"""CT with one binary mask a structure, as TotalSegmentator lays it out: s0001/ct.nii.gz, s0001/segmentations/*.nii.gz.

Not everything is annotated: a mask that is not there says that nobody looked, an empty mask that the structure is not
there. The liver's mask includes its lesion, which has a mask of its own. One lesion is a single voxel. One gallbladder
lies half in the liver. One case is an image of phantom-ct-msd under another name: turned round, in floating point, with
a rewritten spacing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from examples.phantom import anatomy, ct_dicom, ct_msd, files, manifests
from examples.phantom.anatomy import GALLBLADDER, ORGANS, TUMOUR, Ellipsoid, Person, Point
from examples.phantom.scale import Scale
from examples.phantom.scan import CT_HU, ScanGrid, mask_of, render, scan_grid
from examples.phantom.truth import CaseTruth, Part, StructureTruth, case_truth, moved, structures_of
from mdfp import geometry

ID = "phantom-ct-structures"

REWRITTEN_SPACING: Point = (1.0, 1.0, 1.0)
"""What the header of the duplicate claims, along R, A, S at full size, mm."""

_TINY_VOXELS = 0.62
"""Semi-axes of the lesion that one voxel holds, in voxels: its volume is that of the voxel, and its neighbours' centres
lie outside."""

_DRAWN = (*ORGANS, TUMOUR)


@dataclass(frozen=True)
class Scan:
    """One case to write.

    Attributes:
        name: its folder, and the patient's id.
        spacing: spacing along R, A, S at full size, mm.
        orientation: directions the stored axes point to.
        drawn: structures that somebody looked for.
        without: organs that were taken out.
        tumour_mm: radius of a lesion in the liver.
        tiny: whether there is a lesion of one voxel.
    """

    name: str
    spacing: Point = (1.5, 1.5, 1.5)
    orientation: str = "RAS"
    drawn: tuple[str, ...] = _DRAWN
    without: tuple[str, ...] = ()
    tumour_mm: float | None = None
    tiny: bool = False


DUPLICATE = "s0006"
"""The case that is `ct_msd.ORIGINAL` under another name."""

PLANTED = (
    Scan("s0001"),
    Scan("s0002", tumour_mm=13.0),
    Scan("s0003", (1.0, 1.0, 2.4), tiny=True),
    Scan("s0004", drawn=("liver", "spleen", "kidney_left", "kidney_right", "stomach"), without=("spleen",)),
    Scan("s0005", drawn=("liver", GALLBLADDER, "aorta", "vertebra_l1", "vertebra_l2"), orientation="LPS"),
)
"""Cases with something planted. s0001 is a patient of phantom-ct-dicom too."""

_ORDINARY = (
    Scan("", tumour_mm=12.0),
    Scan("", (1.5, 1.5, 2.0), drawn=("lung_left", "lung_right", "aorta", "liver", TUMOUR)),
    Scan("", (1.6, 1.6, 1.6), "LPS", drawn=("kidney_left", "kidney_right"), without=("kidney_right",)),
    Scan("", (1.5, 1.5, 1.5), "LAS"),
)
"""What ordinary cases are like, in turn."""


def scans(patients: int) -> tuple[Scan, ...]:
    """Every case but the duplicate, with this many ordinary patients."""
    ordinary = []
    for i in range(patients):
        like = _ORDINARY[i % len(_ORDINARY)]
        ordinary.append(
            Scan(f"s{301 + i:04}", like.spacing, like.orientation, like.drawn, like.without, like.tumour_mm, like.tiny)
        )
    return (*PLANTED, *ordinary)


def take(scan: Scan, scale: Scale) -> tuple[Person, ScanGrid, npt.NDArray[np.int16]]:
    """Who is scanned, the grid, and HU (z, y, x as stored)."""
    body = anatomy.person(
        f"{ct_dicom.NAMESPACE}/{scan.name}",
        size=scale.body,
        without=scan.without,
        tumour_mm=scan.tumour_mm,
        gallbladder=GALLBLADDER in scan.drawn,
    )
    grid = scan_grid(body.centre_ras_mm, scale.extent_ras_mm, scale.spacing(*scan.spacing), scan.orientation)
    if scan.tiny:
        body = _with_lesion_of_one_voxel(body, grid)
    return body, grid, render(body, grid, CT_HU, seed=f"{ID} {scan.name}", floor=-1024)


def _with_lesion_of_one_voxel(body: Person, grid: ScanGrid) -> Person:
    x, y, z = (float(round(i)) for i in grid.index_of(body.organs["liver"].centre_ras_mm))
    by_world_axis = [0.0, 0.0, 0.0]
    spacing = geometry.spacing_xyz_mm(grid.affine_ras)
    for (axis, _), length in zip(geometry.closest_axes(grid.affine_ras), spacing, strict=True):
        by_world_axis[axis] = _TINY_VOXELS * length
    right, anterior, superior = by_world_axis
    lesion = Ellipsoid(grid.position_of((x, y, z)), (right, anterior, superior))
    organs = {**body.organs, TUMOUR: lesion}
    return Person(body.name, body.centre_ras_mm, body.torso_mm, body.muscle_mm, organs)


def write(root: Path, scale: Scale, patients: int) -> Part:
    """Write the source below `root`."""
    cases: list[CaseTruth] = []
    for scan in scans(patients):
        body, grid, hu = take(scan, scale)
        image = files.put(root, f"{scan.name}/ct.nii.gz", files.gz(files.nifti(hu, grid)))
        masks = _write_masks(root, scan.name, scan.drawn, body, grid)
        structures = structures_of(
            body, scan.drawn, manifests.EVERY_STRUCTURE, dict(CT_HU), tiny=TUMOUR if scan.tiny else None
        )
        cases.append(case_truth(ID, scan.name, body, "CT", grid, structures, images=(image,), labels=masks))
    cases.append(_write_duplicate(root, scale))
    return Part(tuple(cases))


def _write_masks(root: Path, name: str, drawn: tuple[str, ...], body: Person, grid: ScanGrid) -> list[str]:
    file_names = {s: n for n, s in manifests.load(ID).labels["labels"].structures.items()}
    paths = []
    for structure in drawn:
        content = files.gz(files.nifti(mask_of(body, structure, grid), grid))
        paths.append(files.put(root, f"{name}/segmentations/{file_names[structure]}.nii.gz", content))
    return paths


def _write_duplicate(root: Path, scale: Scale) -> CaseTruth:
    """The same voxels as `ct_msd.ORIGINAL`: x turned round, float32, and another spacing in the header."""
    body, was, hu = ct_msd.take(ct_msd.ORIGINAL, scale)
    direction = geometry.direction(was.affine_ras)
    direction[:, 0] *= -1
    # The original's x, y and z run along R, A and S, one way or the other.
    turned = ScanGrid(was.shape_zyx, geometry.compose(direction, scale.spacing(*REWRITTEN_SPACING), (0.0, 0.0, 0.0)))
    image = files.gz(files.nifti(hu[:, :, ::-1].astype(np.float32), turned, sform=False))
    path = files.put(root, f"{DUPLICATE}/ct.nii.gz", image)
    drawn = ("liver", "spleen", "kidney_left", "kidney_right")
    file_names = {s: n for n, s in manifests.load(ID).labels["labels"].structures.items()}
    masks = []
    for structure in drawn:
        mask = files.gz(files.nifti(mask_of(body, structure, was)[:, :, ::-1], turned, sform=False))
        masks.append(files.put(root, f"{DUPLICATE}/segmentations/{file_names[structure]}.nii.gz", mask))
    structures = _claimed(structures_of(body, drawn, manifests.EVERY_STRUCTURE, dict(CT_HU)), was, turned)
    return case_truth(ID, DUPLICATE, body, "CT", turned, structures, images=(path,), labels=masks)


def _claimed(structures: tuple[StructureTruth, ...], was: ScanGrid, turned: ScanGrid) -> tuple[StructureTruth, ...]:
    """Truth in the world of the rewritten header. Index x of the original is n - 1 - x of the copy."""
    n = was.shape_zyx[2]
    affine = was.affine_ras.copy()
    affine[:3, 3] = was.position_of((n - 1.0, 0.0, 0.0))
    affine[:3, 0] *= -1
    return moved(structures, ScanGrid(was.shape_zyx, affine), turned)
