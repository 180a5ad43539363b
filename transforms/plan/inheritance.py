"""Terms of an image that several sources publish: what holds for the sample of one of them.

Voxels are taken from one source, but how a source came by an image decides which terms hold. Between the sources of two
cases that are one image there is one of these relations, by their origins in force:

    origin       the other is an origin of this one, or they are releases of one data set: the other's terms hold too
    re-release   this one is an origin of the other: what a re-release adds binds itself, so this one's terms hold
    siblings     both have an origin in common: its terms hold, which this one has as an origin's
    contested    nobody knows who took it from whom: the same image is published under these terms and those

A contested sample bears both in the index. Without a profile that is told; under a profile it must fit with both, and
is unknown where it does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from schemas import licenses
from schemas.licenses import UNSTATED
from schemas.reasons import Reason
from schemas.source import Source
from transforms.plan.terms import Compiler

Relation = Literal["origin", "re-release", "siblings", "contested"]


class Licensed(Protocol):
    """A case and its terms."""

    @property
    def case_id(self) -> str:
        """Its id."""
        ...

    @property
    def source(self) -> str:
        """Id of its source."""
        ...

    @property
    def license(self) -> str | None:
        """Its licence, several joined by AND; None: none is stated."""
        ...


LicensedT = TypeVar("LicensedT", bound=Licensed)


@dataclass(frozen=True)
class Copy:
    """A case and its terms, by themselves."""

    case_id: str
    source: str
    license: str | None


@dataclass(frozen=True)
class Inherited:
    """What copies add to the terms of one case.

    Attributes:
        license: all licences that hold for its sample, joined; None: none is stated.
        contested: copies under other terms of which nobody knows who took the image from whom.
        refusal: why the sample may not go in, as (reason, detail); None: it may.
    """

    license: str | None
    contested: tuple[Licensed, ...] = ()
    refusal: tuple[Reason, str] | None = None

    def doubt(self, case: Licensed) -> str | None:
        """The contest in words; None where there is none."""
        if not self.contested:
            return None
        other = self.contested[0]
        more = f" and {len(self.contested) - 1} more" if len(self.contested) > 1 else ""
        return (
            f"the same image is published under {case.license or UNSTATED} ({case.case_id}) and "
            f"{other.license or UNSTATED} ({other.case_id}{more}); which was first is not known"
        )


@dataclass(frozen=True)
class Settled:
    """What copies add to the terms of many cases.

    Attributes:
        licenses: all that hold for a case's sample, where that is more than its own.
        refused: cases that may not go in, and why.
        doubts: contests in words, sorted: one for each two sources and licences, with how many there are.
    """

    licenses: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, tuple[Reason, str]] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()


def relation(mine: Source | None, other: Source | None) -> Relation:
    """How two sources of one image stand to each other, seen from the first. Without a manifest nothing is known."""
    if mine is None or other is None:
        return "contested"
    if mine.id == other.id or (mine.catalog is not None and mine.catalog == other.catalog):
        return "origin"
    upstream, theirs = {o.id for o in mine.origins}, {o.id for o in other.origins}
    if upstream & {other.id, other.catalog}:
        return "origin"
    if theirs & {mine.id, mine.catalog}:
        return "re-release"
    return "siblings" if upstream & theirs else "contested"


def inherited(case: Licensed, copies: Iterable[Licensed], gate: Compiler) -> Inherited:
    """The terms of a case that is one image with others.

    Args:
        case: whose sample it is.
        copies: the others, those that are left out for whatever reason among them.
        gate: the recipe's terms, and the manifests with their origins in force.
    """
    held = licenses.parts(case.license or UNSTATED)
    contested: list[Licensed] = []
    for copy in sorted(copies, key=lambda c: c.case_id):
        theirs = licenses.parts(copy.license or UNSTATED)
        mine, other = gate.manifest(case.source), gate.manifest(copy.source)
        match relation(mine, other):
            case "origin":
                held = (*held, *theirs)
            case "siblings":
                held = (*held, *_common(mine, other, theirs))
            case "contested" if set(theirs) != set(licenses.parts(case.license or UNSTATED)):
                contested.append(copy)
            case _:
                pass
    certain = _joined(held)
    everything = _joined((*held, *(each for c in contested for each in licenses.parts(c.license or UNSTATED))))
    result = Inherited(everything, tuple(contested))
    refusal = gate.verdict(case.source, certain)
    if refusal is None and contested and gate.terms.profile:
        refusal = gate.verdict(case.source, everything)
        if refusal is not None:
            refusal = Reason.TERMS_UNKNOWN, f"{result.doubt(case)}: {refusal[1]}"
    return Inherited(everything, tuple(contested), refusal)


def copies(cases: Iterable[LicensedT], image: Mapping[str, str]) -> dict[str, list[LicensedT]]:
    """For each case the others that are one image with it; a case without any is not there.

    Args:
        cases: all cases, those that are left out for whatever reason among them.
        image: names equal for all ways of writing one image, by case id (`transforms.identity.graph.Graph.image`).
    """
    written: dict[str, list[LicensedT]] = defaultdict(list)
    for case in cases:
        if case.case_id in image:
            written[image[case.case_id]].append(case)
    return {c.case_id: [o for o in those if o is not c] for those in written.values() if len(those) > 1 for c in those}


def settle(cases: Iterable[Licensed], same: Mapping[str, Sequence[Licensed]], gate: Compiler) -> Settled:
    """The terms of many cases.

    Args:
        cases: those that may get a sample.
        same: the cases that are one image with each, by case id; one that is not here has no copies.
        gate: the recipe's terms, and the manifests with their origins in force.
    """
    held: dict[str, str] = {}
    refused: dict[str, tuple[Reason, str]] = {}
    told: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for case in cases:
        if case.case_id not in same:
            continue
        found = inherited(case, same[case.case_id], gate)
        if found.refusal is not None:
            refused[case.case_id] = found.refusal
        if found.license is not None and found.license != case.license:
            held[case.case_id] = found.license
        for other in found.contested:
            sides = sorted([(case.source, case.license or UNSTATED), (other.source, other.license or UNSTATED)])
            told[tuple(part for side in sides for part in side)].add(
                " and ".join(sorted([case.case_id, other.case_id]))
            )
    doubts = [
        f"the same image is published under {la} ({a}) and {lb} ({b}), and which was first is not known: "
        f"{len(pairs)} pairs of cases, for example {min(pairs)}"
        for (a, la, b, lb), pairs in sorted(told.items())
    ]
    return Settled(held, refused, tuple(doubts))


def _common(mine: Source | None, other: Source | None, theirs: Sequence[str]) -> list[str]:
    """Licences of origins in common that hold for the other's case: the image is from there, whatever its name here."""
    if mine is None or other is None:
        return []
    both = {o.id for o in mine.origins} & {o.id for o in other.origins}
    stated = [o.terms.license or UNSTATED for o in mine.origins if o.id in both]
    return [each for each in stated if each in theirs]


def _joined(held: Iterable[str]) -> str | None:
    expression = licenses.join(held)
    return None if expression == UNSTATED else expression
