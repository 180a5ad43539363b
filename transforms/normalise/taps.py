"""Which input voxels an output voxel is made of along one axis, and with what weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SPACING_DECIMALS = 6
"""Spacings are rounded to this many decimals of a mm (a nanometre) before a grid is computed, so that the noise of
single-precision headers, and of a flip, cannot change it."""

INTEGER_WEIGHT = 1 << 12
"""What a weight of 1 becomes where coverage is counted in integers: three axes multiply to 2**36."""


def output_size(n_in: int, spacing_in_mm: float, spacing_out_mm: float) -> int:
    """Voxels that cover the same field of view: `max(1, round(n_in * s / t))`, halves up."""
    extent = n_in * round(spacing_in_mm, SPACING_DECIMALS)
    return max(1, int(np.floor(extent / round(spacing_out_mm, SPACING_DECIMALS) + 0.5)))


def first_centre_mm(n_in: int, spacing_in_mm: float, n_out: int, spacing_out_mm: float) -> float:
    """Distance from the first input centre to the first output centre: both grids share their middle.

    Symmetric in the two ends of the axis, so flipping before or after resampling gives the same voxels.
    """
    s, t = round(spacing_in_mm, SPACING_DECIMALS), round(spacing_out_mm, SPACING_DECIMALS)
    return ((n_in - 1) * s - (n_out - 1) * t) / 2


@dataclass(frozen=True, eq=False)
class Taps:
    """Weights of one axis. Output `o` is `sum(weights[o, k] * input[first[o] + k])`; k runs over all columns.

    Attributes:
        first: (n_out,) int32, first input index; `first + width - 1 < n_in` always, so no bounds are checked later.
        weights: (n_out, width) float64, each row sums to 1. Beyond the outermost input centres values clamp.
        integer: (n_out, width) int64, the same weights times `INTEGER_WEIGHT`, rounded; for exact counting.
        identity: each output is the input of the same index.
    """

    first: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float64]
    integer: npt.NDArray[np.int64]
    identity: bool

    @property
    def width(self) -> int:
        """Input voxels per output voxel."""
        return int(self.weights.shape[1])


def linear_taps(n_in: int, spacing_in_mm: float, n_out: int, spacing_out_mm: float, *, low_pass: bool) -> Taps:
    """Linear interpolation along one axis; with a low-pass when the output is coarser.

    The kernel is the triangle of half-width `max(1, t/s)` input voxels (t/s only with `low_pass`), the usual
    anti-aliased linear filter. Taps that would lie outside the input are added to the outermost voxel (clamping).

    Args:
        n_in: input voxels.
        spacing_in_mm: s, mm.
        n_out: output voxels; the output grid is centred on the input's.
        spacing_out_mm: t, mm.
        low_pass: widen the kernel to the output voxel's footprint when t > s.
    """
    s, t = round(spacing_in_mm, SPACING_DECIMALS), round(spacing_out_mm, SPACING_DECIMALS)
    if n_in == n_out and s == t:
        ones = np.ones((n_out, 1))
        return Taps(np.arange(n_out, dtype=np.int32), ones, (ones * INTEGER_WEIGHT).astype(np.int64), identity=True)
    radius = max(1.0, t / s) if low_pass else 1.0
    width = min(n_in, int(np.ceil(2 * radius)) + 1)
    first = np.zeros(n_out, dtype=np.int32)
    weights = np.zeros((n_out, width))
    # Computed from the two ends inwards, so that the weights are mirror images to the last bit.
    for o in range((n_out + 1) // 2):
        centre = (o - (n_out - 1) / 2) * (t / s) + (n_in - 1) / 2
        low = int(np.ceil(centre - radius))
        start = min(max(low, 0), n_in - width)
        row = np.zeros(width)
        for i in range(low, int(np.floor(centre + radius)) + 1):
            row[min(max(i, 0), n_in - 1) - start] += max(0.0, 1.0 - abs(i - centre) / radius)
        row /= row.sum()
        mirrored = n_out - 1 - o
        first[o], weights[o] = start, row
        if mirrored != o:
            first[mirrored], weights[mirrored] = n_in - width - start, row[::-1]
    return Taps(first, weights, np.rint(weights * INTEGER_WEIGHT).astype(np.int64), identity=False)
