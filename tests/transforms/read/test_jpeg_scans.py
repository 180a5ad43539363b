"""JPEG streams that break off within a scan are refused; every kind of whole one is read, odd ones too."""

from __future__ import annotations

import io
import os
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import raster
from transforms.rejected import Rejected

ROWS, COLUMNS = 83, 117  # no whole number of blocks
_Y, _X = np.mgrid[:ROWS, :COLUMNS]
RGB = np.stack([_X * 2, _Y * 3, _X + _Y], -1) + np.random.default_rng(0).integers(0, 40, (ROWS, COLUMNS, 3))
RGB = np.clip(RGB, 0, 255).astype(np.uint8)


def saved(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def streams() -> dict[str, bytes]:
    """Every sampling of colours, baseline and progressive, with and without restart markers."""
    made = {
        f"sampled {s}": imagecodecs.jpeg8_encode(RGB, level=85, subsampling=s)
        for s in ("444", "422", "420", "440", "411")
    }
    for sampling in (0, 1, 2):
        for progressive in (False, True):
            kind = f"pillow {sampling} {'progressive' if progressive else 'baseline'}"
            options = {"subsampling": sampling, "progressive": progressive, "quality": 75}
            made[kind] = saved(RGB, **options)
            made[f"{kind}, optimised"] = saved(RGB, optimize=True, **options)
            made[f"{kind}, restarts"] = saved(RGB, restart_marker_blocks=5, **options)
    for progressive in (False, True):
        made[f"grey {progressive}"] = saved(RGB[..., 0], progressive=progressive)
        made[f"stored as RGB {progressive}"] = saved(RGB, keep_rgb=True, progressive=progressive)
    made["quality 1"], made["quality 100"] = saved(RGB, quality=1), saved(RGB, quality=100)
    made["one pixel"] = saved(RGB[:1, :1])
    return made


STREAMS = streams()


def read(data: bytes) -> np.ndarray:
    return raster.read(data, Limits()).array


@pytest.mark.parametrize("name", STREAMS)
def test_whole_streams_have_the_pixels_of_other_decoders(name):
    array = read(STREAMS[name])
    np.testing.assert_array_equal(array, imagecodecs.jpeg8_decode(STREAMS[name]))
    with Image.open(io.BytesIO(STREAMS[name])) as theirs:
        # Pillow's own build of libjpeg rounds some samplings otherwise, by one.
        assert np.abs(array.astype(int) - np.asarray(theirs).astype(int)).max() <= 1


@pytest.mark.parametrize("name", [n for n in STREAMS if n != "one pixel"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.98])
def test_a_stream_that_breaks_off_and_has_an_end_marker_is_refused(name, part):
    data = STREAMS[name]
    scan = data.index(b"\xff\xda") + 14
    at = scan + int((len(data) - 2 - scan) * part)
    if b"\xff\xc4" in data[at - 2 : at + 3]:
        at -= 9  # between two scans, where the next one has its tables: see below
    with pytest.raises(Rejected) as rejected:
        read(_ended(data[:at]))
    assert rejected.value.reason in (Reason.TRUNCATED, Reason.UNREADABLE)


def _ended(data: bytes) -> bytes:
    """A stream with an end marker, whatever came before."""
    return data.rstrip(b"\xff") + b"\xff\xd9"


def test_a_progressive_stream_without_its_later_scans_is_coarse_as_others_are_on_purpose():
    data = STREAMS["pillow 0 progressive"]
    at = data.rindex(b"\xff\xc4")
    np.testing.assert_array_equal(read(_ended(data[:at])), imagecodecs.jpeg8_decode(_ended(data[:at])))


def test_other_decoders_give_a_grey_rest():
    """What this guards against: should they learn to tell, they can decode alone."""
    data = STREAMS["sampled 420"]
    broken = _ended(data[: len(data) // 2])
    assert len(np.unique(imagecodecs.jpeg8_decode(broken)[-8:, :, 0])) == 1
    with pytest.raises(Rejected, match="ends before its last pixel"):
        read(broken)


def test_a_lost_restart_marker_is_damage():
    data = STREAMS["pillow 2 baseline, restarts"]
    at = data.index(b"\xff\xd1")
    with pytest.raises(Rejected, match="damaged") as rejected:
        read(data[:at] + data[at + 2 :])
    assert rejected.value.reason is Reason.UNREADABLE


def test_a_component_without_a_scan_is_missing():
    progressive = bytearray(STREAMS["pillow 0 progressive"])
    for at in range(len(progressive) - 10):
        if progressive[at : at + 2] == b"\xff\xda" and progressive[at + 4] == 3:  # a scan of all components
            progressive[at + 9] = progressive[at + 7]  # the third one's frequencies are said to be the second's
    with pytest.raises(Rejected, match="expected scans of 3 components in the JPEG stream, found 2"):
        read(bytes(progressive))


ODD = {
    "zeros before the end": lambda d: d[:-2] + bytes(300) + d[-2:],
    "fill bytes before the end": lambda d: d[:-2] + b"\xff\xff\xff" + d[-2:],
    "bytes behind the end": lambda d: d + b"thumbnail" * 50,
    "scan parameters of no meaning": lambda d: _scan_parameters(d, b"\x00\x00\x00"),
    "scan parameters of another": lambda d: _scan_parameters(d, b"\x01\x05\x00"),
    "an unknown colour transform": lambda d: d[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x07" + d[2:],
    "an unknown application segment": lambda d: d[:2] + b"\xff\xeb\x00\x06abcd" + d[2:],
}


def _scan_parameters(data: bytes, parameters: bytes) -> bytes:
    at = data.index(b"\xff\xda") + 5 + 2 * 3
    return data[:at] + parameters + data[at + 3 :]


@pytest.mark.parametrize("name", ODD)
def test_whole_pictures_with_oddities_are_read(name):
    data = STREAMS["sampled 420"]
    np.testing.assert_array_equal(read(ODD[name](data)), imagecodecs.jpeg8_decode(data))


@pytest.mark.real
@pytest.mark.skipif("MDFP_TESTDATA" not in os.environ, reason="MDFP_TESTDATA names no folder of real files")
def test_real_files_are_read_and_refused_when_cut():
    found = sorted(Path(os.environ["MDFP_TESTDATA"]).rglob("*.jpg"))
    assert found
    for path in found:
        data = path.read_bytes()
        assert read(data).size
        with pytest.raises(Rejected):
            read(_ended(data[: len(data) * 3 // 4]))
