"""The gate of terms: nothing goes in whose licence the recipe does not accept. Fails closed.

A case has the terms of its own data set and of every one that it was taken from; each of them must pass, and the strictest
decides. A sample is adapted material of all of them, so it can be handed on only when one licence satisfies all. The samples
of a corpus lie side by side, each under its own terms: they are a collection, and none binds another.

This compiles what manifests state. It is no legal advice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from mdfp.errors import UsageError
from schemas import licenses
from schemas.licenses import UNSTATED, Grants
from schemas.reasons import Reason
from schemas.recipe import TermsGate
from schemas.source import Source
from schemas.terms import license_of
from schemas.terms_gate import Profile

__all__ = [
    "UNSTATED",
    "Compiler",
    "Objection",
    "gate",
    "handed_on_under",
    "objections",
    "require_fitting",
    "spelled_out",
]


@dataclass(frozen=True)
class Objection:
    """Why terms do not fit what a corpus is for."""

    license: str
    demand: str
    """unstated, not_spelled_out, non_commercial, research_only, no_redistribution, no_derivatives, registration, agreement
    or share_alike."""
    words: str


def objections(
    held: Sequence[str], profile: Profile, known: Mapping[str, Grants], agreed: Sequence[str] = ()
) -> list[Objection]:
    """What in the licences of one case speaks against a profile; nothing: it fits.

    Args:
        held: the licences, all of which hold.
        profile: what the corpus is for.
        known: what licences permit and demand: `licenses.table()`, or `spelled_out(sources)`.
        agreed: licences whose agreement was signed.
    """
    found: list[Objection] = []
    for each in held:
        if each == UNSTATED:
            found.append(Objection(each, "unstated", "no terms are stated, so nothing is permitted"))
        elif each not in known:
            found.append(Objection(each, "not_spelled_out", f"nobody has spelled out what {each} permits (grants:)"))
        else:
            demands = _demands(known[each], profile, signed=each in agreed)
            found += [Objection(each, demand, f"{each} {words}") for demand, words in demands]
    if profile == "redistributable" and not found and handed_on_under(held, known) is None:
        bound = [each for each in held if known[each].share_alike]
        words = f"{' and '.join(bound)}: share-alike, and no licence satisfies all of {', '.join(held)}"
        found.append(Objection(licenses.join(held), "share_alike", words))
    return found


def _demands(grants: Grants, profile: Profile, *, signed: bool) -> list[tuple[str, str]]:
    """(demand, in words) of what one licence demands and a profile cannot give."""
    found = []
    handed_on = profile == "redistributable"
    if grants.access == "agreement" and (handed_on or not signed):
        remedy = "everybody would have to sign it" if handed_on else "say so under agreed: once it is signed"
        found.append(("agreement", f"needs a signed agreement: {remedy}"))
    if grants.access == "registration" and handed_on:
        found.append(("registration", "is given to those who register, not to anybody"))
    if profile == "commercial" and not grants.commercial:
        if grants.research_only:
            found.append(("research_only", "is for research alone"))
        else:
            found.append(("non_commercial", "does not permit commercial use"))
    if handed_on and not grants.redistribution:
        found.append(("no_redistribution", "does not permit handing copies on"))
    if grants.derivatives == "no":
        found.append(("no_derivatives", "does not permit adaptations, and every sample is one"))
    elif grants.derivatives == "private" and handed_on and grants.redistribution:
        found.append(("no_derivatives", "does not permit handing adaptations on, and every sample is one"))
    return found


def handed_on_under(held: Sequence[str], known: Mapping[str, Grants]) -> str | None:
    """The licence, or licences, under which adapted material of all these may be handed on; None when there is none.

    Without share-alike each part keeps its own, so that is all of them. With it the whole goes under one licence that every
    share-alike among them allows and that demands all that the others demand.
    """
    grants = [known[each] for each in held]
    if any(g.derivatives != "share" or not g.redistribution for g in grants):
        return None
    bound = [g for g in grants if g.share_alike]
    if not bound:
        return licenses.join(held)
    allowed = [t for t in bound[0].share_alike if all(t in g.share_alike for g in bound) and t in known]
    fitting = [t for t in allowed if all(_carries(known[t], g) for g in grants)]
    own = [t for t in fitting if t in held]  # the one that a part has already, where it will do
    return next(iter([*own, *fitting]), None)


def _carries(target: Grants, part: Grants) -> bool:
    """Whether a licence demands at least what the terms of a part demand, so that the part may go under it."""
    return (
        (part.commercial or not target.commercial)
        and (not part.attribution or target.attribution)
        and (not part.research_only or target.research_only)
        and (part.access == "open" or target.access == part.access)
    )


def spelled_out(sources: Mapping[str, Source]) -> dict[str, Grants]:
    """What all licences permit and demand: the known ones, and those of their own that manifests spell out.

    Raises:
        UsageError: two manifests spell the same name out differently.
    """
    known = dict(licenses.table())
    stated = [(s.id, t) for s in sources.values() for t in (s.terms, *(o.terms for o in s.origins))]
    for source, terms in stated:
        if terms.grants is None or terms.license is None:
            continue
        if known.setdefault(terms.license, terms.grants) != terms.grants:
            raise UsageError(
                f"{source}: grants: of {terms.license} differ from what another manifest says of it; give one of them "
                "another LicenseRef-<name>"
            )
    return known


class Compiler:
    """What a recipe's terms say about the cases of its sources.

    Args:
        terms: what the recipe accepts.
        sources: manifests of its sources, by id.
    """

    def __init__(self, terms: TermsGate, sources: Mapping[str, Source]):
        self.terms = terms
        self._sources = sources
        self._known: dict[tuple[str, str | None], tuple[Reason, str] | None] = {}
        self._learnt: dict[str, tuple[str, ...]] = {}
        self._overridden = {o.source: o.reason for o in terms.override}

    @cached_property
    def grants(self) -> dict[str, Grants]:
        """What all licences permit and demand."""
        return spelled_out(self._sources)

    def verdict(self, source: str, license_id: str | None) -> tuple[Reason, str] | None:
        """None when a case of a source under this licence, or expression, may go in; else why not, as (reason, detail)."""
        return None if source in self._overridden else self.refusal(source, license_id)

    def refusal(self, source: str, license_id: str | None) -> tuple[Reason, str] | None:
        """The same as if there were no override."""
        key = (source, license_id)
        if key not in self._known:
            self._known[key] = self._judge(self._sources.get(source), license_id)
        return self._known[key]

    def manifest(self, source: str) -> Source | None:
        """The manifest of a source, where there is one."""
        return self._sources.get(source)

    def holding(self, source: str, license_id: str | None) -> str | None:
        """The licence of a case with those of origins that its source's manifest has learnt of since its inventory.

        An origin of some cases alone is not added: which these are is told by their names, which an inventory looks at.
        """
        if source not in self._learnt:
            manifest = self._sources.get(source)
            of_all = [o for o in manifest.origins if not o.cases] if manifest else []
            self._learnt[source] = tuple(o.terms.license or UNSTATED for o in of_all)
        held = licenses.parts(license_id or UNSTATED)
        if set(self._learnt[source]) <= set(held):
            return license_id
        return licenses.join((*held, *self._learnt[source]))

    def stated(self, source: str) -> str | None:
        """The licence that holds for all cases of a source, as its manifest says now; None where there is no manifest."""
        manifest = self._sources.get(source)
        if manifest is None:
            return None
        return license_of(manifest.terms, tuple(o for o in manifest.origins if not o.cases), "") or UNSTATED

    def _judge(self, source: Source | None, license_id: str | None) -> tuple[Reason, str] | None:
        held = licenses.parts(license_id or UNSTATED)
        unstated = UNSTATED in held
        if not self.terms.profile:
            if unstated and self.terms.unknown != "accept":
                return Reason.TERMS_UNKNOWN, self._unknown(source)
        else:
            wrong = [(p, o) for p in self.terms.profile for o in objections(held, p, self.grants, self.terms.agreed)]
            if wrong:
                reason = Reason.TERMS_UNKNOWN if unstated else Reason.TERMS_REFUSED
                words = dict.fromkeys(f"not {p}: {o.words}{_whose(source, o.license, held)}" for p, o in wrong)
                return reason, "; ".join(words) + (f"; {self._unknown(source)}" if unstated else "")
        if self.terms.profile and not self.terms.accept:
            return None
        strange = [each for each in held if each not in self.terms.accept and each != UNSTATED]
        if strange:
            named = ", ".join(f"{each}{_whose(source, each, held)}" for each in strange)
            return Reason.TERMS_REFUSED, f"licence {named}; the recipe accepts {', '.join(self.terms.accept) or 'none'}"
        return None

    def _unknown(self, source: Source | None) -> str:
        silent = [o.id for o in source.origins if o.terms.license is None] if source else []
        which = "the source manifest states no licence"
        if source and source.terms.license is not None and silent:
            which = f"the source manifest states no licence for the origin {' or '.join(silent)}"
        exception = f"terms: override: [{{source: {source.id if source else 'id'}, reason: …}}]"
        remedy = exception if self.terms.profile else "terms: unknown: accept"
        return f"{which}; find it out and write it there (terms: license:), or set {remedy} in the recipe"


def require_fitting(compiler: Compiler, corpus: str, published: Counter[tuple[str, str]]) -> None:
    """Refuse a profile that samples of earlier generations do not fit: a manifest's profile is said of all of them.

    Args:
        compiler: the recipe's terms.
        corpus: its name, for the message.
        published: samples by (source, licence).

    Raises:
        UsageError: some do not fit.
    """
    for (source, license_id), n in sorted(published.items()):
        told = (license_id, compiler.stated(source) or license_id)  # a manifest may have learnt of an origin since
        refused = next((r for each in told if (r := compiler.verdict(source, each)) is not None), None)
        if refused is not None:
            raise UsageError(
                f"the corpus {corpus} holds {n} samples of {source} under {license_id}, which the recipe's terms refuse "
                f"({refused[1]}); build into another out:, take them back (python -m pipelines withdraw), or name the "
                "source under terms: override:"
            )


def _whose(source: Source | None, license_id: str, held: Sequence[str]) -> str:
    """` (of the origin lits)` where a licence of several is not the data set's own."""
    if source is None or len(held) == 1 or license_id == (source.terms.license or UNSTATED):
        return ""
    names = [o.id for o in source.origins if (o.terms.license or UNSTATED) == license_id]
    return f" (of the origin {' or '.join(names)})" if names else ""


def gate(license_id: str | None, terms: TermsGate) -> tuple[Reason, str] | None:
    """None when a case under this licence may go in, else why not, as (reason, detail).

    Args:
        license_id: SPDX id, LicenseRef-…, own-data, several of them joined by AND, or None when the source states none.
        terms: what the recipe accepts.
    """
    return Compiler(terms, {}).verdict("", license_id)
