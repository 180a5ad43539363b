from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mdfp.codecs import BLOCK_VOXELS
from transforms.labels.extent import extents, tally


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_voxels_box_and_blocks_agree_with_a_plain_search(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((BLOCK_VOXELS + 3, 2 * BLOCK_VOXELS, 2 * BLOCK_VOXELS + 5), dtype)
    mask[rng.integers(0, 30, 40), rng.integers(0, 60, 40), rng.integers(0, 69, 40)] = 3
    mask[BLOCK_VOXELS - 1 : BLOCK_VOXELS + 2, 10, 20:69] = np.iinfo(dtype).max
    found = extents(mask)
    assert set(found) == {3, np.iinfo(dtype).max}
    for value, extent in found.items():
        at = np.argwhere(mask == value)
        assert extent.voxels == len(at)
        assert extent.box == (*at.min(0), *(at.max(0) + 1))
        blocks = np.unique(np.ravel_multi_index((at // BLOCK_VOXELS).T, (2, 2, 3)))
        assert extent.blocks == tuple(blocks)


def test_an_empty_mask_has_no_extents() -> None:
    assert extents(np.zeros((2, 3, 4), np.uint8)) == {}


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(st.sampled_from([np.uint8, np.uint16]), st.tuples(*[st.integers(1, 9)] * 3)),
    st.permutations([0, 1, 2]),
    st.sampled_from([1, -1, 2]),
)
def test_the_tally_agrees_with_bincount_whatever_the_strides(label: Any, order: Any, step: int) -> None:
    view = label.transpose(order)[:, ::step]
    np.testing.assert_array_equal(tally(view), np.bincount(view.ravel(), minlength=1 << (8 * label.itemsize)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("tail", [0, 1, 7, 500])
def test_runs_and_changes_are_tallied_alike(dtype: Any, tail: int) -> None:
    label = np.zeros(4 * 512 + tail, dtype)
    label[512 : 2 * 512 + 3] = 9
    label[3 * 512 :: 5] = np.iinfo(dtype).max
    np.testing.assert_array_equal(tally(label), np.bincount(label, minlength=1 << (8 * label.itemsize)))
