"""What a training job asks of the labels: classes over the palette, told for each sample without inventing anything.

A stored mask holds palette integers; a label space is a view of it, and never rewrites pixels. For a voxel whose stored
value is the structure S, and an asked structure T, the rules are, first match wins:

| # | the voxel | T is |
| --- | --- | --- |
| 1 | S is T, or narrower by `is_a`, `part_of` (a lobe is lung) | certain |
| 2 | S lies in T by `located_in` (a tumour in the liver), and no kind of S is asked for | certain |
| 3 | the same, and S itself, or a kind it is of, is asked for | excluded: it is the lesion |
| 4 | S is wider than T, or shares something narrower with it (kidney; left asked) | possible, if T is open |
| 5 | T is a lesion that may lie in S, or may lie anywhere | possible, if T is open |
| 6 | S is a lesion in an organ wider than T (a kidney tumour; left kidney asked) | possible, unless T is absent |
| 7 | stored `IGNORE`, or a value that the palette does not have | possible |
| 8 | anything else: S and T are different things | excluded |
| 9 | background | possible, if T is open there, else excluded |

T is **open** in a sample where a voxel may be T though nobody drew it as such:

| state of T in the sample | open |
| --- | --- |
| `present` (drawn in a layer that is read), `absent` | nowhere |
| `present` in a layer or on a grid that is not read | everywhere |
| `merged` into P | inside P only |
| `partial` | outside its extent |
| `unknown`, but left and right (or all parts, `mdfp.hierarchy.WHOLES`) were looked for | nowhere |
| `unknown`, but something wider by `is_a`, `part_of` was looked for | inside that only |
| `unknown` otherwise | everywhere; nowhere with `unknown="absent"`, which takes the risk on purpose |

Layers are combined: certain before excluded before possible. A class may be a union of structures; it is certain where
one of them is. The single class mask takes the narrowest certain class (a lesion before its organ, a lobe before its
lung; of two that do not contain each other, the one asked for first), and `ignore` where a narrower class is possible,
or where none is certain and one is possible. `keep` names pairs of which the wider one stands as an alternative: its
voxels stay it, though they may be the narrower one.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from mdfp.errors import UsageError
from mdfp.hierarchy import Hierarchy
from mdfp.labels import State
from mdfp.sample import Sample, StructureState

NONE, POSSIBLE, EXCLUDED, CERTAIN = 0, 1, 2, 3
"""What a stored value says of a class; where layers differ, the larger holds."""

Box = tuple[int, ...]
"""z0, y0, x0, z1, y1, x1 in stored voxels, ends exclusive."""

Unknown = Literal["ignore", "absent"]
"""What a structure that nobody looked for is taken for."""


@dataclass(frozen=True)
class Openness:
    """Where one structure may be in a sample without being drawn."""

    kind: Literal["nowhere", "everywhere", "inside", "outside"]
    absent: bool = False
    inside: str | None = None
    extent: Box | None = None


@dataclass(frozen=True)
class Codes:
    """What each stored value says of each class.

    Attributes:
        values: (classes, palette values + 2) uint8 of NONE, POSSIBLE, EXCLUDED, CERTAIN. Column v is value v, column 0
            (background) is NONE, the last column is everything that the palette does not have.
        background: (classes,) uint8, POSSIBLE or EXCLUDED: what holds where every layer is background.
    """

    values: npt.NDArray[np.uint8]
    background: npt.NDArray[np.uint8]


class LabelSpace:
    """Classes 1..n over the structures of a corpus; 0 is background.

    Args:
        classes: structure ids, or a mapping of class name → id or ids (a union: alternatives that count as one).
        hierarchy: the corpus's structures.
        unknown: `"ignore"`, or `"absent"` to take what nobody looked for as not there.
        keep: (wider, narrower) structures of which the wider one stands as an alternative.

    Raises:
        UsageError: a structure that the corpus does not know, or one that is named twice.
    """

    def __init__(
        self,
        classes: Sequence[str] | Mapping[str, str | Sequence[str]],
        hierarchy: Hierarchy,
        *,
        unknown: Unknown = "ignore",
        keep: Collection[tuple[str, str]] = (),
    ):
        if isinstance(classes, str):
            raise UsageError(f"a label space is a list of structures, found the text {classes!r}; write [{classes!r}]")
        if unknown not in ("ignore", "absent"):
            raise UsageError(f"unknown: expected 'ignore' or 'absent', found {unknown!r}")
        named = classes if isinstance(classes, Mapping) else {c: c for c in classes}
        if len(named) != len(classes):
            raise UsageError(f"a class is named twice in {list(classes)}")
        self.classes: dict[str, tuple[str, ...]] = {
            name: (members,) if isinstance(members, str) else tuple(members) for name, members in named.items()
        }
        """Structures of each class, in order; the first is class 1."""
        self.hierarchy = hierarchy
        self.unknown = unknown
        self.keep = frozenset(keep)
        self._members = tuple(m for members in self.classes.values() for m in members)
        for structure in self._members:
            if structure not in hierarchy.structures:
                close = difflib.get_close_matches(structure, hierarchy.structures, 3)
                hint = f"; did you mean {', '.join(close)}?" if close else "; `mdfp info` lists the palette"
                raise UsageError(f"label space: this corpus has no structure {structure!r}{hint}")
        if len(set(self._members)) != len(self._members):
            raise UsageError(f"a structure belongs to two classes of {self.classes}")
        self._size = max((e.value for e in hierarchy.palette.values()), default=0) + 2
        self._certain, self._narrow, self._hosted = self._relations()
        self._codes = lru_cache(maxsize=1024)(self._make_codes)
        self.order, self._beats = self._precedence()
        self._doubts = self._beats & ~self._kept()

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self.classes, self.hierarchy, self.unknown, self.keep)

    def __len__(self) -> int:
        return len(self.classes)

    def __repr__(self) -> str:
        return f"LabelSpace({list(self.classes)}, unknown={self.unknown!r})"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes; the mask holds 1 + position."""
        return tuple(self.classes)

    def held_by(self, name: str) -> frozenset[str]:
        """Structures of the palette whose voxels are certain to be of a class."""
        return self._held[name]

    @cached_property
    def _held(self) -> dict[str, frozenset[str]]:
        at = {m: i for i, m in enumerate(self._members)}
        return {
            name: frozenset(
                s for s, e in self.hierarchy.palette.items() if any(self._certain[at[m], e.value] for m in members)
            )
            for name, members in self.classes.items()
        }

    def states(self, sample: Sample) -> dict[str, State]:
        """State of each class in a sample.

        `present` if any of its structures, or anything narrower, is; `absent` if all were looked for and none is there;
        else `merged`, `partial` or `unknown`, the first that any of them is in.
        """
        own = {s.structure: s for s in sample.structures}
        layers = frozenset(layer.layer for layer in sample.labels)
        return {name: self._state(members, own, layers) for name, members in self.classes.items()}

    def _state(self, members: tuple[str, ...], own: dict[str, StructureState], layers: frozenset[str]) -> State:
        narrower = {s for m in members for s in self.hierarchy.narrower(m)}
        if any(s in own and own[s].state is State.PRESENT for s in narrower):
            return State.PRESENT
        if all(self._open(m, own, layers, "ignore").kind == "nowhere" for m in members):
            return State.ABSENT
        found = {own[m].state if m in own else State.UNKNOWN for m in members}
        return next((s for s in (State.MERGED, State.PARTIAL) if s in found), State.UNKNOWN)

    def openness(self, sample: Sample, layers: Collection[str]) -> tuple[Openness, ...]:
        """For each structure of the space, in order: where it may be without being drawn in these layers."""
        own = {s.structure: s for s in sample.structures}
        return tuple(self._open(m, own, layers, self.unknown) for m in self._members)

    def _open(
        self, structure: str, own: dict[str, StructureState], layers: Collection[str], unknown: Unknown
    ) -> Openness:
        state = own.get(structure)
        if state is not None:
            if state.state is State.ABSENT:
                return Openness("nowhere", absent=True)
            if state.state is State.PRESENT:
                return Openness("nowhere" if self._is_read(state, own, layers) else "everywhere")
            if state.state is State.MERGED and state.merged_into is not None:
                host = self._open(state.merged_into, own, layers, unknown)
                return Openness("inside", inside=state.merged_into) if host.kind == "nowhere" else host
            if state.state is State.PARTIAL and state.extent is not None and self._is_read(state, own, layers):
                return Openness("outside", extent=state.extent)
        for parts in self.hierarchy.covers(structure):
            found = [self._open(p, own, layers, "ignore") for p in parts]
            if all(f.kind == "nowhere" for f in found):
                return Openness("nowhere", absent=all(f.absent for f in found))
        for wider in sorted(self.hierarchy.tissue(structure) - {structure}, key=self._narrowness):
            above = own.get(wider)
            if above is None or above.state not in (State.PRESENT, State.ABSENT):
                continue
            if above.state is State.ABSENT:
                return Openness("nowhere", absent=True)
            if self._is_read(above, own, layers):
                return Openness("inside", inside=wider)
        return Openness("everywhere" if unknown == "ignore" else "nowhere")

    def _is_read(self, state: StructureState, own: dict[str, StructureState], layers: Collection[str]) -> bool:
        """Whether its voxels are in the layers at hand: its own, or those of what it was drawn as."""
        if state.layer is not None:
            return state.layer in layers
        drawn = (own[n].layer for n in self.hierarchy.narrower(state.structure) if n in own)
        return all(layer is None or layer in layers for layer in drawn)

    def _narrowness(self, structure: str) -> tuple[int, str]:
        return -len(self.hierarchy.wider(structure)), structure

    def codes(self, openness: tuple[Openness, ...], inside: frozenset[Box] = frozenset()) -> Codes:
        """What stored values say of the classes, for voxels that lie in these extents and in no other."""
        return self._codes(openness, inside)

    def _make_codes(self, openness: tuple[Openness, ...], inside: frozenset[Box]) -> Codes:
        values = np.zeros((len(self.classes), self._size), dtype=np.uint8)
        background = np.full(len(self.classes), EXCLUDED, dtype=np.uint8)
        start = 0
        for c, members in enumerate(self.classes.values()):
            rows = []
            for i in range(start, start + len(members)):
                row, is_open = self._row(i, openness[i], inside)
                rows.append(row)
                if is_open:
                    background[c] = POSSIBLE
            start += len(members)
            union = np.stack(rows)
            values[c] = np.where(
                (union == CERTAIN).any(0), CERTAIN, np.where((union == POSSIBLE).any(0), POSSIBLE, EXCLUDED)
            )
        values[:, 0] = NONE
        return Codes(values, background)

    def _row(self, i: int, openness: Openness, inside: frozenset[Box]) -> tuple[npt.NDArray[np.uint8], bool]:
        """(code of each value for one structure, whether background may be it)."""
        is_open = openness.kind == "everywhere" or (openness.kind == "outside" and openness.extent not in inside)
        possible = np.zeros(self._size, dtype=bool)
        if is_open:
            possible |= self._narrow[i]
        elif openness.kind == "inside":
            possible |= self._narrow[i] & self._within(str(openness.inside))
        if not openness.absent:
            possible |= self._hosted[i]
        possible[-1] = True
        for value in set(range(1, self._size - 1)) - {e.value for e in self.hierarchy.palette.values()}:
            possible[value] = True
        row = np.where(self._certain[i], CERTAIN, np.where(possible, POSSIBLE, EXCLUDED)).astype(np.uint8)
        return row, is_open

    def _within(self, host: str) -> npt.NDArray[np.bool_]:
        """Which values are the host or narrower."""
        result = np.zeros(self._size, dtype=bool)
        for s, e in self.hierarchy.palette.items():
            result[e.value] = host in self.hierarchy.wider(s)
        return result

    def _relations(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """For each structure and value: rules 1, 2 (certain), 4, 5 (possible where open), 6 (by host)."""
        h = self.hierarchy
        shape = (len(self._members), self._size)
        certain, narrow, hosted = (np.zeros(shape, dtype=bool) for _ in range(3))
        for s, entry in h.palette.items():
            counts = h.counts_as(s, self._members)
            s_lesion, s_hosts = h.is_lesion(s), h.hosts(s)
            for i, t in enumerate(self._members):
                if t in counts:
                    certain[i, entry.value] = True
                    continue
                if t in h.wider(s):
                    continue  # rule 3
                t_lesion = h.is_lesion(t)
                narrow[i, entry.value] = h.related(s, t) or (t_lesion and not s_lesion and self._may_lie_in(t, s))
                if s_lesion and not t_lesion:
                    hosted[i, entry.value] = any(h.related(host, t) for host in s_hosts)
                    # A lesion of no known place may be in anything that nobody looked for.
                    narrow[i, entry.value] |= not s_hosts
        return certain, narrow, hosted

    def _may_lie_in(self, lesion: str, organ: str) -> bool:
        hosts = self.hierarchy.hosts(lesion)
        return not hosts or any(self.hierarchy.related(host, organ) for host in hosts)

    def _precedence(self) -> tuple[tuple[int, ...], npt.NDArray[np.bool_]]:
        """(classes, narrowest first; beats[d, c]: where both hold, the voxel is d)."""
        h = self.hierarchy
        members = list(self.classes.values())
        n = len(members)
        beats = np.zeros((n, n), dtype=bool)
        for d in range(n):
            for c in range(n):
                if d != c:
                    beats[d, c] = any(b in h.wider(a) for a in members[d] for b in members[c]) or (
                        any(h.is_lesion(a) for a in members[d]) and not any(h.is_lesion(b) for b in members[c])
                    )
        order: list[int] = []
        left = list(range(n))
        while left:
            free = [c for c in left if not any(beats[d, c] for d in left if d != c)]
            order.append((free or left)[0])
            left.remove(order[-1])
        return tuple(order), beats

    def _kept(self) -> npt.NDArray[np.bool_]:
        """kept[d, c]: a voxel that is certain to be c and possibly d stays c."""
        members = list(self.classes.values())
        kept = np.zeros((len(members), len(members)), dtype=bool)
        for d, narrower in enumerate(members):
            for c, wider in enumerate(members):
                kept[d, c] = any((b, a) in self.keep for a in narrower for b in wider)
        return kept

    @property
    def beats(self) -> npt.NDArray[np.bool_]:
        """beats[d, c]: where both classes hold, the voxel is d (numbers from 0)."""
        return self._beats

    def decide(self, codes: npt.NDArray[np.uint8], ignore: int) -> npt.NDArray[np.int64]:
        """One class for each column of combined codes (classes, n): 0, 1..len(self), or `ignore`."""
        certain, possible = codes == CERTAIN, codes == POSSIBLE
        result = np.where(possible.any(axis=0), ignore, 0).astype(np.int64)
        undecided = np.ones(codes.shape[1], dtype=bool)
        for c in self.order:
            here = undecided & certain[c]
            if here.any():
                doubtful = possible[self._doubts[:, c]].any(axis=0)
                result[here] = np.where(doubtful[here], ignore, c + 1)
                undecided &= ~here
        return result


def _restore(
    classes: Mapping[str, Sequence[str]], hierarchy: Hierarchy, unknown: Unknown, keep: Collection[tuple[str, str]]
) -> LabelSpace:
    return LabelSpace(classes, hierarchy, unknown=unknown, keep=keep)
