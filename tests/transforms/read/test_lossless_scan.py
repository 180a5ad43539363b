"""Samples of lossless JPEG scans: none is missing of a whole one, however it was made, and of a cut one as many as are."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.read.lossless_scan import missing_samples

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def encoded(array: np.ndarray, predictor: int) -> bytes:
    return imagecodecs.jpeg8_encode(
        array, lossless=True, predictor=predictor, bitspersample=16 if array.itemsize == 2 else 8
    )


@given(SIZES, st.integers(1, 16), st.integers(1, 7), st.integers(0, 9), st.booleans())
@settings(max_examples=150, deadline=None)
def test_nothing_is_missing_of_a_whole_frame(size, bits, predictor, seed, smooth):
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 2**bits, size)
    if smooth:
        array = np.cumsum(array % 3, axis=1) % 2**bits
    assert missing_samples(encoded(array.astype(np.uint8 if bits <= 8 else np.uint16), predictor)) == 0


@pytest.mark.parametrize("colour", [False, True])
def test_another_encoders_frames_are_whole(colour):
    array = np.random.default_rng(0).integers(0, 4096, (33, 21), np.uint16)
    if colour:
        array = np.random.default_rng(0).integers(0, 256, (33, 21, 3), np.uint8)
        assert missing_samples(imagecodecs.jpeg8_encode(array, lossless=True, predictor=1)) == 0
        return
    assert missing_samples(imagecodecs.ljpeg_encode(array, bitspersample=12)) == 0


@given(st.floats(0.05, 0.99), st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_was_cut_off_is_missing(part, ended):
    array = np.random.default_rng(1).integers(0, 4096, (40, 30), np.uint16)
    stream = encoded(array, 1)
    start = stream.index(b"\xff\xda") + 10
    kept = stream[: start + int((len(stream) - 2 - start) * part)].rstrip(b"\xff")
    missing = missing_samples(kept + b"\xff\xd9" * ended)
    assert 0 < missing <= array.size
    assert abs(missing / array.size - (1 - part)) < 0.05


def test_what_is_no_lossless_jpeg_is_not_looked_at():
    grey = np.zeros((8, 8), np.uint8)
    assert (
        missing_samples(b"")
        == missing_samples(b"\xff\xd8\xff\xd9")
        == missing_samples(imagecodecs.jpeg8_encode(grey))
        == 0
    )


def test_restart_markers_are_counted_through():
    """Two equal strips, each an interval of its own: as many bits as one of them has, twice."""
    strip = np.random.default_rng(2).integers(0, 4096, (5, 30), np.uint16)
    stream = encoded(strip, 1)
    frame, scan = stream.index(b"\xff\xc3"), stream.index(b"\xff\xda")
    start = scan + 10
    head = stream[: frame + 5] + (10).to_bytes(2, "big") + stream[frame + 7 : scan]
    restarts = b"\xff\xdd\x00\x04" + strip.size.to_bytes(2, "big")
    bits = stream[start:-2]
    whole = head + restarts + stream[scan:start] + bits + b"\xff\xd0" + bits + b"\xff\xd9"
    np.testing.assert_array_equal(imagecodecs.jpeg8_decode(whole), np.concatenate([strip, strip]))
    assert missing_samples(whole) == 0
    assert missing_samples(whole[: -len(bits) - 2] + b"\xff\xd9") == strip.size
    assert missing_samples(head + restarts + stream[scan:start] + bits[:-20] + b"\xff\xd0" + bits + b"\xff\xd9") > 0
