"""The one thing that is taken from EXIF: how a picture was held. Everything else in it stays behind.

The rule: a picture is turned as tag 0x0112 (Orientation) says, so that rows run from the top and columns from the left of
what people see (CIPA DC-008 4.6.4). Positions in a source's tables are taken to be those of the turned picture.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

ORIENTATION = 0x0112

_MAX_ENTRIES = 512
"""Entries of an IFD that are looked at: cameras write some dozens."""


def orientation(tiff: bytes) -> int:
    """Orientation, 1 to 8, of an EXIF block (a TIFF header and its first IFD); 1 where it says nothing that counts."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (entries,) = struct.unpack_from(order + "H", tiff, start)
    for number in range(min(entries, _MAX_ENTRIES)):
        at = start + 2 + 12 * number
        if at + 12 > len(tiff):
            break
        tag, kind, count = struct.unpack_from(order + "HHI", tiff, at)
        if tag == ORIENTATION and kind == 3 and count == 1:
            (value,) = struct.unpack_from(order + "H", tiff, at + 8)
            return value if 1 <= value <= 8 else 1
    return 1


def turned(array: npt.NDArray[Any], value: int) -> npt.NDArray[Any]:
    """A picture (rows, columns, …) turned upright; a view where possible.

    Args:
        array: as stored in the file.
        value: orientation, 1 to 8.
    """
    upright = array.swapaxes(0, 1) if value >= 5 else array
    # After the exchange of rows and columns of 5 to 8, the same four flips remain.
    rows, columns = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[value]
    return np.ascontiguousarray(upright[:: -1 if rows else 1, :: -1 if columns else 1])


def turned_shape(rows: int, columns: int, value: int) -> tuple[int, int]:
    """Rows and columns after `turned`."""
    return (columns, rows) if value >= 5 else (rows, columns)
