"""Several readers of one image: whose word a training job takes.

Each reader has label layers of their own, and where the recipe asked for it a further layer holds what a rule makes of
them all. `Sample.readings` says what each of them says of every structure. A view is a sample as one of them sees it: the
states and layers of that reader, and beside them everything that was not drawn by several.

Who is asked at all, and in which order, is the choice of origins (`mdfp.origins`); readers are experts, what a rule makes of
them is a consensus. Among those whose origin is asked:

| asked for | what is taken |
| --- | --- |
| `reader="reader-2"`, or 2 | what the second reader of the case's files drew; where they drew, background is their no |
| `reader="consensus"` | what the recipe's rule made of all readers |
| nothing | the consensus where there is one; else what all readers agree on, and where they differ nothing can be told |

A sample that was not read by several is itself, whoever is asked for; where one of several has no label, what they would have
drawn is unknown. Numbers of readers mean a place in the files of one case: reader 1 of two cases may be two persons.

So `origins=["expert"]` leaves the consensus aside, and readers who differ differ; wherever both are among the origins the
consensus stands for its readers, with the rank of a consensus. `reader="consensus", origins=["expert"]` asks nobody: unknown.
Beside the chosen reader's word the labels that were not drawn by several are heard as of any sample: an expert's before a
consensus, a model's where neither says anything.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from mdfp.errors import UsageError
from mdfp.labels import State
from mdfp.origins import READER, View, checked, kind_of, preference, unknown, view
from mdfp.sample import Reading, Sample, StructureState

CONSENSUS = "consensus"
"""Asks for the fused layer, by whatever rule; origins are `consensus:<rule>`."""

Reader = str | int | None
"""`reader-<n>` or n, `consensus`, or None: see the table at the top."""

_NUMBERED = re.compile(rf"{READER}[1-9][0-9]?")
_PRECEDENCE = (State.PRESENT, State.PARTIAL, State.ABSENT, State.MERGED, State.UNKNOWN)


def reader_name(number: int) -> str:
    """Origin of what the reader of that number drew, from 1."""
    return f"{READER}{number}"


def fused_name(rule: str) -> str:
    """Origin of what a rule makes of several readers."""
    return f"{CONSENSUS}:{rule}"


def is_reader(name: str) -> bool:
    """Whether an origin is that of one of several readers."""
    return name.startswith(READER)


def is_fused(name: str) -> bool:
    """Whether an origin or the name of a reading is that of a rule."""
    return name.startswith(f"{CONSENSUS}:")


def views(
    record: Sample,
    reader: Reader = None,
    layers: Collection[str] | None = None,
    origins: Sequence[str] | None = None,
) -> tuple[View, ...]:
    """The views that an answer is made of: it is what all of them agree on. One, unless readers differ and none was chosen.

    Args:
        record: the sample.
        reader: whose word to take, of several readers.
        layers: layers that were asked for by name: of readers those that have one of them.
        origins: who is asked at all, in this order; default `mdfp.origins.ORDER`.

    Raises:
        UsageError: not the name of a reader or an origin; or the consensus of readers of whom the corpus has none.
    """
    name, order = check(reader), checked(origins)
    if not record.readings:
        return (view(record, origins, layers),)
    groups: dict[tuple[str, str], list[Reading]] = {}
    for reading in record.readings:
        groups.setdefault((reading.image, reading.table), []).append(reading)
    if name is not None and not is_reader(name):
        _check_fused(record, groups.values(), name)
    chosen = [_chosen([r for r in g if kind_of(r.reader) in order], name, layers) for g in groups.values()]
    found = []
    for n in range(max([1, *map(len, chosen)])):
        seen, own = _read_by(record, [c[min(n, len(c) - 1)] for c in chosen if c])
        found.append(view(seen, origins, own if layers is None else own & set(layers)))
    return tuple(found)


def together(found: Sequence[View]) -> Sample:
    """The record of one view; of several, of each structure the word of the first that drew it, or that says anything."""
    first, *others = (v.record for v in found)
    if not others:
        return first
    said = zip(*(r.structures for r in (first, *others)), strict=True)
    return replace(first, structures=tuple(min(s, key=lambda e: _PRECEDENCE.index(e.state)) for s in said))


def check(reader: Reader) -> str | None:
    """The name that was asked for; None for none.

    Raises:
        UsageError: it can be the name of no reader.
    """
    name = reader_name(reader) if isinstance(reader, int) else reader
    if name is None or name == CONSENSUS or is_fused(name) or _NUMBERED.fullmatch(name):
        return name
    raise UsageError(f"reader: expected a number from 1, reader-<number> or {CONSENSUS}, found {reader!r}")


def _check_fused(record: Sample, groups: Iterable[Sequence[Reading]], name: str) -> None:
    if not all(_chosen(group, name, None) for group in groups):
        names = sorted({r.reader for r in record.readings})
        raise UsageError(
            f"{record.key}: has the readers {', '.join(names)}, asked for {name!r}; a recipe with labels: {{readers: half}} "
            "makes a consensus"
        )


def _chosen(group: Sequence[Reading], name: str | None, layers: Collection[str] | None) -> list[Reading]:
    if name is None and layers is not None:
        return [r for r in group if set(r.layers) & set(layers)]
    fused = [r for r in group if is_fused(r.reader)]
    if name is None:
        return fused or list(group)
    return fused if name == CONSENSUS else [r for r in group if r.reader == name]


def _read_by(record: Sample, taken: Sequence[Reading]) -> tuple[Sample, frozenset[str]]:
    """The record with the word of these readings and of no other, and the layers that belong to it.

    What was not drawn by several readers stays beside it. A reading that is taken stands before labels of its kind.
    """
    of_readers = {layer for reading in record.readings for layer in reading.layers}
    names = {reading.reader for reading in record.readings}
    said: dict[str, list[StructureState]] = {}
    for state in (s for reading in taken for s in reading.structures):
        said.setdefault(state.structure, []).append(state)
    for state in (*record.structures, *record.others):
        if not (state.layer in of_readers or (state.layer is None and state.origin in names)):
            said.setdefault(state.structure, []).append(state)
    structures: list[StructureState] = []
    others: list[StructureState] = []
    for state in record.structures:
        heard = [s for s in said.get(state.structure, ()) if s.state is not State.UNKNOWN]
        word, *further = sorted(heard, key=preference) or [unknown(state)]
        structures.append(word)
        others += further
    layers = {label.layer for label in record.labels} - of_readers | {n for reading in taken for n in reading.layers}
    return replace(record, structures=tuple(structures), others=tuple(others)), frozenset(layers)
