"""A JPEG encoder of quantised coefficients (ITU-T T.81 annexes F and G), for streams that no library's options make.

Two Huffman tables serve all: 16 categories of 5 bits for first coefficients, 256 symbols of 8 and 9 bits for the others. What
two streams of the same coefficients show is the same.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

_SHORT = 254  # codes of 8 bits; the other two have 9, and none is all ones (T.81 annex C)
_EOB, _ZRL = 0x00, 0xF0


@dataclass(frozen=True)
class Scan:
    """Which components, which coefficients (first, last), and the successive approximation (high, low)."""

    components: Sequence[int]
    band: tuple[int, int] = (0, 63)
    bits: tuple[int, int] = (0, 0)


class _Bits:
    def __init__(self) -> None:
        self.held: list[int] = []

    def put(self, value: int, count: int) -> None:
        self.held += [(value >> (count - 1 - n)) & 1 for n in range(count)]

    def symbol(self, value: int) -> None:
        self.put(value, 8) if value < _SHORT else self.put((_SHORT << 1) + value - _SHORT, 9)

    def number(self, run: int | None, value: int) -> None:
        """A symbol of a run of zeros (None: of a first coefficient) and a category, and the number."""
        category = int(abs(value)).bit_length()
        self.put(category, 5) if run is None else self.symbol(run << 4 | category)
        self.put(value if value > 0 else value + (1 << category) - 1, category)

    def bytes(self) -> bytes:
        packed = np.packbits(self.held + [1] * (-len(self.held) % 8)).tobytes()
        return packed.replace(b"\xff", b"\xff\x00")


def encoded(
    components: Sequence[np.ndarray], scans: Iterable[Scan], *, size: tuple[int, int], progressive: bool,
    sampling: Sequence[tuple[int, int]] | None = None, bits: int = 8, interval: int = 0,
) -> bytes:  # fmt: skip
    """A stream of the coefficients of each component.

    Args:
        components: (block rows, block columns, 64) integers, in zigzag order, padded to whole MCUs.
        scans: in their order.
        size: rows, columns of the picture.
        progressive: the process; else sequential.
        sampling: horizontal and vertical, of each component.
        bits: of a sample, 8 or 12.
        interval: MCUs between restart markers.
    """
    sampling = sampling or [(1, 1)] * len(components)
    marker = 0xC2 if progressive else 0xC0 if bits == 8 else 0xC1
    dc = bytes([0, 0, 0, 0, 16, *([0] * 11)]) + bytes(range(16))
    ac = bytes([0, 0, 0, 0, 0, 0, 0, _SHORT, 2, *([0] * 7)]) + bytes(range(256))
    parts = [b"\xff\xd8", _segment(0xDB, bytes([0]) + bytes([1] * 64))]
    frame = b"".join(bytes([n, h << 4 | v, 0]) for n, (h, v) in enumerate(sampling))
    parts.append(_segment(marker, struct.pack(">BHHB", bits, *size, len(components)) + frame))
    parts += [_segment(0xC4, b"\x00" + dc), _segment(0xC4, b"\x10" + ac)]
    if interval:
        parts.append(_segment(0xDD, struct.pack(">H", interval)))
    for scan in scans:
        named = b"".join(bytes([n, 0]) for n in scan.components)
        head = bytes([len(scan.components)]) + named + bytes([*scan.band, scan.bits[0] << 4 | scan.bits[1]])
        parts.append(_segment(0xDA, head) + _data(components, scan, size, sampling, progressive, interval))
    return b"".join(parts) + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _data(components, scan, size, sampling, progressive, interval):
    units = list(_units(components, scan.components, size, sampling))
    intervals = [units[k : k + interval] for k in range(0, len(units), interval)] if interval else [units]
    parts = []
    for number, part in enumerate(intervals):
        bits, before = _Bits(), dict.fromkeys(scan.components, 0)
        for unit in part:
            for component, block in unit:
                _block(bits, scan, [int(v) for v in block], before, component, progressive)
        parts.append(bits.bytes() + (bytes([0xFF, 0xD0 + number % 8]) if number + 1 < len(intervals) else b""))
    return b"".join(parts)


def _units(components, numbers, size, sampling):
    """The blocks of each MCU: (component, coefficients)."""
    across, down = (max(s[axis] for s in sampling) for axis in (0, 1))
    if len(numbers) == 1:
        (n,) = numbers
        rows, columns = -(-size[0] * sampling[n][1] // down), -(-size[1] * sampling[n][0] // across)
        for y in range(-(-rows // 8)):
            for x in range(-(-columns // 8)):
                yield [(n, components[n][y, x])]
        return
    for y in range(-(-size[0] // (8 * down))):
        for x in range(-(-size[1] // (8 * across))):
            yield [
                (n, components[n][y * sampling[n][1] + v, x * sampling[n][0] + h])
                for n in numbers for v in range(sampling[n][1]) for h in range(sampling[n][0])
            ]  # fmt: skip


def _block(bits, scan, block, before, component, progressive):
    (first, last), (high, low) = scan.band, scan.bits
    if not progressive:
        _dc(bits, block[0], before, component)
        _ac(bits, block[1:])
    elif first == 0 and high:
        bits.put(block[0] >> low & 1, 1)
    elif first == 0:
        _dc(bits, block[0] >> low, before, component)
    elif high:
        _refined(bits, block[first : last + 1], low)
    else:
        _ac(bits, [(abs(v) >> low) * (1 if v > 0 else -1) for v in block[first : last + 1]])


def _dc(bits, value, before, component):
    bits.number(None, value - before[component])
    before[component] = value


def _ac(bits, values):
    run = 0
    held = max((k for k, v in enumerate(values) if v), default=-1)
    for value in values[: held + 1]:
        if not value:
            run += 1
            continue
        while run > 15:
            bits.symbol(_ZRL)
            run -= 16
        bits.number(run, value)
        run = 0
    if held + 1 < len(values):
        bits.symbol(_EOB)


def _refined(bits, values, low):
    """One bit more of each coefficient (T.81 G.1.2.3)."""
    sizes = [abs(v) >> low for v in values]
    newest = max((k for k, s in enumerate(sizes) if s == 1), default=-1)
    run, corrections = 0, []
    for k, (value, size) in enumerate(zip(values, sizes, strict=True)):
        if size == 0:
            run += 1
            continue
        while run > 15 and k <= newest:
            bits.symbol(_ZRL)
            run -= 16
            bits.held += corrections
            corrections = []
        if size > 1:
            corrections.append(size & 1)
            continue
        bits.symbol(run << 4 | 1)
        bits.put(1 if value > 0 else 0, 1)
        bits.held += corrections
        run, corrections = 0, []
    if run or corrections:
        bits.symbol(_EOB)
        bits.held += corrections
