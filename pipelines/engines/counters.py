"""What a finished graph counted."""

from __future__ import annotations

from collections import Counter

from apache_beam.runners.runner import PipelineResult

BEAMS_OWN = "beam"
"""Namespace of what some engines tell about their own machinery."""


def counters(result: PipelineResult) -> dict[str, int]:
    """Counters by `namespace/name`, summed over steps.

    Committed values where the engine has them, else attempted ones: Spark and Flink count an element again when they
    compute it again. So they are for people to look at; what was made is what the commit markers say.
    """
    totals: Counter[str] = Counter()
    for found in result.metrics().query()["counters"]:
        name = found.key.metric
        if name.namespace == BEAMS_OWN:
            continue
        value = found.committed if found.committed is not None else found.attempted
        totals[f"{name.namespace}/{name.name}"] += value or 0
    return dict(sorted(totals.items()))
