"""Gzip: everything that was put in comes out, and nothing that was not."""

from __future__ import annotations

import gzip
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagecodecs import gzip_decode

from schemas.reasons import Reason
from transforms.read import inflate
from transforms.rejected import Rejected

LIMIT = 1 << 20
TEXT = b"voxels and voxels and " * 500


def reason(data: bytes, limit: int = LIMIT) -> Reason:
    with pytest.raises(Rejected) as rejected:
        inflate.gunzip(data, max_bytes=limit)
    return rejected.value.reason


@given(st.binary(max_size=3000))
def test_what_gzip_wrote_comes_back(content: bytes) -> None:
    assert bytes(inflate.gunzip(gzip.compress(content), max_bytes=LIMIT)) == content


@given(
    st.lists(st.sampled_from([b"", b"a", TEXT, bytes(400), TEXT[:77]]), min_size=1, max_size=5),
    st.sampled_from([0, 1, 7, 600]),
)
def test_all_members_come_back_and_zero_padding_is_no_content(contents: list[bytes], zeros: int) -> None:
    stream = b"".join(gzip.compress(c) for c in contents) + bytes(zeros)
    assert bytes(inflate.gunzip(stream, max_bytes=LIMIT)) == b"".join(contents)


def test_two_equal_members_are_two_though_the_last_trailer_fits_the_first_member() -> None:
    assert bytes(inflate.gunzip(gzip.compress(TEXT) * 2, max_bytes=LIMIT)) == TEXT * 2


def test_members_that_libdeflate_alone_would_drop_are_kept() -> None:
    first, last = b"small", TEXT
    stream = gzip.compress(first) + gzip.compress(last)
    alone = gzip_decode(stream, out=np.empty(len(first + last), dtype=np.uint8))
    assert bytes(alone) == first  # why the result is checked
    assert bytes(inflate.gunzip(stream, max_bytes=LIMIT)) == first + last


@given(st.integers(min_value=0, max_value=len(gzip.compress(TEXT)) - 1))
def test_a_stream_cut_anywhere_is_corrupt(length: int) -> None:
    assert reason(gzip.compress(TEXT)[:length]) is Reason.CORRUPT_GZIP


@given(st.integers(min_value=10, max_value=len(gzip.compress(TEXT)) - 1), st.integers(min_value=1, max_value=255))
def test_a_changed_byte_of_content_or_trailer_is_corrupt(position: int, change: int) -> None:
    stream = bytearray(gzip.compress(TEXT))
    stream[position] ^= change
    outcome: object
    try:
        outcome = inflate.gunzip(bytes(stream), max_bytes=LIMIT)
    except Rejected as rejected:
        outcome = rejected.reason
    # A spare bit before the trailer may change without harm: the content is proven by its checksum.
    assert outcome in (Reason.CORRUPT_GZIP, Reason.TOO_LARGE, TEXT)


@pytest.mark.parametrize("garbage", [b"garbage", bytes(5) + b"x", b"\x1f\x8b"])
def test_bytes_after_the_last_member_are_corrupt(garbage: bytes) -> None:
    assert reason(gzip.compress(TEXT) + garbage) is Reason.CORRUPT_GZIP


def test_a_wrong_length_in_the_trailer_is_corrupt() -> None:
    stream = gzip.compress(TEXT)
    for isize in (0, 1, len(TEXT) + 1, 2**32 - 1):
        assert reason(stream[:-4] + isize.to_bytes(4, "little")) is Reason.CORRUPT_GZIP


def test_content_above_the_limit_is_refused_and_content_at_the_limit_is_not() -> None:
    stream = gzip.compress(bytes(5000))
    assert reason(stream, limit=4999) is Reason.TOO_LARGE
    assert reason(gzip.compress(b"a") + stream, limit=5000) is Reason.TOO_LARGE
    assert len(inflate.gunzip(stream, max_bytes=5000)) == 5000


def test_what_is_no_gzip_says_what_was_found() -> None:
    with pytest.raises(Rejected, match="start with 1f8b, found 5c01"):
        inflate.gunzip(b"\x5c\x01\0\0", max_bytes=LIMIT)
    assert reason(b"") is Reason.CORRUPT_GZIP


def test_a_prefix_gives_the_first_bytes_of_a_stream_that_is_not_all_there() -> None:
    content = np.random.default_rng(0).bytes(20_000)
    stream = gzip.compress(b"") + gzip.compress(content)
    assert inflate.gunzip_prefix(stream[:4096], 540) == content[:540]
    assert len(inflate.gunzip_prefix(stream[:100], 540)) < 540
    with pytest.raises(Rejected, match="corrupt_gzip"):
        inflate.gunzip_prefix(b"\x1f\x8b\x08\0" + bytes(6) + b"\xff" * 90, 540)


def test_zlib_streams_are_checked_for_checksum_and_length() -> None:
    stream = zlib.compress(TEXT)
    assert bytes(inflate.unzlib(stream, expected_bytes=len(TEXT))) == TEXT
    damaged = stream[:-1] + bytes([stream[-1] ^ 1])
    for bad, length, expected in (
        (damaged, len(TEXT), Reason.CORRUPT_GZIP),
        (stream[:-9], len(TEXT), Reason.CORRUPT_GZIP),
        (stream, len(TEXT) - 1, Reason.CORRUPT_GZIP),
        (stream, len(TEXT) + 1, Reason.TRUNCATED),
    ):
        with pytest.raises(Rejected) as rejected:
            inflate.unzlib(bad, expected_bytes=length)
        assert rejected.value.reason is expected
