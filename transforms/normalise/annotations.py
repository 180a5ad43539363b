"""Annotations move with the array they lie on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mdfp import geometry
from mdfp.labels import State
from mdfp.sample import SampleAnnotation
from schemas.case import CaseAnnotation, CaseImage

if TYPE_CHECKING:
    from transforms.normalise.image import NormalisedImage


def move_annotation(
    annotation: CaseAnnotation, image: NormalisedImage | None, case_images: Sequence[CaseImage]
) -> SampleAnnotation:
    """An annotation in the coordinates of the stored image.

    A point has 3 numbers, a box 6 (its lower and upper corner, which are sorted again after a flip). World positions
    do not change; where only native indices were given the world position is computed from them.

    Args:
        annotation: in native index coordinates (x, y, z) or world mm (RAS).
        image: the image it lies on, normalised; None for an annotation of a study or patient.
        case_images: the images of the case, with their native geometry.

    Raises:
        ValueError: it lies on an image without geometry.
    """
    index: tuple[float, ...] = annotation.index_xyz
    world: tuple[float, ...] = annotation.world_ras_mm
    if image is not None and (index or world):
        if not world:
            native = next(i.header.affine_ras for i in case_images if i.header.name == annotation.image)
            if native is None:
                raise ValueError(f"{annotation.name}: a position on an image without geometry")
            world = _numbers(geometry.apply(np.array(native).reshape(4, 4), _points(index)))
        stored = geometry.inverse(np.array(image.record.stored.affine_ras).reshape(4, 4))
        index = _numbers(_sorted_corners(geometry.apply(stored, _points(world))))
    return SampleAnnotation(
        kind=annotation.kind,
        name=annotation.name,
        value=annotation.value,
        state=State(annotation.state),
        level=annotation.level,
        origin=annotation.origin,
        image=annotation.image,
        index_xyz=index,
        world_ras_mm=world,
    )


def _points(numbers: tuple[float, ...]) -> np.ndarray:
    return np.array(numbers, dtype=np.float64).reshape(-1, 3)


def _sorted_corners(points: np.ndarray) -> np.ndarray:
    return np.stack([points.min(axis=0), points.max(axis=0)]) if len(points) == 2 else points


def _numbers(points: np.ndarray) -> tuple[float, ...]:
    return tuple(float(v) for v in points.ravel())
