"""A picture or a film, from as published to as stored.

Pictures stay as they are: the original JPEG stream without its metadata, or their pixels as PNG of 8 or 16 bits. With
`geometry: {longest_side: N}` larger ones are made smaller by an area filter, aspect kept; smaller ones are never enlarged.
Annotations move along. A film is one blosc2 array of its frames, axes `tyx` or `tyxc`: a loader takes single frames, or
parts of some, without decoding the rest.

Bytes are a function of the pixels: PNG is written at one zlib level with one strategy, without a time, a text or a gamma.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from numba import njit

from mdfp.codecs import VolumeCodec
from mdfp.labels import State
from mdfp.sample import Grid, Normalisation, SampleAnnotation, SampleImage
from schemas.case import CaseAnnotation, CaseImage
from schemas.recipe import ModalityIntensity, Recipe
from transforms.flat import Flat
from transforms.normalise import intensity
from transforms.normalise.content_hash import survey_and_hash
from transforms.normalise.statistics import measure

PNG_LEVEL = 6
"""zlib level of PNG members: zlib's own default. Level 9 takes three times as long for two percent."""

RANGE = "range"
"""Kind of the default normalisation of what has no unit: from zero to the largest number its bits can hold."""


@dataclass(frozen=True, eq=False)
class NormalisedFlat:
    """A picture or film as stored.

    Attributes:
        array: its pixels, axes as in the record.
        record: what the index says of it.
        data: the member's bytes.
        extension: of the member: png, jpg or b2nd.
        annotations: what the film itself says, as annotations: `frame_time`.
        done: what was done, step by step.
        warnings: what a user may want to look at.
    """

    array: npt.NDArray[Any]
    record: SampleImage
    data: bytes
    extension: str
    annotations: tuple[SampleAnnotation, ...]
    done: tuple[str, ...]
    warnings: tuple[str, ...]


def normalise_flat(flat: Flat, case_image: CaseImage, recipe: Recipe) -> NormalisedFlat:
    """Make a picture smaller where asked, encode and describe it.

    Memory: the picture as read, as stored, and its encoded bytes.

    Args:
        flat: as read.
        case_image: what the inventory knows of it.
        recipe: `geometry.longest_side` and `intensity` are used.
    """
    done = list(flat.done)
    warnings = []
    native_yx, array = _rows_columns(flat.array, flat.axes), flat.array
    stored_yx = smaller(native_yx, recipe.geometry.longest_side)
    if stored_yx != native_yx:
        array = shrink(array, flat.axes, stored_yx)
        done.append(
            f"made smaller from {native_yx[1]}×{native_yx[0]} to {stored_yx[1]}×{stored_yx[0]} pixels (area filter)"
        )
    if flat.axes in ("yxc", "tyxc") and array.shape[-1] in (2, 4):
        warnings.append("some pixels are transparent: alpha is the last channel")

    seen, digest = survey_and_hash(as_zyx(flat.array), scale=flat.scale, offset=flat.offset)
    native = measure(as_zyx(flat.array), None, scale=flat.scale, offset=flat.offset, seen=seen)
    asked = recipe.intensity.modalities.get(case_image.modality)
    percents = asked.percentiles if asked is not None and asked.percentiles else intensity.DEFAULT_PERCENTILES
    stored = measure(as_zyx(array), None, scale=flat.scale, offset=flat.offset, percents=percents)
    data, extension = _encoded(array, flat, untouched=array is flat.array)
    if extension == "jpg":
        done.append("the original JPEG stream, without its metadata")
    record = SampleImage(
        name=case_image.header.name,
        modality=case_image.modality,
        axes=flat.axes,
        dtype=array.dtype.name,
        unit=None,
        scale=flat.scale,
        offset=flat.offset,
        native=Grid(flat.array.shape, flat.spacing_xy_mm, None, None),
        stored=Grid(array.shape, _spacing(flat, native_yx, stored_yx), None, None),
        native_dtype=case_image.header.dtype,
        obliquity_deg=None,
        acquisition=case_image.acquisition,
        acquisition_axis=None,
        native_intensity=native.stats,
        stored_intensity=stored.stats,
        normalisation=_normalisation(flat, asked, stored.percentiles),
        padding_voxels=0,
        nonfinite_voxels=0,
        body_box=None,
        content_hash=digest,
    )
    return NormalisedFlat(array, record, data, extension, _told(flat, record.name), tuple(done), tuple(warnings))


def smaller(rows_columns: tuple[int, int], longest: int | None) -> tuple[int, int]:
    """Rows and columns with the longest side at most `longest`, the other in proportion and at least 1."""
    rows, columns = rows_columns
    side = max(rows, columns)
    if longest is None or side <= longest:
        return rows_columns
    # Halves up, in whole numbers: no rounding of floats decides a shape.
    return tuple(max(1, (2 * n * longest + side) // (2 * side)) for n in (rows, columns))  # type: ignore[return-value]


def shrink(array: npt.NDArray[Any], axes: str, rows_columns: tuple[int, int]) -> npt.NDArray[Any]:
    """The array with fewer rows and columns: each new pixel is the mean of the area it covers, rounded half up.

    The sums are whole numbers, so the result is the same on every machine.

    Args:
        array: unsigned integers of at most 16 bits, axes as named.
        axes: of `transforms.flat.FLAT_AXES`.
        rows_columns: the new ones; none larger than before.
    """
    frames = array if "t" in axes else array[np.newaxis]
    frames = frames if "c" in axes else frames[..., np.newaxis]
    rows, columns = rows_columns
    out = np.empty((frames.shape[0], rows, columns, frames.shape[3]), array.dtype)
    for frame, target in zip(frames, out, strict=True):
        _area(np.ascontiguousarray(frame), target)
    out = out if "c" in axes else out[..., 0]
    return np.ascontiguousarray(out if "t" in axes else out[0])


@njit(cache=True, nogil=True)
def _area(frame, out):  # type: ignore[no-untyped-def]
    """Means over areas whose edges lie on a grid of 1 / out.shape of a pixel: all weights are whole numbers."""
    ny, nx, channels = frame.shape
    my, mx, _ = out.shape
    total = np.uint64(ny) * np.uint64(nx)
    for v in range(my):
        top, bottom = v * ny, (v + 1) * ny  # in units of 1 / my of a row
        for u in range(mx):
            left, right = u * nx, (u + 1) * nx
            for c in range(channels):
                sum_ = np.uint64(0)
                for y in range(top // my, (bottom + my - 1) // my):
                    high = min(bottom, (y + 1) * my) - max(top, y * my)
                    for x in range(left // mx, (right + mx - 1) // mx):
                        wide = min(right, (x + 1) * mx) - max(left, x * mx)
                        sum_ += np.uint64(frame[y, x, c]) * np.uint64(high * wide)
                out[v, u, c] = (sum_ + total // np.uint64(2)) // total


def move_on_flat(annotation: CaseAnnotation, image: NormalisedFlat) -> SampleAnnotation:
    """An annotation of a picture in the coordinates of the stored one.

    Coordinates are indices of pixel centres, x and y from the first pixel's centre, so the picture's edge is at -0.5. In a
    film z is the number of the frame; in a picture it is 0. World positions are none, since there is no world.
    """
    native, stored = (_rows_columns_of(g.shape, image.record.axes) for g in (image.record.native, image.record.stored))
    points = np.array(annotation.index_xyz, dtype=np.float64).reshape(-1, 3)
    for axis, (n, m) in enumerate(zip(native[::-1], stored[::-1], strict=True)):
        if n != m:
            points[:, axis] = (points[:, axis] + 0.5) * m / n - 0.5
    return SampleAnnotation(
        kind=annotation.kind,
        name=annotation.name,
        value=annotation.value,
        state=State(annotation.state),
        level=annotation.level,
        origin=annotation.origin,
        image=annotation.image,
        index_xyz=tuple(float(v) for v in points.ravel()),
        world_ras_mm=(),
    )


def _told(flat: Flat, name: str) -> tuple[SampleAnnotation, ...]:
    if flat.frame_time_ms is None or "t" not in flat.axes:
        return ()
    value = f"{flat.frame_time_ms:g} ms"
    return (SampleAnnotation("measurement", "frame_time", value, State.PRESENT, "image", "unknown", name, (), ()),)


def _encoded(array: npt.NDArray[Any], flat: Flat, *, untouched: bool) -> tuple[bytes, str]:
    if "t" in flat.axes:
        return VolumeCodec().encode(array), VolumeCodec.extension
    if flat.jpeg is not None and untouched:
        return flat.jpeg, "jpg"
    return png_bytes(array), "png"


def png_bytes(array: npt.NDArray[Any]) -> bytes:
    """PNG file of a picture (y, x) or (y, x, c) of 8 or 16 bits: a function of the pixels."""
    return bytes(imagecodecs.png_encode(array, level=PNG_LEVEL))


def _normalisation(flat: Flat, asked: ModalityIntensity | None, percentiles: dict[float, float]) -> Normalisation:
    """The recipe's percentiles, else the file's own window, else the range of its numbers.

    Grey of 16 bits rarely uses them all, and the file does not say how many: it gets percentiles of its own.
    """
    if asked is not None and asked.percentiles is not None:
        return intensity.default_normalisation("", asked, percentiles)
    if flat.window is not None and "c" not in flat.axes:
        return Normalisation("voi", *flat.window)
    if flat.top == np.iinfo(np.uint16).max and "c" not in flat.axes:
        return intensity.default_normalisation("", None, percentiles)
    return Normalisation(RANGE, flat.offset, flat.top * flat.scale + flat.offset)


def _rows_columns(array: npt.NDArray[Any], axes: str) -> tuple[int, int]:
    return _rows_columns_of(array.shape, axes)


def _rows_columns_of(shape: tuple[int, ...], axes: str) -> tuple[int, int]:
    return shape[axes.index("y")], shape[axes.index("x")]


def as_zyx(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array with three axes, for functions that see voxels only: their order in memory does not change."""
    return (
        array.reshape((1,) * (3 - array.ndim) + array.shape) if array.ndim < 4 else array.reshape(-1, *array.shape[-2:])
    )


def _spacing(flat: Flat, native: tuple[int, int], stored: tuple[int, int]) -> tuple[float, float] | None:
    if flat.spacing_xy_mm is None:
        return None
    x, y = flat.spacing_xy_mm
    return x * native[1] / stored[1], y * native[0] / stored[0]
