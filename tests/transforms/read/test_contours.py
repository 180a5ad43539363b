"""Contours become voxels by the even-odd rule, every tie by one rule."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.read.contours import fill

SHAPE = (9, 12)


def by_hand(contours, shape=SHAPE):
    """The rule said again in exact fractions, a voxel at a time: crossings at or before the centre, odd."""
    mask = np.zeros(shape, np.uint8)
    for y in range(shape[0]):
        crossings = []
        for points in contours:
            for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
                if (ay <= y) != (by <= y):
                    crossings.append(Fraction(ax) + Fraction(y - ay) * Fraction(bx - ax) / Fraction(by - ay))
        for x in range(shape[1]):
            mask[y, x] = sum(c <= x for c in crossings) % 2
    return mask


def arrays(contours):
    return [np.array(c, np.float64) for c in contours]


# Quarters of a voxel are exact in binary, and hit centres and rows often: ties are the rule here, not the exception.
quarters = st.integers(-12, 60).map(lambda n: n / 4)
polygons = st.lists(st.tuples(quarters, quarters), min_size=3, max_size=9)


@settings(max_examples=300, deadline=None)
@given(st.lists(polygons, min_size=1, max_size=3))
def test_any_polygons_with_holes_and_crossings_agree_with_exact_arithmetic(contours):
    np.testing.assert_array_equal(fill(arrays(contours), SHAPE), by_hand(contours))


@settings(max_examples=100, deadline=None)
@given(st.lists(polygons, min_size=2, max_size=4))
def test_contours_of_a_slice_count_together_as_the_exclusive_or_of_each(contours):
    alone = [fill(arrays([c]), SHAPE) for c in contours]
    np.testing.assert_array_equal(fill(arrays(contours), SHAPE), np.bitwise_xor.reduce(alone))


@settings(max_examples=100, deadline=None)
@given(polygons, st.integers(0, 8), st.booleans())
def test_start_and_direction_of_a_contour_do_not_matter(points, start, back):
    turned = points[start % len(points) :] + points[: start % len(points)]
    np.testing.assert_array_equal(
        fill(arrays([turned[::-1] if back else turned]), SHAPE), fill(arrays([points]), SHAPE)
    )


@settings(max_examples=100, deadline=None)
@given(st.floats(0.1, 10), st.floats(-2, 10), st.floats(-2, 14), st.floats(-2, 14))
def test_regions_that_share_an_edge_share_no_voxel_and_leave_none_out(x, dy, left, right):
    """A rectangle cut in two along any line: each voxel of it is in exactly one part, to the last bit."""
    low, high = (left, -1.0), (right, 9.0)
    whole = [(-3.0, -1.0), (15.0, -1.0), (15.0, 9.0), (-3.0, 9.0)]
    first = [whole[0], low, (x, dy), high, whole[3]]
    second = [low, whole[1], whole[2], high, (x, dy)]
    parts = fill(arrays([first]), SHAPE) + fill(arrays([second]), SHAPE).astype(int)
    if -1 < dy < 9:
        np.testing.assert_array_equal(parts, fill(arrays([whole]), SHAPE))


def test_a_region_is_closed_at_its_lower_and_open_at_its_higher_side():
    mask = fill(arrays([[(2, 1), (5, 1), (5, 4), (2, 4)]]), SHAPE)
    assert mask.sum() == 9
    assert mask[1:4, 2:5].all()


def test_a_keyhole_is_a_hole():
    """One contour that walks in, around the hole, and back out the way it came (PS3.3 C.8.8.6.3)."""
    keyhole = [(1, 1), (10, 1), (10, 8), (1, 8), (1, 4), (3, 4), (3, 6), (7, 6), (7, 3), (3, 3), (3, 4), (1, 4)]
    apart = [[(1, 1), (10, 1), (10, 8), (1, 8)], [(3, 3), (7, 3), (7, 6), (3, 6)]]
    np.testing.assert_array_equal(fill(arrays([keyhole]), SHAPE), fill(arrays(apart), SHAPE))
    assert fill(arrays([keyhole]), SHAPE).sum() == 9 * 7 - 4 * 3


def test_an_island_in_a_hole_and_a_region_beside():
    squares = [[(0, 0), (9, 0), (9, 9), (0, 9)], [(1, 1), (8, 1), (8, 8), (1, 8)], [(3, 3), (5, 3), (5, 5), (3, 5)]]
    beside = [(10, 0), (12, 0), (12, 2), (10, 2)]
    assert fill(arrays([*squares, beside]), SHAPE).sum() == 81 - 49 + 4 + 4


@pytest.mark.parametrize("points", [[], [(1, 1)], [(1, 1), (5, 5)], [(1, 2), (5, 2), (9, 2)]])
def test_what_encloses_nothing_is_nothing(points):
    assert not fill([np.array(points, np.float64).reshape(-1, 2)], SHAPE).any()


def test_what_leaves_the_slice_is_cut_off():
    assert fill(arrays([[(-1e5, -1e5), (1e5, -1e5), (1e5, 1e5), (-1e5, 1e5)]]), SHAPE).all()
