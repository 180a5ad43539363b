"""Origins from overlap facts: which data sets a source's cases were taken from, where its manifest does not say so itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.source import Source
from schemas.terms import DataOrigin, Terms

INHERITING = frozenset({
    "compilation", "cropped-reuse", "images-reused", "images-reused-with-new-labels-and-ids", "nested-releases",
    "relabelled", "same-images-other-task", "shared-sources", "subset",
})  # fmt: skip
"""Relations in which the container holds images of the part. `same-cases` does not say which of the two was first."""


@dataclass(frozen=True)
class Link:
    """A fact of the catalog: a part is contained in, or was derived into, a container."""

    container: str
    """Catalog id."""
    part: str
    """Catalog id."""
    relation: str


def linked(source: Source, links: Iterable[Link], titles: Mapping[str, str], terms: Mapping[str, Terms]) -> Source:
    """A source with the origins that links name and its manifest does not: all of them, those of its origins included.

    What a manifest says of an origin stands. A link does not say which cases came from there, so any may have.

    Args:
        source: its manifest; one without a catalog id has no links.
        links: of the catalog.
        titles: names of data sets, by catalog id.
        terms: what they state, by catalog id; one that is not here states none.
    """
    parts: dict[str, set[str]] = {}
    for link in links:
        if link.relation in INHERITING and link.part != link.container:
            parts.setdefault(link.container, set()).add(link.part)
    found: set[str] = set()
    todo = {source.catalog or "", *(o.id for o in source.origins)}
    while todo:
        todo = set().union(*(parts.get(each, set()) for each in todo)) - found
        found |= todo
    found -= {source.catalog or "", source.id, *(o.id for o in source.origins)}
    more = tuple(
        DataOrigin(id=part, title=titles.get(part, part), terms=terms.get(part, Terms())) for part in sorted(found)
    )
    return source.model_copy(update={"origins": (*source.origins, *more)}) if more else source
