"""Nothing that is named stays in danger, nothing young is touched, and what is left behind is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.garbage import KINDS, Needed, Stored, garbage, total

DAY = 86_400.0
NOW = 1000 * DAY

NEEDED = Needed(
    objects=frozenset({"shards/train/a-00000-11.tar", "rows/train/a-00000-12.parquet", "index/000001-13.parquet"}),
    markers=frozenset({"commits/train/a-00000.ff.json"}),
    plans=frozenset({"plans/p1-e1"}),
    inventories=frozenset({"inventory/i1"}),
)

KEPT = (
    *NEEDED.objects, *NEEDED.markers, "plans/p1-e1/plan.json", "plans/p1-e1/cases.parquet", "plans/LATEST",
    "inventory/i1/cases.parquet", "inventory/LATEST", "manifests/000001.json", "rejects/000001.parquet", "LATEST",
    "corpus.json", "report.html", "ATTRIBUTION.md", "expectations/plan.json", "somebody/elses.file",
    "telemetry/shards/train/a-00000.ff.0a0b.json", "telemetry/cancel/p1-e1-001.json", "withdrawn/000001.json",
)  # fmt: skip

LEFT = {
    "shards/train/a-00000-99.tar": "shards",
    "rows/train/a-00000-98.parquet": "rows",
    "index/000002-97.parquet": "index",
    "commits/train/a-00000.ee.json": "markers",
    "plans/p0-e0/plan.json": "plans",
    "inventory/i0/parts/00000.jsonl": "inventories",
    "telemetry/shards/train/a-00000.ee.0a0b.json": "telemetry",
    "telemetry/cancel/p0-e0-001.json": "telemetry",
    "shards/train/.part-abc": "parts",
    ".part-root": "parts",
}


def stored(*paths, age=30 * DAY):
    return [Stored(p, 100, NOW - age) for p in paths]


def test_what_is_left_behind_is_found_by_kind():
    found = garbage(stored(*KEPT, *LEFT), NEEDED, older_than_s=7 * DAY, now=NOW)
    assert {g.object.path: g.kind for g in found} == LEFT


@pytest.mark.parametrize("path", LEFT)
def test_nothing_young_is_touched(path):
    assert garbage(stored(path, age=6 * DAY), NEEDED, older_than_s=7 * DAY, now=NOW) == []
    assert garbage(stored(path, age=8 * DAY), NEEDED, older_than_s=7 * DAY, now=NOW) != []


def test_a_plan_is_as_old_as_its_youngest_file():
    files = [*stored("plans/p0-e0/cases.parquet"), *stored("plans/p0-e0/plan.json", age=DAY)]
    assert garbage(files, NEEDED, older_than_s=7 * DAY, now=NOW) == []


def test_a_marker_goes_before_what_it_names():
    found = [g.kind for g in garbage(stored(*LEFT), NEEDED, older_than_s=7 * DAY, now=NOW)]
    assert found[0] == "markers"
    assert found == sorted(found, key=KINDS.index)


def test_sums_are_by_kind():
    found = garbage(stored(*LEFT), NEEDED, older_than_s=7 * DAY, now=NOW)
    assert total(found)["parts"] == (2, 200)
    assert sum(n for n, _ in total(found).values()) == len(LEFT)


@given(st.lists(st.sampled_from([*KEPT, *LEFT]), unique=True), st.floats(0, 60 * DAY), st.floats(0, 60 * DAY))
def test_what_is_named_is_never_garbage_whatever_its_age(paths, age, older_than):
    found = garbage(stored(*paths, age=age), NEEDED, older_than_s=older_than, now=NOW)
    assert not {g.object.path for g in found} & set(KEPT)
