"""Recipes and case images that the tests of normalisation share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mdfp import geometry
from mdfp.sample import Acquisition
from schemas.case import ArrayHeader, CaseImage
from schemas.recipe import Recipe


@pytest.fixture(scope="session")
def recipe() -> Callable[..., Recipe]:
    """Makes a recipe; keywords are its sections."""

    def make(**sections: Any) -> Recipe:
        base: dict[str, Any] = {
            "corpus": "test",
            "out": "out",
            "sources": [{"id": "one"}],
            "terms": {"accept": ["own-data"]},
        }
        return Recipe.model_validate({**base, **sections})

    return make


@pytest.fixture(scope="session")
def case_image() -> Callable[..., CaseImage]:
    """Makes what the inventory would say of a volume."""

    def make(modality: str = "CT", dtype: str = "int16") -> CaseImage:
        header = ArrayHeader(
            name=modality.lower(),
            format="nifti",
            axes="zyx",
            shape=(),
            spacing_xyz_mm=None,
            orientation=None,
            affine_ras=None,
            obliquity_deg=None,
            dtype=dtype,
            scale=1.0,
            offset=0.0,
            frame_of_reference=None,
            verdict="regular",
            bytes=0,
        )
        return CaseImage(header, modality, Acquisition())

    return make


@pytest.fixture(scope="session")
def oblique() -> Callable[..., geometry.Affine]:
    """Makes an affine: spacing, a code of the axes' directions, and Euler angles in degrees on top of it."""

    def make(
        spacing: tuple[float, float, float] = (0.7, 1.1, 2.5),
        code: str = "RAS",
        angles: tuple[float, float, float] = (7.0, -11.0, 17.0),
        origin: tuple[float, float, float] = (-31.25, 17.5, 102.0),
    ) -> geometry.Affine:
        a, b, c = np.radians(angles)
        turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        turn_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        turn_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        axes = np.zeros((3, 3))
        for index_axis, letter in enumerate(code):
            world = next(i for i, pair in enumerate(("RL", "AP", "SI")) if letter in pair)
            axes[world, index_axis] = 1 if letter in "RAS" else -1
        return geometry.compose(turn_x @ turn_y @ turn_z @ axes, spacing, origin)

    return make


CODES = tuple(
    "".join(letters)
    for order in ("RAS", "RSA", "ARS", "ASR", "SRA", "SAR")
    for flips in range(8)
    for letters in [
        [_l if not flips >> i & 1 else dict(zip("RAS", "LPI", strict=True))[_l] for i, _l in enumerate(order)]
    ]
)
"""All 48 ways a volume's axes can run."""


@pytest.fixture(params=CODES)
def code(request: pytest.FixtureRequest) -> str:
    """One of the 48 orientation codes."""
    return str(request.param)
