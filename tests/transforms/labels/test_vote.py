from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transforms.labels.vote import vote
from transforms.normalise.taps import INTEGER_WEIGHT, Taps, linear_taps, output_size

LUT = np.arange(256, dtype=np.uint8)


def taps_for(
    shape: tuple[int, ...], spacing: tuple[float, ...], to: tuple[float, ...], low_pass: bool = True
) -> tuple[Taps, Taps, Taps]:
    z, y, x = (
        linear_taps(n, s, output_size(n, s, t), t, low_pass=low_pass)
        for n, s, t in zip(shape, spacing, to, strict=True)
    )
    return z, y, x


def dense_vote(label: np.ndarray[Any, Any], taps: tuple[Taps, Taps, Taps]) -> np.ndarray[Any, Any]:
    """The rule, said with whole matrices: one coverage volume per value."""
    matrices = []
    for t, n in zip(taps, label.shape, strict=True):
        m = np.zeros((len(t.first), n), dtype=np.int64)
        for o, first in enumerate(t.first):
            np.add.at(m[o], np.arange(first, first + t.width), t.integer[o])
        matrices.append(m)
    values = np.unique(label)
    coverage = np.stack(
        [np.einsum("az,by,cx,zyx->abc", *matrices, (label == v).astype(np.int64), optimize=True) for v in values]
    )
    coverage[values == 0] = 0
    best = values[coverage.argmax(axis=0)]  # the first of equals: the lowest value
    return np.where(2 * coverage.sum(axis=0) >= INTEGER_WEIGHT**3, best, 0).astype(label.dtype)


labels = hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 7)] * 3), elements=st.sampled_from([0, 0, 1, 2, 7, 255]))
spacings = st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 1.1, 1.5, 3.0])] * 3)


@settings(max_examples=60, deadline=None)
@given(labels, spacings, spacings, st.booleans())
def test_agrees_with_a_dense_count_of_coverage(label: Any, spacing: Any, to: Any, low_pass: bool) -> None:
    taps = taps_for(label.shape, spacing, to, low_pass)
    np.testing.assert_array_equal(vote(label, LUT, taps), dense_vote(label, taps))


@settings(max_examples=60, deadline=None)
@given(labels, spacings, spacings, st.permutations([0, 1, 2]), st.tuples(*[st.sampled_from([1, -1])] * 3))
def test_how_the_label_lies_in_memory_changes_nothing(
    label: Any, spacing: Any, to: Any, order: Any, steps: Any
) -> None:
    taps = taps_for(label.shape, spacing, to)
    flips = tuple(slice(None, None, s) for s in steps)
    in_file = np.ascontiguousarray(label[flips].transpose(order))
    as_read = in_file.transpose(np.argsort(order))[flips]
    np.testing.assert_array_equal(as_read, label)
    result = vote(as_read, LUT, taps)
    np.testing.assert_array_equal(result, vote(label, LUT, taps))
    assert result.flags.c_contiguous


@settings(max_examples=60, deadline=None)
@given(labels, spacings, spacings, st.tuples(*[st.sampled_from([1, -1])] * 3))
def test_flipping_before_or_after_gives_the_same_voxels(label: Any, spacing: Any, to: Any, steps: Any) -> None:
    taps = taps_for(label.shape, spacing, to)
    flips = tuple(slice(None, None, s) for s in steps)
    np.testing.assert_array_equal(vote(np.ascontiguousarray(label[flips]), LUT, taps), vote(label, LUT, taps)[flips])


def test_agrees_with_sitk_label_linear_without_low_pass_inside_the_buffer() -> None:
    rng = np.random.default_rng(3)
    coarse = rng.integers(1, 4, (4, 5, 6), dtype=np.uint8)
    label = np.kron(coarse, np.ones((4, 3, 3), np.uint8))
    spacing, to = (1.0, 0.7, 0.9), (1.317, 1.113, 0.611)  # no voxel lies half-way, so there are no ties
    taps = taps_for(label.shape, spacing, to, low_pass=False)
    ours = vote(label, LUT, taps)
    image = SimpleITK.GetImageFromArray(label)
    image.SetSpacing(spacing[::-1])
    grid = SimpleITK.Image(list(ours.shape[::-1]), SimpleITK.sitkUInt8)
    grid.SetSpacing(to[::-1])
    grid.SetOrigin(
        [((n - 1) * s - (m - 1) * t) / 2 for n, s, m, t in zip(label.shape, spacing, ours.shape, to, strict=True)][::-1]
    )
    theirs = SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(image, grid, SimpleITK.Transform(), SimpleITK.sitkLabelLinear, 0)
    )
    inside = tuple(slice(1, -1) for _ in range(3))
    np.testing.assert_array_equal(ours[inside], theirs[inside])


def test_half_of_the_weight_is_foreground_and_ties_go_to_the_lowest_value() -> None:
    half = np.array([0, 5], np.uint8).reshape(1, 1, 2)
    assert vote(half, LUT, taps_for((1, 1, 2), (1, 1, 1), (1, 1, 2))).tolist() == [[[5]]]
    tie = np.array([9, 4], np.uint8).reshape(1, 1, 2)
    assert vote(tie, LUT, taps_for((1, 1, 2), (1, 1, 1), (1, 1, 2))).tolist() == [[[4]]]


def test_two_structures_that_cover_half_together_are_foreground() -> None:
    label = np.array([0, 0, 1, 2], np.uint8).reshape(1, 1, 4)
    taps = taps_for((1, 1, 4), (1, 1, 1), (1, 1, 4))
    assert vote(label, LUT, taps)[0, 0, 0] != 0


def test_ignored_voxels_vote_like_a_structure() -> None:
    label = np.array([255, 255, 255, 0], np.uint8).reshape(1, 1, 4)
    taps = taps_for((1, 1, 4), (1, 1, 1), (1, 1, 2))
    assert vote(label, LUT, taps).ravel().tolist() == [255, 255]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_remapping_happens_on_the_way_and_swaps_keep_both(dtype: Any) -> None:
    label = np.zeros((4, 6, 8), dtype)
    label[:, :, :4], label[:, :, 4:] = 1, 2
    lut = np.zeros(1 << (8 * label.itemsize), np.uint16)
    lut[1], lut[2] = 2, 1
    result = vote(label, lut, taps_for(label.shape, (1, 1, 1), (2, 2, 2)))
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result[0, 0], [2, 2, 1, 1])


def test_codes_that_become_one_structure_are_counted_together() -> None:
    label = np.array([1, 2, 3, 3], np.uint8).reshape(1, 1, 4)
    lut = np.zeros(256, np.uint8)
    lut[1], lut[2], lut[3] = 7, 7, 8
    taps = taps_for((1, 1, 4), (1, 1, 1), (1, 1, 4))
    assert vote(label, lut, taps).tolist() == [[[7]]]
