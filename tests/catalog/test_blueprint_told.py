"""What a blueprint says of findings, reports and boxes, and the rules that need manifests: by name, without labels, with risks."""

from __future__ import annotations

import pytest

from catalog import blueprint, datasets, sources
from catalog.blueprint import BlueprintQuery, told
from catalog.blueprint.manifest import shares
from catalog.blueprint.select import select
from catalog.blueprint.told import Told
from catalog.datasets import Catalog
from mdfp.errors import UsageError
from schemas.recipe import Recipe

CATALOG = datasets.load()
WORDS = CATALOG.vocabularies
CHEST = {"dimension": "2d", "modalities": ["XR"], "tasks": ["classification"], "anatomies": ["lung", "chest"]}
PHYSIONET = "LicenseRef-PhysioNet-Credentialed-Health-Data-License-1.5.0"


def made(**rules):
    return blueprint.make(BlueprintQuery.model_validate({**CHEST, **rules}), CATALOG)


def test_a_manifest_without_a_row_comes_in_by_its_name_alone():
    plain, named = made(), made(sources=["open-i"])
    assert {c.id for c in named.selection.taken} - {c.id for c in plain.selection.taken} == {"open-i"}
    assert named.named == ("open-i",)
    assert "open-i" in named.draft.sources
    assert named.total.items.images == plain.total.items.images  # nobody states its count
    assert named.total.items.unknown == plain.total.items.unknown + 1


def test_a_row_that_lacks_a_fact_comes_in_by_its_manifests_name():
    """Its row states no task."""
    assert "vindr-cxr" in {e.id for e in made().unknown()}
    named = made(sources=["vindr-cxr"])
    assert "vindr-cxr" in {c.id for c in named.selection.taken}
    assert "vindr-cxr" not in {e.id for e in named.selection.excluded}
    assert named.named == ()


def test_licences_and_modalities_hold_for_what_is_named_too():
    refused = made(sources=["open-i"], licenses=["CC-BY-4.0"])
    assert "open-i" not in {c.id for c in refused.selection.taken}
    (why,) = (e for e in refused.selection.excluded if e.id == "open-i")
    assert [f.rule for f in why.failures] == ["licenses"]
    assert "open-i" in made(sources=["open-i"], licenses=["CC-BY-NC-ND-4.0"]).draft.sources
    other = blueprint.make(BlueprintQuery(modalities=("CT",), sources=("open-i",)), CATALOG)
    (why,) = (e for e in other.selection.excluded if e.id == "open-i")
    assert [f.rule for f in why.failures] == ["modalities"]
    # The origin of a named manifest must pass as well.
    assert "mimic-cxr-jpg" in {c.id for c in made(sources=["mimic-cxr-jpg"], licenses=[PHYSIONET]).selection.taken}


def test_radiographs_of_either_kind_are_radiographs():
    assert shares(("XR",), ("DX",))
    assert shares(("CR",), ("XR",))
    assert not shares(("CR",), ("DX",))
    assert not shares(("XR",), ("MG",))


def test_without_labels_nothing_is_said_of_labels():
    query = {"dimension": "3d", "modalities": ["CT"], "anatomies": ["lung"]}
    labelled = blueprint.make(BlueprintQuery.model_validate(query), CATALOG)
    bare = blueprint.make(BlueprintQuery.model_validate({**query, "image_only": True}), CATALOG)
    assert labelled.labels.structures
    assert labelled.coverage
    assert {c.kind for c in labelled.conflicts} > {"licence"}
    assert (bare.labels.structures, bare.told, bare.coverage, bare.silent) == ({}, {}, (), ())
    assert {c.kind for c in bare.conflicts} == {"licence"}
    assert [c.id for c in bare.selection.taken] == [c.id for c in labelled.selection.taken]
    assert bare.draft.content["labels"] == "image_only"
    assert labelled.draft.content.get("labels") != "image_only"
    with pytest.raises(UsageError, match="reads no labels"):
        blueprint.load(None, {"image_only": True, "structures": ["liver"]})


def test_risks_are_accepted_only_where_the_query_says_so():
    shy, bold = made(sources=["open-i"]), made(sources=["open-i"], accept_risks=["text"])
    assert "policy" not in shy.draft.content
    assert Recipe.model_validate(bold.draft.content).policy.accept == ("text",)
    steps = {m: next(e for e in b.checklist if e.id == "open-i").steps for m, b in (("shy", shy), ("bold", bold))}
    assert any("its cases are refused" in s for s in steps["shy"])
    assert any("the recipe accepts that" in s for s in steps["bold"])
    with pytest.raises(UsageError, match="accept_risks"):
        blueprint.load(None, {"accept_risks": ["names"]})


def test_an_unknown_source_is_told_with_the_nearest():
    with pytest.raises(UsageError, match=r"unknown word 'opn-i'; did you mean 'open-i'"):
        blueprint.load(None, {"sources": ["opn-i"]})


def test_findings_are_those_of_the_manifests():
    found = made(sources=["open-i", "vindr-cxr", "mimic-cxr-jpg"])
    by = told.stated_by(found.told)
    for finding, sets in by.items():
        for dataset in sets:
            assert finding in sources.findings(sources.load(found.told[dataset].source))
    assert set(by["cardiomegaly"]) == {"chexpert", "mimic-cxr-jpg", "nih-chest-x-ray-14", "open-i", "vindr-cxr"}
    assert found.told["open-i"].texts == ("findings", "impression")
    assert found.told["nih-chest-x-ray-14"].states == ("absent", "present")
    assert found.told["chexpert"].states == ("absent", "present", "uncertain", "unknown")
    assert len(found.told["vindr-cxr"].boxes) == 22


def stated(**findings):
    return {d: Told(d, f, (), (), (), origins=("expert",)) for d, f in findings.items()}


def differences(all_told):
    return {(kind, what): parties for kind, what, parties in told.differences(all_told, WORDS)}


def test_each_difference_is_told_where_there_is_one_and_only_there():
    plain = ("absent", "present")
    assert differences(stated(a={"pneumonia": plain}, b={"pneumonia": plain})) == {}
    found = differences(stated(a={"fracture": plain}, b={"rib_fracture": plain}))
    assert found == {("finding", "fracture"): {"fracture": ("a",), "only rib_fracture": ("b",)}}
    # Who states both loses nothing.
    assert differences(stated(a={"fracture": plain}, b={"rib_fracture": plain, "fracture": plain})) == {}
    found = differences(stated(a={"edema": plain}, b={"edema": ("present", "unknown")}))
    assert found == {("unmentioned", "a finding that nobody mentioned"): {"absent": ("a",), "may be unknown": ("b",)}}
    classes = stated(a={"pneumonia": plain}) | {
        "b": Told("b", {}, ("diagnosis",), (), (), ("expert",), ("pneumonia", "normal"))
    }
    assert differences(classes) == {("class", "pneumonia"): {"a finding": ("a",), "a class": ("b",)}}
    makers = stated(a={"edema": plain}) | {"b": Told("b", {"edema": plain}, (), (), (), ("model",))}
    assert differences(makers) == {("maker", "findings"): {"expert": ("a",), "model": ("b",)}}


def test_terms_that_keep_a_corpus_at_home_are_told():
    found = made(sources=["mimic-cxr-jpg", "open-i"])
    kept = {c.what: c.parties for c in found.conflicts if c.kind == "licence"}
    assert kept["may not be handed on: nor may the corpus"][PHYSIONET] == ("mimic-cxr-jpg",)
    limited = kept["non-commercial beside others: the corpus is non-commercial"]
    assert PHYSIONET in limited
    assert "CC-BY-NC-ND-4.0" in limited


def test_what_is_named_twice_is_taken_once():
    """By the rules and by name."""
    chexpert = made(sources=["chexpert"])
    assert [c.id for c in chexpert.selection.taken].count("chexpert") == 1
    assert [c.id for c in chexpert.selection.taken] == [c.id for c in made().selection.taken]
    few = select(BlueprintQuery(sources=("chexpert",), tasks=("tracking",)), Catalog((CATALOG["chexpert"],), (), WORDS))
    assert [c.id for c in few.taken] == ["chexpert"]
