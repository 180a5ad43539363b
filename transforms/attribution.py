"""ATTRIBUTION.md: whose data a corpus holds, under which terms, whom to cite, and what was taken against the terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mdfp.manifest import Manifest, OriginTerms, SourceTerms, TermsException
from schemas import licenses
from schemas.licenses import UNSTATED, Grants
from transforms.census import Census
from transforms.plan.terms import handed_on_under


def attribution(manifest: Manifest, census: Census | None = None, known: Mapping[str, Grants] | None = None) -> str:
    """The text.

    Args:
        manifest: the newest.
        census: counts of all samples; None leaves the counts out.
        known: what licences permit and demand; None: the known ones.
    """
    known = licenses.table() if known is None else known
    lines = [f"# Attribution of the corpus {manifest.corpus}, manifest {manifest.number}", ""]
    if manifest.profile:
        lines += [f"Its terms were checked for: {', '.join(manifest.profile)}.", ""]
    for terms in manifest.terms:
        lines += _source(terms, census, known)
        for exception in manifest.exceptions:
            lines += _exception(exception) if exception.source == terms.source else []
        lines.append("")
        for origin in terms.origins:
            lines += _origin(origin, terms.title)
    return "\n".join(lines)


def _source(terms: SourceTerms, census: Census | None, known: Mapping[str, Grants]) -> list[str]:
    lines = [f"## {terms.title}", "", f"- source: `{terms.source}`", f"- licence: {terms.license}"]
    lines += _made(terms)
    if census is None:
        return lines
    lines.append(f"- samples: {census.samples.get(terms.source, 0)} of {census.patients.get(terms.source, 0)} patients")
    for (source, held), n in sorted(census.licensed.items()):
        if source == terms.source:
            lines.append(f"- {n} under {held}: {_in_words(licenses.parts(held), known)}")
    return lines


def _in_words(held: Sequence[str], known: Mapping[str, Grants]) -> str:
    """What the licences of a sample demand, all together."""
    if UNSTATED in held:
        return "not all terms are stated, so nothing is known to be permitted"
    if strange := [each for each in held if each not in known]:
        return f"nobody has spelled out {' and '.join(strange)}"
    grants = [known[each] for each in held]
    words = ["name the authors"] if any(g.attribution for g in grants) else []
    if any(g.research_only for g in grants):
        words.append("for research alone")
    elif not all(g.commercial for g in grants):
        words.append("no commercial use")
    for access, said in (("agreement", "by signed agreement"), ("registration", "by registration")):
        words += [said] if any(g.access == access for g in grants) else []
    under = handed_on_under(held, known)
    if under is None:
        words.append("not to be handed on")
    elif any(g.share_alike for g in grants):
        words.append(f"to be handed on under {under}")
    return ", ".join(words) or "no demands"


def _exception(exception: TermsException) -> list[str]:
    taken = f"{exception.samples} under {exception.license} ({exception.refused})"
    return [f"- taken against the terms: {taken}; ground: {exception.reason}"]


def _origin(origin: OriginTerms, title: str) -> list[str]:
    what = {"images": "images", "labels": "labels", "both": "images and labels"}.get(origin.what, origin.what)
    lines = [f"### {origin.title}, whose {what} {title} took over", ""]
    lines += [f"- origin: `{origin.origin}`", f"- licence: {origin.license}"]
    return [*lines, *_made(origin), ""]


def _made(terms: SourceTerms | OriginTerms) -> list[str]:
    """Who made a data set and when, where it is, and what to cite for it, as far as it is known."""
    by = ", ".join([*terms.creators, *([str(terms.year)] if terms.year is not None else [])])
    lines = [f"- by: {by}"] if terms.creators else []
    lines += [f"- page: {terms.url}"] if terms.url else []
    return [*lines, *(f"- cite: {work}" for work in terms.citation)]
