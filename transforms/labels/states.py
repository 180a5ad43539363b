"""What a label says of every structure of the palette.

A label is one table of a source and what was drawn with it in one case. `checked` are the structures that this label
speaks of (in its table; for masks in files of their own, those whose file is there; for SEG and RTSTRUCT, those that
have a segment, and under `looked_for: all` the whole table), `drawn` those with voxels on the native grid. The first
row that applies decides; nothing is inferred beyond it.

| the structure …                                                                     | state                |
| ----------------------------------------------------------------------------------- | -------------------- |
| is drawn                                                                            | present              |
| is checked and looked for, and one of its kinds, parts or contained lesions is drawn | present, no own voxel |
| is checked and looked for                                                           | absent               |
| is made up of structures that were all looked for, one of which is present          | present, no own voxel |
| the same, all absent                                                                | absent               |
| is a kind or a part of one that is present                                          | merged into it       |
| is a kind or a part of one that is absent                                           | absent               |
| is said to be held by one that is present, absent (`includes:` of the table)        | merged into it, absent |
| anything else                                                                       | unknown              |

*Looked for*: all that is checked (`looked_for: all`), nothing but what is drawn (`values_present`), or what the case's
row says (`per_case_table`, where it speaks). A mask of zeros under `all_empty: unknown` is no look at anything.

*Made up of*: a left and a right one (`kidney` of `kidney_left` and `kidney_right`), and the lungs of their lobes. No
other sum of parts is taken for the whole: a left atrium does not tell where the rest of the heart is. A lesion inside
an organ that was drawn, but not looked for itself, is unknown and not merged: nobody can say whether it is in there, or was
left out. Where a fact says that the organ's mask holds it, it is merged: it is nowhere else, if it is there at all.

Where only a part of the image was looked at (a label smaller than its image), present and absent become `partial` with
that extent; where some voxels are ignored, absent becomes `partial`, for the structure may be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mdfp.hierarchy import WHOLES
from mdfp.labels import State
from schemas.label_table import LabelTable
from schemas.ontology.structures import Ontology


@dataclass(frozen=True)
class Statement:
    """State of a structure after one label.

    Attributes:
        state: what is known.
        merged_into: for `merged`, the nearest wider structure that is present.
    """

    state: State
    merged_into: str | None = None


UNKNOWN = Statement(State.UNKNOWN)


def looked_for(
    table: LabelTable, checked: Iterable[str], drawn: Iterable[str], case_row: Iterable[str] | None
) -> frozenset[str]:
    """Structures of which this label says whether they are there.

    Args:
        table: the label's table.
        checked: structures it speaks of.
        drawn: structures with voxels.
        case_row: structures that the case's row of `case_table` names; None when there is no row.
    """
    seen = frozenset(drawn)
    if not seen and table.all_empty != "absent":
        return frozenset()
    if table.looked_for == "all":
        return seen | frozenset(checked)
    if table.looked_for == "per_case_table":
        return seen | (frozenset(checked) & frozenset(case_row or ()))
    return seen


def statements(
    structures: Iterable[str],
    looked: frozenset[str],
    drawn: frozenset[str],
    known: Ontology,
    includes: Mapping[str, Iterable[str]] = MappingProxyType({}),
) -> dict[str, Statement]:
    """State of each structure, by the table at the top of this module.

    Args:
        structures: ids of the palette.
        looked: structures that were looked for, drawn ones among them.
        drawn: structures with voxels on the native grid.
        known: the ontology.
        includes: structure -> what a fact says its mask holds.
    """
    held = {other: host for host, others in includes.items() for other in others}
    wider = {s: (*_wider(s, known), *((held[s],) if s in held else ())) for s in structures}
    whole = {s: _direct(s, looked, drawn, known) for s in {*wider, *(w for ws in wider.values() for w in ws)}}
    return {s: _statement(s, ws, whole) for s, ws in wider.items()}


def _direct(structure: str, looked: frozenset[str], drawn: frozenset[str], known: Ontology) -> State:
    """State from the structure itself and what makes it up, whatever wider structures say."""
    if structure in looked:
        there = structure in drawn or any(d in drawn for d in known.descendants(structure))
        return State.PRESENT if there else State.ABSENT
    parts = [_direct(p, looked, drawn, known) for p in made_up_of(structure, known)]
    if not parts or State.UNKNOWN in parts:
        return State.UNKNOWN
    return State.PRESENT if State.PRESENT in parts else State.ABSENT


def _statement(structure: str, wider: Iterable[str], whole: Mapping[str, State]) -> Statement:
    if whole[structure] != State.UNKNOWN:
        return Statement(whole[structure])
    for w in wider:
        if whole[w] == State.PRESENT:
            return Statement(State.MERGED, w)
        if whole[w] == State.ABSENT:
            return Statement(State.ABSENT)
    return UNKNOWN


def _wider(structure: str, known: Ontology) -> tuple[str, ...]:
    """What this one is a kind or a part of, nearest first."""
    return _walk(structure, lambda s: known[s].is_a + known[s].part_of)


def made_up_of(structure: str, known: Ontology) -> tuple[str, ...]:
    """Narrower structures that together are the whole of this one; empty where the ontology cannot say."""
    sides = (f"{structure}_left", f"{structure}_right")
    if all(s in known and structure in known[s].is_a + known[s].part_of for s in sides):
        return sides
    return WHOLES.get(structure, ())


def _walk(start: str, step: Callable[[str], tuple[str, ...]]) -> tuple[str, ...]:
    """Everything that `step` leads to, nearest first."""
    seen: dict[str, None] = {}
    queue = list(step(start))
    while queue:
        current = queue.pop(0)
        if current not in seen:
            seen[current] = None
            queue.extend(step(current))
    return tuple(seen)
