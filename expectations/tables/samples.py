"""Tables of the samples: what stands in the shards, judged before a manifest names it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.tables import structures
from expectations.tables.build import SpreadRow, coded, column_table, spread
from expectations.tables.nested import (
    Floats,
    Ints,
    Nested,
    codes,
    find,
    flags,
    floats,
    given,
    highest,
    ints,
    known,
    lowest,
    matrix,
    once,
    pairs,
    product,
    repeated,
    whole,
)
from mdfp import arrow, geometry
from mdfp.manifest import PaletteEntry
from mdfp.sample import Sample
from schemas.case import Reject
from schemas.recipe import Recipe, ReferenceGrid
from transforms.normalise.grid import target_spacing


@dataclass(frozen=True)
class SampleRow:
    """One sample."""

    id: Annotated[str, "key of the sample"]
    case_id: Annotated[str, "the case it was made from"]
    source: Annotated[str, "id of the source"]
    split: Annotated[str, "train, val or test"]
    patient: Annotated[str | None, "pseudonym; null when empty"]
    license: Annotated[str, "SPDX id, or own-data"]
    images: Annotated[int, "its images"]
    labels: Annotated[int, "its stored masks"]
    json_members: Annotated[int, "members of kind json in its shard"]
    missing_members: Annotated[int, "images, masks and texts without a member in the shard"]
    misplaced_members: Annotated[int, "members that are empty, overlap another one, or are not named after the key"]
    missing_states: Annotated[int | None, "palette structures without a state; null for earlier generations"]
    repeated_states: Annotated[int, "structures with more than one state"]
    warnings: Annotated[int, "warnings of the build"]


@dataclass(frozen=True)
class ImageRow:
    """One image of a sample, as stored."""

    id: Annotated[str, "key/name"]
    source: Annotated[str, "id of the source"]
    modality: Annotated[str, "DICOM Modality code"]
    axes: Annotated[str, "axes of the array, slowest first"]
    dtype: Annotated[str, "number type"]
    unit: Annotated[str | None, "unit of the physical values"]
    orientation: Annotated[str | None, "directions the x, y, z axes point to"]
    shape_min: Annotated[int, "voxels along its shortest axis"]
    shape_max: Annotated[int, "voxels along its longest axis"]
    spacing_min_mm: Annotated[float | None, "smallest spacing"]
    spacing_max_mm: Annotated[float | None, "largest spacing"]
    spacing_error_mm: Annotated[float | None, "largest difference to the spacing asked for; null without a recipe"]
    affine_error_mm: Annotated[float | None, "largest difference between the spacing and the affine's columns"]
    view_ratio: Annotated[float | None, "volume of its field of view, stored over native"]
    store: Annotated[str, "what the recipe stores: physical, normalised or native numbers; physical without a recipe"]
    minimum: Annotated[float, "smallest physical value as stored"]
    maximum: Annotated[float, "largest physical value as stored"]
    mean: Annotated[float, "mean as stored"]
    std: Annotated[float, "standard deviation as stored"]
    nonfinite_statistics: Annotated[int, "of its intensity numbers, native and stored, how many are not finite"]
    nonfinite_fraction: Annotated[float, "native voxels that were not finite and were replaced"]
    padding_fraction: Annotated[float, "native voxels that were padding"]
    window_width: Annotated[float, "upper minus lower of the default normalisation"]
    content_hash: Annotated[str, "xxh3-128 of the canonical native voxels"]


@dataclass(frozen=True)
class MaskRow:
    """One stored mask of a sample."""

    id: Annotated[str, "key/layer"]
    source: Annotated[str, "id of the source"]
    layer: Annotated[str, "name of the layer"]
    origin: Annotated[str, "who made it"]
    dtype: Annotated[str, "number type"]
    holds_palette: Annotated[bool, "whether the number type can hold the palette's largest integer"]
    image_known: Annotated[bool, "whether its image is in the sample"]
    grid_offset_voxels: Annotated[float, "largest distance of a corner from the image's, before it was adopted"]


@dataclass(frozen=True)
class ContentRow:
    """One set of pixels, wherever it occurs."""

    id: Annotated[str, "content hash"]
    samples: Annotated[int, "samples that hold it"]
    splits: Annotated[int, "splits these are in"]
    keys: Annotated[str, "keys of the first of them"]
    unwanted_copies: Annotated[int, "samples beyond the first; 0 where the recipe keeps duplicates"]


@dataclass(frozen=True)
class PlannedRow:
    """One case that was planned, or made."""

    id: Annotated[str, "case id"]
    planned: Annotated[bool, "whether the plan has it"]
    samples: Annotated[int, "samples made from it; the slices of a volume count as one"]
    holes: Annotated[int, "holes that name it"]
    accounted: Annotated[int, "samples and holes together"]


TABLES: dict[str, type] = {
    "samples": SampleRow,
    "images": ImageRow,
    "masks": MaskRow,
    "patients": SpreadRow,
    "groups": SpreadRow,
    "contents": ContentRow,
    "planned": PlannedRow,
    **structures.TABLES,
}


class SampleTables:
    """The samples' tables, a batch of samples at a time: row tables from each batch, counts over all of them at the end.

    Args:
        palette: integer of each structure of the newest generation.
        newest: that generation's number.
        recipe: for what it asks of spacing and duplicates; None: not judged.
        later: structures of the palette that came after that generation, with labels that were added to some samples.
    """

    def __init__(
        self, palette: Mapping[str, int], newest: int, recipe: Recipe | None, later: Collection[str] = frozenset()
    ):
        self._palette, self._newest, self._recipe = dict(palette), newest, recipe
        self._built = set(palette) - set(later)
        self._slim: list[pa.Table] = []
        self._hashes: list[pa.Table] = []
        self.structures = structures.StructureTables(self._palette)

    def add(self, samples: pa.Table) -> dict[str, pa.Table]:
        """The row tables of these samples (rows with the schema of `Sample`), by name."""
        images = Nested(samples["images"])
        self._slim.append(samples.select(["key", "case_id", "patient", "group", "split"]))
        of = pa.array(images.parent)
        case = samples["case_id"].take(of)
        hashes = pa.table(
            [images.field("content_hash"), samples["key"].take(of), samples["split"].take(of), case], _HASHES
        )
        self._hashes.append(hashes.filter(pa.array(once(_rows_and_codes(images, "content_hash")))))
        return {
            "samples": self._samples(samples),
            "images": self._images(samples, images),
            "masks": self._masks(samples, images),
            **self.structures.add(samples, images),
        }

    def finish(self, holes: Sequence[Reject], planned: Collection[str] | pa.Array) -> dict[str, pa.Table]:
        """The tables that count over all samples, by name.

        Args:
            holes: rejects of the build, and the planned holes.
            planned: case ids that the plan put into shards, holes included.
        """
        slim = pa.concat_tables([_EMPTY, *self._slim], promote_options="permissive")
        wanted = planned if isinstance(planned, pa.Array) else pa.array(sorted(planned), pa.string())
        lost = pa.array([h.case_id for h in holes if h.case_id is not None], pa.string())
        return {
            "patients": spread(slim["patient"], slim["split"]),
            "groups": spread(slim["group"], slim["split"]),
            "contents": self._contents(),
            "planned": _planned_table(_made(slim), lost, wanted),
            **self.structures.finish(),
        }

    def _samples(self, t: pa.Table) -> pa.Table:
        members, states = Nested(t["members"]), Nested(t["structures"])
        images, labels, texts = Nested(t["images"]), Nested(t["labels"]), Nested(t["texts"])
        promised = [
            pc.binary_join_element_wise(kind, n.field(name), "/")
            for kind, n, name in (("image", images, "name"), ("label", labels, "layer"), ("text", texts, "name"))
        ]
        there = pc.binary_join_element_wise(members.field("kind"), members.field("array"), "/")
        names, (a, b, c, d) = codes(*promised, there)
        wanted = np.concatenate(
            [pairs(n.parent, code, len(names)) for n, code in ((images, a), (labels, b), (texts, c))]
        )
        missing = np.setdiff1d(wanted, pairs(members.parent, d, len(names)))
        structure_names, (structure,) = codes(states.field("structure"))
        keys = pairs(states.parent, structure, len(structure_names))
        in_palette = np.array([n in self._built for n in structure_names] or [False])
        stated = states.total(once(keys) & in_palette[structure]) if len(states) else np.zeros(t.num_rows, np.int64)
        newest = ints(t["generation"]) == self._newest
        patient = whole(t["patient"])
        return column_table(
            SampleRow,
            {
                "id": t["key"],
                "case_id": t["case_id"],
                "source": t["source"],
                "split": t["split"],
                "patient": pc.if_else(pc.equal(patient, ""), None, patient),
                "license": t["license"],
                "images": images.counts,
                "labels": labels.counts,
                "json_members": members.total(flags(pc.equal(members.field("kind"), "json"))),
                "missing_members": np.bincount(missing // (len(names) + 1), minlength=t.num_rows),
                "misplaced_members": _misplaced(whole(t["key"]), members),
                "missing_states": known(len(self._built) - stated, newest),
                "repeated_states": states.total(repeated(keys)),
                "warnings": Nested(t["warnings"]).counts,
            },
        )

    def _images(self, t: pa.Table, n: Nested) -> pa.Table:
        of = pa.array(n.parent)
        stored_spacing, native_shape = n.field("stored", "spacing_xyz_mm"), n.field("native", "shape")
        low, high = lowest(stored_spacing), highest(stored_spacing)
        native_voxels = np.maximum(1.0, product(native_shape))
        error = np.full(len(n), np.nan) if self._recipe is None else _spacing_errors(n, self._recipe)
        affine_error, view = _affine_errors(n), _view_ratios(n)
        return column_table(
            ImageRow,
            {
                "id": pc.binary_join_element_wise(whole(t["key"]).take(of), n.field("name"), "/"),
                "source": t["source"].take(of),
                **{name: n.field(name) for name in ("modality", "axes", "dtype", "unit", "content_hash")},
                "orientation": n.field("stored", "orientation"),
                "shape_min": np.nan_to_num(lowest(n.field("stored", "shape"))).astype(np.int64),
                "shape_max": np.nan_to_num(highest(n.field("stored", "shape"))).astype(np.int64),
                "spacing_min_mm": known(low, ~np.isnan(low)),
                "spacing_max_mm": known(high, ~np.isnan(high)),
                "spacing_error_mm": known(error, ~np.isnan(error)),
                "affine_error_mm": known(affine_error, ~np.isnan(affine_error)),
                "view_ratio": known(view, ~np.isnan(view)),
                "store": self._recipe.intensity.store if self._recipe else "physical",
                **{name: n.field("stored_intensity", name) for name in ("minimum", "maximum", "mean", "std")},
                "nonfinite_statistics": _nonfinite(n),
                "nonfinite_fraction": ints(n.field("nonfinite_voxels")) / native_voxels,
                "padding_fraction": ints(n.field("padding_voxels")) / native_voxels,
                "window_width": floats(n.field("normalisation", "upper")) - floats(n.field("normalisation", "lower")),
            },
        )

    def _masks(self, t: pa.Table, images: Nested) -> pa.Table:
        n, states = Nested(t["labels"]), Nested(t["structures"])
        # A sample of an earlier generation had a smaller palette; its own integers are what its masks must hold.
        largest = np.full(t.num_rows, -1, np.int64)
        np.maximum.at(largest, states.parent, ints(states.field("value")))
        needed = np.where(largest < 0, max(self._palette.values(), default=0), largest)[n.parent]
        holds = np.full(len(n), -1, np.int64)
        for dtype, limit in (("uint8", 255), ("uint16", 65_535)):
            holds[flags(pc.equal(n.field("dtype"), dtype))] = limit
        names, (image, of_label) = codes(images.field("name"), n.field("image"))
        found = find(pairs(images.parent, image, len(names)), pairs(n.parent, of_label, len(names)))
        of = pa.array(n.parent)
        return column_table(
            MaskRow,
            {
                "id": pc.binary_join_element_wise(whole(t["key"]).take(of), n.field("layer"), "/"),
                "source": t["source"].take(of),
                **{name: n.field(name) for name in ("layer", "origin", "dtype", "grid_offset_voxels")},
                "holds_palette": needed <= holds,
                "image_known": found >= 0,
            },
        )

    def _contents(self) -> pa.Table:
        empty = pa.schema([(n, pa.string()) for n in _HASHES]).empty_table()
        table = pa.concat_tables([empty, *self._hashes], promote_options="permissive")
        table = _once_a_case(table)
        names, held = coded(table["content"])
        counts = np.bincount(held, minlength=len(names))
        splits, split = coded(table["split"])
        in_splits = np.unique(held * max(1, len(splits)) + split) // max(1, len(splits))
        order = np.argsort(held, kind="stable")
        first = np.concatenate([[0], np.cumsum(counts)])[:-1].astype(np.int64)
        keys = whole(table["key"])
        shown = keys.take(pa.array(order[first])).to_pylist() if len(names) else []
        for i in np.flatnonzero(counts > 1):
            held_by = keys.take(pa.array(order[first[i] : first[i] + min(3, counts[i])])).to_pylist()
            shown[i] = ", ".join(held_by) + (", …" if counts[i] > 3 else "")
        drop = self._recipe is None or self._recipe.duplicates == "drop"
        return column_table(
            ContentRow,
            {
                "id": pa.array(names, pa.string()),
                "samples": counts,
                "splits": np.bincount(in_splits, minlength=len(names)),
                "keys": pa.array(shown, pa.string()),
                "unwanted_copies": counts - 1 if drop else np.zeros(len(names), np.int64),
            },
        )


_HASHES = ["content", "key", "split", "case_id"]
_EMPTY = pa.schema([(n, pa.string()) for n in ("key", "case_id", "patient", "group", "split")]).empty_table()


def _once_a_case(table: pa.Table) -> pa.Table:
    """Rows of `_HASHES` without those that say again what their case holds: the slices of a volume carry its hash."""
    contents, content = coded(table["content"])
    _, case = coded(table["case_id"])
    first = np.unique(case.astype(np.int64) * max(1, len(contents)) + content, return_index=True)[1]
    return table if len(first) == table.num_rows else table.take(pa.array(np.sort(first)))


def _made(slim: pa.Table) -> pa.Array:
    """Case ids of the samples, one for all slices of a volume: they have keys of their own."""
    sliced = pc.not_equal(slim["key"], slim["case_id"])
    once_each = pc.unique(slim["case_id"].filter(sliced)).cast(pa.string())
    return pa.concat_arrays([whole(slim["case_id"].filter(pc.invert(sliced))).cast(pa.string()), once_each])


def _rows_and_codes(n: Nested, name: str) -> Ints:
    names, (code,) = codes(n.field(name))
    return pairs(n.parent, code, len(names))


def tables(
    samples: Sequence[Sample],
    holes: Sequence[Reject],
    planned: Collection[str],
    palette: Sequence[PaletteEntry],
    recipe: Recipe | None,
) -> dict[str, pa.Table]:
    """The samples' tables from records, by name; see `SampleTables`.

    Args:
        samples: all samples of the corpus that the manifest will name.
        holes: rejects of the build, and the planned holes.
        planned: case ids that the plan put into shards, holes included.
        palette: of the newest generation; empty: whatever the newest samples have.
        recipe: for what it asks of spacing and duplicates; None: not judged.
    """
    newest = max((s.generation for s in samples), default=0)
    values = {p.structure: p.value for p in palette} or {
        state.structure: state.value for s in samples if s.generation == newest for state in s.structures
    }
    made = SampleTables(values, newest, recipe)
    return {**made.add(arrow.to_table(Sample, samples)), **made.finish(holes, planned)}


def _misplaced(keys: pa.Array, members: Nested) -> Ints:
    """Members that are empty, overlap another one of their tar, or are not named after the key."""
    offset, size = ints(members.field("offset")), ints(members.field("bytes"))
    tar = _tars(members)
    order = np.lexsort((offset, tar))
    parent = tar[order]
    apart = float(max(1, (offset + size).max(initial=0) + 1))
    end = np.maximum.accumulate(parent * apart + np.maximum((offset + size)[order], 0)) if len(order) else np.array([])
    before = np.concatenate([[-1.0], end[:-1]]) if len(order) else end
    overlaps = np.zeros(len(order), dtype=bool)
    overlaps[order] = (parent * apart + offset[order] < before) | (offset[order] < 0)
    head = pc.list_element(pc.split_pattern(members.field("name"), ".", max_splits=1), 0)
    key = keys.take(pa.array(members.parent))
    named = flags(pc.equal(head, key)) & flags(pc.match_substring(members.field("name"), "."))
    odd = flags(pc.match_substring(key, "."))  # no key has a dot; one that has is judged the slow way
    for i in np.flatnonzero(odd):
        named[i] = members.field("name")[int(i)].as_py().startswith(f"{key[int(i)].as_py()}.")
    return members.total((size <= 0) | overlaps | ~named)


def _tars(members: Nested) -> Ints:
    """A number for each tar of each sample: its shard, and the sidecars that some of its members lie in."""
    if members.flat.type.get_field_index("shard") < 0:
        return members.parent
    paths = whole(members.field("shard")).dictionary_encode()
    sidecar = ints(paths.indices, -1) + 1
    return members.parent * (len(paths.dictionary) + 1) + sidecar


def _nonfinite(n: Nested) -> Ints:
    count = np.zeros(len(n), np.int64)
    for which in ("native_intensity", "stored_intensity"):
        for name in ("minimum", "maximum", "mean", "std"):
            count += ~np.isfinite(floats(n.field(which, name)))
        for name in ("body_mean", "body_std"):
            values = n.field(which, name)
            count += ~np.isfinite(floats(values)) & given(values)
        percentiles = n.field(which, "percentiles")
        of = np.asarray(pc.list_parent_indices(percentiles), dtype=np.int64)
        bad = ~np.isfinite(floats(pc.list_flatten(percentiles)))
        count += np.bincount(of[bad], minlength=len(n))
    return count


def _spacing_errors(n: Nested, recipe: Recipe) -> Floats:
    """Largest difference between the stored spacing and the one asked for, mm; NaN where one of them is not known."""
    asked = np.arange(len(n))
    modality = n.field("modality").to_pylist()
    if isinstance(recipe.geometry.grid, ReferenceGrid):
        reference = np.array([m == recipe.geometry.grid.reference for m in modality], dtype=bool)
        at = find(n.parent[reference], n.parent)
        asked = np.where(at >= 0, np.flatnonzero(reference)[at] if reference.any() else asked, asked)
    native = canonical_spacings(n.field("native", "affine_ras"), n.field("native", "spacing_xyz_mm"))[asked]
    stored = matrix(n.field("stored", "spacing_xyz_mm"), 3)
    wanted = np.full((len(n), 3), np.nan)
    told = ~np.isnan(native).any(axis=1) & ~np.isnan(stored).any(axis=1)
    upsample = recipe.geometry.upsample == "allow"
    kinds = np.array([modality[i] for i in asked], dtype=object)
    for kind in {modality[i] for i in asked[told]}:
        mine = np.flatnonzero(told & (kinds == kind))
        distinct, back = np.unique(native[mine], axis=0, return_inverse=True)
        spacing = recipe.geometry.spacing_for(kind)
        answers = [target_spacing((x, y, z), spacing, upsample=upsample) for x, y, z in distinct.tolist()]
        wanted[mine] = np.array(answers)[back.reshape(-1)]
    return np.abs(stored - wanted).max(axis=1) if len(n) else np.array([])


def canonical_spacings(affines: pa.Array, spacings: pa.Array) -> Floats:
    """Spacing in mm along the axes closest to R, A, S, in this order, for each grid; NaN without geometry.

    The same choice as `mdfp.geometry.closest_axes`, for many grids at once.
    """
    affine, spacing = matrix(affines, 16), matrix(spacings, 3)
    d = affine.reshape(-1, 4, 4)[:, :3, :3]
    with np.errstate(invalid="ignore", divide="ignore"):
        aligned = np.round(np.abs(d / np.sqrt((d**2).sum(axis=1, keepdims=True))) / geometry.TIE)
    result = np.full((len(affine), 3), np.nan)
    sound = np.isfinite(aligned).all(axis=(1, 2)) & ~np.isnan(spacing).any(axis=1)
    # Candidates (index axis i, world axis w) in the order of closest_axes: alignment, own place, i, w.
    index, world = np.divmod(np.arange(9), 3)
    tie_break = np.where(index != world, 9, 0) + np.arange(9)
    rank = -aligned[sound].transpose(0, 2, 1).reshape(-1, 9) * 32 + tie_break
    found = np.full((len(rank), 3), np.nan)
    rows = np.arange(len(rank))
    for _ in range(3):
        best = np.argmin(rank, axis=1)
        found[rows, world[best]] = spacing[sound][rows, index[best]]
        rank = np.where((index[None] == index[best, None]) | (world[None] == world[best, None]), np.inf, rank)
    result[sound] = found
    return result


def _affine_errors(n: Nested) -> Floats:
    affine = matrix(n.field("stored", "affine_ras"), 16).reshape(-1, 4, 4)[:, :3, :3]
    spacing = matrix(n.field("stored", "spacing_xyz_mm"), 3)
    return np.abs(np.sqrt((affine**2).sum(axis=1)) - spacing).max(axis=1) if len(n) else np.array([])


def _view_ratios(n: Nested) -> Floats:
    volumes = []
    # A slice has no volume of its own to compare with that of its source.
    alike = np.asarray(pc.equal(*(pc.list_value_length(n.field(g, "shape")) for g in ("native", "stored"))), dtype=bool)
    for grid in ("native", "stored"):
        spacing = n.field(grid, "spacing_xyz_mm")
        told = given(spacing) & alike
        volumes.append(np.where(told, product(n.field(grid, "shape")) * product(spacing), np.nan))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(volumes[0] > 0, volumes[1] / volumes[0], np.nan)


def _planned_table(made: pa.Array, lost: pa.Array, wanted: pa.Array) -> pa.Table:
    names, counted = coded(pa.concat_arrays([made, lost, wanted]))
    ends = np.cumsum([len(made), len(lost)])
    samples, holes, planned = (np.bincount(part, minlength=len(names)) for part in np.split(counted, ends))
    return column_table(
        PlannedRow,
        {
            "id": pa.array(names, pa.string()),
            "planned": planned > 0,
            "samples": samples,
            "holes": holes,
            "accounted": samples + holes,
        },
    )
