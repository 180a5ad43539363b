"""How a strided volume lies in memory: contiguous rows for kernels that must not stumble over strides.

A canonical volume is usually a view with reversed or exchanged axes. Kernels that follow such strides are several times
slower than ones that run over memory in its own order, so reversals are folded into the tables that say which row to
read, and only when x itself is not contiguous is the volume copied, once, in blocks that fit the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

_KERNEL_TYPES = {
    "b1": "u1",
    "i1": "i2",
    "u4": "f8",
    "i8": "f8",
    "u8": "f8",
    "f2": "f4",
}
"""Types without kernels of their own, and the type they are computed in (64-bit integers are exact below 2**53)."""

_OWN_TYPES = ("u1", "i2", "u2", "i4", "f4", "f8")

_TILE = 64
"""Edge of the blocks in which axes are exchanged: two tiles of 8-byte voxels fit in a 96 KB cache."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A volume as rows of contiguous memory.

    The voxel (z, y, x) is at `flat[z' * step_z + y' * step_y + x']`, where a primed index counts from the other end
    of its axis if that axis is `flipped`.

    Attributes:
        flat: all voxels, one-dimensional, contiguous, read-only, of one of the six types that kernels know.
        shape_zyx: voxels along z, y, x.
        steps_zy: distance in `flat` between neighbours along z and y.
        flipped_zyx: axes that run backwards in memory.
    """

    flat: npt.NDArray[Any]
    shape_zyx: tuple[int, int, int]
    steps_zy: tuple[int, int]
    flipped_zyx: tuple[bool, bool, bool]


def kernel_type(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The type that kernels compute an array of `dtype` in, native byte order.

    Raises:
        TypeError: the values are no real numbers.
    """
    code = np.dtype(dtype).newbyteorder("=").str[1:]
    if code in _OWN_TYPES:
        return np.dtype(code)
    if code in _KERNEL_TYPES:
        return np.dtype(_KERNEL_TYPES[code])
    if np.dtype(dtype).kind == "f":
        return np.dtype("f8")
    raise TypeError(f"expected voxels that are integers or floats, found {np.dtype(dtype)}")


def rows(array_zyx: npt.NDArray[Any]) -> Rows:
    """The volume as contiguous rows: a view when x is contiguous in memory, forwards or backwards, else one copy.

    Args:
        array_zyx: any strides, any real dtype, any byte order.

    Raises:
        TypeError: the values are no real numbers.
    """
    flipped = tuple(stride < 0 and n > 1 for stride, n in zip(array_zyx.strides, array_zyx.shape, strict=True))
    forward = array_zyx[tuple(slice(None, None, -1) if f else slice(None) for f in flipped)]
    wanted = kernel_type(forward.dtype)
    if forward.dtype != wanted or not forward.flags.aligned:
        forward = forward.astype(wanted, order="K")
    memory_axes = sorted(range(3), key=lambda axis: (-forward.strides[axis], axis))
    in_memory_order = forward.transpose(memory_axes)
    if not in_memory_order.flags.c_contiguous:
        in_memory_order = np.ascontiguousarray(in_memory_order)
    nz, ny, nx = forward.shape
    steps = dict(zip(memory_axes, _c_steps(in_memory_order.shape), strict=True))
    flat = in_memory_order.reshape(-1)
    if steps[2] != 1 and nx > 1:
        flat = _x_last(flat, forward.shape, steps)
        steps = {0: ny * nx, 1: nx, 2: 1}
    flat = flat.view()
    flat.flags.writeable = False  # one compiled kernel a type, whether or not the file's buffer may be written to
    fz, fy, fx = flipped
    return Rows(flat, (nz, ny, nx), (steps[0], steps[1]), (fz, fy, fx))


def settle(array_zyx: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same volume in a form whose `rows` cost nothing: a view where possible, else one copy; read-only.

    The type is the one kernels compute in, and the shape stays (z, y, x).

    Raises:
        TypeError: the values are no real numbers.
    """
    r = rows(array_zyx)
    step_z, step_y = r.steps_zy
    size = r.flat.dtype.itemsize
    view = np.ndarray(r.shape_zyx, r.flat.dtype, r.flat, strides=(step_z * size, step_y * size, size))
    view.flags.writeable = False
    return view[tuple(slice(None, None, -1) if f else slice(None) for f in r.flipped_zyx)]


def _c_steps(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return shape[1] * shape[2], shape[2], 1


def _x_last(flat: npt.NDArray[Any], shape_zyx: tuple[int, ...], steps: dict[int, int]) -> npt.NDArray[Any]:
    """A C-ordered copy (z, y, x) of a volume whose fastest axis in memory is z or y."""
    nz, ny, nx = shape_zyx
    bits = np.dtype(f"u{flat.dtype.itemsize}")  # only bytes move: one kernel a size, not a type
    copy = np.empty(nz * ny * nx, dtype=bits)
    source = flat.view(bits).view()
    source.flags.writeable = False
    if steps[1] == 1:
        _exchange(source, copy, nz, ny, nx, steps[0], steps[2], ny * nx, nx)
    else:
        _exchange(source, copy, ny, nz, nx, steps[1], steps[2], nx, ny * nx)
    return copy.view(flat.dtype)


@njit(cache=True, nogil=True)
def _exchange(source, copy, n_outer, n_fast, n_x, step_outer, step_x, to_outer, to_fast):  # type: ignore[no-untyped-def]
    """copy[o * to_outer + f * to_fast + x] = source[o * step_outer + f + x * step_x], in square blocks of (f, x)."""
    for o in range(n_outer):
        for f0 in range(0, n_fast, _TILE):
            f1 = min(f0 + _TILE, n_fast)
            for x0 in range(0, n_x, _TILE):
                x1 = min(x0 + _TILE, n_x)
                for f in range(f0, f1):
                    to = np.uint64(o * to_outer + f * to_fast)
                    start = np.uint64(o * step_outer + f)
                    for x in range(x0, x1):
                        copy[to + np.uint64(x)] = source[start + np.uint64(x) * np.uint64(step_x)]
