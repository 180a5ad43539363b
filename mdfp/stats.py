"""What a corpus holds, counted from its index; no pixel is touched."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from mdfp.corpus import Corpus
from mdfp.labels import State


@dataclass(frozen=True)
class Group:
    """Samples of one source in one split."""

    source: str
    split: str
    samples: int
    patients: int
    bytes: int


@dataclass(frozen=True)
class StructureCount:
    """One structure: in how many samples of a source it is in each state."""

    structure: str
    source: str
    states: dict[str, int]
    stored_mm3: float
    vanished: int


@dataclass(frozen=True)
class FindingCount:
    """One finding, or one class of a classification: how often a source says it, by state."""

    finding: str
    value: str | None
    source: str
    states: dict[str, int]


@dataclass(frozen=True)
class Statistics:
    """Totals of a corpus."""

    groups: tuple[Group, ...]
    structures: tuple[StructureCount, ...]
    findings: tuple[FindingCount, ...]
    modalities: dict[str, int]
    holes: dict[str, int]

    def plain(self) -> dict[str, Any]:
        """As dicts and lists."""
        from dataclasses import asdict

        return asdict(self)


def statistics(corpus: Corpus) -> Statistics:
    """Totals per source and split, and states per structure and source.

    Raises:
        CorpusError: the index cannot be read.
    """
    table = corpus.table
    columns: Any = table.select(["source", "split", "patient", "modalities"]).to_pydict()
    sources, patients = columns["source"], columns["patient"]
    members = table["members"].combine_chunks()
    sizes = np.zeros(table.num_rows, dtype=np.int64)
    lengths: Any = pc.struct_field(pc.list_flatten(members), "bytes")
    parents: Any = pc.list_parent_indices(members)
    np.add.at(sizes, np.asarray(parents), np.asarray(lengths))
    found: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(sources, columns["split"], strict=True)):
        found.setdefault(key, []).append(row)
    groups = tuple(
        Group(source, split, len(rows), len({patients[r] for r in rows}), int(sizes[rows].sum()))
        for (source, split), rows in sorted(found.items())
    )
    modalities = Counter(m for listed in columns["modalities"] for m in listed)
    holes = Counter({f"{h.source}: {h.reason}": h.count for h in corpus.manifest.holes})
    return Statistics(
        groups,
        _structures(corpus, sources),
        _findings(corpus, sources),
        dict(sorted(modalities.items())),
        dict(sorted(holes.items())),
    )


def _findings(corpus: Corpus, sources: list[str]) -> tuple[FindingCount, ...]:
    lists = corpus.table["annotations"].combine_chunks()
    flat, parents = pc.list_flatten(lists), pc.list_parent_indices(lists).to_pylist()
    columns = (pc.struct_field(flat, name).to_pylist() for name in ("kind", "name", "value", "state"))
    counted: dict[tuple[str, str, str], Counter[str]] = {}
    for row, kind, name, value, state in zip(parents, *columns, strict=True):
        if kind == "class":
            counted.setdefault((name, value or "", sources[row]), Counter())[state] += 1
    return tuple(
        FindingCount(name, value or None, source, {str(s): counts[s] for s in State if counts[s]})
        for (name, value, source), counts in sorted(counted.items())
    )


def _structures(corpus: Corpus, sources: list[str]) -> tuple[StructureCount, ...]:
    lists = corpus.table["structures"].combine_chunks()
    flat, parents = pc.list_flatten(lists), pc.list_parent_indices(lists).to_pylist()
    columns = (pc.struct_field(flat, name).to_pylist() for name in ("structure", "state", "stored_mm3", "vanished"))
    states: dict[tuple[str, str], Counter[str]] = {}
    volume: dict[tuple[str, str], float] = {}
    vanished: Counter[tuple[str, str]] = Counter()
    for row, structure, state, mm3, lost in zip(parents, *columns, strict=True):
        key = (structure, sources[row])
        states.setdefault(key, Counter())[state] += 1
        volume[key] = volume.get(key, 0.0) + (mm3 or 0.0)
        vanished[key] += bool(lost)
    return tuple(
        StructureCount(
            structure,
            source,
            {str(s): counts[s] for s in State if counts[s]},
            round(volume[structure, source], 3),
            vanished[structure, source],
        )
        for (structure, source), counts in sorted(states.items())
    )
