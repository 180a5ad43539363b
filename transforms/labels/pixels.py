"""What the pixels of a mask in a picture file say: numbers or colours, after the label table."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.label_table import LabelTable
from schemas.reasons import Reason
from schemas.values import rgb
from transforms.rejected import Rejected

LISTED = 10
"""How many colours without a meaning a message lists."""


def meaning(table: LabelTable) -> LabelTable:
    """What the numbers mean that `numbers` gives: the table itself, or, where it has colours, one of their numbers."""
    if not table.colours:
        return table
    mapped = len(table.colours)
    changed = {
        "values": dict(enumerate(table.colours.values())),
        "ignore": tuple(range(mapped, mapped + len(table.ignore_colours))),
        "colours": {},
        "ignore_colours": (),
    }
    return table.model_copy(update=changed)


def numbers(pixels: npt.NDArray[Any], table: LabelTable) -> npt.NDArray[Any]:
    """The mask as numbers, whose meaning `meaning` gives.

    Grey stored as RGB (three equal channels) is grey. A threshold makes 0 and 1 of grey, and of colour by the mean of its
    channels. Colours are numbered as the table lists them, then those that it ignores.

    Args:
        pixels: (y, x) numbers or (y, x, RGB), uint8 or uint16, as `transforms.read.mask` gives them.
        table: of the label.

    Returns:
        (y, x) uint8 or uint16.

    Raises:
        Rejected: LABEL_NOT_INTEGER, colours and a table of numbers; UNMAPPED_LABEL, a colour that the table neither maps
            nor ignores.
    """
    if table.threshold is not None:
        if pixels.ndim == 2:
            return (pixels >= table.threshold).astype(np.uint8)
        sums = pixels.sum(axis=2, dtype=np.uint32)
        return (sums >= pixels.shape[2] * table.threshold).astype(np.uint8)
    if table.colours:
        return _of_colours(pixels, table)
    if pixels.ndim == 2:
        return pixels
    first = pixels[:, :, 0]
    if not (pixels[:, :, 1:] == pixels[:, :, :1]).all():
        raise Rejected(
            Reason.LABEL_NOT_INTEGER,
            "the mask is in colour and its table maps numbers; map colours instead, for example "
            'colours: {"#000000": background, "#ff0000": <structure>}',
        )
    return np.ascontiguousarray(first)


def _of_colours(pixels: npt.NDArray[Any], table: LabelTable) -> npt.NDArray[Any]:
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise Rejected(
            Reason.LABEL_NOT_INTEGER, f"colours are of 8 bits a channel, found {pixels.dtype} {pixels.shape}"
        )
    known = [*table.colours, *table.ignore_colours]
    packed = _packed(pixels)
    wanted = np.array([int.from_bytes(bytes(rgb(c)), "big") for c in known], np.uint32)
    order = np.argsort(wanted)
    place = np.minimum(np.searchsorted(wanted[order], packed), len(wanted) - 1)
    codes = order[place]
    strange = packed[wanted[codes] != packed]
    if strange.size:
        found, counts = np.unique(strange, return_counts=True)
        shown = ", ".join(f"#{v:06x} ({n} pixels)" for v, n in list(zip(found.tolist(), counts, strict=True))[:LISTED])
        more = f" and {len(found) - LISTED} other colours" if len(found) > LISTED else ""
        raise Rejected(
            Reason.UNMAPPED_LABEL,
            f"the table maps or ignores {', '.join(known[:LISTED])}; found also {shown}{more}; map each to a structure or "
            "to background, or ignore it (ignore_colours:)",
        )
    return codes.astype(np.uint8 if len(known) <= 1 << 8 else np.uint16)


def _packed(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """0xRRGGBB of each pixel."""
    return pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
