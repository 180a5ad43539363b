"""Inputs that are pictures, films and rows of a table: sound ones, and what strangers do to them. Equal calls, equal bytes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np
from PIL import Image

from schemas.reasons import Reason
from tests.fuzz.flat import films
from tests.hostile import series
from tests.hostile.files import Input

ROWS, COLUMNS = 60, 90


def grey(seed: int = 0) -> np.ndarray:
    """(y, x) uint8 of a slope with noise."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    return (y + x + np.random.default_rng(seed).integers(0, 60, y.shape)).astype(np.uint8)


def colour(seed: int = 0) -> np.ndarray:
    """(y, x, RGB) uint8."""
    return np.stack([grey(seed), grey(seed + 1)[::-1], grey(seed + 2)[:, ::-1]], axis=-1)


def png(array: np.ndarray) -> bytes:
    """A PNG."""
    return bytes(imagecodecs.png_encode(array))


def jpeg(array: np.ndarray, **options: object) -> bytes:
    """A JPEG."""
    return _saved(array, "JPEG", quality=90, **options)


def tiff(*arrays: np.ndarray) -> bytes:
    """A TIFF of one or several pages, deflated."""
    first, *more = (Image.fromarray(a) for a in arrays)
    sink = io.BytesIO()
    first.save(sink, "TIFF", compression="tiff_adobe_deflate", save_all=True, append_images=more)
    return sink.getvalue()


def _saved(array: np.ndarray, form: str, **options: object) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(array).save(sink, form, **options)
    return sink.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png_of(width: int, height: int, pixels: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _resized(data: bytes, rows: int, columns: int) -> bytes:
    """A JPEG whose frame header announces another size."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", rows, columns) + data[at + 4 :]


def _without_restart(data: bytes) -> bytes:
    at = data.index(b"\xff\xd1")
    return data[:at] + data[at + 2 :]


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def _picture(name: str, end: str, data: bytes, reason: Reason | None = None) -> Input:
    return Input(name, {f"{name}/picture{end}": data}, reason, "pictures")


def _film(name: str, end: str, data: bytes, reason: Reason | None = None) -> Input:
    return Input(name, {f"{name}/film{end}": data}, reason, "films")


def _row(
    name: str, reason: Reason | None = None, *, again: dict[str, str] | None = None, report: bytes | None = None,
    there: bool = True, **cells: str,
) -> Input:  # fmt: skip
    """A picture and what rows say of it.

    Args:
        name: of the case.
        reason: why it must be refused.
        again: cells that a second row of the case has otherwise.
        report: a text file beside the picture.
        there: whether the picture is there.
        cells: what its row has otherwise than a sound one.
    """
    row = {"case": name, "file": f"{name}/a.png", "patient": name, "view": "AP", "edema": "1",
           "x": "10", "y": "20", "w": "5", "h": "7", "note": "no focal lesion"} | cells  # fmt: skip
    files = {f"{name}/a.png": png(grey(zlib.crc32(name.encode())))} if there else {}
    if report is not None:
        files[f"{name}/report.txt"] = report
    return Input(name, files, reason, "tables", (row,) if again is None else (row, row | again))


def good() -> list[Input]:
    """Sound pictures of every format, films, rows with every kind of statement; under many names."""
    avi, mov, mp4 = films()
    return [
        _picture("good-png", ".png", png(grey(1))),
        _picture("good-png-16", ".png", png(grey(2).astype(np.uint16) * 200)),
        _picture("good-jpeg", ".jpg", jpeg(colour(3))),
        _picture("good-progressive", ".jpg", jpeg(colour(4), progressive=True)),
        _picture("good-tiff", ".tif", tiff(colour(5))),
        _picture("снимок 影像\nن", ".png", png(colour(6))),
        _film("good-avi", ".avi", avi),
        _film("good-mov", ".mov", mov),
        _film("good film with spaces", ".mp4", mp4),
        _row("good-row"),
        _row("good-report", report="Größe: 3 mm. 影像".encode()),
        _row("good-two-rows", again={"x": "30", "y": "30"}, note=""),
        _row("строка 行", view="PA", edema="", x="", y="", w="", h=""),
        Input("good-dx", series.files("good-dx", _radiograph, slices=1), None, "series"),
    ]


def _radiograph(ds: object, k: int) -> None:
    ds.Modality, ds.SOPClassUID = "DX", "1.2.840.10008.5.1.4.1.1.1.1"  # type: ignore[attr-defined]
    ds.PhotometricInterpretation = "MONOCHROME1"  # type: ignore[attr-defined]


def _broken_jpeg(ds: object, k: int) -> None:
    """An ultrasound-like frame whose JPEG stream breaks off, in a fragment of the right length."""
    _radiograph(ds, k)
    stored = grey()[:16, :20]
    stream = jpeg(np.ascontiguousarray(stored))
    ds.BitsAllocated = ds.BitsStored = 8  # type: ignore[attr-defined]
    ds.HighBit = 7  # type: ignore[attr-defined]
    cut = stream[: len(stream) - 40] + b"\xff\xd9"
    series._compressed(ds, cut + b"\0" * (len(cut) % 2))  # type: ignore[arg-type]


JPEG_BASELINE = "1.2.840.10008.1.2.4.50"


def bad() -> list[Input]:
    """Broken and hostile pictures, films and rows, each with the reason by which it must be refused."""
    return [*_bad_pictures(), *_bad_films(), *_bad_rows()]


def _bad_pictures() -> list[Input]:
    whole, photo = png(grey()), jpeg(colour())
    restarts = jpeg(colour(), restart_marker_blocks=4)
    pages, coarse = tiff(grey(), grey(1)), jpeg(colour(), progressive=True)
    rows: list[tuple[str, str, bytes, Reason]] = [
        ("png-empty", ".png", b"", Reason.UNREADABLE),
        ("png-is-html", ".png", b"<html>not found</html>" * 20, Reason.UNREADABLE),
        ("png-cut", ".png", whole[: len(whole) // 2], Reason.TRUNCATED),
        ("png-bit", ".png", _flipped(whole, len(whole) // 2), Reason.UNREADABLE),
        ("png-huge", ".png", _png_of(2**31 - 1, 2**31 - 1, zlib.compress(bytes(100))), Reason.TOO_LARGE),
        ("png-lies", ".png", _png_of(900, 900, zlib.compress(bytes(100))), Reason.UNREADABLE),
        ("jpeg-cut", ".jpg", photo[: len(photo) // 2], Reason.TRUNCATED),
        ("jpeg-breaks-off", ".jpg", photo[: len(photo) // 2].rstrip(b"\xff") + b"\xff\xd9", Reason.TRUNCATED),
        ("jpeg-between-scans", ".jpg", coarse[: coarse.rindex(b"\xff\xc4")] + b"\xff\xd9", Reason.TRUNCATED),
        ("jpeg-restart-lost", ".jpg", _without_restart(restarts), Reason.UNREADABLE),
        ("jpeg-huge", ".jpg", _resized(photo, 65_500, 65_500), Reason.TOO_LARGE),
        ("jpeg-higher", ".jpg", _resized(photo, 6000, COLUMNS), Reason.TRUNCATED),
        ("jpeg-arithmetic", ".jpg", photo.replace(b"\xff\xc0", b"\xff\xc9", 1), Reason.UNSUPPORTED),
        ("jpeg-no-frame", ".jpg", b"\xff\xd8\xff\xe0\x00\x04ab\xff\xd9", Reason.UNREADABLE),
        ("tiff-cut", ".tif", tiff(grey())[:200], Reason.TRUNCATED),
        ("tiff-pages", ".tif", pages, Reason.MULTIFRAME),
        ("tiff-jpeg-breaks-off", ".tif", _broken_strip(_saved(colour(), "TIFF", compression="jpeg")), Reason.TRUNCATED),
    ]  # fmt: skip
    frames = series.files("dx-breaks-off", _broken_jpeg, slices=1, syntax=JPEG_BASELINE)
    return [
        *(_picture(n, end, data, reason) for n, end, data, reason in rows),
        Input("dx-breaks-off", frames, Reason.TRUNCATED, "series"),
    ]


def _broken_strip(data: bytes) -> bytes:
    """A TIFF in JPEG whose only strip ends at half its length, its end marker put there by force."""
    with Image.open(io.BytesIO(data)) as image:
        (place,), (length,) = image.tag_v2[273], image.tag_v2[279]  # type: ignore[attr-defined]
    half = length // 2
    return data[: place + half] + b"\xff\xd9" + bytes(length - half - 2) + data[place + length :]


def _bad_films() -> list[Input]:
    avi, mov, mp4 = films()
    rows: list[tuple[str, str, bytes, Reason]] = [
        ("film-empty", ".avi", b"", Reason.UNREADABLE),
        ("film-playlist", ".mp4", b"#EXTM3U\nfile:///etc/passwd\n", Reason.UNREADABLE),
        ("film-cut", ".avi", avi[: len(avi) // 2], Reason.UNREADABLE),
        ("film-noise", ".mov", mov[:40] + bytes(range(256)) * 20, Reason.UNREADABLE),
        ("film-no-index", ".mp4", mp4[: mp4.index(b"moov") - 4], Reason.UNREADABLE),
    ]
    return [_film(n, end, data, reason) for n, end, data, reason in rows]


def _bad_rows() -> list[Input]:
    rows: list[Callable[[], Input]] = [
        lambda: _row("row-no-file", Reason.MISSING_FILE, there=False),
        lambda: _row("row-leads-out", Reason.MISSING_FILE, there=False, file="../../../../etc/passwd"),
        lambda: _row("row-unknown-value", Reason.BAD_ANNOTATION, edema="perhaps"),
        lambda: _row("row-unknown-class", Reason.BAD_ANNOTATION, view="from above"),
        lambda: _row("row-box-nan", Reason.BAD_ANNOTATION, x="nan"),
        lambda: _row("row-box-text", Reason.BAD_ANNOTATION, w="=cmd|' /C calc'!A0"),
        lambda: _row("row-box-without-area", Reason.BAD_ANNOTATION, w="0"),
        lambda: _row("row-box-outside", Reason.BAD_ANNOTATION, x="1e30"),
        lambda: _row("row-contradiction", Reason.BAD_ANNOTATION, again={"view": "PA"}),
        lambda: _row("row-without-patient", Reason.BAD_ANNOTATION, patient=""),
        lambda: _row("row-long-text", Reason.BAD_ANNOTATION, note="x" * 300_000),
        lambda: _row("row-report-not-utf8", Reason.UNREADABLE, report=b"Gr\xf6\xdfe"),
    ]  # fmt: skip
    return [make() for make in rows]
