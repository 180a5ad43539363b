"""Picture members as arrays, by either decoder; and pictures of pictures."""

from __future__ import annotations

import io
import subprocess
import sys

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from mdfp import pictures
from mdfp.errors import MissingExtraError, UsageError
from mdfp.flat_picture import flat_view
from mdfp.labels import State
from mdfp.pieces import pieces
from mdfp.sample import Acquisition, Grid, IntensityStats, Normalisation, SampleAnnotation, SampleImage
from mdfp.wds import decoder

RNG = np.random.default_rng(5)
ARRAYS = [
    RNG.integers(0, 256, (9, 14), np.uint8),
    RNG.integers(0, 65_536, (9, 14), np.uint16),
    RNG.integers(0, 256, (9, 14, 3), np.uint8),
    RNG.integers(0, 256, (9, 14, 2), np.uint8),
    RNG.integers(0, 256, (9, 14, 4), np.uint8),
]
DEEP = RNG.integers(0, 65_536, (9, 14, 3), np.uint16)


@pytest.fixture
def without_imagecodecs(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.shape}-{a.dtype}")
def test_both_decoders_give_the_same(array, monkeypatch):
    data = bytes(imagecodecs.png_encode(array))
    np.testing.assert_array_equal(pictures.decode(data), array)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    found = pictures.decode(memoryview(data))
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


def test_pillow_refuses_what_it_would_cut_to_8_bits(without_imagecodecs):
    with pytest.raises(UsageError, match=r"mdfp\[pictures\]"):
        pictures.decode(bytes(imagecodecs.png_encode(DEEP)))


def test_without_any_decoder_the_extra_is_named(without_imagecodecs, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"mdfp\[pictures\]"):
        pictures.decode(b"\x89PNG")


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xd9", b"nothing"])
def test_damage_is_a_value_error(data, monkeypatch):
    with pytest.raises(ValueError, match="not a picture that decodes"):
        pictures.decode(data)


def test_no_decoder_is_imported_before_a_picture_is_asked_for():
    code = (
        "import mdfp, mdfp.opened, mdfp.wds, sys; print([m for m in ('imagecodecs', 'PIL', 'av') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_parts_of_a_decoded_picture_are_pieces_as_of_a_volume():
    array = ARRAYS[2]
    boxes = [(1, 2, 0, 5, 9, 3), (0, 0, 1, 9, 14, 2)]
    found = [np.zeros([b - a for a, b in zip(box[:3], box[3:], strict=True)], np.uint8) for box in boxes]
    for number, there, numbers in pieces(pictures.Decoded(array), boxes):
        found[number][there] = numbers
    np.testing.assert_array_equal(found[0], array[1:5, 2:9])
    np.testing.assert_array_equal(found[1], array[:, :, 1:2])


def test_plain_webdataset_decodes_pictures():
    wds = pytest.importorskip("webdataset", reason="webdataset is not installed: pip install 'mdfp[webdataset]'")
    decode = wds.autodecode.Decoder([decoder])
    png = bytes(imagecodecs.png_encode(DEEP))
    found = decode({"__key__": "a", "image.xray.png": png, "report.txt": "größer".encode(), "json": b"{}"})
    np.testing.assert_array_equal(found["image.xray.png"], DEEP)
    assert found["report.txt"] == "größer"


STATS = IntensityStats(0, 255, 100, 20, tuple(float(i) for i in range(9)), None, None)


def record(axes, shape, dtype="uint8"):
    grid = Grid(shape, None, None, None)
    return SampleImage(
        "xray", "DX", axes, dtype, None, 1.0, 0.0, grid, grid, dtype, None, Acquisition(), None, STATS, STATS,
        Normalisation("range", 0, 255), 0, 0, None, "",
    )  # fmt: skip


def box(*corners, image="xray"):
    return SampleAnnotation("box", "nodule", None, State.PRESENT, "image", "expert", image, corners, ())


def test_a_box_is_drawn_around_the_pixels_it_holds():
    array = np.zeros((40, 80), np.uint8)
    shown = flat_view(record("yx", array.shape), array, [box(19.5, 9.5, 0, 39.5, 29.5, 0)], edge_px=320)
    assert shown.size == (320, 160)
    coloured = np.asarray(shown)[:160].astype(int).max(axis=2) > 60
    ys, xs = np.nonzero(coloured)
    # Index 19.5 is the edge between pixels 19 and 20: 20 pixels of four dots each from the left.
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (pytest.approx(80, abs=1), 160, pytest.approx(40, abs=1), 120)
    elsewhere = flat_view(
        record("yx", array.shape), array, [box(19.5, 9.5, 0, 39.5, 29.5, 0, image="other")], edge_px=320
    )
    assert not np.asarray(elsewhere)[:160].any()


@pytest.mark.parametrize(
    ("axes", "shape", "dtype"),
    [("yx", (20, 30), "uint16"), ("yxc", (20, 30, 3), "uint8"), ("yxc", (20, 30, 2), "uint8"), ("yxc", (20, 30, 4), "uint8"),
     ("yxc", (20, 30, 3), "uint16"), ("tyx", (5, 20, 30), "uint8"), ("tyxc", (5, 20, 30, 3), "uint8")],
)  # fmt: skip
def test_everything_flat_can_be_drawn(axes, shape, dtype):
    array = RNG.integers(0, 255, shape).astype(dtype)
    drawn = flat_view(record(axes, shape, dtype), array, caption="words", edge_px=300)
    assert drawn.size == (300, 226)
    assert np.asarray(drawn)[:200].std() > 5
    buffer = io.BytesIO()
    drawn.save(buffer, "PNG")
    Image.open(buffer).verify()


def test_a_volume_is_no_picture():
    with pytest.raises(ValueError, match="expected a picture or film"):
        flat_view(record("zyx", (3, 4, 5)), np.zeros((3, 4, 5), np.uint8))
