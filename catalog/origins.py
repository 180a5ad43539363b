"""Which data sets a source's cases were taken from: what its manifest says, and what the overlap facts know beyond it.

A fact is a link from a container to a part (`overlaps.jsonl`). Most relations say that images of the part are in the
container, or were made into it; then the part is an origin, and so are the part's own origins. Whether a case has an
origin's terms is said in `schemas.terms`.

    in_force(sources.load("brats2021")).origins     # brats-2020, …, brats-2017, tcga-gbm, …

What a manifest says stands: its `origins:` with their terms and cases, and its `not_origins:` with their reasons. What
is not certain enough to be an origin is a doubt, for people to settle: `doubts`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from catalog import datasets, sources
from schemas.dataset import DataSet, Overlap
from schemas.source import Source
from schemas.terms import DataOrigin, Terms

What = Literal["images", "labels", "both"]

TAKEN_OVER: dict[str, What] = {
    "compilation": "both",
    "cropped-reuse": "images",
    "images-reused": "images",
    "images-reused-with-new-labels-and-ids": "images",
    "nested-releases": "both",
    "relabelled": "images",
    "same-images-other-task": "images",
    "subset": "images",
}
"""Relation -> what the container holds of the part. A relation that is not here hands nothing on: `same-cases` and
`shared-sources` do not say who was first, `duplicate-inside-dataset`, `none-known` and `statistic` are about something else."""

SAME, POOL = "same-cases", "shared-sources"
"""Relations by which the one may be an origin of the other, and that do not say so."""

CERTAIN = frozenset({"high", "medium"})
"""How sure a fact must be to make an origin."""


@dataclass(frozen=True)
class Facts:
    """What is known of all data sets.

    Attributes:
        links: overlap facts.
        rows: data sets of the catalog, by id.
        manifests: manifests that read them, as they are written, by the data set's id.
    """

    links: tuple[Overlap, ...]
    rows: Mapping[str, DataSet]
    manifests: Mapping[str, tuple[Source, ...]]


@cache
def facts() -> Facts:
    """Those of the tree."""
    catalog = datasets.load()
    read = {i: tuple(sources.load(s) for s in names) for i, names in datasets.manifests().items()}
    return Facts(catalog.overlaps, catalog, read)


def in_force(source: Source, known: Facts | None = None) -> Source:
    """A source with all origins that its manifest and the facts know; itself where there are no more.

    A link does not say which cases came from a part, so any may have, and of an origin of some cases the same ones.

    Args:
        source: its manifest; one that names no data set of the catalog has no links.
        known: the facts; None: those of the tree.
    """
    if source.catalog is None and not source.origins:
        return source
    known = known or facts()
    own = {source.id, source.catalog}
    found: dict[str, DataOrigin] = {o.id: o for o in source.origins}
    todo = [(source.catalog or source.id, ()), *((o.id, o.cases) for o in source.origins)]
    told = frozenset(found)
    while todo:
        container, cases = todo.pop(0)
        for part, (title, what) in sorted(_parts(container, known).items()):
            if part in own or part in told or part in source.not_origins:
                continue
            before = found.get(part)
            wider = cases if before is None else _either(before.cases, cases)
            if before is None or wider != before.cases:
                found[part] = DataOrigin(id=part, title=title, what=what, terms=terms_of(part, known), cases=wider)
                todo.append((part, wider))
    more = [found[i] for i in sorted(found) if i not in told]
    return source.model_copy(update={"origins": (*source.origins, *more)}) if more else source


def all_in_force(manifests: Mapping[str, Source]) -> dict[str, Source]:
    """`in_force` for each of several sources."""
    return {i: in_force(s) for i, s in manifests.items()}


def terms_of(dataset: str, known: Facts | None = None) -> Terms:
    """The terms of a data set of the catalog: what the manifests that read it say; else what its row says.

    A row is a survey's word, and a manifest was written by somebody who looked further: one that states no licence
    keeps the row's from counting. Manifests that differ count as none.

    Args:
        dataset: its id; one that is no row states nothing.
        known: the facts; None: those of the tree.
    """
    known = known or facts()
    told = [m.terms for m in known.manifests.get(dataset, ())]
    if told:
        return told[0] if len({t.license for t in told}) == 1 else Terms()
    row = known.rows.get(dataset)
    if row is None:
        return Terms()
    stated = row.license if row.license_status == "stated" else None
    works = (row.paper_url,) if row.paper_url else ()
    return Terms(license=stated, url=row.urls[0] if row.urls else None, citation=works)


def doubts(source: Source, known: Facts | None = None) -> tuple[str, ...]:
    """What nobody has settled of a source's origins and their terms, in words, sorted.

    Args:
        source: with its origins in force.
        known: the facts; None: those of the tree.
    """
    if source.catalog is None:
        return ()
    known = known or facts()
    settled = {o.id for o in source.origins} | set(source.not_origins)
    found = []
    for link in known.links:
        container, part = side(link, "container"), side(link, "part")
        if source.catalog not in (container, part) or container == part:
            continue
        other = part if container == source.catalog else container
        note = f" ({link.note})" if link.note else ""
        if other in settled:
            continue
        if link.relation == SAME:
            says = f"{source.id} holds the same cases as {other}{note}; which of them was first is not said"
            found.append(f"{says}: name it under origins: or not_origins:")
        elif container == source.catalog and link.relation == POOL:
            found.append(f"{source.id} may hold cases of {other}{note}: they draw from one pool")
        elif container == source.catalog and link.relation in TAKEN_OVER and link.confidence not in CERTAIN:
            found.append(f"{source.id} may hold cases of {other}{note}: {link.confidence} confidence, not counted")
    return tuple(sorted({*found, *_unread_licences(source, known)}))


def _unread_licences(source: Source, known: Facts) -> Iterator[str]:
    """Rows of the catalog that state another licence than counts, of the source and its origins."""
    row = known.rows.get(source.catalog or "")
    if row and row.license and source.terms.license and row.license != source.terms.license:
        yield f"{source.id}: its manifest says {source.terms.license}, the catalog's row says {row.license}"
    everything = ((source.catalog or "", source.terms), *((o.id, o.terms) for o in source.origins))
    silent = [known.rows[i] for i, t in everything if not t.license and i in known.rows]
    said = [f"{r.id} {r.license}" for r in silent if r.license]
    if said:
        yield f"{source.id}: no licence counts where rows of the catalog say one: {', '.join(said)}"


def _parts(container: str, known: Facts) -> dict[str, tuple[str, What]]:
    """What a data set holds directly: id -> name, and what of it. `not_origins` of its manifests cut links."""
    told = known.manifests.get(container, ())
    cut = {i for m in told for i in m.not_origins}
    found: dict[str, tuple[str, What]] = {o.id: (o.title, o.what) for m in told for o in m.origins}
    for link in known.links:
        part = side(link, "part")
        if side(link, "container") != container or part == container or part in cut:
            continue
        if link.relation in TAKEN_OVER and link.confidence in CERTAIN:
            row = known.rows.get(part)
            name = row.name if row else link.part_name or part
            found.setdefault(part, (name, TAKEN_OVER[link.relation]))
    return found


def side(link: Overlap, side: Literal["container", "part"]) -> str:
    """The id of a side of a link; a slug of its name where it is no row of the catalog."""
    return getattr(link, side) or slug(getattr(link, f"{side}_name"))


def slug(name: str) -> str:
    """A name in the form of an id: `DAP Atlas` is `dap-atlas`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80]


def _either(a: Iterable[str], b: Iterable[str]) -> tuple[str, ...]:
    """Patterns of the cases that either of two holds of; none stands for all cases."""
    a, b = tuple(a), tuple(b)
    return tuple(dict.fromkeys((*a, *b))) if a and b else ()
