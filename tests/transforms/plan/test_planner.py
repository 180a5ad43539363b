from __future__ import annotations

import dataclasses
import random
from collections import Counter

import pytest

from mdfp.errors import UsageError
from schemas.reasons import Reason
from transforms import environment
from transforms.plan import planner
from transforms.plan.duplicates import Duplicate
from transforms.plan.holes import KnownHole, made_of
from transforms.plan.inventory import objects_digest
from transforms.plan.planner import Selection, make_plan
from transforms.plan.revision import revise


def left_out(plan):
    return {a.case_id: a.left_out for a in plan.left_out()}


def test_every_case_is_in_one_shard_or_left_out_with_a_reason(make_tiny_plan):
    plan = make_tiny_plan()
    placed = Counter(c for s in plan.shards for c in s.cases)
    assert set(placed.values()) == {1}
    assert set(placed) | set(left_out(plan)) == {a.case_id for a in plan.assignments}
    assert len(plan.assignments) == 40
    assert [c.case_id for c in plan.cases] == [c for s in plan.shards for c in s.cases]
    for a in plan.assignments:
        (shard,) = [s for s in plan.shards if s.shard == a.shard]
        assert shard.cases[a.position] == a.case_id
        assert shard.split == a.split


def test_the_order_of_the_inventory_does_not_matter(make_tiny_plan, make_inventory):
    inventory = make_inventory()
    cases, objects, rejects = (list(getattr(inventory, f)) for f in ("cases", "objects", "rejects"))
    for rows in (cases, objects, rejects):
        random.Random(3).shuffle(rows)
    shuffled = dataclasses.replace(inventory, cases=tuple(cases), objects=tuple(objects), rejects=tuple(rejects))
    assert make_tiny_plan(shuffled) == make_tiny_plan()


def test_when_a_local_file_was_written_is_part_of_the_edition_and_not_of_the_id(make_tiny_plan, make_inventory):
    first, touched = (make_tiny_plan(make_inventory(version=f"mtime:{n}")) for n in (1, 2))
    assert first.plan_id == touched.plan_id
    assert first.edition != touched.edition
    assert all(a.fingerprint != b.fingerprint for a, b in zip(first.shards, touched.shards, strict=True))


def test_the_version_of_an_object_in_a_store_is_part_of_both(make_tiny_plan, make_inventory):
    first, other = (make_tiny_plan(make_inventory(version=f"etag:{n}")) for n in (1, 2))
    assert first.plan_id != other.plan_id
    assert first.edition != other.edition


@pytest.mark.parametrize(
    "changes",
    [
        {"geometry": {"spacing_mm": [2, 2, 2]}},
        {"intensity": "native"},
        {"labels": {"space": ["liver"], "resample": "nearest"}},
        {"limits": {"max_edge": 99}},
    ],
)
def test_what_reaches_voxels_reaches_every_fingerprint(make_tiny_plan, changes):
    first, other = make_tiny_plan(), make_tiny_plan(**changes)
    assert {s.fingerprint for s in first.shards}.isdisjoint(s.fingerprint for s in other.shards)


def test_what_does_not_reach_voxels_keeps_the_fingerprints(make_tiny_plan):
    first, other = make_tiny_plan(), make_tiny_plan(labels={"space": []}, out="elsewhere")
    assert make_tiny_plan(out="elsewhere").plan_id == first.plan_id
    # The label space is a view, and still part of the labels section of the recipe that workers read.
    assert [s.cases for s in first.shards] == [s.cases for s in other.shards]


def drawing(source, **more):
    """The source with another label table."""
    table = source.labels["organs"].model_dump() | more
    return type(source).model_validate(source.model_dump() | {"labels": {"organs": table}})


def test_a_resolution_is_part_of_the_plan_and_of_no_fingerprint(make_recipe, sources, make_inventory):
    tumour = {"values": {0: "background", 1: "liver", 2: "liver_tumour"}}
    two = {"a": drawing(sources["a"], **tumour), "b": sources["b"]}
    union = {"space": {"policy": "union"}}
    open_, decided = (
        make_plan(make_recipe(labels={**union, **more}), two, make_inventory(), None)
        for more in ({}, {"resolve": {"liver+liver_tumour": "roll_up"}})
    )
    assert open_.fusion.space == ("liver", "liver_tumour", "spleen")
    assert decided.fusion.space == ("liver", "spleen")
    assert [s.fingerprint for s in open_.shards] == [s.fingerprint for s in decided.shards]
    assert open_.plan_id != decided.plan_id


def test_a_class_that_means_two_things_is_not_planned(make_recipe, sources, make_inventory):
    two = {
        "a": drawing(sources["a"], values={0: "background", 1: "liver", 2: "liver_tumour"}),
        "b": drawing(sources["b"], excludes={"liver": ["liver_tumour"]}),
    }
    with pytest.raises(
        UsageError, match=r"do not mean the same by 1 of the classes:\n.*\n.*\n.*\n.*liver_tumour: keep"
    ):
        make_plan(make_recipe(), two, make_inventory(), None)


def test_another_environment_or_pixel_version_is_another_fingerprint(make_tiny_plan, monkeypatch):
    first = make_tiny_plan()
    now = environment.locked()
    monkeypatch.setattr(environment, "locked", lambda: now | {"numpy": "99"})
    other = make_tiny_plan()
    monkeypatch.undo()
    monkeypatch.setattr(planner, "PIXEL_VERSION", 99)
    third = make_tiny_plan()
    assert len({p.shards[0].fingerprint for p in (first, other, third)}) == 3
    assert len({p.plan_id for p in (first, other, third)}) == 3


def test_a_revision_changes_the_affected_shards_alone(make_tiny_plan):
    plan = make_tiny_plan()
    loser = plan.shards[2].cases[0]
    revised = revise(plan, [Duplicate(loser, "a-1", "the same pixels as a-1")])
    changed = [a.shard for a, b in zip(plan.shards, revised.shards, strict=True) if a.fingerprint != b.fingerprint]
    assert changed == [plan.shards[2].shard]
    assert revised.shards[2].holes == (loser,)
    assert revised.shards[2].cases == plan.shards[2].cases
    assert (revised.revision, revised.generation) == (1, plan.generation)
    assert revised.plan_id != plan.plan_id
    (assignment,) = [a for a in revised.assignments if a.case_id == loser]
    assert (assignment.left_out, assignment.shard) == (Reason.DUPLICATE, plan.shards[2].shard)
    further = plan.shards[0].cases[0]
    twice = revise(revised, [Duplicate(further, "a-1", "the same pixels as a-1")])
    assert twice.shards[2] == revised.shards[2]
    assert twice.revision == 2


def test_terms_are_a_gate_and_fail_closed(make_recipe, sources, make_inventory):
    inventory = make_inventory(count=12)
    licences = ["CC-BY-4.0", "CC-BY-NC-4.0", None]
    cases = tuple(dataclasses.replace(c, license=licences[i % 3]) for i, c in enumerate(inventory.cases))
    inventory = dataclasses.replace(inventory, cases=cases)
    plan = make_plan(make_recipe(), sources, inventory, None)
    assert Counter(left_out(plan).values()) == {Reason.TERMS_REFUSED: 4, Reason.TERMS_UNKNOWN: 4}
    accepting = make_recipe(terms={"accept": ["CC-BY-4.0"], "unknown": "accept"})
    assert Counter(left_out(make_plan(accepting, sources, inventory, None)).values()) == {Reason.TERMS_REFUSED: 4}


def test_image_only_takes_no_label_and_no_palette(make_tiny_plan):
    plan = make_tiny_plan(labels="image_only")
    assert all(c.labels == () for c in plan.cases)
    assert plan.palette == ()
    assert plan.planned == 40


def test_the_palette_holds_what_any_source_draws(make_tiny_plan):
    assert {e.structure for e in make_tiny_plan().palette} == {"liver", "spleen"}


def test_a_held_out_source_is_test_data_with_all_its_patients(make_tiny_plan):
    plan = make_tiny_plan(splits={"train": 0.8, "val": 0.2, "test": {"sources": ["b"]}})
    patients = {c.patient for c in plan.cases if c.source == "b"}
    assert all((a.split == "test") == (a.group in patients) for a in plan.assignments)


def test_folds_do_not_change_when_data_are_added(make_tiny_plan, make_inventory):
    few = make_tiny_plan(make_inventory(count=20), splits={"train": 0.8, "val": 0.2, "folds": 5})
    many = make_tiny_plan(make_inventory(count=40), splits={"train": 0.8, "val": 0.2, "folds": 5})
    before = {a.case_id: (a.split, a.fold) for a in few.assignments}
    assert before.items() <= {a.case_id: (a.split, a.fold) for a in many.assignments}.items()
    assert len({a.fold for a in many.assignments if a.split == "train"}) > 2
    assert {a.fold for a in many.assignments if a.split != "train"} == {None}


def test_a_selection_narrows_and_says_so(make_recipe, sources, make_inventory):
    inventory = make_inventory()
    plan = make_plan(make_recipe(), sources, inventory, None, Selection(only=("b",)))
    assert {c.source for c in plan.cases} == {"b"}
    plan = make_plan(make_recipe(), sources, inventory, None, Selection(only=("a-1", "b-4")))
    assert {c.case_id for c in plan.cases} == {"a-1", "b-4"}
    plan = make_plan(make_recipe(), sources, inventory, None, Selection(limit=3))
    assert Counter(c.source for c in plan.cases) == {"a": 3, "b": 3}
    assert {a.detail for a in plan.left_out()} == {"beyond --limit 3"}
    with pytest.raises(UsageError, match=r"--only c: neither a source \(a, b\) nor a case"):
        make_plan(make_recipe(), sources, inventory, None, Selection(only=("c",)))


def test_the_recipe_excludes_cases_by_name(make_tiny_plan):
    plan = make_tiny_plan(sources=[{"id": "a", "exclude": ["1", "a-2"]}, {"id": "b"}])
    assert left_out(plan) == {"a-1": Reason.EXCLUDED, "a-2": Reason.EXCLUDED}


def test_case_ids_given_twice_are_refused(make_tiny_plan, make_inventory):
    inventory = make_inventory()
    twice = dataclasses.replace(inventory, cases=(*inventory.cases, inventory.cases[0]))
    with pytest.raises(UsageError, match="1 case ids are given twice, for example 'b-0'"):
        make_tiny_plan(twice)


def known_hole(inventory, sources, case_id, **changes):
    objects = [o for o in inventory.objects if o.case_id == case_id]
    source = sources[objects[0].source].model_dump(mode="json")
    content = made_of(objects_digest(objects), source, planner.PIXEL_VERSION)
    return dataclasses.replace(KnownHole(1, Reason.CORRUPT_GZIP, "cut short", content), **changes)


def test_a_known_hole_is_left_out_until_it_changes_or_is_asked_for(make_recipe, sources, make_inventory, monkeypatch):
    inventory = make_inventory(count=8)
    holes = {"a-1": known_hole(inventory, sources, "a-1")}
    plan = make_plan(make_recipe(), sources, inventory, None, known_holes=holes)
    assert left_out(plan) == {"a-1": Reason.CORRUPT_GZIP}
    (assignment,) = plan.left_out()
    assert assignment.detail.startswith("cut short; so found while building manifest 1")
    assert "--retry-holes" in assignment.detail

    asked = make_plan(make_recipe(), sources, inventory, None, Selection(retry_holes=True), holes)
    assert left_out(asked) == {}
    changed = make_inventory(count=8, version="etag:2")
    assert left_out(make_plan(make_recipe(), sources, changed, None, known_holes=holes)) == {}
    other_table = {**sources, "a": sources["a"].model_copy(update={"known_issues": ("looked at again",)})}
    assert left_out(make_plan(make_recipe(), other_table, inventory, None, known_holes=holes)) == {}
    monkeypatch.setattr(planner, "PIXEL_VERSION", 99)
    assert left_out(make_plan(make_recipe(), sources, inventory, None, known_holes=holes)) == {}


def test_holes_of_cases_that_are_gone_do_not_matter(make_recipe, sources, make_inventory):
    inventory = make_inventory(count=8)
    holes = {"a-99": KnownHole(1, Reason.CORRUPT_GZIP, "cut short", "0" * 64)}
    assert left_out(make_plan(make_recipe(), sources, inventory, None, known_holes=holes)) == {}
