"""Where sources do not mean the same by one structure, and what may be decided about it.

| kind | when | for example |
| --- | --- | --- |
| `contents` | one can tell what lies in a structure from it; another includes it, leaves it out or says nothing | liver and its tumours |
| `undivided` | one source draws a structure as a whole, another what it is made up of | kidneys as one, or left and right |
| `part` | one source draws a structure, another a kind or part of it and not the whole | bone, and single vertebrae |

What a mask holds is told by the tables: two structures of one table are told apart; `includes:` and `excludes:` of a table
state a fact; nothing else is assumed.

| resolution | effect on the default label space |
| --- | --- |
| `roll_up` | the narrower ones are no classes; their voxels count as the wider one, as far as the reader's rules say so |
| `ignore` | all stay classes; voxels that cannot be told apart are ignored, which is what readers do by themselves |
| `keep` | all stay classes; a voxel of the wider class stays it, as an alternative, though it may be a narrower one |
| `drop` | none of them is a class |

A conflict that no resolution names is

- **settled**, where the space holds nothing of it, or where every source can give the one class that it holds (the wider one,
  from parts that make it up, or together with lesions that are told apart or included);
- an **error**, where a class holds something in one source that a fact says is left out in another, and nothing in the masks
  marks it: such a class would mean two things without a sign;
- else a **warning**: voxels are ignored, or nobody stated what a mask holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from mdfp.fusion import Conflict, Severity, Stand, Standing
from schemas.ontology.structures import Ontology
from transforms.fusion.views import View, tissue_above
from transforms.labels.states import made_up_of

CONTENTS, UNDIVIDED, PART = "contents", "undivided", "part"

ORDER = (Stand.UNSTATED, Stand.EXCLUDES, Stand.INCLUDES, Stand.WIDER, Stand.NARROWER, Stand.TOLD)
"""Of a source whose views differ, the first of these is told: the least that can be said."""


@dataclass(frozen=True)
class Drawings:
    """What all sources draw, and look-ups in the ontology.

    Attributes:
        views: of each source that has any.
        known: the ontology.
    """

    views: Mapping[str, Sequence[View]]
    known: Ontology

    @cached_property
    def drawn(self) -> frozenset[str]:
        """Everything that any source draws."""
        return frozenset(s for views in self.views.values() for v in views for s in v.drawn)

    def is_lesion(self, structure: str) -> bool:
        """Whether it lies in anatomy without being it."""
        return self.known[structure].kind != "anatomy"

    def tissue(self, structure: str) -> frozenset[str]:
        """It and everything wider by `is_a` and `part_of`."""
        if structure not in self._tissue:
            self._tissue[structure] = frozenset((structure, *tissue_above(structure, self.known)))
        return self._tissue[structure]

    @cached_property
    def _tissue(self) -> dict[str, frozenset[str]]:
        return {}

    def touches(self, a: str, b: str) -> bool:
        """Whether one is the other, or a kind or a part of it."""
        return a in self.tissue(b) or b in self.tissue(a)


def conflicts(drawings: Drawings) -> tuple[Conflict, ...]:
    """All conflicts between sources, sorted by id; none is judged yet (`judge`)."""
    found = [*_of_contents(drawings), *_of_extent(drawings)]
    return tuple(sorted(found, key=lambda c: c.id))


def judge(conflict: Conflict, space: Sequence[str], drawings: Drawings) -> Conflict:
    """The conflict with the severity it has for a label space, by the rule at the top of this module."""
    touched = [s for s in space if any(drawings.touches(s, m) for m in (conflict.wider, *conflict.narrower))]
    narrower = [s for s in touched if any(s in drawings.tissue(n) and s != conflict.wider for n in conflict.narrower)]
    narrower = [s for s in narrower if s not in drawings.tissue(conflict.wider)]
    if conflict.resolution is not None or not touched:
        return replace(conflict, severity=Severity.SETTLED)
    stands = {s.stand for s in conflict.standing}
    if conflict.kind == CONTENTS:
        return replace(conflict, severity=_of_stands(conflict, stands, bool(narrower), drawings))
    whole = conflict.kind == UNDIVIDED and not narrower
    return replace(conflict, severity=Severity.SETTLED if whole else Severity.WARNING)


def _of_stands(conflict: Conflict, stands: set[Stand], narrower: bool, drawings: Drawings) -> Severity:
    within = conflict.wider in drawings.known.ancestors(conflict.narrower[0])
    # What is told apart counts as the structure where it lies in it, and is left out where it lies beside it.
    holds = {Stand.INCLUDES} | ({Stand.TOLD} if within else set())
    leaves_out = {Stand.EXCLUDES} | (set() if within else {Stand.TOLD})
    if stands & holds and stands & leaves_out and not narrower:
        return Severity.ERROR
    if not narrower and (stands <= holds or stands <= leaves_out):
        return Severity.SETTLED
    return Severity.WARNING


def _of_contents(drawings: Drawings) -> list[Conflict]:
    found = []
    for wider, other in sorted(_pairs(drawings)):
        standing = _standing(
            {s: [_contents(v, wider, other, drawings) for v in vs] for s, vs in drawings.views.items()}
        )
        stands = {s.stand for s in standing}
        if len(standing) < 2 or stands in ({Stand.TOLD}, {Stand.UNSTATED}, {Stand.INCLUDES}, {Stand.EXCLUDES}):
            continue
        within = wider in drawings.known.ancestors(other)
        left_out = Stand.EXCLUDES in stands
        offers: tuple[str, ...] = ("roll_up", "ignore", "keep", "drop") if within and not left_out else ("keep", "drop")
        found.append(
            Conflict(
                id=f"{wider}+{other}",
                kind=CONTENTS,
                wider=wider,
                narrower=(other,),
                standing=standing,
                offers=offers,
                proposal=offers[0],
                resolution=None,
                severity=Severity.WARNING,
                detail=_contents_detail(wider, other, standing),
            )
        )
    return found


def _pairs(drawings: Drawings) -> set[tuple[str, str]]:
    """(structure, what may lie in or at it): lesions and their organs, and whatever a table states."""
    known = drawings.known
    lesions = {s for s in drawings.drawn if drawings.is_lesion(s) or known[s].located_in}
    stated = {
        (structure, other)
        for views in drawings.views.values()
        for v in views
        for statements in (v.includes, v.excludes)
        for structure, others in statements.items()
        for other in others
    }
    pairs = {(host, s) for s in lesions for host in known[s].located_in} | stated
    # Of kinds that are drawn too the widest stands for all: cysts of the kidneys for those of each side.
    widest = {
        (w, o)
        for w, o in pairs
        if not any((w2, o2) != (w, o) and w2 in drawings.tissue(w) and o2 in drawings.tissue(o) for w2, o2 in pairs)
    }
    return {(w, o) for w, o in widest if any(drawings.touches(w, d) for d in drawings.drawn)}


def _contents(view: View, wider: str, other: str, drawings: Drawings) -> Stand | None:
    """Where a view stands about what a structure holds; None where it does not draw the structure."""
    mine = [s for s in view.drawn if drawings.touches(s, wider) and not drawings.is_lesion(s) and s != other]
    if not mine:
        return None
    if any(drawings.touches(s, other) for s in view.drawn if s not in mine):
        return Stand.TOLD
    stated = {s for s in mine if any(drawings.touches(o, other) for o in view.includes.get(s, ()))}
    if stated:
        return Stand.INCLUDES
    left_out = {s for s in mine if any(drawings.touches(o, other) for o in view.excludes.get(s, ()))}
    return Stand.EXCLUDES if left_out else Stand.UNSTATED


def _of_extent(drawings: Drawings) -> list[Conflict]:
    """Structures that one source draws as a whole and another in parts only."""
    found = []
    for wider in sorted(drawings.drawn):
        if drawings.is_lesion(wider):
            continue
        below = [d for d in drawings.drawn if wider in drawings.tissue(d) and d != wider and not drawings.is_lesion(d)]
        stands = {s: [_extent(v, wider, below) for v in views] for s, views in drawings.views.items()}
        standing = _standing(stands)
        said = {stand for of_source in stands.values() for stand in of_source}
        if Stand.WIDER not in said or Stand.NARROWER not in said:
            continue
        narrower = tuple(sorted({d for views in drawings.views.values() for v in views if wider not in v.drawn
                                 for d in below if d in v.drawn}))  # fmt: skip
        parts = set(_all_parts(wider, drawings.known))
        kind = UNDIVIDED if parts & set(narrower) else PART
        proposal = "roll_up" if kind == UNDIVIDED else "ignore"
        found.append(
            Conflict(
                id=wider,
                kind=kind,
                wider=wider,
                narrower=narrower,
                standing=standing,
                offers=("roll_up", "ignore", "keep", "drop"),
                proposal=proposal,
                resolution=None,
                severity=Severity.WARNING,
                detail=_extent_detail(wider, narrower, standing, kind),
            )
        )
    return found


def _extent(view: View, wider: str, below: Sequence[str]) -> Stand | None:
    narrower = any(d in view.drawn for d in below)
    if wider in view.drawn:
        return Stand.TOLD if narrower else Stand.WIDER
    return Stand.NARROWER if narrower else None


def _all_parts(structure: str, known: Ontology) -> tuple[str, ...]:
    parts = made_up_of(structure, known)
    return (*parts, *(p for part in parts for p in _all_parts(part, known)))


def _standing(stands: Mapping[str, Sequence[Stand | None]]) -> tuple[Standing, ...]:
    result = []
    for source in sorted(stands):
        said = {s for s in stands[source] if s is not None}
        if said:
            result.append(Standing(source, next(s for s in ORDER if s in said)))
    return tuple(result)


def _by_stand(standing: Sequence[Standing]) -> str:
    groups: dict[Stand, list[str]] = {}
    for s in standing:
        groups.setdefault(s.stand, []).append(s.source)
    return "; ".join(f"{stand}: {', '.join(sources)}" for stand, sources in sorted(groups.items()))


def _contents_detail(wider: str, other: str, standing: Sequence[Standing]) -> str:
    return f"does the mask of {wider} hold {other}? {_by_stand(standing)}"


def _extent_detail(wider: str, narrower: Sequence[str], standing: Sequence[Standing], kind: str) -> str:
    shown = ", ".join(narrower[:4]) + (", …" if len(narrower) > 4 else "")
    what = "is made up of" if kind == UNDIVIDED else "is wider than"
    return f"{wider} {what} {shown}; {_by_stand(standing)}"
