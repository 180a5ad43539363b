"""Scans of phantom people, small, and graphs of made-up cases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from examples.phantom.anatomy import person
from examples.phantom.scale import SCALES
from examples.phantom.scan import CT_HU, render, scan_grid
from transforms.volume import Volume


@pytest.fixture(scope="session")
def scan() -> Callable[..., Volume]:
    """A CT of the person of that name, 120 x 92 x 64 voxels."""

    def make(name: str, *, seed: str = "", values=None, tilt=(0.0, 0.0, 0.0)) -> Volume:
        size = SCALES["demo"]
        body = person(name, size=0.75)
        extent = tuple(0.75 * e for e in size.extent_ras_mm)
        grid = scan_grid(body.centre_ras_mm, extent, (1.5, 1.5, 2.25), "LPS", tilt)
        picture = render(body, grid, {**CT_HU, **(values or {})}, seed=f"{name} {seed}", floor=-1024)
        return Volume(picture, grid.affine_ras)

    return make
