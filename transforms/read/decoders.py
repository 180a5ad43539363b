"""What runs in the child process of `transforms.read.isolated`: decoders of pixels and Parquet, from wheels in C and C++.

Each takes bytes and gives an array, or says by `Rejected` why it cannot.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
import simplejpeg
from pydicom import uid
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder, pixel_array

from schemas.reasons import Reason
from transforms.read import tiff_jpeg, values
from transforms.read.jpeg_scans import check_scans
from transforms.rejected import Rejected

# pydicom warns and logs about values that break the standard, and quotes them: a header would reach a log.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def dicom_pixels(data: bytes) -> npt.NDArray[Any]:
    """Stored values of a DICOM file whose pixels are compressed, as pydicom decodes them.

    Raises:
        Rejected: UNREADABLE, the stream cannot be decoded.
    """
    return _dicom(data, raw=True)


def dicom_samples(data: bytes) -> npt.NDArray[Any]:
    """The same with YBR made RGB; palette indices stay indices.

    Raises:
        Rejected: UNREADABLE, the stream cannot be decoded.
    """
    return _dicom(data, raw=False)


def _dicom(data: bytes, *, raw: bool) -> npt.NDArray[Any]:
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax.is_encapsulated and not (decoder := get_decoder(syntax)).is_available:
            missing = decoder.missing_dependencies
        else:
            _check_frames(dataset, syntax)
            return pixel_array(dataset, raw=raw)
    except (RuntimeError, StopIteration, *values.DAMAGED) as error:  # StopIteration: pydicom, where no fragment is left
        raise Rejected(
            Reason.UNREADABLE, f"the compressed pixels cannot be decoded ({type(error).__name__})"
        ) from error
    raise LookupError(f"no decoder installed for {syntax.name}: {missing}")


def _check_frames(dataset: pydicom.Dataset, syntax: uid.UID) -> None:
    """Refuse JPEG and JPEG-LS frames that break off: the decoder that pydicom finds fills with a guess and does not tell.

    JPEG of 8 bits is looked at by libjpeg-turbo, JPEG-LS by CharLS; the blocks of JPEG of 12 bits and the samples of lossless
    JPEG are counted here.

    Raises:
        Rejected: TRUNCATED, UNREADABLE.
    """
    check = _CHECKS.get(syntax)
    if check is not None:
        count = int(dataset.get("NumberOfFrames") or 1)
        for frame in generate_frames(dataset.PixelData, number_of_frames=count):
            check(frame)


def _check_jpeg(frame: bytes) -> None:
    """Refuse a JPEG stream that breaks off, or lacks scans.

    Raises:
        Rejected: TRUNCATED, UNREADABLE.
    """
    check_scans(frame)
    try:
        simplejpeg.decode_jpeg(frame, colorspace="GRAY", strict=True)
    except ValueError as warning:
        _check_warned(frame, warning)


def _check_warned(stream: bytes, warning: ValueError) -> None:
    """Refuse a stream of which libjpeg says something that means damage.

    What else it says, of 12 bits for one, that it cannot read them, hides what it would say next: blocks are counted then.

    Raises:
        Rejected: TRUNCATED, UNREADABLE.
    """
    if (verdict := _damage(str(warning))) is not None:
        raise verdict from warning
    from transforms.read.dct_scan import check_sequential  # numba, which few need, takes half a second

    check_sequential(stream)


def _check_jpegls(frame: bytes) -> None:
    try:
        imagecodecs.jpegls_decode(frame)
    except (RuntimeError, ValueError) as error:
        # Other errors are of streams that are whole but not to the letter: without an end marker, for one.
        if "Invalid JPEG-LS stream" in str(error):
            raise Rejected(Reason.UNREADABLE, "a frame's JPEG-LS stream is damaged or breaks off") from error


def _check_lossless(frame: bytes) -> None:
    from transforms.read.lossless_scan import missing_samples  # numba, which few need, takes half a second

    if missing := missing_samples(frame):
        raise Rejected(Reason.TRUNCATED, f"a frame's lossless JPEG scan ends {missing} samples early")


_CHECKS: dict[str, Callable[[bytes], None]] = {
    uid.JPEGBaseline8Bit: _check_jpeg,
    uid.JPEGExtended12Bit: _check_jpeg,
    uid.JPEGLossless: _check_lossless,
    uid.JPEGLosslessSV1: _check_lossless,
    uid.JPEGLSLossless: _check_jpegls,
    uid.JPEGLSNearLossless: _check_jpegls,
}


def jpeg(data: bytes) -> npt.NDArray[Any]:
    """Pixels (y, x) or (y, x, RGB) of a JPEG stream, if all of them are in it.

    Where a scan breaks off libjpeg fills the rest with grey and warns. simplejpeg tells its first warning; imagecodecs and
    Pillow tell none. Under some warnings the picture is whole, and they are passed over: bytes between the last pixel of a
    scan and the next marker, scan parameters or a colour transform that are not to the letter. A second warning after such
    a one is not heard of: in its place the blocks of sequential streams are counted.

    Raises:
        Rejected: TRUNCATED, a scan ends early or scans are missing; UNREADABLE, its bits make no sense, or the stream cannot
            be decoded.
    """
    check_scans(data)
    try:
        grey = simplejpeg.decode_jpeg_header(data, strict=False)[2] == "Gray"
        array = simplejpeg.decode_jpeg(data, colorspace="GRAY" if grey else "RGB", strict=True)
    except ValueError as warning:
        _check_warned(data, warning)
        return _picture(imagecodecs.jpeg8_decode, data, "the JPEG stream cannot be decoded")
    return array[:, :, 0] if grey else array


def _damage(warning: str) -> Rejected | None:
    """The verdict on a JPEG stream of which libjpeg says this; None where the picture may be whole."""
    if "premature end" in warning.lower():
        return Rejected(Reason.TRUNCATED, "a scan of the JPEG stream ends before its last pixel")
    if _SCAN_DAMAGED.search(warning):
        return Rejected(Reason.UNREADABLE, "a scan of the JPEG stream is damaged")
    return None


_SCAN_DAMAGED = re.compile(r"bad Huffman code|instead of RST|extraneous bytes before marker 0xd[0-7]")
"""Warnings of libjpeg (jerror.h) after which pixels are missing or in the wrong place."""


def png(data: bytes) -> npt.NDArray[Any]:
    """Pixels (y, x) or (y, x, c) of a PNG file.

    Raises:
        Rejected: UNREADABLE.
    """
    return _picture(imagecodecs.png_decode, data, "the PNG stream cannot be decoded")


def tiff(data: bytes) -> npt.NDArray[Any]:
    """Pixels (y, x) or (y, x, c) of the first page of a TIFF file, as stored.

    libtiff makes something of a JPEG strip that breaks off, so each is looked at as a JPEG file is.

    Raises:
        Rejected: UNREADABLE; TRUNCATED, a JPEG stream in it.
    """
    for stream in tiff_jpeg.streams(data):
        _check_jpeg(stream)
    read = partial(imagecodecs.tiff_decode, index=0, asrgb=False)
    return _picture(read, data, "the TIFF strips cannot be decoded, or are cut short")


def _picture(decode: Callable[[bytes], Any], data: bytes, otherwise: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(decode(data))
    except (RuntimeError, ValueError, IndexError) as error:  # the errors of imagecodecs are RuntimeErrors
        raise Rejected(Reason.UNREADABLE, otherwise) from error


def parquet_cells(order: bytes) -> npt.NDArray[np.uint8]:
    """Cells of a Parquet file as text: the bytes of a JSON object, {"names": of all columns, "cells": {name: [text]}}.

    Args:
        order: a JSON list of the wanted columns, a line feed, the file. Wanted columns that are not there are left out.

    Raises:
        Rejected: UNREADABLE.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_memory_pool(pa.system_memory_pool())  # the others reserve addresses, of which this process may take few
    wanted, _, data = order.partition(b"\n")
    try:
        file = pq.ParquetFile(io.BytesIO(data), pre_buffer=False)
        names = list(dict.fromkeys(file.schema_arrow.names))
        found = file.read([n for n in json.loads(wanted) if n in names], use_threads=False)
        cells = {n: ["" if v is None else str(v).strip() for v in found[n].to_pylist()] for n in found.column_names}
        told = json.dumps({"names": names, "cells": cells}).encode()
    except (pa.ArrowException, OSError, ValueError, OverflowError, TypeError, KeyError, RuntimeError) as error:
        raise Rejected(Reason.UNREADABLE, f"the Parquet file cannot be read ({type(error).__name__})") from error
    return np.frombuffer(told, np.uint8)
