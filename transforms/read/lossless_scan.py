"""Whether the scan of a lossless JPEG frame holds all its samples (ITU-T T.81 annex H).

The decoders of wheels fill what is missing with a guess and do not tell. The bits of a sample are a Huffman code and as many
more as the code says, whatever the predictor: counting samples needs no reconstruction.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.read.jpeg import segments
from transforms.rejected import Rejected

_SOF3, _DHT, _SOS, _DRI = 0xC3, 0xC4, 0xDA, 0xDD
_PEEK = 16
"""Bits of the longest code."""


def missing_samples(stream: bytes) -> int:
    """How many samples the only scan of a lossless JPEG frame lacks.

    0 too where the frame is built otherwise than one is in DICOM (several scans, sampled components, no number of rows): such
    a one is not looked at.
    """
    frame: tuple[int, int, int] | None = None
    tables: dict[int, tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]] = {}
    interval = 0
    try:
        for marker, start, stop in segments(stream):
            content = stream[start:stop]
            if marker == _SOF3:
                _, rows, columns, components = struct.unpack_from(">BHHB", content)
                if any(content[7 + 3 * n] != 0x11 for n in range(components)):
                    return 0
                frame = (rows, columns, components)
            elif marker == _DHT:
                tables |= _tables(content)
            elif marker == _DRI:
                (interval,) = struct.unpack(">H", content)
            elif marker == _SOS:
                if frame is None or not all(frame) or content[0] != frame[2]:
                    return 0
                used = [tables[content[2 + 2 * n] >> 4] for n in range(frame[2])]
                wanted = frame[0] * frame[1] * frame[2]
                data = np.frombuffer(stream, np.uint8, offset=stop)
                lengths, categories = (np.stack([t[k] for t in used]) for k in (0, 1))
                return wanted - int(_count(data, lengths, categories, wanted, interval * frame[2]))
    except (Rejected, IndexError, KeyError, ValueError, struct.error):
        return 0  # damaged elsewhere: its decoder says so
    return 0


def _tables(content: bytes) -> dict[int, tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]:
    """Number of each Huffman table → length of the code that 16 bits begin with (0: none does), and its symbol."""
    found = {}
    at = 0
    while at < len(content):
        number, counts = content[at] & 15, content[at + 1 : at + 17]
        at += 17
        lengths, symbols = np.zeros(1 << _PEEK, np.uint8), np.zeros(1 << _PEEK, np.uint8)
        code = 0
        for length, count in enumerate(counts, start=1):
            for _ in range(count):
                first = code << (_PEEK - length)
                lengths[first : first + (1 << (_PEEK - length))] = length
                symbols[first : first + (1 << (_PEEK - length))] = content[at]
                code, at = code + 1, at + 1
            code <<= 1
        found[number] = (lengths, symbols)
    return found


@njit(cache=True, nogil=True)
def _count(data: Any, lengths: Any, categories: Any, wanted: int, interval: int) -> int:
    """Samples that entropy-coded data hold before they end.

    Args:
        data: uint8, from the first byte of the scan on.
        lengths: (component, 2**16) uint8.
        categories: the same, symbols.
        wanted: samples after which to stop.
        interval: samples between restart markers; 0: there are none.
    """
    at, have, done, left = 0, 0, 0, interval
    bits = np.uint64(0)
    size, components = len(data), len(lengths)
    while done < wanted:
        if interval > 0 and left == 0:
            have, bits, left = 0, np.uint64(0), interval
            if at + 1 >= size or data[at] != 0xFF or data[at + 1] < 0xD0 or data[at + 1] > 0xD7:
                return done
            at += 2
        while have <= 40 and at < size:
            byte = data[at]
            if byte == 0xFF:
                if at + 1 >= size or data[at + 1] != 0:
                    break  # a marker
                at += 1
            at += 1
            bits = (bits << np.uint64(8)) | np.uint64(byte)
            have += 8
        if have >= 16:
            peek = (bits >> np.uint64(have - 16)) & np.uint64(0xFFFF)
        else:
            peek = ((bits << np.uint64(16 - have)) | np.uint64((1 << (16 - have)) - 1)) & np.uint64(0xFFFF)
        component = done % components
        length = int(lengths[component, peek])
        more = int(categories[component, peek])
        more = 0 if more > 15 else more  # a difference of 32768 has no bits of its own
        if length == 0 or length + more > have:
            return done
        have -= length + more
        bits &= (np.uint64(1) << np.uint64(have)) - np.uint64(1)
        done += 1
        left -= 1
    return done
