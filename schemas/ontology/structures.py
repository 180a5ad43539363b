"""Anatomical structures, lesions and devices: ids, SNOMED CT codes, sides and relations.

`structures.csv` holds a row each. Three relations, each from the narrower to the wider term:

* `is_a`: a left kidney is a kidney;
* `part_of`: an upper lobe is part of a lung;
* `located_in`: a liver tumour lies in the liver (its voxels belong to the organ as a region, not as tissue).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from mdfp.errors import UsageError
from schemas.suggest import nearest

BACKGROUND = "background"
"""What a label table maps a value to when it is none of the structures."""

RELATIONS = ("is_a", "part_of", "located_in")


@dataclass(frozen=True)
class Structure:
    """One entry of the ontology."""

    id: str
    kind: str
    side: str | None
    snomed_ct: str | None
    meaning: str | None
    is_a: tuple[str, ...]
    part_of: tuple[str, ...]
    located_in: tuple[str, ...]
    synonyms: tuple[str, ...]

    @property
    def parents(self) -> tuple[str, ...]:
        """Wider terms, nearest relation first: is_a, then part_of, then located_in."""
        return self.is_a + self.part_of + self.located_in


class Ontology(Mapping[str, Structure]):
    """Structures by id, with their relations followed."""

    def __init__(self, structures: Iterable[Structure]):
        self._by_id = {s.id: s for s in structures}
        for s in self._by_id.values():
            for parent in s.parents:
                if parent not in self._by_id:
                    raise ValueError(f"ontology: {s.id} names the unknown parent {parent!r}")

    def __getitem__(self, structure: str) -> Structure:
        return self._by_id[structure]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    @cached_property
    def _children(self) -> dict[str, tuple[str, ...]]:
        children: dict[str, list[str]] = {}
        for s in self._by_id.values():
            for parent in s.parents:
                children.setdefault(parent, []).append(s.id)
        return {k: tuple(v) for k, v in children.items()}

    def ancestors(self, structure: str) -> tuple[str, ...]:
        """All wider terms, nearest first; the structure itself is not among them."""
        return self._walk(structure, lambda s: self._by_id[s].parents)

    def descendants(self, structure: str) -> tuple[str, ...]:
        """All narrower terms, nearest first; the structure itself is not among them."""
        return self._walk(structure, lambda s: self._children.get(s, ()))

    def _walk(self, start: str, step: Callable[[str], tuple[str, ...]]) -> tuple[str, ...]:
        seen: dict[str, None] = {}
        queue = list(step(start))
        while queue:
            current = queue.pop(0)
            if current not in seen:
                seen[current] = None
                queue.extend(step(current))
        return tuple(seen)

    def check(self, structure: str, where: str) -> str:
        """`structure` when it is known.

        Raises:
            UsageError: unknown; the message names the nearest ids.
        """
        if structure not in self._by_id:
            raise UsageError(f"{where}: unknown structure {structure!r}{nearest(structure, self._names)}")
        return structure

    @cached_property
    def _names(self) -> dict[str, str]:
        names = {i: i for i in self._by_id}
        for s in self._by_id.values():
            for synonym in s.synonyms:
                names.setdefault(synonym, s.id)
        return names


@cache
def load() -> Ontology:
    """The ontology in the tree."""
    with (Path(__file__).parent / "structures.csv").open(newline="", encoding="utf-8") as file:
        return Ontology(
            Structure(
                id=row["id"],
                kind=row["kind"],
                side=row["side"] or None,
                snomed_ct=row["snomed_ct"] or None,
                meaning=row["meaning"] or None,
                is_a=tuple(row["is_a"].split()),
                part_of=tuple(row["part_of"].split()),
                located_in=tuple(row["located_in"].split()),
                synonyms=tuple(s for s in row["synonyms"].split("|") if s),
            )
            for row in csv.DictReader(file)
        )
