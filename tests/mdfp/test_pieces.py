from __future__ import annotations

import blosc2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdfp import pieces as module
from mdfp.codecs import VolumeCodec
from mdfp.pieces import pieces, runs


@st.composite
def arrays_and_boxes(draw):
    """A compressed array with blocks that do or do not divide its chunks, and boxes anywhere in it."""
    n = draw(st.integers(1, 4))
    shape = tuple(draw(st.lists(st.integers(1, 40 if n < 4 else 12), min_size=n, max_size=n)))
    dtype = draw(st.sampled_from(["int16", "uint8", "float32"]))
    array = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    if draw(st.booleans()):
        packed = VolumeCodec().open(VolumeCodec().encode(array))
    else:
        blocks = tuple(draw(st.integers(1, s)) for s in shape)
        chunks = tuple(draw(st.integers(b, s)) for b, s in zip(blocks, shape, strict=True))
        packed = blosc2.asarray(array, chunks=chunks, blocks=blocks)
    corners = [sorted(draw(st.lists(st.integers(0, s), min_size=2, max_size=2, unique=True))) for s in shape * 5]
    boxes = []
    for i in range(draw(st.integers(1, 5))):
        own = corners[i * n : (i + 1) * n]
        boxes.append((*(a for a, _ in own), *(b for _, b in own)))
    return array, packed, boxes


def part(array, box):
    n = len(box) // 2
    return array[tuple(slice(a, b) for a, b in zip(box[:n], box[n:], strict=True))]


@settings(max_examples=150, deadline=None)
@given(arrays_and_boxes())
def test_pieces_put_together_are_the_parts_of_the_array(given_):
    array, packed, boxes = given_
    found = [np.zeros_like(part(array, box)) for box in boxes]
    times = [np.zeros(part(array, box).shape, int) for box in boxes]
    for number, there, numbers in pieces(packed, boxes):
        found[number][there] = numbers
        times[number][there] += 1
    for box, got, n in zip(boxes, found, times, strict=True):
        np.testing.assert_array_equal(got, part(array, box))
        assert (n == 1).all()


def blocks_of(blocks, box):
    n = len(blocks)
    spans = [range(a // e, -(-b // e)) for a, b, e in zip(box[:n], box[n:], blocks, strict=True)]
    grid = np.stack(np.meshgrid(*spans, indexing="ij"), -1).reshape(-1, n)
    return [tuple(int(i) for i in block) for block in grid]


BLOCKS = (4, 3, 5)
box_of = st.tuples(*[st.tuples(st.integers(0, 20), st.integers(1, 14)) for _ in range(3)]).map(
    lambda spans: (*(a for a, _ in spans), *(a + n for a, n in spans))
)


@settings(max_examples=200, deadline=None)
@given(st.lists(box_of, min_size=1, max_size=6))
def test_every_block_is_decoded_once_and_none_that_nobody_asked_for(boxes):
    decoded = [block for run in runs(BLOCKS, tuple(boxes)) for block in blocks_of(BLOCKS, (*run.low, *run.high))]
    asked = {block for box in boxes for block in blocks_of(BLOCKS, box)}
    assert len(decoded) == len(set(decoded))
    assert set(decoded) == asked


def test_runs_are_joined_no_further_than_the_cache(monkeypatch):
    box = (0, 0, 0, 4, 30, 10)
    assert len(runs(BLOCKS, (box,))) == 1
    monkeypatch.setattr(module, "RUN_VOXELS", 4 * 6 * 10)
    runs.cache_clear()
    found = runs(BLOCKS, (box,))
    runs.cache_clear()
    assert [run.shape for run in found] == [(4, 6, 10)] * 5


def test_a_change_is_made_once_for_all_boxes():
    array = np.arange(64 * 64, dtype=np.int16).reshape(64, 64)
    packed = VolumeCodec().open(VolumeCodec().encode(array))
    boxes = [(0, 0, 50, 50), (10, 10, 60, 60), (10, 10, 60, 60)]
    seen = []

    def change(numbers):
        seen.append(numbers.size)
        return numbers.astype(np.float32) / 2

    found = [np.zeros((50, 50), np.float32) for _ in boxes]
    for number, there, numbers in pieces(packed, boxes, change):
        found[number][there] = numbers
    for box, got in zip(boxes, found, strict=True):
        np.testing.assert_array_equal(got, part(array, box) / 2)
    assert sum(seen) <= array.size


def test_damaged_blocks_raise():
    noise = np.random.default_rng(0).integers(0, 50, (40, 40, 40)).astype(np.int16)
    data = bytearray(VolumeCodec().encode(noise))
    data[200:-400] = b"\xff" * (len(data) - 600)
    with pytest.raises(RuntimeError):
        list(pieces(VolumeCodec().open(bytes(data)), [(0, 0, 0, 40, 40, 40)]))
