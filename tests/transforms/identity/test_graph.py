from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdfp.errors import UsageError
from schemas.identity import IdentityEdge, IdentityLink, ImageMatch, Kind
from transforms.identity.graph import STAR_ABOVE, Node, build, components
from transforms.identity.links import Rule, resolve
from transforms.pseudonym import PatientKeys, case_id


def node(case, patient=None, images=(), study=None):
    return Node(case, case.partition("-")[0], patient or f"p-{case}", study, tuple((h, f"image {h}") for h in images))


def kinds(graph):
    return {(e.case_a, e.case_b): e.kind for e in graph.edges}


def test_equal_voxels_are_exact_and_no_other_reason_is_needed():
    graph = build([node("a-1", images=["h"]), node("b-1", images=["h"]), node("c-1", images=["i"])], [])
    assert kinds(graph) == {("a-1", "b-1"): Kind.EXACT}
    assert graph.component["a-1"] == graph.component["b-1"] != graph.component["c-1"]


def test_cases_of_which_nothing_could_be_read_are_not_equal():
    graph = build([node("a-1"), node("b-1")], [])
    assert graph.edges == ()


def test_every_image_must_have_a_partner_to_be_near():
    both, one, other = node("a-1", images=["t1", "t2"]), node("b-1", images=["t1x", "t2x"]), node("c-1", images=["t1y"])
    matches = [ImageMatch("t1", "t1x", 0.01), ImageMatch("t2", "t2x", 0.02), ImageMatch("t1", "t1y", 0.005)]
    graph = build([both, one, other], matches)
    assert kinds(graph) == {("a-1", "b-1"): Kind.NEAR, ("a-1", "c-1"): Kind.SHARED}
    assert graph.edges[0].distance == 0.02
    assert graph.edges[0].evidence == "image t1 = image t1x, image t2 = image t2x"


def test_one_image_cannot_be_the_partner_of_two():
    graph = build([node("a-1", images=["x", "y"]), node("b-1", images=["z", "w"])],
                  [ImageMatch("x", "z", 0.01), ImageMatch("y", "z", 0.01)])  # fmt: skip
    assert kinds(graph) == {("a-1", "b-1"): Kind.SHARED}


def test_equal_images_among_others_are_shared():
    graph = build([node("a-1", images=["x", "y"]), node("b-1", images=["x"])], [])
    assert kinds(graph) == {("a-1", "b-1"): Kind.SHARED}


def test_a_template_in_many_cases_ties_each_to_the_first():
    many = [node(f"a-{n:03}", images=["template", f"own {n}"]) for n in range(STAR_ABOVE + 8)]
    graph = build(many, [])
    assert {e.case_a for e in graph.edges} == {"a-000"}
    assert len(graph.edges) == len(many) - 1


def test_patients_studies_and_links_join():
    nodes = [node("a-1", "p"), node("a-2", "p"), node("b-1", study="s"), node("b-2", study="s"), node("c-1")]
    link = IdentityEdge("b-2", "c-1", Kind.LINK, None, "derived: its page")
    graph = build(nodes, [], [link, IdentityEdge("c-1", "z-9", Kind.LINK, None, "nobody")])
    assert kinds(graph) == {("a-1", "a-2"): Kind.PATIENT, ("b-1", "b-2"): Kind.STUDY, ("b-2", "c-1"): Kind.LINK}
    assert graph.component["b-1"] == graph.component["c-1"]


def test_a_component_of_one_patient_bears_the_patients_name():
    graph = build([node("a-1", "q"), node("a-2", "q")], [])
    assert set(graph.component.values()) == {"q"}
    merged = build([node("a-1", "q", ["h"]), node("b-1", "k", ["h"])], [])
    assert set(merged.component.values()) == {"k"}
    assert merged.of_patient == {"q": "k", "k": "k"}


names = st.integers(0, 12).map(lambda n: f"s-{n:02}")


@given(st.lists(st.tuples(names, names), max_size=30), st.randoms(use_true_random=False))
def test_components_are_an_equivalence_and_do_not_depend_on_the_order(edges, random):
    nodes = [f"s-{n:02}" for n in range(13)]
    found = components(nodes, edges)
    assert all(found[a] == found[b] for a, b in edges)
    assert all(found[found[n]] == found[n] <= n for n in nodes)
    # As many components as there are nodes that no edge joins with a smaller one.
    reached = {n: {n} for n in nodes}
    for _ in nodes:
        for a, b in edges:
            both = reached[a] | reached[b]
            reached |= dict.fromkeys(both, both)
    assert len(set(found.values())) == len({frozenset(r) for r in reached.values()})
    shuffled = [(b, a) for a, b in random.sample(edges, len(edges))]
    assert components(random.sample(nodes, len(nodes)), shuffled) == found


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), min_size=1, max_size=14),
    st.randoms(use_true_random=False),
)
def test_a_graph_does_not_depend_on_the_order_of_anything(rows, random):
    nodes = [node(f"s-{n:02}", f"p{p}", [f"h{h}"]) for n, (p, h) in enumerate(rows)]
    matches = [ImageMatch("h0", "h1", 0.01), ImageMatch("h2", "h3", 0.02)]
    one = build(nodes, matches)
    other = build(random.sample(nodes, len(nodes)), matches[::-1])
    assert one.edges == other.edges
    assert one.component == other.component
    assert one.image == other.image


KEYS = PatientKeys(b"sixteen bytes and more")


def link(case_a, case_b):
    return IdentityLink("a", case_a, "b", case_b, "derived", "a paper")


@pytest.mark.parametrize("public", [True, False])
def test_links_find_cases_by_id_and_by_name_in_the_source(public):
    ids = [case_id("a", "Scan_7", KEYS, public=public), case_id("b", "x/7", KEYS, public=public), "b-other"]
    found = resolve([link("Scan_7", "x/7"), link(ids[0], "b-other"), link("Scan_8", "x/7")], ids, KEYS)
    assert {frozenset((e.case_a, e.case_b)) for e in found.edges} == {
        frozenset(ids[:2]),
        frozenset((ids[0], "b-other")),
    }
    assert {e.evidence for e in found.edges} == {"derived: a paper"}
    assert found.unresolved == (link("Scan_8", "x/7"),)


def test_a_rule_joins_names_by_their_groups():
    rule = Rule("a", r"A_(?P<n>\d+)", "b", r"b-(?P<n>\d+)-t\d", "derived", "a page")
    links = rule.links(["A_1", "A_2", "B_1"], ["b-1-t0", "b-1-t1", "b-3-t0", "other"])
    assert [(row.case_a, row.case_b) for row in links] == [("A_1", "b-1-t0"), ("A_1", "b-1-t1")]


@pytest.mark.parametrize(("a", "b"), [(r"(", r"(?P<n>x)"), (r"x", r"x"), (r"(?P<n>x)", r"(?P<m>x)")])
def test_a_rule_whose_patterns_do_not_go_together_is_refused(a, b):
    with pytest.raises(UsageError, match="link a - b"):
        Rule("a", a, "b", b, "derived", "")
