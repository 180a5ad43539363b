"""The fusion of a recipe's sources: label space, matrix, conflicts. No pixels and no files: manifests alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from mdfp.errors import UsageError
from mdfp.fusion import Conflict, Fusion, Severity
from schemas import ontology
from schemas.recipe import Labels, SpaceRule
from schemas.source import Source
from transforms.fusion.conflicts import Drawings, conflicts, judge
from transforms.fusion.matrix import matrix
from transforms.fusion.resolve import resolve
from transforms.fusion.space import derive, left_out
from transforms.fusion.views import views


def fuse(labels: Labels, sources: Iterable[Source]) -> Fusion:
    """How the label space of a recipe follows from its sources.

    Args:
        labels: the recipe's.
        sources: their manifests.

    Raises:
        UsageError: the space that the recipe asks for cannot be had from these sources, or a resolution does not fit.
    """
    known = ontology.load()
    of_source = {s.id: () if labels.image_only else views(s, known) for s in sources}
    drawings = Drawings({i: v for i, v in of_source.items() if v}, known)
    if labels.image_only:
        return Fusion("image_only", (), (), (), (), tuple(sorted(of_source)), ())
    space = derive(labels.space, [v for vs in of_source.values() for v in vs], known)
    resolved = resolve(space, conflicts(drawings), labels.resolve, drawings)
    judged = tuple(judge(c, resolved.structures, drawings) for c in resolved.conflicts)
    return Fusion(
        policy=space.policy,
        space=resolved.structures,
        left_out=left_out(drawings.drawn, resolved.structures, known),
        keep=resolved.keep,
        annotations=matrix(drawings.views, {*drawings.drawn, *resolved.structures}, known),
        unlabelled=tuple(sorted(i for i, v in of_source.items() if not v)),
        conflicts=judged,
    )


def open_errors(fusion: Fusion) -> tuple[Conflict, ...]:
    """Conflicts that must be resolved before anything is built."""
    return tuple(c for c in fusion.conflicts if c.severity is Severity.ERROR)


def require_resolved(fusion: Fusion) -> None:
    """Stop where a class would silently mean two things, and where a policy leaves no class.

    Raises:
        UsageError: a conflict is an error; the message holds the lines to add to the recipe. Or the space is empty.
    """
    if fusion.policy in get_args(SpaceRule) and not fusion.space:
        raise UsageError(
            f"labels.space: the {fusion.policy} of these sources is empty; `python -m pipelines labels RECIPE` shows what "
            "each of them draws"
        )
    errors = open_errors(fusion)
    if not errors:
        return
    lines = [f"  {c.id}: {c.proposal}    # or {', '.join(o for o in c.offers if o != c.proposal)}" for c in errors]
    details = [f"{c.id}: {c.detail}" for c in errors]
    raise UsageError(
        f"the sources do not mean the same by {len(errors)} of the classes:\n  "
        + "\n  ".join(details)
        + "\nDecide, under labels: in the recipe, for example\n  resolve:\n  "
        + "\n  ".join(lines)
    )
