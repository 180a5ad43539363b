"""BMP as pictures, against pillow; broken ones are refused."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import bmp, raster
from transforms.rejected import Rejected

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (7, 9)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (7, 9, 3)).astype(np.uint8)


def encoded(image):
    buffer = io.BytesIO()
    image.save(buffer, "BMP")
    return buffer.getvalue()


@pytest.mark.parametrize("image", [Image.fromarray(GREY), Image.fromarray(COLOUR), Image.fromarray(GREY > 99)])
def test_pictures_are_those_of_pillow(image):
    data = encoded(image)
    found = raster.header(data, lambda: data, name="x", file_bytes=len(data), limits=Limits()).header
    flat = raster.read(data, Limits())
    with Image.open(io.BytesIO(data)) as read:
        expected = np.asarray(read.convert("RGB" if image.mode == "RGB" else "L"))
    np.testing.assert_array_equal(flat.array, expected)
    assert (found.format, found.axes, found.shape) == ("bmp", flat.axes, expected.shape)


def test_a_palette_of_colours_is_rgb_and_rows_may_run_downwards():
    image = Image.fromarray(GREY % 4, "P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 9, 8, 7])
    data = encoded(image)
    np.testing.assert_array_equal(raster.read(data, Limits()).array, np.asarray(image.convert("RGB")))
    (start,) = struct.unpack_from("<I", data, 10)
    width = (len(data) - start) // 7
    rows = [data[start + n * width : start + (n + 1) * width] for n in range(7)]
    downwards = bytearray(data[:start] + b"".join(reversed(rows)))
    struct.pack_into("<i", downwards, 22, -7)
    np.testing.assert_array_equal(bmp.numbers(bytes(downwards), bmp.header(bytes(downwards), whole=True)), GREY % 4)


@pytest.mark.parametrize(
    ("at", "form", "value", "reason"),
    [
        (30, "<I", 1, Reason.UNSUPPORTED),  # run lengths
        (28, "<H", 16, Reason.UNSUPPORTED),
        (14, "<I", 12, Reason.UNSUPPORTED),  # OS/2
        (18, "<i", 0, Reason.UNREADABLE),
        (22, "<i", 70, Reason.TRUNCATED),
        (10, "<I", 1 << 30, Reason.TRUNCATED),
        (46, "<I", 100_000, Reason.UNREADABLE),
        (18, "<i", 1 << 30, Reason.TOO_LARGE),
    ],
)
def test_headers_that_lie_are_refused(at, form, value, reason):
    data = bytearray(encoded(Image.fromarray(GREY)))
    struct.pack_into(form, data, at, value)
    with pytest.raises(Rejected) as fault:
        raster.read(bytes(data), Limits())
    assert fault.value.reason == reason


def test_a_prefix_without_the_palette_asks_for_more():
    data = encoded(Image.fromarray(GREY))
    assert bmp.header(data[:100], whole=False) is None
    with pytest.raises(Rejected) as fault:
        bmp.header(data[:100], whole=True)
    assert fault.value.reason == Reason.TRUNCATED
