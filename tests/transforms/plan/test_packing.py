from __future__ import annotations

from collections import Counter

from schemas.recipe import Shards
from transforms.plan.packing import MAX_SHARD_SECONDS, keyed_order, pack


def packed(cases, shards=None, splits=None, first=None):
    split_of = {c.case_id: "train" for c in cases} | (splits or {})
    return pack(cases, split_of, shards or Shards(), "k", first or {})


def cohort(make_case, n=200, **changes):
    return [make_case(case_id=f"a-{i}", **changes) for i in range(n)]


def test_each_case_is_in_exactly_one_shard(make_case):
    cases = cohort(make_case)
    counts = Counter(c for p in packed(cases) for c in p.cases)
    assert counts == Counter(c.case_id for c in cases)


def test_shards_are_near_the_target_and_alike(make_case):
    packs = packed(cohort(make_case), Shards(target_mb=20))
    assert len(packs) == 16
    sizes = [p.estimated_bytes for p in packs]
    assert max(sizes) <= 13_000_000
    assert min(sizes) >= 12_000_000


def test_a_shard_is_bounded_in_work(make_case):
    packs = packed(cohort(make_case, n=40, estimated_seconds=200.0, estimated_bytes=10), Shards())
    assert all(p.estimated_seconds <= MAX_SHARD_SECONDS for p in packs)


def test_a_case_larger_than_the_target_has_a_shard_of_its_own(make_case):
    packs = packed([make_case(estimated_bytes=10**12)], Shards(target_mb=1))
    assert [p.cases for p in packs] == [("a-1",)]


def test_splits_and_sources_do_not_share_shards(make_case):
    cases = [make_case(case_id=f"{s}-{i}", source=s) for s in "ab" for i in range(20)]
    packs = packed(cases, splits={c.case_id: "test" for c in cases[::3]})
    for p in packs:
        assert {c.split("-")[0] for c in p.cases} == {p.source}
    assert {p.split for p in packs} == {"train", "test"}


def test_small_sources_are_pooled_only_when_asked(make_case):
    cases = [make_case(case_id=f"{s}-{i}", source=s) for s in "ab" for i in range(3)]
    assert {p.source for p in packed(cases)} == {"a", "b"}
    assert {p.source for p in packed(cases, Shards(pool_below_mb=100))} == {"pool"}


def test_numbers_go_on_after_earlier_generations(make_case):
    packs = packed(cohort(make_case, n=5), first={("train", "a"): 7})
    assert packs[0].shard == "train/a-00007"


def test_the_order_in_a_shard_depends_on_key_and_ids_alone():
    ids = [f"c{i}" for i in range(50)]
    assert keyed_order("k", ids) == keyed_order("k", ids[::-1]) != keyed_order("l", ids)
