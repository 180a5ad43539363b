"""PNG, JPEG and TIFF: what is read, what is refused, and that pixels are those of a second implementation (pillow)."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import exif, jpeg, png, raster
from transforms.rejected import Rejected

LIMITS = Limits()
RNG = np.random.default_rng(4)
GREY = RNG.integers(0, 256, (13, 21), np.uint8)
RGB = RNG.integers(0, 256, (13, 21, 3), np.uint8)
DEEP = RNG.integers(0, 65_536, (13, 21), np.uint16)


def saved(image, form, **options):
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, form, **options)
    return buffer.getvalue()


def with_orientation(value):
    block = Image.Exif()
    block[0x0112] = value
    return block


def head(data, limits=LIMITS):
    prefix = data[: raster.HEADER_PREFIX_BYTES]
    return raster.header(prefix, lambda: data, name="xray", file_bytes=len(data), limits=limits)


def refused(data, limits=LIMITS):
    """The reason, by header or by pixels: the inventory comes first, the build second."""
    try:
        head(data, limits)
        raster.read(data, limits)
    except Rejected as verdict:
        return verdict.reason
    return None


SMOOTH = np.linspace(0, 255, 13 * 21).astype(np.uint8).reshape(13, 21)
FILES = {
    "png grey": (saved(GREY, "PNG"), GREY),
    "png rgb": (saved(RGB, "PNG"), RGB),
    "png 16": (saved(DEEP, "PNG"), DEEP),
    "png palette": (saved(Image.fromarray(RGB).quantize(16), "PNG"), None),
    "png 1 bit": (saved(Image.fromarray(GREY).convert("1"), "PNG"), None),
    "tiff grey": (saved(GREY, "TIFF"), GREY),
    "tiff 16": (saved(DEEP, "TIFF"), DEEP),
    "tiff lzw": (saved(RGB, "TIFF", compression="tiff_lzw"), RGB),
    "tiff deflate": (saved(GREY, "TIFF", compression="tiff_adobe_deflate"), GREY),
    "jpeg grey": (saved(SMOOTH, "JPEG", quality=95), None),
    "jpeg progressive": (saved(RGB, "JPEG", progressive=True), None),
    "jpeg 420": (saved(RGB, "JPEG", subsampling=2), None),
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_pillows(name):
    data, expected = FILES[name]
    found, header = raster.read(data, LIMITS), head(data).header
    if expected is None:
        with Image.open(io.BytesIO(data)) as image:
            mode = {"P": "RGB", "1": "L"}.get(image.mode, image.mode)
            expected = np.asarray(image.convert(mode))
    if name.startswith("jpeg"):
        # Two builds of one library may round a colour conversion differently.
        assert np.abs(found.array.astype(int) - expected).max() <= 1
    else:
        np.testing.assert_array_equal(found.array, expected)
    assert (header.axes, header.shape) == (found.axes, found.array.shape)
    assert header.dtype == found.array.dtype.name
    assert (header.spacing_xyz_mm, header.affine_ras, header.orientation) == (None, None, None)


def test_a_resolution_in_dots_per_inch_is_no_spacing():
    for form in ("PNG", "TIFF", "JPEG"):
        assert head(saved(GREY, form, dpi=(300, 300))).header.spacing_xyz_mm is None


def test_colour_of_16_bits_keeps_them():
    import imagecodecs

    deep = RNG.integers(0, 65_536, (5, 7, 3), np.uint16)
    found = raster.read(imagecodecs.png_encode(deep), LIMITS)
    np.testing.assert_array_equal(found.array, deep)
    assert found.top == 65_535


def test_an_opaque_alpha_channel_is_left_out_and_another_is_kept():
    opaque = np.dstack([RGB, np.full(GREY.shape, 255, np.uint8)])
    found = raster.read(saved(opaque, "PNG"), LIMITS)
    np.testing.assert_array_equal(found.array, RGB)
    assert found.done == ("an alpha channel that was opaque everywhere left out",)
    glass = np.dstack([RGB, GREY])
    np.testing.assert_array_equal(raster.read(saved(glass, "PNG"), LIMITS).array, glass)
    grey = Image.merge("LA", [Image.fromarray(GREY), Image.new("L", GREY.shape[::-1], 255)])
    found = raster.read(saved(grey, "PNG"), LIMITS)
    assert found.axes == "yx"
    np.testing.assert_array_equal(found.array, GREY)


@pytest.mark.parametrize("value", range(1, 9))
def test_pictures_are_turned_as_pillow_turns_them(value):
    for form in ("PNG", "TIFF"):
        data = saved(RGB, form, exif=with_orientation(value))
        with Image.open(io.BytesIO(data)) as image:
            expected = np.asarray(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(raster.read(data, LIMITS).array, expected)
        assert head(data).header.shape == expected.shape
        assert bool(head(data).findings) == (value != 1)
    data = saved(RGB, "JPEG", exif=with_orientation(value))
    found = raster.read(data, LIMITS)
    assert (found.jpeg is None) == (value != 1)
    assert found.array.shape == head(data).header.shape == exif.turned(RGB, value).shape


def tiff_of(array, photometric):
    """A TIFF of one strip, written by hand: pillow inverts WhiteIsZero when it saves."""
    pixels = array.tobytes()
    rows, columns = array.shape
    tags = [(256, columns), (257, rows), (258, 8), (259, 1), (262, photometric), (273, 8), (277, 1), (278, rows)]
    tags.append((279, len(pixels)))
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + ifd


def test_white_is_zero_is_mirrored_once():
    data = tiff_of(GREY, 0)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image)
    np.testing.assert_array_equal(raster.read(data, LIMITS).array, expected)
    np.testing.assert_array_equal(expected, 255 - GREY)
    np.testing.assert_array_equal(raster.read(tiff_of(GREY, 1), LIMITS).array, GREY)


def pages():
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, "TIFF", save_all=True, append_images=[Image.fromarray(GREY)])
    return buffer.getvalue()


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb():
    """A PNG header of 60000 × 60000 pixels before a few bytes."""
    return (
        png.MAGIC + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)) + png_chunk(b"IDAT", b"")
    )


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0x5A]) + data[at + 1 :]


PNG, JPEG, TIFF = FILES["png rgb"][0], FILES["jpeg 420"][0], FILES["tiff grey"][0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GIF89a" + bytes(40), Reason.UNREADABLE),
        (b"", Reason.UNREADABLE),
        (PNG[:20], Reason.TRUNCATED),
        (PNG[: len(PNG) // 2], Reason.TRUNCATED),
        (PNG[:-12], Reason.TRUNCATED),
        (flipped(PNG, len(PNG) // 2), Reason.UNREADABLE),
        (flipped(PNG, 18), Reason.UNREADABLE),
        (bomb(), Reason.TOO_LARGE),
        (JPEG[:100], Reason.TRUNCATED),
        (JPEG[: len(JPEG) // 2], Reason.TRUNCATED),
        (JPEG[:-2], Reason.TRUNCATED),
        (saved(Image.fromarray(RGB).convert("CMYK"), "JPEG"), Reason.UNSUPPORTED),
        (TIFF[:30], Reason.TRUNCATED),
        (TIFF[: len(TIFF) // 2], Reason.UNREADABLE),
        (pages(), Reason.MULTIFRAME),
        (saved(Image.fromarray(GREY).quantize(8), "TIFF"), Reason.UNSUPPORTED),
        (saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"), Reason.UNSUPPORTED),
    ],
)
def test_what_cannot_be_read_has_its_reason(data, reason):
    assert refused(data) is reason


def test_limits_hold_before_pixels_are_decoded(monkeypatch):
    monkeypatch.setattr(png, "decode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(Rejected, match=r"13×21×3 .*, 21 pixels along one axis; the recipe's limits allow 20"):
        raster.read(PNG, Limits(max_edge=20))
    with pytest.raises(Rejected, match="too_large"):
        head(PNG, Limits(max_voxels=800))


def test_a_header_behind_a_long_thumbnail_is_found():
    data = JPEG[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", 60_002) + bytes(60_000) for _ in range(3)) + JPEG[2:]
    assert head(data).header.shape == RGB.shape


def planted():
    """A JPEG with a name in every place that may hold one."""
    data = saved(RGB, "JPEG", exif=with_orientation(1), comment=b"PLANTED comment", icc_profile=b"profile" * 30)
    more = [
        (0xE1, b"Exif\0\0PLANTED"),
        (0xE0, b"JFXX\0PLANTED"),
        (0xED, b"Photoshop 3.0\0PLANTED"),
        (0xE2, b"MPF\0PLANTED"),
    ]
    segments = b"".join(bytes([0xFF, m]) + struct.pack(">H", len(c) + 2) + c for m, c in more)
    at = data.index(b"\xff\xdb")
    return data[:at] + segments + data[at:] + b"PLANTED behind the end"


def test_a_jpeg_loses_its_metadata_and_nothing_else():
    data = planted()
    assert data.count(b"PLANTED") == 6
    found = raster.read(data, LIMITS)
    assert found.jpeg is not None
    assert b"PLANTED" not in found.jpeg
    assert b"Exif" not in found.jpeg
    assert b"ICC_PROFILE" in found.jpeg  # its colour depends on it
    # The same entropy-coded data, byte for byte, and the same pixels.
    scan = data[data.index(b"\xff\xda") : data.index(b"PLANTED behind")]
    assert found.jpeg.endswith(scan)
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(found.jpeg)) as after:
        np.testing.assert_array_equal(np.asarray(before), np.asarray(after))
    assert jpeg.stripped(found.jpeg) == found.jpeg


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_are_refused_or_read_and_never_worse(data):
    name = data.draw(st.sampled_from(sorted(FILES)))
    content = bytearray(FILES[name][0])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    small = Limits(max_voxels=10**6)
    for damaged in (bytes(content), bytes(content[:cut])):
        try:
            head(damaged, small)
            found = raster.read(damaged, small)
        except Rejected:
            continue
        assert found.array.dtype.kind == "u"
