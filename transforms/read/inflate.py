"""Gzip, inflated by libdeflate with every trailer checked; a stream that does not match its trailer is not used.

libdeflate alone is not enough: it reads the first member only and says nothing of what follows it. Concatenated members
(bgzip, `cat`), zero padding and garbage would pass in silence, with voxels missing. Here its result is taken only where
it is certain to be the whole stream; all else goes through zlib, member by member.

Content goes into memory that the last volume had (`transforms.scratch`), in huge pages where the kernel lets a program ask
for them: forty thousand page faults a volume are a third of the time that inflating it takes.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
from imagecodecs import DeflateError, GzipError, deflate_decode, gzip_decode

from schemas.reasons import Reason
from transforms import scratch
from transforms.rejected import Rejected
from transforms.scratch import Bytes

MAGIC = b"\x1f\x8b"
"""First two bytes of a gzip member (RFC 1952, 2.3.1)."""

DEFLATE_RATIO = 1032
"""Bytes that one byte of a deflate stream can give at most (RFC 1951: 258 bytes for two bits). What is announced to hold
more lies, and no memory is taken for it."""

_TRAILER_BYTES = 8  # CRC-32 and ISIZE, the length modulo 2**32
_HEADER_BYTES = 10  # the shortest header of a member
_GZIP_WINDOW = 31  # zlib's way to ask for a gzip stream
_STEP_BYTES = 1 << 20

Content = npt.NDArray[np.uint8]
"""What was in a stream: one axis of bytes, writable."""


def is_gzip(data: Bytes) -> bool:
    """Whether the data starts as a gzip stream does."""
    return data[:2] == MAGIC


def gunzip(data: Bytes, *, max_bytes: int, expected_bytes: int | None = None) -> Content:
    """The content of a gzip stream: all its members, each checked against its CRC-32 and length.

    Zero padding after the last member is allowed, as gzip itself does; anything else there is corruption. One member
    of less than 4 GiB costs one pass of libdeflate into the array that is returned, and no copy.

    Args:
        data: the whole stream.
        max_bytes: the content may be this long.
        expected_bytes: length that the content is known to have from elsewhere (a header inside it). Saves looking for
            further members when the first has just this length.

    Raises:
        Rejected: CORRUPT_GZIP, the stream is cut short, fails a checksum or length, or is followed by other bytes;
            TOO_LARGE, it holds more than `max_bytes`.
    """
    if not is_gzip(data):
        raise Rejected(
            Reason.CORRUPT_GZIP, f"expected a gzip stream to start with 1f8b, found {data[:2].hex() or 'nothing'}"
        )
    # ISIZE is a claim. It is tried only within the limit; pages of a buffer that is too long are never touched.
    isize = int.from_bytes(data[-4:], "little")
    if len(data) >= _HEADER_BYTES + _TRAILER_BYTES and 0 < isize <= min(max_bytes, DEFLATE_RATIO * len(data)):
        try:
            content = scratch.take(isize)
            content = content[: len(gzip_decode(data, out=content.data))]  # type: ignore[arg-type] # takes any buffer
        except (DeflateError, GzipError):
            content = np.empty(0, dtype=np.uint8)  # corrupt, of several members, or longer than 4 GiB: zlib tells which
        if len(content) == isize and (isize == expected_bytes or _ends_with_first_member(data, content)):
            return content
    return np.frombuffer(_gunzip_members(data, max_bytes), dtype=np.uint8)


def _ends_with_first_member(data: Bytes, content: Content) -> bool:
    # The first member ends where its trailer stands. libdeflate has found it there, so if these eight bytes occur
    # nowhere but at the end of the data, then the first member ends there.
    trailer = bytes(data[-_TRAILER_BYTES:])
    return zlib.crc32(content.data) == int.from_bytes(trailer[:4], "little") and (
        bytes(data).find(trailer, _HEADER_BYTES) == len(data) - _TRAILER_BYTES
    )


def _gunzip_members(data: Bytes, max_bytes: int) -> bytearray:
    view = memoryview(data)
    content = bytearray()
    position, members = 0, 0
    while position < len(data):
        if members and data[position : position + 2] != MAGIC:
            if any(view[position:]):
                raise Rejected(
                    Reason.CORRUPT_GZIP, f"{len(data) - position} bytes that are not gzip follow member {members}"
                )
            break
        position = _gunzip_member(view, position, content, max_bytes)
        members += 1
    return content


def _gunzip_member(view: memoryview, position: int, content: bytearray, max_bytes: int) -> int:
    """Append one member's content; return where the member ends."""
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    while not inflater.eof:
        step = inflater.unconsumed_tail or view[position : position + _STEP_BYTES]
        if not inflater.unconsumed_tail:
            position += len(step)
        if not len(step):
            raise Rejected(Reason.CORRUPT_GZIP, f"the stream is cut short after {len(content)} bytes of content")
        try:
            content += inflater.decompress(step, max_bytes - len(content) + 1)
        except zlib.error as error:
            raise Rejected(Reason.CORRUPT_GZIP, f"{error}, after {len(content)} bytes of content") from error
        if len(content) > max_bytes:
            raise Rejected(Reason.TOO_LARGE, f"the gzip stream holds more than the allowed {max_bytes} bytes")
    return position - len(inflater.unused_data)


def gunzip_prefix(data: Bytes, n: int) -> bytes:
    """The first `n` bytes of content, or fewer where `data`, the first part of a gzip stream, holds no more.

    No trailer is checked: most of the stream need not be there.

    Raises:
        Rejected: CORRUPT_GZIP, what is there cannot be inflated.
    """
    content, rest = b"", data
    while len(content) < n and is_gzip(rest):
        inflater = zlib.decompressobj(_GZIP_WINDOW)
        try:
            content += inflater.decompress(rest, n - len(content))
        except zlib.error as error:
            raise Rejected(Reason.CORRUPT_GZIP, f"{error}, after {len(content)} bytes of content") from error
        rest = inflater.unused_data
    return content


def check_holds(stream_bytes: int, content_bytes: int) -> None:
    """Refuse a deflate stream (gzip, zlib) of which more is announced than one of its size can hold.

    Args:
        stream_bytes: its size.
        content_bytes: what a header says that it holds.

    Raises:
        Rejected: EXPANSION.
    """
    if content_bytes > DEFLATE_RATIO * stream_bytes:
        raise Rejected(
            Reason.EXPANSION,
            f"the header announces {content_bytes} bytes in a stream of {stream_bytes}, which can hold "
            f"{DEFLATE_RATIO * stream_bytes} at most",
        )


def unzlib(data: Bytes, *, expected_bytes: int) -> Content:
    """The content of a zlib stream (RFC 1950) of known length, checked against its Adler-32.

    Raises:
        Rejected: CORRUPT_GZIP, the stream is cut short, fails its checksum, or holds more than `expected_bytes`;
            TRUNCATED, it holds fewer; EXPANSION, it cannot hold so many.
    """
    check_holds(len(data), expected_bytes)
    try:
        content = scratch.take(expected_bytes)
        content = content[: len(deflate_decode(data, out=content.data))]  # type: ignore[arg-type] # takes any buffer
    except DeflateError as error:
        raise Rejected(
            Reason.CORRUPT_GZIP, f"{len(data)} bytes are no sound zlib stream of {expected_bytes} bytes: {error}"
        ) from error
    if len(content) < expected_bytes:
        raise Rejected(Reason.TRUNCATED, f"expected {expected_bytes} bytes of voxels, the stream holds {len(content)}")
    return content
