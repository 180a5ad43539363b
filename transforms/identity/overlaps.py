"""What the catalog's overlap facts say of a recipe's sources: links between their cases, and what the graph should find.

A fact is about two data sets, seldom about cases. Where it says how the shared cases are found, and that is by names, it
makes links: equal case names, or an equal SeriesInstanceUID. Everywhere else it is an expectation: LiTS and the Decathlon's
liver are the same scans, so where the graph joins none of them, something was not looked at.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from catalog import origins
from catalog.origins import CERTAIN, POOL, SAME, TAKEN_OVER, Facts
from schemas.dataset import Overlap
from schemas.identity import IdentityEdge, IdentityOverlap, Kind
from schemas.source import Source
from transforms.identity.graph import Graph
from transforms.pseudonym import PatientKeys

WHOLE = frozenset({"nested-releases", SAME})
"""Relations in which the container holds all of the part."""

NONE = "none-known"

_UID = re.compile(r"[0-9]+([.-][0-9]+)+")
"""A UID, or one whose dots became dashes in a case id (`transforms.pseudonym.slug`)."""


@dataclass(frozen=True)
class Expected:
    """What the facts say of two sources.

    Attributes:
        source_a: id of a source of the recipe.
        source_b: id of another, later in the alphabet.
        relation: of the link between them, or `through <data sets>`.
        sure: whether some of their cases are the same; else they may be, or (none-known) are not.
        n_shared: how many, where a link between them says so.
        found_by: how shared cases are found, where all links between them agree: case-ids, series-uid.
    """

    source_a: str
    source_b: str
    relation: str
    sure: bool
    n_shared: int | None = None
    found_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Named:
    """What of a case a link can be found by."""

    case_id: str
    source: str
    series: str | None
    """Pseudonym of the SeriesInstanceUID."""


def expected(sources: Mapping[str, Source], known: Facts | None = None) -> list[Expected]:
    """What the facts say of each two of these sources that they say something of, by their ids.

    Args:
        sources: manifests, by id; one that names no data set of the catalog is passed over.
        known: the facts; None: those of the tree.
    """
    listed = [sources[i] for i in sorted(sources) if sources[i].catalog is not None]
    if len(listed) < 2:
        return []
    known = known or origins.facts()
    links = _holding(known)
    down = {s.catalog or "": _down(s.catalog or "", links) for s in listed}
    told = (_told(a, b, known, down) for a, b in itertools.combinations(listed, 2))
    return [each for each in told if each is not None]


def links_of(
    pairs: Iterable[Expected], cases: Iterable[Named], public: Mapping[str, bool], keys: PatientKeys | None
) -> list[IdentityEdge]:
    """Edges between cases that facts join by name.

    Args:
        pairs: what the facts say.
        cases: all cases.
        public: whether names of a source's cases stand in their ids; those of others are not known here.
        keys: make pseudonyms of UIDs; None: only equal case names are looked for.
    """
    of_source: dict[str, list[Named]] = defaultdict(list)
    for case in cases:
        of_source[case.source].append(case)
    edges: set[IdentityEdge] = set()
    for pair in pairs:
        both = [(s, of_source.get(s, ())) for s in (pair.source_a, pair.source_b)]
        if "case-ids" in pair.found_by and all(public.get(s) for s, _ in both):
            names = [{_name(c): [c] for c in found} for _, found in both]
            edges |= _joined(names[0], names[1], f"{pair.relation}: equal case names")
        if "series-uid" in pair.found_by and keys is not None:
            series = [_by_series(found, keys if public.get(s) else None) for s, found in both]
            edges |= _joined(series[0], series[1], f"{pair.relation}: equal SeriesInstanceUID")
    return sorted(edges, key=lambda e: (e.case_a, e.case_b, e.evidence))


def compare(pairs: Iterable[Expected], graph: Graph) -> list[IdentityOverlap]:
    """What the graph found of what the facts say, a row for each pair of sources that both have cases."""
    components: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    images: dict[str, set[str]] = defaultdict(set)
    cases: dict[str, int] = defaultdict(int)
    for case_id, node in graph.nodes.items():
        components[node.source][graph.component[case_id]] += 1
        images[node.source].add(graph.image[case_id])
        cases[node.source] += 1
    rows = []
    for pair in pairs:
        a, b = pair.source_a, pair.source_b
        if not cases[a] or not cases[b]:
            continue
        both = components[a].keys() & components[b].keys()
        found = min(sum(components[s][c] for c in both) for s in (a, b))
        alike = len(images[a] & images[b])
        row = IdentityOverlap(a, b, pair.relation, pair.sure, pair.n_shared, cases[a], cases[b], found, alike)
        rows.append(row)
    return rows


def remarks(rows: Iterable[IdentityOverlap]) -> Iterator[str]:
    """What differs from what the facts say, for people."""
    for r in rows:
        both = f"{r.source_a} ({r.cases_a} cases) and {r.source_b} ({r.cases_b})"
        most = min(n for n in (r.n_shared, r.cases_a, r.cases_b) if n is not None)
        if r.relation == NONE and r.found:
            yield f"{both} have {r.found} cases that belong together; the overlap facts know of none"
        elif r.sure and not r.found:
            told = f"{r.n_shared} cases" if r.n_shared is not None else "cases"
            yield (
                f"{both} share {told}, say the overlap facts ({r.relation}), and nothing joins any: they may be split apart; "
                "take fingerprints (python -m pipelines fingerprint), or name the cases under identity: links:"
            )
        elif r.sure and r.n_shared is not None and r.found < most:
            yield f"{both} share {r.n_shared} cases, say the overlap facts ({r.relation}); {r.found} were found"


_Ways = Mapping[str, Sequence[Overlap]]
"""What a data set holds, and the links down to it: a shortest way, of the same length the first in the facts."""


def _down(top: str, links: Mapping[str, Sequence[tuple[str, Overlap]]]) -> _Ways:
    """All that a data set holds by links that hand images on, itself by none."""
    ways: dict[str, tuple[Overlap, ...]] = {top: ()}
    todo = [top]
    for at in todo:
        for part, link in links.get(at, ()):
            if part not in ways:
                ways[part] = (*ways[at], link)
                todo.append(part)
    return ways


def _holding(known: Facts) -> dict[str, list[tuple[str, Overlap]]]:
    """Links that hand images on, by container; the same cases hold each other."""
    found: dict[str, list[tuple[str, Overlap]]] = defaultdict(list)
    for link in known.links:
        container, part = origins.side(link, "container"), origins.side(link, "part")
        if container == part or link.confidence not in CERTAIN:
            continue
        if link.relation in TAKEN_OVER or link.relation == SAME:
            found[container].append((part, link))
        if link.relation == SAME:
            found[part].append((container, link))
    return found


def _told(a: Source, b: Source, known: Facts, down: Mapping[str, _Ways]) -> Expected | None:
    """What the facts say of two sources; None: nothing."""
    one, other = a.catalog or "", b.catalog or ""
    if one == other:
        return Expected(a.id, b.id, "releases of one data set", sure=True)
    for link in known.links:
        if {origins.side(link, "container"), origins.side(link, "part")} != {one, other}:
            continue
        sure = link.confidence in CERTAIN and link.relation not in (POOL, NONE)
        return Expected(a.id, b.id, link.relation, sure, link.n_shared, link.found_by)
    for top, bottom in ((one, other), (other, one)):
        if bottom in down[top]:
            path = down[top][bottom]
            at = [top]
            for link in path:
                at.append(_far(link, at[-1]))
            by = set(path[0].found_by).intersection(*(link.found_by for link in path))
            return Expected(a.id, b.id, _through(at[1:-1]), _some(path), None, tuple(sorted(by)))
    return _siblings(a, b, down)


def _siblings(a: Source, b: Source, down: Mapping[str, _Ways]) -> Expected | None:
    """Two that hold cases of a third: sure where the one holds all of it and the other some."""
    ways = down[a.catalog or ""], down[b.catalog or ""]
    common = sorted(ways[0].keys() & ways[1].keys())
    sure = [
        c
        for c in common
        for whole, some in (ways, ways[::-1])
        if all(link.relation in WHOLE for link in whole[c]) and _some(some[c])
    ]
    nearest = min((len(ways[0][c]) + len(ways[1][c]) for c in common), default=0)
    through = sure or [c for c in common if len(ways[0][c]) + len(ways[1][c]) == nearest]
    return Expected(a.id, b.id, _through(through), bool(sure)) if common else None


def _some(path: Sequence[Overlap]) -> bool:
    """Whether the one end surely holds a case of the other: all of what holds some of what is the same as it."""
    partly = [n for n, link in enumerate(path) if link.relation not in WHOLE]
    return not partly or all(link.relation == SAME for link in path[partly[0] + 1 :])


def _far(link: Overlap, near: str) -> str:
    container, part = origins.side(link, "container"), origins.side(link, "part")
    return container if part == near else part


def _through(names: Iterable[str]) -> str:
    return f"through {', '.join(names)}"


def _name(case: Named) -> str:
    return case.case_id.removeprefix(f"{case.source.replace('.', '_')}-")


def _by_series(cases: Iterable[Named], keys: PatientKeys | None) -> dict[str, list[Named]]:
    """Cases by the pseudonym of their series; of files that are named by its UID, from the name."""
    found: dict[str, list[Named]] = defaultdict(list)
    for case in cases:
        if case.series is not None:
            found[case.series].append(case)
        elif keys is not None and _UID.fullmatch(_name(case)):
            found[keys.uid(_name(case).replace("-", "."))].append(case)
    return found


def _joined(
    ours: Mapping[str, Sequence[Named]], theirs: Mapping[str, Sequence[Named]], evidence: str
) -> set[IdentityEdge]:
    edges = set()
    for name in ours.keys() & theirs.keys():
        for a, b in itertools.product(ours[name], theirs[name]):
            low, high = sorted((a.case_id, b.case_id))
            edges.add(IdentityEdge(low, high, Kind.LINK, None, evidence))
    return edges
