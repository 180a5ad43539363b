from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transforms.labels.nearest import keep_thin, nearest_index, remap, take_nearest

LUT = np.arange(256, dtype=np.uint8)
spacing = st.sampled_from(["0.5", "0.7", "0.8", "1", "1.5", "2", "3.1"])


@given(st.integers(1, 30), spacing, st.integers(1, 30), spacing)
def test_the_nearest_centre_is_found_exactly_and_ties_go_down(n: int, s: str, m: int, t: str) -> None:
    middle_in, middle_out = Fraction(n - 1, 2), Fraction(m - 1, 2)
    expected = []
    for o in range(m):
        position = (o - middle_out) * Fraction(t)
        expected.append(min(range(n), key=lambda i: (abs((i - middle_in) * Fraction(s) - position), i)))
    assert nearest_index(n, float(s), m, float(t)).tolist() == expected


def test_one_grid_is_its_own_nearest() -> None:
    assert nearest_index(6, 0.7, 6, 0.7).tolist() == list(range(6))


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 6)] * 3)),
    st.permutations([0, 1, 2]),
    st.tuples(*[st.sampled_from([1, -1])] * 3),
    st.data(),
)
def test_agrees_with_fancy_indexing_whatever_the_strides(label: Any, order: Any, steps: Any, data: Any) -> None:
    index = tuple(
        np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=8)), np.int64) for n in label.shape
    )
    flips = tuple(slice(None, None, s) for s in steps)
    as_read = np.ascontiguousarray(label[flips].transpose(order)).transpose(np.argsort(order))[flips]
    lut = LUT[::-1].copy()
    np.testing.assert_array_equal(remap(as_read, lut), lut[label])
    np.testing.assert_array_equal(take_nearest(as_read, lut, index), lut[label[np.ix_(*index)]])  # type: ignore[arg-type]


def test_a_thin_structure_stands_wherever_one_of_its_voxels_falls() -> None:
    label = np.zeros((2, 4, 6), np.uint8)
    label[0, 1, :] = 3  # a vessel one voxel thick
    label[1, 3, 5] = 4
    owners = (np.array([0, 0]), np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1, 2, 2]))
    stored = np.zeros((1, 2, 3), np.uint8)
    kept = keep_thin(stored, label, LUT, frozenset({3}), owners)
    assert kept.tolist() == [[[3, 3, 3], [0, 0, 0]]]
    assert stored.sum() == 0
    flipped = keep_thin(stored, np.ascontiguousarray(label[:, ::-1])[:, ::-1], LUT, frozenset({3}), owners)
    np.testing.assert_array_equal(flipped, kept)


def test_thin_structures_take_from_others_but_not_from_each_other() -> None:
    label = np.array([2, 5, 1, 1, 2, 2], np.uint8).reshape(1, 1, 6)
    owners = (np.array([0]), np.array([0]), np.array([0, 0, 1, 1, 2, -1]))
    stored = np.array([9, 5, 0], np.uint8).reshape(1, 1, 3)
    # The first had neither: the lower value has it. The second was voted 5, which is thin itself, and stays.
    assert keep_thin(stored, label, LUT, frozenset({1, 2, 5}), owners).ravel().tolist() == [2, 5, 2]
