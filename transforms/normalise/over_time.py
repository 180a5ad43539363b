"""What is done to the voxels of a volume, for an image over time: the same to each time point, with one answer for all.

Every function takes an array (z, y, x) or (t, z, y, x). Time points go through the kernels of volumes one after the other:
the same grid, the same taps, the same clamp and cast, so each comes out as it would alone under the same mapping of its
numbers. Range, statistics and hash are of all of them together. Memory: no more than the array and what one time point takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp.labels import State
from mdfp.sample import Grid, SampleAnnotation
from transforms import scratch
from transforms.normalise import content_hash, layout, orientation
from transforms.normalise import survey as look
from transforms.normalise.survey import Counts, Survey
from transforms.volume import TemporalVolume, Volume

Image = Volume | TemporalVolume
"""What may be normalised: a volume, or several of one place."""


def moments(array: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """The volumes (z, y, x) of an array, one of a volume itself."""
    yield from (array if array.ndim == 4 else array[np.newaxis])


def with_array(image: Image, array: npt.NDArray[Any], **changes: Any) -> Image:
    """The image with other voxels."""
    if isinstance(image, TemporalVolume):
        return replace(image, array_tzyx=array, **changes)
    return replace(image, array_zyx=array, **changes)


def canonicalise(image: Image) -> Image:
    """`orientation.canonicalise`: a view of all time points."""
    if isinstance(image, Volume):
        return orientation.canonicalise(image)
    turned = orientation.canonicalise(image.moment(0))
    array = image.array_tzyx
    # Time keeps its step; the axes of one time point say where those of all went.
    strides = (array.strides[0], *turned.array_zyx.strides)
    start = turned.array_zyx
    view = np.lib.stride_tricks.as_strided(start, (len(array), *start.shape), strides, writeable=False)
    return replace(image, array_tzyx=view, affine_ras=turned.affine_ras)


def settle(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`layout.settle` of a volume; time points are settled one by one where kernels meet them."""
    return layout.settle(array) if array.ndim == 3 else array


def physical(array: npt.NDArray[Any], scale: float, offset: float) -> npt.NDArray[np.float32]:
    """Physical values in single precision."""
    out = np.empty(array.shape, np.float32)
    for volume, target in zip(moments(array), moments(out), strict=True):
        target[...] = volume * np.float64(scale) + offset
    return out


def survey(array: npt.NDArray[Any]) -> Survey:
    """`survey.survey` of all time points together; the box of what is bright holds it at every time."""
    return merged([look.survey(volume) for volume in moments(array)])


def survey_and_hash(array: npt.NDArray[Any], *, scale: float, offset: float) -> tuple[Survey, str]:
    """`content_hash.survey_and_hash`; the hash of an image over time is that of its shape and its time points in order."""
    if array.ndim == 3:
        return content_hash.survey_and_hash(array, scale=scale, offset=offset)
    seen = survey(array)
    return seen, content_hash.content_hash(array, seen, scale=scale, offset=offset)


def merged(surveys: Sequence[Survey]) -> Survey:
    """Several surveys of one shape as one of all their voxels."""
    if len(surveys) == 1:
        return surveys[0]
    finite = [s for s in surveys if s.nonfinite < s.voxels]
    counts = _merged_counts(surveys)
    if counts is not None:
        first, held = counts
        mean = float(np.float32(int((held * np.arange(first, first + len(held))).sum()) / int(held.sum())))
    else:
        total = sum(s.mean * (s.voxels - s.nonfinite) for s in finite)
        mean = float(np.float32(total / sum(s.voxels - s.nonfinite for s in finite))) if finite else 0.0
    z, y, x = (np.maximum.reduce([s.brightest_zyx[axis] for s in surveys]) for axis in range(3))
    return Survey(
        voxels=sum(s.voxels for s in surveys),
        nonfinite=sum(s.nonfinite for s in surveys),
        minimum=min((s.minimum for s in finite), default=0.0),
        maximum=max((s.maximum for s in finite), default=0.0),
        mean=mean,
        integral=all(s.integral for s in surveys),
        brightest_zyx=(z, y, x),
        counts=counts,
    )


def _merged_counts(surveys: Sequence[Survey]) -> Counts | None:
    found = [s.counts for s in surveys]
    if any(c is None for c in found):
        return None
    known = [c for c in found if c is not None]
    low = min(first for first, _ in known)
    held = np.zeros(max(first + len(counts) for first, counts in known) - low, np.int64)
    for first, counts in known:
        held[first - low : first - low + len(counts)] += counts
    return low, held


def each(
    array: npt.NDArray[Any], shape_zyx: tuple[int, ...], make: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> Any:
    """What `make` gives of each volume, in one array."""
    if array.ndim == 3:
        return make(array)
    out: npt.NDArray[Any] | None = None
    for t, volume in enumerate(array):
        made = make(volume)
        if out is None:
            out = scratch.empty((len(array), *shape_zyx), made.dtype)
        out[t] = made
    return out


def grid_over_time(grid: Grid, array: npt.NDArray[Any]) -> Grid:
    """The grid of a volume as that of an array of several of them."""
    return grid if array.ndim == 3 else replace(grid, shape=(len(array), *grid.shape))


def frame_time(image: Image, name: str) -> tuple[SampleAnnotation, ...]:
    """The time between time points as a measurement of the image, where its file says."""
    if not isinstance(image, TemporalVolume) or image.step_ms is None:
        return ()
    value = f"{image.step_ms:g} ms"
    return (SampleAnnotation("measurement", "frame_time", value, State.PRESENT, "image", "unknown", name, (), ()),)


def times_ms(image: Image) -> tuple[float, ...] | None:
    """Time of each time point after the first in ms; None where one step says all, or the file nothing."""
    return (image.times_ms or None) if isinstance(image, TemporalVolume) else None
