"""The JPEG streams in the strips or tiles of a TIFF file, each as one that stands alone.

Compression 7 (TIFF Technical Note 2, 1995): each strip is a stream, whose tables may stand in the tag JPEGTables.
Compression 6 (TIFF 6.0, section 22): what stands before the scan lies elsewhere in the file, as a stream of its own
(JPEGInterchangeFormat) or as bare tables (JPEGQTables, JPEGDCTables, JPEGACTables), and strips hold entropy-coded data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from schemas.reasons import Reason
from transforms.read.jpeg import segments
from transforms.rejected import Rejected

OLD, NEW = 6, 7
"""Values of the tag Compression."""

_WIDTH, _LENGTH, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR = 256, 257, 259, 262, 277, 284
_STRIPS, _STRIP_ROWS, _STRIP_BYTES = 273, 278, 279
_TILE_WIDTH, _TILE_LENGTH, _TILES, _TILE_BYTES = 322, 323, 324, 325
_TABLES, _STREAM, _STREAM_BYTES, _RESTART = 347, 513, 514, 515
_QUANTISERS, _DC, _AC, _SAMPLING = 519, 520, 521, 530
_KINDS = {1: "B", 3: "H", 4: "I", 7: "B"}
_YCBCR = 6
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOF, _SOS = range(0xC0, 0xC3), 0xDA


@dataclass(frozen=True)
class _File:
    """Bytes of a file, their order, and the tags of its first directory."""

    data: bytes
    order: str
    tags: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def one(self, tag: int, otherwise: int) -> int:
        return (self.tags.get(tag) or (otherwise,))[0]

    def at(self, offset: int, count: int) -> bytes:
        """Raises: Rejected, TRUNCATED: the file ends before."""
        if offset + count > len(self.data):
            raise Rejected(Reason.TRUNCATED, "the TIFF file ends within its strips")
        return self.data[offset : offset + count]


def streams(data: bytes) -> Iterator[bytes]:
    """A JPEG stream for each strip or tile of the first page; none of a file that holds no JPEG.

    Raises:
        Rejected: TRUNCATED, strips are missing, lie beyond the file, or hold smaller pictures than announced; UNREADABLE, a
            strip is no JPEG.
    """
    try:
        file = _opened(data)
        kind = file.one(_COMPRESSION, 1)
        if kind not in (OLD, NEW):
            return
        for part, (rows, columns) in _parts(file):
            stream = _of_new(file, part) if kind == NEW else _of_old(file, part, rows, columns)
            found = _size(stream)
            if found[0] < rows or found[1] < columns:
                raise Rejected(
                    Reason.TRUNCATED,
                    f"expected {rows}×{columns} pixels in a strip, its JPEG stream holds {found[0]}×{found[1]}",
                )
            yield stream
    except (struct.error, IndexError, ValueError, ZeroDivisionError) as error:
        raise Rejected(Reason.UNREADABLE, "the JPEG streams of the TIFF file cannot be found") from error


def _opened(data: bytes) -> _File:
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, start)
    tags: dict[int, tuple[int, ...]] = {}
    for number in range(entries):
        at = start + 2 + 12 * number
        tag, kind, count = struct.unpack_from(order + "HHI", data, at)
        letter = _KINDS.get(kind)
        if letter is None or count > len(data):
            continue
        size = count * struct.calcsize(letter)
        (place,) = struct.unpack_from(order + "I", data, at + 8) if size > 4 else (at + 8,)
        tags[tag] = struct.unpack_from(f"{order}{count}{letter}", data, place)
    return _File(data, order, tags)


def _parts(file: _File) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Bytes of each strip or tile, and the rows and columns of the picture that it holds (tiles: with their padding)."""
    rows, columns = file.one(_LENGTH, 0), file.one(_WIDTH, 0)
    tiled = _TILES in file.tags
    if tiled:
        high, wide = file.one(_TILE_LENGTH, 0), file.one(_TILE_WIDTH, 0)
    else:
        high, wide = min(file.one(_STRIP_ROWS, rows), rows), columns
    offsets = file.tags.get(_TILES if tiled else _STRIPS, ())
    lengths = file.tags.get(_TILE_BYTES if tiled else _STRIP_BYTES, ())
    down, across = -(-rows // high), -(-columns // wide)
    planes = file.one(_SAMPLES, 1) if file.one(_PLANAR, 1) == 2 else 1
    if len(offsets) < down * across * planes or len(lengths) < len(offsets):
        raise Rejected(
            Reason.TRUNCATED, f"expected {down * across * planes} strips in the TIFF file, found {len(offsets)}"
        )
    for number in range(down * across * planes):
        plane, within = divmod(number, down * across)
        there = high if tiled else min(high, rows - within * high)
        sampled = _sampling(file) if plane else (1, 1)  # planes of colour differences may be smaller
        yield file.at(offsets[number], lengths[number]), (-(-there // sampled[1]), -(-wide // sampled[0]))


def _sampling(file: _File) -> tuple[int, int]:
    """How much wider and higher luminance is than colour differences; by the standard 2, 2 where nothing is said."""
    if file.one(_PHOTOMETRIC, 1) != _YCBCR:
        return 1, 1
    across, down = file.tags.get(_SAMPLING, (2, 2))[:2]
    return across, down


def _of_new(file: _File, part: bytes) -> bytes:
    if part[:2] != _SOI:
        raise Rejected(Reason.UNREADABLE, "expected a JPEG stream in each strip of the TIFF file, found something else")
    tables = bytes(file.tags.get(_TABLES, ()))
    return _SOI + tables[2:].removesuffix(_EOI) + part[2:]


def _of_old(file: _File, part: bytes, rows: int, columns: int) -> bytes:
    if part[:2] == _SOI:
        return part
    head = _head_of_stream(file, rows) if _STREAM in file.tags else _head_of_tables(file, rows, columns)
    if len(part) > 1 and part[-2] == 0xFF and (part[-1] == 0xD9 or 0xD0 <= part[-1] <= 0xD7):
        part = part[:-2]  # the marker that led on to the next strip
    return head + part + _EOI


def _head_of_stream(file: _File, rows: int) -> bytes:
    """What stands before the scan of the file's own stream, for a strip of so many rows."""
    start = file.one(_STREAM, 0)
    length = file.one(_STREAM_BYTES, 0) or len(file.data) - start
    stream = file.at(start, min(length, len(file.data) - start))
    parts = [_SOI]
    for marker, begin, end in segments(stream):
        content = stream[begin:end]
        if marker in _SOF:
            content = content[:1] + struct.pack(">H", rows) + content[3:]
        parts.append(_segment(marker, content))
        if marker == _SOS:
            break
    return b"".join(parts)


def _head_of_tables(file: _File, rows: int, columns: int) -> bytes:
    samples = len(file.tags[_QUANTISERS]) if _QUANTISERS in file.tags else 0
    planar = file.one(_PLANAR, 1) == 2
    if not samples or planar or len(file.tags.get(_DC, ())) < samples or len(file.tags.get(_AC, ())) < samples:
        raise ValueError("no tables of the old JPEG compression, or those of planes")
    across, down = _sampling(file)
    parts = [_SOI]
    for number in range(samples):
        parts.append(_segment(0xDB, bytes([number]) + file.at(file.tags[_QUANTISERS][number], 64)))
        for kind, tag in ((0x00, _DC), (0x10, _AC)):
            place = file.tags[tag][number]
            parts.append(_segment(0xC4, bytes([kind + number]) + file.at(place, 16 + sum(file.at(place, 16)))))
    sampled = [(across, down), *([(1, 1)] * (samples - 1))]
    frame = b"".join(bytes([n, h << 4 | v, n]) for n, (h, v) in enumerate(sampled))
    parts.append(_segment(0xC0, struct.pack(">BHHB", 8, rows, columns, samples) + frame))
    if file.one(_RESTART, 0):
        parts.append(_segment(0xDD, struct.pack(">H", file.one(_RESTART, 0))))
    scan = b"".join(bytes([n, n << 4 | n]) for n in range(samples))
    parts.append(_segment(_SOS, bytes([samples]) + scan + b"\x00\x3f\x00"))
    return b"".join(parts)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _size(stream: bytes) -> tuple[int, int]:
    """Rows and columns by the frame header."""
    for marker, begin, _ in segments(stream):
        if marker in _SOF:
            rows, columns = struct.unpack_from(">HH", stream, begin + 1)
            return rows, columns
    raise ValueError("a stream without a frame header")
