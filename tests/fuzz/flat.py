"""Pictures and films as functions of bytes, and what they may begin from."""

from __future__ import annotations

import io
from collections.abc import Callable

import imagecodecs
import numpy as np

from schemas.label_table import LabelTable
from schemas.recipe import Limits
from transforms.labels.pixels import numbers
from transforms.read import array, flat, mask, nifti, raster, video
from transforms.read.array import Blob
from transforms.rejected import Rejected

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

    def drawn(data: bytes) -> None:
        """A mask by its numbers and by its colours: either may refuse it."""
        refused = []
        for table in _TABLES:
            try:
                head = mask.header(data, lambda: data, name="x", file_bytes=len(data), limits=limits, table=table)
                numbers(mask.read(data, head.header, limits).array, table)
            except Rejected as verdict:
                refused.append(verdict)
        if len(refused) == len(_TABLES):
            raise refused[0]

    def colour(data: bytes) -> None:
        prefix = data[: nifti.HEADER_PREFIX_BYTES]
        head = array.read_header("nifti", prefix, name="x", file_bytes=len(data), limits=limits)
        flat.read_any(head.header, [Blob("x.nii", data)], limits)

    return {
        "mask": (drawn, _masks, (b"IHDR", b"PLTE", b"tRNS", b"IEND", b"BM", b"(\0\0\0", b"II*\0", b"\0\0\0\0", b"\xff\xff\xff\x7f")),
        "bmp": (picture, _bmp, (b"BM", b"(\0\0\0", b"\1\0", b"\x20\0", b"\0\0\0\x80", b"\xff\xff\xff\x7f")),
        "colour": (colour, _colour, (b"\x80\0", b"\0\x09", b"\1\0", b"\0\0\x80\x7f", b"\xff\x7f")),
        "png": (picture, _png, (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"eXIf", b"\0\0\0\0", b"\xff\xff\xff\x7f")),
        "jpeg": (picture, _jpeg, (b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\xff\xc0", b"\xff\xc4", b"\xff\xe1\0\x10Exif\0\0")),
        "tiff": (picture, _tiff, (b"II*\0", b"MM\0*", b"\0\1", b"\1\0", b"\xff\xff\xff\xff", b"\0\0\0\0")),
        "video": (film, films, (b"moov", b"mdat", b"stsz", b"stsd", b"avcC", b"LIST", b"movi", b"00dc", b"\xff\xff\xff\xff")),
    }  # fmt: skip


_TABLES = tuple(
    LabelTable.model_validate({"origin": "expert", **table})
    for table in (
        {"values": {0: "background", 1: "liver"}},
        {"colours": {"#000000": "background", "#ff0000": "liver", "#00ff00": "spleen"}},
        {"values": {0: "background", 1: "liver"}, "threshold": 128},
    )
)


def _masks() -> list[bytes]:
    from PIL import Image

    indices = Image.fromarray(_grey() % 3, "P")
    indices.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    result = []
    for image in (indices, indices.convert("RGB"), Image.fromarray(_grey() > 60)):
        for form in ("PNG", "BMP", "TIFF"):
            buffer = io.BytesIO()
            image.save(buffer, form)
            result.append(buffer.getvalue())
    return result


def _bmp() -> list[bytes]:
    from PIL import Image

    result = []
    for image in (Image.fromarray(_grey()), Image.fromarray(_rgb()), Image.fromarray(_grey() > 60)):
        buffer = io.BytesIO()
        image.save(buffer, "BMP")
        result.append(buffer.getvalue())
    return result


def _colour() -> list[bytes]:
    import gzip

    import nibabel

    result = []
    for channels in ("RGB", "RGBA"):
        dtype = np.dtype([(c, "u1") for c in channels])
        voxels = np.random.default_rng(1).integers(0, 256, (12, 10, 1, len(channels))).astype(np.uint8)
        result.append(nibabel.Nifti1Image(voxels.view(dtype)[..., 0], np.eye(4)).to_bytes())
    return [*result, gzip.compress(result[0], mtime=0)]


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
    for pixels, compression in (
        (_grey(), "raw"), (_rgb(), "tiff_lzw"), (_grey(), "tiff_adobe_deflate"), (_rgb(), "jpeg"),
    ):  # fmt: skip
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "TIFF", compression=compression)
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
