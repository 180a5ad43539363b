"""Tables of what is known of structures: per sample, per source, and left against right."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.tables.build import column_table, table
from expectations.tables.nested import (
    Bools,
    Floats,
    Ints,
    Nested,
    codes,
    find,
    flags,
    floats,
    given,
    ints,
    known,
    matrix,
    pairs,
    whole,
)
from mdfp.labels import State
from mdfp.sample import StructureState
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


class StructureTables:
    """The structures' tables, a batch of samples at a time.

    Args:
        palette: integer of each structure.
    """

    def __init__(self, palette: Mapping[str, int]):
        self._palette = dict(palette)
        self.coverage = Coverage()

    def add(self, samples: pa.Table, images: Nested) -> dict[str, pa.Table]:
        """The row tables of these samples (rows with the schema of `Sample`), by name."""
        states, labels = Nested(samples["structures"]), Nested(samples["labels"])
        self.coverage.add(whole(samples["source"]).take(pa.array(states.parent)), states)
        grids = _Grids(samples, images, labels, states)
        return {"structures": self._rows(samples, states, grids), "sides": _sides(samples, states, grids)}

    def finish(self) -> dict[str, pa.Table]:
        """The tables that count over all samples, by name."""
        coverage = self.coverage.rows()
        present: Counter[str] = Counter()
        for row in coverage:
            present[row.structure] += row.present + row.partial
        entries = sorted(self._palette.items(), key=lambda item: item[1])
        return {
            "coverage": table(CoverageRow, coverage),
            "palette": table(PaletteRow, (PaletteRow(s, v, present[s]) for s, v in entries)),
        }

    def _rows(self, t: pa.Table, n: Nested, grids: _Grids) -> pa.Table:
        structure, state = n.field("structure"), n.field("state")
        seen = pa.array(~flags(pc.equal(state, str(State.UNKNOWN))))
        names, (code,) = codes(structure)
        catalogue = ontology.load()
        kinds = pa.array([catalogue[x].kind if x in catalogue else None for x in names] or [None], pa.string())
        integers = np.array([self._palette.get(x, -1) for x in names] or [-1])
        of = pa.array(n.parent)
        ratio = volume_ratios(n)
        columns = {
            "id": pc.binary_join_element_wise(whole(t["key"]).take(of), structure, "/"),
            "source": whole(t["source"]).take(of),
            "structure": structure,
            "kind": kinds.take(pa.array(code)) if len(n) else pa.array([], pa.string()),
            "state": state,
            "in_palette": pa.array(integers[code] == ints(n.field("value"), -2)),
            "layer_known": known(grids.label_of_state >= 0, given(n.field("layer"))),
            **{x: n.field(x) for x in ("native_voxels", "stored_voxels", "native_mm3", "vanished", "outside_fraction")},
            "volume_ratio": known(ratio, ~np.isnan(ratio)),
            "box_inside": grids.box_inside,
            "consistent": pa.array(_consistent(n, names, code)),
        }
        return column_table(StructureRow, {name: whole(c).filter(seen) for name, c in columns.items()})


class _Grids:
    """On which label and image each state's voxels lie, and whether its box lies in that grid.

    Attributes:
        label_of_state: index of the label of its layer, -1 where there is none.
        image_of_state: index of the image of that label, -1 where there is none.
        box_inside: whether its box has an extent and lies in the stored grid; null without a box.
    """

    def __init__(self, t: pa.Table, images: Nested, labels: Nested, states: Nested):
        names, (layer, wanted) = codes(labels.field("layer"), states.field("layer"))
        keys = pairs(labels.parent, layer, len(names))
        self.label_of_state = find(keys, pairs(states.parent, wanted, len(names)), last=True)
        image_names, (name, of_label) = codes(images.field("name"), labels.field("image"))
        image_of_label = find(
            pairs(images.parent, name, len(image_names)), pairs(labels.parent, of_label, len(image_names))
        )
        none = np.full(len(states), -1, np.int64)
        self.image_of_state = (
            np.where(self.label_of_state >= 0, image_of_label[self.label_of_state], -1) if len(labels) else none
        )
        box = states.field("box")
        shape = matrix(images.field("stored", "shape"), 3)
        corners = matrix(box, 6)
        inside = np.zeros(len(states), dtype=bool)
        if len(images):
            edge = shape[np.maximum(self.image_of_state, 0)]
            low, high = corners[:, :3], corners[:, 3:]
            inside = ((low >= 0) & (low < high) & (high <= edge)).all(axis=1) & (self.image_of_state >= 0)
            flat, axes = images.field("stored", "shape"), images.field("axes")
            odd = given(box) & (self.image_of_state >= 0) & (np.isnan(corners[:, 0]) | np.isnan(edge[:, 0]))
            for i in np.flatnonzero(odd):  # arrays of another rank
                image = int(self.image_of_state[i])
                shape_of = zip(axes[image].as_py(), flat[image].as_py(), strict=True)
                inside[i] = _box_inside(box[int(i)].as_py(), [n for axis, n in shape_of if axis != "c"])
        self.box_inside = known(inside, given(box))
        self.corners = corners
        self.affine = matrix(images.field("stored", "affine_ras"), 16).reshape(-1, 4, 4)


def _box_inside(box: Sequence[int], shape: Sequence[int]) -> bool:
    shape = shape[1:] if len(shape) == 4 and len(box) == 6 else shape  # a mask is of one time point
    axes = len(shape)
    return len(box) == 2 * axes and all(0 <= a < b <= n for a, b, n in zip(box[:axes], box[axes:], shape, strict=True))


def volume_ratios(states: Nested) -> Floats:
    """Stored over native mm³; NaN where there are no voxels, or so few that they cannot keep it (as while building)."""
    native, stored = floats(states.field("native_mm3")), floats(states.field("stored_mm3"))
    voxels = floats(states.field("stored_voxels"))
    with np.errstate(invalid="ignore", divide="ignore"):
        told = ~flags(states.field("vanished")) & (native != 0) & (stored != 0) & (voxels > 0)
        return np.where(told & (native >= RATIO_FROM_VOXELS * (stored / voxels)), stored / native, np.nan)


def _consistent(n: Nested, names: Sequence[str], code: Ints) -> Bools:
    """Whether each entry does not contradict itself."""
    stored = ints(n.field("stored_voxels"))
    # A slice of a resampled volume has no native voxels of its own: what is stored speaks for them.
    native = np.where(given(n.field("native_voxels")), ints(n.field("native_voxels")), stored)
    vanished, boxed = flags(n.field("vanished")), given(n.field("box"))
    state = n.field("state")
    sound = (vanished == ((native > 0) & (stored == 0))) & (boxed == (stored != 0)) & ~((stored != 0) & (native == 0))
    result = native == 0
    present = flags(pc.equal(state, str(State.PRESENT)))
    result[present] = native[present] > 0
    merged = flags(pc.equal(state, str(State.MERGED)))
    result[merged] &= given(n.field("merged_into"))[merged]
    partial = flags(pc.equal(state, str(State.PARTIAL)))
    result[partial] = given(n.field("extent"))[partial]
    # All voxels may belong to narrower structures: a kidney drawn as left and right, an organ full of tumour.
    empty = np.flatnonzero(present & (native <= 0) & sound)
    if len(empty):
        catalogue, position = ontology.load(), {name: i for i, name in enumerate(names)}
        drawn = set(pairs(n.parent, code, len(names))[native != 0].tolist())
        for i in empty:
            name = names[code[i]]
            narrower = catalogue.descendants(name) if name in catalogue else ()
            wanted = np.array([position[d] for d in narrower if d in position], np.int64)
            result[i] = any(p in drawn for p in pairs(np.full(len(wanted), n.parent[i]), wanted, len(names)).tolist())
    return sound & result


def _sides(t: pa.Table, n: Nested, grids: _Grids) -> pa.Table:
    names, (code,) = codes(n.field("structure"))
    right = {name.removesuffix("_left"): i for i, name in enumerate(names) if name.endswith("_left")}
    other = np.full(max(1, len(names)), -1, np.int64)
    for i, name in enumerate(names):
        if name.endswith("_right") and name.removesuffix("_right") in right:
            other[right[name.removesuffix("_right")]] = i
    boxed = given(n.field("box"))
    keys = np.where(boxed, pairs(n.parent, code, len(names)), -1)
    lefts = np.flatnonzero(boxed & (other[code] >= 0)) if len(n) else np.array([], np.int64)
    lefts = lefts[find(keys, keys[lefts], last=True) == lefts]
    rights = find(keys, pairs(n.parent[lefts], other[code[lefts]], len(names)), last=True)
    lefts, rights = lefts[rights >= 0], rights[rights >= 0]
    across = [_right_mm(those, grids) for those in (lefts, rights)]
    told = ~np.isnan(across[0]) & ~np.isnan(across[1])
    lefts, apart = lefts[told], (across[1] - across[0])[told]
    base = pa.array([names[code[i]].removesuffix("_left") for i in lefts], pa.string())
    of = pa.array(n.parent[lefts])
    return column_table(
        SideRow,
        {
            "id": pc.binary_join_element_wise(whole(t["key"]).take(of), base, "/"),
            "source": whole(t["source"]).take(of),
            "structure": base,
            "right_of_left_mm": apart,
        },
    )


def _right_mm(states: Ints, grids: _Grids) -> Floats:
    """World position of the middle of each state's box along the patient's left-right axis, mm to the right."""
    image = grids.image_of_state[states]
    if not len(grids.affine):
        return np.full(len(states), np.nan)
    corners = grids.corners[states]
    middle_zyx = (corners[:, :3] + corners[:, 3:] - 1) / 2
    row = grids.affine[np.maximum(image, 0), 0]
    across = row[:, 0] * middle_zyx[:, 2] + row[:, 1] * middle_zyx[:, 1] + row[:, 2] * middle_zyx[:, 0] + row[:, 3]
    return np.where(image >= 0, across, np.nan)


class Coverage:
    """States of each structure in each source, and volumes where it is present, counted batch by batch."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._volumes: dict[tuple[str, str], list[Floats]] = defaultdict(list)

    def add(self, source: pa.Array, states: Nested) -> None:
        """Count the states of some samples; `source` is that of each state."""
        structures, (structure,) = codes(states.field("structure"))
        sources, (owner,) = codes(source)
        kinds, (state,) = codes(states.field("state"))
        vanished, mm3 = flags(states.field("vanished")), floats(states.field("native_mm3"))
        drawn = flags(pc.equal(states.field("state"), str(State.PRESENT))) & (np.nan_to_num(mm3) != 0)
        key = structure * max(1, len(sources)) + owner
        width = max(1, len(structures)) * max(1, len(sources))
        counts = np.bincount(key * max(1, len(kinds)) + state, minlength=width * max(1, len(kinds))).reshape(width, -1)
        lost = np.bincount(key[vanished], minlength=width)
        order = np.argsort(key[drawn], kind="stable")
        volumes, ends = mm3[drawn][order], np.cumsum(np.bincount(key[drawn], minlength=width))
        for k in np.flatnonzero(counts.sum(axis=1)):
            name = structures[k // len(sources)], sources[k % len(sources)]
            self._counts[name].update({kinds[j]: int(c) for j, c in enumerate(counts[k]) if c})
            self._counts[name]["vanished"] += int(lost[k])
            self._volumes[name].append(volumes[ends[k - 1] if k else 0 : ends[k]])

    def volumes(self) -> dict[str, Floats]:
        """Native mm³ of each structure, in all samples in which it is present."""
        by_structure: dict[str, list[Floats]] = defaultdict(list)
        for (structure, _), parts in sorted(self._volumes.items()):
            by_structure[structure] += parts
        return {structure: np.concatenate(parts) for structure, parts in by_structure.items()}

    def rows(self) -> list[CoverageRow]:
        """A row for each structure and source, sorted by both."""
        volumes = {name: np.concatenate(parts) for name, parts in self._volumes.items()}
        result = []
        for (structure, source), count in sorted(self._counts.items()):
            own = volumes[structure, source]
            other = [v for (s, o), v in volumes.items() if s == structure and o != source]
            others = np.concatenate(other) if other else np.array([])
            enough = len(own) >= MIN_FOR_MEDIAN and len(others) >= MIN_FOR_MEDIAN
            result.append(
                CoverageRow(
                    id=f"{source}/{structure}",
                    source=source,
                    structure=structure,
                    present=count[State.PRESENT],
                    absent=count[State.ABSENT],
                    unknown=count[State.UNKNOWN],
                    merged=count[State.MERGED],
                    partial=count[State.PARTIAL],
                    vanished=count["vanished"],
                    median_mm3=float(np.median(own)) if len(own) else None,
                    median_to_others=float(np.median(own) / np.median(others)) if enough else None,
                )
            )
        return result


def volume_ratio(x: StructureState) -> float | None:
    """Stored over native mm³; None where there are no voxels, or so few that they cannot keep it (as while building)."""
    if x.vanished or not x.native_mm3 or not x.stored_mm3 or not x.stored_voxels:
        return None
    stored_voxel_mm3 = x.stored_mm3 / x.stored_voxels
    return x.stored_mm3 / x.native_mm3 if x.native_mm3 >= RATIO_FROM_VOXELS * stored_voxel_mm3 else None
