"""How native numbers become stored numbers, and how readers normalise them by default.

Numbers are stored as physical ones: `physical = stored * scale + offset`.

* CT becomes int16 HU. Padding (below -1024 HU, or the value the header calls padding) is set to -1024 HU before any
  filter sees it, so that it cannot bleed into the body.
* Integers of other modalities that fit 16 bits keep their numbers, scale and offset; so do floats that are all integers.
* Everything else is mapped from its own minimum and maximum to uint16. The maximum is never clipped, units are kept.
* `store: native` keeps type and values; `store: normalised` bakes the default normalisation in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mdfp.sample import Normalisation
from schemas.recipe import ModalityIntensity
from transforms.normalise.survey import Survey

CT_FLOOR_HU = -1024.0
"""What padding becomes: a 12-bit scanner's smallest value, below the -1000 HU of air."""

DEFAULT_CT_WINDOW_HU = (-1000.0, 1000.0)
"""From air to dense bone; used when the recipe says nothing."""

DEFAULT_PERCENTILES = (0.5, 99.5)
"""For every other modality, whose numbers have no common scale; used when the recipe says nothing."""

NORMALISED_STEPS = 65535
"""Steps from 0 to 1 when the normalisation is baked in: uint16, each far smaller than the noise of any scanner."""

UINT16_STEPS = 65535
"""Steps from minimum to maximum of values that are mapped to uint16."""


@dataclass(frozen=True)
class Encoding:
    """What happens to the numbers of one volume.

    Attributes:
        dtype: of the stored array, little-endian.
        scale: physical = stored * scale + offset, of the stored array.
        offset: see scale.
        unit: of the physical values; None when the source states none.
        lower: native value that replaces everything below it, padding, and what is not finite; None: nothing is.
        padding: native value that counts as padding, or None.
        gain: stored = native * gain + bias, before rounding.
        bias: see gain.
    """

    dtype: np.dtype[Any]
    scale: float
    offset: float
    unit: str | None
    lower: float | None
    padding: float | None
    gain: float
    bias: float


def encoding(
    modality: str,
    dtype: np.dtype[Any],
    seen: Survey,
    *,
    scale: float,
    offset: float,
    padding: float | None,
    store: Literal["physical", "normalised", "native"],
) -> Encoding:
    """How to store a volume.

    Args:
        modality: DICOM Modality.
        dtype: of the native array.
        seen: survey of the native array, in native stored values.
        scale: physical = native * scale + offset; positive.
        offset: see scale.
        padding: native value that the header calls padding.
        store: the recipe's wish. `normalised` is first stored as `physical`, then baked, see `bake`.
    """
    unit = "HU" if modality == "CT" else None
    fill = seen.minimum if seen.nonfinite else None
    kept = Encoding(_storable(dtype), scale, offset, unit, fill, None, 1.0, 0.0)
    if store == "native":
        return kept
    if modality == "CT":
        floor = (CT_FLOOR_HU - offset) / scale
        return Encoding(np.dtype("<i2"), 1.0, 0.0, unit, floor, padding, scale, offset)
    if dtype.kind != "f" and kept.dtype.itemsize <= 2:
        return kept
    if seen.integral:
        for fitting in (np.dtype("<i2"), np.dtype("<u2")):
            info = np.iinfo(fitting)
            if info.min <= seen.minimum and seen.maximum <= info.max:
                return Encoding(fitting, scale, offset, unit, fill, None, 1.0, 0.0)
    step = seen.maximum / UINT16_STEPS - seen.minimum / UINT16_STEPS
    if step < np.finfo(np.float64).tiny * UINT16_STEPS:  # one value only
        step = 1.0
    return Encoding(
        np.dtype("<u2"),
        scale * step,
        seen.minimum * scale + offset,
        unit,
        fill,
        None,
        1.0 / step,
        -seen.minimum / step,
    )


def _storable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The native type, little-endian; signed bytes, booleans and floats of odd sizes become the next larger type."""
    odd = {"b1": "u1", "i1": "i2", "f2": "f4"}
    code = dtype.newbyteorder("=").str[1:]
    if dtype.kind == "f" and dtype.itemsize > 8:
        code = "f8"
    return np.dtype("<" + odd.get(code, code))


def wanted_percentiles(modality: str, asked: ModalityIntensity | None) -> tuple[float, ...]:
    """Percents that the default normalisation needs of the stored volume."""
    if asked is not None:
        return asked.percentiles or ()
    return () if modality == "CT" else DEFAULT_PERCENTILES


def default_normalisation(
    modality: str, asked: ModalityIntensity | None, percentiles: dict[float, float]
) -> Normalisation:
    """The corpus's default normalisation of one volume.

    Args:
        modality: DICOM Modality.
        asked: what the recipe says of this modality. None: a window of `DEFAULT_CT_WINDOW_HU` for CT,
            `DEFAULT_PERCENTILES` of the volume itself for others.
        percentiles: physical values at `wanted_percentiles` of the stored volume.
    """
    wanted = wanted_percentiles(modality, asked)
    if wanted:
        lower, upper = (percentiles[p] for p in wanted)
        # A volume of one value has no range; any upper end maps it to 0.
        return Normalisation("percentiles", lower, upper if upper > lower else lower + 1.0)
    lower, upper = asked.window_hu if asked is not None and asked.window_hu is not None else DEFAULT_CT_WINDOW_HU
    return Normalisation("window_hu", lower, upper)


BAKED = Normalisation("none", 0.0, 1.0)
"""Normalisation of an array whose numbers already run from 0 to 1."""


def bake(
    array_zyx: npt.NDArray[Any], normalisation: Normalisation, *, scale: float, offset: float
) -> npt.NDArray[np.uint16]:
    """Clip to the normalisation's range and map it to 0 … `NORMALISED_STEPS`.

    Args:
        array_zyx: stored values: integers of at most 16 bits.
        normalisation: what to bake in.
        scale: physical = stored * scale + offset.
        offset: see scale.
    """
    info = np.iinfo(array_zyx.dtype)
    physical = np.arange(info.min, info.max + 1) * scale + offset
    unit = np.clip((physical - normalisation.lower) / (normalisation.upper - normalisation.lower), 0.0, 1.0)
    table = np.rint(unit * NORMALISED_STEPS).astype("<u2")
    out = np.empty(array_zyx.shape, dtype=table.dtype)
    for plane, target in zip(array_zyx, out, strict=True):
        np.take(table, plane.astype(np.int64) - info.min, out=target)
    return out
