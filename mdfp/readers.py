"""Several readers of one image: whose word a training job takes.

Each reader has label layers of their own, and where the recipe asked for it a further layer holds what a rule makes of
them all. `Sample.readings` says what each of them says of every structure. A view is a sample as one of them sees it: the
states and layers of that reader, and beside them everything that was not drawn by several.

| asked for | what is taken |
| --- | --- |
| `reader="reader-2"`, or 2 | what the second reader of the case's files drew; where they drew, background is their no |
| `reader="consensus"` | what the recipe's rule made of all readers |
| nothing | the consensus where there is one; else what all readers agree on, and where they differ nothing can be told |

A sample that was not read by several is itself, whoever is asked for; where one of several has no label, what they would have
drawn is unknown. Numbers of readers mean a place in the files of one case: reader 1 of two cases may be two persons.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mdfp.errors import UsageError
from mdfp.labels import State
from mdfp.sample import Reading, Sample, StructureState

CONSENSUS = "consensus"
"""Asks for the fused layer, by whatever rule; origins are `consensus:<rule>`."""

Reader = str | int | None
"""`reader-<n>` or n, `consensus`, or None: see the table at the top."""

_PREFIX = "reader-"
_NUMBERED = re.compile(rf"{_PREFIX}[1-9][0-9]?")


def reader_name(number: int) -> str:
    """Origin of what the reader of that number drew, from 1."""
    return f"{_PREFIX}{number}"


def fused_name(rule: str) -> str:
    """Origin of what a rule makes of several readers."""
    return f"{CONSENSUS}:{rule}"


def is_reader(name: str) -> bool:
    """Whether an origin is that of one of several readers."""
    return name.startswith(_PREFIX)


def is_fused(name: str) -> bool:
    """Whether an origin or the name of a reading is that of a rule."""
    return name.startswith(f"{CONSENSUS}:")


@dataclass(frozen=True)
class View:
    """A sample as one reader sees it.

    Attributes:
        record: with that reader's states.
        layers: the label layers that belong to it; None: all.
    """

    record: Sample
    layers: frozenset[str] | None


def views(record: Sample, reader: Reader = None, layers: Collection[str] | None = None) -> tuple[View, ...]:
    """The views that an answer is made of: it is what all of them agree on. One, unless readers differ and none was chosen.

    Args:
        record: the sample.
        reader: whose word to take.
        layers: layers that were asked for by name: of readers those that have one of them.

    Raises:
        UsageError: not the name of a reader; or the consensus of readers of whom the corpus has none.
    """
    name = check(reader)
    if not record.readings:
        return (View(record, None),)
    groups: dict[tuple[str, str], list[Reading]] = {}
    for reading in record.readings:
        groups.setdefault((reading.image, reading.table), []).append(reading)
    chosen = {key: _chosen(group, name, layers) for key, group in groups.items()}
    if name is not None and not name.startswith(_PREFIX) and not all(chosen.values()):
        names = sorted({r.reader for r in record.readings})
        raise UsageError(
            f"{record.key}: has the readers {', '.join(names)}, asked for {name!r}; a recipe with labels: {{readers: half}} "
            "makes a consensus"
        )
    count = max((len(c) for c in chosen.values()), default=0) or 1
    return tuple(
        _view(record, groups, {key: c[min(n, len(c) - 1)] for key, c in chosen.items() if c}) for n in range(count)
    )


def seen_by(record: Sample, reader: Reader) -> Sample:
    """The sample's record with one reader's states; itself where none was chosen.

    Raises:
        UsageError: as `views`.
    """
    return record if reader is None else views(record, reader)[0].record


def check(reader: Reader) -> str | None:
    """The name that was asked for; None for none.

    Raises:
        UsageError: it can be the name of no reader.
    """
    name = reader_name(reader) if isinstance(reader, int) else reader
    if name is None or name == CONSENSUS or is_fused(name) or _NUMBERED.fullmatch(name):
        return name
    raise UsageError(f"reader: expected a number from 1, reader-<number> or {CONSENSUS}, found {reader!r}")


def _chosen(group: Sequence[Reading], name: str | None, layers: Collection[str] | None) -> list[Reading]:
    if name is None and layers is not None:
        return [r for r in group if set(r.layers) & set(layers)]
    fused = [r for r in group if is_fused(r.reader)]
    if name is None:
        return fused or list(group)
    return fused if name == CONSENSUS else [r for r in group if r.reader == name]


def _view(record: Sample, groups: dict[tuple[str, str], list[Reading]], taken: dict[tuple[str, str], Reading]) -> View:
    states = {s.structure: s for s in record.structures}
    every = {layer for group in groups.values() for reading in group for layer in reading.layers}
    layers = {label.layer for label in record.labels} - every
    for key, group in groups.items():
        if key in taken:
            states |= {s.structure: s for s in taken[key].structures}
            layers |= set(taken[key].layers)
        else:
            own = {layer for reading in group for layer in reading.layers}
            spoken = {s.structure for reading in group for s in reading.structures}
            for name in spoken & set(states):
                # What another label says of the structure stands; only the readers' own word is not asked for.
                if states[name].layer in own or states[name].origin in {r.reader for r in group}:
                    states[name] = _unknown(states[name])
    seen = tuple(states[s.structure] for s in record.structures)
    return View(replace(record, structures=seen), frozenset(layers))


def _unknown(state: StructureState) -> StructureState:
    return replace(
        state,
        state=State.UNKNOWN,
        layer=None,
        origin=None,
        merged_into=None,
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
