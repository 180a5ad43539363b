"""Label spaces by policy, against the definitions worked out by brute force."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mdfp.errors import UsageError
from mdfp.fusion import How
from schemas import ontology
from schemas.recipe import Labels
from schemas.source import Source
from transforms.fusion.report import require_resolved

UNION, COMMON, FINE = ({"policy": p} for p in ("union", "intersection", "coarse-to-fine"))
SIDES = ("kidney_left", "kidney_right")
LOBES = (
    "lung_upper_lobe_left", "lung_lower_lobe_left",
    "lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right",
)  # fmt: skip


def test_union_is_everything_and_intersection_what_all_draw_themselves(made):
    a = made.source("a", made.table("liver", *SIDES))
    b = made.source("b", made.table("liver", "spleen", "kidney"))
    assert made.fused(UNION, a, b).space == ("kidney", *SIDES, "liver", "spleen")
    assert made.fused(COMMON, a, b).space == ("liver",)


def test_coarse_to_fine_sums_up_what_one_source_does_not_divide(made):
    a = made.source("a", made.table("liver", *SIDES))
    b = made.source("b", made.table("liver", "spleen", "kidney"))
    found = made.fused(FINE, a, b)
    assert found.space == ("kidney", "liver")
    into = {e.structure: e.into for e in found.left_out}
    assert into == {"kidney_left": "kidney", "kidney_right": "kidney", "spleen": None}
    assert made.fused(FINE, a, a.model_copy(update={"id": "c"})).space == (*SIDES, "liver")


def test_lobes_make_lungs_and_lungs_make_a_lung(made):
    lobes = made.source("lobes", made.table(*LOBES))
    sides = made.source("sides", made.table("lung_left", "lung_right"))
    both = made.source("both", made.table("lung"))
    assert made.fused(FINE, lobes, sides).space == ("lung_left", "lung_right")
    assert made.fused(FINE, lobes, sides, both).space == ("lung",)
    assert made.fused(FINE, lobes, both).how("lung", "lobes") is How.MADE_UP


def test_parts_that_are_not_all_of_it_are_no_whole(made):
    a = made.source("a", made.table("bone", "liver"))
    b = made.source("b", made.table("vertebra_l1", "vertebra_l2", "liver"))
    assert made.fused(FINE, a, b).space == ("liver",)
    one_side = made.source("c", made.table("kidney_left", "liver"))
    assert made.fused(FINE, one_side, made.source("d", made.table("kidney", "liver"))).space == ("liver",)


def test_a_lesion_that_some_do_not_draw_gives_way_to_its_organ(made):
    a = made.source("a", made.table("liver", "liver_tumour"))
    b = made.source("b", made.table("liver"))
    found = made.fused(FINE, a, b)
    assert found.space == ("liver",)
    assert [(e.structure, e.into) for e in found.left_out] == [("liver_tumour", "liver")]


def test_tables_that_share_something_are_alternatives_others_go_together(made):
    either = made.source("either", made.table("liver", *SIDES), made.table("liver", "kidney"))
    plain = made.source("plain", made.table("liver", *SIDES, "spleen"))
    assert made.fused(FINE, either, plain).space == ("kidney", "liver")
    assert made.fused(FINE, either, plain).how("kidney_left", "either") is How.PER_CASE
    beside = made.source("beside", made.table("liver", *SIDES), made.table("spleen"))
    assert made.fused(FINE, beside, plain).space == (*SIDES, "liver", "spleen")


def test_the_matrix_says_how_each_source_annotates(made):
    found = made.fused(
        UNION,
        made.source("all", made.table("liver", *SIDES)),
        made.source("seen", made.table("liver", looked_for="values_present")),
        made.source("told", made.table("liver", looked_for="per_case_table", case_table="t.csv")),
        made.source("whole", made.table("kidney")),
    )
    assert [found.how("liver", s) for s in ("all", "seen", "told", "whole")] == [
        How.ALWAYS, How.WHERE_PRESENT, How.PER_CASE, None
    ]  # fmt: skip
    assert found.how("kidney", "all") is How.MADE_UP
    assert found.how("kidney_left", "whole") is How.IN_PARENT
    (entry,) = [a for a in found.annotations if (a.structure, a.source) == ("kidney_left", "whole")]
    assert entry.parent == "kidney"


def test_sources_without_labels_have_no_say(made):
    a = made.source("a", made.table("liver", "spleen"))
    found = made.fused(COMMON, a, made.source("bare"))
    assert found.space == ("liver", "spleen")
    assert found.unlabelled == ("bare",)


def test_include_and_exclude(made):
    a = made.source("a", made.table("liver", "spleen"))
    b = made.source("b", made.table("liver", "aorta"))
    assert made.fused({"policy": "intersection", "include": ["aorta"]}, a, b).space == ("aorta", "liver")
    assert made.fused({"policy": "union", "exclude": ["aorta"]}, a, b).space == ("liver", "spleen")
    with pytest.raises(UsageError, match="include: no source draws 'colon'"):
        made.fused({"policy": "union", "include": ["colon"]}, a, b)
    with pytest.raises(UsageError, match="exclude: colon is not in the union"):
        made.fused({"policy": "union", "exclude": ["colon"]}, a, b)


def test_an_empty_space_is_shown_but_not_planned(made):
    found = made.fused(COMMON, made.source("a", made.table("liver")), made.source("b", made.table("spleen")))
    assert found.space == ()
    with pytest.raises(UsageError, match="the intersection of these sources is empty"):
        require_resolved(found)


def test_a_list_stays_as_it_is(made):
    a = made.source("a", made.table("liver", "spleen"))
    found = made.fused(["spleen", "aorta"], a)
    assert (found.policy, found.space) == ("list", ("spleen", "aorta"))
    assert made.fused([], a).space == ("liver", "spleen")


def test_words_of_the_recipe_are_checked():
    with pytest.raises(ValidationError, match="union"):
        Labels.model_validate({"space": {"policy": "unoin"}})
    with pytest.raises(ValidationError, match="both included and excluded: liver"):
        Labels.model_validate({"space": {"policy": "union", "include": ["liver"], "exclude": ["liver"]}})
    assert "resolve" not in Labels(space=("liver",)).model_dump()


POOL = (
    "kidney",
    *SIDES,
    "lung",
    "lung_left",
    "lung_right",
    *LOBES,
    "liver",
    "spleen",
    "kidney_tumour",
    "bone",
    "vertebra_l1",
)
drawn = st.lists(st.lists(st.sampled_from(POOL), min_size=1, max_size=8, unique=True), min_size=1, max_size=4)


def tellable(structures):
    """By definition: what is drawn, and again and again what has both sides, or all lobes."""
    told, wholes = set(structures), {
        "kidney": SIDES, "lung": ("lung_left", "lung_right"),
        "lung_left": LOBES[:2], "lung_right": LOBES[2:],
    }  # fmt: skip
    while more := {w for w, parts in wholes.items() if set(parts) <= told} - told:
        told |= more
    return told, wholes


@given(drawn)
@settings(max_examples=60, deadline=None)
def test_laws_of_the_policies(made, each):
    sources = [made.source(f"s{n}", made.table(*those)) for n, those in enumerate(each)]
    union, common, fine = (set(made.fused(p, *sources).space) for p in (UNION, COMMON, FINE))
    assert union == set().union(*each)
    assert common == set.intersection(*map(set, each))
    told = set.intersection(*(tellable(those)[0] for those in each))
    wholes = tellable([])[1]
    assert fine == {s for s in told if s not in wholes or not set(wholes[s]) <= told}
    # Every class of the finest common space can be told from every source; nothing common is lost but into its parts.
    known = ontology.load()
    for structure in common - fine:
        assert set(known.descendants(structure)) & fine
    # Adding a source never makes the common space larger.
    assert set(made.fused(COMMON, *sources[:1]).space) >= common


def of_layout(made, layout, *tables):
    content = made.source("s", *tables).model_dump(mode="json")
    return Source.model_validate({**content, "layout": layout})


def test_files_segmentations_and_marks_of_a_series_all_count(made):
    layout = {
        "kind": "dicom",
        "path": "{case}/**",
        "labels": [{"table": "t0", "image": "ct", "path": "{case}.nii.gz"}],
        "segmentations": {"table": "t1"},
        "marks": {"format": "lidc", "path": "{case}/*.xml", "table": "t2"},
    }
    names = {"origin": "expert", "looked_for": "all"}
    segments = {**names, "structures": {"spleen": "spleen"}, "looked_for": "values_present"}
    marks = {**names, "structures": {"nodule": "lung_nodule"}}
    found = made.fused(UNION, of_layout(made, layout, made.table("liver"), segments, marks))
    assert {a.structure: a.how for a in found.annotations} == {
        "liver": How.ALWAYS, "lung_nodule": How.ALWAYS, "spleen": How.WHERE_PRESENT
    }  # fmt: skip


def test_masks_of_pictures_count_and_a_file_for_each_structure_is_per_case(made):
    layout = {
        "kind": "folders",
        "image": {"name": "photo", "modality": "OP", "path": "{case}.png"},
        "labels": [{"table": "t0", "path": "masks/{case}_{structure}.png"}],
    }
    masks = {"origin": "expert", "structures": {"l": "liver"}}
    found = made.fused(UNION, of_layout(made, layout, masks))
    assert [(a.structure, a.how) for a in found.annotations] == [("liver", How.PER_CASE)]
