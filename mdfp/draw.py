"""Random numbers that are a function of their name: the same on every machine, in every version, in any order of use."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


class Draws:
    """A stream of draws named by its parts, for example `Draws("crop", seed, epoch, key)`.

    Blake2b in counter mode. numpy's `Generator` may change its numbers between versions (NEP 19), and Python's `hash` is
    salted; neither can order a training run that is to be continued.
    """

    def __init__(self, *name: str | int):
        self._name = "\x1f".join(str(part) for part in name).encode()
        self._count = 0

    def bits(self) -> int:
        """The next 64 bits."""
        counter = self._count.to_bytes(8, "little")
        self._count += 1
        return int.from_bytes(hashlib.blake2b(counter + self._name, digest_size=8).digest(), "little")

    def below(self, n: int) -> int:
        """A whole number of 0..n-1, with a bias of n/2^64.

        Raises:
            ValueError: n is not positive.
        """
        if n <= 0:
            raise ValueError(f"expected a positive bound, found {n}")
        return (self.bits() * n) >> 64

    def uniform(self) -> float:
        """A number in [0, 1)."""
        return (self.bits() >> 11) * 2.0**-53


def permutation(n: int, *name: str | int) -> npt.NDArray[np.int64]:
    """0..n-1 in an order that is a function of the name.

    Philox is a fixed algorithm, whose raw words NEP 19 keeps; sorting them is a permutation.
    """
    key = int.from_bytes(hashlib.blake2b("\x1f".join(map(str, name)).encode(), digest_size=16).digest(), "little")
    words = np.random.Philox(key=key).random_raw(n)
    return np.argsort(words, kind="stable").astype(np.int64)
