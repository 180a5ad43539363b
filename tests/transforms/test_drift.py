"""A published case counts once, for the worst that became of its objects."""

from __future__ import annotations

import pyarrow as pa

from transforms.drift import Drift, drift

MADE = [
    ("a-1", "a", "1/ct", 10, "etag:x"),
    ("a-1", "a", "1/seg", 5, "etag:y"),
    ("a-2", "a", "2/ct", 10, "etag:z"),
    ("b-1", "b", "1/ct", 10, "mtime:1"),
    ("b-2", "b", "2/ct", 10, "mtime:2"),
]


def tables(now):
    made = pa.table(dict(zip(["case_id", "source", "path", "bytes", "version"], zip(*MADE, strict=True), strict=True)))
    found = pa.table(dict(zip(["source", "path", "bytes", "version"], zip(*now, strict=True), strict=True)))
    return made, found


NOW = [row[1:] for row in MADE]


def test_what_is_as_it_was_is_no_finding():
    assert drift(*tables(NOW)) == ()


def test_new_objects_are_no_finding():
    assert drift(*tables([*NOW, ("a", "3/ct", 10, "etag:n")])) == ()


def test_deleted_changed_and_touched_are_told_apart():
    now = [
        ("a", "1/seg", 5, "etag:other"),  # changed; its image is deleted, which is worse
        ("a", "2/ct", 10, "etag:other"),
        ("b", "1/ct", 10, "mtime:9"),
        ("b", "2/ct", 11, "mtime:9"),
    ]
    assert drift(*tables(now)) == (
        Drift("deleted", 1, ("a-1",)),
        Drift("changed", 2, ("a-2", "b-2")),
        Drift("touched", 1, ("b-1",)),
    )


def test_the_same_path_of_another_source_is_another_object():
    now = [(("c" if s == "b" else s), p, b, v) for s, p, b, v in NOW]
    assert drift(*tables(now)) == (Drift("deleted", 2, ("b-1", "b-2")),)


def test_nothing_published_is_no_finding():
    made, found = tables(NOW)
    assert drift(made.slice(0, 0), found) == ()
