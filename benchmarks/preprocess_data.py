"""The synthetic CT pair of the preprocessing benchmark: the same numbers on every machine.

A body of ellipsoids in air, stored LPS as most CT is, with the noise of a soft kernel, so that it compresses about 2.5
times as real CT does; and the label map of its fifteen organs.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

SPACING_XYZ_MM = (0.8, 0.8, 1.0)
TARGET_MM = 1.5
WINDOW_HU = (-1000, 1000)
GZIP_LEVEL = 6
"""What most tools write."""

SHAPES_ZYX = {"full": (300, 512, 512), "small": (60, 128, 128), "warm-up": (20, 48, 40)}

NOISE_HU = 18.0
"""Standard deviation of the noise; it decides how well the volume compresses."""

STRUCTURES = (
    "liver", "spleen", "kidney_left", "kidney_right", "stomach", "pancreas", "aorta", "inferior_vena_cava",
    "gallbladder", "esophagus", "duodenum", "adrenal_gland_left", "adrenal_gland_right", "vertebra_l1", "vertebra_l2",
)  # fmt: skip
"""Structure of label value 1, 2, …"""


@dataclass(frozen=True)
class Pair:
    """Files of an image and its label."""

    image: Path
    label: Path


def affine_ras(shape_zyx: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """X to the left, y to the back, z up; the middle of the volume at the origin."""
    x, y, z = SPACING_XYZ_MM
    affine = np.diag([-x, -y, z, 1.0])
    affine[:3, 3] = [(shape_zyx[2] - 1) * x / 2, (shape_zyx[1] - 1) * y / 2, -(shape_zyx[0] - 1) * z / 2]
    return affine


def make_pair(folder: Path, size: str) -> Pair:
    """Write the pair, unless it is there already."""
    shape = SHAPES_ZYX[size]
    pair = Pair(folder / f"{size}-ct.nii.gz", folder / f"{size}-label.nii.gz")
    if pair.image.exists() and pair.label.exists():
        return pair
    folder.mkdir(parents=True, exist_ok=True)
    image, label = _draw(shape)
    for path, array in ((pair.image, image), (pair.label, label)):
        partial = path.with_suffix(".partial")
        _write_nifti(partial, array)
        partial.replace(path)
    return pair


def _draw(shape_zyx: tuple[int, int, int]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    generator = np.random.default_rng(20240611)
    z, y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape_zyx)
    organs = [
        (value, generator.uniform(-0.45, 0.45, 3), generator.uniform(0.08, 0.22, 3), generator.uniform(20, 200))
        for value in range(1, len(STRUCTURES) + 1)
    ]
    image = np.empty(shape_zyx, dtype=np.int16)
    label = np.zeros(shape_zyx, dtype=np.uint8)
    rim = (x[None, :] ** 2 + y[:, None] ** 2) > 0.995  # outside the scanner's circle
    for k in range(shape_zyx[0]):
        plane = np.full(shape_zyx[1:], -1000, dtype=np.float32)
        body = (x[None, :] / 0.8) ** 2 + (y[:, None] / 0.6) ** 2 < 1
        plane[body] = 30
        for value, centre, radius, hu in organs:
            inside = (
                ((x[None, :] - centre[2]) / radius[2]) ** 2
                + ((y[:, None] - centre[1]) / radius[1]) ** 2
                + ((z[k] - centre[0]) / radius[0]) ** 2
            ) < 1
            plane[inside] = hu
            label[k][inside] = value
        plane += generator.normal(0, NOISE_HU, plane.shape).astype(np.float32)
        plane[rim] = -1024
        image[k] = np.rint(np.maximum(plane, -1024)).astype(np.int16)
    return image, label


def _write_nifti(path: Path, array_zyx: npt.NDArray) -> None:
    import nibabel as nib

    file = nib.Nifti1Image(array_zyx.T, affine_ras(array_zyx.shape))  # type: ignore[arg-type]
    path.write_bytes(gzip.compress(file.to_bytes(), GZIP_LEVEL, mtime=0))
