"""Groups of data sets by modality, task and anatomy, and totals that count a data set once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from catalog.blueprint import count, estimate
from catalog.blueprint.count import Sum
from catalog.blueprint.estimate import Range
from catalog.blueprint.query import BlueprintQuery
from catalog.blueprint.select import Candidate, organizations

UNKNOWN = "?"
"""Stands where a row states no modality, task or anatomy."""


@dataclass(frozen=True)
class Total:
    """What data sets add up to, each once.

    Attributes:
        items: data sets and items.
        organizations: different names of who made them.
        anonymous: data sets that state nobody.
        raw: bytes as published.
        fused: bytes in shards.
        slices: 2-D slices of the volumes.
        measured: data sets whose bytes an item were measured; for the others they are assumed.
    """

    items: Sum
    organizations: int
    anonymous: int
    raw: Range
    fused: Range
    slices: Range
    measured: int


@dataclass(frozen=True)
class Group:
    """Data sets of one modality, task and anatomy. A data set stands in every group that it fits."""

    modality: str
    task: str
    anatomy: str
    datasets: tuple[str, ...]
    total: Total


def total(candidates: Iterable[Candidate]) -> Total:
    """What different data sets add up to."""
    each = list(candidates)
    raw, fused = estimate.add(c.size for c in each)
    slices = estimate.ZERO
    for c in each:
        slices += c.size.slices
    return Total(
        count.add(c.count for c in each),
        len(organizations(each)),
        sum(not c.row.organizations for c in each),
        raw,
        fused,
        slices,
        sum(c.size.measured for c in each),
    )


def group(candidates: Sequence[Candidate], query: BlueprintQuery) -> tuple[Group, ...]:
    """Groups that have any data set, the largest number of data sets first.

    Only modalities, tasks and anatomies that are asked for make groups; all do where none are. Items of a data set of two
    modalities are counted in both groups: the catalog does not say how many are of which. Totals are of `total` alone.
    """
    members: dict[tuple[str, str, str], list[Candidate]] = {}
    for c in candidates:
        tasks = [t for t in c.row.tasks if not query.tasks or t in query.tasks]
        anatomies = [a for a in c.row.anatomies if not query.anatomies or a in query.anatomies]
        for key in product(c.modalities or (UNKNOWN,), tasks or (UNKNOWN,), anatomies or (UNKNOWN,)):
            members.setdefault(key, []).append(c)
    groups = [Group(*key, tuple(c.id for c in of), total(of)) for key, of in members.items()]
    return tuple(sorted(groups, key=lambda g: (-len(g.datasets), g.modality, g.task, g.anatomy)))
