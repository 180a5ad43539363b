"""What is left to do for each selected data set before it can be built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from catalog.blueprint.manifest import access, manifest, risks
from catalog.blueprint.query import BlueprintQuery
from catalog.blueprint.recipe import Draft
from catalog.blueprint.select import Candidate

ACCESS = {
    "open": "download it (guessed open from its address)",
    "registration": "register, then download it (guessed from its address)",
    "agreement": "sign its agreement, then download it (guessed from its address)",
    "unknown": "find out how it is had: access is not known",
}

SIGNED = {
    "registration": "register, as its licence asks, then download it",
    "agreement": "sign its agreement, as its licence asks, then download it",
}
"""What access is where the licence of a manifest says it, which is better than the guess of the row."""

DOUBTS = ("merged_rows", "access_conflict", "license_missing", "access_low_confidence", "url_missing")
"""Codes that are no doubts of their own, or that another step says already."""


@dataclass(frozen=True)
class Entry:
    """One data set's list.

    Attributes:
        id: the data set.
        source: the manifest that the recipe takes; None: it is not in the recipe.
        steps: what to do, in order.
        urls: its pages.
        doubts: codes of what is doubtful of its row.
    """

    id: str
    source: str | None
    steps: tuple[str, ...]
    urls: tuple[str, ...]
    doubts: tuple[str, ...]


def checklist(taken: Sequence[Candidate], draft: Draft, query: BlueprintQuery) -> tuple[Entry, ...]:
    """An entry for each selected data set, those that the recipe lacks first."""
    entries = [_entry(c, draft, query) for c in taken]
    return tuple(sorted(entries, key=lambda e: (e.source is not None, e.id)))


def _entry(c: Candidate, draft: Draft, query: BlueprintQuery) -> Entry:
    stated = next((a for i in c.manifests if (a := access(manifest(i)))), None)
    steps = [SIGNED[stated] if stated else ACCESS[c.row.access]]
    if not c.row.urls:
        steps.append("find its page: the catalog has no address")
    if not c.terms.known:
        steps.append(f"find out its licence ({c.row.license_status})")
    if len(c.terms.known) > 1:
        steps.append(f"find out which licence holds: {' or '.join(c.terms.known)}")
    if not c.manifests:
        steps.append("write a manifest (docs/sources.md)")
    elif c.id in draft.refused:
        steps.append(f"write a manifest of your own: {draft.refused[c.id]}")
    if c.id in draft.others:
        steps.append(f"choose the release: the recipe takes {draft.sources[c.id]}, not {', '.join(draft.others[c.id])}")
    for risk in sorted(risks(manifest(draft.sources[c.id])) if c.id in draft.sources else ()):
        steps.append(
            f"look whether its data name people ({risk}): the recipe accepts that"
            if risk in query.accept_risks
            else f"look whether its data name people ({risk}); until the recipe's policy accepts it, its cases are refused"
        )
    if c.count.items is None:
        steps.append("count its images: no count is stated")
    doubts = tuple(i for i in c.row.issues if i.partition(":")[0] not in DOUBTS)
    return Entry(c.id, draft.sources.get(c.id), tuple(steps), c.row.urls, doubts)
