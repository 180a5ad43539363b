"""Several readers of one image: each keeps their own layers; a rule may add what it makes of them all.

The rule is applied on native labels, voxel by voxel and structure by structure:

| rule | a voxel is the structure when it was drawn by |
| --- | --- |
| `union` | any reader |
| `half` | at least half of the readers: 2 of 4, 2 of 3, 1 of 2 (the usual 50 % consensus of LIDC-IDRI) |
| `majority` | more than half of them: 3 of 4, 2 of 3, 2 of 2 |
| `intersection` | all of them |

Readers are those whose label the case has, whatever they drew: one who left a voxel as background speaks against. One whose
label ignores a voxel makes no statement there and is not counted; where nobody makes one the voxel is ignored. Who draws a
lesion or a part also draws what it is in, where another reader drew that. Structures that the rule leaves overlapping go to
layers as those of any label do.

States. A reader's own states are in their reading: present where they drew the structure, absent where they looked and did
not. The sample's state is that of the fused label where there is one: present when the rule leaves a voxel, absent when
readers looked and it leaves none, though some drew it. Without a rule it is present when any reader drew the structure
(the first of them gives voxels, box and layer), and absent when all who looked did not. Where they differ a warning counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mdfp.labels import State
from mdfp.readers import fused_name, is_fused
from mdfp.sample import Reading, StructureState
from schemas.ontology.structures import Ontology
from schemas.recipe import ReaderRule
from transforms.labels import states
from transforms.labels.coded import IGNORED, Coded, Members
from transforms.labels.layers import lay_over
from transforms.labels.part import LabelOnGrid, LabelPart

RULES: Mapping[str, Callable[[int, int], bool]] = {
    "union": lambda drawn, readers: drawn >= 1,
    "half": lambda drawn, readers: 2 * drawn >= readers,
    "majority": lambda drawn, readers: 2 * drawn > readers,
    "intersection": lambda drawn, readers: drawn == readers,
}
"""(readers who drew it, readers) → whether the voxel is the structure; asked only where somebody drew it."""

_PRECEDENCE = (State.PRESENT, State.PARTIAL, State.ABSENT, State.MERGED)


@dataclass
class Readers:
    """The readers of one table and image, as they come.

    Memory: with a rule, a map of codes of two bytes a voxel that all readers share.

    Attributes:
        rule: how their labels become one, or `keep`.
    """

    rule: ReaderRule
    _first: tuple[LabelPart, LabelOnGrid] | None = None
    _coded: Coded | None = None
    _looked: set[str] = field(default_factory=set)
    _checked: set[str] = field(default_factory=set)
    _boxes: list[tuple[int, ...]] = field(default_factory=list)
    _offset: float = 0.0
    _entries: list[tuple[str, tuple[str, ...], tuple[StructureState, ...]]] = field(default_factory=list)

    def add(
        self, part: LabelPart, label: LabelOnGrid, layers: Sequence[str], entries: tuple[StructureState, ...]
    ) -> None:
        """One reader's label, and what became of it.

        Raises:
            Rejected: UNSUPPORTED, they overlap in too many different ways.
        """
        number = len(self._entries)
        self._entries.append((part.case_label.origin, tuple(layers), entries))
        drawn = frozenset(label.coded.sizes)
        self._looked |= states.looked_for(part.table, label.checked, drawn, part.case_label.looked_for)
        self._checked |= label.checked
        self._boxes.append(label.box)
        self._offset = max(self._offset, label.offset_voxels)
        self._first = self._first or (part, replace(label, coded=Coded(label.coded.codes_zyx[:0], {}, {})))
        if self.rule != "keep":
            own = _tagged(label.coded, number)
            self._coded = own if self._coded is None else lay_over([self._coded, own])

    def fused(self, known: Ontology) -> tuple[LabelPart, LabelOnGrid] | None:
        """What the rule makes of them, as a label of its own; None where all are kept and nothing is made."""
        if self._coded is None or self._first is None:
            return None
        part, label = self._first
        case_label = replace(
            part.case_label,
            header=replace(part.case_label.header, name=f"{part.case_label.table}_consensus"),
            origin=fused_name(self.rule),
            looked_for=tuple(sorted(self._looked)),
        )
        # Who looked is known structure by structure, whatever the table says of a single label.
        table = part.table.model_copy(update={"looked_for": "per_case_table", "all_empty": "absent"})
        low = tuple(min(b[a] for b in self._boxes) for a in range(3))
        high = tuple(max(b[a] for b in self._boxes) for a in range(3, 6))
        coded = fuse(self._coded, len(self._entries), self.rule, known)
        whole = (0, 0, 0, *coded.codes_zyx.shape)
        made = replace(
            label,
            coded=coded,
            box=(*low, *high),
            partial=(*low, *high) != whole,
            offset_voxels=self._offset,
            checked=frozenset(self._checked),
            several=True,
        )
        return replace(part, case_label=case_label, table=table, masks=()), made

    def account(self, fused: tuple[StructureState, ...] | None) -> tuple[tuple[StructureState, ...], list[str]]:
        """What they say together of every structure, and where they differ.

        Args:
            fused: entries of the fused label, where there is one.
        """
        together, warnings = [], []
        for i, first in enumerate(self._entries[0][2]):
            said = [entries[i] for _, _, entries in self._entries]
            drawn = sum(bool(s.native_voxels) for s in said)
            if 0 < drawn < len(said):
                warnings.append(f"{first.structure}: drawn by {drawn} of {len(said)} readers")
            if fused is not None and drawn and fused[i].state == State.ABSENT:
                warnings.append(f"{first.structure}: the rule {self.rule} leaves none of what {drawn} readers drew")
            together.append(first_of(said))
        return fused if fused is not None else tuple(together), warnings

    def readings(self, fused: tuple[tuple[str, ...], tuple[StructureState, ...]] | None = None) -> tuple[Reading, ...]:
        """What each reader says, and what the fused label says, given its layers and entries."""
        if self._first is None:
            return ()
        label = self._first[0].case_label
        every = [*self._entries, *([(fused_name(self.rule), *fused)] if fused is not None else [])]
        spoken = {s.structure for _, _, entries in every for s in entries if s.state != State.UNKNOWN}
        return tuple(
            Reading(reader, label.image, label.table, layers, tuple(s for s in entries if s.structure in spoken))
            for reader, layers, entries in every
        )


def layer_stem(origin: str) -> str:
    """How a layer of a reader, or of the rule, ends: `reader2`, `consensus`."""
    return "consensus" if is_fused(origin) else origin.replace("-", "")


def fuse(tagged: Coded, readers: int, rule: str, known: Ontology) -> Coded:
    """What a rule makes of the labels of several readers.

    Args:
        tagged: their labels laid over each other, structures tagged by `_tagged` with the reader's number from 0.
        readers: how many there are.
        rule: one of `RULES`.
        known: the ontology.
    """
    holds = RULES[rule]
    drawn = {s for m in tagged.members.values() for _, s in map(_parted, m)} - {IGNORED}
    wider = {s: ({s} | set(known.ancestors(s))) & drawn for s in drawn}
    members: dict[int, Members] = {}
    for code, tags in tagged.members.items():
        said = [_parted(t) for t in tags]
        silent = {number for number, s in said if s == IGNORED}
        if len(silent) == readers:
            members[code] = frozenset({IGNORED})
            continue
        votes: dict[str, set[str]] = {}
        for number, structure in said:
            if number not in silent:
                for s in wider[structure]:
                    votes.setdefault(s, set()).add(number)
        members[code] = frozenset(s for s, by in votes.items() if holds(len(by), readers - len(silent)))
    return Coded(tagged.codes_zyx, members, tagged.counts)


def _tagged(coded: Coded, number: int) -> Coded:
    """A label whose structures say which reader drew them."""
    members = {c: frozenset(f"{number}\n{s}" for s in m) for c, m in coded.members.items()}
    return Coded(coded.codes_zyx, members, coded.counts)


def _parted(tag: str) -> tuple[str, str]:
    number, _, structure = tag.partition("\n")
    return number, structure


def first_of(said: Sequence[StructureState]) -> StructureState:
    """The word of several readers together: of the first who drew the structure, else of the first who says most."""
    for state in _PRECEDENCE:
        for entry in said:
            if entry.state == state:
                return entry
    return said[0]
