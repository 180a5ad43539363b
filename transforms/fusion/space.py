"""Label spaces derived from what the sources draw.

| policy | structures of the space |
| --- | --- |
| `union` | everything that any source draws |
| `intersection` | what every labelled source draws itself, in all its views |
| `coarse-to-fine` | the finest that every labelled source can tell, drawn or made up of what it draws |
| a list | what the recipe names |

*Made up* means that nothing but the parts is the whole (`transforms.labels.states.made_up_of`): a left and a right one,
the lungs of their lobes. Vertebrae are no sum of five of them. Where one source draws left and right kidneys and another
both as one, `coarse-to-fine` has the kidney: a structure gives way to what it is made up of only where every source can tell
that. A lesion that some source does not draw gives way to its organ, as which its voxels count. Sources without labels have
no say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mdfp.errors import UsageError
from mdfp.fusion import LeftOut
from schemas.ontology.structures import Ontology
from schemas.recipe import SpacePolicy
from transforms.fusion.views import View, tissue_above
from transforms.labels.states import made_up_of

ALL = "all"
"""Policy of a recipe that asks for no space: every structure of the palette."""

LIST = "list"
"""Policy of a recipe that names its structures."""


@dataclass(frozen=True)
class Space:
    """A derived label space.

    Attributes:
        policy: how it came about.
        structures: its classes in order.
    """

    policy: str
    structures: tuple[str, ...]


def derive(wanted: tuple[str, ...] | SpacePolicy, views: Sequence[View], known: Ontology) -> Space:
    """The label space that a recipe asks for.

    Args:
        wanted: the recipe's `labels: {space: ...}`.
        views: of all sources.
        known: the ontology.

    Returns:
        A space that may be empty, where sources have nothing in common.

    Raises:
        UsageError: no source is labelled, `include` names what nobody can tell, or `exclude` what is not there.
    """
    if isinstance(wanted, tuple):
        drawn = tuple(sorted({s for v in views for s in v.drawn}))
        return Space(LIST, wanted) if wanted else Space(ALL, drawn)
    if not views:
        raise UsageError(
            f"labels.space: {{policy: {wanted.policy}}} needs a source with labels; write labels: image_only"
        )
    found = _RULES[wanted.policy](views, known)
    for structure in wanted.include:
        if not any(v.told_by(structure, known) for v in views):
            raise UsageError(f"labels.space.include: no source draws {structure!r}, nor all that it is made up of")
    if strange := sorted(set(wanted.exclude) - found):
        raise UsageError(
            f"labels.space.exclude: {', '.join(strange)} is not in the {wanted.policy} of these sources, which is "
            f"{', '.join(sorted(found)) or 'empty'}"
        )
    return Space(wanted.policy, tuple(sorted((found | set(wanted.include)) - set(wanted.exclude))))


def union(views: Sequence[View], known: Ontology) -> frozenset[str]:
    """Everything that any view draws."""
    return frozenset(s for v in views for s in v.drawn)


def intersection(views: Sequence[View], known: Ontology) -> frozenset[str]:
    """What every view draws itself."""
    return frozenset.intersection(*(frozenset(v.drawn) for v in views))


def coarse_to_fine(views: Sequence[View], known: Ontology) -> frozenset[str]:
    """The finest structures that every view can tell."""
    candidates = {s for v in views for d in v.drawn for s in (d, *tissue_above(d, known))}
    told = {s for s in candidates if all(v.told_by(s, known) for v in views)}
    return frozenset(s for s in told if not _gives_way(s, told, known))


_RULES = {"union": union, "intersection": intersection, "coarse-to-fine": coarse_to_fine}


def _gives_way(structure: str, told: set[str], known: Ontology) -> bool:
    parts = made_up_of(structure, known)
    return bool(parts) and all(p in told for p in parts)


def left_out(structures: Iterable[str], space: Sequence[str], known: Ontology) -> tuple[LeftOut, ...]:
    """What becomes of each structure that is drawn and is no class.

    Args:
        structures: all that is drawn.
        space: the classes.
        known: the ontology.
    """
    classes = set(space)
    found = []
    for structure in sorted(set(structures) - classes):
        into = next((w for w in known.ancestors(structure) if w in classes), None)
        parts = [p for p in known.descendants(structure) if p in classes]
        if into is not None:
            why = f"counts as {into}"
        elif parts:
            why = f"cannot be told apart into {', '.join(parts[:4])}{', …' if len(parts) > 4 else ''}: ignored there"
        else:
            why = "background"
        found.append(LeftOut(structure, into, why))
    return tuple(found)
