"""BMP files (Windows bitmaps, BITMAPINFOHEADER and later): header, pixels. Uncompressed, 1 to 32 bits a pixel.

Layout as in Microsoft's description of BITMAPFILEHEADER and BITMAPINFOHEADER: rows are padded to four bytes and run from
the bottom unless the height is negative; colours are blue, green, red.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.reasons import Reason
from transforms.rejected import Rejected

MAGIC = b"BM"

_INFO_BYTES = (40, 52, 56, 108, 124)
"""Sizes of the information headers that begin like BITMAPINFOHEADER."""
_PALETTE_BITS = (1, 4, 8)
_MAX_COLOURS = 256


@dataclass(frozen=True)
class BmpHeader:
    """What stands before the pixels of a BMP file.

    Attributes:
        rows: as stored.
        columns: as stored.
        stored_bits: bits of a pixel in the file: 1, 4, 8 (indices), 24, 32.
        upwards: rows run from the bottom.
        start: first byte of the pixels.
        palette: (colours, 3) red, green, blue of each index; None without indices.
        orientation: always 1; BMP has no such thing.
    """

    rows: int
    columns: int
    stored_bits: int
    upwards: bool
    start: int
    palette: npt.NDArray[np.uint8] | None
    orientation: int = 1

    @property
    def channels(self) -> int:
        """Of the picture: 1 where every colour of the palette is grey, else 3."""
        grey = self.palette is not None and bool((self.palette == self.palette[:, :1]).all())
        return 1 if grey else 3


def header(prefix: bytes, *, whole: bool) -> BmpHeader | None:
    """The header from the first bytes of a file; None when it needs more of them.

    Raises:
        Rejected: UNREADABLE, no BMP; TRUNCATED; UNSUPPORTED, compressed pixels or another kind of header.
    """
    if prefix[:2] != MAGIC:
        raise Rejected(Reason.UNREADABLE, "not BMP: the file does not begin with BM")
    try:
        (start,) = struct.unpack_from("<I", prefix, 10)
        size, columns, rows, _, bits, compression = struct.unpack_from("<IiiHHI", prefix, 14)
        (colours,) = struct.unpack_from("<I", prefix, 46)
        if size not in _INFO_BYTES:
            raise Rejected(Reason.UNSUPPORTED, f"a BMP header of {size} bytes; 40 and its successors are read")
        if compression != 0 or bits not in (*_PALETTE_BITS, 24, 32):
            raise Rejected(
                Reason.UNSUPPORTED, f"BMP of {bits} bits, compression {compression}; uncompressed ones are read"
            )
        if columns < 1 or rows == 0 or colours > _MAX_COLOURS:
            raise Rejected(Reason.UNREADABLE, f"a BMP header of {columns}×{rows} pixels and {colours} colours")
        palette = None
        if bits in _PALETTE_BITS:
            count = colours or 1 << bits
            if count > 1 << bits:
                raise Rejected(Reason.UNREADABLE, f"a BMP palette of {count} colours for {bits} bits")
            if len(prefix) < 14 + size + 4 * count:
                raise struct.error
            entries = np.frombuffer(prefix, np.uint8, 4 * count, 14 + size).reshape(count, 4)
            palette = np.ascontiguousarray(entries[:, 2::-1])
    except struct.error as error:
        if not whole:
            return None
        raise Rejected(Reason.TRUNCATED, "the BMP file ends within its header") from error
    return BmpHeader(abs(rows), columns, bits, rows > 0, start, palette)


def numbers(data: bytes, found: BmpHeader) -> npt.NDArray[Any]:
    """Pixels as the file has them: indices (y, x) uint8, or (y, x, RGB) uint8. Rows from the top.

    Of 32 bits the fourth byte is no picture (it is reserved where nothing is compressed) and is left out.

    Raises:
        Rejected: TRUNCATED; UNREADABLE, an index beyond the palette.
    """
    width = (found.columns * found.stored_bits + 31) // 32 * 4
    if found.start < 14 or len(data) < found.start + width * found.rows:
        raise Rejected(Reason.TRUNCATED, f"the BMP file ends before its {found.rows} rows of {width} bytes")
    lines = np.frombuffer(data, np.uint8, width * found.rows, found.start).reshape(found.rows, width)
    lines = lines[::-1] if found.upwards else lines
    if found.stored_bits in (24, 32):
        each = found.stored_bits // 8
        pixels = lines[:, : each * found.columns].reshape(found.rows, found.columns, each)
        return np.ascontiguousarray(pixels[:, :, 2::-1])
    if found.stored_bits == 8:
        indices = lines[:, : found.columns]
    else:
        bits = np.unpackbits(lines, axis=1)[:, : found.columns * found.stored_bits]
        weights = (1 << np.arange(found.stored_bits - 1, -1, -1)).astype(np.uint8)
        indices = (bits.reshape(found.rows, found.columns, found.stored_bits) * weights).sum(axis=2, dtype=np.uint8)
    if found.palette is not None and int(indices.max()) >= len(found.palette):
        raise Rejected(Reason.UNREADABLE, "a BMP pixel names a colour that the palette does not have")
    return np.ascontiguousarray(indices)


def decode(data: bytes, found: BmpHeader) -> npt.NDArray[Any]:
    """The picture: (y, x) where all colours are grey, else (y, x, RGB); uint8.

    Raises:
        Rejected: as `numbers` does.
    """
    pixels = numbers(data, found)
    if found.palette is None:
        return pixels
    return found.palette[:, 0][pixels] if found.channels == 1 else found.palette[pixels]
