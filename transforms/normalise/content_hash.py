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
from transforms.normalise.survey import Survey


def content_hash(array_zyx: npt.NDArray[Any], seen: Survey, *, scale: float = 1.0, offset: float = 0.0) -> str:
    """xxh3-128 (hex) of shape and physical values.

    Values that are all integers are hashed as int16 when they fit, else as int32 when they fit. All others are hashed
    in single precision; what is not finite is hashed as NaN, and both zeros are one.

    Args:
        array_zyx: a canonical volume (axes closest to R, A, S), any strides and real dtype.
        seen: its survey.
        scale: physical = stored * scale + offset.
        offset: see scale.
    """
    dtype = _hashed_type(seen, scale, offset)
    settled = layout.settle(array_zyx)
    shifted = dtype.kind == "i" and settled.dtype.kind != "f" and scale == 1
    plane = np.empty(settled.shape[1:], dtype=dtype)
    digest = xxhash.xxh3_128()
    digest.update(dtype.str.encode())
    digest.update(np.array(settled.shape, dtype="<i8").tobytes())
    for values in settled:
        if shifted and offset == 0:
            np.copyto(plane, values, casting="unsafe")
        elif shifted:
            np.add(values, int(offset), out=plane, dtype="i8", casting="unsafe")
        else:
            _fill(values, float(scale), float(offset), plane)
        digest.update(plane.data)
    return digest.hexdigest()


def _hashed_type(seen: Survey, scale: float, offset: float) -> np.dtype[Any]:
    if seen.integral and not seen.nonfinite and float(scale).is_integer() and float(offset).is_integer():
        ends = (seen.minimum * scale + offset, seen.maximum * scale + offset)
        for dtype in (np.dtype("<i2"), np.dtype("<i4")):
            info = np.iinfo(dtype)
            if info.min <= min(ends) and max(ends) <= info.max:
                return dtype
    return np.dtype("<f4")


@njit(cache=True, nogil=True)
def _fill(values, scale, offset, plane):  # type: ignore[no-untyped-def]
    """One plane of physical values, cast to the plane's type."""
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            physical = np.float64(values[y, x]) * scale + offset + 0.0  # the sum turns -0.0 into 0.0
            plane[y, x] = physical if physical - physical == 0 else np.nan
