"""What the manifests of pictures state of them besides masks: findings with their states, classes, boxes, texts; and where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from catalog import sources
from catalog.blueprint.manifest import manifest
from catalog.blueprint.select import Candidate
from schemas.table_layout import FoldersLayout, TableLayout
from schemas.vocabulary import Vocabularies


@dataclass(frozen=True)
class Told:
    """What one manifest states.

    Attributes:
        source: its id.
        findings: finding -> states that it may have.
        values: what its classes may be, where the manifest lists them.
        classes: names of classes.
        boxes: names of what lies in boxes.
        texts: names of texts.
        origins: who made any of these: expert, model, consensus, …
    """

    source: str
    findings: Mapping[str, tuple[str, ...]]
    classes: tuple[str, ...]
    boxes: tuple[str, ...]
    texts: tuple[str, ...]
    origins: tuple[str, ...]
    values: tuple[str, ...] = ()

    @property
    def states(self) -> tuple[str, ...]:
        """States that any of its findings may have."""
        return tuple(sorted({s for each in self.findings.values() for s in each}))


def told(candidates: Sequence[Candidate]) -> dict[str, Told]:
    """Data set -> what its manifest states; only of those whose manifests state anything of that kind."""
    result = {}
    for c in candidates:
        for source in c.manifests:
            found = _of(source)
            if found.findings or found.classes or found.boxes or found.texts:
                result[c.id] = found
    return result


def _of(source: str) -> Told:
    layout = manifest(source).layout
    findings = {n: tuple(sorted(s)) for n, s in sources.findings(manifest(source)).items()}
    if isinstance(layout, FoldersLayout):
        names, made_by = tuple(c.name for c in layout.classes), _once(c.origin for c in layout.classes)
        return Told(
            source, findings, names, (), (), made_by, _once(v for c in layout.classes for v in c.values.values())
        )
    if not isinstance(layout, TableLayout):
        return Told(source, {}, (), (), (), ())
    boxes = {n for b in layout.boxes for n in (b.names.values() or (b.name or "",))}
    made = (*layout.classes, *layout.findings, *layout.boxes)
    return Told(
        source,
        findings,
        _once(c.name for c in layout.classes),
        tuple(sorted(boxes)),
        _once(t.name for t in layout.texts),
        _once(e.origin for e in made if e.origin != "unknown"),
        _once(v for c in layout.classes for v in c.values.values()),
    )


def stated_by(all_told: Mapping[str, Told]) -> dict[str, tuple[str, ...]]:
    """Finding -> data sets that state it, the finding of most data sets first."""
    found: dict[str, list[str]] = {}
    for dataset, t in all_told.items():
        for name in t.findings:
            found.setdefault(name, []).append(dataset)
    return {n: tuple(d) for n, d in sorted(found.items(), key=lambda e: (-len(e[1]), e[0]))}


def differences(
    all_told: Mapping[str, Told], words: Vocabularies
) -> Iterator[tuple[str, str, dict[str, tuple[str, ...]]]]:
    """Where data sets differ: (kind, about, who says what). Nothing is settled.

    * `unmentioned`: what nobody mentioned is absent for one and unknown for another.
    * `finding`: a finding that one states as a whole, and another only in kinds.
    * `class`: what one states as a finding, and another as one of the classes that exclude each other.
    * `maker`: findings that people made here and a program there.
    """
    by = stated_by(all_told)
    silence: dict[str, list[str]] = {}
    for dataset, t in all_told.items():
        if t.findings:
            silence.setdefault("may be unknown" if "unknown" in t.states else "absent", []).append(dataset)
    if len(silence) > 1:
        yield "unmentioned", "a finding that nobody mentioned", _tuples(silence)
    for term in words.findings:
        kinds = [f.id for f in words.findings if term.id in f.is_a and f.id in by]
        apart = sorted({d for k in kinds for d in by[k]} - set(by.get(term.id, ())))
        if term.id in by and apart:
            parties = {term.id: by[term.id], f"only {', '.join(kinds)}": tuple(apart)}
            yield "finding", term.id, parties
    for finding in by:
        if classed := tuple(d for d, t in all_told.items() if finding in t.values):
            yield "class", finding, {"a finding": by[finding], "a class": classed}
    makers: dict[str, list[str]] = {}
    for dataset, t in all_told.items():
        if t.findings:
            makers.setdefault(" and ".join(t.origins) or "not stated", []).append(dataset)
    if len(makers) > 1:
        yield "maker", "findings", _tuples(makers)


def _once(words: Iterator[str] | Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _tuples(parties: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {k: tuple(v) for k, v in sorted(parties.items())}
