"""Expectations as a gate between stages."""

from __future__ import annotations

from expectations.outcome import ValidationResult
from mdfp.errors import MdfpError
from pipelines.console import Console


class GateError(MdfpError):
    """An expectation that must hold does not; the next stage is not run."""


def require_pass(stage: str, result: ValidationResult, console: Console) -> None:
    """Print warnings; raise when a gate failed.

    Raises:
        GateError: with each failed expectation, what was observed, and some of the rows.
    """
    failed = []
    for outcome in result.outcomes:
        if outcome.success:
            continue
        line = f"{outcome.expectation}: {outcome.observed}"
        if outcome.failing:
            line += f" (for example {', '.join(outcome.failing[:3])})"
        if outcome.severity == "gate":
            failed.append(line)
        else:
            console.remark(f"warning: {stage}: {line}")
    if failed:
        raise GateError(f"{stage}: {len(failed)} expectations do not hold:\n  " + "\n  ".join(failed))
