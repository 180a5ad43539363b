"""Whether the scans of a sequential JPEG frame hold all their blocks (ITU-T T.81 annex F), of 8 and of 12 bits a sample.

The decoder of 12 bits fills what is missing with a guess and does not tell. A block of 8×8 coefficients is a Huffman code for
each run of zeros and the number behind it: counting blocks needs neither the numbers nor their transform.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from schemas.reasons import Reason
from transforms.read.huffman import Table, after_restart, dropped, filled, peeked, tables
from transforms.read.jpeg import segments
from transforms.rejected import Rejected

_SEQUENTIAL = (0xC0, 0xC1)
_DHT, _SOS, _DRI = 0xC4, 0xDA, 0xDD


@dataclass(frozen=True)
class _Frame:
    """Size of a frame, and by its number the sampling (horizontal, vertical) of each component."""

    rows: int
    columns: int
    sampling: dict[int, tuple[int, int]]

    def units(self, numbers: list[int]) -> tuple[int, list[int]]:
        """MCUs of a scan of components, and whose each block of one MCU is, as index into `numbers` (T.81 A.2)."""
        across, down = (max(s[axis] for s in self.sampling.values()) for axis in (0, 1))
        if len(numbers) == 1:  # not interleaved: an MCU is one block, and none lies wholly beyond the component
            h, v = self.sampling[numbers[0]]
            columns, rows = -(-self.columns * h // across), -(-self.rows * v // down)
            return -(-columns // 8) * -(-rows // 8), [0]
        blocks = [n for n, number in enumerate(numbers) for _ in range(_product(self.sampling[number]))]
        return -(-self.columns // (8 * across)) * -(-self.rows // (8 * down)), blocks


def _product(pair: tuple[int, int]) -> int:
    return pair[0] * pair[1]


def check_sequential(stream: bytes) -> None:
    """Refuse a sequential JPEG stream that breaks off.

    Not looked at: scans of another process, and what is damaged otherwise than by an early end, of which its decoder says so.

    Raises:
        Rejected: TRUNCATED, blocks of a scan are missing, or the marker at the end of the image is.
    """
    parts: list[tuple[int, int, int]] = []
    ended = True
    try:
        parts.extend(segments(stream))
    except IndexError:  # what it found before is kept
        ended = False
    except Rejected:
        return
    try:
        missing = _missing_units(stream, parts)
    except (IndexError, KeyError, ValueError, ZeroDivisionError, struct.error):
        return
    if missing:
        raise Rejected(Reason.TRUNCATED, f"a scan of the JPEG stream ends {missing} units of 8×8 blocks early")
    if not ended:
        raise Rejected(Reason.TRUNCATED, "the JPEG stream has no end marker: it is cut short")


def _missing_units(stream: bytes, parts: list[tuple[int, int, int]]) -> int:
    """MCUs that the first incomplete scan of a sequential frame lacks."""
    frame: _Frame | None = None
    known: dict[int, Table] = {}
    interval = 0
    for marker, start, stop in parts:
        content = stream[start:stop]
        if marker in _SEQUENTIAL:
            frame = _frame(content)
        elif marker == _DHT:
            known |= tables(content)
        elif marker == _DRI:
            (interval,) = struct.unpack(">H", content)
        elif marker == _SOS and frame is not None:
            numbers = [content[1 + 2 * n] for n in range(content[0])]
            used = [content[2 + 2 * n] for n in range(content[0])]
            wanted, blocks = frame.units(numbers)
            dc, ac = [known[u >> 4] for u in used], [known[16 + (u & 15)] for u in used]
            data = np.frombuffer(stream, np.uint8, offset=stop)
            done = int(_count(data, _stacked(dc), _stacked(ac), np.array(blocks, np.int64), wanted, interval))
            if done < wanted:
                return wanted - done
    return 0


def _frame(content: bytes) -> _Frame:
    _, rows, columns, count = struct.unpack_from(">BHHB", content)
    parts = [content[6 + 3 * n : 9 + 3 * n] for n in range(count)]
    return _Frame(rows, columns, {number: (sampling >> 4, sampling & 15) for number, sampling, _ in parts})


def _stacked(found: list[Table]) -> npt.NDArray[np.uint8]:
    """(length or symbol, component, 2**16) uint8."""
    return np.stack([np.stack([t[k] for t in found]) for k in (0, 1)])


@njit(cache=True, nogil=True)
def _count(data: Any, dc: Any, ac: Any, blocks: Any, wanted: int, interval: int) -> int:
    """MCUs that entropy-coded data hold before they end.

    Args:
        data: uint8, from the first byte of the scan on.
        dc: (2, component, 2**16) uint8, lengths and symbols of the first coefficient's codes.
        ac: the same of the others'.
        blocks: component of each block of an MCU, int64.
        wanted: MCUs after which to stop.
        interval: MCUs between restart markers; 0: there are none.
    """
    at, have, left = 0, 0, interval
    bits = np.uint64(0)
    for done in range(wanted):
        if interval > 0 and left == 0:
            have, bits, left = 0, np.uint64(0), interval
            at = after_restart(data, at)
            if at < 0:
                return done
        for component in blocks:
            coefficient = 0
            while coefficient < 64:
                at, bits, have = filled(data, at, bits, have)
                peek = peeked(bits, have)
                codes = dc if coefficient == 0 else ac
                length, symbol = int(codes[0, component, peek]), int(codes[1, component, peek])
                more = symbol & 15
                if length == 0 or length + more > have:
                    return done
                bits, have = dropped(bits, have, length + more)
                if coefficient == 0:
                    coefficient = 1
                elif more == 0 and symbol >> 4 != 15:
                    break  # the rest of the block is zero
                else:
                    coefficient += (symbol >> 4) + 1
        left -= 1
    return wanted
