"""Whether the scan of a lossless JPEG frame holds all its samples (ITU-T T.81 annex H).

The decoders of wheels fill what is missing with a guess and do not tell. The bits of a sample are a Huffman code and as many
more as the code says, whatever the predictor: counting samples needs no reconstruction.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numba import njit

from transforms.read.huffman import Table, after_restart, dropped, filled, peeked, tables
from transforms.read.jpeg import segments
from transforms.rejected import Rejected

_SOF3, _DHT, _SOS, _DRI = 0xC3, 0xC4, 0xDA, 0xDD


def missing_samples(stream: bytes) -> int:
    """How many samples the only scan of a lossless JPEG frame lacks.

    0 too where the frame is built otherwise than one is in DICOM (several scans, sampled components, no number of rows): such
    a one is not looked at.
    """
    frame: tuple[int, int, int] | None = None
    known: dict[int, Table] = {}
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
                known |= tables(content)
            elif marker == _DRI:
                (interval,) = struct.unpack(">H", content)
            elif marker == _SOS:
                if frame is None or not all(frame) or content[0] != frame[2]:
                    return 0
                used = [known[content[2 + 2 * n] >> 4] for n in range(frame[2])]
                wanted = frame[0] * frame[1] * frame[2]
                data = np.frombuffer(stream, np.uint8, offset=stop)
                lengths, categories = (np.stack([t[k] for t in used]) for k in (0, 1))
                return wanted - int(_count(data, lengths, categories, wanted, interval * frame[2]))
    except (Rejected, IndexError, KeyError, ValueError, struct.error):
        return 0  # damaged elsewhere: its decoder says so
    return 0


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
    components = len(lengths)
    while done < wanted:
        if interval > 0 and left == 0:
            have, bits, left = 0, np.uint64(0), interval
            at = after_restart(data, at)
            if at < 0:
                return done
        at, bits, have = filled(data, at, bits, have)
        peek = peeked(bits, have)
        component = done % components
        length = int(lengths[component, peek])
        more = int(categories[component, peek])
        more = 0 if more > 15 else more  # a difference of 32768 has no bits of its own
        if length == 0 or length + more > have:
            return done
        bits, have = dropped(bits, have, length + more)
        done += 1
        left -= 1
    return done
