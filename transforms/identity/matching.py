"""From a table of fingerprints to the pairs of images that are one image written two ways."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.identity import ImageMatch
from transforms.identity.align import likeness, prepare
from transforms.identity.fingerprint import CODE_BITS
from transforms.identity.near_codes import Pairs, near_pairs
from transforms.identity.thumbnail import CELLS, Thumbnail

RADIUS = 31
"""Bits of 256 in which the codes of candidates may differ. One word of 16 bits then differs in one bit at most."""

READ_PAIRS = 32_768
"""Candidates whose cubes are read together: 900 MB at most."""

BLOCK = 4096
"""Candidates that are compared together: bounds the cubes that are in memory, 120 kB each when they are prepared."""

Rows = npt.NDArray[np.int64]

CubesOf = Callable[[Rows], pa.Table]
"""The columns cells, box_mm and voxels_xyz of these rows of the table, in the order asked for."""


@dataclass(frozen=True)
class Matched:
    """What comparing found.

    Attributes:
        matches: pairs of different content hashes, sorted.
        candidates: pairs whose cubes were compared.
    """

    matches: tuple[ImageMatch, ...]
    candidates: int


def match(hashes: Sequence[str | None], codes: Sequence[bytes | None], cubes_of: CubesOf) -> Matched:
    """Every pair of different content hashes whose codes are within `RADIUS` and whose cubes are one image.

    Images of equal content hash are one already, and are compared with others once.

    Args:
        hashes: content hash of each row; None where the image could not be read.
        codes: code of each row; None where there is none.
        cubes_of: reads the cubes of rows; called a few times, with those that are candidates.
    """
    first: dict[str, int] = {}
    for row, (name, code) in enumerate(zip(hashes, codes, strict=True)):
        if name is not None and code is not None:
            first.setdefault(name, row)
    rows = np.array(sorted(first.values()), np.int64)
    packed = np.frombuffer(b"".join(codes[r] or b"" for r in rows.tolist()), np.uint8).reshape(-1, CODE_BITS // 8)
    pairs = rows[near_pairs(packed, RADIUS)]
    found: list[ImageMatch] = []
    for start in range(0, len(pairs), READ_PAIRS):
        block = pairs[start : start + READ_PAIRS]
        for (a, b), distance in zip(block.tolist(), _distances(block, cubes_of), strict=True):
            if distance is not None:
                one, other = sorted((str(hashes[a]), str(hashes[b])))
                found.append(ImageMatch(one, other, distance))
    return Matched(tuple(sorted(found, key=lambda m: (m.hash_a, m.hash_b))), len(pairs))


def _distances(pairs: Pairs, cubes_of: CubesOf) -> list[float | None]:
    """Distance of each pair that is one image; None for others."""
    needed = np.unique(pairs)
    cubes = cubes_of(needed)
    place = np.searchsorted(needed, pairs)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return [d for at in range(0, len(place), BLOCK) for d in _compared(place[at : at + BLOCK], cubes, pool)]


def _compared(pairs: Pairs, cubes: pa.Table, pool: ThreadPoolExecutor) -> Iterator[float | None]:
    """The same for pairs of rows of `cubes`, each of which is prepared once."""
    needed = np.unique(pairs)
    prepared = list(pool.map(prepare, thumbnails(cubes.take(pa.array(needed)))))

    def compare(part: Pairs) -> list[float | None]:
        found = (likeness(prepared[a], prepared[b]) for a, b in part.tolist())
        return [round(max(0.0, 1.0 - seen.score), 6) if seen.same_image else None for seen in found]

    parts = np.array_split(np.searchsorted(needed, pairs), max(1, len(pairs) // 64))
    return (distance for part in pool.map(compare, parts) for distance in part)


def thumbnails(cubes: pa.Table) -> list[Thumbnail]:
    """The cubes of fingerprint rows."""
    columns = (cubes[name].to_pylist() for name in ("cells", "box_mm", "voxels_xyz"))
    return [
        Thumbnail(np.frombuffer(cells, np.uint8).reshape(CELLS, CELLS, CELLS), tuple(box), tuple(voxels))
        for cells, box, voxels in zip(*columns, strict=True)
    ]
