"""The numbers that a sample records about its intensities, and where the body lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from mdfp.sample import PERCENTS, IntensityStats
from transforms.normalise.distribution import Distribution, distribution
from transforms.normalise.survey import Box, Survey, survey

CT_BODY_HU = -500.0
"""Voxels denser than this are body (or couch): halfway between air (-1000 HU) and water (0 HU)."""


@dataclass(frozen=True)
class Measured:
    """What was measured on a volume.

    Attributes:
        stats: in physical units.
        body_box: smallest box that holds every voxel of the body, or None.
        percentiles: physical values at the percents that were asked for.
        survey: in stored units.
        distribution: in stored units.
    """

    stats: IntensityStats
    body_box: Box | None
    percentiles: dict[float, float]
    survey: Survey
    distribution: Distribution


def body_threshold(modality: str) -> float | None:
    """Physical value above which a voxel belongs to the body; None: the volume's own mean."""
    return CT_BODY_HU if modality == "CT" else None


def body_box(seen: Survey, threshold: float | None, *, scale: float = 1.0, offset: float = 0.0) -> Box | None:
    """Smallest box that holds every voxel of the body, or None when there is none.

    The box is never too small: one bright voxel outside the body, or a couch, makes it larger.

    Args:
        seen: survey of the volume.
        threshold: physical value, see `body_threshold`.
        scale: physical = stored * scale + offset; positive.
        offset: see scale.
    """
    return seen.box_above(_level(seen, threshold, scale, offset))


def measure(
    array_zyx: npt.NDArray[Any],
    threshold: float | None,
    *,
    scale: float = 1.0,
    offset: float = 0.0,
    percents: Sequence[float] = (),
    seen: Survey | None = None,
) -> Measured:
    """Statistics of a volume's finite voxels.

    Args:
        array_zyx: stored values, any strides and real dtype; several volumes (t, z, y, x) only with `seen`.
        threshold: physical value above which a voxel belongs to the body, see `body_threshold`.
        scale: physical = stored * scale + offset; positive.
        offset: see scale.
        percents: percentiles to take besides `mdfp.sample.PERCENTS`.
        seen: the survey, where there is one already.

    Raises:
        ValueError: `scale` is not positive.
    """
    if not scale > 0:
        raise ValueError(f"statistics need a positive scale, found {scale}: order would be reversed")
    seen = seen or survey(array_zyx)
    level = _level(seen, threshold, scale, offset)
    dist = distribution(array_zyx, seen, level, (*PERCENTS, *percents))

    def physical(value: float) -> float:
        return value * scale + offset

    stats = IntensityStats(
        minimum=physical(seen.minimum),
        maximum=physical(seen.maximum),
        mean=physical(dist.mean),
        std=dist.std * scale,
        percentiles=tuple(physical(dist.percentiles[p]) for p in PERCENTS),
        body_mean=None if dist.body_mean is None else physical(dist.body_mean),
        body_std=None if dist.body_std is None else dist.body_std * scale,
    )
    return Measured(stats, seen.box_above(level), {p: physical(dist.percentiles[p]) for p in percents}, seen, dist)


def _level(seen: Survey, threshold: float | None, scale: float, offset: float) -> float:
    """The threshold in stored units."""
    return seen.mean if threshold is None else (threshold - offset) / scale
