"""Gantry tilt: slices that are parallel but stacked along a line that leans from their normal.

Each slice is shifted within its plane onto an upright grid whose third axis is the normal: linear interpolation along the
rows, then along the columns. The grid keeps the pixels of the first slice, and is longer by what the others stick out.
What no slice covers takes the padding value or, without one, the lowest value of the volume, as dcm2niix does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SHIFT_TOLERANCE_PX = 0.05
"""Shifts that stay below this over the whole stack, in pixels, are rounding of positions and none at all."""

_DECIMALS = 6  # of a pixel: so that a shift of a whole number of pixels is one


@dataclass(frozen=True, eq=False)
class Skew:
    """How the slices of a stack lie on the upright grid.

    Attributes:
        degrees: angle between the line through the slices and their normal.
        shift_xy_px: (slices, 2) where each slice's first pixel lies, in pixels along x (columns) and y (rows) from that of
            the first slice.
    """

    degrees: float
    shift_xy_px: npt.NDArray[np.float64]

    @property
    def start_xy(self) -> tuple[int, int]:
        """Index, in pixels of the first slice, of the grid's first column and row; 0 or below."""
        x, y = np.floor(self.shift_xy_px.min(axis=0)).astype(int)
        return int(x), int(y)

    def shape_yx(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns of the upright grid."""
        x, y = (np.ceil(self.shift_xy_px.max(axis=0)) - self.start_xy).astype(int)
        return rows + int(y), columns + int(x)


def skew_of(degrees: float, shift_xy_px: npt.NDArray[np.float64]) -> Skew:
    """The skew of measured shifts, without those that are only rounding."""
    shift = np.round(shift_xy_px, _DECIMALS) + 0.0
    shift[:, np.abs(shift).max(axis=0) < SHIFT_TOLERANCE_PX] = 0.0
    return Skew(degrees, shift)


def deskewed(array_zyx: npt.NDArray, skew: Skew, padding: float | None) -> npt.NDArray:
    """The upright volume of leaning slices. Integers are rounded half to even.

    Where one of two neighbours is padding the nearer one is taken: padding is no intensity.

    Args:
        array_zyx: shape (slices, rows, columns), the slices as they are.
        skew: of these slices.
        padding: value outside the scan, or None.
    """
    slices, rows, columns = array_zyx.shape
    fill = array_zyx.min() if padding is None else padding
    result = np.full((slices, *skew.shape_yx(rows, columns)), fill, array_zyx.dtype)
    start_x, start_y = skew.start_xy
    for z, plane in enumerate(array_zyx):
        x, y = skew.shift_xy_px[z]
        across = _shifted(plane, float(x) - start_x, result.shape[2], fill, padding)
        result[z] = _shifted(across.T, float(y) - start_y, result.shape[1], fill, padding).T
    return result


def _shifted(plane: npt.NDArray, by: float, length: int, fill: float, padding: float | None) -> npt.NDArray:
    """A plane moved by so many pixels along its second axis into a longer one; `fill` where it does not reach."""
    out = np.full((plane.shape[0], length), fill, plane.dtype)
    whole = int(np.ceil(by))
    weight = whole - by  # of the next pixel: output pixel `whole` lies this far behind the first one
    if weight == 0.0:
        out[:, whole : whole + plane.shape[1]] = plane
        return out
    first, second = plane[:, :-1], plane[:, 1:]
    mixed = first * (1.0 - weight) + second * weight
    if np.issubdtype(plane.dtype, np.integer):
        mixed = np.rint(mixed)
    if padding is not None:
        mixed = np.where((first == padding) | (second == padding), second if weight > 0.5 else first, mixed)
    out[:, whole : whole + mixed.shape[1]] = mixed
    return out
