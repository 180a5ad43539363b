"""JPEG files: what their segments say, and the stream without everything that is no picture.

ISO/IEC 10918-1 (ITU-T T.81) annex B gives the segments; JFIF (T.871) and Adobe's APP14 (T.872) say what the components
mean. Progressive and sequential Huffman streams of 8 bits are read; others are refused by name.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.reasons import Reason
from transforms.read import exif, isolated
from transforms.rejected import Rejected

MAGIC = b"\xff\xd8\xff"

_SOF_PROGRESSIVE = 0xC2
_SOF_READ = (0xC0, 0xC1, _SOF_PROGRESSIVE)
_SOF_OTHER = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_SOI, _EOI, _SOS, _DRI, _DQT, _DHT, _DAC, _DNL = 0xD8, 0xD9, 0xDA, 0xDD, 0xDB, 0xC4, 0xCC, 0xDC
_KEPT = frozenset({*_SOF_READ, _DRI, _DQT, _DHT, _DAC, _DNL})
_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
"""A JFIF header that says nothing but that the components are YCbCr: no density, no thumbnail."""
_ADOBE_BYTES = 12
"""What of Adobe's segment means anything: name, version, two flags, colour transform."""


@dataclass(frozen=True)
class JpegHeader:
    """What stands before the pixels of a JPEG file.

    Attributes:
        rows: as stored, before `orientation`.
        columns: as stored.
        components: 1 (grey) or 3 (colour).
        orientation: of EXIF, 1 to 8.
    """

    rows: int
    columns: int
    components: int
    orientation: int


def header(prefix: bytes, *, whole: bool) -> JpegHeader | None:
    """The header from the first bytes of a file; None when it needs more of them.

    Args:
        prefix: first bytes.
        whole: they are all of the file.

    Raises:
        Rejected: UNREADABLE, no JPEG or damaged segments; TRUNCATED; UNSUPPORTED, an encoding that is not read.
    """
    orientation = 1
    try:
        for marker, start, stop in segments(prefix):
            if marker == 0xE1 and prefix[start : start + 6] == b"Exif\0\0":
                orientation = exif.orientation(prefix[start + 6 : stop])
            if marker in _SOF_OTHER:
                raise Rejected(
                    Reason.UNSUPPORTED, f"JPEG process {marker - 0xC0} (lossless, hierarchical or arithmetic)"
                )
            if marker in _SOF_READ:
                bits, rows, columns, components = struct.unpack_from(">BHHB", prefix, start)
                _check_frame(bits, rows, columns, components)
                return JpegHeader(rows, columns, components, orientation)
            if marker in (_SOS, _EOI):
                raise Rejected(Reason.UNREADABLE, "a JPEG scan before any frame header")
    except (struct.error, IndexError) as error:
        if not whole:
            return None
        raise Rejected(Reason.TRUNCATED, "the JPEG file ends within its header") from error
    if not whole:
        return None
    raise Rejected(Reason.TRUNCATED, "the JPEG file ends before its frame header")


def _check_frame(bits: int, rows: int, columns: int, components: int) -> None:
    if bits != 8:
        raise Rejected(Reason.UNSUPPORTED, f"JPEG of {bits} bits a sample; 8 are read")
    if components not in (1, 3):
        raise Rejected(Reason.UNSUPPORTED, f"JPEG of {components} components; 1 (grey) and 3 (colour) are read")
    if not rows or not columns:
        raise Rejected(Reason.UNSUPPORTED, "a JPEG frame header that leaves the number of rows open")


def segments(data: bytes) -> Any:
    """(marker, start, stop) of each segment's content up to and including the first scan header.

    Raises:
        IndexError: `data` ends within a segment.
        Rejected: UNREADABLE, something else than a marker.
    """
    if data[:2] != MAGIC[:2]:
        raise Rejected(Reason.UNREADABLE, "not JPEG: the file does not begin with FF D8")
    at = 2
    while True:
        if data[at] != 0xFF:
            raise Rejected(Reason.UNREADABLE, f"expected a JPEG marker at byte {at}, found {data[at]:#04x}")
        while data[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = data[at + 1]
        at += 2
        if marker == _EOI:
            yield marker, at, at
            return
        if marker == _SOI or marker == 0x01 or 0xD0 <= marker <= 0xD7:
            continue
        length = data[at] << 8 | data[at + 1]
        if length < 2:
            raise Rejected(Reason.UNREADABLE, f"a JPEG segment of length {length} at byte {at}")
        if at + length > len(data):
            # Frame headers are short: their content may be there even where a long segment before them is not.
            raise IndexError
        yield marker, at + 2, at + length
        at += length
        if marker == _SOS:
            at = _after_scan(data, at)


def _after_scan(data: bytes, at: int) -> int:
    """Place of the marker that ends the entropy-coded data from `at` on.

    Raises:
        IndexError: there is none.
    """
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            raise IndexError
        following = data[at + 1]
        if following == 0 or 0xD0 <= following <= 0xD7:
            at += 2
        elif following == 0xFF:
            at += 1
        else:
            return at


def stripped(data: bytes) -> bytes:
    """The stream with every segment removed that is no part of the picture, without compressing anything again.

    Removed: APPn (EXIF, XMP, IPTC, thumbnails, maker notes, density), COM, and whatever follows the end of the image.
    Kept: frames, tables, scans; the twelve bytes of Adobe's APP14 that say what the components mean; of JFIF, that it is
    JFIF; of colour pictures the ICC profile, on which their colour depends.

    Raises:
        Rejected: TRUNCATED, no end of the image; UNREADABLE.
    """
    found = header(data, whole=True)
    assert found is not None
    parts = [b"\xff\xd8"]
    end = -1
    try:
        for marker, start, stop in segments(data):
            if marker == _EOI:
                end = start
                break
            if marker == 0xE0 and data[start : start + 5] == b"JFIF\0" and len(parts) == 1:
                parts.append(_JFIF)
            elif marker == 0xEE and data[start : start + 5] == b"Adobe" and stop - start >= _ADOBE_BYTES:
                parts.append(_segment(marker, data[start : start + _ADOBE_BYTES]))
            elif marker in _KEPT or (found.components == 3 and data[start : start + 12] == b"ICC_PROFILE\0"):
                parts.append(_segment(marker, data[start:stop]))
            elif marker == _SOS:
                parts.append(_segment(marker, data[start:stop]) + data[stop : _after_scan(data, stop)])
    except IndexError as error:
        raise Rejected(Reason.TRUNCATED, "the JPEG stream has no end marker: the file is cut short") from error
    if end < 0:
        raise Rejected(Reason.TRUNCATED, "the JPEG stream has no end marker: the file is cut short")
    parts.append(b"\xff\xd9")
    return b"".join(parts)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def decode(stream: bytes, found: JpegHeader) -> npt.NDArray[Any]:
    """Pixels (y, x) or (y, x, RGB) uint8 of a stream, as stored: not turned.

    A changed bit within a scan often decodes to other pixels without a sign: JPEG has no checksum.

    Raises:
        Rejected: TRUNCATED, a scan ends early though the stream has its end marker, or scans are missing; UNREADABLE.
    """
    array = isolated.run("transforms.read.decoders:jpeg", stream)
    expected = (found.rows, found.columns, *((3,) if found.components == 3 else ()))
    if array.shape != expected or array.dtype != np.uint8:
        raise Rejected(Reason.UNREADABLE, f"expected {expected} pixels of 8 bits, the stream holds {array.shape}")
    return array
