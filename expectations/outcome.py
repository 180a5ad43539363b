"""What came of checking a suite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

GATE = "gate"
WARN = "warn"

MAX_FAILING = 50
"""Failing ids kept per expectation; the count beside them is complete."""


@dataclass(frozen=True)
class Outcome:
    """One expectation, checked."""

    suite: Annotated[str, "inventory, plan or samples"]
    expectation: Annotated[str, "its id in the suite"]
    table: Annotated[str, "the table it is about"]
    rule: Annotated[str, "its rule, as the suite names it"]
    columns: Annotated[tuple[str, ...], "the columns it is about"]
    severity: Annotated[str, "gate: a failure stops the run; warn: it is reported"]
    meaning: Annotated[str, "the same for a person"]
    success: Annotated[bool, "whether it holds"]
    rows: Annotated[int, "rows it was about, those of its `where` only"]
    failed: Annotated[int, "rows that broke it; 0 for a rule about a whole table"]
    observed: Annotated[str, "what was found, for a person"]
    failing: Annotated[tuple[str, ...], "ids of the rows that broke it, the first ones in the table's order"]


@dataclass(frozen=True)
class ValidationResult:
    """All expectations of a suite, checked."""

    suite: Annotated[str, "inventory, plan or samples"]
    outcomes: Annotated[tuple[Outcome, ...], "in the suite's order"]

    @property
    def gate_failed(self) -> bool:
        """Whether the run must stop."""
        return any(o.severity == GATE for o in self.failures)

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The expectations that do not hold, gates first."""
        failed = [o for o in self.outcomes if not o.success]
        return tuple(sorted(failed, key=lambda o: o.severity != GATE))

    def describe(self) -> str:
        """One line for each failure, for a terminal; empty when all hold."""
        return "\n".join(
            f"{o.severity}: {o.expectation}: {o.meaning} ({o.observed})"
            + (f": {', '.join(o.failing[:3])}{', …' if o.failed > 3 else ''}" if o.failing else "")
            for o in self.failures
        )
