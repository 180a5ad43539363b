"""Several labels of one image from different hands: whose word holds for each structure.

A sample may hold layers that an expert drew, that several experts agreed on, that a model made, or that were added later as
pseudo labels. For each structure the first of these that says anything of it is taken, and the others' voxels of it are
looked past:

    expert  >  consensus  >  model  >  pseudo  >  unknown

A direct word (present, absent, partial) goes before `merged`, whoever says it: a model that told left from right is asked
before an expert who drew both as one. Of one origin all labels are read together, as of a case with several mask files.

`origins=[...]` at read time names which are read, in the order in which they are asked: `["expert"]` reads nothing that a
model made, `["model", "expert"]` turns the order round. What each further label says stands in `Sample.others`.

The readers of one image (`reader-1`, …) are experts, and what a rule makes of them (`consensus:<rule>`) is a consensus. Which
of them answers is chosen among those whose origin is asked: see `mdfp.readers`, whose `views` does both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp.class_mask import look_up
from mdfp.errors import UsageError
from mdfp.labels import State
from mdfp.sample import Sample, StructureState

ORDER = ("expert", "consensus", "model", "pseudo", "unknown")
"""Who is asked first."""

READER = "reader-"
"""How the origins of several readers begin, each with a number from 1."""

DIRECT = frozenset({State.PRESENT, State.ABSENT, State.PARTIAL})
"""States in which a label speaks of the structure itself."""


@dataclass(frozen=True)
class View:
    """A sample as some origins, and of several readers one, see it.

    Attributes:
        record: with their states.
        layers: the label layers that are theirs; None: all.
        hidden: palette values that a layer is not asked about, by layer: somebody else's word holds.
    """

    record: Sample
    layers: frozenset[str] | None = None
    hidden: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def shown(self, layer: str, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A stored mask, or a part of one, without the values that its layer is not asked about."""
        values = self.hidden.get(layer)
        if not values:
            return stored
        table = np.arange(np.iinfo(stored.dtype).max + 1, dtype=stored.dtype)
        table[sorted(values)] = 0
        return look_up(stored, table)


def kind_of(origin: str | None) -> str:
    """The word of `ORDER` for an origin: `consensus` for `consensus:majority`, `expert` for one of several readers."""
    name = (origin or "unknown").partition(":")[0]
    if name.startswith(READER):
        return "expert"
    return name if name in ORDER else "unknown"


def preference(state: StructureState, order: Sequence[str] = ORDER) -> tuple[bool, int]:
    """Sorts statements about one structure: whose word is taken comes first."""
    return state.state not in DIRECT, order.index(kind_of(state.origin))


def view(record: Sample, origins: Sequence[str] | None = None, layers: Collection[str] | None = None) -> View:
    """The sample as these origins see it, or by `ORDER`.

    Args:
        record: the sample.
        origins: who is asked, in this order.
        layers: layers that were asked for by name: the choice is among those. None: all.

    Raises:
        UsageError: a word that is no origin, or one that is named twice.
    """
    order = checked(origins)
    kinds = {e.layer: kind_of(e.origin) for e in record.labels if layers is None or e.layer in layers}
    if origins is None and len(set(kinds.values())) <= 1:
        return View(record, None if layers is None else frozenset(kinds))
    said: dict[str, list[StructureState]] = {}
    for state in (*record.structures, *record.others):
        if state.state is not State.UNKNOWN and (state.layer is None or state.layer in kinds):
            whose = kinds.get(state.layer or "", kind_of(state.origin))
            if whose in order:
                same = kind_of(state.origin) == whose
                said.setdefault(state.structure, []).append(state if same else replace(state, origin=whose))
    states, hidden = [], {layer: set[int]() for layer, kind in kinds.items() if kind in order}
    for state in record.structures:
        heard = sorted(said.get(state.structure, ()), key=lambda s: preference(s, order))
        if not heard:
            states.append(state if origins is None else unknown(state))
            continue
        states.append(heard[0])
        for layer, values in hidden.items():
            if kinds[layer] != kind_of(heard[0].origin):
                values.add(state.value)
    return View(
        replace(record, structures=tuple(states)),
        frozenset(hidden),
        {layer: frozenset(values) for layer, values in hidden.items()},
    )


def unknown(state: StructureState) -> StructureState:
    """The entry of the same structure where nobody said anything."""
    return replace(
        state, state=State.UNKNOWN, layer=None, origin=None, merged_into=None, extent=None, native_voxels=None,
        stored_voxels=None, native_mm3=None, stored_mm3=None, box=None, blocks=(), vanished=False, outside_fraction=None,
    )  # fmt: skip


def checked(origins: Sequence[str] | None) -> tuple[str, ...]:
    """The origins that are asked, in order; `ORDER` for None.

    Raises:
        UsageError: a word that is no origin, or one that is named twice.
    """
    if origins is None:
        return ORDER
    if isinstance(origins, str) or (strange := [o for o in origins if o not in ORDER]):
        found = origins if isinstance(origins, str) else ", ".join(strange)
        raise UsageError(f"origins: expected a list of {', '.join(ORDER)}, found {found!r}")
    if len(set(origins)) != len(origins):
        raise UsageError(f"origins: one is named twice in {list(origins)}")
    return tuple(origins)
