"""A name for the voxels of a label, whatever file they came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from transforms.labels.nearest import remap

_PLANES = 8
"""Planes that are remapped at a time: enough to hide the calls, few enough to stay small."""


def label_hash(codes_zyx: npt.NDArray[Any], lut: npt.NDArray[Any]) -> str:
    """xxh3-128 (hex) of the native label after remapping, in canonical order.

    The same bytes are hashed as `transforms.normalise.content_hash.content_hash` hashes of the remapped array: type,
    shape, planes; as int16, or as int32 where a value does not fit. So it does not depend on the mask's number type.

    Args:
        codes_zyx: label on its image's canonical grid, uint8 or uint16, any strides.
        lut: (256,) or (65536,) stored value of each code; 0 for codes that do not occur.
    """
    dtype = np.dtype("<i2") if int(lut.max()) <= np.iinfo("<i2").max else np.dtype("<i4")
    values = lut.astype(dtype)
    digest = xxhash.xxh3_128()
    digest.update(dtype.str.encode())
    digest.update(np.array(codes_zyx.shape, dtype="<i8").tobytes())
    for z in range(0, codes_zyx.shape[0], _PLANES):
        digest.update(remap(codes_zyx[z : z + _PLANES], values).data)
    return digest.hexdigest()
