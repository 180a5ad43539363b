"""One grid for several images: any volume at the voxels of another, wherever it lies and however it is turned.

PET and CT, or the MR series of a study, share a world but no axes. What shares a grid with its case's reference image is
taken at the positions of that image's stored voxels, which are mapped into its own index space by one affine. Where the
reference is coarser, each of its voxels is looked at in several places, and what they give is averaged: a low-pass
along the reference's own axes. Nothing is extrapolated: beyond the field of view, half a voxel around the outermost
centres, an image has a stated fill and a label the ignore marker.

Positions are rounded to 2**-20 of a voxel, so that their weights are exact and the same from both ends of an axis: a
flipped file gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from mdfp import geometry
from mdfp.geometry import Affine
from schemas.case import CaseImage
from schemas.reasons import Reason
from schemas.recipe import ReferenceGrid
from transforms import scratch
from transforms.normalise import layout
from transforms.normalise.grid import OutputGrid
from transforms.normalise.resample import limits, output_range
from transforms.normalise.taps import SUPPORT, Kernel
from transforms.rejected import Rejected

MAX_SAMPLES = 8
"""Places along an axis in which an output voxel is looked at, at most: enough for a grid eight times as coarse."""

_STEPS = 2.0**20
_BARELY = 1e-3
"""Voxels by which a coarser grid must be coarser to be called so: the noise of headers is none."""


@dataclass(frozen=True, eq=False)
class SharedGrid:
    """The stored grid of a case's reference image, as another image of the case sees it.

    Attributes:
        shape_zyx: output voxels along z, y, x.
        spacing_xyz_mm: output spacing along x, y, z.
        affine_ras: output index (x, y, z) → mm, RAS.
        to_input: output index (x, y, z) → index (x, y, z) of the canonical input.
        samples_zyx: places in which an output voxel is looked at, along its own axes z, y, x.
    """

    shape_zyx: tuple[int, int, int]
    spacing_xyz_mm: tuple[float, float, float]
    affine_ras: Affine
    to_input: Affine
    samples_zyx: tuple[int, int, int]

    @property
    def identity(self) -> bool:
        """Never: grids that are one are found by `shared_grid`'s caller, if at all."""
        return False

    def offsets(self) -> npt.NDArray[np.float64]:
        """(n, 3) places within an output voxel, x, y, z in output voxels from its centre, in one order."""
        z, y, x = ((np.arange(n) + 0.5) / n - 0.5 for n in self.samples_zyx)
        return np.array([[c, b, a] for a in z for b in y for c in x])


def reference_image(images: Sequence[CaseImage], grid: ReferenceGrid | Literal["native"]) -> str | None:
    """Name of the image whose grid all images of a case share: the first of the reference's modality.

    None where each keeps a grid of its own.

    Raises:
        Rejected: OFF_GRID, the case has no such image, or another image of it says that it lies in another frame.
    """
    if grid == "native":
        return None
    reference = next((i for i in images if i.modality == grid.reference), None)
    if reference is None:
        found = ", ".join(sorted({i.modality for i in images}))
        raise Rejected(
            Reason.OFF_GRID, f"expected an image of modality {grid.reference}, whose grid all share; found {found}"
        )
    frame = reference.header.frame_of_reference
    for image in images:
        other = image.header.frame_of_reference
        if frame is not None and other is not None and other != frame:
            raise Rejected(
                Reason.OFF_GRID,
                f"image {image.header.name!r} lies in another frame of reference than {reference.header.name!r}: their"
                " positions cannot be compared without registration",
            )
    return reference.header.name


def shared_grid(affine_ras: Affine, reference: OutputGrid, *, low_pass: bool) -> SharedGrid:
    """How an image sees the stored grid of its case's reference.

    Args:
        affine_ras: of the image's canonical array, index (x, y, z) → mm, RAS.
        reference: the stored grid.
        low_pass: whether a coarser reference averages.
    """
    to_input = geometry.inverse(affine_ras) @ reference.affine_ras
    reach = np.abs(to_input[:3, :3]).max(axis=0)  # input voxels that a step along each output axis goes over
    x, y, z = (min(MAX_SAMPLES, max(1, int(np.ceil(r - _BARELY)))) if low_pass else 1 for r in reach)
    return SharedGrid(reference.shape_zyx, reference.spacing_xyz_mm, reference.affine_ras, to_input, (z, y, x))


def sample(
    array_zyx: npt.NDArray[Any],
    grid: SharedGrid,
    *,
    dtype: npt.DTypeLike,
    fill: float,
    kernel: Kernel = "linear",
    lower: float | None = None,
    padding: float | None = None,
    gain: float = 1.0,
    bias: float = 0.0,
    within: tuple[float, float] | None = None,
) -> tuple[npt.NDArray[Any], int]:
    """`cast(clamp(gain * interpolated + bias))` at the voxels of a shared grid; integers are rounded, halves to even.

    Args:
        array_zyx: canonical image, any strides and real dtype.
        grid: where to look.
        dtype: of the result.
        fill: output value of voxels whose centre lies outside the field of view.
        kernel: linear, or cubic (Keys).
        lower: see `transforms.normalise.resample.resample`, as are `padding`, `gain`, `bias` and `within`.
        padding: see lower.
        gain: see lower.
        bias: see lower.
        within: see lower.

    Returns:
        C-contiguous array of the grid's shape (z, y, x), and how many of its voxels were filled.
    """
    wanted = np.dtype(dtype).newbyteorder("=")
    rows = layout.rows(array_zyx)
    out = scratch.empty(grid.shape_zyx, wanted)
    low, high, pad = limits(rows.flat.dtype, lower, padding)
    clamp_low, clamp_high = output_range(wanted, within)
    outside = _sample(
        rows.flat, np.array(rows.shape_zyx), np.array(rows.steps_zy), np.array(rows.flipped_zyx), grid.to_input,
        grid.offsets(), SUPPORT[kernel], lower is not None, low, high, pad, gain, bias, clamp_low, clamp_high,
        wanted.kind != "f", fill, out,
    )  # fmt: skip
    return out, int(outside)


def owners(index_zyx: npt.NDArray[np.int64], grid: SharedGrid) -> npt.NDArray[np.int64]:
    """The output voxel nearest to each input voxel: (n, 3) of (n, 3), both z, y, x; -1 outside the output."""
    found = geometry.apply(geometry.inverse(grid.to_input), index_zyx[:, ::-1].astype(np.float64))[:, ::-1]
    nearest_zyx = np.ceil(np.rint(found * _STEPS) / _STEPS - 0.5).astype(np.int64)
    inside = np.all((nearest_zyx >= 0) & (nearest_zyx < np.array(grid.shape_zyx)), axis=1, keepdims=True)
    return np.where(inside, nearest_zyx, -1)


def extent(box: tuple[int, ...], grid: SharedGrid) -> tuple[int, ...]:
    """The smallest box of output voxels that holds a box of input voxels: z0, y0, x0, z1, y1, x1, ends exclusive."""
    low, high = np.array(box[:3]) - 0.5, np.array(box[3:]) - 0.5
    corners = np.array([[a, b, c] for a in (low[0], high[0]) for b in (low[1], high[1]) for c in (low[2], high[2])])
    found = geometry.apply(geometry.inverse(grid.to_input), corners[:, ::-1])[:, ::-1]
    shape = np.array(grid.shape_zyx)
    first = np.clip(np.floor(found.min(axis=0) + 0.5), 0, shape).astype(int)
    last = np.clip(np.ceil(found.max(axis=0) + 0.5), first, shape).astype(int)
    return (*(int(v) for v in first), *(int(v) for v in last))


@njit(cache=True, nogil=True)
def locate(to_input, x, y, z, out):  # type: ignore[no-untyped-def]
    """Where an output position lies in the input: `out[z, y, x]`, in voxels, rounded to 2**-20."""
    for axis in range(3):
        at = to_input[axis, 3] + to_input[axis, 2] * z + to_input[axis, 1] * y + to_input[axis, 0] * x
        out[2 - axis] = np.rint(at * _STEPS) / _STEPS


@njit(cache=True, nogil=True)
def covers(shape, position):  # type: ignore[no-untyped-def]
    """Whether a position lies in the field of view: within half a voxel of the outermost centres."""
    inside = True
    for axis in range(3):
        inside &= -0.5 <= position[axis] <= shape[axis] - 0.5
    return inside


@njit(cache=True, nogil=True)
def surround(position, shape, flipped, support, index, weights):  # type: ignore[no-untyped-def]
    """Indices (in memory's direction) and weights of the voxels around a position, along z, y, x.

    Args:
        position: (3,) z, y, x.
        shape: (3,).
        flipped: (3,) whether the axis runs backwards in memory.
        support: 1 linear, 2 cubic.
        index: (3, 2 * support), becomes the indices, clamped to the volume.
        weights: (3, 2 * support), becomes the weights; those of an axis sum to 1.
    """
    for axis in range(3):
        n = shape[axis]
        at = min(max(position[axis], 0.0), n - 1.0)
        first = np.floor(at)
        f = at - first
        g = 1.0 - f
        if support == 1:
            weights[axis, 0], weights[axis, 1] = g, f
        else:
            weights[axis, 0] = ((-0.5 * (1.0 + f) + 2.5) * (1.0 + f) - 4.0) * (1.0 + f) + 2.0
            weights[axis, 1] = (1.5 * f - 2.5) * f * f + 1.0
            weights[axis, 2] = (1.5 * g - 2.5) * g * g + 1.0
            weights[axis, 3] = ((-0.5 * (1.0 + g) + 2.5) * (1.0 + g) - 4.0) * (1.0 + g) + 2.0
        for k in range(2 * support):
            i = min(max(int(first) + 1 - support + k, 0), n - 1)
            index[axis, k] = n - 1 - i if flipped[axis] else i


@njit(cache=True, nogil=True)
def _paired(values, weights, width):  # type: ignore[no-untyped-def]
    """Sum of products in pairs, outermost first: the same from both ends."""
    total = values[0] * weights[0] + values[width - 1] * weights[width - 1]
    for k in range(1, width // 2):
        total += values[k] * weights[k] + values[width - 1 - k] * weights[width - 1 - k]
    return total


@njit(cache=True, nogil=True)
def _sample(  # type: ignore[no-untyped-def]
    flat, shape, steps, flipped, to_input, offsets, support, replaces, low, high, pad, gain, bias, clamp_low,
    clamp_high, rounds, fill, out,
):  # fmt: skip
    nz, ny, nx = out.shape
    width = 2 * support
    position = np.empty(3)
    index = np.empty((3, width), dtype=np.int64)
    weights = np.empty((3, width))
    rows, columns, planes = np.empty(width), np.empty(width), np.empty(width)
    outside = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                locate(to_input, float(x), float(y), float(z), position)
                if not covers(shape, position):
                    out[z, y, x] = fill
                    outside += 1
                    continue
                total = 0.0
                for s in range(offsets.shape[0]):
                    if offsets.shape[0] > 1:
                        locate(to_input, x + offsets[s, 0], y + offsets[s, 1], z + offsets[s, 2], position)
                    surround(position, shape, flipped, support, index, weights)
                    for i in range(width):
                        for j in range(width):
                            start = index[0, i] * steps[0] + index[1, j] * steps[1]
                            for k in range(width):
                                v = flat[start + index[2, k]]
                                if replaces and not (v > low and v <= high and v != pad):
                                    v = low
                                columns[k] = v
                            rows[j] = _paired(columns, weights[2], width)
                        planes[i] = _paired(rows, weights[1], width)
                    total += _paired(planes, weights[0], width)
                value = min(max(total / offsets.shape[0] * gain + bias, clamp_low), clamp_high)
                out[z, y, x] = np.rint(value) if rounds else value
    return outside
