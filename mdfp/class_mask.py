"""Class masks from stored masks: look-up tables over palette values, layers and extents combined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp.errors import UsageError
from mdfp.label_space import CERTAIN, POSSIBLE, Box, Codes, LabelSpace, Openness
from mdfp.labels import IGNORE

UNTOLD = 255
"""In a mask of one structure: it cannot be told whether the voxel is it. Also the default of `ignore`."""

Stored = npt.NDArray[Any]
"""A stored mask, or a crop of one: uint8 or uint16 palette values."""

Paint = Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]]
"""Combined codes (classes, n) → what is written (channels, n)."""


def mask_dtype(classes: int, ignore: int) -> np.dtype[Any]:
    """The smallest integer type that holds 0..classes and `ignore`.

    Raises:
        UsageError: `ignore` is the number of a class.
    """
    if 0 <= ignore <= classes:
        raise UsageError(
            f"ignore is {ignore}, the number of one of the {classes} classes or background; take -1 or one above them"
        )
    for name in ("uint8", "int16", "int32"):
        info = np.iinfo(name)
        if info.min <= min(0, ignore) and max(classes, ignore) <= info.max:
            return np.dtype(name)
    raise UsageError(f"ignore: expected a 32-bit integer, found {ignore}")


def class_mask(
    layers: Sequence[Stored],
    shape: tuple[int, ...],
    start: tuple[int, ...],
    space: LabelSpace,
    openness: tuple[Openness, ...],
    ignore: int = UNTOLD,
) -> npt.NDArray[Any]:
    """One class for each voxel.

    Args:
        layers: stored masks of this part of the volume or picture, all of `shape`; may be none.
        shape: z, y, x of the part; y, x of a picture's.
        start: z, y, x of its first voxel in the stored volume, where extents count from; y, x of a picture's.
        space: the classes.
        openness: `space.openness(sample, layers)`.
        ignore: what marks voxels that cannot be told.

    Returns:
        `shape`, of `mask_dtype(len(space), ignore)`: 0 background, 1..n, `ignore`.
    """
    out = np.empty(shape, dtype=mask_dtype(len(space), ignore))

    def paint(codes: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        return space.decide(codes, ignore).astype(out.dtype)

    paint_layers(layers, shape, start, space, openness, out[np.newaxis], lambda codes: paint(codes)[np.newaxis])
    return out


def class_table(
    space: LabelSpace, openness: tuple[Openness, ...], dtype: np.dtype[Any], ignore: int = UNTOLD
) -> npt.NDArray[Any] | None:
    """The class of each number of a mask, where it is the only one that is read: `class_mask` is then a look-up in it.

    Args:
        space: the classes.
        openness: `space.openness(sample, layers)`.
        dtype: of the stored mask, uint8 or uint16.
        ignore: what marks voxels that cannot be told.

    Returns:
        One number of `mask_dtype(len(space), ignore)` for each of the mask's type; None where the class depends on the
        place too.
    """
    if any(o.extent is not None for o in openness):
        return None
    out = mask_dtype(len(space), ignore)
    return _table(space.codes(openness), dtype, lambda codes: space.decide(codes, ignore).astype(out)[np.newaxis])[0]


def look_up(layer: Stored, table: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`table[layer]`. Not to be written to."""
    if layer.itemsize == 1 and table.itemsize == 1:
        if not layer.any():  # most of most masks is background
            return np.broadcast_to(table[0], layer.shape)
        # bytes.translate is twice as fast as numpy's take.
        return np.frombuffer(layer.tobytes().translate(table.tobytes()), dtype=table.dtype).reshape(layer.shape)
    return np.take(table, layer, mode="clip")


def structure_masks(
    layers: Sequence[Stored],
    shape: tuple[int, ...],
    start: tuple[int, ...],
    space: LabelSpace,
    openness: tuple[Openness, ...],
) -> npt.NDArray[np.uint8]:
    """A mask for each class: (classes, z, y, x) uint8 of 0, 1 and 255 (cannot be told). Arguments as `class_mask`."""
    out = np.empty((len(space), *shape), dtype=np.uint8)
    table = np.zeros(4, dtype=np.uint8)
    table[CERTAIN], table[POSSIBLE] = 1, UNTOLD
    paint_layers(layers, shape, start, space, openness, out, lambda codes: table[codes])
    return out


def paint_layers(
    layers: Sequence[Stored],
    shape: tuple[int, ...],
    start: tuple[int, ...],
    space: LabelSpace,
    openness: tuple[Openness, ...],
    out: npt.NDArray[Any],
    paint: Paint,
) -> None:
    """Fill `out` (channels, z, y, x) with `paint(combined codes (classes, n)) -> (channels, n)`.

    Other arguments as `class_mask`. `paint` is asked about each distinct combination of values, in no stated order, and may
    be asked about values that do not occur.
    """
    extents = _extents_in(openness, shape, start)
    # Most crops meet one layer: a look-up and no more.
    first, *rest = [a for a in layers if a.any()] or [np.zeros(shape, dtype=np.uint8)]
    if not extents:
        codes = space.codes(openness)
        for channel, table in zip(out, _table(codes, first.dtype, paint), strict=True):
            channel[...] = look_up(first, table)
        if rest:
            some = np.any([r != 0 for r in rest], axis=0)
            _combine([a[some] for a in (first, *rest)], codes, out, some, paint)
        return
    # Where the structures that were looked for within an extent differ, so do the tables: one region at a time.
    region = np.zeros(shape, dtype=np.uint32)
    for bit, extent in enumerate(extents):
        n = len(shape)
        lower = [max(0, extent[a] - start[a]) for a in range(n)]
        upper = [max(0, extent[a + n] - start[a]) for a in range(n)]
        region[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))] |= np.uint32(1 << bit)
    for number in np.unique(region):
        here = region == number
        inside = frozenset(e for bit, e in enumerate(extents) if int(number) >> bit & 1)
        _combine([a[here] for a in (first, *rest)], space.codes(openness, inside), out, here, paint)


def _extents_in(openness: tuple[Openness, ...], shape: tuple[int, ...], start: tuple[int, ...]) -> list[Box]:
    extents = sorted({o.extent for o in openness if o.extent is not None})
    if len(extents) > 32:
        raise UsageError(
            f"a label space may meet at most 32 different extents in a sample, found {len(extents)}; "
            "ask for fewer structures"
        )
    return extents


def _columns(codes: Codes, dtype: np.dtype[Any]) -> npt.NDArray[np.intp]:
    """For each number of the mask's type: its column in `codes.values`."""
    last = codes.values.shape[1] - 1
    columns = np.full(np.iinfo(dtype).max + 1, last, dtype=np.intp)
    known = min(last, IGNORE[dtype.name])
    columns[:known] = np.arange(known)
    return columns


def _table(codes: Codes, dtype: np.dtype[Any], paint: Paint) -> npt.NDArray[Any]:
    """(channels, numbers of the type): what is written where one mask alone holds each number."""
    alone = codes.values.copy()
    alone[:, 0] = codes.background
    return paint(alone)[:, _columns(codes, dtype)]


def _combine(
    voxels: list[Stored], codes: Codes, out: npt.NDArray[Any], where: npt.NDArray[np.bool_], paint: Paint
) -> None:
    """Combine what layers say of the voxels at `where`; each distinct set of values is decided once."""
    joined: npt.NDArray[np.int64] = np.zeros(voxels[0].size, dtype=np.int64)
    for i, v in enumerate(voxels):
        if i >= 3:  # four values of 16 bits fill the word: number the combinations so far
            joined = np.unique(joined, return_inverse=True)[1].astype(np.int64).reshape(-1)
        joined = joined * (1 << 16) + v
    _, first, inverse = np.unique(joined, return_index=True, return_inverse=True)
    combined = np.zeros((codes.values.shape[0], len(first)), dtype=np.uint8)
    for v in voxels:
        np.maximum(combined, codes.values[:, _columns(codes, v.dtype)[v[first]]], out=combined)
    background = np.logical_and.reduce([v[first] == 0 for v in voxels])
    combined[:, background] = codes.background[:, np.newaxis]
    painted = paint(combined)
    for channel, row in zip(out, painted, strict=True):
        channel[where] = row[inverse.reshape(-1)]
