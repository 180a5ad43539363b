"""What the identity graph decides: which groups there are, what is a copy of what, and what was published in vain.

Everything here is a function of the graph, of what is published and of the recipe.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from schemas.identity import IdentityRow
from schemas.recipe import HeldOut, Splits
from transforms.identity.graph import Graph
from transforms.plan.duplicates import Duplicate
from transforms.plan.splits import PRECEDENCE, Groupable, Groups

Member = tuple[str, str, str]
"""Case id, patient and split of a published sample."""


@dataclass(frozen=True)
class Known:
    """What is known of which case is which.

    Attributes:
        graph: the cases of the inventory and of the corpus, and those of benchmarks that are known by fingerprints.
        never_train: sources and cases that must never be trained on, from the recipe.
    """

    graph: Graph
    never_train: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decided:
    """What follows from the graph for a plan.

    Attributes:
        groups: for `transforms.plan.splits.place`.
        published: split of each published group: the most protected where there are several.
        vain: published cases that are in a split where their group must not be, and why: to be withdrawn.
    """

    groups: Groups
    published: Mapping[str, str]
    vain: Mapping[str, str] = field(default_factory=dict)


class Labelled(Groupable, Protocol):
    """A case, and how many labels it has."""

    @property
    def label_tables(self) -> Sequence[str]:
        """Tables of its labels, each once."""
        ...


def decide(known: Known, members: Iterable[Member]) -> Decided:
    """Groups, from the components of the graph and what is published.

    Args:
        known: the graph, and what must never be trained on.
        members: the published samples.
    """
    graph = known.graph
    of_group: dict[str, dict[str, str]] = defaultdict(dict)
    for case_id, patient, split in members:
        group = graph.component.get(case_id) or graph.of_patient.get(patient, patient)
        of_group[group][case_id] = split
    published = {g: min(found.values(), key=PRECEDENCE.index) for g, found in of_group.items()}
    benchmarks = _benchmarks(graph, known.never_train)
    torn: dict[str, str] = {}
    vain: dict[str, str] = {}
    for group, found in of_group.items():
        if len(set(found.values())) > 1:
            torn[group] = _torn(found)
            vain |= {c: torn[group] for c, split in found.items() if split != published[group]}
        if group in benchmarks:
            vain |= {c: benchmarks[group] for c, split in found.items() if split != "test"}
    of_case = {c: name for c, name in graph.component.items() if name != graph.nodes[c].patient}
    return Decided(Groups(of_case, torn, benchmarks), published, vain)


def _torn(found: Mapping[str, str]) -> str:
    examples = {
        split: min(c for c, s in found.items() if s == split) for split in PRECEDENCE if split in found.values()
    }
    where = " and ".join(f"{split} ({case_id})" for split, case_id in examples.items())
    return f"what it belongs together with is published in {where}; published splits never move, so it is left out"


def _benchmarks(graph: Graph, never_train: Sequence[str]) -> dict[str, str]:
    """Components that hold a case, or a case of a source, that must never be trained on, and because of which."""
    asked = frozenset(never_train)
    found: dict[str, str] = {}
    for case_id, node in sorted(graph.nodes.items()):
        if node.source in asked or case_id in asked:
            name = node.source if node.source in asked else case_id
            text = f"it belongs together with {case_id}, and splits.never_train names {name}"
            found.setdefault(graph.component[case_id], text)
    return found


def copies(
    graph: Graph,
    candidates: Iterable[Labelled],
    published: Mapping[str, str],
    splits: Splits,
    mode: Literal["drop", "drop_exact", "keep"],
    *,
    image_only: bool = False,
) -> list[Duplicate]:
    """The candidates to leave out, so that no image is built twice under two names.

    Of copies stays: what is published; else what has labels; else what a held-out source or its own source gives the most
    protected split; else what has most labels; else the first by source and case id. All copies are in one component, so
    whichever stays goes where the most protected of them must: labels are kept, and a benchmark's image is not trained on.
    Of re-written copies (near) each is compared with those that stay, so of a chain of slightly different ones more than
    one may stay.

    Args:
        graph: exact and near edges.
        candidates: cases that have a place.
        published: split of each published case, by case id.
        splits: the recipe's.
        mode: `drop_exact` leaves near ones in.
        image_only: nobody's labels are taken, so they decide nothing.
    """
    if mode == "keep":
        return []
    held_out = set(splits.test.sources) if isinstance(splits.test, HeldOut) else set()
    kept: dict[str, str] = {}
    for case_id in sorted(published):
        if (first := graph.first_equal.get(case_id)) is not None:
            kept.setdefault(first, case_id)

    def rank(case: Labelled) -> tuple[bool, int, int, str, str]:
        demand = "test" if case.source in held_out else case.split
        labels = 0 if image_only else len(case.label_tables)
        return not labels, PRECEDENCE.index(demand or "train"), -labels, case.source, case.case_id

    losers = []
    for case in sorted(candidates, key=rank):
        first = graph.first_equal.get(case.case_id)
        if first is None:
            continue
        equal = kept.get(first)
        near = () if mode == "drop_exact" else sorted(graph.near.get(first, ()))
        like = next((kept[n] for n in near if n in kept), None)
        winner = equal or like
        if winner is None:
            kept[first] = case.case_id
        elif winner != case.case_id:
            what = "the same pixels as" if equal else "another way of writing"
            losers.append(Duplicate(case.case_id, winner, f"{what} {winner}, by their fingerprints"))
    return sorted(losers, key=lambda d: d.case_id)


def rows(graph: Graph, decided: Decided, published: Mapping[str, str]) -> list[IdentityRow]:
    """The table of who is who, a row a case, by case id.

    Args:
        graph: all cases.
        decided: what follows from it.
        published: split of each published case, by case id.
    """
    sizes = Counter(graph.component.values())
    return [
        IdentityRow(
            case_id=case_id,
            source=node.source,
            patient=node.patient,
            component=graph.component[case_id],
            cases=sizes[graph.component[case_id]],
            image=graph.image[case_id],
            published=published.get(case_id),
            verdict="drop" if case_id in decided.vain else None,
            detail=decided.vain.get(case_id, ""),
        )
        for case_id, node in sorted(graph.nodes.items())
    ]
