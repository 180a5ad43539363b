"""One view of a corpus for each site, patients disjoint: for training that leaves data where they are.

A group (all cases of one patient, or of patients that cannot be told apart) belongs to one site, whole. Where its cases
come from several, it goes to the site that had it in the earliest generation, of those to the one with the most of its
samples then, of those to the first by name: later generations never move it. The manifest lists each such group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mdfp.errors import UsageError
from mdfp.manifest import MovedGroup, SiteEntry, Sites

UNSTATED = "unstated"
"""The site of samples whose source names none, by the field `site`."""


def named(table: pa.Table, by: str) -> list[str]:
    """The site that each row of an index names: its source, or its field `site`.

    Raises:
        UsageError: `by` is something else.
    """
    if by not in ("source", "site"):
        raise UsageError(f"sites: by is source or site, found {by!r}; update mdfp")
    return [str(site) if site else UNSTATED for site in table[by].to_pylist()]


@dataclass
class SiteCount:
    """What of the rows of an index decides and describes its sites; `add` takes some rows at a time."""

    by: str
    _held: dict[str, Counter[tuple[int, str]]] = field(default_factory=dict)
    _splits: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, table: pa.Table) -> None:
        """Count some rows."""
        columns = (table["group"].to_pylist(), table["generation"].to_pylist(), table["split"].to_pylist())
        for group, generation, split, site in zip(*columns, named(table, self.by), strict=True):
            self._held.setdefault(group, Counter())[int(generation), site] += 1
            self._splits.setdefault(group, Counter())[split] += 1

    def result(self) -> Sites:
        """The sites, and the groups that had several."""
        samples: Counter[str] = Counter()
        groups: Counter[str] = Counter()
        splits: dict[str, Counter[str]] = {}
        moved = []
        for group, held in sorted(self._held.items()):
            home = min(held, key=lambda k: (k[0], -held[k], k[1]))[1]
            samples[home] += held.total()
            groups[home] += 1
            splits.setdefault(home, Counter()).update(self._splits[group])
            others = tuple(sorted({site for _, site in held} - {home}))
            if others:
                elsewhere = sum(n for (_, site), n in held.items() if site != home)
                moved.append(MovedGroup(group, home, others, elsewhere))
        entries = tuple(
            SiteEntry(name, samples[name], groups[name], *(splits[name][s] for s in ("train", "val", "test")))
            for name in sorted(samples)
        )
        return Sites(self.by, entries, tuple(moved))


def members(table: pa.Table, sites: Sites, site: str) -> npt.NDArray[np.bool_]:
    """Which rows of an index belong to a site.

    Raises:
        UsageError: there is no such site.
    """
    names = [s.site for s in sites.sites]
    if site not in names:
        raise UsageError(f"no site {site!r}; this corpus has {', '.join(names)}")
    home = homes(sites)
    own = named(table, sites.by)
    return np.array(
        [home.get(group, name) == site for group, name in zip(table["group"].to_pylist(), own, strict=True)], dtype=bool
    )


def homes(sites: Sites) -> Mapping[str, str]:
    """The site of each group that had several."""
    return {m.group: m.site for m in sites.moved}


def count(tables: Iterable[pa.Table], by: str) -> Sites:
    """The sites of an index given in parts."""
    counted = SiteCount(by)
    for table in tables:
        counted.add(table)
    return counted.result()
