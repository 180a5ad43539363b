"""A published case is gone, changed, touched, or as it was."""

from __future__ import annotations

import pyarrow as pa

from transforms.drift import COLUMNS, MAX_CASES, Drift, drift

MADE = [("a-1", "o1", "c1"), ("a-2", "o2", "c2"), ("a-3", "o3", "c3")]


def table(rows):
    return pa.table({name: pa.array([r[i] for r in rows], pa.string()) for i, name in enumerate(COLUMNS)})


def test_what_is_as_it_was_is_no_finding_and_new_cases_are_none_either():
    assert drift(table(MADE), table(MADE)) == ()
    assert drift(table(MADE), table([*MADE, ("a-4", "o4", "c4")])) == ()


def test_gone_changed_and_touched_are_told_apart():
    now = [("a-2", "other", "other"), ("a-3", "other", "c3")]
    assert drift(table(MADE), table(now)) == (
        Drift("gone", 1, ("a-1",)),
        Drift("changed", 1, ("a-2",)),
        Drift("touched", 1, ("a-3",)),
    )


def test_nothing_published_is_no_finding():
    assert drift(table([]), table(MADE)) == ()


def test_counts_are_complete_where_ids_are_not():
    many = [(f"a-{n:04d}", "o", "c") for n in range(200)]
    (found,) = drift(table(many), table([]))
    assert (found.kind, found.count, len(found.cases)) == ("gone", 200, MAX_CASES)
