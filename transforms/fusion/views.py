"""What the labelled cases of a source look like: which structures are drawn together.

A source may have several label tables. Two tables of one image that draw a structure in common, or of which one draws
something narrower (`is_a`, `part_of`) than the other, are alternatives: a case has the one or the other (left and right
kidney in some, kidneys in others). Tables that share nothing are drawn beside each other (organs, tumours). So the cases
of a source have one or several *views*, and a source can express what all its views can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from mdfp.fusion import How
from schemas.label_table import LabelTable
from schemas.layouts import DicomLayout, PerStructureLayout
from schemas.ontology.structures import Ontology
from schemas.source import Source
from transforms.labels.states import made_up_of


@dataclass(frozen=True)
class View:
    """What is drawn together in some cases of a source.

    Attributes:
        source: its id.
        drawn: structure -> `ALWAYS`, `WHERE_PRESENT` or `PER_CASE`.
        includes: structure -> what a fact says its mask holds.
        excludes: structure -> what a fact says its mask leaves out.
        origins: structure -> who drew it.
    """

    source: str
    drawn: Mapping[str, How]
    includes: Mapping[str, frozenset[str]]
    excludes: Mapping[str, frozenset[str]]
    origins: Mapping[str, str]

    def told_by(self, structure: str, known: Ontology) -> tuple[str, ...]:
        """The drawn structures from which its voxels can be told: itself, or all that it is made up of; else none."""
        if structure in self.drawn:
            return (structure,)
        parts = [self.told_by(p, known) for p in made_up_of(structure, known)]
        return tuple(s for part in parts for s in part) if all(parts) else ()

    def parent_of(self, structure: str, known: Ontology) -> str | None:
        """The nearest wider structure (`is_a`, `part_of`) that is drawn instead, or one that is said to hold it; or None."""
        holds = (s for s in sorted(self.includes) if structure in self.includes[s])
        return next((w for w in (*tissue_above(structure, known), *holds) if w in self.drawn), None)


def views(source: Source, known: Ontology) -> tuple[View, ...]:
    """The views of a source, none for one without labels.

    Args:
        source: its manifest.
        known: the ontology.
    """
    result: list[View] = []
    files = _tables_of_files(source)
    for tables in _of_images(source):
        alternatives = any(_alternatives(a, b, known) for a, b in combinations(tables.values(), 2))
        groups = [{name: t} for name, t in tables.items()] if alternatives else [tables]
        result += [_view(source.id, group, files) for group in groups if group]
    return tuple(result)


def tissue_above(structure: str, known: Ontology) -> tuple[str, ...]:
    """Everything that a structure is a kind or a part of, nearest first."""
    seen: dict[str, None] = {}
    queue = [*known[structure].is_a, *known[structure].part_of]
    while queue:
        current = queue.pop(0)
        if current not in seen:
            seen[current] = None
            queue += [*known[current].is_a, *known[current].part_of]
    return tuple(seen)


def _of_images(source: Source) -> list[dict[str, LabelTable]]:
    """The tables in use, by the image they are drawn on."""
    layout = source.layout
    if not source.labels:
        return []
    if isinstance(layout, DicomLayout):  # a series is the one image of its case
        used = [("", name) for name in layout.tables()]
    elif files := getattr(layout, "labels", ()):
        used = [(getattr(f, "image", None) or "", f.table) for f in files]
    else:
        used = [("", layout.table)] if hasattr(layout, "table") else []
    images = dict.fromkeys(image for image, _ in used)
    return [{name: source.labels[name] for of, name in used if of == image} for image in images]


def _tables_of_files(source: Source) -> frozenset[str]:
    """The tables of which each structure has a mask file of its own."""
    if isinstance(source.layout, PerStructureLayout):
        return frozenset({source.layout.table})
    return frozenset(f.table for f in getattr(source.layout, "labels", ()) if f.several)


def _alternatives(a: LabelTable, b: LabelTable, known: Ontology) -> bool:
    mine, theirs = set(a.annotated()), set(b.annotated())
    if mine & theirs:
        return True
    return any(theirs & set(tissue_above(s, known)) for s in mine) or any(
        mine & set(tissue_above(s, known)) for s in theirs
    )


def _view(source: str, tables: Mapping[str, LabelTable], files: frozenset[str]) -> View:
    drawn: dict[str, How] = {}
    origins: dict[str, str] = {}
    includes: dict[str, frozenset[str]] = {}
    excludes: dict[str, frozenset[str]] = {}
    for name, table in tables.items():
        for structure in table.annotated():
            drawn[structure] = _how(table, per_file=name in files)
            origins[structure] = str(table.origin)
        for statements, found in ((table.includes, includes), (table.excludes, excludes)):
            for structure, others in statements.items():
                found[structure] = found.get(structure, frozenset()) | frozenset(others)
    return View(source, drawn, includes, excludes, origins)


def _how(table: LabelTable, *, per_file: bool) -> How:
    if table.looked_for == "values_present":
        return How.WHERE_PRESENT
    # Of masks in files of their own those are looked for whose file is there.
    return How.PER_CASE if table.looked_for == "per_case_table" or per_file else How.ALWAYS
