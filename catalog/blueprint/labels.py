"""Which structures the selected data sets label, where they meet, and what nobody labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from catalog.blueprint.manifest import manifest
from catalog.blueprint.query import BlueprintQuery
from catalog.blueprint.select import Candidate
from schemas import ontology
from schemas.vocabulary import Vocabularies


@dataclass(frozen=True)
class Labels:
    """Structures by data set, and the other way round.

    Attributes:
        structures: data set -> structures that it labels, by its row and its manifests; only those of which any is known.
        unknown: labelled data sets whose structures are not known.
    """

    structures: dict[str, tuple[str, ...]]
    unknown: tuple[str, ...]

    def labelled_by(self) -> dict[str, tuple[str, ...]]:
        """Structure -> data sets that label it, the structure that most label first."""
        found: dict[str, list[str]] = {}
        for dataset, structures in self.structures.items():
            for s in structures:
                found.setdefault(s, []).append(dataset)
        return {s: tuple(d) for s, d in sorted(found.items(), key=lambda e: (-len(e[1]), e[0]))}

    def matrix(self) -> dict[str, dict[str, int]]:
        """Data set -> data set -> number of structures that both label; with itself: all that it labels."""
        return {
            a: {b: len(set(sa) & set(sb)) for b, sb in self.structures.items()} for a, sa in self.structures.items()
        }


def labels(candidates: Sequence[Candidate]) -> Labels:
    """Structures of the selected data sets."""
    found = {}
    for c in candidates:
        named = {s for i in c.manifests for s in manifest(i).annotated()}
        if structures := tuple(sorted({*c.row.structures} | named)):
            found[c.id] = structures
    unknown = tuple(c.id for c in candidates if c.id not in found and c.row.label != "unlabeled")
    return Labels(found, unknown)


@dataclass(frozen=True)
class Coverage:
    """Whether something that was asked for is labelled.

    Attributes:
        asked: a structure, or `anatomy: structure`.
        status: labelled; narrower (only parts or kinds of it are); wider (it is inside of what is labelled, and cannot be told
            from it); nothing.
        by: it and narrower structures that are labelled; where it is not, what is labelled instead.
        datasets: data sets that label any of those.
    """

    asked: str
    status: str
    by: tuple[str, ...]
    datasets: tuple[str, ...]


def coverage(found: Labels, query: BlueprintQuery, words: Vocabularies) -> tuple[Coverage, ...]:
    """What is labelled of the structures asked for, and of those that the anatomies asked for are made of.

    An anatomy without structures in the vocabulary is not here: `silent` names it.
    """
    made_of = {a.id: a.structures for a in words.anatomies}
    wanted = [(s, s) for s in query.structures]
    wanted += [(f"{a}: {s}", s) for a in query.anatomies for s in made_of[a]]
    return tuple(_covered(asked, structure, found) for asked, structure in wanted)


def silent(query: BlueprintQuery, words: Vocabularies) -> tuple[str, ...]:
    """Anatomies asked for of which the vocabulary does not say what structures they are made of."""
    made_of = {a.id: a.structures for a in words.anatomies}
    return tuple(a for a in query.anatomies if not made_of[a])


def _covered(asked: str, structure: str, found: Labels) -> Coverage:
    known, by = ontology.load(), found.labelled_by()
    if structure in by:
        terms = (structure, *(s for s in known.descendants(structure) if s in by))
        return Coverage(asked, "labelled", terms, tuple(sorted({d for s in terms for d in by[s]})))
    for status, terms in (("narrower", known.descendants(structure)), ("wider", _wider(structure))):
        if instead := tuple(s for s in terms if s in by):
            return Coverage(asked, status, instead, tuple(sorted({d for s in instead for d in by[s]})))
    return Coverage(asked, "nothing", (), ())


def _wider(structure: str) -> tuple[str, ...]:
    """Wider terms by `is_a` and `part_of`: a label of the organ says nothing of a lesion that lies in it."""
    known, result = ontology.load(), dict[str, None]()
    queue = [structure]
    while queue:
        entry = known[queue.pop(0)]
        for parent in (*entry.is_a, *entry.part_of):
            if parent not in result:
                result[parent] = None
                queue.append(parent)
    return tuple(result)
