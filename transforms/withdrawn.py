"""What was taken back, for good: numbered files under `withdrawn/`, each created once, that every plan obeys.

Such a file is written before anything else happens, so that from then on no plan takes what it names, whatever becomes
of the withdrawal itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Protocol

from mdfp import arrow, canonical
from transforms import commit
from transforms.store import CorpusStore

FOLDER = "withdrawn"

PURGED = f"{FOLDER}/purged-"
"""Empty files of this name and a manifest's number say: what it and earlier ones no longer name was deleted."""


@dataclass(frozen=True)
class Withdrawal:
    """`withdrawn/<number>.json`: cases, patients and sources that are not to be used any more."""

    cases: Annotated[tuple[str, ...], "case ids"]
    patients: Annotated[tuple[str, ...], "pseudonyms of patients: none of their cases, known or to come"]
    sources: Annotated[tuple[str, ...], "ids of sources: none of their cases, known or to come"]


class Traced(Protocol):
    """A case, a candidate for one, or the sample that it became."""

    @property
    def case_id(self) -> str:
        """Its id."""

    @property
    def patient(self) -> str:
        """Pseudonym of its patient."""

    @property
    def source(self) -> str:
        """Id of its source."""


@dataclass(frozen=True)
class Withdrawn:
    """Everything that was taken back from a corpus."""

    cases: frozenset[str] = frozenset()
    patients: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.cases or self.patients or self.sources)

    def has(self, record: Traced) -> bool:
        """Whether a case, or the sample it became, was taken back."""
        return record.case_id in self.cases or record.patient in self.patients or record.source in self.sources

    def covers(self, withdrawal: Withdrawal) -> bool:
        """Whether this withdrawal was made before."""
        return (
            self.cases >= set(withdrawal.cases)
            and self.patients >= set(withdrawal.patients)
            and self.sources >= set(withdrawal.sources)
        )


def load(store: CorpusStore) -> Withdrawn:
    """Everything that was taken back from a corpus. One listing; nothing more where nothing was."""
    return union(
        arrow.from_dict(Withdrawal, json.loads(store.read(o.path)))
        for o in store.list(FOLDER)
        if o.path.endswith(".json")
    )


def union(withdrawals: Iterable[Withdrawal]) -> Withdrawn:
    """All withdrawals as one."""
    cases: set[str] = set()
    patients: set[str] = set()
    sources: set[str] = set()
    for w in withdrawals:
        cases.update(w.cases)
        patients.update(w.patients)
        sources.update(w.sources)
    return Withdrawn(frozenset(cases), frozenset(patients), frozenset(sources))


def add(store: CorpusStore, withdrawal: Withdrawal) -> Withdrawn:
    """Take something back; returns everything that is taken back now. Done already, it is not written again."""
    known = load(store)
    if known.covers(withdrawal):
        return known
    number = 1 + sum(o.path.endswith(".json") for o in store.list(FOLDER))
    while not commit.create_bytes(canonical.pretty(withdrawal), store, withdrawal_path(number)):
        number += 1
    return load(store)


def withdrawal_path(number: int) -> str:
    """Where a withdrawal lies below the corpus."""
    return f"{FOLDER}/{number:06d}.json"
