"""Marks of LIDC-IDRI: the border's rule against a flood fill and a second even-odd count, and XML that means harm."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from schemas.reasons import Reason
from tests.lidc_files import GRADES, SECRETS, Drawn, Reader, Roi, lidc_xml, line, rectangle
from transforms.read import lidc, sealed_xml
from transforms.rejected import Rejected

SHAPE = (4, 24, 30)
SLICES = {f"1.2.3.4.{z + 1}": z for z in range(SHAPE[0])}


def drawn(*rois, shape=SHAPE):
    """The mask of one reader with one nodule."""
    marks = lidc.parse(lidc_xml("1.2.3.4", [Reader([Drawn(rois)])]))
    return lidc.reader_mask(marks.sessions[0], SLICES, shape)


def on(plane, pixels, **more):
    return Roi(f"1.2.3.4.{plane + 1}", pixels, **more)


def box(x0, y0, x1, y1):
    mask = np.zeros(SHAPE[1:], bool)
    mask[y0:y1, x0:x1] = True
    return mask


def hull(points):
    """Corners of the convex hull of integer points, in order."""

    def half(ordered):
        chain = []
        for p in ordered:
            while len(chain) > 1 and (chain[-1][0] - chain[-2][0]) * (p[1] - chain[-2][1]) <= (
                chain[-1][1] - chain[-2][1]
            ) * (p[0] - chain[-2][0]):
                chain.pop()
            chain.append(p)
        return chain[:-1]

    ordered = sorted(set(points))
    return half(ordered) + half(ordered[::-1])


PIXELS = st.tuples(st.integers(0, SHAPE[2] - 1), st.integers(0, SHAPE[1] - 1))


@settings(max_examples=80, deadline=None)
@given(st.lists(PIXELS, min_size=3, max_size=12))
def test_a_border_encloses_what_a_flood_from_outside_does_not_reach(points):
    corners = hull(points)
    if len(corners) < 3:
        return
    ring = [p for a, b in zip(corners, corners[1:] + corners[:1], strict=True) for p in line(a, b)]
    wall = np.zeros(SHAPE[1:], bool)
    wall[[y for _, y in ring], [x for x, _ in ring]] = True
    np.testing.assert_array_equal(drawn(on(2, ring))[2], ndimage.binary_fill_holes(wall) & ~wall)


def crossings(points, x, y):
    """(how often a ray to the left of a pixel crosses the polygon, whether the pixel lies on it); exact."""
    count, lies = 0, False
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
        if ay == by:
            lies |= y == ay and min(ax, bx) <= x <= max(ax, bx)
        elif min(ay, by) <= y <= max(ay, by):
            at = ax + Fraction((y - ay) * (bx - ax), by - ay)
            lies |= at == x
            count += y < max(ay, by) and at < x
    return count, lies


@settings(max_examples=40, deadline=None)
@given(st.lists(PIXELS, min_size=2, max_size=9))
def test_any_order_of_pixels_is_counted_even_odd_without_the_pixels_themselves(points):
    found = drawn(on(0, points))[0]
    for y in range(SHAPE[1]):
        for x in range(SHAPE[2]):
            count, lies = crossings(points, x, y)
            if (x, y) in points:
                assert found[y, x] == 0
            elif not lies:
                assert found[y, x] == count % 2


def test_the_pixels_of_the_border_are_not_the_nodule():
    found = drawn(on(1, rectangle(5, 4, 12, 9)))
    np.testing.assert_array_equal(found[1].astype(bool), box(5, 4, 12, 9))
    assert found.sum() == found[1].sum()


def test_a_border_at_the_edge_of_the_image_stays_in_it():
    _, rows, columns = SHAPE
    found = drawn(on(0, rectangle(1, 1, columns - 1, rows - 1)))
    np.testing.assert_array_equal(found[0].astype(bool), box(1, 1, columns - 1, rows - 1))


def test_holes_are_taken_out_with_their_border_whatever_the_order():
    outer, hole = on(0, rectangle(3, 3, 15, 15)), on(0, rectangle(7, 8, 10, 11), inclusion="FALSE")
    expected = box(3, 3, 15, 15) & ~box(6, 7, 11, 12)
    np.testing.assert_array_equal(drawn(outer, hole)[0].astype(bool), expected)
    np.testing.assert_array_equal(drawn(hole, outer)[0].astype(bool), expected)


def test_regions_beside_and_over_each_other_in_one_slice_are_joined():
    one, two, three = rectangle(3, 3, 8, 8), rectangle(6, 5, 12, 9), rectangle(20, 15, 22, 17)
    found = drawn(*(on(3, r) for r in (one, two, three)))
    expected = box(3, 3, 8, 8) | box(6, 5, 12, 9) | box(20, 15, 22, 17)
    np.testing.assert_array_equal(found[3].astype(bool), expected)


def test_a_nodule_crosses_slices_as_their_uids_say_and_not_as_z_says():
    rois = [on(z, rectangle(4 + z, 4, 10 + z, 9), z="999.0") for z in (3, 1, 2)]
    found = drawn(*rois)
    assert not found[0].any()
    for z in (1, 2, 3):
        np.testing.assert_array_equal(found[z].astype(bool), box(4 + z, 4, 10 + z, 9))


def test_points_and_borders_without_an_inside_draw_nothing():
    assert not drawn(on(0, [(5, 5)])).any()
    assert not drawn(on(0, [(5, 5), (6, 5)]), on(1, [(5, 5)])).any()
    assert not drawn(on(0, [(5, 5), (6, 5), (6, 6), (5, 6)])).any()


def test_what_is_read_of_a_file():
    big = Drawn([on(0, rectangle(3, 3, 9, 9)), on(1, [(5, 5)])], GRADES)
    small = Drawn([on(2, [(7, 8)])])
    odd = Drawn([on(0, rectangle(3, 3, 9, 9))], {"malignancy": 9, "texture": "Dr Quincy", "margin": 2, "colour": 1})
    marks = lidc.parse(lidc_xml("1.2.3.4", [Reader([big, small]), Reader(), Reader([odd], [on(3, [(1, 2)])])]))
    assert marks.series_instance_uid == "1.2.3.4"
    first, nothing, third = marks.sessions
    assert [n.small for n in first.nodules] == [False, True]
    assert dict(first.nodules[0].characteristics) == GRADES
    assert (nothing.nodules, nothing.non_nodules) == ((), ())
    assert dict(third.nodules[0].characteristics) == {"margin": 2}
    assert [r.box for r in third.non_nodules] == [(1, 2, 1, 2)]
    assert first.nodules[0].regions[0].box == (2, 2, 9, 9)
    assert all(r.points is None for s in marks.outlined().sessions for r in s.regions)
    assert not [w for w in SECRETS if w in repr(marks)]


@pytest.mark.parametrize(
    ("roi", "words"),
    [
        (Roi("1.2.3.4.99", rectangle(3, 3, 9, 9)), "slice"),
        (on(0, rectangle(25, 3, 30, 9)), "column 30"),
        (on(0, rectangle(3, 20, 9, 24)), "row 24"),
    ],
)
def test_marks_beside_their_image_are_refused(roi, words):
    with pytest.raises(Rejected, match=words) as verdict:
        drawn(roi)
    assert verdict.value.reason == Reason.LABEL_GRID


GOOD = lidc_xml("1.2.3.4", [Reader([Drawn([on(0, rectangle(3, 3, 9, 9))])])])
BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
FILE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
PARAMETER = '<!DOCTYPE x [<!ENTITY % a SYSTEM "http://127.0.0.1/a.dtd"> %a;]>'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (lidc_xml("1.2.3.4", [], prolog=BOMB), Reason.UNSUPPORTED),
        (lidc_xml("&a;", [], prolog=FILE), Reason.UNSUPPORTED),
        (lidc_xml("1.2", [], prolog=PARAMETER), Reason.UNSUPPORTED),
        (lidc_xml("1.2", [], prolog='<!DOCTYPE x SYSTEM "http://127.0.0.1/a.dtd">'), Reason.UNSUPPORTED),
        (GOOD.replace(b"1.2.3.4", b"&quincy7;"), Reason.UNREADABLE),
        (GOOD[:-40], Reason.UNREADABLE),
        (b"", Reason.UNREADABLE),
        (b"\0" * 500, Reason.UNREADABLE),
        (GOOD.replace(b'encoding="UTF-8"', b'encoding="no-such"'), Reason.UNREADABLE),
        (GOOD.replace(b"<Version>1.7", b"<Version>\xff\xfe"), Reason.UNREADABLE),
        (b"<a>" * 40 + b"</a>" * 40, Reason.UNREADABLE),
        (GOOD.replace(b"<Version>", b"<a>" * 40), Reason.TOO_LARGE),
        (GOOD.replace(b"1.7", b"7" * 5000), Reason.TOO_LARGE),
        (lidc_xml("1.2", [Reader()], root="IdriReadMessage"), Reason.NOT_SELECTED),
        (lidc_xml("1.2", [Reader()], root="html"), Reason.UNREADABLE),
        (lidc_xml("", [Reader()]), Reason.ORPHAN_LABEL),
        (lidc_xml("1.2", []), Reason.UNREADABLE),
        (lidc_xml("1.2", [Reader()] * 33), Reason.TOO_LARGE),
        (lidc_xml("1.2", [Reader([Drawn([])])]), Reason.UNREADABLE),
        (lidc_xml("1.2", [Reader([Drawn([on(0, [])])])]), Reason.UNREADABLE),
        (lidc_xml("1.2", [Reader([Drawn([Roi("", [(1, 1)])])])]), Reason.UNREADABLE),
        (lidc_xml("1.2", [Reader([Drawn([on(0, [(-1, 1)])])])]), Reason.UNREADABLE),
        (lidc_xml("1.2", [Reader([Drawn([on(0, [(70000, 1)])])])]), Reason.UNREADABLE),
        (lidc_xml("1.2", [Reader([Drawn([on(0, [("1e9", 1)])])])]), Reason.UNREADABLE),
        (lidc_xml("1.2", [Reader([Drawn([on(0, [(1, 1)], inclusion="PERHAPS")])])]), Reason.UNREADABLE),
    ],
)
def test_what_is_no_such_file_is_refused_with_its_reason(data, reason):
    with pytest.raises(Rejected) as verdict:
        lidc.parse(data)
    assert verdict.value.reason == reason
    assert not [w for w in (*SECRETS, "passwd", "77777", "quincy7") if w in verdict.value.detail]


def test_files_marks_and_points_are_bounded(monkeypatch):
    monkeypatch.setattr(sealed_xml, "MAX_BYTES", 100)
    with pytest.raises(Rejected, match="bytes of XML"):
        lidc.parse(GOOD)
    monkeypatch.undo()
    for limit, words in (("MAX_POINTS", "points"), ("MAX_MARKS", "marks")):
        with monkeypatch.context() as patch:
            patch.setattr(lidc, limit, 1)
            with pytest.raises(Rejected, match=words):
                lidc.parse(GOOD)


def test_prefixes_and_utf_16_are_read():
    assert lidc.parse(GOOD.decode().replace("UTF-8", "UTF-16").encode("utf-16")).series_instance_uid == "1.2.3.4"
    prefixed = GOOD.replace(b"<roi", b"<n:roi").replace(b"</roi", b"</n:roi")
    assert lidc.parse(prefixed).sessions[0].nodules[0].regions[0].box == (2, 2, 9, 9)
