from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdfp.manifest import Manifest
from schemas.identity import ImageMatch
from schemas.reasons import Reason
from schemas.recipe import Splits
from transforms.identity.graph import Node, build
from transforms.plan.identity import Known, copies, decide, rows
from transforms.plan.planner import Candidate, make_plan
from transforms.plan.published import Published
from transforms.plan.splits import place


def node(case, patient, pixels=None, study=None):
    return Node(case, case.partition("-")[0], patient, study, ((pixels, "ct"),) if pixels else ())


def candidate(case, patient, split=None, labels=()):
    return Candidate(case, case.partition("-")[0], patient, split, None, 1, 1.0, labels)


SPLITS = Splits(train=0.6, val=0.2, test=0.2)
NEAR = [ImageMatch("h", "i", 0.01)]


def placed(candidates, known, members=(), splits=SPLITS, key="k"):
    decided = decide(known, members)
    return place(candidates, splits, key, decided.published, decided.groups)


def test_copies_of_one_image_share_a_split_whoever_their_patient_is():
    nodes = [node("a-1", "p", "h"), node("b-1", "q", "h"), node("c-1", "r", "i")]
    known = Known(build(nodes, NEAR))
    for key in "abcdefgh":
        places = placed([candidate(n.case_id, n.patient) for n in nodes], known, key=key)
        assert len({p.split for p in places.values()}) == 1


cases = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 12), st.sampled_from([None, "train", "val", "test"])),
    min_size=1, max_size=40,
)  # fmt: skip
joins = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(lambda p: p[0] < p[1]), max_size=6)


@given(cases, joins, st.text(max_size=3))
def test_no_component_is_ever_split_apart(rows_, pairs, key):
    nodes = [node(f"{s}-{n}", f"p{p}", f"h{h:02}") for n, (s, p, h, _) in enumerate(rows_)]
    known = Known(build(nodes, [ImageMatch(f"h{a:02}", f"h{b:02}", 0.0) for a, b in sorted(set(pairs))]))
    asked = [candidate(n.case_id, n.patient, split) for n, (_, _, _, split) in zip(nodes, rows_, strict=True)]
    places = placed(asked, known, key=key)
    seen = {}
    for case_id, at in places.items():
        assert seen.setdefault(known.graph.component[case_id], at.split) == at.split
    assert places == placed(asked[::-1], known, key=key)


@given(cases, joins, st.lists(st.sampled_from(["train", "val", "test"]), min_size=40, max_size=40))
def test_what_is_published_never_moves_and_new_cases_follow_it(rows_, pairs, published_in):
    nodes = [node(f"{s}-{n}", f"p{p}", f"h{h:02}") for n, (s, p, h, _) in enumerate(rows_)]
    known = Known(build(nodes, [ImageMatch(f"h{a:02}", f"h{b:02}", 0.0) for a, b in sorted(set(pairs))]))
    members = [(n.case_id, n.patient, published_in[i]) for i, n in enumerate(nodes) if i % 2]
    new = [candidate(n.case_id, n.patient, rows_[i][3]) for i, n in enumerate(nodes) if i % 2 == 0]
    places = placed(new, known, members)
    splits_of = {}
    for case_id, _, split in members:
        splits_of.setdefault(known.graph.component[case_id], set()).add(split)
    for case_id, at in places.items():
        there = splits_of.get(known.graph.component[case_id])
        if there and at.left_out is None:
            assert at.split in there
            assert at.split != "train" or there == {"train"}
    decided = decide(known, members)
    dropped = set(decided.vain)
    left = {}
    for case_id, _, split in members:
        if case_id not in dropped:
            left.setdefault(known.graph.component[case_id], set()).add(split)
    assert all(len(found) == 1 for found in left.values())


def test_a_component_that_comes_to_join_train_and_test_drops_its_train_side_and_says_so():
    nodes = [node("a-1", "p", "h"), node("b-1", "q", "i"), node("c-1", "r", "h")]
    known = Known(build(nodes, NEAR))
    members = [("a-1", "p", "train"), ("b-1", "q", "test")]
    decided = decide(known, members)
    assert set(decided.vain) == {"a-1"}
    assert "published in test (b-1) and train (a-1)" in decided.vain["a-1"]
    at = placed([candidate("c-1", "r")], known, members)["c-1"]
    assert at.left_out == Reason.PATIENT_CONFLICT
    assert "published in test (b-1) and train (a-1)" in at.detail
    table = {r.case_id: r for r in rows(known.graph, decided, {"a-1": "train", "b-1": "test"})}
    assert (table["a-1"].verdict, table["b-1"].verdict, table["c-1"].verdict) == ("drop", None, None)
    assert {r.component for r in table.values()} == {"p"}
    assert {r.image for r in table.values()} == {"a-1"}
    # Once the train side is taken back the component is whole again.
    assert placed([candidate("c-1", "r")], known, members[1:])["c-1"].split == "test"


def test_a_patient_who_is_published_without_being_in_the_inventory_counts():
    known = Known(build([node("a-2", "p")], []))
    assert placed([candidate("a-2", "p")], known, [("a-1", "p", "val")])["a-2"].split == "val"


@pytest.mark.parametrize("name", ["btcv", "btcv-1"])
def test_what_belongs_together_with_a_benchmark_never_trains(name):
    nodes = [node("btcv-1", "~", "h"), node("a-1", "p", "i"), node("a-2", "p"), node("a-3", "q")]
    known = Known(build(nodes, NEAR), (name,))
    training = Splits(train=0.9, val=0.1, test=0.0)
    places = placed([candidate(c, p) for c, p in (("a-1", "p"), ("a-2", "p"), ("a-3", "q"))], known, splits=training)
    assert [places[c].left_out for c in ("a-1", "a-2", "a-3")] == [Reason.NEVER_TRAIN, Reason.NEVER_TRAIN, None]
    assert "btcv-1" in places["a-1"].detail
    assert set(decide(known, [("a-1", "p", "train")]).vain) == {"a-1"}
    assert decide(known, [("a-1", "p", "test")]).vain == {}


def test_a_held_out_benchmark_tests():
    nodes = [node("btcv-1", "b", "h"), node("a-1", "p", "i")]
    known = Known(build(nodes, NEAR), ("btcv",))
    asked = [candidate("btcv-1", "b"), candidate("a-1", "p")]
    places = placed(asked, known, splits=Splits(train=1.0, val=0, test={"sources": ["btcv"]}))
    assert {(p.split, p.left_out) for p in places.values()} == {("test", None)}


def test_of_copies_stays_what_is_published_then_what_has_labels_then_what_tests():
    nodes = [node("a-1", "p", "h"), node("b-1", "q", "h"), node("c-1", "r", "i")]
    graph = build(nodes, NEAR)
    asked = [candidate("a-1", "p"), candidate("b-1", "q", labels=("organs",)), candidate("c-1", "r")]
    held = Splits(train=1.0, val=0, test={"sources": ["c"]})

    def left(candidates, published=None, splits=SPLITS, mode="drop", **more):
        return {d.case_id: d.kept for d in copies(graph, candidates, published or {}, splits, mode, **more)}

    assert left(asked) == {"a-1": "b-1", "c-1": "b-1"}
    assert left(asked, splits=held) == {"a-1": "b-1", "c-1": "b-1"}
    assert left(asked, splits=held, image_only=True) == {"a-1": "c-1", "b-1": "c-1"}
    # Of copies that all have labels the benchmark's own stay, however many another has.
    drawn = [candidate("b-1", "q", labels=("organs", "more")), candidate("c-1", "r", labels=("organs",))]
    assert left(drawn, splits=held) == {"b-1": "c-1"}
    assert left(asked[:2], {"c-1": "train"}) == {"a-1": "c-1", "b-1": "c-1"}
    assert left(asked, mode="drop_exact") == {"a-1": "b-1"}
    assert left(asked, mode="keep") == {}
    assert left(asked[::-1]) == left(asked)


@given(cases, joins, st.sets(st.integers(0, 39)))
def test_a_benchmark_is_protected_and_no_label_of_its_images_is_lost(rows_, pairs, drawn):
    nodes = [node(f"{s}-{n}", f"p{p}", f"h{h:02}") for n, (s, p, h, _) in enumerate(rows_)]
    known = Known(build(nodes, [ImageMatch(f"h{a:02}", f"h{b:02}", 0.0) for a, b in sorted(set(pairs))]), ("a",))
    held = Splits(train=1.0, val=0, test={"sources": ["a"]})
    asked = [
        candidate(n.case_id, n.patient, rows_[i][3], ("organs",) if i in drawn else ()) for i, n in enumerate(nodes)
    ]
    places = placed(asked, known, splits=held) if any(n.source == "a" for n in nodes) else {}
    candidates = [c for c in asked if c.case_id in places and places[c.case_id].left_out is None]
    losers = {d.case_id for d in copies(known.graph, candidates, {}, held, "drop")}
    protected = {known.graph.component[n.case_id] for n in nodes if n.source == "a"}
    kept = [c for c in candidates if c.case_id not in losers]
    for case in kept:
        if known.graph.component[case.case_id] in protected:
            assert places[case.case_id].split == "test"
    labelled = {known.graph.first_equal[c.case_id] for c in candidates if c.label_tables}
    for first in labelled:  # the labelled copy itself stays, or a labelled one that is nearly equal
        equal = [c for c in kept if known.graph.first_equal[c.case_id] == first]
        near = [c for c in kept if known.graph.first_equal[c.case_id] in known.graph.near.get(first, ())]
        assert any(c.label_tables for c in (*equal, *near))


def test_a_plan_leaves_copies_out_before_anything_is_built(make_recipe, sources, make_inventory):
    inventory = make_inventory(count=12)
    cases = {c.case_id: c for c in inventory.cases}
    first, copy, near = sorted(cases)[:3]
    pixels = {first: "h", copy: "h", near: "i"}
    graph = build([node(c, cases[c].patient, pixels.get(c)) for c in cases], NEAR)
    plain = make_plan(make_recipe(), sources, inventory, None)
    joined = make_plan(make_recipe(), sources, inventory, None, known=Known(graph))
    assert {a.case_id for a in joined.left_out()} == {copy, near}
    assert {a.left_out for a in joined.left_out()} == {Reason.DUPLICATE}
    assert joined.planned == plain.planned - 2
    group = {a.case_id: a.group for a in joined.assignments}
    assert group[first] == group[copy] == group[near] == min(cases[c].patient for c in (first, copy, near))
    again = make_plan(make_recipe(), sources, inventory, None, known=Known(graph))
    assert again.plan_id == joined.plan_id


def test_a_graph_that_says_nothing_changes_no_plan(make_recipe, sources, make_inventory):
    inventory = make_inventory(count=12)
    graph = build([node(c.case_id, c.patient) for c in inventory.cases], [])
    plain = make_plan(make_recipe(), sources, inventory, None)
    assert make_plan(make_recipe(), sources, inventory, None, known=Known(graph)).plan_id == plain.plan_id


def test_a_published_patient_is_known_though_the_group_bore_another_name(make_sample):
    samples = [make_sample("a-1", group="p0", patient="p1", split="val")]
    published = Published.of(_manifest(samples), samples)
    assert published.split_of_group() == {"p0": "val", "p1": "val"}
    assert list(published.members()) == [("a-1", "p1", "val")]


def _manifest(samples):
    @dataclasses.dataclass
    class Shard:
        path: str

    manifest = Manifest.__new__(Manifest)
    object.__setattr__(manifest, "shards", tuple(Shard(s.shard) for s in samples))
    return manifest
