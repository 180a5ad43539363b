"""Deflated DICOM data sets (PS3.5 A.5), looked at before the library inflates them in one go."""

from __future__ import annotations

import zlib

from pydicom import uid

from schemas.reasons import Reason
from transforms.rejected import Rejected
from transforms.scratch import Bytes

MAX_DEFLATED_BYTES = 1 << 30
"""What the data set of a deflated file may hold: all of it is inflated to read its header."""

_PREAMBLE_BYTES = 132
_STEP_BYTES = 1 << 14
_CONTENT_STEP_BYTES = 1 << 20


def check_deflated(data: Bytes) -> None:
    """Inflate a deflated data set (PS3.5 A.5) a step at a time and forget it, before the library does so in one go.

    Raises:
        Rejected: TOO_LARGE.
    """
    start = _PREAMBLE_BYTES + 12  # the first element of the file meta information is its own length
    meta = bytes(data[:1024])
    if len(meta) < start or uid.DeflatedExplicitVRLittleEndian.encode() not in meta:
        return
    start += int.from_bytes(meta[start - 4 : start], "little")
    inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    for at in range(start, len(data), _STEP_BYTES):
        rest = bytes(data[at : at + _STEP_BYTES])
        while rest and not inflater.eof and total <= MAX_DEFLATED_BYTES:
            try:
                total += len(inflater.decompress(rest, _CONTENT_STEP_BYTES))
            except zlib.error:
                return  # what is damaged is found where it is read
            rest = inflater.unconsumed_tail
    if total > MAX_DEFLATED_BYTES:
        raise Rejected(Reason.TOO_LARGE, f"a deflated data set of more than {MAX_DEFLATED_BYTES} bytes")
