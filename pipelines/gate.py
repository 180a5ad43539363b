"""Expectations as a gate between stages."""

from __future__ import annotations

import json

from expectations.outcome import GATE, Outcome, ValidationResult
from mdfp import arrow, canonical
from mdfp.errors import MdfpError
from pipelines.console import Console
from transforms import commit
from transforms.store import CorpusStore


class GateError(MdfpError):
    """An expectation that must hold does not; the next stage is not run."""


def require_pass(result: ValidationResult, store: CorpusStore, console: Console) -> None:
    """Keep a stage's result under `expectations/`, print its warnings, and raise when a gate failed.

    Raises:
        GateError: with each failed expectation, what was observed, and some of the rows.
    """
    stage = result.suite
    commit.replace(canonical.pretty(result), store, _path(stage))
    failed = []
    for outcome in result.failures:
        line = f"{outcome.expectation}: {outcome.observed}"
        if outcome.failing:
            line += f" (for example {', '.join(outcome.failing[:3])})"
        if outcome.severity == GATE:
            failed.append(line)
        else:
            console.remark(f"warning: {stage}: {line}")
    if failed:
        shown = "\n  ".join(failed)
        raise GateError(
            f"{stage}: {len(failed)} expectations do not hold:\n  {shown}\nall of them: {store.url(_path(stage))}"
        )


def outcomes_of(stage: str, store: CorpusStore) -> tuple[Outcome, ...]:
    """What the newest check of a stage came to; empty when there was none."""
    try:
        content = json.loads(store.read(_path(stage)))
    except FileNotFoundError:
        return ()
    return arrow.from_dict(ValidationResult, content).outcomes


def _path(stage: str) -> str:
    return f"expectations/{stage}.json"
