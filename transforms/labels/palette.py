"""The palette: one integer of the corpus for every structure that any of its sources annotates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mdfp.errors import UsageError
from mdfp.labels import IGNORE
from mdfp.manifest import PaletteEntry, Relation
from schemas import ontology
from schemas.ontology.structures import RELATIONS


def build(structures: Iterable[str], previous: Sequence[PaletteEntry] = ()) -> tuple[PaletteEntry, ...]:
    """Entries for these structures: sorted by id from 1, or appended to a published palette.

    Published entries are handed on as they are, also when no source of the new generation draws them: a value that
    stands in published masks never changes its meaning.

    Args:
        structures: ontology ids, in any order, repeats allowed.
        previous: the palette of the generation before.

    Raises:
        UsageError: an id is not in the ontology, or there are more structures than 16 bits can hold.
    """
    known = ontology.load()
    published = {e.structure for e in previous}
    first = max((e.value for e in previous), default=0) + 1
    entries = list(previous)
    for value, structure in enumerate(sorted(set(structures) - published), start=first):
        s = known[known.check(structure, "palette")]
        entries.append(
            PaletteEntry(
                value=value,
                structure=s.id,
                code=s.snomed_ct,
                meaning=s.meaning,
                side=s.side,
                kind=s.kind,
                is_a=s.is_a,
                part_of=s.part_of,
                located_in=s.located_in,
            )
        )
    if entries and entries[-1].value >= IGNORE["uint16"]:
        raise UsageError(
            f"a palette holds at most {IGNORE['uint16'] - 1} structures, found {len(entries)}; "
            "build several corpora, each from fewer sources"
        )
    return tuple(entries)


def relations(entries: Iterable[PaletteEntry]) -> tuple[Relation, ...]:
    """The ontology's edges around a palette, sorted.

    They span the palette's structures, everything narrower and everything wider, so that a reader can roll up (a lobe
    into a lung that no source drew) and can tell what is merged (a left kidney where kidneys were drawn).
    """
    known = ontology.load()
    around: set[str] = set()
    for entry in entries:
        for structure in (entry.structure, *known.descendants(entry.structure)):
            around.update((structure, *known.ancestors(structure)))
    return tuple(
        Relation(child, relation, parent)
        for child in sorted(around)
        for relation in RELATIONS
        for parent in getattr(known[child], relation)
    )


@dataclass(frozen=True)
class Palette:
    """Look-ups in a palette, and the number type of masks made with it."""

    entries: tuple[PaletteEntry, ...]

    @cached_property
    def _values(self) -> dict[str, int]:
        return {e.structure: e.value for e in self.entries}

    @property
    def structures(self) -> tuple[str, ...]:
        """Ontology ids in the order of their values."""
        return tuple(self._values)

    def value(self, structure: str) -> int:
        """Its integer in the masks.

        Raises:
            KeyError: not in the palette.
        """
        return self._values[structure]

    @property
    def largest(self) -> int:
        """The largest value of a structure; 0 for an empty palette."""
        return max(self._values.values(), default=0)

    @property
    def dtype(self) -> npt.DTypeLike:
        """uint8 while the largest value leaves room for the ignore marker, else uint16."""
        return np.uint8 if self.largest < IGNORE["uint8"] else np.uint16

    @property
    def ignore(self) -> int:
        """What marks voxels that the source makes no statement about; see `mdfp.labels.IGNORE`."""
        return IGNORE[np.dtype(self.dtype).name]
