from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transforms.labels.content_hash import label_hash
from transforms.normalise.content_hash import new_digest


def hash_of(stored: Any) -> str:
    """Type, shape and bytes of an array in C order."""
    digest = new_digest(stored.dtype, stored.shape)
    digest.update(np.ascontiguousarray(stored).tobytes())
    return digest.hexdigest()


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(st.sampled_from([np.uint8, np.uint16]), st.tuples(*[st.integers(1, 6)] * 3), elements=st.integers(0, 2)),
    st.permutations([0, 1, 2]),
    st.tuples(*[st.sampled_from([1, -1])] * 3),
)
def test_a_label_is_hashed_as_its_remapped_voxels_are_whatever_the_strides(label: Any, order: Any, steps: Any) -> None:
    flips = tuple(slice(None, None, s) for s in steps)
    as_read = np.ascontiguousarray(label[flips].transpose(order)).transpose(np.argsort(order))[flips]
    lut = np.zeros(1 << (8 * label.itemsize), np.uint16)
    lut[:3] = (0, 7, 200)
    assert label_hash(as_read, lut) == hash_of(lut[label].astype(np.uint8))
    lut[:3] = (0, 7, 40_000)
    assert label_hash(as_read, lut) == hash_of(lut[label].astype("<u2"))


@pytest.mark.parametrize("flip", [1, -1])
def test_rows_of_one_value_are_filled_anew_when_it_changes(flip: int) -> None:
    label = np.zeros((7, 3, 40), np.uint8)
    label[1] = 2  # one value, then another, a mixed row, and the first value again
    label[3, 1, 5:9] = 1
    label[5, 2] = 1
    lut = np.arange(256, dtype=np.uint8) * 3
    view = np.ascontiguousarray(label[:, :, ::flip])[:, :, ::flip]
    assert label_hash(view, lut) == hash_of(lut[label])
