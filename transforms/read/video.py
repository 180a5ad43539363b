"""MP4, AVI, MOV, MKV and WebM as films: every frame of the first video stream.

FFmpeg (PyAV) takes the streams apart and decodes them, one thread and bit-exact; the container's kind is decided by its
first bytes and forced, so that no file can pass for a playlist of others. Colours are converted here, in whole numbers:
FFmpeg's own conversion rounds otherwise on other CPUs. Chroma is repeated, not interpolated. Sound, subtitles and all
metadata stay behind; a rotation that a player would apply is not applied.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.case import ArrayHeader
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.flat import Flat
from transforms.read import isolated
from transforms.read.header import ReadHeader
from transforms.read.raster import check_pixels, flat_header
from transforms.rejected import Rejected

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
"""Ends of file names that promise a film."""

BLOCK_BYTES = 1 << 20
"""How much of a file is read at once while its header is looked for, which may lie at its end."""

_KEPT_BLOCKS = 8
_GREY = ("gray", "gray8")
_PLANAR = {
    "yuv420p": (2, 2),
    "yuvj420p": (2, 2),
    "yuv422p": (1, 2),
    "yuvj422p": (1, 2),
    "yuv444p": (1, 1),
    "yuvj444p": (1, 1),
}
"""Pixel formats and how many rows and columns share a chroma sample."""
_PACKED = {
    "rgb24": (0, 1, 2),
    "bgr24": (2, 1, 0),
    "rgb0": (0, 1, 2),
    "bgr0": (2, 1, 0),
    "rgba": (0, 1, 2),
    "bgra": (2, 1, 0),
}
"""Pixel formats and where red, green and blue lie."""

_BT709 = 1
"""FFmpeg's number of ITU-R BT.709; everything else, unspecified too, is read as BT.601, as players do."""
_FULL_RANGE = 2
_BITEXACT = 1 << 23
"""AV_CODEC_FLAG_BITEXACT."""


def container(first: bytes) -> str | None:
    """FFmpeg's name of a container by its first bytes; None for anything else."""
    if first[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if first[:4] == b"RIFF" and first[8:12] == b"AVI ":
        return "avi"
    return "matroska" if first[:4] == b"\x1aE\xdf\xa3" else None


@dataclass(frozen=True)
class _Said:
    frames: int
    rows: int
    columns: int
    grey: bool
    frame_ms: float | None

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.frames, self.rows, self.columns, *(() if self.grey else (3,)))


def header(read: Callable[[int, int], bytes], *, name: str, file_bytes: int, limits: Limits) -> ReadHeader:
    """The header of a film.

    Where the container does not say how many frames there are, they are counted without being decoded: the file is read.

    Args:
        read: gives the bytes [start, stop) of the file.
        name: of the image.
        file_bytes: size of the file.
        limits: what an array may cost.

    Raises:
        Rejected: UNREADABLE, no film; UNSUPPORTED, a pixel format that is not read; TOO_LARGE.
    """
    with _opened(_Ranged(read, file_bytes)) as (stream, packets):
        said = _said(stream, packets)
    check_pixels(said.shape, 1, limits)
    axes = "tyx" if said.grey else "tyxc"
    record = flat_header(name=name, format="video", axes=axes, shape=said.shape, dtype="uint8", file_bytes=file_bytes)
    return ReadHeader(record, ())


def read(data: bytes, header: ArrayHeader, limits: Limits) -> Flat:
    """All frames of a film.

    Raises:
        Rejected: TRUNCATED, fewer frames than announced; UNREADABLE, a frame does not decode, or they change their size;
            UNSUPPORTED; SOURCE_CHANGED.
    """
    with _opened(io.BytesIO(data)) as (stream, packets):
        said = _said(stream, packets)
    if said.shape != header.shape:
        raise Rejected(Reason.SOURCE_CHANGED, f"the inventory saw {header.shape} pixels, now {said.shape}")
    check_pixels(said.shape, 1, limits)
    # FFmpeg on what a stranger encoded: in a process of its own, with limits.
    array = isolated.run("transforms.read.video:frames_of", data)
    # One frame is a film of one.
    return Flat(array, header.axes, frame_time_ms=said.frame_ms)


def frames_of(data: bytes) -> npt.NDArray[Any]:
    """All frames of a film: (t, y, x) or (t, y, x, RGB) uint8. Runs in the child process of `transforms.read.isolated`.

    Raises:
        Rejected: TRUNCATED, fewer frames than announced; UNREADABLE; UNSUPPORTED.
    """
    with _opened(io.BytesIO(data)) as (stream, packets):
        said = _said(stream, packets)
    array = np.empty(said.shape, np.uint8)
    count = 0
    with _opened(io.BytesIO(data)) as (stream, packets):
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= _BITEXACT
        stream.codec_context.options = {"err_detect": "explode"}
        for packet in packets():
            for frame in packet.decode():
                if count == said.frames:
                    raise Rejected(Reason.UNREADABLE, f"more frames than the {said.frames} that the film announces")
                pixels = _pixels(frame)
                if pixels.shape != said.shape[1:]:
                    raise Rejected(Reason.UNREADABLE, f"a frame of {pixels.shape} in a film of {said.shape}")
                array[count] = pixels
                count += 1
    if count < said.frames:
        raise Rejected(Reason.TRUNCATED, f"the film announces {said.frames} frames, {count} are there")
    return array


@contextmanager
def _opened(file: Any) -> Iterator[tuple[Any, Callable[[], Iterator[Any]]]]:
    """The first video stream of a file, and what gives its packets, the last one empty.

    Raises:
        Rejected: UNREADABLE, FFmpeg cannot make anything of it, here or in the body.
    """
    import av

    form = container(file.read(16))
    file.seek(0)
    if form is None:
        raise Rejected(
            Reason.UNREADABLE, "expected MP4, MOV, AVI, MKV or WebM by its first bytes, found something else"
        )
    try:
        with av.open(file, format=form, metadata_errors="replace") as opened:
            if not opened.streams.video:
                raise Rejected(Reason.NO_PIXELS, "a film without a video stream")
            stream = opened.streams.video[0]
            yield stream, lambda: opened.demux(stream)
    except (av.FFmpegError, IndexError) as error:
        raise Rejected(Reason.UNREADABLE, f"the film cannot be decoded ({type(error).__name__})") from error


def _said(stream: Any, packets: Callable[[], Iterator[Any]]) -> _Said:
    context = stream.codec_context
    if context is None:
        raise Rejected(Reason.UNSUPPORTED, "a film in an encoding that there is no decoder for")
    pixel_format = context.pix_fmt
    if pixel_format not in (*_GREY, *_PLANAR, *_PACKED):
        raise Rejected(
            Reason.UNSUPPORTED, f"a film of pixel format {pixel_format}; 8 bits of grey, YUV and RGB are read"
        )
    if not context.width or not context.height:
        raise Rejected(Reason.UNREADABLE, "a film without width or height")
    frames = stream.frames or sum(1 for packet in packets() if packet.size)
    if frames <= 0:
        raise Rejected(Reason.TRUNCATED, "a film without frames")
    rate = stream.average_rate
    frame_ms = round(float(1000 / rate), 6) if rate else None
    return _Said(frames, context.height, context.width, pixel_format in _GREY, frame_ms)


def _pixels(frame: Any) -> npt.NDArray[np.uint8]:
    """Pixels (y, x) or (y, x, RGB) of a decoded frame."""
    kind = frame.format.name
    if kind in _GREY:
        return _plane(frame.planes[0], frame.height, frame.width)
    if kind in _PACKED:
        channels = 3 if kind in ("rgb24", "bgr24") else 4
        packed = _plane(frame.planes[0], frame.height, frame.width * channels).reshape(
            frame.height, frame.width, channels
        )
        return np.ascontiguousarray(packed[..., list(_PACKED[kind])])
    if kind not in _PLANAR:
        raise Rejected(Reason.UNSUPPORTED, f"a frame of pixel format {kind}")
    rows, columns = _PLANAR[kind]
    luma = _plane(frame.planes[0], frame.height, frame.width)
    size = (-(-frame.height // rows), -(-frame.width // columns))
    chroma = [
        _plane(plane, *size).repeat(rows, axis=0).repeat(columns, axis=1)[: frame.height, : frame.width]
        for plane in frame.planes[1:3]
    ]
    full = kind.startswith("yuvj") or int(frame.color_range) == _FULL_RANGE
    return yuv_to_rgb(luma, *chroma, full_range=full, bt709=int(frame.colorspace) == _BT709)


def _plane(plane: Any, rows: int, row_bytes: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:rows, :row_bytes]


def yuv_to_rgb(
    y: npt.NDArray[np.uint8], u: npt.NDArray[np.uint8], v: npt.NDArray[np.uint8], *, full_range: bool, bt709: bool
) -> npt.NDArray[np.uint8]:
    """RGB (…, 3) of luma and chroma of one shape, in 16.16 fixed point, rounded half up (ITU-R BT.601 and BT.709).

    Args:
        y: luma.
        u: blue difference (Cb).
        v: red difference (Cr).
        full_range: 0 to 255 (JPEG) and not 16 to 235 and 240 (broadcast).
        bt709: coefficients of BT.709 and not of BT.601.
    """
    red, blue = (0.2126, 0.0722) if bt709 else (0.299, 0.114)
    green = 1 - red - blue
    luma, chroma = (1.0, 1.0) if full_range else (255 / 219, 255 / 224)

    def fixed(value: float) -> int:
        return round(value * 65536)

    scaled = (y.astype(np.int32) - (0 if full_range else 16)) * fixed(luma) + 32768
    cb, cr = u.astype(np.int32) - 128, v.astype(np.int32) - 128
    r = scaled + cr * fixed(2 * (1 - red) * chroma)
    g = scaled - cb * fixed(2 * (1 - blue) * blue / green * chroma) - cr * fixed(2 * (1 - red) * red / green * chroma)
    b = scaled + cb * fixed(2 * (1 - blue) * chroma)
    return np.clip(np.stack([r, g, b], axis=-1) >> 16, 0, 255).astype(np.uint8)


class _Ranged(io.RawIOBase):
    """A file of which blocks are read when they are needed."""

    def __init__(self, read: Callable[[int, int], bytes], size: int):
        self._read, self._size, self._at = read, size, 0
        self._blocks: dict[int, bytes] = {}

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go somewhere."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        """Where it is."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes."""
        stop = self._size if size < 0 else min(self._size, self._at + size)
        parts = []
        while self._at < stop:
            number, within = divmod(self._at, BLOCK_BYTES)
            part = self._block(number)[within : within + stop - self._at]
            if not part:  # the file became shorter
                break
            parts.append(part)
            self._at += len(part)
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            while len(self._blocks) >= _KEPT_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
            first = number * BLOCK_BYTES
            self._blocks[number] = self._read(first, min(self._size, first + BLOCK_BYTES))
        return self._blocks[number]
