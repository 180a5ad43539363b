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
from tests.transforms.read.jpeg_encoder import Scan, encoded
from transforms.read import jpeg, raster
from transforms.read.dct_scan import check_sequential
from transforms.read.jpeg_scans import check_scans
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
    with pytest.raises(Rejected) as rejected:
        read(_ended(data[:at]))
    assert rejected.value.reason in (Reason.TRUNCATED, Reason.UNREADABLE)


def _ended(data: bytes) -> bytes:
    """A stream with an end marker, whatever came before."""
    return data.rstrip(b"\xff") + b"\xff\xd9"


def scan_starts(data: bytes) -> list[int]:
    """Where each scan's header begins, or the tables before it: places at which all that stands before is whole."""
    starts, within = [], False
    for marker, start, _ in jpeg.segments(data):
        if within or marker == 0xDA:
            starts.append(start - 2 if marker == 0xD9 else start - 4)
        within = marker == 0xDA
    return starts


@pytest.mark.parametrize("name", [n for n in STREAMS if "progressive" in n or "True" in n])
def test_a_progressive_stream_that_ends_between_two_scans_is_refused(name):
    data = STREAMS[name]
    *between, end = scan_starts(data)
    assert len(between) > 5
    assert read(data[:end] + b"\xff\xd9").size
    for at in between[1:]:
        coarse = _ended(data[:at])
        assert imagecodecs.jpeg8_decode(coarse).shape == read(data).shape  # other decoders see nothing amiss
        with pytest.raises(Rejected) as rejected:
            read(coarse)
        assert rejected.value.reason is Reason.TRUNCATED


COLOUR, GREY = ((2, 2), (1, 1), (1, 1)), ((1, 1),)
SCRIPTS: dict[str, tuple[bool, tuple[tuple[int, int], ...], list[Scan]]] = {
    "sequential, interleaved": (False, COLOUR, [Scan([0, 1, 2])]),
    "sequential, a scan each": (False, COLOUR, [Scan([0]), Scan([1]), Scan([2])]),
    "sequential, two and one": (False, COLOUR, [Scan([1, 2]), Scan([0])]),
    "sequential, grey": (False, GREY, [Scan([0])]),
    "bands": (True, COLOUR, [
        Scan([0, 1, 2], (0, 0)), *(Scan([n], band) for n in (2, 0, 1) for band in ((1, 5), (6, 20), (21, 63))),
    ]),
    "a first coefficient each": (True, COLOUR, [
        *(Scan([n], (0, 0)) for n in (0, 1, 2)), *(Scan([n], (1, 63)) for n in (0, 1, 2)),
    ]),
    "bits": (True, COLOUR, [
        Scan([0, 1, 2], (0, 0), (0, 2)), *(Scan([n], (1, 63), (0, 2)) for n in (0, 1, 2)),
        Scan([0, 1, 2], (0, 0), (2, 1)), *(Scan([n], (1, 63), (2, 1)) for n in (0, 1, 2)),
        *(Scan([n], (1, 63), (1, 0)) for n in (2, 1, 0)), Scan([0, 1, 2], (0, 0), (1, 0)),
    ]),
    "bands refined otherwise than they were first said": (True, GREY, [
        Scan([0], (0, 0), (0, 1)), Scan([0], (1, 8), (0, 1)), Scan([0], (9, 63), (0, 1)),
        Scan([0], (1, 30), (1, 0)), Scan([0], (31, 63), (1, 0)), Scan([0], (0, 0), (1, 0)),
    ]),
}  # fmt: skip
"""Name: process, sampling, scans."""


def coefficients(sampling: tuple[tuple[int, int], ...], largest: int) -> list[np.ndarray]:
    """Random ones, most of the higher ones zero, in whole MCUs."""
    rng = np.random.default_rng(7)
    across, down = (max(s[axis] for s in sampling) for axis in (0, 1))
    units = -(-ROWS // (8 * down)), -(-COLUMNS // (8 * across))
    made = []
    for h, v in sampling:
        drawn = rng.integers(-largest, largest + 1, (units[0] * v, units[1] * h, 64))
        made.append(np.where(rng.random(drawn.shape) < 6 / (3 + np.arange(64)), drawn, 0))
    return made


def scripted(name: str, *, interval: int = 0, scans: slice = slice(None)) -> bytes:
    progressive, sampling, script = SCRIPTS[name]
    return encoded(
        coefficients(sampling, 60), script[scans], size=(ROWS, COLUMNS), progressive=progressive, sampling=sampling,
        interval=interval,
    )  # fmt: skip


@pytest.mark.parametrize("interval", [0, 3])
@pytest.mark.parametrize("name", SCRIPTS)
def test_any_script_that_says_all_is_read_and_means_the_same(name, interval):
    data = scripted(name, interval=interval)
    same = scripted("sequential, interleaved" if len(SCRIPTS[name][1]) == 3 else "sequential, grey")
    np.testing.assert_array_equal(read(data), imagecodecs.jpeg8_decode(same))


@pytest.mark.parametrize(("name", "left_out"), [(n, k) for n in SCRIPTS for k in range(1, len(SCRIPTS[n][2]))])
def test_any_script_that_is_not_done_is_refused(name, left_out):
    with pytest.raises(Rejected, match=r"expected scans of|ends before its last scans") as rejected:
        read(scripted(name, scans=slice(-left_out)))
    assert rejected.value.reason is Reason.TRUNCATED


@pytest.mark.parametrize("interval", [0, 3])
@pytest.mark.parametrize("name", [n for n in SCRIPTS if n.startswith("sequential")])
def test_blocks_of_sequential_scans_are_counted(name, interval):
    data = scripted(name, interval=interval)
    check_sequential(data)
    first = data.index(b"\xff\xda") + 8
    for at in range(first, len(data) - 3, 97):
        with pytest.raises(Rejected, match=r"blocks early|expected scans of"):
            _check_all(_ended(data[:at]))


def _check_all(stream: bytes) -> None:
    check_scans(stream)
    check_sequential(stream)


@pytest.mark.parametrize("level", [1, 50, 95, 100, None])
def test_blocks_of_12_bits_are_counted(level):
    if level is None:
        data = encoded(
            coefficients(COLOUR, 8000), [Scan([0, 1, 2])], size=(ROWS, COLUMNS), progressive=False, sampling=COLOUR,
            bits=12, interval=2,
        )  # fmt: skip
    else:
        grey = ((_X * 30 + _Y * 40) % 4096).astype(np.uint16)
        data = imagecodecs.jpeg8_encode(grey, level=level, bitspersample=12)
    check_sequential(data)
    check_sequential(data + b"\0")  # a fragment of even length
    scan = data.index(b"\xff\xda") + 14
    for at in range(scan, len(data) - 3, len(data) // 20):
        with pytest.raises(Rejected, match="units of 8×8 blocks early"):
            check_sequential(_ended(data[:at]))
    with pytest.raises(Rejected, match="no end marker"):
        check_sequential(data[:-2])


def test_what_follows_a_harmless_warning_is_heard():
    """libjpeg tells its first warning alone: here that of scan parameters without meaning."""
    data = _scan_parameters(STREAMS["sampled 420"], b"\x01\x05\x00")
    broken = _ended(data[: len(data) // 2])
    assert imagecodecs.jpeg8_decode(broken).shape == RGB.shape
    with pytest.raises(Rejected, match="units of 8×8 blocks early") as rejected:
        read(broken)
    assert rejected.value.reason is Reason.TRUNCATED


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
