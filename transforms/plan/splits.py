"""Who trains and who tests. A group (all cases of one patient) is never split apart, and never moves once published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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


def group_of(case: Groupable) -> str:
    """Name of the group of a case: its patient's pseudonym."""
    return case.patient


def place(cases: Iterable[Groupable], splits: Splits, key: str, published: Mapping[str, str]) -> dict[str, Place]:
    """A place for each case, by case id.

    A group's split is, in this order: the one it is published in; `test` when a held-out source has one of its cases;
    the split that its source assigns (the most protected, when several); the draw. A case whose own source demands a
    more protected split than its group was published in is left out rather than moved.

    Args:
        cases: all cases that may be built, in any order.
        splits: the recipe's.
        key: what the draw is keyed with.
        published: split of each group that is already published.
    """
    held_out = set(splits.test.sources) if isinstance(splits.test, HeldOut) else set()
    groups: dict[str, list[Groupable]] = {}
    for case in cases:
        groups.setdefault(group_of(case), []).append(case)

    places: dict[str, Place] = {}
    for group, members in groups.items():
        demands = {_demand(case, held_out) for case in members} - {None}
        demanded = next((s for s in PRECEDENCE if s in demands), None)
        split = published.get(group) or demanded or _drawn(splits, key, group)
        fold = None
        if splits.folds and split == "train":
            fold = int(draw(key, "fold", group) * splits.folds)
        usual = Place(split, fold)
        for case in members:
            demand = _demand(case, held_out)
            if group in published and demand is not None and PRECEDENCE.index(demand) < PRECEDENCE.index(split):
                detail = (
                    f"its patient is published in {split}, its source demands {demand}; published splits never move"
                )
                places[case.case_id] = Place(split, fold, Reason.PATIENT_CONFLICT, detail)
            else:
                places[case.case_id] = usual
    return places


def _demand(case: Groupable, held_out: set[str]) -> str | None:
    return "test" if case.source in held_out else case.split


def _drawn(splits: Splits, key: str, group: str) -> str:
    number = draw(key, "split", group)
    test = splits.test if isinstance(splits.test, float) else 0.0
    if number < test:
        return "test"
    return "val" if number < test + splits.val else "train"
