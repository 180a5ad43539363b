"""Equal pixels under different names: certain only once they were read, and then one of them stays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mdfp.sample import Sample
from transforms.plan.splits import PRECEDENCE


@dataclass(frozen=True)
class Duplicate:
    """A sample whose pixels another one has."""

    case_id: str
    kept: str
    """Case id of the one that stays."""
    detail: str


def resolve(published: Iterable[Sample], built: Iterable[Sample]) -> list[Duplicate]:
    """The newly built samples to leave out, so that no two samples of the corpus have equal pixels.

    Of a set of equal ones stays: what is published already; else what is in the most protected split (a test copy
    wins); else what has labels; else the first by source and case id. The choice does not depend on the order given.

    Args:
        published: samples of earlier generations.
        built: samples of this one.
    """
    old = {_pixels(s): s for s in sorted(published, key=lambda s: s.case_id)}
    kept: dict[tuple[str, ...], Sample] = {}
    losers: list[Duplicate] = []
    for sample in sorted(built, key=_rank):
        winner = old.get(_pixels(sample)) or kept.get(_pixels(sample))
        if winner is None:
            kept[_pixels(sample)] = sample
        elif winner.case_id != sample.case_id:
            same = _labels(winner) == _labels(sample)
            labels = "equal" if same else "not equal"
            losers.append(
                Duplicate(
                    sample.case_id,
                    winner.case_id,
                    f"the same pixels as {winner.case_id} ({winner.split}); their labels are {labels}",
                )
            )
    return sorted(losers, key=lambda d: d.case_id)


def _pixels(sample: Sample) -> tuple[str, ...]:
    return tuple(sorted(i.content_hash for i in sample.images))


def _labels(sample: Sample) -> tuple[str, ...]:
    return tuple(sorted(label.content_hash for label in sample.labels))


def _rank(sample: Sample) -> tuple[int, int, str, str]:
    return PRECEDENCE.index(sample.split), -len(sample.labels), sample.source, sample.case_id
