"""What is known of every structure on one slice of a labelled volume.

A slice is judged by what is stored of it, and speaks only of what was looked for in its volume. The first row that applies
decides:

| in the volume the structure is …    | on the slice it is …                                                            |
| ----------------------------------- | ------------------------------------------------------------------------------- |
| unknown                             | unknown                                                                         |
| absent                              | absent                                                                          |
| merged into a wider one             | merged where the wider one is drawn on the slice; else as the wider one is      |
| partial, the slice outside the part | unknown                                                                         |
| drawn on the slice                  | present; partial where only some of the slice was looked at                     |
| partial, some of the slice looked at, or some of its pixels ignored | partial, with that part                         |
| lost by resampling, or wider than one that was | unknown: some slice had it, and nobody can say which               |
| anything else                       | absent                                                                          |

*Drawn*: by itself, or by one of its kinds, parts or contained lesions, as `transforms.labels.states` has it for volumes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp.labels import IGNORE, State
from mdfp.sample import StructureState
from schemas.ontology.structures import Ontology
from transforms.labels.extent import Extent, extents


@dataclasses.dataclass(frozen=True, eq=False)
class Plane:
    """Where a picture lies in its volume.

    Attributes:
        axis: of the volume (z, y, x) across the picture: 0, 1 or 2.
        index: of the slice along it.
        shape_zyx: of the volume.
    """

    axis: int
    index: int
    shape_zyx: tuple[int, int, int]

    def of(self, array_zyx: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The picture (y, x) of the slice: rows from the top, columns from the left, both against the volume's axes."""
        return np.ascontiguousarray(np.take(array_zyx, self.index, axis=self.axis)[::-1, ::-1])

    def part(self, box: tuple[int, ...] | None) -> tuple[int, ...] | None:
        """A box z0, y0, x0, z1, y1, x1 of the volume as y0, x0, y1, x1 of the picture; None where they do not meet."""
        box = (0, 0, 0, *self.shape_zyx) if box is None else box
        if not box[self.axis] <= self.index < box[self.axis + 3]:
            return None
        rows, columns = (a for a in range(3) if a != self.axis)
        low = tuple(self.shape_zyx[a] - box[a + 3] for a in (rows, columns))
        high = tuple(self.shape_zyx[a] - box[a] for a in (rows, columns))
        return None if low[0] >= high[0] or low[1] >= high[1] else (*low, *high)

    @property
    def whole(self) -> tuple[int, ...]:
        """The box of all of the picture."""
        rows, columns = (n for a, n in enumerate(self.shape_zyx) if a != self.axis)
        return (0, 0, rows, columns)


def states_on_slice(
    entries: Sequence[StructureState], masks: Mapping[str, npt.NDArray[Any]], plane: Plane, known: Ontology
) -> tuple[StructureState, ...]:
    """The entries of a volume's structures as they are on one slice, in their order.

    `native_voxels` is null: the slice is one of the stored volume, and no native voxels are its own. Lengths are null as for
    pictures.

    Args:
        entries: of the volume.
        masks: its layers on the slice (y, x), by name.
        plane: where the slice lies.
        known: the ontology.
    """
    found = {layer: extents(mask[np.newaxis]) for layer, mask in masks.items()}
    ignored = any(IGNORE[mask.dtype.name] in found[layer] for layer, mask in masks.items())
    own = {e.structure: extent for e in entries if (extent := found.get(e.layer or "", {}).get(e.value))}
    lost = {e.structure for e in entries if e.vanished}
    by_name = {e.structure: e for e in entries}

    def drawn(structure: str) -> bool:
        return structure in own or any(d in own for d in known.descendants(structure))

    def judged(e: StructureState) -> StructureState:
        if e.state == State.UNKNOWN:
            return e
        if e.state == State.MERGED:
            wider = by_name.get(e.merged_into or "")
            if wider is None:
                return _nothing(e)
            there = judged(wider)
            if there.state == State.UNKNOWN:
                return _nothing(e)
            return e if drawn(wider.structure) else _entry(e, there.state, None, there.extent)
        if e.state == State.ABSENT:
            return _entry(e, State.ABSENT, None, None)
        part = plane.part(e.extent)
        if part is None:
            return _nothing(e)
        some = part != plane.whole
        if drawn(e.structure):
            return _entry(e, State.PARTIAL if some else State.PRESENT, own.get(e.structure), part if some else None)
        if e.state == State.PARTIAL and (some or ignored):
            return _entry(e, State.PARTIAL, None, part)
        if e.structure in lost or any(d in lost for d in known.descendants(e.structure)):
            return _nothing(e)
        return _entry(e, State.ABSENT, None, None)

    return tuple(judged(e) for e in entries)


def _entry(e: StructureState, state: State, extent: Extent | None, part: tuple[int, ...] | None) -> StructureState:
    return dataclasses.replace(
        e,
        state=state,
        layer=e.layer if extent else None,
        merged_into=None,
        extent=part,
        native_voxels=None,
        stored_voxels=extent.voxels if extent else 0,
        native_mm3=None,
        stored_mm3=None,
        box=(*extent.box[1:3], *extent.box[4:6]) if extent else None,
        blocks=extent.blocks if extent else (),
        vanished=False,
        outside_fraction=None,
    )


def _nothing(e: StructureState) -> StructureState:
    """The entry of a structure of which the slice does not tell."""
    return dataclasses.replace(_entry(e, State.UNKNOWN, None, None), origin=None, stored_voxels=None)
