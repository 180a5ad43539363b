"""Voxels, grids and records of this pixel version, as hashes.

A failure means that equal input no longer gives equal corpora. If that is meant, raise
`transforms.pixel_version.PIXEL_VERSION` by one, and write here the version and the hashes that the failure shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from mdfp import canonical
from schemas.case import CaseImage
from schemas.recipe import Recipe
from transforms.normalise.image import normalise_image
from transforms.pixel_version import PIXEL_VERSION
from transforms.volume import Volume

GOLDEN_VERSION = 4

OBLIQUE = np.array(
    [
        [-0.6875, 0.0625, 0.25, 31.5],
        [-0.0625, -0.8125, 0.375, -17.25],
        [0.03125, 0.125, 2.4375, 102.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""Written out, not computed: near LPS, with numbers that are exact in binary."""


def pattern(shape: tuple[int, int, int], modulus: int) -> np.ndarray:
    """Whole numbers that look random and come from arithmetic alone."""
    n = np.arange(np.prod(shape), dtype=np.int64)
    return ((n * n * 7919 + n * 104729 + 31) % modulus).reshape(shape)


def ct_volume() -> Volume:
    return Volume((pattern((11, 17, 23), 4099) - 1100).astype(np.int16), OBLIQUE, padding=2000.0)


def mr_volume() -> Volume:
    return Volume((pattern((7, 13, 12), 10007) / 64 - 3.5).astype(np.float32)[:, ::-1], OBLIQUE[:, [2, 0, 1, 3]])


def wide_volume() -> Volume:
    return Volume(pattern((6, 5, 9), 9_999_991).astype(np.int32), OBLIQUE, scale=0.25, offset=-2.0)


CASES: dict[str, tuple[str, Callable[[], Volume], dict[str, object], str]] = {
    "ct, low-pass": (
        "CT",
        ct_volume,
        {"geometry": {"spacing_mm": [1.5, 1.5, 1.5]}},
        "2ea0f50a6306c301f37e0ae542c7dc19",
    ),
    "ct, plain": (
        "CT",
        ct_volume,
        {"geometry": {"spacing_mm": [1.5, 1.5, 1.5], "low_pass": False}},
        "3bca8ecd7d95e55a70b600a62753f282",
    ),
    "ct, native grid": ("CT", ct_volume, {}, "63aa2df12c00e9584e559d99284dd423"),
    "ct, cropped and baked": (
        "CT",
        ct_volume,
        {"geometry": {"spacing_mm": [3, 3, 3], "crop": "foreground"}, "intensity": {"store": "normalised"}},
        "0ff5ddb17c2f6dbcd281624388ad2c2a",
    ),
    "mr, in plane": (
        "MR",
        mr_volume,
        {"geometry": {"spacing_mm": {"in_plane": 2.0}}},
        "f55af2657698b8f2382975f50caa604a",
    ),
    "mr, native numbers": (
        "MR",
        mr_volume,
        {"geometry": {"spacing_mm": [1, 1, 1]}, "intensity": {"store": "native"}},
        "506467d39b072ec6ea89234703f1b64a",
    ),
    "pet, mapped": (
        "PT",
        wide_volume,
        {"geometry": {"spacing_mm": [2.0, 2.0, 2.0]}},
        "13960ac9baeff7c3794b2e7fea3cf2a1",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_pixels_change_only_with_the_pixel_version(
    recipe: Callable[..., Recipe], case_image: Callable[..., CaseImage], name: str
) -> None:
    assert PIXEL_VERSION == GOLDEN_VERSION, "renew the hashes below together with GOLDEN_VERSION"
    modality, volume, sections, expected = CASES[name]
    result = normalise_image(volume(), case_image(modality), recipe(**sections))
    digest = hashlib.sha256(canonical.dumps(result.record))
    digest.update(result.array_zyx.astype(result.array_zyx.dtype.newbyteorder("<")).tobytes())
    assert digest.hexdigest()[:32] == expected
