"""Structure x source: which source annotates what, and how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mdfp.fusion import Annotation, How
from schemas.ontology.structures import Ontology
from transforms.fusion.views import View


def matrix(views: Mapping[str, Sequence[View]], structures: Iterable[str], known: Ontology) -> tuple[Annotation, ...]:
    """One entry for each pair of which the source says something, sorted by structure and source.

    Args:
        views: of each source.
        structures: ids to speak of.
        known: the ontology.
    """
    found = []
    for structure in sorted(set(structures)):
        for source in sorted(views):
            entry = _annotation(structure, source, views[source], known)
            if entry is not None:
                found.append(entry)
    return tuple(found)


def _annotation(structure: str, source: str, views: Sequence[View], known: Ontology) -> Annotation | None:
    told = [(view, view.told_by(structure, known)) for view in views]
    origins = {view.origins[s] for view, by in told for s in by}
    if origins:
        # What only some of the cases can tell is told per case, as is what any of its parts is.
        hows = {view.drawn[s] for view, by in told for s in by}
        whole = all(by for _, by in told)
        made_up = {How.MADE_UP} if any(by and by != (structure,) for _, by in told) else set()
        order = (How.PER_CASE, How.WHERE_PRESENT, How.MADE_UP, How.ALWAYS)
        how = next(h for h in order if h in hows | made_up) if whole else How.PER_CASE
        return Annotation(structure, source, how, None, "+".join(sorted(origins)))
    parents = [(view, view.parent_of(structure, known)) for view in views]
    drawn = [(view, parent) for view, parent in parents if parent is not None]
    if not drawn:
        return None
    origins = {view.origins[parent] for view, parent in drawn}
    return Annotation(structure, source, How.IN_PARENT, drawn[0][1], "+".join(sorted(origins)))
