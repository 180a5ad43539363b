"""CT as the Medical Segmentation Decathlon lays it out: dataset.json, imagesTr, labelsTr, imagesTs, and macOS twins.

Integers and floats, several orientations, label numbers of its own. Planted: a gzip cut short, a label on another grid
than its image, a value that no table names, a spacing of zero.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from examples.phantom import anatomy, files, manifests
from examples.phantom.anatomy import Person, Point
from examples.phantom.scale import Scale
from examples.phantom.scan import CT_HU, ScanGrid, label_map, render, scan_grid
from examples.phantom.truth import CaseTruth, Part, PlantedFault, case_truth, structures_of
from schemas.reasons import Reason

ID = "phantom-ct-msd"
FOLDER = "Task77_Phantom"

_TWIN = bytes.fromhex("000516070002000004d6163204f532058202020202020202") + bytes(120)
"""An AppleDouble file, as macOS puts one beside each file of an archive."""

_STRAY_VALUE = 99
"""A label value that the manifest does not name."""


@dataclass(frozen=True)
class Scan:
    """One image to write.

    Attributes:
        number: number in its name.
        spacing: spacing along R, A, S at full size, mm.
        orientation: directions the stored axes point to.
        dtype: number type of the image; int16 may be stored with an offset.
        label_dtype: number type of the label.
        inter: scl_inter of the image: physical = stored + inter.
        tumour_mm: radius of a tumour in the liver.
        forms: which of qform and sform are there.
        fault: what is planted: corrupt, grid, unmapped, spacing; or nothing.
        test: whether it is an unlabelled test image.
    """

    number: int
    spacing: Point
    orientation: str = "LPS"
    dtype: str = "int16"
    label_dtype: str = "uint8"
    inter: int = 0
    tumour_mm: float | None = None
    forms: tuple[bool, bool] = (True, True)
    fault: str = ""
    test: bool = False

    @property
    def name(self) -> str:
        """The stem of its file's name."""
        return f"phantom_{self.number:03}"


ORIGINAL = Scan(1, (1.5, 1.5, 3.0), "LAS")
"""The image that phantom-ct-structures holds too, rewritten."""

PLANTED = (
    ORIGINAL,
    Scan(2, (1.5, 1.5, 3.0), "RPS", test=True),
    Scan(3, (1.5, 1.5, 3.0), "LPS", fault="corrupt"),
    Scan(4, (1.5, 1.5, 3.0), "RAS", fault="grid"),
    Scan(5, (1.5, 1.5, 3.0), "LPS", fault="unmapped"),
    Scan(6, (1.5, 1.5, 3.0), "RAS", fault="spacing", forms=(True, False)),
)
"""Images with something planted."""

_ORDINARY = (
    Scan(0, (1.25, 1.25, 2.4), "LPS", inter=-1024, tumour_mm=11.5),
    Scan(0, (1.5, 1.4, 3.0), "PIR", dtype="float32", label_dtype="float32", forms=(False, True)),
    Scan(0, (0.8, 0.8, 2.4), "LAS", tumour_mm=13.0, forms=(True, False)),
    Scan(0, (1.4, 1.4, 2.0), "ASL", dtype="float32", label_dtype="int16"),
)
"""What ordinary images are like, in turn."""


def scans(patients: int) -> tuple[Scan, ...]:
    """Every image, with this many ordinary patients."""
    ordinary = (dataclasses.replace(_ORDINARY[i % len(_ORDINARY)], number=10 + i) for i in range(patients))
    return (*PLANTED, *ordinary)


def take(scan: Scan, scale: Scale) -> tuple[Person, ScanGrid, npt.NDArray[np.int16]]:
    """Who is scanned, the grid, and HU (z, y, x as stored)."""
    body = anatomy.person(f"{ID}/{scan.name}", size=scale.body, tumour_mm=scan.tumour_mm)
    grid = scan_grid(body.centre_ras_mm, scale.extent_ras_mm, scale.spacing(*scan.spacing), scan.orientation)
    return body, grid, render(body, grid, CT_HU, seed=f"{ID} {scan.name}", floor=-1024)


def write(root: Path, scale: Scale, patients: int) -> Part:
    """Write the source below `root`."""
    described = manifests.load(ID)
    numbers = manifests.numbers(described, "labels")
    cases: list[CaseTruth] = []
    faults: list[PlantedFault] = []
    for scan in scans(patients):
        body, grid, hu = take(scan, scale)
        image_path = f"{FOLDER}/images{'Ts' if scan.test else 'Tr'}/{scan.name}.nii.gz"
        content = _image(scan, hu, grid)
        if scan.fault == "spacing":
            content = _with_zero_spacing(content)
        compressed = files.gz(content)
        if scan.fault == "corrupt":
            compressed = compressed[: len(compressed) * 6 // 10]
        files.put(root, image_path, compressed)
        labels = []
        if not scan.test:
            labels.append(f"{FOLDER}/labelsTr/{scan.name}.nii.gz")
            label_grid = _coarser(body, scan, scale) if scan.fault == "grid" else grid
            files.put(root, labels[0], files.gz(_label(scan, label_map(body, label_grid, numbers), label_grid)))
        for path in (image_path, *labels):
            folder, _, name = path.rpartition("/")
            files.put(root, f"{folder}/._{name}", _TWIN)
        if scan.fault:
            reason, detail = _FAULTS[scan.fault]
            at_fault = image_path if scan.fault in ("corrupt", "spacing") else labels[0]
            faults.append(PlantedFault(ID, scan.name, reason, (at_fault,), detail))
        cases.append(
            case_truth(
                ID,
                scan.name,
                body,
                "CT",
                grid,
                structures_of(body, numbers if labels else (), manifests.EVERY_STRUCTURE, dict(CT_HU)),
                images=(image_path,),
                labels=labels,
                reason=_FAULTS[scan.fault][0] if scan.fault else None,
            )
        )
    files.put(root, f"{FOLDER}/dataset.json", _dataset_json(scans(patients), described.labels["labels"].values))
    files.put(root, f"{FOLDER}/._dataset.json", _TWIN)
    return Part(tuple(cases), tuple(faults))


_FAULTS = {
    "corrupt": (Reason.CORRUPT_GZIP, "the image's gzip stream ends after six tenths of its bytes"),
    "grid": (Reason.LABEL_GRID, "the label was drawn on a grid of other spacing and shape than its image's"),
    "unmapped": (Reason.UNMAPPED_LABEL, f"some voxels of the label are {_STRAY_VALUE}, which no table names"),
    "spacing": (Reason.BAD_SPACING, "the image's header says that slices are 0 mm apart"),
}


def _image(scan: Scan, hu: npt.NDArray[np.int16], grid: ScanGrid) -> bytes:
    stored: npt.NDArray[Any] = (hu - np.int16(scan.inter)).astype(scan.dtype)
    qform, sform = scan.forms
    return files.nifti(
        stored, grid, slope_inter=(1.0, scan.inter) if scan.inter else (0.0, 0.0), qform=qform, sform=sform
    )


def _label(scan: Scan, labels: npt.NDArray[np.uint8], grid: ScanGrid) -> bytes:
    if scan.fault == "unmapped":
        z, y, x = (n // 2 for n in labels.shape)
        labels[z : z + 2, y : y + 3, x : x + 4] = _STRAY_VALUE
    qform, sform = scan.forms
    return files.nifti(labels.astype(scan.label_dtype), grid, qform=qform, sform=sform)


def _coarser(body: Person, scan: Scan, scale: Scale) -> ScanGrid:
    """The grid of somebody who drew on a resampled copy."""
    x, y, z = scale.spacing(*scan.spacing)
    spacing = (x * 1.37, y * 1.37, z)
    return scan_grid(body.centre_ras_mm, scale.extent_ras_mm, spacing, scan.orientation)


def _with_zero_spacing(content: bytes) -> bytes:
    header = bytearray(content)
    struct.pack_into("<f", header, files.PIXDIM_OFFSET + 3 * 4, 0.0)
    return bytes(header)


def _dataset_json(every: tuple[Scan, ...], values: dict[int, str]) -> bytes:
    training = [s for s in every if not s.test]
    test = [s for s in every if s.test]
    described = {
        "name": "Phantom",
        "description": "Ellipsoids for organs, made by a program",
        "reference": "none",
        "licence": "CC-BY 4.0",
        "release": "1.0",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {str(value): structure for value, structure in sorted(values.items())},
        "numTraining": len(training),
        "numTest": len(test),
        "training": [
            {"image": f"./imagesTr/{s.name}.nii.gz", "label": f"./labelsTr/{s.name}.nii.gz"} for s in training
        ],
        "test": [f"./imagesTs/{s.name}.nii.gz" for s in test],
    }
    return json.dumps(described, indent=1).encode() + b"\n"
