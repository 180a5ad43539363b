"""Coverage and vote: the structure that holds most of an output voxel, where any of them hold half of it.

The kernel counts in integers (`Taps.integer`), so a result depends neither on the order of additions nor on the CPU,
and turning or flipping the input turns or flips the output, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from transforms import scratch
from transforms.labels.memory import Layout, contiguous
from transforms.normalise.taps import Taps


def vote(codes_zyx: npt.NDArray[Any], lut: npt.NDArray[Any], taps_zyx: tuple[Taps, Taps, Taps]) -> npt.NDArray[Any]:
    """Resample a label by coverage, remapping on the way.

    The coverage of a structure is the sum of the taps' weights over its voxels. An output voxel is foreground where
    the coverages of all structures add up to at least one half of all weights; then it takes the structure that covers
    most, ties by the lowest value. Ignored voxels take part like a structure: where they cover most, the output voxel
    is ignored, never silently background.

    Memory: the output, and one plane of the input.

    Args:
        codes_zyx: canonical label, uint8 or uint16, any strides.
        lut: (256,) or (65536,) uint8 or uint16: stored value of each code; 0 is background.
        taps_zyx: taps along z, y, x of the input.

    Returns:
        (z, y, x) array of `lut`'s dtype, C order.
    """
    out = scratch.empty(tuple(len(t.first) for t in taps_zyx), lut.dtype)
    layout = Layout.of(codes_zyx)
    taps = [t.flipped(n) if r else t for t, n, r in zip(taps_zyx, codes_zyx.shape, layout.reverse, strict=True)]
    first0, first1, first2 = (contiguous(taps[axis].first.astype(np.int64)) for axis in layout.order)
    weights0, weights1, weights2 = (contiguous(taps[axis].integer) for axis in layout.order)
    # Reversed axes were folded into the taps: the output is written forwards, in the order of the input's memory.
    codes = contiguous(layout.to_memory(codes_zyx))
    into = out.transpose(layout.order)
    _vote(codes, contiguous(lut), first0, weights0, first1, weights1, first2, weights2, into)
    return out


@numba.njit(cache=True, nogil=True)
def _vote(codes, lut, first0, weights0, first1, weights1, first2, weights2, out):  # type: ignore[no-untyped-def]
    _, n1, n2 = codes.shape
    m0, m1, m2 = out.shape
    k0, k1, k2 = weights0.shape[1], weights1.shape[1], weights2.shape[1]
    differs = np.zeros((n1, n2), dtype=codes.dtype)  # not 0 where the planes of axis 0 disagree
    mixed = np.zeros(n2, dtype=codes.dtype)  # not 0 where the footprint over axes 0 and 1 holds several codes
    end = np.empty(n2 + 1, dtype=np.int64)  # how far the code at x goes on; x itself where it is mixed
    coverage = np.zeros(int(lut.max()) + 1, dtype=np.int64)
    met = np.empty(k0 * k1 * k2, dtype=np.int64)
    for o0 in range(m0):
        i0 = first0[o0]
        total0 = weights0[o0].sum()
        _differences(codes[i0 : i0 + k0], differs)
        for o1 in range(m1):
            i1 = first1[o1]
            row = codes[i0, i1]
            if _mixed_columns(codes[i0, i1 : i1 + k1], differs[i1 : i1 + k1], mixed):
                out[o0, o1, :] = lut[row[0]]
                continue
            _ends(row, mixed, end)
            total1 = total0 * weights1[o1].sum()
            for o2 in range(m2):
                i2 = first2[o2]
                if end[i2] >= i2 + k2:
                    out[o0, o1, o2] = lut[row[i2]]
                    continue
                count = 0
                total = 0
                for c2 in range(k2):
                    w2 = weights2[o2, c2]
                    if w2 == 0:
                        continue
                    total += w2 * total1
                    x = i2 + c2
                    if mixed[x] == 0:
                        value = lut[row[x]]
                        if coverage[value] == 0:
                            met[count] = value
                            count += 1
                        coverage[value] += w2 * total1
                        continue
                    for c0 in range(k0):
                        w0 = weights0[o0, c0] * w2
                        if w0 == 0:
                            continue
                        for c1 in range(k1):
                            w = weights1[o1, c1] * w0
                            if w == 0:
                                continue
                            value = lut[codes[i0 + c0, i1 + c1, x]]
                            if coverage[value] == 0:
                                met[count] = value
                                count += 1
                            coverage[value] += w
                out[o0, o1, o2] = decide(coverage, met, count, total)


@numba.njit(cache=True, nogil=True)
def _differences(planes, differs):  # type: ignore[no-untyped-def]
    """Bits in which any of the planes (k, y, x) differs from the first."""
    k, n1, n2 = planes.shape
    differs[:] = 0
    for c in range(1, k):
        for y in range(n1):
            for x in range(n2):
                differs[y, x] |= planes[0, y, x] ^ planes[c, y, x]


@numba.njit(cache=True, nogil=True)
def _mixed_columns(rows, differs, mixed):  # type: ignore[no-untyped-def]
    """Bits in which the rows (k, x) differ from the first, per column; True when the whole footprint is one code."""
    k, n2 = rows.shape
    for x in range(n2):
        mixed[x] = differs[0, x]
    for c in range(1, k):
        for x in range(n2):
            mixed[x] |= differs[c, x] | (rows[c, x] ^ rows[0, x])
    any_bits = mixed[0]
    start = rows[0, 0]
    for x in range(n2):
        any_bits |= mixed[x] | (rows[0, x] ^ start)
    return any_bits == 0


@numba.njit(cache=True, nogil=True)
def _ends(row, mixed, end):  # type: ignore[no-untyped-def]
    """For each x the first index at which the unmixed run of its code is over; x itself where it is mixed."""
    n = len(row)
    end[n] = n
    for x in range(n - 1, -1, -1):
        if mixed[x] != 0:
            end[x] = x
        elif x + 1 < n and mixed[x + 1] == 0 and row[x + 1] == row[x]:
            end[x] = end[x + 1]
        else:
            end[x] = x + 1


@numba.njit(cache=True, nogil=True)
def decide(coverage, met, count, total):  # type: ignore[no-untyped-def]
    """The value that an output voxel takes; the tables are cleared for the next one.

    Args:
        coverage: weight of each value; 0 is background.
        met: values that occur.
        count: how many.
        total: all weights.
    """
    best = 0
    if 2 * (total - coverage[0]) >= total:
        for c in range(count):
            value = met[c]
            if value != 0 and (
                best == 0 or coverage[value] > coverage[best] or (coverage[value] == coverage[best] and value < best)
            ):
                best = value
    for c in range(count):
        coverage[met[c]] = 0
    coverage[0] = 0
    return best
