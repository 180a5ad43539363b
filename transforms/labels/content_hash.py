"""A name for the voxels of a label, whatever file they came in."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from transforms.labels.memory import one_value
from transforms.normalise import layout
from transforms.normalise.content_hash import new_digest


def label_hash(codes_zyx: npt.NDArray[Any], lut: npt.NDArray[Any]) -> str:
    """xxh3-128 (hex) of the native label after remapping, in canonical order.

    Type, shape and planes are hashed as `transforms.normalise.content_hash` hashes those of an image: as uint8, or as
    uint16 where a value does not fit. So it does not depend on the mask's number type.

    Args:
        codes_zyx: label on its image's canonical grid, uint8 or uint16, any strides.
        lut: (256,) or (65536,) stored value of each code; 0 for codes that do not occur.
    """
    dtype = np.dtype("|u1") if int(lut.max()) <= np.iinfo("u1").max else np.dtype("<u2")
    values = lut.astype(dtype)
    rows = layout.rows(codes_zyx)
    nz, ny, nx = rows.shape_zyx
    step_z, step_y = rows.steps_zy
    flip_z, flip_y, flip_x = rows.flipped_zyx
    plane = np.empty((ny, nx), dtype=dtype)
    filled = np.full(ny, -1, dtype=np.int64)
    digest = new_digest(dtype, rows.shape_zyx)
    for z in range(nz - 1, -1, -1) if flip_z else range(nz):
        _fill(rows.flat, z * step_z, step_y, values, flip_y, flip_x, filled, plane)
        digest.update(plane.data)
    return digest.hexdigest()


@numba.njit(cache=True, nogil=True)
def _fill(flat, start, step_y, lut, flip_y, flip_x, filled, plane):  # type: ignore[no-untyped-def]
    """One canonical plane of remapped codes.

    Args:
        flat: see `layout.Rows`.
        start: where the plane starts in it.
        step_y: distance between rows.
        lut: value of each code.
        flip_y: whether the plane's rows are in the opposite order in memory.
        flip_x: whether each row runs backwards in memory.
        filled: (ny,) the value that all of a row of `plane` has from the plane before, or -1.
        plane: (ny, nx).
    """
    ny, nx = plane.shape
    last = np.uint64(nx - 1)
    for y in range(ny):
        first = start + y * step_y
        row = flat[first : first + nx]
        to = ny - 1 - y if flip_y else y
        target = plane[to]
        if one_value(row):
            value = lut[row[0]]
            if filled[to] != value:
                target[:] = value
                filled[to] = value
            continue
        filled[to] = -1
        if flip_x:
            for x in range(nx):
                target[last - np.uint64(x)] = lut[row[x]]
        else:
            for x in range(nx):
                target[x] = lut[row[x]]
