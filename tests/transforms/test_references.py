from __future__ import annotations

import random

import pytest

from transforms.references import PER_BLOCK, packed, unpacked
from transforms.take_inventory import Chunk


@pytest.mark.parametrize("count", [0, 1, PER_BLOCK - 1, PER_BLOCK, PER_BLOCK + 1, 3 * PER_BLOCK])
def test_what_is_packed_comes_out_in_its_order(count):
    numbers = random.Random(count).sample(range(count), count)
    assert [n for block in packed(numbers) for n in unpacked(block)] == numbers


def test_chunks_of_listings_travel_too():
    chunks = [Chunk("source", kind, n, n + 32) for kind in ("cases", "headers") for n in range(0, 90_000, 32)]
    assert [c for block in packed(chunks) for c in unpacked(block)] == chunks
