"""Several masks in few layers: who wins a voxel that two structures claim, and what goes to a further layer.

Masks are laid over each other into one map of codes, each code a set of structures, one mask in memory at a time.
Everything else (voxels, overlaps, layers) is read from the short list of codes and their counts, so it depends
neither on the order of the files nor on how they lie in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from schemas.ontology.structures import Ontology
from schemas.reasons import Reason
from transforms.labels.coded import IGNORED, Coded, Members
from transforms.labels.extent import tally
from transforms.labels.memory import Layout, contiguous
from transforms.labels.palette import Palette
from transforms.rejected import Rejected

CONTAINED = 0.5
"""The least fraction of the narrower structure's voxels inside the wider one for the two to share a layer. A tumour
that mostly lies beside the mask of its organ is not inside it: each keeps all its voxels, in a layer of its own."""

MAX_CODES = 1 << 16


def lay_over(masks: Iterable[Coded]) -> Coded:
    """One map from masks of one shape. A single mask is handed on as it is.

    Memory: two bytes a voxel and the mask at hand.

    Raises:
        Rejected: UNSUPPORTED, when the structures overlap in more than 65 535 different ways.
        ValueError: there is no mask, or their shapes differ.
    """
    remaining = iter(masks)
    first = next(remaining, None)
    if first is None:
        raise ValueError("expected at least one mask, found none")
    second = next(remaining, None)
    if second is None:
        return first
    layout = Layout.of(first.codes_zyx)
    combined = np.zeros(layout.to_memory(first.codes_zyx).shape, dtype=np.uint16)
    members: list[Members] = [frozenset()]
    _add(first, layout, combined, members)
    del first
    _add(second, layout, combined, members)
    del second
    for mask in remaining:
        _add(mask, layout, combined, members)
    counts = tally(combined)
    occurring = [int(c) for c in np.flatnonzero(counts)]
    return Coded(
        layout.from_memory(combined), {c: members[c] for c in occurring}, {c: int(counts[c]) for c in occurring}
    )


def _add(mask: Coded, layout: Layout, combined: npt.NDArray[np.uint16], members: list[Members]) -> None:
    """Lay a mask over the map; `combined` (in memory order) and `members` grow in place."""
    codes = contiguous(layout.to_memory(mask.codes_zyx))
    if codes.shape != combined.shape:
        raise ValueError(f"masks of one label have one shape, found {codes.shape} and {combined.shape} in memory order")
    drawn = sorted({m for m in mask.members.values() if m}, key=sorted)
    if not drawn:
        return
    number = np.zeros(mask.codes, dtype=np.int64)
    for code, found in mask.members.items():
        number[code] = drawn.index(found) + 1 if found else 0
    nothing = max((c for c, m in mask.members.items() if not m), key=lambda c: mask.counts[c], default=-1)
    # What a voxel's code becomes when this mask adds its structures; numbered as the kernel meets them.
    becomes = np.full((len(drawn) + 1, MAX_CODES), -1, dtype=np.int32)
    met = np.empty((MAX_CODES, 2), dtype=np.int32)
    known = {m: c for c, m in enumerate(members)}
    for code, have in enumerate(members):
        for i, new in enumerate(drawn, start=1):
            if (union := have | new) in known:
                becomes[i, code] = known[union]
    flat = codes.reshape(-1)
    words = flat[: len(flat) - len(flat) % (8 // flat.itemsize)].view(np.uint64)
    found_codes = _overlay(flat, words, nothing, number, combined.reshape(-1), becomes, met, len(members))
    if found_codes < 0:
        raise Rejected(
            Reason.UNSUPPORTED, f"the structures of one label overlap in more than {MAX_CODES - 1} different ways"
        )
    for code, new in met[: found_codes - len(members)].tolist():
        members.append(members[code] | drawn[new - 1])


def overlaps(label: Coded) -> dict[tuple[str, str], int]:
    """Voxels that two structures share, for each pair (sorted) that shares any."""
    shared: dict[tuple[str, str], int] = {}
    for code, members in label.members.items():
        for pair in combinations(sorted(members - {IGNORED}), 2):
            shared[pair] = shared.get(pair, 0) + label.counts[code]
    return shared


def layers(label: Coded, known: Ontology) -> tuple[Members, ...]:
    """The structures of each layer; at least one layer, which may be empty.

    Two structures that overlap share a layer where one is an ancestor of the other and holds at least `CONTAINED` of
    it. The rest is coloured greedily: largest structure first, ties by id, each into the first layer free of conflict.
    """
    sizes = label.sizes
    conflicts: dict[str, set[str]] = {s: set() for s in sizes}
    for (a, b), shared in overlaps(label).items():
        narrow, wide = (a, b) if b in known.ancestors(a) else (b, a)
        contained = wide in known.ancestors(narrow) and shared >= CONTAINED * sizes[narrow]
        if not contained:
            conflicts[a].add(b)
            conflicts[b].add(a)
    result: list[set[str]] = [set()]
    for structure in sorted(sizes, key=lambda s: (-sizes[s], s)):
        free = next((layer for layer in result if not layer & conflicts[structure]), None)
        if free is None:
            result.append(free := set())
        free.add(structure)
    return tuple(frozenset(layer) for layer in result)


def look_up(label: Coded, layer: Members, palette: Palette, known: Ontology) -> npt.NDArray[Any]:
    """Stored value of each code in one layer: the most specific structure there, the ignore marker, or 0."""
    lut = np.zeros(label.codes, dtype=palette.dtype)
    for code, members in label.members.items():
        winner = winner_of(members & layer, known)
        if winner is not None:
            lut[code] = palette.value(winner)
        elif IGNORED in members:
            lut[code] = palette.ignore
    return lut


def winner_of(claimed: Members, known: Ontology) -> str | None:
    """The structure to which all others that claim a voxel are wider; None where nothing claims it."""
    for structure in sorted(claimed):
        if claimed - {structure} <= set(known.ancestors(structure)):
            return structure
    if claimed:
        raise ValueError(f"{sorted(claimed)} share a layer, and none of them lies in all others")
    return None


def outside_fractions(label: Coded, known: Ontology) -> dict[str, float]:
    """Fraction of each structure's voxels outside the nearest wider structure that was drawn too.

    Only for labels of several masks: in one map of integers structures exclude each other, and nothing can be measured.
    """
    shared, sizes = overlaps(label), label.sizes
    result: dict[str, float] = {}
    for structure in sizes:
        wider = next((w for w in known.ancestors(structure) if w in sizes), None)
        if wider is not None:
            inside = shared.get((min(structure, wider), max(structure, wider)), 0)
            result[structure] = (sizes[structure] - inside) / sizes[structure]
    return result


@numba.njit(cache=True, nogil=True)
def _overlay(codes, words, nothing, number, combined, becomes, met, free):  # type: ignore[no-untyped-def]
    """Replace each code of `combined` by what it becomes under the mask; the number of codes now, or -1: too many.

    `words` are the same codes, 64 bits at a time: where all of a word is `nothing` there is nothing to do.
    """
    first = free
    per_word = 8 // codes.itemsize
    empty = np.uint64(0)
    for _ in range(per_word):
        empty = (empty << np.uint64(64 // per_word)) | np.uint64(max(nothing, 0))
    for w in range(len(words) + 1):
        if w < len(words) and nothing >= 0 and words[w] == empty:
            continue
        for i in range(w * per_word, min((w + 1) * per_word, len(codes))):
            new = number[codes[i]]
            if new == 0:
                continue
            old = combined[i]
            if becomes[new, old] < 0:
                if free == becomes.shape[1]:
                    return -1
                met[free - first, 0] = old
                met[free - first, 1] = new
                becomes[new, old] = free
                free += 1
            combined[i] = becomes[new, old]
    return free
