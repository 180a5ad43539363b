"""Deflated data sets (PS3.5 A.5), inflated within a limit: a few megabytes may announce thousands of times as many."""

from __future__ import annotations

import struct
import zlib

from pydicom import uid

from schemas.reasons import Reason
from transforms.rejected import Rejected
from transforms.scratch import Bytes

MAX_INFLATED_BYTES = 1 << 28
"""A deflated instance may hold 256 MB; the largest radiographs have a fifth of it."""

_PREAMBLE = 132
_CHUNK = 1 << 20
_META_BYTES = 4096  # the file meta group lies in the first of them, or the file is no ordinary one
_SYNTAX = uid.DeflatedExplicitVRLittleEndian.encode()
_PLAIN = uid.ExplicitVRLittleEndian.encode() + b"\0"
_HEAD = bytes(128) + b"DICM" + struct.pack("<HH2sH", 2, 0x10, b"UI", len(_PLAIN)) + _PLAIN
_LONG = (b"OB", b"OW", b"UN", b"SQ", b"UT", b"UC", b"UR")


def plain_of(data: Bytes) -> bytes | None:
    """The file as if it had been written without deflating; None where it is not deflated.

    Of the beginning of a file it gives a beginning.

    Raises:
        Rejected: TOO_LARGE, beyond `MAX_INFLATED_BYTES`; UNREADABLE, damaged.
    """
    start = _start_of_deflated(data)
    if start is None:
        return None
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = bytearray()
    for at in range(start, len(data), _CHUNK):
        try:
            content += inflater.decompress(data[at : at + _CHUNK], MAX_INFLATED_BYTES + 1 - len(content))
        except zlib.error as error:
            raise Rejected(Reason.UNREADABLE, "a deflated data set that cannot be inflated") from error
        if len(content) > MAX_INFLATED_BYTES:
            raise Rejected(Reason.TOO_LARGE, f"a deflated data set of more than {MAX_INFLATED_BYTES} bytes")
        if inflater.eof:
            break
    return _HEAD + bytes(content)


def _start_of_deflated(data: Bytes) -> int | None:
    """Where the deflated part begins; None where the file meta group names another encoding, or is damaged."""
    meta = bytes(data[:_META_BYTES])
    if meta[128:_PREAMBLE] != b"DICM" or _SYNTAX not in meta:
        return None
    at, syntax = _PREAMBLE, b""
    try:
        while True:
            group, element, vr, length = struct.unpack_from("<HH2sH", meta, at)
            if group != 2:
                return at if syntax == _SYNTAX else None
            at += 8
            if vr in _LONG:
                (length,) = struct.unpack_from("<I", meta, at)
                at += 4
            if element == 0x10:
                syntax = meta[at : at + length].rstrip(b"\0 ")
            at += length
    except struct.error:
        return None
