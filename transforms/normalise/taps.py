"""Which input voxels an output voxel is made of along one axis, and with what weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

SPACING_DECIMALS = 6
"""Spacings that are equal to this many decimals of a mm (a nanometre) are the same spacing: the noise of
single-precision headers changes neither the number of output voxels nor whether an axis is resampled at all."""

POSITION_STEP_MM = 2.0**-36
"""Positions are computed from spacings rounded to multiples of this (15 pm): fine enough to leave every
single-precision spacing as it is, coarse enough to drop the last bits in which flips and rotations differ."""

Kernel = Literal["linear", "cubic"]
"""How values between voxels are made."""

SUPPORT: dict[Kernel, int] = {"linear": 1, "cubic": 2}
"""Voxels on either side of a position that take part."""

INTEGER_WEIGHT = 1 << 12
"""What a weight of 1 becomes where coverage is counted in integers: three axes multiply to 2**36."""


def steady_mm(length_mm: float) -> float:
    """`length_mm` to the nearest multiple of `POSITION_STEP_MM`."""
    return round(length_mm / POSITION_STEP_MM) * POSITION_STEP_MM


def same_spacing(a_mm: float, b_mm: float) -> bool:
    """Whether two spacings are one, to `SPACING_DECIMALS`."""
    return round(a_mm, SPACING_DECIMALS) == round(b_mm, SPACING_DECIMALS)


def output_size(n_in: int, spacing_in_mm: float, spacing_out_mm: float) -> int:
    """Voxels that cover the same field of view: `max(1, round(n_in * s / t))`, halves up."""
    extent = n_in * round(spacing_in_mm, SPACING_DECIMALS)
    return max(1, int(np.floor(extent / round(spacing_out_mm, SPACING_DECIMALS) + 0.5)))


def first_centre_mm(n_in: int, spacing_in_mm: float, n_out: int, spacing_out_mm: float) -> float:
    """Distance from the first input centre to the first output centre: both grids share their middle.

    Symmetric in the two ends of the axis, so flipping before or after resampling gives the same voxels.
    """
    return ((n_in - 1) * spacing_in_mm - (n_out - 1) * spacing_out_mm) / 2


@dataclass(frozen=True, eq=False)
class Taps:
    """Weights of one axis. Output `o` is `sum(weights[o, k] * input[first[o] + k])`; k runs over all columns.

    Row `n_out - 1 - o` is row `o` seen from the other end of the axis, to the last bit.

    Attributes:
        first: (n_out,) int32, first input index; `first + width - 1 < n_in` always, so no bounds are checked later.
        weights: (n_out, width) float64, each row sums to 1. Beyond the outermost input centres values clamp.
        integer: (n_out, width) int64, the same weights times `INTEGER_WEIGHT`, rounded; each row sums to it exactly.
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

    def flipped(self, n_in: int) -> Taps:
        """The same outputs from an input of `n_in` voxels that is stored in the opposite direction."""
        first = (n_in - self.width - self.first).astype(np.int32)
        identity = self.identity and len(self.first) == 1
        return Taps(first, self.weights[:, ::-1].copy(), self.integer[:, ::-1].copy(), identity)

    def cut(self, start: int, stop: int) -> Taps:
        """The taps of outputs `start` to `stop` (exclusive) only."""
        whole = start == 0 and stop == len(self.first)
        rows = slice(start, stop)
        return Taps(self.first[rows], self.weights[rows], self.integer[rows], self.identity and whole)


def identity_taps(n: int) -> Taps:
    """Each output is the input of the same index."""
    ones = np.ones((n, 1))
    return Taps(np.arange(n, dtype=np.int32), ones, (ones * INTEGER_WEIGHT).astype(np.int64), identity=True)


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
    return _taps(n_in, spacing_in_mm, n_out, spacing_out_mm, "linear", low_pass=low_pass)


def cubic_taps(n_in: int, spacing_in_mm: float, n_out: int, spacing_out_mm: float, *, low_pass: bool) -> Taps:
    """Cubic convolution along one axis (Keys 1981, a = -1/2), for images; arguments as `linear_taps`.

    Exact for parabolas, sharper than linear, and it overshoots at edges: whoever stores the result clamps it. Some
    weights are negative, so `integer` counts no coverage.
    """
    return _taps(n_in, spacing_in_mm, n_out, spacing_out_mm, "cubic", low_pass=low_pass)


def kernel_weight(distance: npt.NDArray[np.float64], kernel: Kernel) -> npt.NDArray[np.float64]:
    """Weight of voxels at a distance (in voxels, not negative) from the position that is asked for."""
    d = distance
    if kernel == "linear":
        return np.maximum(0.0, 1.0 - d)
    near = (1.5 * d - 2.5) * d * d + 1.0
    far = ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return np.where(d < 1.0, near, np.where(d < 2.0, far, 0.0))


def _taps(
    n_in: int, spacing_in_mm: float, n_out: int, spacing_out_mm: float, kernel: Kernel, *, low_pass: bool
) -> Taps:
    if n_in == n_out and same_spacing(spacing_in_mm, spacing_out_mm):
        return identity_taps(n_in)
    ratio = steady_mm(spacing_out_mm) / steady_mm(spacing_in_mm)
    stretch = max(1.0, ratio) if low_pass else 1.0
    radius = SUPPORT[kernel] * stretch

    # Only the first half of the rows is computed, the rest is their mirror image, bit for bit.
    half = (n_out + 1) // 2
    centre = (np.arange(half) - (n_out - 1) / 2) * ratio + (n_in - 1) / 2
    index = np.ceil(centre - radius).astype(np.int64)[:, None] + np.arange(int(np.ceil(2 * radius)) + 1)
    weight = kernel_weight(np.abs(index - centre[:, None]) / stretch, kernel)
    weight[weight == 0] = 0.0
    index = np.clip(index, 0, n_in - 1)

    touched = weight != 0
    lowest = np.where(touched, index, n_in).min(axis=1)
    highest = np.where(touched, index, -1).max(axis=1)
    width = int((highest - lowest).max()) + 1
    middle_support = highest[-1] - lowest[-1] + 1 if n_out % 2 else 0
    if middle_support > 2 and (n_in - width) % 2:
        width += 1  # a row in the very middle is its own mirror image to the last bit only if it can be centred
    start = np.minimum(lowest, n_in - width)
    centred = bool(n_out % 2) and (n_in - width) % 2 == 0
    if centred:
        start[-1] = (n_in - width) // 2

    weights = np.zeros((half, width))
    rows = np.arange(half)
    total = np.zeros(half)
    for k in range(index.shape[1]):  # a few columns; a written-out sum has one order on every CPU
        kept = touched[:, k]
        weights[rows[kept], index[kept, k] - start[kept]] += weight[kept, k]
        total += weight[:, k]
    if centred:  # the two ends were summed in opposite orders
        weights[-1] = (weights[-1] + weights[-1, ::-1]) / 2
    weights /= total[:, None]
    integer = _integer_weights(weights, symmetric_last=centred)

    mirrored = slice(n_out // 2 - 1, None, -1) if n_out > 1 else slice(0, 0)
    return Taps(
        np.concatenate([start, (n_in - width - start)[mirrored]]).astype(np.int32),
        np.concatenate([weights, weights[mirrored, ::-1]]),
        np.concatenate([integer, integer[mirrored, ::-1]]),
        identity=False,
    )


def _integer_weights(weights: npt.NDArray[np.float64], *, symmetric_last: bool) -> npt.NDArray[np.int64]:
    """Weights times `INTEGER_WEIGHT`; what rounding leaves over goes to the largest, so that each row sums exactly.

    Args:
        weights: (rows, width).
        symmetric_last: the columns of the last row mirror each other and have to stay so.
    """
    integer = np.rint(weights * INTEGER_WEIGHT).astype(np.int64)
    missing = INTEGER_WEIGHT - integer.sum(axis=1)
    rows = np.arange(len(weights))
    largest = weights.argmax(axis=1)
    if symmetric_last:
        width = weights.shape[1]
        largest[-1] = width // 2
        if width % 2 == 0:  # both halves are equal, so an even number is missing
            missing[-1] //= 2
            integer[-1, width - 1 - largest[-1]] += missing[-1]
    integer[rows, largest] += missing
    return integer
