"""The parts of a manifest that say how a corpus is read: sampling plan, sites, and exceptions to its terms."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mdfp import canonical, sampling
from mdfp.errors import UsageError
from mdfp.manifest import Manifest, OriginTerms, Sampling, SamplingCap, SamplingCell, SourceAnatomy, TermsException
from schemas.licenses import UNSTATED
from schemas.recipe import Recipe
from schemas.source import Source
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


def origins_of(source: Source) -> tuple[OriginTerms, ...]:
    """The data sets that a source's samples were taken from, as a manifest lists them."""
    return tuple(
        OriginTerms(o.id, o.title, o.what, o.terms.license or UNSTATED, o.terms.url, o.terms.citation, o.cases)
        for o in source.origins
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
