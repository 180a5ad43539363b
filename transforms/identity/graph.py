"""Which cases belong together, and why: edges of several kinds, and the components that they make."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from schemas.identity import IdentityEdge, ImageMatch, Kind

STAR_ABOVE = 32
"""Of more cases than this that have an image in common each is tied to the first alone, and not to each other."""


@dataclass(frozen=True)
class Node:
    """A case.

    Attributes:
        case_id: its id.
        source: id of its source.
        patient: pseudonym of its patient.
        study: pseudonym of its study, or None.
        images: content hash and name of each of its images that could be read.
    """

    case_id: str
    source: str
    patient: str
    study: str | None = None
    images: tuple[tuple[str, str], ...] = ()

    @property
    def pixels(self) -> tuple[str, ...]:
        """What it shares with a case of equal voxels; empty where nothing is known of them."""
        return tuple(sorted(h for h, _ in self.images))


@dataclass(frozen=True)
class Graph:
    """Cases, why they belong together, and what belongs together.

    Attributes:
        nodes: the cases, by id.
        edges: sorted by kind's strength, then by case ids. Of many equal cases each is tied to the first alone.
    """

    nodes: Mapping[str, Node]
    edges: tuple[IdentityEdge, ...]

    @cached_property
    def component(self) -> dict[str, str]:
        """Name of each case's component: the least of its patients' pseudonyms.

        A component of one patient is named as the patient was before there was a graph, so its draw stays.
        """
        root = components(self.nodes, ((e.case_a, e.case_b) for e in self.edges))
        name: dict[str, str] = {}
        for case_id, top in root.items():
            patient = self.nodes[case_id].patient
            name[top] = min(name.get(top, patient), patient)
        return {case_id: name[top] for case_id, top in root.items()}

    @cached_property
    def of_patient(self) -> dict[str, str]:
        """Component of each patient."""
        return {node.patient: self.component[case_id] for case_id, node in self.nodes.items()}

    @cached_property
    def image(self) -> dict[str, str]:
        """For each case the least of those that are the same picture: equal, or written another way."""
        same = ((e.case_a, e.case_b) for e in self.edges if e.kind in (Kind.EXACT, Kind.NEAR))
        return components(self.nodes, same)

    @cached_property
    def near(self) -> dict[str, frozenset[str]]:
        """For the first of equal cases: the first of those that are the same written another way."""
        tied: dict[str, set[str]] = defaultdict(set)
        for e in self.edges:
            if e.kind == Kind.NEAR:
                tied[e.case_a].add(e.case_b)
                tied[e.case_b].add(e.case_a)
        return {case_id: frozenset(others) for case_id, others in tied.items()}

    @cached_property
    def first_equal(self) -> dict[str, str]:
        """For each case with known voxels the first case that has the same."""
        first: dict[tuple[str, ...], str] = {}
        result = {}
        for case_id in sorted(self.nodes):
            if pixels := self.nodes[case_id].pixels:
                result[case_id] = first.setdefault(pixels, case_id)
        return result


def build(nodes: Iterable[Node], matches: Iterable[ImageMatch], links: Iterable[IdentityEdge] = ()) -> Graph:
    """The graph of these cases. It does not depend on the order in which anything is given.

    Args:
        nodes: the cases; ids are unique.
        matches: pairs of images that are one (`transforms.identity.matching`).
        links: edges of kind link; those that name a case that is not there are left out.
    """
    known = {n.case_id: n for n in sorted(nodes, key=lambda n: n.case_id)}
    edges = _same_voxels(known)
    edges += _alike(known, {(m.hash_a, m.hash_b): m.distance for m in matches})
    edges += _star(known.values(), Kind.STUDY, lambda n: n.study)
    edges += _star(known.values(), Kind.PATIENT, lambda n: n.patient)
    edges += [_edge(e.case_a, e.case_b, e.kind, e.distance, e.evidence)
              for e in links if e.case_a in known and e.case_b in known and e.case_a != e.case_b]  # fmt: skip
    strength = {kind: n for n, kind in enumerate(Kind)}
    ordered = sorted(set(edges), key=lambda e: (strength[e.kind], e.case_a, e.case_b, e.evidence))
    return Graph(known, tuple(ordered))


def components(nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> dict[str, str]:
    """For each node the least node that it is connected with, itself included."""
    parent = {node: node for node in nodes}

    def top(node: str) -> str:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in edges:
        low, high = sorted((top(a), top(b)))
        parent[high] = low
    return {node: top(node) for node in parent}


def _edge(a: str, b: str, kind: Kind, distance: float | None, evidence: str) -> IdentityEdge:
    low, high = sorted((a, b))
    return IdentityEdge(low, high, kind, distance, evidence)


def _same_voxels(nodes: Mapping[str, Node]) -> list[IdentityEdge]:
    """Each case of equal voxels, tied to the first that has them."""
    groups: dict[tuple[str, ...], list[Node]] = defaultdict(list)
    for node in nodes.values():
        if node.pixels:
            groups[node.pixels].append(node)
    return [
        _edge(members[0].case_id, other.case_id, Kind.EXACT, None, ", ".join(name for _, name in other.images))
        for members in groups.values()
        for other in members[1:]
    ]


def _alike(nodes: Mapping[str, Node], distances: Mapping[tuple[str, str], float]) -> list[IdentityEdge]:
    """Cases, the first of each set of equal ones, that have images in common: all of them (near) or some (shared)."""
    firsts: dict[tuple[str, ...], Node] = {}
    for node in nodes.values():
        if node.pixels:
            firsts.setdefault(node.pixels, node)
    holders: dict[str, list[Node]] = defaultdict(list)
    for node in firsts.values():
        for name in dict.fromkeys(node.pixels):
            holders[name].append(node)
    met: dict[tuple[str, str], list[tuple[float, str, str]]] = defaultdict(list)
    for name, nodes_of in holders.items():
        for a, b in _pairs(nodes_of):
            met[a.case_id, b.case_id].append((0.0, name, name))
    for (one, other), distance in distances.items():
        for a, b in itertools.product(holders.get(one, ())[:STAR_ABOVE], holders.get(other, ())[:STAR_ABOVE]):
            if a.case_id < b.case_id:
                met[a.case_id, b.case_id].append((distance, one, other))
            elif b.case_id < a.case_id:
                met[b.case_id, a.case_id].append((distance, other, one))
    return [_tie(nodes[a], nodes[b], found) for (a, b), found in met.items()]


def _pairs(nodes: Sequence[Node]) -> Iterable[tuple[Node, Node]]:
    if len(nodes) > STAR_ABOVE:
        return ((nodes[0], other) for other in nodes[1:])
    return itertools.combinations(nodes, 2)


def _tie(a: Node, b: Node, found: Sequence[tuple[float, str, str]]) -> IdentityEdge:
    """Near when each image of one has a partner of its own in the other, the most alike chosen first; else shared."""
    left_a, left_b = list(a.pixels), list(b.pixels)
    chosen: list[tuple[float, str, str]] = []
    for distance, one, other in sorted(found):
        while one in left_a and other in left_b:
            left_a.remove(one)
            left_b.remove(other)
            chosen.append((distance, one, other))
    kind = Kind.SHARED if left_a or left_b else Kind.NEAR
    names_a, names_b = dict(a.images), dict(b.images)
    evidence = ", ".join(sorted(f"{names_a[one]} = {names_b[other]}" for _, one, other in chosen))
    return _edge(a.case_id, b.case_id, kind, max(d for d, _, _ in chosen), evidence)


def _star(nodes: Iterable[Node], kind: Kind, key) -> list[IdentityEdge]:  # type: ignore[no-untyped-def]
    """Each case tied to the first of equal key."""
    first: dict[str, str] = {}
    edges = []
    for node in nodes:
        name = key(node)
        if name is None:
            continue
        if name in first:
            edges.append(_edge(first[name], node.case_id, kind, None, ""))
        else:
            first[name] = node.case_id
    return edges
