"""The hot pass: flip, separable taps, clamp, round and cast, in one go over the input's own memory.

For each output plane the input planes under it are combined row by row (z), rows are combined (y), and the one row that
is left is sampled (x); no intermediate volume exists. Everything is summed in double precision, in an order that is the
same from both ends of an axis: the taps of each axis are added in pairs, outermost first. So a flipped input gives the
same bits, and there is no reassociation, contraction or library function whose result could depend on the CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms import scratch
from transforms.normalise import layout
from transforms.normalise.prefetch import LINE_BYTES, prefetch
from transforms.normalise.taps import Taps

_ROWS_AHEAD = 4
"""Rows of a plane that are asked for before they are needed: a CPU follows no plane by itself beyond the end of a page."""


def resample(
    array_zyx: npt.NDArray[Any],
    taps_zyx: tuple[Taps, Taps, Taps],
    *,
    dtype: npt.DTypeLike,
    lower: float | None = None,
    padding: float | None = None,
    gain: float = 1.0,
    bias: float = 0.0,
    within: tuple[float, float] | None = None,
) -> npt.NDArray[Any]:
    """`cast(clamp(gain * filtered + bias))` on the taps' grid; integers are rounded, halves to even.

    The result differs from exact arithmetic by at most half a stored unit.

    Args:
        array_zyx: input, shape (z, y, x), any strides and real dtype. 64-bit integers are computed as doubles.
        taps_zyx: taps along z, y, x of `array_zyx` as it is indexed (flips in its strides are dealt with here).
        dtype: type of the result.
        lower: input values below it, equal to `padding`, or not finite become it before they are filtered. None: the
            input is taken as it is, and has to be finite.
        padding: a further input value that becomes `lower`.
        gain: output units per input unit.
        bias: output value of input zero.
        within: lowest and highest output value, which those beyond become; the range of the dtype clamps anyway.

    Returns:
        C-contiguous array of shape (len(taps) for z, y, x).

    Raises:
        TypeError: the values are no real numbers.
        ValueError: `padding` without `lower`.
    """
    if padding is not None and lower is None:
        raise ValueError("padding needs lower, the value that replaces it")
    wanted = np.dtype(dtype).newbyteorder("=")
    if all(t.identity for t in taps_zyx):
        return _copy(array_zyx, wanted, lower, within, padding, gain, bias)
    rows = layout.rows(array_zyx)
    z, y, x = (t.flipped(n) if f else t for t, n, f in zip(taps_zyx, rows.shape_zyx, rows.flipped_zyx, strict=True))
    low, high, pad = limits(rows.flat.dtype, lower, padding)
    step_z, step_y = rows.steps_zy
    nx = rows.shape_zyx[2]
    n_rings = y.width + 1
    ring, held = np.empty((n_rings, nx)), np.empty(n_rings, dtype=np.int64)
    # Without a floor every value stands, and no row is copied only to be looked at.
    clean = np.empty((0 if lower is None else 2, nx), dtype=rows.flat.dtype)
    first_x, weights_x = x.first.astype(np.uint32), np.ascontiguousarray(x.weights.T)
    clamp_low, clamp_high = output_range(wanted, within)

    out = scratch.empty((len(z.first), len(y.first), len(x.first)), wanted)
    plane = np.empty(out.shape[1:])
    starts = (z.first.astype(np.int64)[:, None] + np.arange(z.width)) * step_z
    for o in range(out.shape[0]):
        _plane(
            rows.flat, starts[o], z.weights[o], step_y, y.first, y.weights, first_x, weights_x, low, high, pad, clean,
            ring, held, plane,
        )  # fmt: skip
        if wanted.kind == "f":
            _store_float(plane, gain, bias, clamp_low, clamp_high, out[o])
        else:
            _store_integer(plane, gain, bias, clamp_low, clamp_high, out[o])
    return out


def limits(dtype: np.dtype[Any], lower: float | None, padding: float | None) -> tuple[Any, Any, Any]:
    """Lowest and highest value kept, and the one that is not, as scalars of the input's type."""
    if dtype.kind == "f":
        extreme = np.finfo(dtype).max
        low = dtype.type(-np.inf if lower is None else lower)
        return low, extreme, low if padding is None else dtype.type(padding)
    info = np.iinfo(dtype)
    low = dtype.type(info.min if lower is None else min(max(int(np.ceil(lower)), info.min), info.max))
    representable = padding is not None and float(padding).is_integer() and info.min <= padding <= info.max
    return low, dtype.type(info.max), dtype.type(padding) if representable else low


def output_range(dtype: np.dtype[Any], within: tuple[float, float] | None) -> tuple[float, float]:
    """Smallest and largest value of the result, as doubles; 64-bit integers end where doubles stop being exact."""
    info: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    exact = float("inf") if dtype.kind == "f" else 2.0**53
    low, high = max(float(info.min), -exact), min(float(info.max), exact)
    return (low, high) if within is None else (max(within[0], low), min(within[1], high))


def _copy(
    array_zyx: npt.NDArray[Any],
    dtype: np.dtype[Any],
    lower: float | None,
    within: tuple[float, float] | None,
    padding: float | None,
    gain: float,
    bias: float,
) -> npt.NDArray[Any]:
    """What `resample` does when every output is the input of the same index."""
    unmapped = gain == 1 and bias == 0
    if lower is None and within is None and unmapped and array_zyx.dtype.newbyteorder("=") == dtype:
        return np.array(array_zyx, dtype=dtype, order="C")
    out = np.empty(array_zyx.shape, dtype=dtype)
    clamp_low, clamp_high = output_range(dtype, within)
    worked = layout.kernel_type(array_zyx.dtype)
    low, high, pad = limits(worked, lower, padding)
    for plane, target in zip(array_zyx, out, strict=True):
        values = plane.astype(worked)
        if lower is not None:
            np.copyto(values, low, where=~((values > low) & (values <= high) & (values != pad)))
        if unmapped and worked.kind != "f" and dtype.kind != "f":
            info = np.iinfo(worked)
            np.clip(values, max(int(clamp_low), info.min), min(int(np.floor(clamp_high)), info.max), out=values)
            np.copyto(target, values, casting="unsafe")
            continue
        mapped = np.clip(values.astype(np.float64) * gain + bias, clamp_low, clamp_high)
        np.copyto(target, mapped if dtype.kind == "f" else np.rint(mapped), casting="unsafe")
    return out


@njit(cache=True, nogil=True)
def _plane(  # type: ignore[no-untyped-def]
    flat, starts, weights_z, step_y, first_y, weights_y, first_x, weights_x, low, high, pad, clean, ring, held, out
):  # fmt: skip
    """One output plane (y, x), in double precision and input units.

    Args:
        flat: input, see `layout.Rows`.
        starts: (width_z,) where the input planes under this output plane start in `flat`.
        weights_z: (width_z,).
        step_y: distance between input rows.
        first_y: (n_y,).
        weights_y: (n_y, width_y).
        first_x: (n_x,) uint32.
        weights_x: (width_x, n_x).
        low: what values outside `low` to `high` and the value `pad` become.
        high: see low.
        pad: see low.
        clean: (2, input voxels along x) room for two rows in which values were replaced; (0, …): none are.
        ring: (at least width_y, input voxels along x) rows already combined along z.
        held: which input row each row of `ring` holds.
        out: (n_y, n_x).
    """
    n_ring, n = ring.shape
    width = weights_y.shape[1]
    row = np.empty(n)
    held[:] = -1
    line = LINE_BYTES // flat.itemsize
    ahead = _ROWS_AHEAD if first_y[-1] >= first_y[0] else -_ROWS_AHEAD
    for o in range(first_y.shape[0]):
        for k in range(width):
            y = first_y[o] + k
            slot = y % n_ring
            if held[slot] != y:
                for s in starts:
                    for x in range(0, n, line):
                        prefetch(flat, s + (y + ahead) * step_y + x)
                if clean.shape[0] == 0:
                    _combine_planes(flat, starts, y * step_y, weights_z, ring[slot])
                else:
                    _combine_clean_planes(flat, starts, y * step_y, weights_z, low, high, pad, clean, ring[slot])
                held[slot] = y
        _combine_rows(ring, first_y[o], weights_y[o], row)
        _sample_row(row, first_x, weights_x, out[o])


@njit(cache=True, nogil=True)
def _combine_planes(flat, starts, start_y, weights, out):  # type: ignore[no-untyped-def]
    """`out[x] = sum of weights[k] * plane k at (y, x)`."""
    n = out.shape[0]
    width = weights.shape[0]
    for p in range((width + 1) // 2):
        q = width - 1 - p
        a = flat[starts[p] + start_y : starts[p] + start_y + n]
        b = flat[starts[q] + start_y : starts[q] + start_y + n]
        _add_rows(a, b, weights[p], weights[q] if q != p else 0.0, p == 0, out)


@njit(cache=True, nogil=True)
def _combine_clean_planes(flat, starts, start_y, weights, low, high, pad, clean, out):  # type: ignore[no-untyped-def]
    """The same after what is outside its limits became `low`."""
    n = out.shape[0]
    width = weights.shape[0]
    for p in range((width + 1) // 2):
        q = width - 1 - p
        _replace(flat[starts[p] + start_y : starts[p] + start_y + n], low, high, pad, clean[0])
        _replace(flat[starts[q] + start_y : starts[q] + start_y + n], low, high, pad, clean[1])
        _add_rows(clean[0], clean[1], weights[p], weights[q] if q != p else 0.0, p == 0, out)


@njit(cache=True, nogil=True)
def _add_rows(a, b, wa, wb, first, out):  # type: ignore[no-untyped-def]
    """Two rows, weighed, into `out`; added to what is there unless they are the `first`."""
    n = out.shape[0]
    if first:
        for x in range(n):
            out[x] = wa * a[x] + wb * b[x]
    else:
        for x in range(n):
            out[x] += wa * a[x] + wb * b[x]


@njit(cache=True, nogil=True)
def _replace(row, low, high, pad, out):  # type: ignore[no-untyped-def]
    for x in range(out.shape[0]):
        out[x] = row[x] if row[x] > low and row[x] <= high and row[x] != pad else low


@njit(cache=True, nogil=True)
def _combine_rows(ring, first, weights, out):  # type: ignore[no-untyped-def]
    """`out[x] = sum of weights[k] * row first + k`, the rows taken from the ring."""
    n_ring, n = ring.shape
    width = weights.shape[0]
    for p in range(width // 2):
        q = width - 1 - p
        a, b = ring[(first + p) % n_ring], ring[(first + q) % n_ring]
        wa, wb = weights[p], weights[q]
        if p == 0:
            for x in range(n):
                out[x] = wa * a[x] + wb * b[x]
        else:
            for x in range(n):
                out[x] += wa * a[x] + wb * b[x]
    if width % 2:
        m = width // 2
        c = ring[(first + m) % n_ring]
        wc = weights[m]
        if m == 0:
            for x in range(n):
                out[x] = wc * c[x]
        else:
            for x in range(n):
                out[x] += wc * c[x]


@njit(cache=True, nogil=True)
def _sample_row(row, first, weights, out):  # type: ignore[no-untyped-def]
    """`out[o] = sum of weights[k, o] * row[first[o] + k]`."""
    n = out.shape[0]
    width = weights.shape[0]
    for p in range(width // 2):
        q = width - 1 - p
        a, b = row[p:], row[q:]
        wa, wb = weights[p], weights[q]
        if p == 0:
            for o in range(n):
                out[o] = wa[o] * a[first[o]] + wb[o] * b[first[o]]
        else:
            for o in range(n):
                out[o] += wa[o] * a[first[o]] + wb[o] * b[first[o]]
    if width % 2:
        m = width // 2
        c = row[m:]
        wc = weights[m]
        if m == 0:
            for o in range(n):
                out[o] = wc[o] * c[first[o]]
        else:
            for o in range(n):
                out[o] += wc[o] * c[first[o]]


@njit(cache=True, nogil=True)
def _store_integer(plane, gain, bias, low, high, out):  # type: ignore[no-untyped-def]
    """`out = round(clamp(gain * plane + bias))`, halves to even."""
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            out[y, x] = np.rint(min(max(plane[y, x] * gain + bias, low), high))


@njit(cache=True, nogil=True)
def _store_float(plane, gain, bias, low, high, out):  # type: ignore[no-untyped-def]
    """`out = clamp(gain * plane + bias)`."""
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            out[y, x] = min(max(plane[y, x] * gain + bias, low), high)
