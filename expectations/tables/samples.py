"""Tables of the samples: what stands in the shards, judged before a manifest names it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa

from expectations.tables import structures
from expectations.tables.build import SpreadRow, spread, table
from mdfp import geometry
from mdfp.manifest import PaletteEntry
from mdfp.sample import Grid, Sample, SampleImage, SampleLabel
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
    samples: Annotated[int, "samples made from it"]
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


def tables(
    samples: Sequence[Sample],
    holes: Sequence[Reject],
    planned: Collection[str],
    palette: Sequence[PaletteEntry],
    recipe: Recipe | None,
) -> dict[str, pa.Table]:
    """The samples' tables, by name.

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
    splits = pa.array([s.split for s in samples], pa.string())
    return {
        "samples": table(SampleRow, (_sample_row(s, values if s.generation == newest else None) for s in samples)),
        "images": table(ImageRow, (_image_row(s, i, recipe) for s in samples for i in s.images)),
        "masks": table(MaskRow, (_mask_row(s, m, max(values.values(), default=0)) for s in samples for m in s.labels)),
        "patients": spread(pa.array([s.patient for s in samples], pa.string()), splits),
        "groups": spread(pa.array([s.group for s in samples], pa.string()), splits),
        "contents": table(ContentRow, _content_rows(samples, drop=recipe is None or recipe.duplicates == "drop")),
        "planned": table(PlannedRow, _planned_rows(samples, holes, planned)),
        **structures.tables(samples, values),
    }


def _sample_row(s: Sample, palette: dict[str, int] | None) -> SampleRow:
    promised = {("image", i.name) for i in s.images} | {("label", x.layer) for x in s.labels}
    promised |= {("text", t.name) for t in s.texts}
    named = Counter(state.structure for state in s.structures)
    return SampleRow(
        id=s.key,
        case_id=s.case_id,
        source=s.source,
        split=s.split,
        patient=s.patient or None,
        license=s.license,
        images=len(s.images),
        labels=len(s.labels),
        json_members=sum(m.kind == "json" for m in s.members),
        missing_members=len(promised - {(m.kind, m.array) for m in s.members}),
        misplaced_members=_misplaced(s),
        missing_states=None if palette is None else len(palette.keys() - named.keys()),
        repeated_states=sum(n > 1 for n in named.values()),
        warnings=len(s.warnings),
    )


def _misplaced(s: Sample) -> int:
    wrong, end = 0, 0
    for m in sorted(s.members, key=lambda m: m.offset):
        wrong += m.bytes <= 0 or m.offset < end or not m.name.startswith(f"{s.key}.")
        end = max(end, m.offset + m.bytes)
    return wrong


def _image_row(s: Sample, image: SampleImage, recipe: Recipe | None) -> ImageRow:
    grid, stats = image.stored, image.stored_intensity
    numbers = [
        n for x in (image.native_intensity, stats) for n in (x.minimum, x.maximum, x.mean, x.std, *x.percentiles)
    ]
    numbers += [n for x in (image.native_intensity, stats) for n in (x.body_mean, x.body_std) if n is not None]
    native_voxels = max(1, math.prod(image.native.shape))
    spacing = grid.spacing_xyz_mm
    return ImageRow(
        id=f"{s.key}/{image.name}",
        source=s.source,
        modality=image.modality,
        axes=image.axes,
        dtype=image.dtype,
        unit=image.unit,
        orientation=grid.orientation,
        shape_min=min(grid.shape, default=0),
        shape_max=max(grid.shape, default=0),
        spacing_min_mm=min(spacing) if spacing else None,
        spacing_max_mm=max(spacing) if spacing else None,
        spacing_error_mm=_spacing_error(s, image, recipe) if recipe else None,
        affine_error_mm=_affine_error(grid),
        view_ratio=_view_ratio(image),
        store=recipe.intensity.store if recipe else "physical",
        minimum=stats.minimum,
        maximum=stats.maximum,
        mean=stats.mean,
        std=stats.std,
        nonfinite_statistics=sum(not math.isfinite(n) for n in numbers),
        nonfinite_fraction=image.nonfinite_voxels / native_voxels,
        padding_fraction=image.padding_voxels / native_voxels,
        window_width=image.normalisation.upper - image.normalisation.lower,
        content_hash=image.content_hash,
    )


def _spacing_error(s: Sample, image: SampleImage, recipe: Recipe) -> float | None:
    asked = image
    if isinstance(recipe.geometry.grid, ReferenceGrid):
        reference = recipe.geometry.grid.reference
        asked = next((i for i in s.images if i.modality == reference), image)
    native, stored = canonical_spacing(asked.native), image.stored.spacing_xyz_mm
    if native is None or stored is None or len(stored) != 3:
        return None
    wanted = target_spacing(
        native, recipe.geometry.spacing_for(asked.modality), upsample=recipe.geometry.upsample == "allow"
    )
    return max(abs(a - b) for a, b in zip(stored, wanted, strict=True))


def canonical_spacing(grid: Grid) -> tuple[float, float, float] | None:
    """Spacing in mm along the axes closest to R, A, S, in this order; None without geometry."""
    if grid.affine_ras is None or grid.spacing_xyz_mm is None:
        return None
    axes = geometry.closest_axes(np.array(grid.affine_ras).reshape(4, 4))
    by_world = {world: grid.spacing_xyz_mm[i] for i, (world, _) in enumerate(axes)}
    return by_world[0], by_world[1], by_world[2]


def _affine_error(grid: Grid) -> float | None:
    if grid.affine_ras is None or grid.spacing_xyz_mm is None:
        return None
    columns = geometry.spacing_xyz_mm(np.array(grid.affine_ras).reshape(4, 4))
    return max(abs(a - b) for a, b in zip(columns, grid.spacing_xyz_mm, strict=True))


def _view_ratio(image: SampleImage) -> float | None:
    volumes = []
    for grid in (image.native, image.stored):
        if grid.spacing_xyz_mm is None:
            return None
        volumes.append(math.prod(grid.shape) * math.prod(grid.spacing_xyz_mm))
    return volumes[1] / volumes[0] if volumes[0] > 0 else None


def _mask_row(s: Sample, label: SampleLabel, largest: int) -> MaskRow:
    # A sample of an earlier generation had a smaller palette; its own integers are what its masks must hold.
    needed = max((x.value for x in s.structures), default=largest)
    return MaskRow(
        id=f"{s.key}/{label.layer}",
        source=s.source,
        layer=label.layer,
        origin=label.origin,
        dtype=label.dtype,
        holds_palette=needed <= {"uint8": 255, "uint16": 65_535}.get(label.dtype, -1),
        image_known=label.image in {i.name for i in s.images},
        grid_offset_voxels=label.grid_offset_voxels,
    )


def _content_rows(samples: Sequence[Sample], *, drop: bool) -> Iterator[ContentRow]:
    holders: dict[str, list[Sample]] = defaultdict(list)
    for s in samples:
        for content in sorted({i.content_hash for i in s.images}):
            holders[content].append(s)
    for content, those in sorted(holders.items()):
        yield ContentRow(
            id=content,
            samples=len(those),
            splits=len({s.split for s in those}),
            keys=", ".join(s.key for s in those[:3]) + (", …" if len(those) > 3 else ""),
            unwanted_copies=len(those) - 1 if drop else 0,
        )


def _planned_rows(samples: Sequence[Sample], holes: Sequence[Reject], planned: Collection[str]) -> Iterator[PlannedRow]:
    made = Counter(s.case_id for s in samples)
    lost = Counter(h.case_id for h in holes if h.case_id is not None)
    wanted = set(planned)
    for case_id in sorted(wanted | made.keys() | lost.keys()):
        yield PlannedRow(
            id=case_id,
            planned=case_id in wanted,
            samples=made[case_id],
            holes=lost[case_id],
            accounted=made[case_id] + lost[case_id],
        )
