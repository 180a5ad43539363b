"""The parts of a manifest that say how a corpus is read: sampling plan, sites, and exceptions to its terms."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog import datasets
from catalog import origins as catalog_origins
from mdfp import canonical, sampling
from mdfp.errors import UsageError
from mdfp.manifest import (
    Manifest,
    OriginTerms,
    Sampling,
    SamplingCap,
    SamplingCell,
    SourceAnatomy,
    SourceTerms,
    TermsException,
)
from schemas.licenses import UNSTATED
from schemas.recipe import Recipe
from schemas.source import Source
from schemas.terms import DataOrigin
from schemas.views import Sampling as Asked
from transforms.census import Census
from transforms.plan.terms import Compiler

SPLIT = "train"
"""The split that a sampling plan is for; the others are measured on, each sample once."""


def sampling_of(asked: Asked | None, census: Census) -> Sampling | None:
    """The sampling plan in numbers; None where the recipe asks for none or nothing trains.

    Raises:
        UsageError: caps that leave places to nobody.
    """
    if asked is None or not census.cells:
        return None
    present = {source for source, _ in census.cells}
    caps = tuple(
        SamplingCap(source, cap if isinstance(cap, float) else None, None if isinstance(cap, float) else cap)
        for source, cap in sorted(asked.caps.items())
        if source in present
    )
    weights = sampling.weigh(census.cells, asked.exponent, caps)
    cells = tuple(SamplingCell(*cell, census.cells[cell], weights[cell]) for cell in sorted(weights))
    anatomy = tuple(SourceAnatomy(source, word) for source, word in sorted(asked.anatomy.items()))
    return Sampling(SPLIT, asked.by, asked.exponent, caps, cells, anatomy)


def exceptions_of(
    recipe: Recipe, sources: Mapping[str, Source], census: Census, earlier: Sequence[TermsException]
) -> tuple[TermsException, ...]:
    """The samples that the recipe's terms refuse and its overrides let in, by source and licence.

    Args:
        recipe: the terms.
        sources: manifests of its sources.
        census: counts of all samples.
        earlier: exceptions of the parent manifest, which stay for samples that are still there.
    """
    compiler = Compiler(recipe.terms, sources)
    reasons = {o.source: o.reason for o in recipe.terms.override}
    found = []
    for (source, license_id), n in sorted(census.licensed.items()):
        refused = (
            compiler.refusal(source, None if license_id == UNSTATED else license_id) if source in reasons else None
        )
        if refused is not None:
            found.append(
                TermsException(source, license_id, n, refused[1].partition("; find it out")[0], reasons[source])
            )
    named = {(e.source, e.license) for e in found}
    found += [e for e in _counted(earlier, census) if (e.source, e.license) not in named]
    return tuple(sorted(found, key=lambda e: (e.source, e.license)))


def terms_of(source: Source) -> SourceTerms:
    """The terms of a source and its origins, as a manifest lists them."""
    t = source.terms
    facts = _facts(source.catalog)
    origins = tuple(_origin(o) for o in source.origins)
    return SourceTerms(
        source.id,
        source.title,
        t.license or UNSTATED,
        t.url or facts.url,
        t.citation,
        origins,
        facts.creators,
        facts.year,
    )


@dataclass(frozen=True)
class _Facts:
    """What the catalog knows of who made a data set, and when and where it is published."""

    creators: tuple[str, ...] = ()
    year: int | None = None
    url: str | None = None


def _facts(dataset: str | None) -> _Facts:
    row = datasets.load().get(dataset) if dataset is not None else None
    return _Facts() if row is None else _Facts(row.organizations, row.year, next(iter(row.urls), None))


def _origin(origin: DataOrigin) -> OriginTerms:
    """Page and works to cite are the catalog's where the manifest names none; the licence is what the origin has in force."""
    facts, told = _facts(origin.id), catalog_origins.terms_of(origin.id)
    return OriginTerms(
        origin.id,
        origin.title,
        origin.what,
        origin.terms.license or UNSTATED,
        origin.terms.url or told.url or facts.url,
        origin.terms.citation or told.citation,
        origin.cases,
        facts.creators,
        facts.year,
    )


def changed(recipe: Mapping[str, Any], manifest: Manifest) -> bool:
    """Whether a recipe (as plans hold it) asks for other views of the samples than a manifest gives."""
    before = canonical.plain(json.loads(manifest.recipe))
    now = canonical.plain(recipe)
    sections = any(before.get(k) != now.get(k) for k in ("sampling", "sites", "about"))
    keys = ("profile", "override")
    return sections or any(before.get("terms", {}).get(k) != now.get("terms", {}).get(k) for k in keys)


def recounted(manifest: Manifest, recipe: Recipe, census: Census) -> Manifest:
    """A manifest whose sampling plan, sites and exceptions are of the samples that were counted."""
    try:
        plan = sampling_of(recipe.sampling, census)
    except UsageError:
        plan = manifest.sampling  # readers say it; taking back must not wait for a better recipe
    return dataclasses.replace(
        manifest,
        exceptions=_counted(manifest.exceptions, census),
        sampling=plan,
        sites=census.sites.result() if census.sites is not None else None,
    )


def _counted(exceptions: Sequence[TermsException], census: Census) -> tuple[TermsException, ...]:
    counted = [dataclasses.replace(e, samples=census.licensed[e.source, e.license]) for e in exceptions]
    return tuple(e for e in counted if e.samples)
