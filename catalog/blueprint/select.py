"""Which data sets a query takes, and for every other one why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from catalog import datasets
from catalog.blueprint import count, estimate, terms
from catalog.blueprint.count import Count
from catalog.blueprint.estimate import Size
from catalog.blueprint.manifest import is_labelled, manifest, modalities, shares
from catalog.blueprint.query import BlueprintQuery
from catalog.blueprint.rules import RULES, Failure, Rule
from catalog.blueprint.terms import Terms
from catalog.datasets import Catalog
from schemas.dataset import DataSet
from schemas.source import Source

LABELED_FIRST = {"labeled": 0, "mixed": 1, "unlabeled": 2}


@dataclass(frozen=True)
class Candidate:
    """A data set with what the rules look at.

    Attributes:
        row: its facts; of a manifest that no row describes, what the manifest says.
        terms: its licences.
        manifests: ids of the manifests that read it.
        modalities: those of its modalities that are asked for; all where none are.
        count: its items of the kind asked for.
        size: what they take.
    """

    row: DataSet
    terms: Terms
    manifests: tuple[str, ...]
    modalities: tuple[str, ...]
    count: Count
    size: Size

    @property
    def id(self) -> str:
        """Id of the row."""
        return self.row.id


@dataclass(frozen=True)
class Excluded:
    """A data set that is left out, with every rule that it fails."""

    id: str
    failures: tuple[Failure, ...]

    @property
    def unknown(self) -> bool:
        """Whether only facts that are missing keep it out."""
        return all(f.unknown for f in self.failures)


@dataclass(frozen=True)
class Selection:
    """What was taken, in order, and what was not, by id."""

    query: BlueprintQuery
    taken: tuple[Candidate, ...]
    excluded: tuple[Excluded, ...]


def select(query: BlueprintQuery, catalog: Catalog, rules: Mapping[str, Rule] = RULES) -> Selection:
    """Apply a query: first the rules on each data set, then the minimums of a modality, then the storage budget.

    What the budget leaves out may bring a modality below its minimum; then the modality goes too. Nothing comes back in.
    """
    taken, excluded = [], []
    for row in catalog.datasets:
        candidate = of(row, query)
        failures = tuple(f for r in rules.values() if (f := r(row, candidate.terms, query)))
        if failures:
            excluded.append(Excluded(row.id, failures))
        else:
            taken.append(candidate)
    by_name, refused = _by_name(query, catalog)
    named = {c.id for c in by_name}
    taken = [c for c in taken if c.id not in named] + by_name
    excluded = [e for e in excluded if e.id not in named and e.id not in {r.id for r in refused}] + refused
    taken.sort(key=lambda c: (LABELED_FIRST[c.row.label] if query.prefer_labeled else 0, c.id))
    for step in (_enough, _within_budget, _enough):
        taken, left = step(taken, query)
        excluded += left
    return Selection(query, tuple(taken), tuple(sorted(excluded, key=lambda e: e.id)))


NAMED = ("modalities", "licenses")
"""Rules that hold for manifests that a query names, too."""

NO_ROW = "not_in_catalog"
"""Doubt of a candidate that no row of the catalog describes."""


def _by_name(query: BlueprintQuery, catalog: Catalog) -> tuple[list[Candidate], list[Excluded]]:
    """The data sets of the manifests that a query names, and those that its licences or modalities refuse."""
    rows = {d.id: d for d in catalog.datasets}
    taken: dict[str, Candidate] = {}
    refused: dict[str, Excluded] = {}
    for source in query.sources:
        found = rows.get(manifest(source).catalog or "") or _row(manifest(source))
        candidate = of(found, query, None if found.id in rows else (source,))
        if candidate.row.modalities and query.modalities and not candidate.modalities:
            failures: tuple[Failure, ...] = (
                Failure("modalities", f"expected {' or '.join(query.modalities)}, found {', '.join(found.modalities)}"),
            )
        else:
            failures = tuple(f for n in NAMED[1:] if (f := RULES[n](found, candidate.terms, query)))
        if failures:
            refused[found.id] = Excluded(found.id, failures)
        else:
            taken[found.id] = candidate
    return list(taken.values()), list(refused.values())


def _row(source: Source) -> DataSet:
    """What a manifest says of a data set that the catalog does not list."""
    flat = source.layout.kind in ("table", "folders")
    return DataSet(
        id=source.id,
        name=source.title,
        dimensions=("2d",) if flat else () if source.layout.kind == "dicom" else ("3d",),
        modalities=modalities(source),
        label="labeled" if is_labelled(source) else "unlabeled",
        access="unknown",
        access_basis="",
        license_status="stated" if source.terms.license else "unknown",
        urls=(source.terms.url,) if source.terms.url else (),
        issues=(NO_ROW,),
    )


def of(row: DataSet, query: BlueprintQuery, manifests: tuple[str, ...] | None = None) -> Candidate:
    """What the rules look at.

    Args:
        row: the facts.
        query: what is asked.
        manifests: ids of manifests that read it; None: those that name the row.
    """
    if manifests is None:
        manifests = datasets.manifests().get(row.id, ())
    asked = tuple(m for m in row.modalities if not query.modalities or shares((m,), query.modalities))
    items = count.of(row, query)
    return Candidate(row, terms.of(row, manifests), manifests, asked, items, estimate.size(row, items, asked))


def organizations(candidates: Iterable[Candidate]) -> set[str]:
    """Names of who made them, in small letters; a data set that states none adds none."""
    return {o.strip().casefold() for c in candidates for o in c.row.organizations if o.strip()}


def _enough(taken: list[Candidate], query: BlueprintQuery) -> tuple[list[Candidate], list[Excluded]]:
    """Leave out data sets of which no modality has enough data sets and organisations."""
    least_sets, least_organizations = query.minimum_datasets_per_modality, query.minimum_organizations_per_modality
    if least_sets is None and least_organizations is None:
        return taken, []
    lacking: dict[str, Failure] = {}
    for modality in {m for c in taken for m in c.modalities}:
        having = [c for c in taken if modality in c.modalities]
        makers = len(organizations(having))
        if least_sets is not None and len(having) < least_sets:
            reason = f"{modality}: expected {least_sets} data sets or more, found {len(having)}"
            lacking[modality] = Failure("minimum_datasets_per_modality", reason)
        elif least_organizations is not None and makers < least_organizations:
            reason = f"{modality}: expected {least_organizations} organisations or more, found {makers}"
            anonymous = any(not c.row.organizations for c in having)
            lacking[modality] = Failure("minimum_organizations_per_modality", reason, unknown=anonymous)
    kept = [c for c in taken if not c.modalities or set(c.modalities) - lacking.keys()]
    gone = [Excluded(c.id, tuple(lacking[m] for m in c.modalities)) for c in taken if c not in kept]
    return kept, gone


def _within_budget(taken: list[Candidate], query: BlueprintQuery) -> tuple[list[Candidate], list[Excluded]]:
    """Take the smallest first (the labelled ones before all others, with prefer_labeled) for as long as they fit."""
    if query.storage_budget_gb is None:
        return taken, []
    left = query.storage_budget_gb * 1e9
    kept: set[str] = set()
    gone: dict[str, Excluded] = {}
    for c in sorted(taken, key=lambda c: (LABELED_FIRST[c.row.label] if query.prefer_labeled else 0, _bytes(c), c.id)):
        if c.count.partial:
            reason = Failure("storage_budget_gb", "a count is missing, so its size cannot be estimated", unknown=True)
            gone[c.id] = Excluded(c.id, (reason,))
        elif _bytes(c) > left:
            reason = Failure("storage_budget_gb", f"about {_bytes(c) / 1e9:,.1f} GB, {left / 1e9:,.1f} GB are left")
            gone[c.id] = Excluded(c.id, (reason,))
        else:
            left -= _bytes(c)
            kept.add(c.id)
    return [c for c in taken if c.id in kept], list(gone.values())


def _bytes(c: Candidate) -> float:
    return (c.size.raw.middle + c.size.fused.middle) if c.size.raw and c.size.fused else 0.0
