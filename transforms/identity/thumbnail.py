"""A volume as a small cube of numbers that depend on the picture and not on the file it came in.

The axes are turned to the patient's, values become ranks among the voxels of the body, and the cube is cut around the
body in millimetres. So storage order, number type, scale, offset, spacing and the air around the patient drop out.
What stays is compared by `transforms.identity.align`.

Everything is integers, or IEEE arithmetic in a written-out order, so that a volume has one cube on every CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from mdfp import geometry
from transforms.normalise import layout
from transforms.normalise.image import working
from transforms.normalise.orientation import canonicalise
from transforms.normalise.survey import Survey, survey
from transforms.volume import Volume

CELLS = 24
"""Cells of the cube along each axis. Of a torso a cell is then about 15 mm wide; the cube takes 14 kB."""

TAIL = 0.005
"""Fraction of the body's voxels that may lie beyond each side of the box: a stray bright voxel does not move it."""

OUTSIDE_BODY = 16
"""A body's ranks are spread from this number to 255; what is not body is 0. The skin is one edge among others."""

CLAMPED = 10
"""A lowest value of a twentieth of all voxels, that this many times more of them have than lie just above it (an eighth of the
way to the threshold), is a clamp's, or a background's that was set to one number."""

_BINS = 1 << 16
_TOP = 65_535


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """The cube of one volume.

    Attributes:
        cells_zyx: (CELLS, CELLS, CELLS) uint8 along S, A, R: mean rank in each cell; 0 is outside the body.
        box_mm: length of the cube's sides along R, A, S in mm, to the hundredth.
        voxels_xyz: how many voxels the volume has along R, A, S.
    """

    cells_zyx: npt.NDArray[np.uint8]
    box_mm: tuple[float, float, float]
    voxels_xyz: tuple[int, int, int]


def thumbnail(volume: Volume, seen: Survey | None = None, floor: float | None = None) -> Thumbnail | None:
    """The cube of a volume; None where there is no picture: all of its voxels are equal, or none is finite.

    Memory: a copy of the volume only where x is not contiguous in memory (see `transforms.normalise.layout`).

    Args:
        volume: as read.
        seen: survey of `working(canonicalise(volume))`, where there is one already.
        floor: physical value that lower ones count as: of CT -1024 HU, below which there is only padding.
    """
    canonical = working(canonicalise(volume))
    found = seen or survey(canonical.array_zyx)
    if found.nonfinite == found.voxels or found.maximum <= found.minimum:
        return None
    rows = layout.rows(canonical.array_zyx)
    low = found.minimum
    if floor is not None and low < (lowest := (floor - canonical.offset) / canonical.scale) < found.maximum:
        low = lowest
    gain = _gain(found, low)
    counts = np.zeros(_BINS, dtype=np.int64)
    _count(rows.flat, low, gain, counts)
    threshold = _body_threshold(counts)
    per_zyx = tuple(np.zeros(n, dtype=np.int64) for n in rows.shape_zyx)
    nz, ny, nx = rows.shape_zyx
    step_z, step_y = rows.steps_zy
    flip_z, flip_y, flip_x = rows.flipped_zyx
    _project(
        rows.flat, nz, ny, nx, step_z, step_y, flip_z, flip_y, flip_x, low, gain, threshold, per_zyx[0], per_zyx[1], per_zyx[2]
    )  # fmt: skip
    ends = [_ends(per) for per in per_zyx]
    cells = np.zeros((CELLS, CELLS, CELLS))
    bounds = [_bounds(low_end, high_end) for low_end, high_end in ends]
    _average(
        rows.flat, nz, ny, nx, step_z, step_y, flip_z, flip_y, flip_x, low, gain, _ranks(counts, threshold), bounds[0], bounds[1],
        bounds[2], cells,
    )  # fmt: skip
    spacing = geometry.spacing_xyz_mm(canonical.affine_ras)
    lengths = (round(float((b - a) * s), 2) for (a, b), s in zip(ends[::-1], spacing, strict=True))
    x, y, z = (max(length, 0.01) for length in lengths)
    return Thumbnail(np.floor(cells / 257.0 + 0.5).astype(np.uint8), (x, y, z), (nx, ny, nz))


def _gain(seen: Survey, low: float) -> float:
    """What a value is multiplied by to give its bin. Integers of few values have a bin each, whatever their scale."""
    span = seen.maximum - low
    return 1.0 if seen.integral and span < _BINS else (_BINS - 1) / span


def _body_threshold(counts: npt.NDArray[np.int64]) -> int:
    """The last bin that is not body: Otsu's, or the lowest of all where the picture was clamped there.

    Clamped to a soft-tissue window, air and lung have one value and fat is close to it: Otsu's threshold would count fat as
    air, while in the picture before clamping it does not.
    """
    threshold = _otsu(counts)
    floor = int(counts[0])
    just_above = int(counts[1 : 1 + -(-threshold // 8)].sum())
    clamped = 20 * floor >= int(counts.sum()) and CLAMPED * just_above <= floor
    return 0 if clamped else threshold


def _otsu(counts: npt.NDArray[np.int64]) -> int:
    """The bin that best parts the histogram into two classes (Otsu 1979): what lies above it is body."""
    bins = np.arange(len(counts), dtype=np.float64)
    below = np.cumsum(counts).astype(np.float64)
    moment = np.cumsum(counts * bins)
    total, mass = below[-1], moment[-1]
    above = total - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass * below - moment * total) ** 2 / (below * above)
    between[(below == 0) | (above == 0)] = -1.0
    return int(np.argmax(between))


def _ranks(counts: npt.NDArray[np.int64], threshold: int) -> npt.NDArray[np.int64]:
    """(bins,) from 0 to 65535: the rank of each value among the body's, equal values in the middle of theirs."""
    body = counts.copy()
    body[: threshold + 1] = 0
    before = np.cumsum(body) - body
    floor = OUTSIDE_BODY * 257
    ranks = floor + (2 * before + body) * (_TOP - floor) // (2 * int(body.sum()))
    ranks[: threshold + 1] = 0
    return np.asarray(ranks, dtype=np.int64)


def _ends(per: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Where along an axis the body begins and ends, in voxels from the outer face of the first; `TAIL` on each side."""
    cumulative = np.concatenate([[0], np.cumsum(per)]).astype(np.float64)
    total = cumulative[-1]
    ends = []
    for wanted in (TAIL * total, (1.0 - TAIL) * total):
        at = int(np.searchsorted(cumulative, wanted, side="right")) - 1
        at = min(at, len(per) - 1)
        within = (wanted - cumulative[at]) / (cumulative[at + 1] - cumulative[at]) if per[at] else 0.0
        ends.append(at + within)
    return ends[0], ends[1]


def _bounds(start: float, stop: float) -> npt.NDArray[np.float64]:
    """(CELLS + 1,) faces of the cells along an axis, in voxels from the outer face of the first."""
    return start + (stop - start) * np.arange(CELLS + 1) / CELLS


@njit(cache=True, nogil=True)
def _bin(value, low, gain):  # type: ignore[no-untyped-def]
    """Bin of a value; what is not finite counts as the lowest."""
    scaled = (np.float64(value) - low) * gain + 0.5
    if not scaled >= 0.0 or scaled > 65535.6:
        return 0
    return int(scaled)


@njit(cache=True, nogil=True)
def _count(flat, low, gain, counts):  # type: ignore[no-untyped-def]
    for i in range(len(flat)):
        counts[_bin(flat[i], low, gain)] += 1


@njit(cache=True, nogil=True)
def _project(flat, nz, ny, nx, step_z, step_y, flip_z, flip_y, flip_x, low, gain, threshold, per_z, per_y, per_x):  # type: ignore[no-untyped-def]
    """Body voxels in each plane across each axis, in canonical order."""
    for z in range(nz):
        for y in range(ny):
            first = z * step_z + y * step_y
            row = 0
            for x in range(nx):
                if _bin(flat[first + x], low, gain) > threshold:
                    row += 1
                    per_x[nx - 1 - x if flip_x else x] += 1
            per_z[nz - 1 - z if flip_z else z] += row
            per_y[ny - 1 - y if flip_y else y] += row


@njit(cache=True, nogil=True)
def _average(flat, nz, ny, nx, step_z, step_y, flip_z, flip_y, flip_x, low, gain, ranks, in_z, in_y, in_x, cells):  # type: ignore[no-untyped-def]
    """Mean rank in each cell; voxels are boxes, and count by how much of them lies in the cell."""
    n = len(in_z) - 1
    before = np.zeros(nx + 1, dtype=np.int64)
    row = np.zeros(n)
    plane = np.zeros((n, n))
    for z in range(nz):
        if z + 1 <= in_z[0] or z >= in_z[n]:
            continue
        plane[:] = 0.0
        for y in range(ny):
            if y + 1 <= in_y[0] or y >= in_y[n]:
                continue
            first = (nz - 1 - z if flip_z else z) * step_z + (ny - 1 - y if flip_y else y) * step_y
            for x in range(nx):
                before[x + 1] = before[x] + ranks[_bin(flat[first + (nx - 1 - x if flip_x else x)], low, gain)]
            last = 0.0
            for c in range(n + 1):
                at = min(int(in_x[c]), nx - 1)
                up_to = before[at] + (in_x[c] - at) * (before[at + 1] - before[at])
                if c:
                    row[c - 1] = (up_to - last) / (in_x[c] - in_x[c - 1])
                last = up_to
            _share(y, in_y, row, plane)
        for c in range(n):
            weight = min(in_z[c + 1], z + 1.0) - max(in_z[c], np.float64(z))
            if weight > 0:
                weight /= in_z[c + 1] - in_z[c]
                for i in range(n):
                    for j in range(n):
                        cells[c, i, j] += weight * plane[i, j]


@njit(cache=True, nogil=True)
def _share(y, in_y, row, plane):  # type: ignore[no-untyped-def]
    n = len(in_y) - 1
    for c in range(n):
        weight = min(in_y[c + 1], y + 1.0) - max(in_y[c], np.float64(y))
        if weight > 0:
            weight /= in_y[c + 1] - in_y[c]
            for j in range(n):
                plane[c, j] += weight * row[j]
