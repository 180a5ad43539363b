"""A label as small integers with a stated meaning: every value is mapped or ignored, or the label is at fault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from schemas.label_table import LabelTable
from schemas.ontology.structures import BACKGROUND
from schemas.reasons import Reason
from transforms.labels.extent import tally
from transforms.labels.memory import Layout, contiguous
from transforms.rejected import Rejected

IGNORED = "<ignored>"
"""Stands among the structures of a code for "no statement here"."""

INTEGER_TOLERANCE = 1e-3
"""How far a value may be from an integer: single-precision slopes of integer files leave about 1e-5."""

LISTED = 10
"""How many faulty values a message lists."""

Members = frozenset[str]
"""Structures that a voxel belongs to; empty for background."""


@dataclass(frozen=True, eq=False)
class Coded:
    """A label volume and what its codes mean.

    Attributes:
        codes_zyx: uint8 or uint16, any strides; where nothing had to be converted, a view of what was read.
        members: for every code that occurs, the structures of its voxels.
        counts: for every code that occurs, its voxels.
    """

    codes_zyx: npt.NDArray[Any]
    members: Mapping[int, Members]
    counts: Mapping[int, int]

    @property
    def codes(self) -> int:
        """How many codes the number type has room for: the length of a look-up table."""
        return 1 << (8 * self.codes_zyx.itemsize)

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Voxels of each structure that has any, those that it shares with others included; sorted by id."""
        sizes: dict[str, int] = {}
        for code, members in self.members.items():
            for structure in members - {IGNORED}:
                sizes[structure] = sizes.get(structure, 0) + self.counts[code]
        return dict(sorted(sizes.items()))

    @property
    def ignored(self) -> bool:
        """Whether some voxels make no statement."""
        return any(IGNORED in m for m in self.members.values())


def label_map(array_zyx: npt.NDArray[Any], scale: float, offset: float, table: LabelTable) -> Coded:
    """A label of integers, after its table.

    Args:
        array_zyx: stored values, any number type and strides.
        scale: value = stored * scale + offset.
        offset: see scale.
        table: what the values mean.

    Raises:
        Rejected: LABEL_NOT_INTEGER, or UNMAPPED_LABEL for values that the table neither maps nor ignores.
    """
    codes, values, counts = _codes(array_zyx, scale, offset)
    meaning = {v: frozenset[str]() if s == BACKGROUND else frozenset({s}) for v, s in table.values.items()}
    meaning |= dict.fromkeys(table.ignore, frozenset({IGNORED}))
    unmapped = {v: counts[c] for c, v in values.items() if v not in meaning}
    if unmapped:
        raise Rejected(
            Reason.UNMAPPED_LABEL,
            f"the table maps or ignores {_listed(sorted(meaning))}; found also {_with_voxels(unmapped)}; "
            "map each to a structure or to background, or ignore it",
        )
    return Coded(codes, {c: meaning[v] for c, v in values.items()}, counts)


def structure_mask(
    array_zyx: npt.NDArray[Any], scale: float, offset: float, structure: str, table: LabelTable
) -> Coded:
    """The mask of one structure: 0 where it is not, one other value where it is, and ignored values.

    Args:
        array_zyx: stored values, any number type and strides.
        scale: value = stored * scale + offset.
        offset: see scale.
        structure: what the mask shows.
        table: which values it ignores.

    Raises:
        Rejected: LABEL_NOT_INTEGER, or UNMAPPED_LABEL when there are several values that are neither 0 nor ignored.
    """
    codes, values, counts = _codes(array_zyx, scale, offset)
    inside = {v: counts[c] for c, v in values.items() if v != 0 and v not in table.ignore}
    if len(inside) > 1:
        raise Rejected(
            Reason.UNMAPPED_LABEL,
            f"the mask of {structure} is expected to hold 0 and one other value; found {_with_voxels(inside)}",
        )
    members = {
        c: frozenset({IGNORED}) if v in table.ignore else frozenset({structure} if v != 0 else ())
        for c, v in values.items()
    }
    return Coded(codes, members, counts)


def _codes(
    array_zyx: npt.NDArray[Any], scale: float, offset: float
) -> tuple[npt.NDArray[Any], dict[int, int], dict[int, int]]:
    """The array as uint8 or uint16 codes; the value and the count of each code that occurs."""
    kind, size = array_zyx.dtype.kind, array_zyx.dtype.itemsize
    native = array_zyx if array_zyx.dtype.isnative else array_zyx.astype(array_zyx.dtype.newbyteorder("="))
    if kind in "iub" and size <= 2:
        codes = native.view(np.uint8 if size == 1 else np.uint16)
        counts = _occurring(codes)
        wrap = 1 << (8 * size)
        stored = {c: float(c - wrap if kind == "i" and c >= wrap // 2 else c) for c in counts}
        physical = {c: s * scale + offset for c, s in stored.items()}
        _check_integer({v: counts[c] for c, v in physical.items()})
        return codes, {c: round(v) for c, v in physical.items()}, counts
    if kind not in "iuf":
        raise Rejected(Reason.LABEL_NOT_INTEGER, f"expected numbers, found dtype {array_zyx.dtype}")
    if kind == "f" and size == 2:
        native = native.astype(np.float32)  # no kernel computes in half precision
    layout = Layout.of(native)
    memory = contiguous(layout.to_memory(native))
    smallest, largest, faulty = _range(memory.reshape(-1), scale, offset, INTEGER_TOLERANCE)
    if faulty:
        found = memory.astype(np.float64) * scale + offset
        with np.errstate(invalid="ignore"):
            wrong, times = np.unique(found[~(np.abs(found - np.rint(found)) <= INTEGER_TOLERANCE)], return_counts=True)
        _check_integer(dict(zip(wrong.tolist(), times.tolist(), strict=True)))
    if largest - smallest < 1 << 16:
        codes = np.empty(memory.shape, dtype=np.uint8 if largest - smallest < 1 << 8 else np.uint16)
        _shift(memory.reshape(-1), scale, offset, smallest, codes.reshape(-1))
        counts = _occurring(codes)
        return layout.from_memory(codes), {c: c + int(smallest) for c in counts}, counts
    distinct, inverse = np.unique(np.rint(memory.astype(np.float64) * scale + offset), return_inverse=True)
    if len(distinct) > 1 << 16:
        raise Rejected(
            Reason.LABEL_NOT_INTEGER,
            f"{len(distinct)} distinct values between {smallest:g} and {largest:g}: not a label",
        )
    codes = inverse.reshape(memory.shape).astype(np.uint16)
    return layout.from_memory(codes), {c: int(v) for c, v in enumerate(distinct)}, _occurring(codes)


def _occurring(codes: npt.NDArray[Any]) -> dict[int, int]:
    counts = tally(codes)
    return {int(c): int(counts[c]) for c in np.flatnonzero(counts)}


def _check_integer(counts: Mapping[float, int]) -> None:
    wrong = {v: n for v, n in counts.items() if not (np.isfinite(v) and abs(v - round(v)) <= INTEGER_TOLERANCE)}
    if wrong:
        raise Rejected(
            Reason.LABEL_NOT_INTEGER,
            f"label values are integers; found {_with_voxels(wrong)}: was the label resampled by interpolation?",
        )


def _with_voxels(counts: Mapping[Any, int]) -> str:
    shown = [f"{v:g} ({counts[v]} voxels)" for v in sorted(counts)[:LISTED]]
    return ", ".join(shown) + (f" and {len(counts) - LISTED} other values" if len(counts) > LISTED else "")


def _listed(values: list[int]) -> str:
    shown = ", ".join(str(v) for v in values[:LISTED])
    return shown + (f" and {len(values) - LISTED} others" if len(values) > LISTED else "")


@numba.njit(cache=True, nogil=True)
def _range(stored, scale, offset, tolerance):  # type: ignore[no-untyped-def]
    """Smallest and largest integer value, and how many values are none."""
    smallest, largest, faulty = np.inf, -np.inf, 0
    for s in stored:
        value = s * scale + offset
        integer = np.rint(value)
        if not abs(value - integer) <= tolerance:  # also NaN and infinities, whose difference is NaN
            faulty += 1
            continue
        smallest = min(smallest, integer)
        largest = max(largest, integer)
    return smallest, largest, faulty


@numba.njit(cache=True, nogil=True)
def _shift(stored, scale, offset, smallest, codes):  # type: ignore[no-untyped-def]
    for i in range(len(stored)):
        codes[i] = np.int64(np.rint(stored[i] * scale + offset) - smallest)
