"""Items that several selected data sets share, as far as the table of overlaps says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from catalog.blueprint.select import Candidate
from schemas.dataset import Overlap

NO_LINK = ("none-known", "statistic", "duplicate-inside-dataset")
"""Relations that join no two data sets."""

NOT_HELD = ("shared-sources",)
"""Relations of which neither side holds the other: both draw from one pool, so nothing can be subtracted."""


@dataclass(frozen=True)
class Component:
    """Selected data sets that known links join, one with another.

    Attributes:
        datasets: their ids.
        links: the links among them.
        items: what their counts add up to.
        shared: items known to be in two of them, taken out once; the true number is this or larger.
        uncounted: links that state no number of shared items.
    """

    datasets: tuple[str, ...]
    links: tuple[Overlap, ...]
    items: int
    shared: int
    uncounted: int

    @property
    def distinct(self) -> int:
        """Different items: at most so many."""
        return self.items - self.shared


def components(candidates: Sequence[Candidate], overlaps: Iterable[Overlap]) -> tuple[Component, ...]:
    """Connected components of two data sets or more, the largest first."""
    items = {c.id: c.count.items or 0 for c in candidates}
    links = [
        o
        for o in overlaps
        if o.container in items and o.part in items and o.container != o.part and o.relation not in NO_LINK
    ]
    groups = _joined(items, links)
    found = []
    for members in groups:
        among = tuple(o for o in links if o.part in members)
        total = sum(items[i] for i in members)
        uncounted = sum(o.n_shared is None for o in among)
        found.append(Component(tuple(sorted(members)), among, total, _shared(among, items), uncounted))
    return tuple(sorted(found, key=lambda c: (-len(c.datasets), c.datasets)))


def _joined(items: Mapping[str, int], links: Sequence[Overlap]) -> list[set[str]]:
    """Sets of ids that links join, by following them."""
    next_to: dict[str, set[str]] = defaultdict(set)
    for o in links:
        next_to[str(o.container)].add(str(o.part))
        next_to[str(o.part)].add(str(o.container))
    seen: set[str] = set()
    groups = []
    for start in sorted(next_to):
        if start in seen:
            continue
        group, queue = set(), [start]
        while queue:
            if (current := queue.pop()) not in group:
                group.add(current)
                queue += next_to[current]
        seen |= group
        groups.append(group)
    return groups


def _shared(links: Sequence[Overlap], items: Mapping[str, int]) -> int:
    """Items of parts that a container holds too.

    Of a part in several containers the largest number counts, not the sum: containers may hold the same items. What is
    subtracted from a part stays counted in its container, for containment has no circles; so the rest is never less than
    what there is.
    """
    most: dict[str, int] = {}
    for o in links:
        if o.n_shared is not None and o.relation not in NOT_HELD:
            part = str(o.part)
            limit = min(o.n_shared, items[part], items[str(o.container)])
            most[part] = max(most.get(part, 0), limit)
    return sum(most.values())
