"""Targets of a loss, made from stored masks at read time: multi-hot, marginal groups, roll-ups. Nothing is rewritten.

*Multi-hot*: a channel for each class, as that class asked for alone says: nested classes overlap (a liver channel holds its
tumours), so it is the target of a sigmoid for each class. 1, 0, or `ignore` where it cannot be told.

*Marginal groups*: of a partially labelled sample, the classes that its labels cannot tell apart. A softmax over all classes
is trained on it when the probabilities of each group are added up and the sums are compared with the group of each voxel:
the marginal loss of Shi et al. 2021 (Marginal loss and exclusion loss for partially supervised multi-organ segmentation,
Medical Image Analysis 70, 101979). Where nobody looked for the spleen it is one group with the background; where kidneys are
painted as one, left and right are one group. `Marginal.sets` says the same of each voxel, not of the sample: the label sets
of Fidon et al. 2021 (Label-set loss functions for partial supervision, MICCAI).

*Roll-ups*: classes of a space as fewer, wider classes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp.class_mask import UNTOLD, Stored, mask_dtype, paint_layers, structure_masks
from mdfp.errors import UsageError
from mdfp.label_space import CERTAIN, POSSIBLE, LabelSpace, Openness
from mdfp.sample import Sample


@dataclass(frozen=True, eq=False)
class Marginal:
    """The target of a marginal loss for one part of a sample.

    Attributes:
        groups: classes that cannot be told apart in this sample, 0 (background) among them: a partition of 0..n, sorted, so
            that the first holds the background. Of the whole sample, whichever part was asked for.
        target: (z, y, x) number of the group of each voxel, `ignore` where not even that is known.
        sets: what a voxel of this part may be: each a tuple of classes, in order.
        set_of: (z, y, x) uint16 number in `sets` of each voxel. A set of all classes says nothing.
    """

    groups: tuple[tuple[int, ...], ...]
    target: npt.NDArray[Any]
    sets: tuple[tuple[int, ...], ...]
    set_of: npt.NDArray[np.uint16]

    def membership(self) -> npt.NDArray[np.float32]:
        """(groups, 1 + classes) of 0 and 1: its product with class probabilities is that of each group."""
        result = np.zeros((len(self.groups), sum(map(len, self.groups))), dtype=np.float32)
        for number, group in enumerate(self.groups):
            result[number, list(group)] = 1
        return result


def multi_hot(
    layers: Sequence[Stored],
    shape: tuple[int, ...],
    start: tuple[int, ...],
    space: LabelSpace,
    record: Sample,
    names: Collection[str],
    ignore: int = UNTOLD,
) -> npt.NDArray[np.uint8]:
    """A channel for each class, each as that class asked for alone.

    Args:
        layers: stored masks of this part of the volume, all of `shape`.
        shape: z, y, x of the part.
        start: z, y, x of its first voxel in the stored volume.
        space: the classes.
        record: what is known of the sample.
        names: the layers' names.
        ignore: what marks voxels that cannot be told; 2 to 255.

    Returns:
        (classes, z, y, x) uint8 of 0, 1 and `ignore`.

    Raises:
        UsageError: `ignore` is 0 or 1, or no number of a uint8.
    """
    if not 2 <= ignore <= 255:
        raise UsageError(f"ignore of a multi-hot target is 2 to 255, found {ignore}")
    out = np.empty((len(space), *shape), dtype=np.uint8)
    for channel, (name, members) in zip(out, space.classes.items(), strict=True):
        alone = alone_in(space, name, members)
        channel[...] = structure_masks(layers, shape, start, alone, alone.openness(record, names))[0]
    if ignore != UNTOLD:
        out[out == UNTOLD] = ignore
    return out


def alone_in(space: LabelSpace, name: str, members: Sequence[str]) -> LabelSpace:
    """The space of one of its classes."""
    return LabelSpace({name: members}, space.hierarchy, unknown=space.unknown)


def marginal(
    layers: Sequence[Stored],
    shape: tuple[int, ...],
    start: tuple[int, ...],
    space: LabelSpace,
    record: Sample,
    names: Collection[str],
    ignore: int = UNTOLD,
) -> Marginal:
    """What of the classes a sample's labels tell apart, and the target that follows. Arguments as `multi_hot`.

    A voxel that may be anything (its source makes no statement) joins no groups and is ignored, as is one that may be of
    several groups: beyond the extent that was looked at.

    Raises:
        UsageError: `ignore` is the number of a group.
    """
    asked, wholes = _with_wholes(space)
    openness = asked.openness(record, names)
    sets: dict[tuple[int, ...], int] = {}

    def paint(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
        found = [admissible(column, space, wholes) for column in codes.T]
        return np.array([[sets.setdefault(f, len(sets)) for f in found]], dtype=np.uint16)

    out = np.empty((1, *shape), dtype=np.uint16)
    paint_layers(layers, shape, start, asked, openness, out, paint)
    groups = _groups(asked, openness, space, wholes, record, names)
    numbers = np.unique(out)
    by_number = {n: s for s, n in sets.items()}
    ordered = sorted(by_number[int(n)] for n in numbers)
    again = np.zeros(len(sets), dtype=np.uint16)
    again[[sets[s] for s in ordered]] = np.arange(len(ordered))
    return _marginal(groups, ordered, again[out[0]], ignore)


def _marginal(
    groups: tuple[tuple[int, ...], ...],
    sets: Sequence[tuple[int, ...]],
    set_of: npt.NDArray[np.uint16],
    ignore: int,
) -> Marginal:
    """With the target: the group of a voxel that is of one and is not anything."""
    group_of = {c: number for number, group in enumerate(groups) for c in group}
    table = np.empty(len(sets), dtype=mask_dtype(len(groups) - 1, ignore))
    for number, members in enumerate(sets):
        its = {group_of[c] for c in members}
        told = len(its) == 1 and len(members) < len(group_of)
        table[number] = its.pop() if told else ignore
    return Marginal(groups, table[set_of], tuple(sets), set_of)


def agreed_marginal(found: Sequence[Marginal], ignore: int = UNTOLD) -> Marginal:
    """What several views of one part tell alike: a voxel may be what it may be by any of them.

    Groups are the finest of which each view's groups lie in one. The target is `ignore` where views differ by more.

    Args:
        found: of each view, of the same part and space.
        ignore: what marks voxels that cannot be told.

    Raises:
        UsageError: `ignore` is the number of a group.
    """
    first, *others = found
    if not others:
        return first
    classes = sum(map(len, first.groups)) - 1
    sets, set_of = list(first.sets), first.set_of
    for other in others:
        pairs, at = np.unique(set_of.astype(np.int64) * len(other.sets) + other.set_of, return_inverse=True)
        joined = [
            tuple(sorted({*sets[p // len(other.sets)], *other.sets[p % len(other.sets)]})) for p in pairs.tolist()
        ]
        sets = sorted(set(joined))
        set_of = np.array([sets.index(j) for j in joined], dtype=np.uint16)[at.reshape(set_of.shape)]
    return _marginal(partition([g for m in found for g in m.groups], classes), sets, set_of, ignore)


def _groups(
    asked: LabelSpace,
    openness: tuple[Openness, ...],
    space: LabelSpace,
    wholes: Sequence[frozenset[int]],
    record: Sample,
    names: Collection[str],
) -> tuple[tuple[int, ...], ...]:
    """The groups of a sample: of what its background may be, and what every structure drawn in it may be.

    Where layers overlap less is possible, not more, so values are looked at one by one.
    """
    codes = asked.codes(openness, frozenset(o.extent for o in openness if o.extent is not None))
    columns = [codes.background]
    palette = space.hierarchy.palette
    for s in record.structures:
        if s.layer in names and s.structure in palette:
            columns.append(codes.values[:, palette[s.structure].value])
    found = {admissible(column, space, wholes) for column in columns}
    return partition([f for f in found if len(f) <= len(space)], len(space))


def admissible(
    codes: npt.NDArray[np.uint8], space: LabelSpace, wholes: Sequence[frozenset[int]] = ()
) -> tuple[int, ...]:
    """The classes that a voxel may be, 0 (background) among them.

    Args:
        codes: NONE, POSSIBLE, EXCLUDED or CERTAIN for each class, then for each of `wholes`.
        space: the classes.
        wholes: structures beside them, as the classes that make each up.
    """
    n = len(space)
    certain, possible = codes[:n] == CERTAIN, codes[:n] == POSSIBLE
    for c in space.order:
        if certain[c]:
            return tuple(sorted({c + 1, *(int(d) + 1 for d in np.flatnonzero(possible & space.beats[:, c]))}))
    may_be = {int(d) + 1 for d in np.flatnonzero(possible)}
    drawn = [parts for parts, code in zip(wholes, codes[n:], strict=True) if code == CERTAIN]
    # What is made up of classes is one of them: no background.
    inside = any(parts & may_be for parts in drawn)
    return tuple(sorted(may_be if inside else {0, *may_be}))


def _with_wholes(space: LabelSpace) -> tuple[LabelSpace, tuple[frozenset[int], ...]]:
    """The space with what its classes make up behind them: kidney, where left and right are asked for."""
    at = {member: number for number, members in enumerate(space.classes.values(), start=1) for member in members}
    found: dict[str, frozenset[int]] = {}
    for whole in sorted(space.hierarchy.structures):
        for parts in space.hierarchy.covers(whole):
            if whole not in at and all(p in at for p in parts):
                found[whole] = frozenset(at[p] for p in parts)
    named = {f"\0{whole}": (whole,) for whole in found}
    extended = LabelSpace({**space.classes, **named}, space.hierarchy, unknown=space.unknown)
    return extended, tuple(found.values())


def partition(sets: Collection[tuple[int, ...]], classes: int) -> tuple[tuple[int, ...], ...]:
    """The finest partition of 0..classes of which each set lies in one part; the part of 0 comes first.

    Example:
        partition([(0, 3), (1, 2)], 4) == ((0, 3), (1, 2), (4,))
    """
    part = list(range(classes + 1))
    for members in sets:
        low = min(part[m] for m in members)
        joined = {part[m] for m in members}
        part = [low if p in joined else p for p in part]
    found: dict[int, list[int]] = {}
    for c, p in enumerate(part):
        found.setdefault(p, []).append(c)
    return tuple(tuple(found[p]) for p in sorted(found))


def roll_up(mask: npt.NDArray[Any], table: npt.NDArray[Any], ignore: int = UNTOLD) -> npt.NDArray[Any]:
    """A class mask in a coarser space.

    Where it says `ignore` the coarser space may know more (which kidney is not known, that it is one is): ask the sample for
    the coarser classes to have that too.

    Args:
        mask: (z, y, x) classes of the finer space.
        table: of `roll_up_table`.
        ignore: what marks voxels that cannot be told, before and after.

    Returns:
        A mask of the same shape.

    Raises:
        UsageError: the mask holds a number that the table does not know.
    """
    told = mask != ignore
    if told.any() and int(mask[told].max()) >= len(table):
        raise UsageError(f"a mask of {len(table) - 1} classes, found the number {int(mask[told].max())} in it")
    return np.where(told, table[np.where(told, mask, 0)], ignore).astype(mask_dtype(int(table.max()), ignore))


def roll_up_table(fine: LabelSpace, coarse: LabelSpace) -> npt.NDArray[np.int32]:
    """For each class of a space, 0 among them, the class of a coarser one that its voxels are of; 0 for none.

    A class mask that is rolled up by it is that of the coarser space wherever it tells a class that has one there, but for
    voxels of several organs in layers that overlap: one mask has room for one of them, and each space chooses for itself.

    Raises:
        UsageError: a class of the finer space that is only in part one of the coarser.
    """
    table = np.zeros(len(fine) + 1, dtype=np.int32)
    for number, name in enumerate(fine.names, start=1):
        held = fine.held_by(name) or frozenset(fine.classes[name])
        into = {_class_of(s, coarse) for s in held}
        if len(into) > 1:
            raise UsageError(f"{name} of the finer space belongs to several classes of the coarser, or in part to none")
        table[number] = into.pop()
    return table


def _class_of(structure: str, space: LabelSpace) -> int:
    """The class that a voxel of a structure is of; 0 for none."""
    counts = space.hierarchy.counts_as(structure, [m for members in space.classes.values() for m in members])
    for c in space.order:
        if counts & set(space.classes[space.names[c]]):
            return c + 1
    return 0
