"""JPEG in TIFF: strips and tiles that break off are refused, in both compressions; whole files are read as libtiff does."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import raster, tiff_jpeg
from transforms.rejected import Rejected

ROWS, COLUMNS = 83, 117
_Y, _X = np.mgrid[:ROWS, :COLUMNS]
RGB = np.stack([_X * 2, _Y * 3, _X + _Y], -1) + np.random.default_rng(0).integers(0, 40, (ROWS, COLUMNS, 3))
RGB = np.clip(RGB, 0, 255).astype(np.uint8)
GREY = np.ascontiguousarray(RGB[..., 0])
BYTE, SHORT, LONG, UNDEFINED = 1, 3, 4, 7
Tags = dict[int, tuple[int, Sequence[int]]]


def tiff_of(tags: Tags, parts: Sequence[bytes], order: str = "<") -> bytes:
    """A TIFF file: header, parts, one directory. Values -1 - n stand for the place of part n."""
    places, body = [], b""
    for part in parts:
        places.append(8 + len(body))
        body += part + b"\0" * (len(part) % 2)
    start = 8 + len(body)
    entries, beyond = b"", b""
    for tag, (kind, held) in sorted(tags.items()):
        found = [places[-1 - v] if v < 0 else v for v in held]
        raw = struct.pack(f"{order}{len(found)}{'-BxHI--B'[kind]}", *found)
        if len(raw) > 4:
            place = start + 2 + 12 * len(tags) + 4 + len(beyond)
            beyond += raw + b"\0" * (len(raw) % 2)
            raw = struct.pack(order + "I", place)
        entries += struct.pack(order + "HHI", tag, kind, len(found)) + raw.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(order + "H", len(tags)) + entries + bytes(4)
    return magic + struct.pack(order + "I", start) + body + directory + beyond


def described(array: np.ndarray, compression: int, photometric: int, **more: tuple[int, Sequence[int]]) -> Tags:
    samples = 1 if array.ndim == 2 else 3
    tags: Tags = {
        256: (LONG, [array.shape[1]]), 257: (LONG, [array.shape[0]]), 258: (SHORT, [8] * samples),
        259: (SHORT, [compression]), 262: (SHORT, [photometric]), 277: (SHORT, [samples]),
    }  # fmt: skip
    return tags | {int(k[1:]): v for k, v in more.items()}


def of_parts(array: np.ndarray, streams: Sequence[bytes], photometric: int, order: str = "<", **more) -> bytes:
    """Compression 7, each stream a strip, or a tile where `more` says t322."""
    where, lengths = (324, 325) if "t322" in more else (273, 279)
    tags = described(array, 7, photometric, **more)
    tags |= {where: (LONG, [-1 - n for n in range(len(streams))]), lengths: (LONG, [len(s) for s in streams])}
    return tiff_of(tags, streams, order)


def pillow(array: np.ndarray, **options: object) -> bytes:
    """By libtiff: strips of 32 rows with tables of their own."""
    sink = io.BytesIO()
    Image.fromarray(array).save(sink, "TIFF", compression="jpeg", quality=90, tiffinfo={278: 32}, **options)
    return sink.getvalue()


def tiles(array: np.ndarray, edge: int = 48, **options: object) -> list[bytes]:
    padded = np.pad(array, [(0, -n % edge) for n in array.shape[:2]] + [(0, 0)] * (array.ndim - 2), mode="edge")
    return [
        imagecodecs.jpeg8_encode(np.ascontiguousarray(padded[y : y + edge, x : x + edge]), level=90, **options)
        for y in range(0, padded.shape[0], edge)
        for x in range(0, padded.shape[1], edge)
    ]


def strips(array: np.ndarray, rows: int, **options: object) -> list[bytes]:
    return [imagecodecs.jpeg8_encode(array[y : y + rows], level=90, **options) for y in range(0, len(array), rows)]


def progressive(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(array).save(sink, "JPEG", progressive=True, quality=90)
    return sink.getvalue()


def old(array: np.ndarray, layout: str) -> bytes:
    """Compression 6, one strip: `strip` has the stream, `stream` the scan of a stream told of, `tables` bare tables."""
    stream = imagecodecs.jpeg8_encode(array, level=90, **({"subsampling": "420"} if array.ndim == 3 else {}))
    scan = stream.index(b"\xff\xda")
    data = stream[scan + 2 + int.from_bytes(stream[scan + 2 : scan + 4], "big") : -2]
    tags = described(array, 6, 1 if array.ndim == 2 else 6, t278=(LONG, [ROWS]), t512=(SHORT, [1]))
    if array.ndim == 3:
        tags[530] = (SHORT, [2, 2])
    if layout == "tables":
        found: dict[int, list[bytes]] = {0xDB: [], 0xC4: []}
        for marker, start, stop in tiff_jpeg.segments(stream):
            if marker in found:
                found[marker].append(stream[start + 1 : stop])
        quantisers, huffman = found[0xDB], found[0xC4]  # of luminance and chrominance; DC and AC of each
        which = [0] if array.ndim == 2 else [0, 1, 1]
        tags |= {
            273: (LONG, [-1]), 279: (LONG, [len(data)]), 519: (LONG, [-2 - k for k in which]),
            520: (LONG, [-4 - 2 * k for k in which]), 521: (LONG, [-5 - 2 * k for k in which]),
        }  # fmt: skip
        two = len(quantisers) == 2
        return tiff_of(tags, [data, quantisers[0], quantisers[1] if two else b"", *huffman])
    tags |= {513: (LONG, [-1]), 514: (LONG, [len(stream)])}
    if layout == "strip":
        return tiff_of(tags | {273: (LONG, [-1]), 279: (LONG, [len(stream)])}, [stream])
    return tiff_of(tags | {273: (LONG, [8 + len(stream) - 2 - len(data)]), 279: (LONG, [len(data)])}, [stream])


def shared_tables(array: np.ndarray) -> bytes:
    """Tiles without tables, which all stand in the tag JPEGTables."""
    made = tiles(array)
    parts, tables = [], b""
    for stream in made:
        kept, tables = b"\xff\xd8", b"\xff\xd8"
        for marker, start, stop in tiff_jpeg.segments(stream):
            if marker in (0xDB, 0xC4):
                tables += stream[start - 4 : stop]
            elif marker != 0xD9:
                kept += stream[start - 4 : stop]
        scan = next(stop for marker, _, stop in tiff_jpeg.segments(stream) if marker == 0xDA)
        parts.append(kept + stream[scan:])
    tables += b"\xff\xd9"
    edges = {"t322": (SHORT, [48]), "t323": (SHORT, [48]), "t347": (UNDEFINED, list(tables))}
    return of_parts(array, parts, 1, **edges)


FILES: dict[str, bytes] = {
    "pillow, RGB": pillow(RGB),
    "pillow, grey": pillow(GREY),
    "one strip": of_parts(GREY, strips(GREY, ROWS), 1),
    "strips": of_parts(GREY, strips(GREY, 16), 1, t278=(SHORT, [16])),
    "strips, big endian": of_parts(GREY, strips(GREY, 16), 1, ">", t278=(SHORT, [16])),
    "strips, YCbCr 4:2:0": of_parts(
        RGB, strips(RGB, 16, subsampling="420"), 6, t278=(SHORT, [16]), t530=(SHORT, [2, 2])
    ),
    "strips, YCbCr 4:4:4": of_parts(
        RGB, strips(RGB, 24, subsampling="444"), 6, t278=(SHORT, [24]), t530=(SHORT, [1, 1])
    ),
    "tiles": of_parts(GREY, tiles(GREY), 1, t322=(SHORT, [48]), t323=(SHORT, [48])),
    "tiles, YCbCr 4:2:2": of_parts(
        RGB, tiles(RGB, subsampling="422"), 6, t322=(SHORT, [48]), t323=(SHORT, [48]), t530=(SHORT, [2, 1])
    ),
    "tiles, tables once": shared_tables(GREY),
    "planes": of_parts(
        RGB, [s for c in range(3) for s in strips(np.ascontiguousarray(RGB[..., c]), 32)], 2,
        t278=(SHORT, [32]), t284=(SHORT, [2]),
    ),
    "progressive": of_parts(GREY, [progressive(GREY)], 1),
    **{f"old, {layout}, grey": old(GREY, layout) for layout in ("strip", "stream", "tables")},
    **{f"old, {layout}, colour": old(RGB, layout) for layout in ("strip", "stream", "tables")},
}  # fmt: skip


def read(data: bytes) -> np.ndarray:
    return raster.read(data, Limits()).array


@pytest.mark.parametrize("name", FILES)
def test_whole_files_have_the_pixels_of_libtiff(name):
    array = read(FILES[name])
    assert np.abs(array.astype(int) - (RGB if array.ndim == 3 else GREY)).mean() < 10
    with Image.open(io.BytesIO(FILES[name])) as theirs:
        if theirs.mode in ("RGB", "L") and array.ndim == (3 if theirs.mode == "RGB" else 2):
            assert np.abs(array.astype(int) - np.asarray(theirs)).max() <= 2


def strips_of(data: bytes) -> list[tuple[int, int]]:
    """(place, bytes) of each strip or tile."""
    file = tiff_jpeg._opened(data)
    where, lengths = (324, 325) if 324 in file.tags else (273, 279)
    return list(zip(file.tags[where], file.tags[lengths], strict=True))


@pytest.mark.parametrize("part", [0.35, 0.6, 0.9])
@pytest.mark.parametrize("which", [0, -1])
@pytest.mark.parametrize("name", FILES)
def test_a_strip_that_breaks_off_and_has_an_end_marker_is_refused(name, which, part):
    data = bytearray(FILES[name])
    place, length = strips_of(bytes(data))[which]
    scan = max(bytes(data).find(b"\xff\xda", place, place + length), place)
    at = scan + 14 + int((place + length - scan - 14) * part)
    data[at : place + length] = (b"\xff\xd9" + bytes(length))[: place + length - at]
    with pytest.raises(Rejected) as rejected:
        read(bytes(data))
    assert rejected.value.reason in (Reason.TRUNCATED, Reason.UNREADABLE)


def test_libtiff_alone_would_make_something_of_it():
    data = bytearray(FILES["strips"])
    place, length = strips_of(bytes(data))[1]
    data[place + length // 2 : place + length] = (b"\xff\xd9" + bytes(length))[: length - length // 2]
    assert imagecodecs.tiff_decode(bytes(data), index=0).shape == GREY.shape
    with pytest.raises(Rejected, match="ends before its last pixel"):
        read(bytes(data))


def test_a_progressive_strip_without_its_last_scan_is_refused():
    stream = progressive(GREY)
    cut = stream[: stream.rindex(b"\xff\xc4")] + b"\xff\xd9"
    with pytest.raises(Rejected, match="ends before its last scans"):
        read(of_parts(GREY, [cut], 1))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (of_parts(GREY, strips(GREY, 16)[:-1], 1, t278=(SHORT, [16])), Reason.TRUNCATED),
        (of_parts(GREY, [*strips(GREY, 16)[:-1], b""], 1, t278=(SHORT, [16])), Reason.UNREADABLE),
        (of_parts(GREY, [*strips(GREY, 16)[:-1], b"nothing"], 1, t278=(SHORT, [16])), Reason.UNREADABLE),
        (of_parts(GREY, strips(GREY[:60], 60)[:1], 1), Reason.TRUNCATED),
        (of_parts(GREY, strips(np.ascontiguousarray(GREY[:, :100]), ROWS), 1), Reason.TRUNCATED),
    ],
    ids=["a strip less", "an empty strip", "no JPEG", "fewer rows", "fewer columns"],
)
def test_strips_that_are_not_all_there_are_refused(data, reason):
    with pytest.raises(Rejected) as rejected:
        read(data)
    assert rejected.value.reason is reason


def test_what_is_no_jpeg_is_not_looked_at():
    sink = io.BytesIO()
    Image.fromarray(GREY).save(sink, "TIFF", compression="tiff_lzw")
    assert list(tiff_jpeg.streams(sink.getvalue())) == []


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_among_the_components_of_a_stream_is_looked_at_too(channels):
    """libjpeg makes no grey of two or four components, so their blocks are counted."""
    array = np.dstack([RGB, GREY])[..., -channels:]
    stream = imagecodecs.jpeg8_encode(np.ascontiguousarray(array), level=90)
    tags = described(GREY, 7, 1 if channels == 2 else 2) | {
        258: (SHORT, [8] * channels), 277: (SHORT, [channels]), 338: (SHORT, [1]),
        273: (LONG, [-1]), 279: (LONG, [len(stream)]),
    }  # fmt: skip
    assert read(tiff_of(tags, [stream])).shape == (ROWS, COLUMNS, channels)
    half = len(stream) // 2
    broken = (stream[:half] + b"\xff\xd9" + bytes(half))[: len(stream)]
    with pytest.raises(Rejected) as rejected:
        read(tiff_of(tags, [broken]))
    assert rejected.value.reason is Reason.TRUNCATED
