"""What overlap facts say of two sources, the links they make, and what is said of what the graph found."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import sources
from catalog.origins import Facts, all_in_force
from schemas.dataset import Overlap
from schemas.identity import IdentityEdge, IdentityOverlap, Kind
from schemas.source import Source
from transforms.identity.graph import Node, build
from transforms.identity.overlaps import Expected, Named, compare, expected, links_of, remarks
from transforms.pseudonym import PatientKeys, case_id

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")


def source(name, catalog=None):
    return Source.model_validate(
        {
            "id": name,
            "title": name,
            "catalog": catalog or name,
            "patient": {"namespace": name},
            "layout": {"kind": "paired", "images": [{"name": "ct", "modality": "CT", "path": "{case}.nii.gz"}]},
        }
    )


def link(container, part, relation, confidence="high", **more):
    return Overlap(
        family="lung-ct",
        relation=relation,
        container=container,
        part=part,
        confidence=confidence,
        sources=("x",),
        **more,
    )


def told(*links, names=("a", "b")):
    found = expected({n: source(n) for n in names}, Facts(links, {}, {}))
    assert found == expected({n: source(n) for n in names[::-1]}, Facts(links, {}, {}))
    return [(e.source_a, e.source_b, e.relation, e.sure, e.n_shared) for e in found]


@pytest.mark.parametrize("relation", ["subset", "nested-releases", "relabelled", "compilation", "same-cases"])
def test_a_link_between_two_is_what_is_expected_of_them(relation):
    for ends in ("ab", "ba"):
        assert told(link(*ends, relation, n_shared=7)) == [("a", "b", relation, True, 7)]


@pytest.mark.parametrize(
    "fact", [link("a", "b", "subset", "low"), link("a", "b", "shared-sources"), link("a", "b", "none-known")]
)
def test_what_is_doubtful_is_not_sure(fact):
    assert told(fact) == [("a", "b", fact.relation, False, None)]


def test_two_of_which_nothing_is_said_are_not_there():
    assert told(link("a", "c", "subset")) == []
    assert expected({"a": source("a"), "own": source("own").model_copy(update={"catalog": None})}) == []


@pytest.mark.parametrize(
    ("links", "relation", "sure"),
    [
        ([("a", "c", "nested-releases"), ("c", "b", "nested-releases")], "through c", True),
        ([("a", "c", "nested-releases"), ("c", "b", "subset")], "through c", True),
        ([("a", "c", "subset"), ("c", "b", "nested-releases")], "through c", False),
        ([("a", "c", "subset"), ("c", "b", "same-cases")], "through c", True),
        ([("a", "c", "subset"), ("b", "c", "same-cases")], "through c", True),
        ([("a", "c", "subset"), ("b", "c", "subset")], "through c", False),
        ([("a", "c", "nested-releases"), ("b", "c", "images-reused")], "through c", True),
        ([("a", "c", "compilation"), ("b", "d", "nested-releases"), ("d", "c", "nested-releases")], "through c", True),
    ],
)
def test_links_go_through_other_data_sets(links, relation, sure):
    assert told(*(link(*each) for each in links)) == [("a", "b", relation, sure, None)]


def test_releases_of_one_data_set_share_cases():
    both = {n: source(n, "one") for n in ("v1", "v2")}
    assert [(e.relation, e.sure) for e in expected(both, Facts((), {}, {}))] == [("releases of one data set", True)]


def test_the_sources_of_the_tree_that_facts_join_by_name():
    found = expected(all_in_force({i: sources.load(i) for i in sources.ids()}))
    by_name = {(e.source_a, e.source_b): e.found_by for e in found if set(e.found_by) - {"content-hash"}}
    assert by_name == {("kits19", "kits23"): ("case-ids",), ("lidc-idri", "luna16"): ("series-uid",)}
    sure = {(e.source_a, e.source_b): e.n_shared for e in found if e.sure}
    assert sure["lits", "msd-task03-liver"] == 201
    assert sure["lidc-idri", "luna16"] == 888
    assert sure["brats2021", "brats2023-gli"] == 1251
    assert ("brats2021", "msd-task01-braintumour") in sure  # all of BraTS 2017 is in 2021
    assert ("abdomenct-1k", "ct-org") not in sure  # both took scans of LiTS, perhaps others
    assert {(e.source_a, e.source_b) for e in found if e.relation == "none-known"} == {("acdc", "mms")}


UIDS = ["1.3.6.1.4.1.14519.5.2.1.6279.6001.100225287222365663678666836860", "1.2.840.1", "1.2.840.10"]


def test_luna_meets_lidc_by_the_series_uid_and_by_nothing_else():
    pair = Expected("lidc-idri", "luna16", "subset", True, 888, ("series-uid",))
    lidc = [Named(f"lidc-idri-{n}", "lidc-idri", KEYS.uid(uid)) for n, uid in enumerate(UIDS)]
    luna = [
        Named(case_id("luna16", uid, KEYS, public=True), "luna16", None) for uid in (*UIDS[:2], "1.2.840.2", "scan")
    ]
    edges = links_of([pair], [*lidc, *luna], {"lidc-idri": True, "luna16": True}, KEYS)
    assert [(e.case_a, e.case_b) for e in edges] == [("lidc-idri-0", luna[0].case_id), ("lidc-idri-1", luna[1].case_id)]
    assert {(e.kind, e.evidence) for e in edges} == {(Kind.LINK, "subset: equal SeriesInstanceUID")}
    assert links_of([pair], [*lidc, *luna], {}, KEYS) == []  # what is no public name tells nothing
    assert links_of([pair], [*lidc, *luna], {"luna16": True}, PatientKeys(b"another secret of 32 bytes, yes")) == []


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_equal_case_names_are_joined_and_no_others(ours, theirs):
    pair = Expected("kits19", "kits23", "through kits21", True, None, ("case-ids",))
    cases = [Named(f"kits19-case_{n:05}", "kits19", None) for n in ours]
    cases += [Named(f"kits23-case_{n:05}", "kits23", None) for n in theirs]
    edges = links_of([pair], cases, {"kits19": True, "kits23": True}, KEYS)
    assert [(e.case_a[-5:], e.case_b[-5:]) for e in edges] == [(f"{n:05}",) * 2 for n in sorted(ours & theirs)]
    assert (
        links_of([dataclasses.replace(pair, found_by=("content-hash",))], cases, {"kits19": True, "kits23": True}, KEYS)
        == []
    )


def graph(pairs):
    nodes = [Node(f"{s}-{n}", s, f"{s}{n}", None, ()) for s in "ab" for n in range(4)]
    return build(nodes, [], [IdentityEdge(a, b, Kind.LINK, None, "x") for a, b in pairs])


def test_what_was_found_is_counted_in_cases():
    pair = Expected("a", "b", "subset", True, 3)
    (row,) = compare([pair], graph([("a-0", "b-0"), ("a-1", "b-0"), ("a-2", "b-3")]))
    assert row == IdentityOverlap("a", "b", "subset", True, 3, 4, 4, 2, 0)  # b-0 and b-3
    assert compare([Expected("a", "c", "subset", True, 3)], graph([])) == []


def said(relation="subset", sure=True, n_shared=None, pairs=()):
    return list(remarks(compare([Expected("a", "b", relation, sure, n_shared)], graph(pairs))))


def test_finding_nothing_of_what_is_known_is_said():
    (text,) = said(n_shared=131)
    assert text.startswith(
        "a (4 cases) and b (4) share 131 cases, say the overlap facts (subset), and nothing joins any"
    )
    assert said(sure=False) == []
    assert said(relation="none-known", sure=False) == []


def test_finding_fewer_is_said_and_all_that_there_are_is_not():
    two = [("a-0", "b-0"), ("a-1", "b-1")]
    assert said(n_shared=3, pairs=two) == [
        "a (4 cases) and b (4) share 3 cases, say the overlap facts (subset); 2 were found"
    ]
    assert said(n_shared=2, pairs=two) == said(pairs=two) == []
    assert said(n_shared=100, pairs=[*two, ("a-2", "b-2"), ("a-3", "b-3")]) == []


def test_finding_what_the_facts_deny_is_said():
    (text,) = said(relation="none-known", sure=False, pairs=[("a-0", "b-0")])
    assert "1 cases that belong together; the overlap facts know of none" in text
