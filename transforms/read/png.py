"""PNG files (ISO/IEC 15948): header, checks, pixels."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from schemas.reasons import Reason
from transforms.read import exif, isolated
from transforms.rejected import Rejected

MAGIC = b"\x89PNG\r\n\x1a\n"

_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


@dataclass(frozen=True)
class PngHeader:
    """What stands before the pixels of a PNG file.

    Attributes:
        rows: as stored, before `orientation`.
        columns: as stored.
        channels: of the decoded picture: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA; palettes are RGB.
        bits: of a decoded sample, 8 or 16; fewer are scaled up to 8.
        orientation: of an eXIf chunk, 1 to 8.
    """

    rows: int
    columns: int
    channels: int
    bits: int
    orientation: int


def header(prefix: bytes, *, whole: bool) -> PngHeader | None:
    """The header from the first bytes of a file; None when it needs more of them.

    Args:
        prefix: first bytes.
        whole: they are all of the file.

    Raises:
        Rejected: UNREADABLE, no PNG, or a header that is none; TRUNCATED.
    """
    if prefix[:8] != MAGIC:
        raise Rejected(Reason.UNREADABLE, "not PNG: the file does not begin with the PNG signature")
    columns = rows = bits = colour = 0
    transparent, orientation = False, 1
    at = 8
    while True:
        if at + 8 > len(prefix):
            break
        length, kind = struct.unpack_from(">I4s", prefix, at)
        if kind == b"IDAT":
            if not rows:
                raise Rejected(Reason.UNREADABLE, "PNG pixels before any header")
            channels = _CHANNELS[colour] + (transparent and colour in (0, 2, 3))
            return PngHeader(rows, columns, channels, 16 if bits == 16 else 8, orientation)
        if at + 12 + length > len(prefix):
            break
        content = prefix[at + 8 : at + 8 + length]
        if zlib.crc32(kind + content) != struct.unpack_from(">I", prefix, at + 8 + length)[0]:
            raise Rejected(Reason.UNREADABLE, "the checksum of a PNG chunk does not match its content")
        if kind == b"IHDR" and length == 13:
            columns, rows, bits, colour, method, filtering, _ = struct.unpack(">IIBBBBB", content)
            if not rows or not columns or bits not in _BITS.get(colour, ()) or method or filtering:
                raise Rejected(
                    Reason.UNREADABLE, f"a PNG header of {columns}×{rows}, {bits} bits, colour type {colour}"
                )
        elif kind == b"tRNS":
            transparent = True
        elif kind == b"eXIf":
            orientation = exif.orientation(content)
        at += 12 + length
    if whole:
        raise Rejected(Reason.TRUNCATED, "the PNG file ends before its pixels")
    return None


def decode(data: bytes, found: PngHeader) -> npt.NDArray[Any]:
    """Pixels (y, x) or (y, x, c), uint8 or uint16, as stored: not turned. Palettes become RGB; gamma is not applied.

    Raises:
        Rejected: TRUNCATED, chunks are missing; UNREADABLE, checksums or the stream itself are wrong.
    """
    _check_chunks(data)
    array = isolated.run("transforms.read.decoders:png", data)
    expected = (found.rows, found.columns, *((found.channels,) if found.channels > 1 else ()))
    if array.shape != expected or array.dtype.itemsize * 8 != found.bits:
        raise Rejected(
            Reason.UNREADABLE, f"expected {expected} pixels of {found.bits} bits, the stream holds {array.shape}"
        )
    return array


def numbers(data: bytes, found: PngHeader, *, palette: bool) -> npt.NDArray[Any]:
    """The numbers that stand in the file, for masks: grey of fewer than 8 bits is not scaled, tRNS changes nothing.

    Args:
        data: the file.
        found: its header.
        palette: look colours up in the palette; else indices stay indices.

    Returns:
        (y, x) or (y, x, c), uint8 or uint16, as stored: not turned.

    Raises:
        Rejected: as `decode`.
    """
    _check_chunks(data)
    if data[12:16] != b"IHDR":
        raise Rejected(Reason.UNREADABLE, "a PNG file that does not begin with its header chunk")
    bits, colour = data[24], data[25]
    as_grey = colour == _PALETTE and not palette
    array = isolated.run("transforms.read.decoders:png", _plain(data, as_grey=as_grey))
    expected = (found.rows, found.columns)
    if array.shape[:2] != expected or array.dtype.itemsize * 8 != found.bits:
        raise Rejected(
            Reason.UNREADABLE, f"expected {expected} pixels of {found.bits} bits, the stream holds {array.shape}"
        )
    if bits < 8 and (colour == _GREY or as_grey):
        array = array // (255 // ((1 << bits) - 1))  # decoders scale them up to 0..255 (12.5), exactly
    return array


_GREY, _PALETTE = 0, 3


def _plain(data: bytes, *, as_grey: bool) -> bytes:
    """The file without tRNS; `as_grey` without its palette too, its indices declared to be grey values."""
    parts, at = [MAGIC], 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        if kind == b"IHDR" and as_grey:
            content = content[:9] + bytes([_GREY]) + content[10:]
        if kind != b"tRNS" and not (kind == b"PLTE" and as_grey):
            parts.append(struct.pack(">I4s", length, kind) + content + struct.pack(">I", zlib.crc32(kind + content)))
        at += 12 + length
        if kind == b"IEND":
            break
    return b"".join(parts)


def _check_chunks(data: bytes) -> None:
    """Every chunk must be whole and the last one IEND: a decoder stops reading when it has enough rows."""
    at = 8
    while True:
        if at + 12 > len(data):
            raise Rejected(Reason.TRUNCATED, "the PNG file has no end chunk: it is cut short")
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            raise Rejected(Reason.TRUNCATED, "a PNG chunk is cut short")
        if zlib.crc32(data[at + 4 : at + 8 + length]) != struct.unpack_from(">I", data, at + 8 + length)[0]:
            raise Rejected(Reason.UNREADABLE, "the checksum of a PNG chunk does not match its content")
        if kind == b"IEND":
            return
        at += 12 + length
