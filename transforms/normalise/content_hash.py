"""A name for the pixels themselves, whatever file they came in.

Two volumes have the same content hash when their physical values are the same in canonical orientation: headers,
spacing, compression, storage type and file orientation do not matter. A CT kept as int16, as float32, or as uint16 with
an offset is one CT.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash
from numba import njit

from transforms.normalise import layout
from transforms.normalise.survey import Survey, narrow, survey, survey_narrow


def survey_and_hash(array_zyx: npt.NDArray[Any], *, scale: float = 1.0, offset: float = 0.0) -> tuple[Survey, str]:
    """`survey` and `content_hash`: of integers of 8 or 16 bits in one pass over memory. Arguments as `content_hash`."""
    hoped = np.dtype("<i2")
    if narrow(array_zyx.dtype) and scale == 1 and float(offset).is_integer() and abs(offset) < 1 << 32:
        digest = new_digest(hoped, array_zyx.shape)
        seen = survey_narrow(array_zyx, digest.update, int(offset))
        if _hashed_type(seen, scale, offset) == hoped:
            return seen, digest.hexdigest()
    else:
        seen = survey(array_zyx)
    return seen, content_hash(array_zyx, seen, scale=scale, offset=offset)


def content_hash(array_zyx: npt.NDArray[Any], seen: Survey, *, scale: float = 1.0, offset: float = 0.0) -> str:
    """xxh3-128 (hex) of shape and physical values.

    Values that are all integers are hashed as int16 when they fit, else as int32 when they fit. All others are hashed
    in single precision; what is not finite is hashed as NaN, and both zeros are one.

    Args:
        array_zyx: a canonical volume (axes closest to R, A, S), any strides and real dtype; or several, (t, z, y, x).
        seen: its survey.
        scale: physical = stored * scale + offset.
        offset: see scale.
    """
    dtype = _hashed_type(seen, scale, offset)
    digest = new_digest(dtype, array_zyx.shape)
    for volume in array_zyx if array_zyx.ndim == 4 else (array_zyx,):
        _add(digest, volume, dtype, scale, offset)
    return digest.hexdigest()


def _add(
    digest: xxhash.xxh3_128, array_zyx: npt.NDArray[Any], dtype: np.dtype[Any], scale: float, offset: float
) -> None:
    rows = layout.rows(array_zyx)
    nz, ny, nx = rows.shape_zyx
    step_z, step_y = rows.steps_zy
    flip_z, flip_y, flip_x = rows.flipped_zyx
    plane = np.empty((ny, nx), dtype=dtype)
    for z in range(nz - 1, -1, -1) if flip_z else range(nz):
        _fill(rows.flat, z * step_z, step_y, flip_y, flip_x, float(scale), float(offset), plane)
        digest.update(plane.data)


def new_digest(dtype: np.dtype[Any], shape_zyx: tuple[int, ...]) -> xxhash.xxh3_128:
    """A hash that knows the type and the shape of what follows."""
    digest = xxhash.xxh3_128()
    digest.update(dtype.str.encode())
    digest.update(np.array(shape_zyx, dtype="<i8").tobytes())
    return digest


def _hashed_type(seen: Survey, scale: float, offset: float) -> np.dtype[Any]:
    if seen.integral and not seen.nonfinite and float(scale).is_integer() and float(offset).is_integer():
        ends = (seen.minimum * scale + offset, seen.maximum * scale + offset)
        for dtype in (np.dtype("<i2"), np.dtype("<i4")):
            info = np.iinfo(dtype)
            if info.min <= min(ends) and max(ends) <= info.max:
                return dtype
    return np.dtype("<f4")


@njit(cache=True, nogil=True)
def _fill(flat, start, step_y, flip_y, flip_x, scale, offset, plane):  # type: ignore[no-untyped-def]
    """One canonical plane of physical values, cast to the plane's type; memory is read forwards."""
    ny, nx = plane.shape
    last = np.uint64(nx - 1)  # an unsigned index is not checked for wrapping around, and the loop becomes vector code
    for y in range(ny):
        first = start + y * step_y
        row, target = flat[first : first + nx], plane[ny - 1 - y if flip_y else y]
        for x in range(nx):
            physical = np.float64(row[x]) * scale + offset + 0.0  # the sum turns -0.0 into 0.0
            to = last - np.uint64(x) if flip_x else np.uint64(x)
            target[to] = physical if physical - physical == 0 else np.nan
