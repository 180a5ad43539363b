"""Where selected data sets disagree: annotation types, protocols, sides, licences. Found and told, never settled here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from catalog.blueprint import told
from catalog.blueprint.labels import Labels
from catalog.blueprint.manifest import manifest
from catalog.blueprint.query import BlueprintQuery
from catalog.blueprint.select import Candidate
from catalog.blueprint.told import Told
from schemas import licenses, ontology
from schemas.licenses import Grants
from schemas.vocabulary import Vocabularies


@dataclass(frozen=True)
class Conflict:
    """Something that cannot be fused without a decision.

    Attributes:
        kind: annotation, protocol, side, origin, unmentioned, finding, class, maker or licence.
        what: what it is about.
        parties: who does what: words -> data sets.
    """

    kind: str
    what: str
    parties: dict[str, tuple[str, ...]]


def conflicts(
    candidates: Sequence[Candidate],
    found: Labels,
    stated: Mapping[str, Told],
    words: Vocabularies,
    query: BlueprintQuery,
) -> tuple[Conflict, ...]:
    """All conflicts that the facts show, by kind; of licences alone where labels are not read."""
    of_labels = () if query.image_only else (
        *_annotations(candidates),
        *_protocols(found),
        *_sides(found),
        *_origins(candidates),
        *(Conflict(*d) for d in told.differences(stated, words)),
    )  # fmt: skip
    return (*of_labels, *_licenses(candidates))


def _annotations(candidates: Sequence[Candidate]) -> Iterator[Conflict]:
    """Data sets of one modality and anatomy that are annotated for different tasks, or not at all."""
    places = sorted({(m, a) for c in candidates for m in c.modalities for a in c.row.anatomies})
    for modality, anatomy in places:
        having = [c for c in candidates if modality in c.modalities and anatomy in c.row.anatomies]
        parties: dict[str, list[str]] = {}
        for c in having:
            kinds = "no labels" if c.row.label == "unlabeled" else " + ".join(sorted(c.row.tasks)) or "task not stated"
            parties.setdefault(kinds, []).append(c.id)
        if len(parties) > 1:
            yield Conflict("annotation", f"{modality}, {anatomy}", _tuples(parties))


def _protocols(found: Labels) -> Iterator[Conflict]:
    """An organ whose lesions or parts one data set draws as structures of their own, and another does not.

    Whether their voxels are then the organ's or background's is a matter of each protocol; the facts do not say.
    """
    known, by = ontology.load(), found.labelled_by()
    for organ in sorted(by):
        inside = [s for s in by if s != organ and organ in (*known[s].located_in, *known[s].part_of)]
        if not inside:
            continue
        parties: dict[str, list[str]] = {}
        for dataset in by[organ]:
            own = [s for s in inside if s in found.structures[dataset]]
            parties.setdefault(f"{organ} with {', '.join(sorted(own))}" if own else f"{organ} alone", []).append(
                dataset
            )
        if len(parties) > 1:
            yield Conflict("protocol", organ, _tuples(parties))


def _sides(found: Labels) -> Iterator[Conflict]:
    """A structure that one data set draws as left and right, and another as one."""
    known, by = ontology.load(), found.labelled_by()
    for whole in sorted(by):
        sided = [s for s in by if known[s].side and whole in known[s].is_a]
        apart = sorted({d for s in sided for d in by[s]} - set(by[whole]))
        if apart:
            yield Conflict("side", whole, {"as one": by[whole], "left and right": tuple(apart)})


def _origins(candidates: Sequence[Candidate]) -> Iterator[Conflict]:
    """Structures that experts drew in one data set and a model or nobody knows who in another."""
    drawn: dict[str, dict[str, list[str]]] = {}
    for c in candidates:
        for source in c.manifests:
            for table in manifest(source).labels.values():
                for structure in table.annotated():
                    who = drawn.setdefault(structure, {}).setdefault(table.origin, [])
                    if c.id not in who:
                        who.append(c.id)
    alike: dict[str, list[str]] = {}
    for structure, parties in drawn.items():
        if len(parties) > 1:
            alike.setdefault(repr(sorted((k, sorted(v)) for k, v in parties.items())), []).append(structure)
    for structures in alike.values():
        yield Conflict("origin", ", ".join(sorted(structures)), _tuples(drawn[structures[0]]))


def _licenses(candidates: Sequence[Candidate]) -> Iterator[Conflict]:
    """Licences that contradict each other for one data set, that cannot bind one corpus together, or that are not known."""
    parties: dict[str, list[str]] = {}
    for c in candidates:
        for license_id in c.terms.known or ("unknown",):
            parties.setdefault(license_id, []).append(c.id)
        if len(c.terms.known) > 1:
            differing: dict[str, tuple[str, ...]] = dict.fromkeys(c.terms.known, (c.id,))
            yield Conflict("licence", f"{c.id}: the row and its manifests differ", differing)
    stated = _tuples(parties)
    share_alike = {k: v for k, v in stated.items() if "-SA-" in k or k.startswith(("GPL", "ODbL"))}
    if len(share_alike) > 1:
        yield Conflict("licence", "derived works under one licence: each wants its own", share_alike)
    if no_derivatives := {k: v for k, v in stated.items() if "-ND-" in k}:
        yield Conflict("licence", "no derived works may be passed on", no_derivatives)
    granted = _grants(candidates)
    kept = {k: v for k, v in stated.items() if k in granted and not granted[k].redistribution}
    if kept:
        yield Conflict("licence", "may not be handed on: nor may the corpus", kept)
    limited = {k: v for k, v in stated.items() if "-NC" in k or (k in granted and not granted[k].commercial)}
    if limited and len(limited) < len(stated):
        yield Conflict("licence", "non-commercial beside others: the corpus is non-commercial", limited)
    if "unknown" in stated:
        yield Conflict("licence", "not known: allowed for nothing", {"unknown": stated["unknown"]})


def _grants(candidates: Sequence[Candidate]) -> dict[str, Grants]:
    """What each licence permits, by the table of licences and by manifests that spell terms of their own out."""
    found = dict(licenses.table())
    for c in candidates:
        for source in c.manifests:
            terms = manifest(source).terms
            if terms.license and terms.grants:
                found[terms.license] = terms.grants
    return found


def _tuples(parties: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {k: tuple(v) for k, v in sorted(parties.items())}
