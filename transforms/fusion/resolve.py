"""What the recipe decides about conflicts, and what that makes of the label space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mdfp.errors import UsageError
from mdfp.fusion import Alternatives, Conflict
from schemas.suggest import nearest
from transforms.fusion.conflicts import Drawings
from transforms.fusion.space import LIST, Space


@dataclass(frozen=True)
class Resolved:
    """A label space after the recipe's resolutions.

    Attributes:
        structures: its classes in order.
        keep: wider classes that stand as alternatives of narrower ones.
        conflicts: with the resolution of each.
    """

    structures: tuple[str, ...]
    keep: tuple[Alternatives, ...]
    conflicts: tuple[Conflict, ...]


def resolve(
    space: Space, conflicts: Sequence[Conflict], resolutions: Mapping[str, str], drawings: Drawings
) -> Resolved:
    """Apply `labels: {resolve: ...}`.

    Args:
        space: as derived.
        conflicts: all of these sources.
        resolutions: conflict id -> roll_up, ignore, keep or drop.
        drawings: what the sources draw.

    Raises:
        UsageError: a conflict that is none, a resolution that is not possible for it, or one that contradicts the
            recipe's own list of structures.
    """
    ids = [c.id for c in conflicts]
    for name in resolutions:
        if name not in ids:
            raise UsageError(
                f"labels.resolve: {name!r} is no conflict of these sources{nearest(name, ids)}; there are "
                f"{', '.join(ids) or 'none'}"
            )
    structures = space.structures
    keep: list[Alternatives] = []
    decided = []
    for found in conflicts:
        conflict = _possible(found, structures, space.policy, drawings)
        choice = resolutions.get(conflict.id)
        decided.append(replace(conflict, resolution=choice))
        if choice is None:
            continue
        if choice not in conflict.offers:
            raise UsageError(
                f"labels.resolve: {conflict.id}: {choice} is not possible for these sources and classes "
                f"({conflict.detail}); one of {', '.join(conflict.offers)} is"
            )
        narrower = [s for s in structures if _is_narrower(s, conflict, drawings)]
        if choice == "keep":
            keep += [Alternatives(conflict.wider, s) for s in narrower]
        gone = {s for s in structures if choice == "drop" and s == conflict.wider}
        gone |= set(narrower) if choice in ("roll_up", "drop") else set()
        added = {conflict.wider} if choice == "roll_up" and narrower else set()
        if gone or not added <= set(structures):
            structures = tuple(sorted({*structures, *added} - gone))
    if not structures and space.structures:
        raise UsageError("labels.resolve leaves no class in the label space")
    return Resolved(structures, tuple(keep), tuple(decided))


def _possible(conflict: Conflict, structures: Sequence[str], policy: str, drawings: Drawings) -> Conflict:
    """The conflict with the resolutions that fit a label space: a recipe's own list is not cut down."""
    fixed = policy == LIST
    narrower = any(_is_narrower(s, conflict, drawings) for s in structures)
    touched = narrower or conflict.wider in structures
    fits = {
        "roll_up": "roll_up" in conflict.offers and not (fixed and narrower),
        "ignore": narrower,
        "keep": not narrower or conflict.wider in structures,
        "drop": not (fixed and touched),
    }
    offers = tuple(o for o, fit in fits.items() if fit)
    return replace(conflict, offers=offers, proposal=conflict.proposal if conflict.proposal in offers else offers[0])


def _is_narrower(structure: str, conflict: Conflict, drawings: Drawings) -> bool:
    """Whether a class is what a conflict calls narrower, or lies between it and the wider structure."""
    if structure == conflict.wider or structure in drawings.tissue(conflict.wider):
        return False
    if conflict.wider in drawings.known.ancestors(structure):
        return any(drawings.touches(structure, n) for n in conflict.narrower)
    return structure in conflict.narrower
