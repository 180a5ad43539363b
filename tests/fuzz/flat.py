"""Pictures and films as functions of bytes, and what they may begin from."""

from __future__ import annotations

import io
from collections.abc import Callable

import imagecodecs
import numpy as np

from schemas.recipe import Limits
from transforms.read import raster, video

Read = Callable[[bytes], None]
Seeds = Callable[[], list[bytes]]


def readers(limits: Limits) -> dict[str, tuple[Read, Seeds, tuple[bytes, ...]]]:
    """Reader, seeds and words of each format."""

    def picture(data: bytes) -> None:
        prefix = data[: raster.HEADER_PREFIX_BYTES]
        raster.header(prefix, lambda: data, name="x", file_bytes=len(data), limits=limits)
        raster.read(data, limits)

    def film(data: bytes) -> None:
        head = video.header(lambda start, stop: data[start:stop], name="x", file_bytes=len(data), limits=limits)
        video.read(data, head.header, limits)

    return {
        "png": (picture, _png, (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"eXIf", b"\0\0\0\0", b"\xff\xff\xff\x7f")),
        "jpeg": (picture, _jpeg, (b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\xff\xc0", b"\xff\xc4", b"\xff\xe1\0\x10Exif\0\0")),
        "tiff": (picture, _tiff, (b"II*\0", b"MM\0*", b"\0\1", b"\1\0", b"\xff\xff\xff\xff", b"\0\0\0\0")),
        "video": (film, films, (b"moov", b"mdat", b"stsz", b"stsd", b"avcC", b"LIST", b"movi", b"00dc", b"\xff\xff\xff\xff")),
    }  # fmt: skip


def _grey() -> np.ndarray:
    return np.add.outer(np.arange(20) * 5, np.arange(30) * 3).astype(np.uint8)


def _rgb() -> np.ndarray:
    return np.stack([_grey(), _grey()[::-1], _grey()[:, ::-1]], axis=-1)


def _png() -> list[bytes]:
    return [imagecodecs.png_encode(a) for a in (_grey(), _rgb(), _grey().astype(np.uint16) * 200)]


def _jpeg() -> list[bytes]:
    return [imagecodecs.jpeg8_encode(a, level=90) for a in (_grey(), _rgb())]


def _tiff() -> list[bytes]:
    from PIL import Image

    result = []
    for array, compression in ((_grey(), "raw"), (_rgb(), "tiff_lzw"), (_grey(), "tiff_adobe_deflate")):
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "TIFF", compression=compression)
        result.append(buffer.getvalue())
    return result


def films() -> list[bytes]:
    """An AVI, a MOV and an MP4 of three frames each, no two alike."""
    import av

    result = []
    for level, (form, codec, pixels) in enumerate(
        (("avi", "ffv1", "bgr0"), ("mov", "png", "rgb24"), ("mp4", "mpeg4", "yuv420p"))
    ):
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=form) as out:
            stream = out.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 32, 16, pixels  # type: ignore[union-attr]
            for t in range(3):
                frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), 40 * t + 9 * level, np.uint8), format="rgb24")
                out.mux(stream.encode(frame))  # type: ignore[union-attr]
            out.mux(stream.encode())  # type: ignore[union-attr]
        result.append(buffer.getvalue())
    return result
