"""Origins in force: of made-up facts, and of every manifest in the tree."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import datasets, origins, sources
from catalog.origins import CERTAIN, SAME, TAKEN_OVER, Facts, doubts, in_force, slug, terms_of
from schemas import licenses
from schemas.dataset import Overlap
from schemas.licenses import UNSTATED
from schemas.source import Source
from schemas.terms import license_of
from schemas.terms_gate import PROFILES
from transforms.plan.terms import objections

ROWS = datasets.load()


def source(id="mine", catalog="mine", **changes):
    return Source.model_validate(
        {
            "id": id,
            "title": id.upper(),
            "catalog": catalog,
            "terms": {"license": "CC-BY-4.0"},
            "patient": {"namespace": id},
            "layout": {"kind": "paired", "images": [{"name": "ct", "modality": "CT", "path": "{case}.nii.gz"}]},
            **changes,
        }
    )


def link(container, part, relation="subset", confidence="high", **more):
    return Overlap(
        family="lung-ct",
        relation=relation,
        container=container,
        part=part,
        confidence=confidence,
        sources=("x",),
        **more,
    )


def known(*links, rows=(), manifests=()):
    by_id = {}
    for m in manifests:
        by_id[m.catalog] = (*by_id.get(m.catalog, ()), m)
    return Facts(links, {i: ROWS[i] for i in rows}, by_id)


def ids(found):
    return [o.id for o in found.origins]


def test_a_re_release_has_the_terms_of_what_it_took():
    found = in_force(source(), known(link("mine", "prostatex"), rows=["prostatex"]))
    assert [(o.id, o.title, o.what) for o in found.origins] == [("prostatex", "PROSTATEx", "images")]
    assert license_of(found.terms, found.origins, "1") == "CC-BY-4.0 AND CC-BY-3.0"


def test_an_origin_that_states_nothing_is_unknown():
    found = in_force(source(), known(link("mine", "lidc-idri"), rows=["lidc-idri"]))
    assert license_of(found.terms, found.origins, "1") == f"CC-BY-4.0 AND {UNSTATED}"


def test_origins_have_origins_and_circles_end():
    links = [link("mine", "a", "relabelled"), link("a", "b", "compilation"), link("b", "mine"), link("b", "a")]
    assert ids(in_force(source(), known(*links))) == ["a", "b"]


@pytest.mark.parametrize("relation", [SAME, "shared-sources", "none-known", "duplicate-inside-dataset", "statistic"])
def test_a_relation_that_hands_nothing_on_makes_no_origin(relation):
    assert in_force(source(), known(link("mine", "a", relation))).origins == ()


def test_every_relation_of_the_vocabulary_is_one_or_the_other():
    words = set(ROWS.vocabularies.words("relations"))
    assert words - set(TAKEN_OVER) == {SAME, "shared-sources", "none-known", "duplicate-inside-dataset", "statistic"}


def test_links_count_downwards_only():
    assert in_force(source(), known(link("a", "mine"))).origins == ()


def test_what_is_not_certain_is_a_doubt():
    told = known(link("mine", "a", confidence="low", note="they say"), link("mine", "b", confidence="medium"))
    found = in_force(source(), told)
    assert ids(found) == ["b"]
    assert doubts(found, told) == ("mine may hold cases of a (they say): low confidence, not counted",)


def test_the_same_cases_are_a_doubt_until_the_manifest_says_who_was_first():
    told = known(link("other", "mine", SAME))
    assert ["which of them was first is not said" in d for d in doubts(source(), told)] == [True]
    assert doubts(source(origins=[{"id": "other", "title": "Other"}]), told) == ()
    assert doubts(source(not_origins={"other": "it came two years later"}), told) == ()


def test_a_manifest_says_otherwise_with_a_reason():
    told = known(link("mine", "a"), link("a", "b"), link("mine", "c"))
    assert ids(in_force(source(not_origins={"a": "drawn anew from other scans"}), told)) == ["c"]
    with pytest.raises(ValueError, match="say in words why a is no origin"):
        source(not_origins={"a": "no"})
    with pytest.raises(ValueError, match=r"both name \['a'\]"):
        source(not_origins={"a": "drawn anew from other scans"}, origins=[{"id": "a", "title": "A"}])


def test_what_the_manifest_says_of_an_origin_stands_and_its_cases_pass_on():
    told = {"id": "a", "title": "A", "cases": ["1.*"], "terms": {"license": "CC-BY-NC-4.0"}}
    found = in_force(source(origins=[told]), known(link("mine", "a"), link("a", "b"), link("b", "c")))
    assert [(o.id, o.cases) for o in found.origins] == [("a", ("1.*",)), ("b", ("1.*",)), ("c", ("1.*",))]
    assert license_of(found.terms, found.origins, "2") == "CC-BY-4.0"
    assert license_of(found.terms, found.origins, "1.2") == f"CC-BY-4.0 AND CC-BY-NC-4.0 AND {UNSTATED}"


def test_an_origin_of_all_cases_by_another_way_is_one_of_all():
    told = {"id": "a", "title": "A", "cases": ["1.*"]}
    found = in_force(source(origins=[told]), known(link("a", "b"), link("mine", "c"), link("c", "b"), link("b", "d")))
    assert {o.id: o.cases for o in found.origins} == {"a": ("1.*",), "b": (), "c": (), "d": ()}


def test_an_origin_without_a_row_counts_by_its_name():
    told = known(Overlap(family="lung-ct", relation="subset", container="mine", part_name="Old (TCIA) Set",
                         confidence="high", sources=("x",)))  # fmt: skip
    found = in_force(source(), told)
    assert [(o.id, o.title, o.terms.license) for o in found.origins] == [("old-tcia-set", "Old (TCIA) Set", None)]


def test_a_manifest_in_the_tree_speaks_before_the_row():
    silent, stated = source("kits", "kits19", terms={}), source("kits-b", "kits19")
    assert terms_of("kits19", known(rows=["kits19"])).license == "CC-BY-NC-SA-4.0"
    assert terms_of("kits19", known(rows=["kits19"], manifests=[silent])).license is None
    assert terms_of("kits19", known(rows=["kits19"], manifests=[stated])).license == "CC-BY-4.0"
    assert terms_of("kits19", known(rows=["kits19"], manifests=[silent, stated])).license is None


@given(st.lists(st.tuples(*[st.sampled_from(["mine", "a", "b", "c", "d"])] * 2), max_size=8), st.booleans())
def test_in_force_is_the_closure_and_final(pairs, some):
    facts = known(*(link(a, b) for a, b in dict.fromkeys(pairs)))
    mine = source(origins=[{"id": "a", "title": "A", "cases": ["1"]}] if some else [])
    found = in_force(mine, facts)
    reached = {"mine", "a"} if some else {"mine"}
    for _ in pairs:
        reached |= {b for a, b in pairs if a in reached}
    assert set(ids(found)) == reached - {"mine"}
    assert in_force(found, facts) == found
    assert in_force(mine, known(*(link(a, b) for a, b in reversed(list(dict.fromkeys(pairs)))))) == found


MANIFESTS = {i: in_force(sources.load(i)) for i in sources.ids()}


@pytest.mark.parametrize("source_id", sources.ids())
def test_no_origin_that_the_facts_know_is_missing(source_id):
    found = MANIFESTS[source_id]
    settled = {*ids(found), *found.not_origins}
    for o in ROWS.overlaps:
        part = o.part or slug(o.part_name)
        if o.container == o.part:
            continue
        held = o.container is not None and (o.container == found.catalog or o.container in ids(found))
        if held and o.relation in TAKEN_OVER and o.confidence in CERTAIN and part != found.catalog:
            assert part in settled, (source_id, o)
        if o.relation == SAME and found.catalog and found.catalog in (o.container, o.part):
            other = part if o.container == found.catalog else o.container
            assert other in settled, (source_id, o)


def test_the_origins_in_force_are_these():
    fewer = {i: sorted(set(ids(m)) - set(ids(sources.load(i)))) for i, m in MANIFESTS.items()}
    brats = ["brats-2017", "brats-2018", "brats-2019", "brats-2020"]
    glioma = [
        "acrin-fmiso-brain-acrin-6684",
        "cptac-gbm",
        "ivy-glioblastoma-atlas-project-ivygap",
        "tcga-gbm",
        "tcga-lgg",
    ]
    atlas = ["3d-ircadb", "abdomenct-12organ", "autopet", "flare22", "msd", "msd07-pancreas", "msd09-spleen",
             "tcia-collections", "totalsegmentator"]  # fmt: skip
    assert {i: found for i, found in fewer.items() if found} == {
        "abdomenatlas-1.0-mini": atlas,
        "abdomenatlas-1.1-mini": atlas,
        "abdomenct-1k": ["3d-ircadb"],
        "brats2021": sorted([*brats, *glioma]),
        "brats2023-gli": sorted([*brats, *glioma]),
        "ct-org": ["3d-ircadb"],
        "feta": ["feta-2021"],
        "flare22": ["msd07-pancreas"],
        "kits23": ["kits21"],
        "msd-task01-braintumour": ["brats-2017"],
        "msd-task06-lung": ["nsclc-radiogenomics"],
        "verse": ["verse19"],
    }


def test_what_nobody_has_settled_in_the_tree_is_this():
    told = {d for m in MANIFESTS.values() for d in doubts(m)}
    differ = {d for d in told if "its manifest says" in d}
    assert {d.partition(":")[0] for d in differ} == {
        "abdomenatlas-1.0-mini", "abdomenatlas-1.1-mini", "cptac-luad", "nih-chest-xray14",
    }  # fmt: skip
    # Licences that a survey states and that whoever wrote the manifest could not confirm.
    assert {(d.partition(":")[0], d.rpartition(": ")[2]) for d in told - differ} == {
        *((f"abdomenatlas-1.{n}-mini", "lits CC-BY-NC-SA-4.0, kits19 CC-BY-NC-SA-4.0") for n in (0, 1)),
        ("abdomenct-1k", "lits CC-BY-NC-SA-4.0, kits19 CC-BY-NC-SA-4.0"),
        ("ct-org", "lits CC-BY-NC-SA-4.0"),
        ("feta", "feta-2022 CC-BY-4.0"),
        ("kits19", "kits19 CC-BY-NC-SA-4.0"),
        ("kits23", "kits19 CC-BY-NC-SA-4.0"),
        ("lits", "lits CC-BY-NC-SA-4.0"),
        ("msd-task03-liver", "lits CC-BY-NC-SA-4.0"),
    }


def test_where_a_manifest_and_its_row_differ_the_stricter_holds():
    differ = 0
    for found in MANIFESTS.values():
        row = ROWS.get(found.catalog or "")
        if row is None or row.license is None or found.terms.license in (None, row.license):
            continue
        differ += 1
        for profile in PROFILES:
            refused = objections([row.license], profile, licenses.table())
            assert not refused or objections([found.terms.license], profile, licenses.table()), found.id
    assert differ == 4


def test_one_volume_of_lits_is_of_3d_ircadb_and_the_next_is_not():
    for source_id, name in itertools.product(("lits", "msd-task03-liver"), ("27", "28", "48", "49")):
        found = MANIFESTS[source_id]
        held = license_of(found.terms, found.origins, name if source_id == "lits" else f"liver_{name}")
        assert ("CC-BY-NC-ND-2.0" in (held or "")) == (name in ("28", "48")), (source_id, name)


def test_what_the_catalog_does_not_list_is_left_alone():
    for source_id in ("spider", "atlas-v2", "acdc"):
        assert MANIFESTS[source_id] == sources.load(source_id)
    assert origins.all_in_force({"spider": sources.load("spider")})["spider"].origins == ()
