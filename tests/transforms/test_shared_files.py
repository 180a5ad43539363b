"""Files of which several cases are made are kept as far as the budget allows, and those that are needed soonest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.case import ObjectRecord
from transforms.read import kept_content
from transforms.read.array import Blob
from transforms.read.kept_content import KeptContent
from transforms.shared_files import SharedFiles

SIZE = 100
"""Bytes of a file, and of its content."""


def case(number: int, *, component: int | None = None, source: str = "s") -> Any:
    image = SimpleNamespace(header=SimpleNamespace(name="mr", component=component))
    return SimpleNamespace(case_id=f"c{number}", source=source, images=(image,), labels=())


def record(number: int, path: str, *, array: str = "image:mr", source: str = "s", version: str = "1") -> ObjectRecord:
    return ObjectRecord(source, path, SIZE, version, f"c{number}", array, 0, None)


def blob(path: str) -> Blob:
    kept = KeptContent()
    kept.once(lambda: np.zeros(SIZE, np.uint8))
    return Blob(path, bytes(SIZE), None, kept)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12), st.integers(0, 9))
def test_a_case_finds_its_file_or_none_and_no_more_is_kept_than_allowed(paths, files):
    budget = files * SIZE
    shared = SharedFiles(budget)
    records = [record(n, path) for n, path in enumerate(paths)]
    shared.begin([case(n) for n in range(len(paths))], records)
    blobs: dict[str, Blob] = {}
    for number, (path, wanted) in enumerate(zip(paths, records, strict=True)):
        found = shared.get(wanted)
        assert found is None or found is blobs[path]
        if found is None:
            blobs[path] = blob(path)
            shared.put(wanted, blobs[path])
        shared.done(number)
        held = {p: shared.get(r) for p, r in zip(paths, records, strict=True)}
        assert sum(len(b.data) + b.kept.bytes for b in held.values() if b is not None) <= budget
        assert all(paths.count(p) > 1 for p, b in held.items() if b is not None)


def test_what_is_needed_last_goes_first():
    shared = SharedFiles(4 * SIZE)
    paths = "abcbcaa"
    records = [record(n, path) for n, path in enumerate(paths)]
    shared.begin([case(n) for n in range(len(paths))], records)
    for number in range(3):
        shared.put(records[number], blob(paths[number]))
        shared.done(number)
    assert [shared.get(records[n]) is not None for n in range(3)] == [False, True, True]


def test_content_goes_before_the_file_itself():
    shared = SharedFiles(SIZE)
    shared.begin([case(0), case(1)], [record(0, "a"), record(1, "a")])
    shared.put(record(0, "a"), blob("a"))
    shared.done(0)
    found = shared.get(record(1, "a"))
    assert found is not None
    assert (len(found.data), found.kept.content) == (SIZE, None)


def test_a_part_of_a_file_is_kept_for_the_shards_that_follow_of_its_source():
    shared = SharedFiles()
    shared.begin([case(0, component=3)], [record(0, "a")])
    shared.put(record(0, "a"), blob("a"))
    shared.done(0)
    shared.begin([case(1, component=4)], [record(1, "b")])
    shared.begin([case(2, component=4)], [record(2, "a")])
    assert shared.get(record(2, "a")) is not None
    assert shared.get(record(2, "a", version="2")) is None
    shared.begin([case(3, source="other")], [record(3, "a", source="other")])
    shared.begin([case(2, component=4)], [record(2, "a")])
    assert shared.get(record(2, "a")) is None


def test_a_file_of_one_case_is_not_kept():
    shared = SharedFiles()
    for cases, records in (
        ([case(0)], [record(0, "a")]),
        ([case(0, component=0)], [record(0, "a"), record(0, "a", array="image:other")]),
    ):
        shared.begin(cases, records)
        assert not shared.shares(records[0])
        shared.put(records[0], blob("a"))
        assert shared.get(records[0]) is None


def test_kept_content_is_inflated_once_and_cannot_be_written():
    times = []
    kept = KeptContent()

    def inflated() -> np.ndarray:
        times.append(1)
        return np.arange(5, dtype=np.uint8)

    first, second = kept.once(inflated), kept.once(inflated)
    assert first is second
    assert times == [1]
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1
    kept.forget()
    np.testing.assert_array_equal(kept.once(inflated), first)
    assert times == [1, 1]


def test_long_content_is_not_kept(monkeypatch):
    monkeypatch.setattr(kept_content, "KEPT_BYTES", 4)
    kept = KeptContent()
    assert kept.once(lambda: np.zeros(5, np.uint8)).flags.writeable
    assert kept.bytes == 0
