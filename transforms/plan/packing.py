"""Which cases share a shard: by split and source, in a keyed order, bounded in bytes and in work."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.recipe import Shards

MAX_SHARD_SECONDS = 600.0
"""CPU seconds of one shard at most: the tail of a run is one shard long, and a lost worker costs no more."""

SHARDS_AT_LEAST = 16
"""A corpus has about this many shards at least, so that a few workers and loaders have something to share."""

MIN_TARGET_BYTES = 1 << 20
"""Smaller shards are not worth their tar headers and requests."""


@dataclass(frozen=True)
class Pack:
    """Cases of one shard, in order."""

    split: str
    source: str
    number: int
    cases: tuple[str, ...]
    estimated_bytes: int
    estimated_seconds: float

    @property
    def shard(self) -> str:
        """Id of the shard."""
        return f"{self.split}/{self.source}-{self.number:05d}"


class Packable(Protocol):
    """What of a case decides its shard: a `Case`, or a row of the same names."""

    @property
    def case_id(self) -> str:
        """Its id."""
        ...

    @property
    def source(self) -> str:
        """Id of its source."""
        ...

    @property
    def estimated_bytes(self) -> int:
        """Bytes it will take in a shard."""
        ...

    @property
    def estimated_seconds(self) -> float:
        """CPU seconds it will cost."""
        ...


def keyed_order(key: str, case_ids: Iterable[str]) -> list[str]:
    """Case ids in an order that depends on the key and each id alone."""
    return sorted(case_ids, key=lambda c: (hashlib.sha256(f"{key}\0order\0{c}".encode()).digest(), c))


def pack(
    cases: Sequence[Packable],
    split_of: Mapping[str, str],
    shards: Shards,
    key: str,
    first_numbers: Mapping[tuple[str, str], int],
) -> list[Pack]:
    """Shards for the given cases.

    Their size depends on the plan alone, never on the number of workers: `target_mb`, or a sixteenth of what is
    planned when that is less.

    Args:
        cases: what to build.
        split_of: split by case id.
        shards: the recipe's.
        key: what the order within a shard is keyed with.
        first_numbers: (split, source) -> number of its first new shard, where earlier generations have some.
    """
    total = sum(c.estimated_bytes for c in cases)
    target = max(MIN_TARGET_BYTES, min(int(shards.target_mb * 1e6), total // SHARDS_AT_LEAST))
    pooled = _pooled_sources(cases, shards)
    piles: dict[tuple[str, str], list[str]] = {}
    by_id = {c.case_id: c for c in cases}
    for case in cases:
        source = "pool" if case.source in pooled or "source" not in shards.group_by else case.source
        piles.setdefault((split_of[case.case_id], source), []).append(case.case_id)

    packs: list[Pack] = []
    for (split, source), ids in sorted(piles.items()):
        number = first_numbers.get((split, source), 0)
        pile_bytes = sum(by_id[i].estimated_bytes for i in ids)
        even = pile_bytes / max(1, math.ceil(pile_bytes / target))  # all shards of a pile about equal
        current: list[str] = []
        size, seconds, before, bin_now = 0, 0.0, 0, 0
        for case_id in keyed_order(key, ids):
            case = by_id[case_id]
            bin_of_case = int((before + case.estimated_bytes / 2) / even) if even else 0
            before += case.estimated_bytes
            if current and (bin_of_case != bin_now or seconds + case.estimated_seconds > MAX_SHARD_SECONDS):
                packs.append(Pack(split, source, number, tuple(current), size, round(seconds, 3)))
                number, current, size, seconds = number + 1, [], 0, 0.0
            bin_now = bin_of_case
            current.append(case_id)
            size += case.estimated_bytes
            seconds += case.estimated_seconds
        packs.append(Pack(split, source, number, tuple(current), size, round(seconds, 3)))
    return packs


def _pooled_sources(cases: Sequence[Packable], shards: Shards) -> set[str]:
    sizes: dict[str, int] = {}
    for case in cases:
        sizes[case.source] = sizes.get(case.source, 0) + case.estimated_bytes
    return {source for source, size in sizes.items() if size < shards.pool_below_mb * 1e6}
