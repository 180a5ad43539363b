"""Memory that is used again: never while anyone looks into it, always once nobody does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.scratch import LARGE_BYTES, Scratch

LARGE = LARGE_BYTES


def _place(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_what_held_the_last_volume_holds_the_next() -> None:
    scratch = Scratch()
    first = scratch.take(3 * LARGE)
    place = _place(first)
    del first
    assert _place(scratch.take(2 * LARGE)) == place


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[5:],
        lambda a: a[:LARGE].view(np.int16).reshape(2, -1)[::-1, 3:].T,
        lambda a: a.data,
        lambda a: memoryview(a)[10:].toreadonly(),
        lambda a: np.frombuffer(a.data[100:], dtype=np.uint8),
    ],
)
def test_memory_that_something_looks_into_is_not_taken_again(view) -> None:
    scratch = Scratch()
    first = scratch.take(LARGE)
    first[:] = 7
    kept = view(first)
    del first
    scratch.take(LARGE)[:] = 9
    assert (np.asarray(kept).view(np.uint8) == 7).all() if np.asarray(kept).flags.c_contiguous else kept.min() == 0x0707


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 6 * LARGE), st.integers(0, 5)), max_size=25))
def test_what_is_alive_never_overlaps(steps: list[tuple[int, int]]) -> None:
    scratch = Scratch(16 * LARGE)
    alive: list[np.ndarray] = []
    for size, drop in steps:
        taken = scratch.take(size)
        assert taken.size == size
        assert taken.flags.writeable
        assert not any(np.shares_memory(taken, other) for other in alive)
        alive.append(taken)
        del alive[:drop], taken
        assert sum(b.size for b in scratch._buffers) <= 16 * LARGE


def test_volumes_that_grow_do_not_each_leave_a_buffer() -> None:
    scratch = Scratch()
    for n in range(1, 20):
        scratch.take(n * LARGE)
    assert len(scratch._buffers) == 1


def test_threads_share_without_sharing_memory() -> None:
    scratch = Scratch()

    def use(n: int) -> bool:
        for _ in range(20):
            mine = scratch.take(LARGE)
            mine[::4096] = n
            if not (mine[::4096] == n).all():
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(8)))
