"""An image that several sources publish: whose terms its one sample has."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas import licenses
from schemas.licenses import UNSTATED
from schemas.reasons import Reason
from schemas.recipe import TermsGate
from schemas.source import Source
from schemas.terms_gate import PROFILES
from transforms.identity.graph import Node, build
from transforms.plan import files
from transforms.plan.duplicates import Duplicate
from transforms.plan.identity import Known
from transforms.plan.inheritance import Copy, copies, inherited, relation, settle
from transforms.plan.planner import make_plan
from transforms.plan.revision import revise
from transforms.plan.terms import Compiler, objections
from transforms.store import CorpusStore

TABLE = yaml.safe_load((Path(__file__).parent / "inheritance_table.yaml").read_text(encoding="utf-8"))["rows"]
COMMON = {"id": "common", "title": "Common", "cases": ["?"], "terms": {"license": "CC-BY-NC-SA-4.0"}}
"""An origin of some cases alone, so that a case may have its terms or not."""

RELATIONS = {
    "origin": ({"origins": [{"id": "theirs", "title": "Theirs", "cases": ["x"]}]}, {}),
    "re-release": ({}, {"origins": [{"id": "mine-row", "title": "Mine"}], "catalog": "theirs-row"}),
    "release": ({"catalog": "row"}, {"catalog": "row"}),
    "siblings": ({"origins": [COMMON]}, {"origins": [COMMON]}),
    "contested": ({}, {}),
}


def source(name, **changes):
    return Source.model_validate(
        {
            "id": name,
            "title": name.upper(),
            "catalog": f"{name}-row",
            "patient": {"namespace": name},
            "layout": {"kind": "paired", "images": [{"name": "ct", "modality": "CT", "path": "{case}.nii.gz"}]},
            **changes,
        }
    )


def pair(how):
    mine, theirs = RELATIONS[how]
    return {"mine": source("mine", **mine), "theirs": source("theirs", **theirs)}


def copy(name, license_id):
    return Copy(f"{name}-1", name, None if license_id == "unstated" else license_id)


def gate(sources, **terms):
    return Compiler(TermsGate.model_validate(terms), sources)


@pytest.mark.parametrize("row", TABLE, ids=lambda r: f"{r['mine']} {r['how']} {r['theirs']}")
def test_a_combination_has_its_verdict(row):
    sources = pair(row["how"])
    mine, theirs = copy("mine", row["mine"]), copy("theirs", row["theirs"])
    own = [each for each in licenses.parts(row["mine"]) if each != "unstated"]
    gates = {p: gate(sources, profile=[p]) for p in PROFILES} | {"accept": gate(sources, accept=own)}
    for name, each in gates.items():
        found = inherited(mine, [theirs], each)
        assert (found.license or "unstated") == row["holds"]
        reason = None if found.refusal is None else found.refusal[0]
        assert reason == {"ok": None, "unknown": Reason.TERMS_UNKNOWN, "refused": Reason.TERMS_REFUSED}[row[name]], name
    assert bool(found.contested) == (row["how"] == "contested" and row["mine"] != row["theirs"])


def test_the_table_has_every_relation_and_outcome():
    assert {r["how"] for r in TABLE} == set(RELATIONS)
    assert {r[p] for r in TABLE for p in (*PROFILES, "accept")} == {"ok", "unknown", "refused"}
    assert len(TABLE) * 4 >= 40


def test_the_relation_is_seen_from_either_side():
    for how, back in (
        ("origin", "re-release"),
        ("re-release", "origin"),
        ("siblings", "siblings"),
        ("contested", "contested"),
    ):
        both = pair(how)
        assert relation(both["mine"], both["theirs"]) == how
        assert relation(both["theirs"], both["mine"]) == back
    assert relation(None, source("mine")) == relation(source("mine"), None) == "contested"


def test_a_refusal_says_who_else_publishes_it():
    sources = pair("contested")
    found = inherited(copy("mine", "CC-BY-4.0"), [copy("theirs", "unstated")], gate(sources, profile=["commercial"]))
    assert found.refusal is not None
    assert found.refusal[1].startswith(
        f"the same image is published under CC-BY-4.0 (mine-1) and {UNSTATED} (theirs-1); which was first is not known: "
        "not commercial: no terms are stated"
    )


def test_somebody_may_answer_for_a_contest():
    override = [{"source": "mine", "reason": "the authors wrote that it is theirs"}]
    sources = pair("contested")
    found = inherited(
        copy("mine", "CC-BY-4.0"),
        [copy("theirs", "unstated")],
        gate(sources, profile=["commercial"], override=override),
    )
    assert found.refusal is None
    assert found.license == f"CC-BY-4.0 AND {UNSTATED}"


some = st.sampled_from(["CC0-1.0", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-SA-4.0", "CC-BY-NC-ND-2.0", "unstated"])


@given(some, st.lists(st.tuples(some, st.sampled_from(sorted(RELATIONS))), max_size=3), st.sampled_from(PROFILES))
def test_copies_never_make_terms_laxer(mine, others, profile):
    sources = {"mine": source("mine", origins=[{"id": f"o{n}", "title": "x", "cases": ["x"]} for n in range(3)])}
    theirs = []
    for n, (license_id, how) in enumerate(others):
        more = {"origins": [{"id": "mine", "title": "x"}]} if how == "re-release" else {}
        sources[name] = source(name := f"{'o' if how == 'origin' else 'c'}{n}", **more)
        theirs.append(copy(name, license_id))
    each = gate(sources, profile=[profile])
    found = inherited(copy("mine", mine), theirs, each)
    held = licenses.parts(found.license or UNSTATED)
    assert held[0] == (UNSTATED if mine == "unstated" else mine)
    assert (found.refusal is not None) == bool(objections(held, profile, licenses.table()))
    assert inherited(copy("mine", mine), theirs[::-1], each).refusal == found.refusal


def test_contests_of_many_cases_are_one_doubt():
    sources = pair("contested")
    cases = [Copy(f"{s}-{n}", s, lic) for n in range(3) for s, lic in (("mine", "CC-BY-4.0"), ("theirs", "CC0-1.0"))]
    same = copies(cases, {c.case_id: c.case_id[-1] for c in cases})
    found = settle(cases, same, gate(sources, accept=["CC-BY-4.0", "CC0-1.0"]))
    (doubt,) = found.doubts
    assert doubt.startswith(
        "the same image is published under CC-BY-4.0 (mine) and CC0-1.0 (theirs), and which was first is"
    )
    assert doubt.endswith(" not known: 3 pairs of cases, for example mine-0 and theirs-0")
    assert found.licenses["mine-2"] == "CC-BY-4.0 AND CC0-1.0"
    assert found.refused == {}


@pytest.fixture
def world(sources, make_inventory):
    """Twelve cases of two sources, of which a-1 and b-0 are one image; b is under other terms."""
    inventory = make_inventory(count=12)
    cases = tuple(
        dataclasses.replace(c, license="CC-BY-NC-4.0" if c.source == "b" else c.license) for c in inventory.cases
    )
    inventory = dataclasses.replace(inventory, cases=cases)
    told = sources["b"].model_copy(update={"terms": sources["b"].terms.model_copy(update={"license": "CC-BY-NC-4.0"})})
    pixels = {"a-1": (("h", "ct"),), "b-0": (("h", "ct"),)}
    graph = build([Node(c.case_id, c.source, c.patient, None, pixels.get(c.case_id, ())) for c in cases], [])
    return {"a": sources["a"], "b": told}, inventory, Known(graph)


def test_a_plan_leaves_out_what_is_published_under_other_terms_too(world, make_recipe):
    sources, inventory, known = world
    made = make_plan(make_recipe(terms={"profile": "commercial"}), sources, inventory, None, known=known)
    out = {a.case_id: (a.left_out, a.detail) for a in made.left_out() if a.source == "a"}
    assert list(out) == ["a-1"]  # b is refused, and still says what is known of the image
    assert out["a-1"][0] == Reason.TERMS_UNKNOWN
    assert len(made.doubts) == 1
    plain = make_plan(make_recipe(terms={"profile": "commercial"}), sources, inventory, None)
    assert "a-1" not in {a.case_id for a in plain.left_out()}
    assert plain.doubts == ()


def test_a_plan_gives_the_sample_that_stays_the_terms_of_both(world, make_recipe, tmp_path):
    sources, inventory, known = world
    recipe = make_recipe(terms={"accept": ["CC-BY-4.0", "CC-BY-NC-4.0"]})
    made = make_plan(recipe, sources, inventory, None, known=known)
    assert {a.case_id for a in made.left_out()} == {"b-0"}
    licences = {c.case_id: c.license for c in made.cases}
    assert licences.pop("a-1") == "CC-BY-4.0 AND CC-BY-NC-4.0"
    assert set(licences.values()) == {"CC-BY-4.0", "CC-BY-NC-4.0"}
    store = CorpusStore(str(tmp_path))
    reader = files.PlanReader(store, files.write(made, store))
    work = [reader.work(n) for n in range(len(made.shards))]
    assert {c.case_id: c.license for w in work for c in w.cases} == {c.case_id: c.license for c in made.cases}
    assert files.read(store, files.latest(store)) == made
    # Only the shard of the sample with other terms has another fingerprint than by the case alone.
    at = made.table.schema.get_field_index("terms")
    none = pa.nulls(made.table.num_rows, pa.string())
    bare = dataclasses.replace(made, table=made.table.set_column(at, made.table.schema.field(at), none))
    again = revise(bare, [])
    assert [s.shard for s, t in zip(made.shards, again.shards, strict=True) if s.fingerprint != t.fingerprint] == [
        s.shard for s in made.shards if "a-1" in s.cases
    ]


def test_an_upstream_copy_that_is_dropped_gives_its_terms(world, make_recipe):
    sources, inventory, known = world
    origin = [{"id": "b", "title": "B", "cases": ["another"], "terms": {"license": "CC-BY-NC-4.0"}}]
    sources["a"] = Source.model_validate({**sources["a"].model_dump(mode="json"), "origins": origin})
    recipe = make_recipe(terms={"accept": ["CC-BY-4.0", "CC-BY-NC-4.0"]})
    made = make_plan(recipe, sources, inventory, None, known=known)
    assert {c.case_id: c.license for c in made.cases}["a-1"] == "CC-BY-4.0 AND CC-BY-NC-4.0"
    assert made.doubts == ()
    refused = make_plan(make_recipe(terms={"accept": ["CC-BY-4.0"]}), sources, inventory, None, known=known)
    assert {a.case_id: a.left_out for a in refused.left_out() if a.source == "a"} == {"a-1": Reason.TERMS_REFUSED}


def test_an_inventory_from_before_an_origin_was_known_has_its_terms_all_the_same(sources, make_inventory, make_recipe):
    told = [{"id": "up", "title": "Up", "terms": {"license": "CC-BY-NC-4.0"}}]
    sources["a"] = Source.model_validate({**sources["a"].model_dump(mode="json"), "origins": told})
    inventory = make_inventory(count=8)
    refused = make_plan(make_recipe(), sources, inventory, None)
    assert {a.source for a in refused.left_out()} == {"a"}
    made = make_plan(make_recipe(terms={"accept": ["CC-BY-4.0", "CC-BY-NC-4.0"]}), sources, inventory, None)
    assert {c.source: c.license for c in made.cases} == {"a": "CC-BY-4.0 AND CC-BY-NC-4.0", "b": "CC-BY-4.0"}
    assert made.sources["a"]["origins"][0]["id"] == "up"


@pytest.mark.parametrize("profile", [None, "commercial"])
def test_copies_that_are_found_while_building_hand_their_terms_on(world, make_recipe, tmp_path, profile):
    sources, inventory, _ = world
    override = [{"source": "b", "reason": "bought for use of every kind"}]
    terms = {"profile": profile, "override": override} if profile else {"accept": ["CC-BY-4.0", "CC-BY-NC-4.0"]}
    made = make_plan(make_recipe(terms=terms), sources, inventory, None)
    store = CorpusStore(str(tmp_path))
    read = files.read(store, files.write(made, store))
    found = revise(read, [Duplicate("b-0", "a-1", "the same pixels as a-1")])
    base = files.write(found, store)
    assert files.read(store, base) == found
    work = [files.PlanReader(store, base).work(n) for n in range(len(found.shards))]
    left = {a.case_id: a.left_out for w in work for a in w.assignments if a.left_out}
    changed = {s.shard for s, t in zip(found.shards, made.shards, strict=True) if s.fingerprint != t.fingerprint}
    assert changed == {s.shard for s in made.shards if {"a-1", "b-0"} & set(s.cases)}
    assert len(found.doubts) == 1
    if profile:
        assert left == {"b-0": Reason.DUPLICATE, "a-1": Reason.TERMS_UNKNOWN}
        assert {a.case_id: a.left_out for a in found.assignments if a.left_out} == left
    else:
        assert left == {"b-0": Reason.DUPLICATE}
        assert {c.case_id: c.license for w in work for c in w.cases}["a-1"] == "CC-BY-4.0 AND CC-BY-NC-4.0"
    assert revise(made, [Duplicate("b-0", "a-1", "the same pixels as a-1")]).plan_id == found.plan_id
