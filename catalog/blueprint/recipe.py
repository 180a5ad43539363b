"""A recipe for the selected data sets that have a manifest and whose terms the recipe can accept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from catalog.blueprint.labels import Labels, coverage
from catalog.blueprint.manifest import is_labelled, manifest, modalities, shares
from catalog.blueprint.query import BlueprintQuery
from catalog.blueprint.select import Candidate
from catalog.query import NONE
from schemas import licenses
from schemas.recipe import Recipe
from schemas.source import Source
from schemas.vocabulary import Vocabularies

SPACING_MM = (1.5, 1.5, 1.5)
"""x, y, z of drafted recipes of volumes: a start to edit, as in `pipelines init`."""


@dataclass(frozen=True)
class Draft:
    """A recipe to look over and run.

    Attributes:
        content: the recipe; None where no source can be taken.
        sources: data set -> the manifest that the recipe takes.
        refused: data set -> why its manifest is not taken.
        others: data set -> further manifests that read it; the recipe takes one release of a data set.
    """

    content: dict[str, Any] | None
    sources: dict[str, str]
    refused: dict[str, str]
    others: dict[str, tuple[str, ...]]

    def text(self, title: str) -> str:
        """The recipe as YAML.

        Raises:
            ValueError: there is none.
        """
        if self.content is None:
            raise ValueError("no source of this blueprint can go into a recipe")
        body = yaml.safe_dump(self.content, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
        first = (
            "Put the files of each source below its root, or edit it; then: python -m pipelines inventory, plan, run"
        )
        return f"# {title}\n# {first}\n{body}"


def draft(taken: Sequence[Candidate], query: BlueprintQuery, words: Vocabularies) -> Draft:
    """The recipe of a selection.

    A source is taken when its manifest reads a modality that is asked for and states a licence (or the query accepts terms that
    are not known, by `none`): the gate of the plan looks at manifests alone, and a recipe that it refuses would be of no use.
    """
    unknown = query.licenses is not None and NONE in query.licenses
    chosen, refused, others = dict[str, str](), dict[str, str](), dict[str, tuple[str, ...]]()
    for c in taken:
        if not c.manifests:
            continue
        fitting = [i for i in c.manifests if _fits(modalities(manifest(i)), c.modalities)]
        lawful = [i for i in fitting if unknown or None not in _licences(manifest(i))]
        if not fitting:
            refused[c.id] = f"the manifest reads {', '.join(modalities(manifest(c.manifests[0])))} only"
            continue
        if not lawful:
            told = f"; the catalog's row says {c.terms.row}" if c.terms.row else ""
            whose = "" if None in (c.terms.manifests[i] for i in fitting) else " of a data set that its cases come from"
            refused[c.id] = f"the manifest states no licence{whose}{told}"
            continue
        chosen[c.id] = max(lawful, key=lambda i: (len(manifest(i).annotated()), i))
        others[c.id] = tuple(i for i in c.manifests if i != chosen[c.id])
    others = {k: v for k, v in others.items() if v}
    content = _content(tuple(chosen.values()), query, words) if chosen else None
    return Draft(content, chosen, refused, others)


def _licences(source: Source) -> tuple[str | None, ...]:
    """What a source and the data sets that its cases come from state; None for one that states nothing."""
    return (source.terms.license, *(o.terms.license for o in source.origins))


def _fits(read: Sequence[str], asked: Sequence[str]) -> bool:
    """Whether a manifest reads a modality that is asked for; one that names none reads all."""
    return not read or not asked or shares(read, asked)


def _content(chosen: Sequence[str], query: BlueprintQuery, words: Vocabularies) -> dict[str, Any]:
    manifests = [manifest(i) for i in chosen]
    licences = {i for m in manifests for i in _licences(m)}
    stated = {i for i in licences if i}
    space = _space(manifests, query, words)
    content: dict[str, Any] = {
        "corpus": query.name,
        "out": f"out/{query.name}",
        "sources": [{"id": i, "root": f"raw/{i}"} for i in chosen],
        "terms": {"accept": sorted(stated) or [licenses.OWN_DATA]},
        "geometry": {"spacing_mm": "native" if query.dimension in ("2d", "video") else list(SPACING_MM)},
    }
    if query.image_only or not any(is_labelled(m) for m in manifests):
        content["labels"] = "image_only"
    elif space:
        content["labels"] = {"space": list(space)}
    if None in licences:
        content["terms"]["unknown"] = "accept"
    if query.accept_risks:
        content["policy"] = {"accept": list(query.accept_risks)}
    Recipe.model_validate(content)
    return content


def _space(manifests: Sequence[Source], query: BlueprintQuery, words: Vocabularies) -> tuple[str, ...]:
    """The structures asked for that the sources label themselves or in parts; all of theirs where none are asked for."""
    own = {m.id: m.annotated() for m in manifests if m.annotated()}
    if not query.structures:
        return tuple(sorted({s for structures in own.values() for s in structures}))
    asked = query.model_copy(update={"anatomies": ()})
    covered = coverage(Labels(own, ()), asked, words)
    return tuple(c.asked for c in covered if c.status in ("labelled", "narrower"))
