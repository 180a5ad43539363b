"""Who trains and who tests. A group is never split apart, and never moves once published.

A group is all cases of one patient, or of a whole component of the identity graph where there is one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from schemas.reasons import Reason
from schemas.recipe import HeldOut, Splits

PRECEDENCE = ("test", "val", "train")
"""When cases of one group ask for different splits, the first of these wins: a patient that tests never trains."""


@dataclass(frozen=True)
class Place:
    """Where a case goes, or why it is left out."""

    split: str
    fold: int | None
    left_out: Reason | None = None
    detail: str = ""


@dataclass(frozen=True)
class Groups:
    """What is known of groups beyond their patients (`transforms.plan.identity`).

    Attributes:
        of_case: name of a case's group, where it is not its patient's pseudonym.
        torn: groups that are published in more than one split, and what happened. `published` holds the most protected.
        benchmarks: groups that must never be trained on, and because of what.
    """

    of_case: Mapping[str, str] = field(default_factory=dict)
    torn: Mapping[str, str] = field(default_factory=dict)
    benchmarks: Mapping[str, str] = field(default_factory=dict)


class Groupable(Protocol):
    """What of a case decides its split: a `Case`, or a row of the same names."""

    @property
    def case_id(self) -> str:
        """Its id."""
        ...

    @property
    def source(self) -> str:
        """Id of its source."""
        ...

    @property
    def patient(self) -> str:
        """Pseudonym of its patient."""
        ...

    @property
    def split(self) -> str | None:
        """The split that its source assigns."""
        ...


def draw(key: str, purpose: str, group: str) -> float:
    """A number in [0, 1) that depends on the three words alone: adding data changes nobody's draw."""
    digest = hashlib.sha256("\0".join((key, purpose, group)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def group_of(case: Groupable, groups: Groups = Groups()) -> str:
    """Name of the group of a case: its patient's pseudonym, or that of its component."""
    return groups.of_case.get(case.case_id, case.patient)


def place(
    cases: Iterable[Groupable],
    splits: Splits,
    key: str,
    published: Mapping[str, str],
    known: Groups = Groups(),
) -> dict[str, Place]:
    """A place for each case, by case id.

    A group's split is, in this order: the one it is published in; `test` when a held-out source has one of its cases;
    the split that its source assigns (the most protected, when several); the draw. A case whose own source demands a
    more protected split than its group was published in is left out rather than moved. Of a group that is published in
    several splits new cases are left out, but for those whose source demands the most protected of these. Cases of a
    group that must never be trained on test, or are left out.

    Args:
        cases: all cases that may be built, in any order.
        splits: the recipe's.
        key: what the draw is keyed with.
        published: split of each group that is already published.
        known: what makes groups of more than one patient.
    """
    held_out = set(splits.test.sources) if isinstance(splits.test, HeldOut) else set()
    groups: dict[str, list[Groupable]] = {}
    for case in cases:
        groups.setdefault(group_of(case, known), []).append(case)

    places: dict[str, Place] = {}
    for group, members in groups.items():
        demands = {_demand(case, held_out) for case in members} - {None}
        demanded = next((s for s in PRECEDENCE if s in demands), None)
        split = published.get(group) or demanded or _drawn(splits, key, group)
        fold = None
        if splits.folds and split == "train":
            fold = int(draw(key, "fold", group) * splits.folds)
        for case in members:
            fault = _fault(group, split, _demand(case, held_out), group in published, known)
            places[case.case_id] = Place(split, fold, *fault) if fault else Place(split, fold)
    return places


def _fault(group: str, split: str, demand: str | None, published: bool, known: Groups) -> tuple[Reason, str] | None:
    """Why a case of a group that goes to `split` is left out; None where it is not."""
    if group in known.benchmarks and split != "test":
        return Reason.NEVER_TRAIN, known.benchmarks[group]
    if group in known.torn and demand != split:
        return Reason.PATIENT_CONFLICT, known.torn[group]
    if published and demand is not None and PRECEDENCE.index(demand) < PRECEDENCE.index(split):
        detail = f"its patient is published in {split}, its source demands {demand}; published splits never move"
        return Reason.PATIENT_CONFLICT, detail
    return None


def _demand(case: Groupable, held_out: set[str]) -> str | None:
    return "test" if case.source in held_out else case.split


def _drawn(splits: Splits, key: str, group: str) -> str:
    number = draw(key, "split", group)
    test = splits.test if isinstance(splits.test, float) else 0.0
    if number < test:
        return "test"
    return "val" if number < test + splits.val else "train"
