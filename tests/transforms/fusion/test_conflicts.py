"""Conflicts come from the tables alone; each is named, judged by the stated rule, and resolved by the recipe's word."""

from __future__ import annotations

import pytest

from catalog import sources
from mdfp.errors import UsageError
from mdfp.fusion import Alternatives, How, Severity, Stand
from schemas.label_table import LabelTable
from transforms.fusion.report import open_errors, require_resolved

UNION = {"policy": "union"}


@pytest.fixture
def tumour(made):
    """Liver: told from its tumour, not said, and two facts."""
    return {
        "told": made.source("told", made.table("liver", "liver_tumour")),
        "silent": made.source("silent", made.table("liver")),
        "holds": made.source("holds", made.table("liver", includes={"liver": ["liver_tumour"]})),
        "leaves": made.source("leaves", made.table("liver", excludes={"liver": ["liver_tumour"]})),
    }


def only(fusion):
    (conflict,) = fusion.conflicts
    return conflict


def stands(conflict):
    return {s.source: s.stand for s in conflict.standing}


def test_liver_with_and_without_its_tumour(made, tumour):
    found = only(made.fused(["liver"], tumour["told"], tumour["silent"]))
    assert (found.id, found.kind, found.severity) == ("liver+liver_tumour", "contents", Severity.WARNING)
    assert stands(found) == {"told": Stand.TOLD, "silent": Stand.UNSTATED}
    assert found.proposal == "roll_up"


def test_what_a_mask_is_said_to_hold_stands_in_a_parent(made, tumour):
    found = made.fused(["liver"], tumour["told"], tumour["holds"], tumour["silent"])
    assert [found.how("liver_tumour", s) for s in ("told", "holds", "silent")] == [How.ALWAYS, How.IN_PARENT, None]


@pytest.mark.parametrize(
    ("names", "space", "severity"),
    [
        (("told", "holds"), ["liver"], Severity.SETTLED),  # the same liver in both
        (("told", "holds"), ["liver", "liver_tumour"], Severity.WARNING),  # ignored in one
        (("told", "silent"), ["liver"], Severity.WARNING),
        (("told", "leaves"), ["liver"], Severity.ERROR),
        (("holds", "leaves"), ["liver"], Severity.ERROR),
        (("told", "leaves"), ["liver", "liver_tumour"], Severity.WARNING),
        (("silent", "leaves"), ["liver"], Severity.WARNING),
        (("told", "leaves"), ["spleen"], Severity.SETTLED),  # nothing of it was asked for
    ],
)
def test_the_rule(made, tumour, names, space, severity):
    others = [made.source("x", made.table("spleen"))]
    found = only(made.fused(space, *(tumour[n] for n in names), *others))
    assert found.severity is severity


def test_sources_that_mean_the_same_do_not_conflict(made, tumour):
    assert not made.fused(["liver"], tumour["told"], made.source("t2", made.table("liver", "liver_tumour"))).conflicts
    assert not made.fused(["liver"], tumour["silent"], made.source("s2", made.table("liver"))).conflicts
    assert not made.fused(["liver"], tumour["silent"], made.source("x", made.table("spleen"))).conflicts


def test_what_is_silently_different_stops_the_plan_until_it_is_decided(made, tumour):
    pair = tumour["told"], tumour["leaves"]
    with pytest.raises(UsageError, match=r"liver\+liver_tumour: keep"):
        require_resolved(made.fused(["liver"], *pair))
    decided = made.fused(["liver"], *pair, resolve={"liver+liver_tumour": "keep"})
    require_resolved(decided)
    assert only(decided).resolution == "keep"
    with pytest.raises(UsageError, match="roll_up is not possible"):
        made.fused(["liver"], *pair, resolve={"liver+liver_tumour": "roll_up"})


def test_roll_up_ignore_keep_and_drop(made):
    a = made.source("a", made.table("kidney_left", "kidney_right", "liver"))
    b = made.source("b", made.table("kidney", "liver"))

    def space(choice):
        return made.fused(UNION, a, b, resolve={"kidney": choice} if choice else {})

    every = ("kidney", "kidney_left", "kidney_right", "liver")
    assert (space(None).space, only(space(None)).severity) == (every, Severity.WARNING)
    assert space("roll_up").space == ("kidney", "liver")
    assert space("drop").space == ("liver",)
    assert (space("ignore").space, space("ignore").keep) == (every, ())
    assert space("keep").keep == (Alternatives("kidney", "kidney_left"), Alternatives("kidney", "kidney_right"))
    for choice in ("roll_up", "drop", "ignore", "keep"):
        assert only(space(choice)).severity is Severity.SETTLED


def test_a_recipes_own_list_is_not_cut_down(made):
    a = made.source("a", made.table("kidney_left", "kidney_right"))
    b = made.source("b", made.table("kidney"))
    found = only(made.fused(["kidney_left", "kidney_right"], a, b))
    assert (found.offers, found.severity) == (("ignore",), Severity.WARNING)
    with pytest.raises(UsageError, match="roll_up is not possible"):
        made.fused(["kidney_left", "kidney_right"], a, b, resolve={"kidney": "roll_up"})
    assert only(made.fused(["kidney"], a, b)).severity is Severity.SETTLED


def test_a_parent_that_one_paints_and_a_child_that_another_does(made):
    found = made.fused(
        UNION, made.source("a", made.table("bone")), made.source("b", made.table("vertebra_l1", "rib_1"))
    )
    assert (only(found).id, only(found).kind, only(found).narrower) == ("bone", "part", ("rib_1", "vertebra_l1"))
    assert stands(only(found)) == {"a": Stand.WIDER, "b": Stand.NARROWER}
    assert only(found).proposal == "ignore"  # two bones are not all of them


def test_airways_beside_the_lungs_are_a_conflict_where_facts_say_so(made):
    told = made.source("told", made.table("lung_left", "trachea", excludes={"lung_left": ["trachea"]}))
    holds = made.source("holds", made.table("lung_left", includes={"lung_left": ["trachea"]}))
    found = made.fused(["lung_left"], told, holds)
    assert [c.id for c in open_errors(found)] == ["lung_left+trachea"]
    assert only(found).offers == ("keep",)
    silent = made.source("silent", made.table("lung_left"))
    assert only(made.fused(["lung_left"], told, silent)).severity is Severity.WARNING


def test_the_catalog_says_what_facts_say():
    assert sources.load("kits23").labels["kidney"].includes == {"kidney": ("kidney_tumour", "kidney_cyst")}
    assert sources.load("luna16").labels["lungs"].excludes == {"lung_left": ("trachea",), "lung_right": ("trachea",)}


def test_conflicts_of_real_sources(made):
    real = [sources.load(i) for i in ("kits23", "btcv", "lits", "ct-org")]
    found = {c.id: c for c in made.fused(UNION, *real).conflicts}
    assert set(found) == {"kidney", "kidney+kidney_cyst", "kidney+kidney_tumour", "liver+liver_tumour"}
    assert stands(found["kidney"]) == {
        "kits23": Stand.WIDER, "btcv": Stand.NARROWER, "ct-org": Stand.WIDER
    }  # fmt: skip
    assert stands(found["liver+liver_tumour"])["lits"] is Stand.TOLD


def test_words_that_fit_nothing_are_refused(made, tumour):
    with pytest.raises(UsageError, match=r"'liver\+tumour' is no conflict of these sources; did you mean"):
        made.fused(["liver"], tumour["told"], tumour["silent"], resolve={"liver+tumour": "keep"})
    with pytest.raises(ValueError, match="speaks of 'spleen'"):
        LabelTable.model_validate(made.table("liver", includes={"spleen": ["liver"]}))
    with pytest.raises(ValueError, match="both includes and excludes liver_tumour"):
        LabelTable.model_validate(
            made.table("liver", includes={"liver": ["liver_tumour"]}, excludes={"liver": ["liver_tumour"]})
        )
    assert "includes" not in LabelTable.model_validate(made.table("liver")).model_dump()
