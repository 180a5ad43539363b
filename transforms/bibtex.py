r"""citations.bib: an entry for each data set and each work to cite, with what the manifests say of it and nothing more.

A manifest names works by DOI, URL or a line of text. No author, title or year is looked up or guessed: a DOI or arXiv number
is given in its own field, from which reference managers fetch the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mdfp.manifest import Manifest

_DOI = re.compile(r"\b(10\.\d{4,9}/[^\s\"<>{}\\]+)")  # the form that Crossref recommends to look for
_ARXIV = re.compile(r"arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5}|[a-z-]+/\d{7})", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s{}\\]+")
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def citations(manifest: Manifest) -> str:
    """The text of citations.bib: equal manifests give equal text; a work that several data sets name stands once."""
    entries: list[str] = []
    seen: set[str] = set()
    for key, title, url, works in _data_sets(manifest):
        if key in seen:
            continue
        seen.add(key)
        entries.append(_entry(key, {"title": f"{{{_text(title)}}}", **_place(url or "")}))
        for number, work in enumerate(works, start=1):
            if work not in seen:
                seen.add(work)
                note = _text(f"To be cited for {title}")
                entries.append(_entry(f"{key}-work-{number}", {**_work(work), "annote": f"{{{note}}}"}))
    return "\n\n".join(entries) + "\n" if entries else ""


def _data_sets(manifest: Manifest) -> Iterator[tuple[str, str, str | None, tuple[str, ...]]]:
    for terms in manifest.terms:
        yield terms.source, terms.title, terms.url, terms.citation
    for terms in manifest.terms:
        for origin in terms.origins:
            yield origin.origin, origin.title, origin.url, origin.citation


def _entry(key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {value}" for name, value in fields.items()]
    return f"@misc{{{key},\n" + ",\n".join(lines) + "\n}"


def _work(line: str) -> dict[str, str]:
    found = _place(line)
    rest = _URL.sub("", line)
    if "doi" in found:
        rest = rest.replace(found["doi"][1:-1], "")
    bare = rest.strip(" .,;:()").lower() in ("", "doi", "arxiv")
    return found if found and bare else {**found, "note": f"{{{_text(line)}}}"}


def _place(line: str) -> dict[str, str]:
    """DOI, arXiv number and address in a line of text, as far as they are there."""
    found = {}
    if doi := _DOI.search(line):
        found["doi"] = f"{{{doi[1].rstrip('.,;)')}}}"
    if arxiv := _ARXIV.search(line):
        found |= {"eprint": f"{{{arxiv[1]}}}", "archiveprefix": "{arXiv}"}
    if url := _URL.search(line):
        found["url"] = f"{{{url[0].rstrip('.,;)')}}}"
    return found


def _text(words: str) -> str:
    return "".join(_SPECIAL.get(c, c) for c in " ".join(words.split()))
