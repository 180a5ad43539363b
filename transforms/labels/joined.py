"""A label more for a published sample: its states as if all its labels had been there from the start.

Two things change in the record of a sample. Its palette may have grown, and then the labels that it has may say something
of the new structures as well: a kidney that was drawn as one holds the left one. That is derived from what they say of the
old ones, by the table of `transforms.labels.states`; new structures are none that they could have named. And for each
structure the word of the first origin is taken, the others stand in `others`, as `transforms.labels.account.combine` does.

Labels of one origin are heard together, as by readers (`mdfp.origins`); several readers of one image each for themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from mdfp.labels import State
from mdfp.origins import DIRECT, preference
from mdfp.readers import is_fused, is_reader
from mdfp.sample import Reading, Sample, StructureState
from schemas.ontology.structures import Ontology
from transforms.labels.account import without_voxels
from transforms.labels.palette import Palette
from transforms.labels.readers import first_of
from transforms.labels.states import Statement, statements

Includes = Mapping[str, Mapping[str, Sequence[str]]]
"""Origin -> structure -> what a fact says that masks of this origin hold in it."""


def with_palette(record: Sample, palette: Palette, known: Ontology, includes: Includes) -> Sample:
    """The record with an entry for each structure of a palette that has grown since it was made.

    Args:
        record: as published.
        palette: the whole palette.
        known: the ontology.
        includes: facts about the labels of the sample's source, by their origin.
    """
    have = {s.structure for s in record.structures}
    new = [s for s in palette.structures if s not in have]
    if not new:
        return record
    said: dict[str, list[StructureState]] = {s: [] for s in palette.structures}
    for state in (*record.structures, *record.others):
        if state.state is not State.UNKNOWN:
            said[state.structure].append(state)
    spoken = [s for those in said.values() for s in those]
    origins = list(dict.fromkeys(str(s.origin) for s in spoken if not _of_readers(s.origin)))
    for origin in origins:
        mine = [s for s in spoken if s.origin == origin]
        for entry in _entailed(mine, new, palette, known, includes.get(origin, {})):
            said[entry.structure].append(entry)
    readings = []
    for group in _groups(record.readings):
        facts = includes.get("expert", {})
        every = [_every(_entailed(r.structures, new, palette, known, facts), new, palette) for r in group]
        told = [n for n in range(len(new)) if any(e[n].state is not State.UNKNOWN for e in every)]
        readings += [
            dataclasses.replace(r, structures=(*r.structures, *(e[n] for n in told)))
            for r, e in zip(group, every, strict=True)
        ]
        for n in told:
            fused = [e[n] for r, e in zip(group, every, strict=True) if is_fused(r.reader)]
            word = fused[0] if fused else first_of([e[n] for e in every])
            if word.state is not State.UNKNOWN:
                said[word.structure].append(word)
    structures, others = _ordered(said, palette)
    at = {(r.reader, r.image, r.table): r for r in readings}
    kept = tuple(at[r.reader, r.image, r.table] for r in record.readings)
    return dataclasses.replace(record, structures=structures, others=others, readings=kept)


def joined(
    record: Sample, entries: Sequence[StructureState], layer: str, palette: Palette
) -> tuple[tuple[StructureState, ...], tuple[StructureState, ...], tuple[str, ...]]:
    """States, other statements and contradictions of a sample with one label more.

    Args:
        record: with an entry for each structure of the palette.
        entries: what the new label says of them.
        layer: its name, for the warnings.
        palette: the structures.
    """
    said: dict[str, list[StructureState]] = {s: [] for s in palette.structures}
    for state in (*record.structures, *record.others):
        if state.state is not State.UNKNOWN:
            said[state.structure].append(state)
    warnings = []
    for entry in entries:
        if entry.state is State.UNKNOWN:
            continue
        before = [s for s in said[entry.structure] if s.state in DIRECT]
        if before and entry.state in DIRECT and {entry.state, before[0].state} == {State.PRESENT, State.ABSENT}:
            first, second = sorted([(before[0], "an earlier label"), (entry, layer)], key=lambda n: preference(n[0]))
            warnings.append(
                f"{entry.structure}: {first[0].state} in {first[1]} ({first[0].origin}), {second[0].state} in "
                f"{second[1]} ({second[0].origin}); the first was kept"
            )
        said[entry.structure].append(entry)
    return *_ordered(said, palette), tuple(warnings)


def _ordered(
    said: Mapping[str, Sequence[StructureState]], palette: Palette
) -> tuple[tuple[StructureState, ...], tuple[StructureState, ...]]:
    """The word that is taken for each structure, and what else is said, in the palette's order."""
    structures: list[StructureState] = []
    others: list[StructureState] = []
    for structure in palette.structures:
        # What several readers say comes after the labels of its rank, as in building.
        heard = sorted(said[structure], key=lambda s: (*preference(s), _of_readers(s.origin)))
        structures.append(heard[0] if heard else without_voxels(structure, palette, State.UNKNOWN))
        others += heard[1:]
    return tuple(structures), tuple(others)


def _of_readers(origin: str | None) -> bool:
    return origin is not None and (is_reader(origin) or is_fused(origin))


def _groups(readings: Sequence[Reading]) -> list[list[Reading]]:
    groups: dict[tuple[str, str], list[Reading]] = {}
    for r in readings:
        groups.setdefault((r.image, r.table), []).append(r)
    return list(groups.values())


def _every(entries: Sequence[StructureState], new: Sequence[str], palette: Palette) -> list[StructureState]:
    """An entry for each new structure, unknown where nothing follows."""
    at = {e.structure: e for e in entries}
    return [at.get(s) or without_voxels(s, palette, State.UNKNOWN) for s in new]


def _entailed(
    mine: Sequence[StructureState],
    new: Sequence[str],
    palette: Palette,
    known: Ontology,
    includes: Mapping[str, Sequence[str]],
) -> list[StructureState]:
    """What labels of one hand say of structures that they could not name, from what they say of others."""
    spoken = [s for s in mine if s.state in DIRECT]
    looked = frozenset(s.structure for s in spoken)
    drawn = frozenset(s.structure for s in spoken if s.native_voxels)
    if not looked:
        return []
    found = statements(new, looked, drawn, known, includes)
    return [_entry(s, told, mine, palette) for s, told in found.items() if told.state is not State.UNKNOWN]


def _entry(structure: str, told: Statement, mine: Sequence[StructureState], palette: Palette) -> StructureState:
    example = next(s for s in mine if s.state in DIRECT)
    if told.state is State.MERGED:
        return without_voxels(structure, palette, State.MERGED, example.origin, told.merged_into)
    part = next((s for s in mine if s.state is State.PARTIAL), None)
    # A label of a part of the image has partial structures alone; ignored voxels make partial what is not there.
    whole = any(s.state is (State.PRESENT if told.state is State.PRESENT else State.ABSENT) for s in mine)
    state = told.state if part is None or whole else State.PARTIAL
    mm3 = None if example.native_mm3 is None else 0.0
    return dataclasses.replace(
        without_voxels(structure, palette, state, example.origin),
        extent=part.extent if part is not None and state is State.PARTIAL else None,
        native_voxels=0,
        stored_voxels=0,
        native_mm3=mm3,
        stored_mm3=mm3,
    )
