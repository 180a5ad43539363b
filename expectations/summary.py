"""What the report says of all samples, counted a batch at a time: a million samples are numbers here, not records."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.found import Found
from expectations.tables.nested import (
    Floats,
    Nested,
    codes,
    flags,
    highest,
    ints,
    lowest,
    matrix,
    whole,
)
from expectations.tables.structures import Coverage, CoverageRow, volume_ratios
from mdfp import arrow
from mdfp.labels import State
from mdfp.sample import PERCENTS, Sample
from transforms.labels.account import RATIO

SHOWN_PERCENTS = (1.0, 25.0, 50.0, 75.0, 99.0)
"""Of an image's intensities, what the report draws."""

CHANGED = 50
"""Samples with the largest change of a volume whose keys are remembered."""


@dataclass
class SourceFacts:
    """One source, as its samples are."""

    samples: int = 0
    bytes: int = 0
    patients: set[str] = field(default_factory=set)
    licenses: set[str] = field(default_factory=set)
    modalities: set[str] = field(default_factory=set)
    splits: Counter[str] = field(default_factory=Counter)


@dataclass
class Ratios:
    """Stored over native volumes of one structure."""

    outside: int = 0
    """Samples in which the ratio lies outside `RATIO`."""
    worst: float | None = None
    """The one farthest from 1."""

    def add(self, ratios: Floats) -> None:
        """Count more of them; all are positive."""
        if len(ratios):
            self.outside += int((~((ratios >= RATIO[0]) & (ratios <= RATIO[1]))).sum())
            far = np.abs(np.log(ratios))
            candidates = [float(ratios[far == far.max()].max()), *([] if self.worst is None else [self.worst])]
            self.worst = max(candidates, key=lambda x: (abs(np.log(x)), x))


class Summary:
    """Facts about samples; `add` takes rows with the schema of `Sample`."""

    def __init__(self) -> None:
        self.samples = 0
        self.sources: dict[str, SourceFacts] = {}
        self.values: dict[str, dict[str, list[Floats]]] = defaultdict(lambda: defaultdict(list))
        """Numbers about images: what → source and modality → values."""
        self.intensity: dict[tuple[str, str], dict[str, list[Floats]]] = defaultdict(lambda: defaultdict(list))
        """(modality, unit) → source → rows of `SHOWN_PERCENTS`."""
        self.found = Found()
        self.palette: dict[str, int] = {}
        self.ratios: dict[str, Ratios] = defaultdict(Ratios)
        self._coverage = Coverage()
        self._richest: dict[tuple[str, str], tuple[int, str, pa.Table]] = {}
        self._changed: list[tuple[float, str]] = []

    @property
    def patients(self) -> int:
        """Different patients."""
        return len(set().union(*(s.patients for s in self.sources.values())))

    @property
    def coverage(self) -> list[CoverageRow]:
        """A row for each structure and source, sorted by both."""
        return self._coverage.rows()

    @property
    def volumes(self) -> dict[str, Floats]:
        """Native mm³ of each structure, where it is present."""
        return self._coverage.volumes()

    @property
    def richest(self) -> list[Sample]:
        """Of each source and modality the sample with the most structures: for a contact sheet."""
        return [arrow.from_table(Sample, row)[0] for _, _, row in self._richest.values()]

    @property
    def changed(self) -> list[str]:
        """Keys of samples in which resampling changed the volume of a structure most, the largest change first."""
        return [key for _, key in sorted(self._changed)]

    def add(self, table: pa.Table) -> None:
        """Count some samples."""
        if not table.num_rows:
            return
        self.samples += table.num_rows
        self.found.add(table)
        self._add_sources(table)
        self._add_images(table, Nested(table["images"]))
        self._add_structures(table, Nested(table["structures"]))

    def _add_sources(self, table: pa.Table) -> None:
        size = Nested(table["members"])
        with_bytes = table.select(["source", "patient", "license", "split"]).append_column(
            "bytes", pa.array(size.total(ints(size.field("bytes"))))
        )
        modalities = Nested(table["modalities"])
        owner = whole(table["source"]).take(pa.array(modalities.parent))
        seen = pa.table({"source": owner, "modality": modalities.flat}).group_by(["source", "modality"]).aggregate([])
        for source in pc.unique(table["source"]).to_pylist():
            mine = with_bytes.filter(pc.equal(with_bytes["source"], source))
            facts = self.sources.setdefault(source, SourceFacts())
            facts.samples += mine.num_rows
            facts.bytes += int(pc.sum(mine["bytes"]).as_py())
            facts.patients.update(pc.unique(mine["patient"]).to_pylist())
            facts.licenses.update(pc.unique(mine["license"]).to_pylist())
            facts.splits.update(mine["split"].to_pylist())
            facts.modalities.update(seen.filter(pc.equal(seen["source"], source))["modality"].to_pylist())

    def _add_images(self, table: pa.Table, n: Nested) -> None:
        source = whole(table["source"]).take(pa.array(n.parent))
        names, (line,) = codes(pc.binary_join_element_wise(source, n.field("modality"), " "))
        native, stored = n.field("native", "spacing_xyz_mm"), n.field("stored", "spacing_xyz_mm")
        is_volume, over_time = (flags(pc.equal(n.field("axes"), axes)) for axes in ("zyx", "tzyx"))
        shape, mm = matrix(n.field("stored", "shape"), 3), matrix(stored, 3)
        shape[~is_volume] = np.nan
        shape[over_time] = matrix(n.field("stored", "shape"), 4)[over_time, 1:]
        columns = {
            "native smallest": lowest(native),
            "native largest": highest(native),
            "stored largest": highest(stored),
            **{f"extent {axis}": shape[:, 2 - i] * mm[:, i] for i, axis in enumerate("xyz")},
            **{f"stored {axis}": shape[:, i] for i, axis in enumerate("zyx")},
        }
        percentiles = matrix(n.field("stored_intensity", "percentiles"), len(PERCENTS))
        shown = percentiles[:, [PERCENTS.index(p) for p in SHOWN_PERCENTS]]
        told = np.isfinite(percentiles).all(axis=1)
        unit = pc.fill_null(n.field("unit"), "")
        kinds, (kind,) = codes(pc.binary_join_element_wise(source, n.field("modality"), unit, "\n"))
        for what, numbers in columns.items():
            for i, name in enumerate(names):
                mine = numbers[(line == i) & np.isfinite(numbers)]
                if len(mine):
                    self.values[what][name].append(mine)
        for i, name in enumerate(kinds):
            if len(mine := shown[(kind == i) & told]):
                of, modality, its_unit = name.split("\n")
                self.intensity[modality, its_unit][of].append(mine)

    def _add_structures(self, table: pa.Table, n: Nested) -> None:
        self._coverage.add(whole(table["source"]).take(pa.array(n.parent)), n)
        names, (code,) = codes(n.field("structure"))
        first = {int(c): int(i) for c, i in zip(*np.unique(code[::-1], return_index=True), strict=True)}
        values = ints(n.field("value"))[::-1]
        self.palette.update({names[c]: int(values[i]) for c, i in first.items()})
        ratio = volume_ratios(n)
        told = np.flatnonzero(ratio > 0)
        for c in np.unique(code[told]):
            self.ratios[names[c]].add(ratio[told][code[told] == c])
        self._add_changed(table, n, ratio, told)
        self._add_richest(table, n)

    def _add_changed(self, table: pa.Table, n: Nested, ratio: Floats, told: Any) -> None:
        far = np.zeros(table.num_rows)
        np.maximum.at(far, n.parent[told], np.abs(np.log(ratio[told])))
        top = np.argsort(-far, kind="stable")[:CHANGED]
        keys = table["key"].take(pa.array(top)).to_pylist()
        found = [(-float(far[i]), key) for i, key in zip(top, keys, strict=True) if far[i] > 0]
        self._changed = sorted([*self._changed, *found])[:CHANGED]

    def _add_richest(self, table: pa.Table, n: Nested) -> None:
        present = n.total(flags(pc.equal(n.field("state"), str(State.PRESENT))))
        groups, (group,) = codes(
            pc.binary_join_element_wise(
                whole(table["source"]),
                pc.binary_join(whole(table["modalities"]).cast(pa.list_(pa.string())), "+"),
                "\n",
            )
        )
        for i, name in enumerate(groups):
            mine = np.flatnonzero(group == i)
            best = mine[present[mine] == present[mine].max()]
            keys = table["key"].take(pa.array(best)).to_pylist()
            key = min(keys)
            source, _, modality = name.partition("\n")
            rank = (-int(present[best[0]]), key)
            held = self._richest.get((source, modality))
            if held is None or rank < (held[0], held[1]):
                self._richest[source, modality] = (*rank, table.slice(int(best[keys.index(key)]), 1))


def summarise(samples: Sequence[Sample] | Iterable[pa.Table]) -> Summary:
    """The summary of samples: records, or tables with the schema of `Sample`."""
    summary = Summary()
    tables = list(samples)
    if tables and not isinstance(tables[0], pa.Table):
        tables = [arrow.to_table(Sample, tables)]
    for table in tables:
        summary.add(table)
    return summary
