"""One scan written other ways, as re-releases of a data set do: turned, re-spaced, cropped, rescaled, clamped.

Array and affine change together, so every voxel that stays keeps its place in the world.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from transforms.volume import Volume

Variation = Callable[[Volume], Volume]

ORIENTATIONS = tuple(
    "".join(axes) for order in itertools.permutations(("RL", "AP", "SI")) for axes in itertools.product(*order)
)
"""The 48 ways in which three axes can point."""


def turned(volume: Volume, order_zyx: Sequence[int], reverse_zyx: Sequence[bool]) -> Volume:
    """The volume with its array axes exchanged and reversed.

    Args:
        volume: any.
        order_zyx: for each new axis the old one.
        reverse_zyx: whether each new axis runs backwards.
    """
    array = volume.array_zyx.transpose(tuple(order_zyx))
    affine = np.eye(4)
    affine[:3, 3] = volume.affine_ras[:3, 3]
    for new, (old, backwards) in enumerate(zip(order_zyx, reverse_zyx, strict=True)):
        column = volume.affine_ras[:3, 2 - old]
        affine[:3, 2 - new] = -column if backwards else column
        if backwards:
            affine[:3, 3] += column * (volume.shape_zyx[old] - 1)
    flips = tuple(slice(None, None, -1) if backwards else slice(None) for backwards in reverse_zyx)
    return Volume(np.ascontiguousarray(array[flips]), affine, volume.scale, volume.offset)


def respaced(volume: Volume, factors_zyx: Sequence[float]) -> Volume:
    """The volume on a grid of other spacing over the same field of view, by linear interpolation, rounded to its type."""
    array: npt.NDArray[np.float64] = volume.array_zyx.astype(np.float64)
    affine = np.array(volume.affine_ras)
    for axis, factor in enumerate(factors_zyx):
        n_old = array.shape[axis]
        n = max(1, round(n_old / factor))
        position = np.clip((np.arange(n) - (n - 1) / 2) * factor + (n_old - 1) / 2, 0, n_old - 1)
        low = np.minimum(position.astype(int), max(0, n_old - 2))
        shape = [1, 1, 1]
        shape[axis] = n
        part = (position - low).reshape(shape)
        array = array.take(low, axis) * (1 - part) + array.take(np.minimum(low + 1, n_old - 1), axis) * part
        affine[:3, 3] += volume.affine_ras[:3, 2 - axis] * ((n_old - 1) / 2 - (n - 1) / 2 * factor)
        affine[:3, 2 - axis] *= factor
    stored = np.rint(array) if volume.array_zyx.dtype.kind in "iu" else array
    return Volume(stored.astype(volume.array_zyx.dtype), affine, volume.scale, volume.offset)


def cropped(volume: Volume, before_zyx: Sequence[int], after_zyx: Sequence[int]) -> Volume:
    """The volume without so many planes at both ends of each axis."""
    cuts = zip(before_zyx, after_zyx, volume.shape_zyx, strict=True)
    array = volume.array_zyx[tuple(slice(low, n - high) for low, high, n in cuts)]
    affine = np.array(volume.affine_ras)
    for axis, low in enumerate(before_zyx):
        affine[:3, 3] += volume.affine_ras[:3, 2 - axis] * low
    return Volume(np.ascontiguousarray(array), affine, volume.scale, volume.offset)


def revalued(volume: Volume, function: Callable[[npt.NDArray[np.generic]], npt.NDArray[np.generic]]) -> Volume:
    """The volume with other numbers in it."""
    return Volume(function(volume.array_zyx), volume.affine_ras, volume.scale, volume.offset)


def slices(volume: Volume, low: float, high: float) -> Volume:
    """The volume without these fractions of its slices along z, at the lower and the upper end."""
    n = volume.shape_zyx[0]
    return cropped(volume, (round(n * low), 0, 0), (round(n * high), 0, 0))


def _rewritten(volume: Volume) -> Volume:
    return revalued(volume, lambda a: a.astype(np.float32) * np.float32(0.0127) - np.float32(3.3))


def _clamped(low: int, high: int) -> Variation:
    return lambda v: revalued(v, lambda a: np.clip(a, low, high))


def _everything(volume: Volume) -> Volume:
    coarser = respaced(slices(_clamped(-1000, 1000)(volume), 0.03, 0.03), (1.3, 1.2, 0.9))
    return _rewritten(turned(coarser, (2, 1, 0), (True, True, False)))


VARIATIONS: Mapping[str, Variation] = {
    "turned to PIR": lambda v: turned(v, (2, 0, 1), (True, False, True)),
    "turned to ILA": lambda v: turned(v, (1, 2, 0), (False, True, False)),
    "spacing x 0.7": lambda v: respaced(v, (0.7, 0.7, 0.7)),
    "spacing x 1.5": lambda v: respaced(v, (1.5, 1.5, 1.5)),
    "spacing x 1.0, 1.5, 0.8": lambda v: respaced(v, (1.0, 1.5, 0.8)),
    "3 slices cut off": lambda v: cropped(v, (0, 0, 0), (3, 0, 0)),
    "5 % of slices at both ends": lambda v: slices(v, 0.05, 0.05),
    "10 % of slices at one end": lambda v: slices(v, 0.0, 0.1),
    "15 % of slices at one end": lambda v: slices(v, 0.15, 0.0),
    "25 % of slices at one end": lambda v: slices(v, 0.0, 0.25),
    "half of the slices": lambda v: slices(v, 0.0, 0.5),
    "5 columns at both sides": lambda v: cropped(v, (0, 0, 5), (0, 0, 5)),
    "float32, other scale and offset": _rewritten,
    "HU + 1024": lambda v: revalued(v, lambda a: a.astype(np.float64 if a.dtype.kind == "f" else np.int32) + 1024),
    "clamped to [-1000, 1000]": _clamped(-1000, 1000),
    "clamped to [-160, 240]": _clamped(-160, 240),
    "all of it": _everything,
    "axes exchanged, header not": lambda v: Volume(np.ascontiguousarray(v.array_zyx.transpose(1, 0, 2)), v.affine_ras),
    "spacing lost (1 mm)": lambda v: Volume(v.array_zyx, np.diag([-1.0, -1.0, 1.0, 1.0])),
    "gamma of 0.5": lambda v: revalued(v, lambda a: np.sqrt(a.astype(np.float32) - a.min())),
    "inverted": lambda v: revalued(v, lambda a: -a),
}  # fmt: skip
"""What a re-release may do, by name. The last ones are more than a fingerprint is meant to survive."""
