"""Random changes to a file, all from one seed: the same number gives the same bytes on any machine."""

from __future__ import annotations

import random
from collections.abc import Sequence

_CHANGES = 6
"""At most, in one file."""


def mutated(seeds: Sequence[bytes], words: Sequence[bytes], number: int) -> bytes:
    """The file of a number.

    Args:
        seeds: what to begin from.
        words: bytes that mean something in the format.
        number: of the file.
    """
    rng = random.Random(number)
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, _CHANGES)):
        _change(data, seeds, words, rng)
    return bytes(data)


def _change(data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes], rng: random.Random) -> None:
    # Headers are short and say most: half of all changes are there.
    at = rng.randrange(min(len(data), rng.choice((64, 512, 4096, len(data) or 1))) or 1) if data else 0
    length = rng.choice((1, 2, 4, 8, 64, 1000))
    kind = rng.randrange(9)
    if kind == 0 and data:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1 and data:
        data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    elif kind == 2:
        word = rng.choice(words)
        data[at : at + len(word)] = word
    elif kind == 3:
        data[at:at] = rng.choice(words)
    elif kind == 4:
        del data[at : at + length]
    elif kind == 5:
        del data[at:]
    elif kind == 6:
        data[at:at] = data[at : at + length] * rng.choice((1, 2, 50))
    elif kind == 7:
        other = rng.choice(seeds)
        start = rng.randrange(len(other) or 1)
        data[at : at + length] = other[start : start + length]
    else:
        data[at : at + length] = rng.randbytes(length)
