from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.identity.near_codes import near_pairs


def brute_force(codes, radius):
    bits = np.unpackbits(codes, axis=1).astype(np.int64)
    distance = (bits[:, None] != bits[None]).sum(axis=2)
    return [(a, b) for a in range(len(codes)) for b in range(a + 1, len(codes)) if distance[a, b] <= radius]


def clustered(seed, count, width, share):
    """Codes of which a share are others with some bits changed."""
    draws = np.random.default_rng(seed)
    bits = draws.random((count, width)) < draws.uniform(0.05, 0.95, width)
    for n in range(1, count):
        if draws.random() < share:
            bits[n] = bits[draws.integers(n)]
            bits[n, draws.choice(width, draws.integers(0, width // 6), replace=False)] ^= True
    return np.packbits(bits, axis=1)


@given(st.integers(0, 2**32), st.integers(0, 60), st.sampled_from([64, 256]), st.sampled_from([0, 3, 16, 31, 48, 70]))
@settings(max_examples=60, deadline=None)
def test_the_pairs_are_those_of_brute_force(seed, count, width, radius):
    codes = clustered(seed, count, width, 0.5)
    assert [tuple(p) for p in near_pairs(codes, radius).tolist()] == brute_force(codes, radius)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_pairs_are_those_of_faiss(share):
    codes = clustered(5, 3000, 256, share)
    index = faiss.IndexBinaryFlat(256)
    index.add(codes)
    limits, _, labels = index.range_search(codes, 32)  # below, not up to
    query = np.repeat(np.arange(len(codes)), np.diff(limits.astype(int)))
    want = sorted({(int(a), int(b)) for a, b in zip(query, labels, strict=True) if a < b})
    assert [tuple(p) for p in near_pairs(codes, 31).tolist()] == want


def test_a_crowd_of_equal_codes_gives_every_pair():
    codes = np.zeros((700, 32), np.uint8)
    assert len(near_pairs(codes, 0)) == 700 * 699 // 2


@pytest.mark.parametrize(("shape", "radius"), [((3, 7), 1), ((3,), 1), ((3, 8), -1), ((3, 0), 1)])
def test_codes_of_other_shapes_are_refused(shape, radius):
    with pytest.raises(ValueError, match="expected"):
        near_pairs(np.zeros(shape, np.uint8), radius)
