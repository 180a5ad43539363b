"""The blueprint: selection, groups, label space, conflicts, duplicates, gaps, recipe and checklist of one query."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from catalog import datasets
from catalog.blueprint import checklist, conflicts, duplicates, group, labels, recipe, select, told
from catalog.blueprint.checklist import Entry
from catalog.blueprint.conflicts import Conflict
from catalog.blueprint.duplicates import Component
from catalog.blueprint.group import Group, Total
from catalog.blueprint.labels import Coverage, Labels
from catalog.blueprint.query import BlueprintQuery
from catalog.blueprint.recipe import Draft
from catalog.blueprint.select import NO_ROW, Excluded, Selection
from catalog.blueprint.told import Told
from catalog.datasets import Catalog

SCOPE = ("dimension", "modalities", "tasks", "anatomies")
"""Rules that say what the query is about; what they leave out for certain is counted and not listed."""


@dataclass(frozen=True)
class Blueprint:
    """All that a query leads to.

    Attributes:
        selection: data sets taken, and why the others are not.
        total: what those taken add up to, each counted once.
        groups: by modality, task and anatomy.
        labels: structures that they label; none where labels are not read.
        told: what manifests of pictures state of them: findings, classes, boxes, texts.
        conflicts: what has to be decided.
        duplicates: data sets known to share items.
        coverage: what is labelled of what was asked for.
        silent: anatomies of which that cannot be said.
        draft: the recipe.
        checklist: what is to be done.
    """

    selection: Selection
    total: Total
    groups: tuple[Group, ...]
    labels: Labels
    told: dict[str, Told]
    conflicts: tuple[Conflict, ...]
    duplicates: tuple[Component, ...]
    coverage: tuple[Coverage, ...]
    silent: tuple[str, ...]
    draft: Draft
    checklist: tuple[Entry, ...]

    @property
    def query(self) -> BlueprintQuery:
        """The rules."""
        return self.selection.query

    @property
    def shared(self) -> int:
        """Items known to be counted twice in the total."""
        return sum(c.shared for c in self.duplicates)

    @property
    def named(self) -> tuple[str, ...]:
        """Data sets that no row of the catalog describes."""
        return tuple(c.id for c in self.selection.taken if NO_ROW in c.row.issues)

    def unknown(self) -> tuple[Excluded, ...]:
        """Data sets that only missing facts keep out."""
        return tuple(e for e in self.selection.excluded if e.unknown)

    def near(self) -> tuple[Excluded, ...]:
        """Data sets that the query is about and whose known facts keep them out."""
        return tuple(
            e
            for e in self.selection.excluded
            if not e.unknown and not any(f.rule in SCOPE and not f.unknown for f in e.failures)
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for files and machines."""
        taken = [
            {
                "id": c.id,
                "modalities": list(c.modalities),
                "label": c.row.label,
                "count": dataclasses.asdict(c.count),
                "licenses": list(c.terms.known),
                "manifests": list(c.manifests),
                "raw_bytes": c.size.raw and dataclasses.asdict(c.size.raw),
                "fused_bytes": c.size.fused and dataclasses.asdict(c.size.fused),
                "measured": c.size.measured,
            }
            for c in self.selection.taken
        ]
        return {
            "query": self.query.model_dump(mode="json"),
            "total": dataclasses.asdict(self.total),
            "shared_items": self.shared,
            "datasets": taken,
            "excluded": [dataclasses.asdict(e) | {"unknown": e.unknown} for e in self.near() + self.unknown()],
            "out_of_scope": len(self.selection.excluded) - len(self.near()) - len(self.unknown()),
            "groups": [dataclasses.asdict(g) for g in self.groups],
            "structures": {k: list(v) for k, v in self.labels.labelled_by().items()},
            "structures_unknown": list(self.labels.unknown),
            "matrix": self.labels.matrix(),
            "told": {k: dataclasses.asdict(t) for k, t in self.told.items()},
            "conflicts": [dataclasses.asdict(c) for c in self.conflicts],
            "duplicates": [dataclasses.asdict(c) | {"distinct": c.distinct} for c in self.duplicates],
            "coverage": [dataclasses.asdict(c) for c in self.coverage],
            "coverage_unknown": list(self.silent),
            "recipe": self.draft.content,
            "checklist": [dataclasses.asdict(e) for e in self.checklist],
        }


def make(query: BlueprintQuery, catalog: Catalog | None = None) -> Blueprint:
    """The blueprint of a query over a catalog; None: the one in the tree."""
    catalog = catalog or datasets.load()
    words = catalog.vocabularies
    selection = select.select(query, catalog)
    taken = selection.taken
    found = Labels({}, ()) if query.image_only else labels.labels(taken)
    stated = {} if query.image_only else told.told(taken)
    draft = recipe.draft(taken, query, words)
    return Blueprint(
        selection,
        group.total(taken),
        group.group(taken, query),
        found,
        stated,
        conflicts.conflicts(taken, found, stated, words, query),
        duplicates.components(taken, catalog.overlaps),
        () if query.image_only else labels.coverage(found, query, words),
        () if query.image_only else labels.silent(query, words),
        draft,
        checklist.checklist(taken, draft, query),
    )
