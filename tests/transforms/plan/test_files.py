from __future__ import annotations

import dataclasses
import json

import pyarrow.parquet as pq
import pytest

from mdfp import arrow
from mdfp.errors import CorpusError
from schemas.case import ObjectRecord
from transforms.plan import files, work
from transforms.plan.duplicates import Duplicate
from transforms.plan.revision import revise
from transforms.store import CorpusStore


@pytest.fixture
def store(tmp_path):
    return CorpusStore(str(tmp_path / "corpus"))


def test_a_plan_comes_back_as_it_was(make_tiny_plan, store):
    plan = make_tiny_plan()
    base = files.write(plan, store)
    assert files.read(store, base) == plan
    assert files.latest(store) == base == files.find(store, plan.plan_id)


def test_a_revised_plan_comes_back_with_its_holes(make_tiny_plan, store):
    plan = make_tiny_plan()
    revised = revise(plan, [Duplicate(plan.shards[1].cases[0], "a-1", "the same pixels as a-1")])
    files.write(plan, store)
    files.write(revised, store)
    assert files.read(store, files.latest(store)) == revised
    assert files.read(store, files.find(store, plan.plan_id)) == plan


def test_a_plan_from_before_copies_had_terms_comes_back(make_tiny_plan, store):
    plan = make_tiny_plan()
    base = files.write(plan, store)
    path = store.folder / base / "cases.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["terms"]), path)
    header = store.folder / base / "plan.json"
    content = json.loads(header.read_text())
    assert content.pop("doubts") == []
    header.write_text(json.dumps(content))
    assert files.read(store, base) == plan
    assert files.read(store, base).relicensed == {}


def test_a_worker_reads_the_work_of_one_shard(make_tiny_plan, store):
    plan = make_tiny_plan()
    reader = files.PlanReader(store, files.write(plan, store))
    assert reader.shards == plan.shards
    for number, shard in enumerate(plan.shards):
        work = reader.work(number)
        assert work.shard == shard
        assert tuple(c.case_id for c in work.cases) == shard.cases
        assert work.cases == tuple(c for c in plan.cases if c.case_id in shard.cases)
        assert work.objects == tuple(o for o in plan.objects if o.case_id in shard.cases)
        assert {a.case_id for a in work.assignments} == set(shard.cases)
    assert {o for n in range(len(plan.shards)) for o in reader.work(n).objects} == set(plan.objects)


def test_editions_of_one_plan_lie_beside_each_other(make_tiny_plan, make_inventory, store):
    first, touched = (make_tiny_plan(make_inventory(version=f"mtime:{n}")) for n in (1, 2))
    a, b = files.write(first, store), files.write(touched, store)
    assert a != b
    assert files.read(store, a).objects != files.read(store, b).objects
    assert files.find(store, first.plan_id) == b  # the newest
    files.write(first, store)
    assert files.find(store, first.plan_id) == a


def test_writing_again_changes_nothing(make_tiny_plan, store):
    base = files.write(make_tiny_plan(), store)
    before = content(store, base)
    files.write(make_tiny_plan(), store)
    assert content(store, base) == before


def content(store, base):
    return {
        str(f.relative_to(store.folder / base)): f.read_bytes() for f in (store.folder / base).rglob("*") if f.is_file()
    }


def test_two_stores_get_the_same_bytes(make_tiny_plan, store, tmp_path):
    other = CorpusStore(str(tmp_path / "other"))
    base = files.write(make_tiny_plan(), store)
    assert files.write(make_tiny_plan(), other) == base
    assert content(other, base) == content(store, base)


def test_rows_that_do_not_fit_in_memory_together_come_out_the_same(
    make_tiny_plan, make_inventory, store, tmp_path, monkeypatch
):
    inventory = make_inventory(count=400, estimated_seconds=200.0)
    plan = make_tiny_plan(inventory)
    assert len(plan.shards) > 3 * work.SHARDS_PER_FILE
    base = files.write(plan, store)
    monkeypatch.setattr(work, "BUCKET_CASES", 20)
    monkeypatch.setattr(work, "BUCKET_OBJECTS", 40)
    other = CorpusStore(str(tmp_path / "other"))
    files.write(make_tiny_plan(inventory), other)
    assert content(other, base) == content(store, base)


def test_a_revision_has_the_work_of_its_plan(make_tiny_plan, store):
    plan = make_tiny_plan()
    base = files.write(plan, store)
    loser = plan.shards[0].cases[1]
    revised = revise(files.read(store, base), [Duplicate(loser, "a-1", "the same pixels as a-1")])
    work_of = files.PlanReader(store, files.write(revised, store)).work(0)
    assert work_of.cases == files.PlanReader(store, base).work(0).cases
    (hole,) = [a for a in work_of.assignments if a.left_out]
    assert (hole.case_id, hole.detail) == (loser, "the same pixels as a-1")
    assert revised.plan_id == revise(plan, [Duplicate(loser, "a-1", "the same pixels as a-1")]).plan_id


def test_planned_objects_are_a_flat_table(make_tiny_plan, store):
    plan = make_tiny_plan()
    table = files.planned_objects(store, files.write(plan, store))
    assert arrow.from_table(ObjectRecord, table) == list(plan.objects)


def test_a_plan_without_its_header_is_not_there(make_tiny_plan, store):
    """The header is written last: a killed write leaves none."""
    plan = make_tiny_plan()
    base = files.write(plan, store)
    (store.folder / base / "plan.json").unlink()
    with pytest.raises(CorpusError, match="no such plan; make one with the plan command"):
        files.read(store, base)
    with pytest.raises(CorpusError, match="is not there; it was moved or deleted"):
        files.find(store, plan.plan_id)


def test_the_header_has_totals_to_review(make_tiny_plan, store):
    plan = make_tiny_plan()
    header = files.read_header(store, files.write(plan, store))
    assert header["totals"]["cases"] == 40
    assert header["totals"]["shards"] == len(plan.shards)
    assert header["totals"]["rejects"] == 1
    assert "assignments" not in header


def test_no_plan_is_none(store):
    assert files.latest(store) is None


def test_a_plan_id_is_not_taken_for_another_that_begins_alike(make_tiny_plan, store):
    plan = make_tiny_plan()
    files.write(plan, store)
    with pytest.raises(CorpusError):
        files.find(store, plan.plan_id[:15] + "x" * 49)
    other = dataclasses.replace(plan, plan_id="f" * 64)
    files.write(other, store)
    assert files.read(store, files.find(store, plan.plan_id)).plan_id == plan.plan_id
