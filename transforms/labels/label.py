"""The labels of a case, from volumes as read to stored masks and the state of every structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp.manifest import PaletteEntry
from mdfp.readers import is_fused, is_reader
from mdfp.sample import Reading, SampleLabel, StructureState
from schemas import ontology, recipe
from schemas.ontology.structures import Ontology
from transforms.labels.account import Drawn, account, combine, volume_warnings, voxel_mm3
from transforms.labels.coded import Coded, Members
from transforms.labels.content_hash import label_hash
from transforms.labels.extent import extents
from transforms.labels.flat import FlatOnGrid, flattened
from transforms.labels.layers import layers, look_up, winner_of
from transforms.labels.palette import Palette
from transforms.labels.part import ImageOnGrid, LabelOnGrid, LabelPart, read_part
from transforms.labels.readers import Readers, layer_stem
from transforms.labels.resample import resample

__all__ = ["BASE", "ImageOnGrid", "LabelPart", "NormalisedLabels", "normalise_labels"]

BASE = "base"
"""Name of the first layer of a sample."""


@dataclass(frozen=True, eq=False)
class NormalisedLabels:
    """The labels of a sample.

    Attributes:
        layers: record and stored mask (z, y, x; of a picture y, x) of each layer; later ones cover earlier ones.
        states: one entry for each structure of the palette, in its order.
        done: what was done, step by step.
        warnings: what a user may want to look at.
        readings: what each of several readers says.
        others: what further labels say of structures whose state another one decided.
    """

    layers: tuple[tuple[SampleLabel, npt.NDArray[Any]], ...]
    states: tuple[StructureState, ...]
    done: tuple[str, ...]
    warnings: tuple[str, ...]
    readings: tuple[Reading, ...] = ()
    others: tuple[StructureState, ...] = ()


def normalise_labels(
    parts: Sequence[LabelPart],
    images: Mapping[str, ImageOnGrid],
    palette: Sequence[PaletteEntry],
    wanted: recipe.Labels,
) -> NormalisedLabels:
    """Remap, layer and resample the labels of one case, and say what is known of each structure.

    Each label keeps layers of its own: the first `base`, `overlap1`, …; further ones are named after their table. Of
    several labels that speak of one structure the one of the first origin decides its state (`account.combine`); where they
    disagree about its presence there is a warning. Without labels every state is unknown. Several readers of one image keep
    layers of their own, and the recipe's rule may add one; `transforms.labels.readers` says what holds of their states.

    Memory: the stored layers, and of one label at a time what `read_part` needs; with a rule for readers a map of codes.

    Args:
        parts: the labels in the order of the case.
        images: normalised images by name; pictures as `transforms.labels.flat.FlatOnGrid`.
        palette: integer of each structure.
        wanted: how labels are resampled.

    Raises:
        Rejected: UNMAPPED_LABEL, LABEL_NOT_INTEGER, LABEL_GRID, MISSING_LABEL, or whatever reading a mask raises.
        KeyError: a label belongs to an image that is not there, or draws a structure outside the palette.
    """
    values, known = Palette(tuple(palette)), ontology.load()
    stored: list[tuple[SampleLabel, npt.NDArray[Any]]] = []
    accounts: list[tuple[str, tuple[StructureState, ...]]] = []
    done: list[str] = []
    warnings: list[str] = []

    def keep(part: LabelPart, label: LabelOnGrid) -> tuple[tuple[str, ...], tuple[StructureState, ...]]:
        name, image = part.case_label.header.name, images[part.case_label.image]
        stem = _stem(part, {record.layer for record, _ in stored})
        made, drawn = _store(label, part, image, values, known, wanted, stem)
        entries = account(label, part, image, drawn, values, known)
        if isinstance(image, FlatOnGrid):
            made, entries, changed = flattened(made, entries, image)
        else:
            changed = volume_warnings(entries, voxel_mm3(image.grid.affine_ras))
        stored.extend(made)
        done.extend(f"{name}: {step}" for step in _done(label, made, image, wanted))
        warnings.extend(f"{name}: {w}" for w in changed)
        return tuple(record.layer for record, _ in made), entries

    groups: dict[tuple[str, str], Readers] = {}
    for part in parts:
        label = read_part(part, images[part.case_label.image])
        layer_names, entries = keep(part, label)
        if is_reader(part.case_label.origin):
            key = (part.case_label.table, part.case_label.image)
            groups.setdefault(key, Readers(wanted.readers)).add(part, label, layer_names, entries)
        else:
            accounts.append((part.case_label.header.name, entries))
        del label
    readings: list[Reading] = []
    for (table, _), group in groups.items():
        fused = group.fused(known)
        kept = keep(*fused) if fused is not None else None
        together, differing = group.account(kept[1] if kept else None)
        accounts.append((table, together))
        warnings += differing
        readings += group.readings(kept)
    states, others, contradictions = combine(accounts, values)
    return NormalisedLabels(tuple(stored), states, tuple(done), (*warnings, *contradictions), tuple(readings), others)


def _store(
    label: LabelOnGrid,
    part: LabelPart,
    image: ImageOnGrid,
    palette: Palette,
    known: Ontology,
    wanted: recipe.Labels,
    stem: str,
) -> tuple[list[tuple[SampleLabel, npt.NDArray[Any]]], dict[str, Drawn]]:
    """The layers of one label, and where its structures went."""
    thin = frozenset(palette.value(s) for s in wanted.thin if s in palette.structures)
    made: list[tuple[SampleLabel, npt.NDArray[Any]]] = []
    drawn: dict[str, Drawn] = {}
    for number, members in enumerate(layers(label.coded, known)):
        lut = look_up(label.coded, members, palette, known)
        mask = resample(
            label.coded.codes_zyx, lut, image.canonical.affine_ras, image.grid, how=wanted.resample,
            ignore=palette.ignore, thin=thin,
        )  # fmt: skip
        overlap = f"overlap{number}" if stem == BASE else f"{stem}_overlap{number}"
        record = SampleLabel(
            layer=overlap if number else stem,
            image=part.case_label.image,
            dtype=np.dtype(mask.dtype).name,
            origin=part.case_label.origin,
            native=label.native,
            content_hash=label_hash(label.coded.codes_zyx, lut),
            grid_offset_voxels=label.offset_voxels,
        )
        made.append((record, mask))
        kept, own = extents(mask), _own_voxels(label.coded, members, known)
        for structure in members:
            drawn[structure] = Drawn(record.layer, own.get(structure, 0), kept.get(palette.value(structure)))
    return made, drawn


def _own_voxels(coded: Coded, layer: Members, known: Ontology) -> dict[str, int]:
    """Native voxels that each structure wins in its layer."""
    own: dict[str, int] = {}
    for code, members in coded.members.items():
        winner = winner_of(members & layer, known)
        if winner is not None:
            own[winner] = own.get(winner, 0) + coded.counts[code]
    return own


def _stem(part: LabelPart, taken: set[str]) -> str:
    """What the layers of a label are called: `base` for the first, else its table's name, made unique.

    Those of a reader are called after table and reader: `nodules_reader2`, `nodules_consensus`.
    """
    origin = part.case_label.origin
    several = is_reader(origin) or is_fused(origin)
    if BASE not in taken and not several:
        return BASE
    table = "".join(c if c.isalnum() and c.isascii() else "_" for c in part.case_label.table.lower())
    table = f"{table}_{layer_stem(origin)}" if several else table
    names = [table, f"{table}_{part.case_label.image}"]
    names += [f"{names[1]}_{n}" for n in range(2, len(taken) + 3)]
    return next(n for n in names if n not in taken)


def _done(
    label: LabelOnGrid,
    made: Sequence[tuple[SampleLabel, npt.NDArray[Any]]],
    image: ImageOnGrid,
    wanted: recipe.Labels,
) -> list[str]:
    how = "not resampled" if image.grid.identity else f"resampled by {wanted.resample}"
    layer_names = ", ".join(record.layer for record, _ in made)
    steps = [f"structures drawn: {len(label.coded.sizes)}, {how}, layers: {layer_names}"]
    if label.offset_voxels > 0:
        steps.append(f"its image's grid was adopted, {label.offset_voxels:g} voxels away")
    if label.partial:
        steps.append(f"placed at z0, y0, x0, z1, y1, x1 {label.box} of its image's native voxels")
    return steps
