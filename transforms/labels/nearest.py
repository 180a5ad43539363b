"""Nearest voxels, decided in whole nanometres: for `resample: nearest`, and for thin structures."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from transforms import scratch
from transforms.labels.memory import Layout, contiguous, one_value
from transforms.normalise.taps import SPACING_DECIMALS

Indices = npt.NDArray[np.int64]


def nearest_index(n_from: int, spacing_from_mm: float, n_to: int, spacing_to_mm: float) -> Indices:
    """For each voxel of one grid the nearest of another with the same middle, along one axis.

    Positions are compared as integers, so a tie is a tie on every CPU; it goes to the lower index. Beyond the other
    grid's ends the outermost voxel is nearest.

    Args:
        n_from: voxels to choose from.
        spacing_from_mm: their spacing.
        n_to: voxels to choose for.
        spacing_to_mm: their spacing.

    Returns:
        (n_to,) indices into the first grid.
    """
    s, t = (round(mm * 10**SPACING_DECIMALS) for mm in (spacing_from_mm, spacing_to_mm))
    # Twice the distance in nm of each position from the first centre of the grid to choose from.
    position = (2 * np.arange(n_to, dtype=np.int64) - (n_to - 1)) * t + (n_from - 1) * s
    return np.clip(-((s - position) // (2 * s)), 0, n_from - 1)


def take_nearest(
    codes_zyx: npt.NDArray[Any], lut: npt.NDArray[Any], index_zyx: tuple[Indices, Indices, Indices]
) -> npt.NDArray[Any]:
    """Resample a label by its nearest voxels, remapping on the way.

    Args:
        codes_zyx: canonical label, uint8 or uint16, any strides.
        lut: (256,) or (65536,) stored value of each code.
        index_zyx: for each output index along z, y, x the input index.

    Returns:
        (z, y, x) array of `lut`'s dtype, C order.
    """
    out = scratch.empty(tuple(len(i) for i in index_zyx), lut.dtype)
    layout = Layout.of(codes_zyx)
    index0, index1, index2 = (
        contiguous(codes_zyx.shape[a] - 1 - index_zyx[a] if layout.reverse[a] else index_zyx[a]) for a in layout.order
    )
    codes = contiguous(layout.to_memory(codes_zyx))
    _take(codes, contiguous(lut), index0, index1, index2, out.transpose(layout.order))
    return out


def remap(codes_zyx: npt.NDArray[Any], lut: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`lut[codes]` on the same grid, in C order; arguments as `take_nearest`."""
    z, y, x = (np.arange(n) for n in codes_zyx.shape)
    return take_nearest(codes_zyx, lut, (z, y, x))


def keep_thin(
    stored_zyx: npt.NDArray[Any],
    codes_zyx: npt.NDArray[Any],
    lut: npt.NDArray[Any],
    thin: frozenset[int],
    owner_zyx: tuple[Indices, Indices, Indices],
) -> npt.NDArray[Any]:
    """A resampled label in which thin structures stand wherever one of their input voxels falls.

    An output voxel that already holds a thin structure keeps it; where several claim one, the lowest value has it.

    Args:
        stored_zyx: the resampled label.
        codes_zyx: canonical label before resampling, uint8 or uint16, any strides.
        lut: (256,) or (65536,) stored value of each code.
        thin: stored values of the thin structures.
        owner_zyx: for each input index along z, y, x the output index it falls into; -1 outside the output.

    Returns:
        A new array like `stored_zyx`.
    """
    values = np.array(sorted(thin), dtype=lut.dtype)
    claimed = np.where(np.isin(lut, values), lut, 0).astype(lut.dtype)
    claims = np.zeros_like(stored_zyx)
    layout = Layout.of(codes_zyx)
    owner0, owner1, owner2 = (contiguous(owner_zyx[a][:: -1 if layout.reverse[a] else 1]) for a in layout.order)
    codes = contiguous(layout.to_memory(codes_zyx))
    _claim(codes, contiguous(claimed), owner0, owner1, owner2, claims.transpose(layout.order))
    return np.where((claims != 0) & ~np.isin(stored_zyx, values), claims, stored_zyx)


@numba.njit(cache=True, nogil=True)
def _take(codes, lut, index0, index1, index2, out):  # type: ignore[no-untyped-def]
    m0, m1, m2 = out.shape
    for o0 in range(m0):
        for o1 in range(m1):
            row = codes[index0[o0], index1[o1]]
            if one_value(row):
                value = lut[row[0]]
                for o2 in range(m2):
                    out[o0, o1, o2] = value
                continue
            for o2 in range(m2):
                out[o0, o1, o2] = lut[row[index2[o2]]]


@numba.njit(cache=True, nogil=True)
def _claim(codes, lut, owner0, owner1, owner2, claims):  # type: ignore[no-untyped-def]
    n0, n1, n2 = codes.shape
    for i0 in range(n0):
        o0 = owner0[i0]
        if o0 < 0:
            continue
        for i1 in range(n1):
            o1 = owner1[i1]
            if o1 < 0:
                continue
            for i2 in range(n2):
                value = lut[codes[i0, i1, i2]]
                if value != 0:
                    o2 = owner2[i2]
                    if o2 >= 0 and (claims[o0, o1, o2] == 0 or value < claims[o0, o1, o2]):
                        claims[o0, o1, o2] = value
