"""Small labels with known content. Every axis has another length, and one affine is oblique."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mdfp import geometry
from schemas import recipe
from schemas.case import ArrayHeader, CaseLabel
from schemas.label_table import LabelTable
from transforms.labels import palette as palettes
from transforms.labels.label import LabelPart, NormalisedLabels, normalise_labels
from transforms.normalise.grid import OutputGrid, output_grid
from transforms.volume import Volume

SHAPE = (5, 7, 9)


@dataclass(frozen=True, eq=False)
class FakeImage:
    """What labels ask of a normalised image."""

    canonical: Volume
    grid: OutputGrid


def _oblique(spacing_xyz: tuple[float, float, float] = (0.8, 0.9, 1.3)) -> geometry.Affine:
    a, b = 0.2, -0.1
    turn_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return geometry.compose(turn_z.dot(turn_x), spacing_xyz, (-31.5, 12.25, 400.0))


@pytest.fixture
def oblique() -> geometry.Affine:
    return _oblique()


@pytest.fixture
def image() -> Callable[..., FakeImage]:
    """An image of a shape and spacing; resampled to `to`, or on its own grid."""

    def make(
        shape: tuple[int, int, int] = SHAPE,
        spacing: tuple[float, float, float] = (0.8, 0.9, 1.3),
        to: tuple[float, float, float] | None = None,
        low_pass: bool = True,
        box: tuple[int, ...] | None = None,
    ) -> FakeImage:
        affine = _oblique(spacing)
        grid = output_grid(shape, affine, to or spacing, low_pass=low_pass)
        if box is not None:
            grid = grid.cut(box)  # type: ignore[arg-type]
        return FakeImage(Volume(np.zeros(shape, np.int16), affine), grid)

    return make


@pytest.fixture
def case_label() -> Callable[..., CaseLabel]:
    def make(
        table: str = "labels", origin: str = "expert", looked_for: tuple[str, ...] | None = None, image: str = "ct"
    ) -> CaseLabel:
        header = ArrayHeader(
            name=table, format="nifti", axes="zyx", shape=SHAPE, spacing_xyz_mm=None, orientation=None,
            affine_ras=None, obliquity_deg=None, dtype="uint8", scale=1, offset=0, frame_of_reference=None,
            verdict="regular", bytes=1,
        )  # fmt: skip
        return CaseLabel(header, image, table, origin, looked_for)

    return make


@pytest.fixture
def normalise(image: Callable[..., FakeImage], case_label: Callable[..., CaseLabel]) -> Callable[..., NormalisedLabels]:
    """Normalise masks on the image's own lattice: `masks` is an array, or a dict of structure → array."""

    def run(
        masks: np.ndarray[Any, Any] | dict[str, np.ndarray[Any, Any]],
        values: dict[int, str] | None = None,
        *,
        on: FakeImage | None = None,
        palette: tuple[str, ...] = (),
        wanted: recipe.Labels | None = None,
        looked_for: tuple[str, ...] | None = None,
        **table: Any,
    ) -> NormalisedLabels:
        per_structure = masks if isinstance(masks, dict) else {}
        some = next(iter(per_structure.values())) if per_structure else masks
        target = on or image(some.shape)  # type: ignore[union-attr]
        label_table = LabelTable(
            origin="expert", values=values or {}, structures={s: s for s in per_structure}, **table
        )
        affine = target.canonical.affine_ras
        if per_structure:
            given = tuple((lambda a=a: Volume(a, affine), s) for s, a in per_structure.items())
        else:
            given = ((Volume(masks, affine), None),)  # type: ignore[arg-type,assignment]
        part = LabelPart(case_label(looked_for=looked_for), label_table, given)  # type: ignore[arg-type]
        entries = palettes.build({*palette, *label_table.annotated()})
        return normalise_labels([part], {"ct": target}, entries, wanted or recipe.Labels())

    return run
