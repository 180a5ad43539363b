"""Tables of what is known of structures: per sample, per source, and left against right."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Annotated

import numpy as np
import pyarrow as pa

from expectations.tables.build import table
from mdfp import geometry
from mdfp.labels import State
from mdfp.sample import Grid, Sample, StructureState
from schemas import ontology
from transforms.labels.account import RATIO_FROM_VOXELS

MIN_FOR_MEDIAN = 5
"""Samples in which a structure must be present before its median volume is compared between sources."""


@dataclass(frozen=True)
class StructureRow:
    """One structure in one sample, where anybody looked for it."""

    id: Annotated[str, "key/structure"]
    source: Annotated[str, "id of the source"]
    structure: Annotated[str, "ontology id"]
    kind: Annotated[str | None, "anatomy, lesion or device; null for one that the ontology does not have"]
    state: Annotated[str, "present, absent, merged or partial (a row for each unknown would say nothing)"]
    in_palette: Annotated[bool, "whether the palette has the structure, with this integer"]
    layer_known: Annotated[bool | None, "whether its layer is one of the sample's; null without a layer"]
    native_voxels: Annotated[int | None, "voxels on the native grid"]
    stored_voxels: Annotated[int | None, "voxels as stored"]
    native_mm3: Annotated[float | None, "volume on the native grid"]
    volume_ratio: Annotated[float | None, "stored over native mm³; null when absent, vanished or tiny"]
    vanished: Annotated[bool, "lost by resampling"]
    outside_fraction: Annotated[float | None, "fraction of its native voxels outside the structure it lies in"]
    box_inside: Annotated[bool | None, "whether its box has an extent and lies in the stored grid; null without a box"]
    consistent: Annotated[bool, "whether voxels, box and state agree: an absent one has none, and so on"]


@dataclass(frozen=True)
class SideRow:
    """A left and a right structure of one sample."""

    id: Annotated[str, "key/structure, without the side"]
    source: Annotated[str, "id of the source"]
    structure: Annotated[str, "ontology id, without the side"]
    right_of_left_mm: Annotated[float, "how far the right box's middle lies to the patient's right of the left's"]


@dataclass(frozen=True)
class CoverageRow:
    """One structure in one source."""

    id: Annotated[str, "source/structure"]
    source: Annotated[str, "id of the source"]
    structure: Annotated[str, "ontology id"]
    present: Annotated[int, "samples in which it is present"]
    absent: Annotated[int, "samples in which it was looked for and is absent"]
    unknown: Annotated[int, "samples in which nobody looked"]
    merged: Annotated[int, "samples in which it is inside a parent"]
    partial: Annotated[int, "samples in which it was looked for within an extent"]
    vanished: Annotated[int, "samples in which resampling lost it"]
    median_mm3: Annotated[float | None, "median native volume where present; null when never"]
    median_to_others: Annotated[float | None, "median volume over that of all other sources; null with few samples"]


@dataclass(frozen=True)
class PaletteRow:
    """One structure of the palette."""

    id: Annotated[str, "ontology id"]
    value: Annotated[int, "its integer"]
    present: Annotated[int, "samples in which it is present, partial ones counted"]


TABLES: dict[str, type] = {
    "structures": StructureRow,
    "sides": SideRow,
    "coverage": CoverageRow,
    "palette": PaletteRow,
}


def tables(samples: Sequence[Sample], palette: Mapping[str, int]) -> dict[str, pa.Table]:
    """The structures' tables, by name. `palette` maps structures to their integers."""
    coverage = list(coverage_rows(samples))
    present: Counter[str] = Counter()
    for row in coverage:
        present[row.structure] += row.present + row.partial
    return {
        "structures": table(StructureRow, _structure_rows(samples, palette)),
        "sides": table(SideRow, _side_rows(samples)),
        "coverage": table(CoverageRow, coverage),
        "palette": table(
            PaletteRow, (PaletteRow(s, v, present[s]) for s, v in sorted(palette.items(), key=lambda item: item[1]))
        ),
    }


def _structure_rows(samples: Sequence[Sample], palette: Mapping[str, int]) -> Iterator[StructureRow]:
    known = ontology.load()
    for s in samples:
        layers = {x.layer for x in s.labels}
        grids = {x.layer: _grid_of(s, x.image) for x in s.labels}
        drawn = {x.structure for x in s.structures if x.native_voxels}
        for x in s.structures:
            if x.state == State.UNKNOWN:
                continue
            yield StructureRow(
                id=f"{s.key}/{x.structure}",
                source=s.source,
                structure=x.structure,
                kind=known[x.structure].kind if x.structure in known else None,
                state=x.state,
                in_palette=palette.get(x.structure) == x.value,
                layer_known=None if x.layer is None else x.layer in layers,
                native_voxels=x.native_voxels,
                stored_voxels=x.stored_voxels,
                native_mm3=x.native_mm3,
                volume_ratio=volume_ratio(x),
                vanished=x.vanished,
                outside_fraction=x.outside_fraction,
                box_inside=_box_inside(x.box, grids.get(x.layer or "")),
                consistent=_consistent(x, drawn),
            )


def volume_ratio(x: StructureState) -> float | None:
    """Stored over native mm³; None where there are no voxels, or so few that they cannot keep it (as while building)."""
    if x.vanished or not x.native_mm3 or not x.stored_mm3 or not x.stored_voxels:
        return None
    stored_voxel_mm3 = x.stored_mm3 / x.stored_voxels
    return x.stored_mm3 / x.native_mm3 if x.native_mm3 >= RATIO_FROM_VOXELS * stored_voxel_mm3 else None


def _grid_of(s: Sample, image: str) -> Grid | None:
    return next((i.stored for i in s.images if i.name == image), None)


def _box_inside(box: tuple[int, ...] | None, grid: Grid | None) -> bool | None:
    if box is None:
        return None
    if grid is None or len(box) != 2 * len(grid.shape):
        return False
    axes = len(grid.shape)
    return all(0 <= a < b <= n for a, b, n in zip(box[:axes], box[axes:], grid.shape, strict=True))


def _consistent(x: StructureState, drawn: Collection[str]) -> bool:
    """Whether the entry does not contradict itself.

    Args:
        x: the entry.
        drawn: structures of the sample that have native voxels of their own.
    """
    native, stored = x.native_voxels or 0, x.stored_voxels or 0
    if x.vanished != (native > 0 and stored == 0) or (x.box is None) != (stored == 0) or (stored and not native):
        return False
    if x.state == State.PRESENT:
        # All voxels may belong to narrower structures: a kidney drawn as left and right, an organ full of tumour.
        known = ontology.load()
        narrower = known.descendants(x.structure) if x.structure in known else ()
        return native > 0 or any(d in drawn for d in narrower)
    if x.state == State.MERGED:
        return x.merged_into is not None and native == 0
    return x.extent is not None if x.state == State.PARTIAL else native == 0


def _side_rows(samples: Sequence[Sample]) -> Iterator[SideRow]:
    for s in samples:
        boxed = {x.structure: x for x in s.structures if x.box is not None}
        images = {x.layer: x.image for x in s.labels}
        for name, left in boxed.items():
            base = name.removesuffix("_left")
            right = boxed.get(f"{base}_right")
            if base == name or right is None:
                continue
            middles = [_right_mm(x, _grid_of(s, images.get(x.layer or "", ""))) for x in (left, right)]
            if middles[0] is not None and middles[1] is not None:
                yield SideRow(f"{s.key}/{base}", s.source, base, middles[1] - middles[0])


def _right_mm(x: StructureState, grid: Grid | None) -> float | None:
    """World position of the middle of a structure's box along the patient's left-right axis, mm to the right."""
    if grid is None or grid.affine_ras is None or x.box is None or len(x.box) != 6:
        return None
    z0, y0, x0, z1, y1, x1 = x.box
    middle_xyz = ((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2, (z0 + z1 - 1) / 2)
    return float(geometry.apply(np.array(grid.affine_ras).reshape(4, 4), middle_xyz)[0])


def coverage_rows(samples: Sequence[Sample]) -> Iterator[CoverageRow]:
    """A row for each structure and source, sorted by both."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    volumes: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for s in samples:
        for x in s.structures:
            count = counts[x.structure, s.source]
            count[x.state] += 1
            count["vanished"] += x.vanished
            if x.state == State.PRESENT and x.native_mm3:
                volumes[x.structure][s.source].append(x.native_mm3)
    for (structure, source), count in sorted(counts.items()):
        own = volumes[structure][source]
        others = [v for other, those in volumes[structure].items() if other != source for v in those]
        enough = len(own) >= MIN_FOR_MEDIAN and len(others) >= MIN_FOR_MEDIAN
        yield CoverageRow(
            id=f"{source}/{structure}",
            source=source,
            structure=structure,
            present=count[State.PRESENT],
            absent=count[State.ABSENT],
            unknown=count[State.UNKNOWN],
            merged=count[State.MERGED],
            partial=count[State.PARTIAL],
            vanished=count["vanished"],
            median_mm3=median(own) if own else None,
            median_to_others=median(own) / median(others) if enough else None,
        )
