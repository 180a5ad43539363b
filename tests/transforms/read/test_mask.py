"""Masks in picture files: the numbers of the file, as pillow reads them too."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from schemas.label_table import LabelTable
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.labels.pixels import meaning, numbers
from transforms.read import mask
from transforms.rejected import Rejected

NUMBERS = LabelTable.model_validate({"values": {0: "background", 1: "liver"}, "origin": "expert"})
COLOURS = LabelTable.model_validate(
    {
        "colours": {"#000000": "background", "#FF0000": "liver", "#00ff00": "spleen"},
        "ignore_colours": ["#0000ff"],
        "origin": "expert",
    }
)
HALVES = LabelTable.model_validate({"values": {0: "background", 1: "liver"}, "threshold": 128, "origin": "expert"})
PALETTE = [0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255]
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 19))


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def header(data, table=NUMBERS, limits=None):
    return mask.header(data, lambda: data, name="m", file_bytes=len(data), limits=limits or Limits(), table=table)


def read(data, table=NUMBERS):
    return mask.read(data, header(data, table).header, Limits()).array


def by_pillow(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_one_bit_is_0_and_1(form, data):
    drawn = data.draw(SHAPES.flatmap(lambda shape: arrays.arrays(bool, shape)))
    file = encoded(Image.fromarray(drawn), form)
    found = read(file)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, by_pillow(file))
    np.testing.assert_array_equal(found, drawn)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_grey_of_8_bits_is_its_number(form, data):
    drawn = data.draw(SHAPES.flatmap(lambda shape: arrays.arrays(np.uint8, shape)))
    file = encoded(Image.fromarray(drawn), form)
    np.testing.assert_array_equal(read(file), by_pillow(file))
    np.testing.assert_array_equal(read(file), drawn)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_grey_of_16_bits_is_its_number(form, data):
    drawn = data.draw(SHAPES.flatmap(lambda shape: arrays.arrays(np.uint16, shape)))
    file = encoded(Image.fromarray(drawn), form)
    np.testing.assert_array_equal(read(file), by_pillow(file))
    np.testing.assert_array_equal(read(file), drawn)


def indexed(indices):
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette(PALETTE)
    return image


@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("PNG", {"bits": 8}), ("TIFF", {}), ("BMP", {})])
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_indices_of_a_palette_stay_indices(form, options, data):
    drawn = data.draw(SHAPES.flatmap(lambda shape: arrays.arrays(np.uint8, shape, elements=st.integers(0, 3))))
    file = encoded(indexed(drawn), form, **options)
    np.testing.assert_array_equal(read(file), by_pillow(file))
    np.testing.assert_array_equal(read(file), drawn)


@pytest.mark.parametrize("form", ["PNG", "BMP"])
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_colours_of_a_palette_and_of_rgb_are_one(form, data):
    drawn = data.draw(SHAPES.flatmap(lambda shape: arrays.arrays(np.uint8, shape, elements=st.integers(0, 3))))
    for image in (indexed(drawn), indexed(drawn).convert("RGB")):
        file = encoded(image, form)
        found = read(file, COLOURS)
        np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))
        np.testing.assert_array_equal(numbers(found, COLOURS), drawn)
    assert meaning(COLOURS).values == {0: "background", 1: "liver", 2: "spleen"}
    assert meaning(COLOURS).ignore == (3,)


def test_grey_of_2_and_4_bits_keeps_its_numbers():
    drawn = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for bits in (2, 4):
        values = drawn % (1 << bits)
        data = bytearray(encoded(indexed(values % 4) if bits == 2 else sixteen(values), "PNG", bits=bits))
        assert data[24] == bits
        np.testing.assert_array_equal(read(as_grey(bytes(data))), values)


def sixteen(values):
    image = Image.fromarray(values, "P")
    image.putpalette(list(range(48)))
    return image


def as_grey(data):
    """The file with its indices declared to be grey, which pillow does not write in so few bits."""
    import struct
    import zlib

    out, at = data[:8], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            content = content[:9] + b"\0" + content[10:]
        if kind != b"PLTE":
            out += struct.pack(">I", length) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        at += 12 + length
    return out


def test_grey_that_is_stored_as_rgb_is_grey_and_colour_is_not():
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    file = encoded(Image.fromarray(np.repeat(grey[..., None], 3, axis=2)), "PNG")
    np.testing.assert_array_equal(numbers(read(file), NUMBERS), grey)
    with pytest.raises(Rejected, match="in colour") as fault:
        numbers(read(encoded(indexed(grey % 4).convert("RGB"), "PNG")), NUMBERS)
    assert fault.value.reason == Reason.LABEL_NOT_INTEGER


def test_a_transparent_colour_of_a_palette_changes_no_number():
    drawn = np.arange(12, dtype=np.uint8).reshape(3, 4) % 4
    file = encoded(indexed(drawn), "PNG", transparency=0)
    np.testing.assert_array_equal(read(file), drawn)
    np.testing.assert_array_equal(numbers(read(file, COLOURS), COLOURS), drawn)


def test_opaque_alpha_is_left_out_and_other_alpha_refused():
    colour = np.asarray(indexed(np.arange(12).reshape(3, 4) % 4).convert("RGBA")).copy()
    np.testing.assert_array_equal(read(encoded(Image.fromarray(colour), "PNG"), COLOURS), colour[..., :3])
    colour[1, 1, 3] = 0
    with pytest.raises(Rejected, match="transparent") as fault:
        read(encoded(Image.fromarray(colour), "PNG"), COLOURS)
    assert fault.value.reason == Reason.UNSUPPORTED


def test_a_colour_without_a_meaning_is_named():
    pixels = np.array([[[0, 0, 0], [1, 2, 3]], [[1, 2, 3], [255, 255, 255]]], np.uint8)
    with pytest.raises(Rejected, match=r"#010203 \(2 pixels\), #ffffff \(1 pixels\)") as fault:
        numbers(pixels, COLOURS)
    assert fault.value.reason == Reason.UNMAPPED_LABEL


def test_jpeg_needs_a_threshold():
    drawn = np.zeros((32, 48), np.uint8)
    drawn[8:24, 16:40] = 255
    for image in (Image.fromarray(drawn), Image.fromarray(drawn).convert("RGB")):
        file = encoded(image, "JPEG", quality=80)
        with pytest.raises(Rejected, match="threshold") as fault:
            header(file)
        assert fault.value.reason == Reason.UNSUPPORTED
        np.testing.assert_array_equal(numbers(read(file, HALVES), HALVES), drawn // 255)


def test_a_threshold_counts_the_mean_of_colour():
    pixels = np.array([[[126, 128, 129], [127, 128, 129]]], np.uint8)
    np.testing.assert_array_equal(numbers(pixels, HALVES), [[0, 1]])
    np.testing.assert_array_equal(numbers(np.array([[127, 128]], np.uint8), HALVES), [[0, 1]])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_turned_as_its_picture_is(orientation):
    from PIL import ImageOps

    drawn = np.arange(12, dtype=np.uint8).reshape(3, 4)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = encoded(Image.fromarray(drawn), "PNG", exif=exif)
    found = header(file)
    assert found.orientation == orientation
    with Image.open(io.BytesIO(file)) as image:
        np.testing.assert_array_equal(read(file), np.asarray(ImageOps.exif_transpose(image)))


def test_a_mask_is_refused_by_its_header_before_memory_is_taken():
    file = encoded(Image.fromarray(np.zeros((30, 40), np.uint8)), "PNG")
    with pytest.raises(Rejected) as fault:
        header(file, limits=Limits(max_edge=35))
    assert fault.value.reason == Reason.TOO_LARGE


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
def test_a_mask_that_is_cut_short_is_refused(form):
    rng = np.random.default_rng(1)
    file = encoded(Image.fromarray(rng.integers(0, 255, (40, 50)).astype(np.uint8)), form)
    with pytest.raises(Rejected) as fault:
        read(file[: len(file) // 2])
    assert fault.value.reason in (Reason.TRUNCATED, Reason.UNREADABLE)
