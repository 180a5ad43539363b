"""What is recorded of every structure of the palette: state, volumes, box, blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mdfp.geometry import Affine
from mdfp.labels import State
from mdfp.origins import DIRECT, preference
from mdfp.sample import StructureState
from schemas.ontology.structures import Ontology
from transforms.labels import states
from transforms.labels.extent import Extent
from transforms.labels.layers import outside_fractions
from transforms.labels.palette import Palette
from transforms.labels.part import ImageOnGrid, LabelOnGrid, LabelPart
from transforms.labels.resample import stored_extent

RATIO = (0.9, 1.1)
"""A stored volume over the native volume outside this is a warning."""

RATIO_FROM_VOXELS = 100
"""Structures whose native volume is that of fewer stored voxels are not compared: so few cannot keep it to a tenth."""


@dataclass(frozen=True)
class Drawn:
    """A structure with voxels on the native grid.

    Attributes:
        layer: the layer it went to.
        native_voxels: voxels that are its own there: those of narrower structures in the layer are not.
        stored: what is left of it; None when resampling lost it.
    """

    layer: str
    native_voxels: int
    stored: Extent | None


def account(
    label: LabelOnGrid,
    part: LabelPart,
    image: ImageOnGrid,
    drawn: Mapping[str, Drawn],
    palette: Palette,
    known: Ontology,
) -> tuple[StructureState, ...]:
    """What one label says of every structure of the palette, in the palette's order."""
    present = frozenset(drawn)
    looked = states.looked_for(part.table, label.checked, present, part.case_label.looked_for)
    outside = outside_fractions(label.coded, known) if label.several else {}
    native_mm3 = voxel_mm3(image.canonical.affine_ras)
    stored_mm3 = voxel_mm3(image.grid.affine_ras)
    extent = stored_extent(label.box, image.canonical.shape_zyx, image.canonical.affine_ras, image.grid)
    result = []
    for structure, statement in states.statements(
        palette.structures, looked, present, known, part.table.includes
    ).items():
        state = statement.state
        if state in (State.PRESENT, State.ABSENT) and label.partial:
            state = State.PARTIAL
        if state == State.ABSENT and label.coded.ignored:
            state = State.PARTIAL
        if state in (State.UNKNOWN, State.MERGED):
            origin = None if state == State.UNKNOWN else part.case_label.origin
            result.append(without_voxels(structure, palette, state, origin, statement.merged_into))
            continue
        own = drawn.get(structure)
        native = own.native_voxels if own else 0
        stored = own.stored if own else None
        n_stored = stored.voxels if stored else 0
        result.append(
            StructureState(
                structure=structure,
                value=palette.value(structure),
                state=state,
                layer=own.layer if own and stored else None,
                origin=part.case_label.origin,
                merged_into=None,
                extent=extent if state == State.PARTIAL else None,
                native_voxels=native,
                stored_voxels=n_stored,
                native_mm3=native * native_mm3,
                stored_mm3=n_stored * stored_mm3,
                box=stored.box if stored else None,
                blocks=stored.blocks if stored else (),
                vanished=native > 0 and n_stored == 0,
                outside_fraction=outside.get(structure),
            )
        )
    return tuple(result)


def without_voxels(
    structure: str, palette: Palette, state: State, origin: str | None = None, merged_into: str | None = None
) -> StructureState:
    """The entry of a structure that is unknown, or merged into another."""
    return StructureState(
        structure=structure,
        value=palette.value(structure),
        state=state,
        layer=None,
        origin=origin,
        merged_into=merged_into,
        extent=None,
        native_voxels=None,
        stored_voxels=None,
        native_mm3=None,
        stored_mm3=None,
        box=None,
        blocks=(),
        vanished=False,
        outside_fraction=None,
    )


def combine(
    accounts: Sequence[tuple[str, Sequence[StructureState]]], palette: Palette
) -> tuple[tuple[StructureState, ...], tuple[StructureState, ...], tuple[str, ...]]:
    """One entry for each structure, what else was said, and where labels contradict each other about its presence.

    Of the labels that looked for a structure the one of the first origin (`mdfp.origins.ORDER`) decides, of equal origins
    the first label; then the first in which it is merged; then it is unknown.

    Args:
        accounts: name of each label, and its entries in the palette's order.
        palette: the structures.
    """
    result: list[StructureState] = []
    others: list[StructureState] = []
    warnings: list[str] = []
    for i, structure in enumerate(palette.structures):
        entries = [(name, entries[i]) for name, entries in accounts]
        said = [(n, e) for n, e in entries if e.state != State.UNKNOWN]
        said.sort(key=lambda named: preference(named[1]))
        direct = [(n, e) for n, e in said if e.state in DIRECT]
        for name, entry in direct[1:]:
            first_name, first = direct[0]
            if {entry.state, first.state} == {State.PRESENT, State.ABSENT}:
                warnings.append(
                    f"{structure}: {first.state} in {first_name} ({first.origin}), {entry.state} in {name} "
                    f"({entry.origin}); the first was kept"
                )
        result.append(said[0][1] if said else without_voxels(structure, palette, State.UNKNOWN))
        others += [e for _, e in said[1:]]
    return tuple(result), tuple(others), tuple(warnings)


def volume_warnings(entries: Sequence[StructureState], stored_voxel_mm3: float) -> list[str]:
    """Structures that vanished, and those whose volume changed by more than `RATIO` allows."""
    warnings = []
    for e in entries:
        if e.vanished:
            warnings.append(f"{e.structure} vanished: {e.native_voxels} native voxels, none stored")
        elif e.native_mm3 and e.stored_mm3 and e.native_mm3 >= RATIO_FROM_VOXELS * stored_voxel_mm3:
            ratio = e.stored_mm3 / e.native_mm3
            if not RATIO[0] <= ratio <= RATIO[1]:
                warnings.append(
                    f"{e.structure}: stored volume is {ratio:.2f} of the native one "
                    f"({e.stored_mm3:.0f} of {e.native_mm3:.0f} mm³)"
                )
    return warnings


def voxel_mm3(affine_ras: Affine) -> float:
    """Volume of a voxel: the determinant of the affine, written out."""
    m = np.asarray(affine_ras, dtype=np.float64)
    return abs(
        float(
            m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
            - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
            + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
        )
    )
