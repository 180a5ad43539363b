"""How often what comes up in an epoch: the sampling plan of a corpus, as numbers.

The samples of a split fall into cells, one for each source and group (a source, a modality, an anatomy). Every cell has a
weight: its share of an epoch. An epoch has as many places as there are samples, or fewer where caps leave places to nobody.

* A cell has the same number of places in each epoch: its weight times the places, rounded so that all are given.
* Within an epoch the numbers of times that two samples of a cell come up differ by at most one. Where a cell has fewer
  places than samples none comes up twice, and the next epochs go on with those that have not yet been seen.
* Cells are spread evenly: any stretch of an epoch has its share of each, give or take one or two samples of a cell.

Everything is a function of the numbers, the seed and the epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mdfp.draw import Draws, permutation
from mdfp.errors import UsageError
from mdfp.index import Samples
from mdfp.manifest import Sampling, SamplingCap

Cell = tuple[str, str]
"""(source, group)."""

Rows = npt.NDArray[np.int64]

UNKNOWN = "unknown"
"""The anatomy of samples of which nobody says it."""

_TINY = 1e-9
"""What a product of a weight and a number of places may lack by rounding."""


def groups_of(table: pa.Table, by: str, anatomy: Mapping[str, str]) -> list[str]:
    """The group of each row of an index.

    Args:
        table: with the column source, and modalities or images where these are asked for.
        by: source; modality (of several images: CT+PT); or anatomy: the body part that the files of its images state
            (DICOM BodyPartExamined, in lower case), else what `anatomy` says of its source, else unknown.
        anatomy: by source.

    Raises:
        UsageError: `by` is something else.
    """
    sources: list[str] = table["source"].to_pylist()
    if by == "source":
        return sources
    if by == "modality":
        return ["+".join(listed) for listed in table["modalities"].to_pylist()]
    if by != "anatomy":
        raise UsageError(f"sampling: by is source, modality or anatomy, found {by!r}; update mdfp")
    images = table["images"].combine_chunks()
    flat, parents = pc.list_flatten(images), pc.list_parent_indices(images).to_pylist()
    parts: dict[int, str] = {}
    for row, part in zip(parents, pc.struct_field(flat, ["acquisition", "body_part"]).to_pylist(), strict=True):
        if part and part.strip():
            parts.setdefault(row, part.strip().lower())
    return [parts.get(row) or anatomy.get(source) or UNKNOWN for row, source in enumerate(sources)]


def weigh(samples: Mapping[Cell, int], exponent: float, caps: Sequence[SamplingCap]) -> dict[Cell, float]:
    """The weight of each cell; together 1, less where count caps leave places to nobody.

    A group of n samples weighs n to the power `exponent`, and its cells share that by their samples. A source beyond its
    cap is cut to it; what it loses goes to the sources that are not capped, in proportion to their weights.

    Raises:
        UsageError: share caps that leave places to nobody.
    """
    sizes: dict[str, int] = {}
    for (_, group), n in samples.items():
        sizes[group] = sizes.get(group, 0) + n
    total = sum(n**exponent for n in sizes.values() if n)
    raw = {cell: sizes[cell[1]] ** exponent / total * n / sizes[cell[1]] for cell, n in samples.items() if n}
    places = epoch_places({source for source, _ in raw}, sum(samples.values()), caps)
    weights = _cut(raw, {c.source: _share(c, places) for c in caps})
    # Rounded: the last bit of a power is not the same on every processor.
    return {cell: round(weight, 12) for cell, weight in weights.items()}


def _share(cap: SamplingCap, places: int) -> float:
    return cap.share if cap.share is not None else min(1.0, (cap.samples or 0) / places)


def _cut(raw: Mapping[Cell, float], caps: Mapping[str, float]) -> dict[Cell, float]:
    """Weights in which no source is above its cap; `raw` may have any sum."""
    held: dict[str, float] = {}
    for (source, _), weight in raw.items():
        held[source] = held.get(source, 0.0) + weight
    fixed: dict[str, float] = {}
    while True:
        free = sum(w for s, w in held.items() if s not in fixed)
        scale = max(0.0, 1 - sum(fixed.values())) / free if free else 0.0
        over = [s for s, w in held.items() if s not in fixed and w * scale > caps.get(s, 1.0) + _TINY]
        if not over:
            break
        fixed |= {s: caps[s] for s in over}
    return {c: w * (fixed[c[0]] / held[c[0]] if c[0] in fixed else scale) for c, w in raw.items()}


def epoch_places(sources: set[str], samples: int, caps: Sequence[SamplingCap]) -> int:
    """Places of an epoch: one for each sample, or what the caps allow where every source has one.

    Raises:
        UsageError: the caps of these sources are shares that leave places to nobody.
    """
    mine = {c.source: c for c in caps if c.source in sources}
    if set(mine) != sources:
        return samples
    shares = sum(c.share for c in mine.values() if c.share is not None)
    counted = sum(c.samples or 0 for c in mine.values() if c.share is None)
    if shares >= 1 - _TINY:
        return samples
    if not counted:
        raise UsageError(
            f"sampling: the caps of {', '.join(sorted(sources))} leave {1 - shares:.0%} of an epoch to nobody; raise one, "
            "or take sampling=None"
        )
    return min(samples, int(counted / (1 - shares) + _TINY))


def allocate(weights: Mapping[Cell, float], places: int, caps: Sequence[SamplingCap]) -> dict[Cell, int]:
    """Whole places for each cell: the largest remainders get those that rounding down leaves, within the caps."""
    most = {c.source: int((c.share or 0) * places + _TINY) if c.samples is None else c.samples for c in caps}
    exact = {cell: weight * places for cell, weight in sorted(weights.items()) if weight > 0}
    given = {cell: int(number + _TINY) for cell, number in exact.items()}
    room = {source: most.get(source, places) for source, _ in exact}
    for (source, _), n in given.items():
        room[source] -= n
    left = round(sum(exact.values())) - sum(given.values())
    largest_first = sorted(exact, key=lambda c: (given[c] - exact[c], c))
    while left > 0 and any(n > 0 for n in room.values()):  # once; again where caps leave some over
        for cell in largest_first:
            if left > 0 and room[cell[0]] > 0:
                given[cell] += 1
                room[cell[0]] -= 1
                left -= 1
    return {cell: given.get(cell, 0) for cell in sorted(weights)}


class SamplingPlan:
    """The epochs of some samples under a corpus's sampling.

    Args:
        samples: those that are asked for; weights are shared among the cells that they are in.
        sampling: rule and numbers, from the manifest.

    Raises:
        UsageError: a sample of a cell that the manifest does not weigh; caps that leave nothing.
    """

    def __init__(self, samples: Samples, sampling: Sampling):
        rows = samples.rows
        needed = {"modality": ["modalities"], "anatomy": ["images"]}.get(sampling.by, [])
        table = samples.table.select(["source", *needed]).take(pa.array(rows))
        anatomy = {a.source: a.anatomy for a in sampling.anatomy}
        sources = table["source"].to_pylist()
        cells = list(zip(sources, groups_of(table, sampling.by, anatomy), strict=True))
        weights = {(c.source, c.group): c.weight for c in sampling.cells}
        if strange := sorted(set(cells) - set(weights)):
            raise UsageError(f"sampling: the manifest gives no weight to {strange[0]}; take sampling=None")
        present = sorted(set(cells))
        number = {cell: n for n, cell in enumerate(present)}
        code = np.array([number[c] for c in cells], dtype=np.int64)
        length = epoch_places({source for source, _ in present}, len(rows), sampling.caps)
        caps = {c.source: _share(c, length) for c in sampling.caps}
        self.places = allocate(_cut({c: weights[c] for c in present}, caps), length, sampling.caps)
        """Places of each cell in an epoch."""
        self.rows = {cell: rows[code == n] for n, cell in enumerate(present)}
        """Rows of each cell, in the order of the samples."""
        if not len(self):
            raise UsageError("sampling: the caps leave no places in an epoch; raise them, or take sampling=None")

    def __len__(self) -> int:
        """Places of an epoch."""
        return sum(self.places.values())

    @property
    def repeats(self) -> bool:
        """Whether a sample may come up twice in an epoch."""
        return any(places > len(self.rows[cell]) for cell, places in self.places.items())

    def order(
        self, seed: int, epoch: int, shuffled: Callable[[Rows, str], Rows]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(rows, visits) of an epoch; a visit above 0 is a sample that comes up again.

        Args:
            seed: of the run.
            epoch: its number.
            shuffled: puts some rows of a cell in the order in which they are read, given a name that is their own.
        """
        found: list[tuple[Rows, Rows, npt.NDArray[np.float64]]] = []
        for cell, places in self.places.items():
            if not places:
                continue
            passes = self._passes(cell, places, seed, epoch)
            rows = np.concatenate([shuffled(p, "\x1f".join((*cell, str(n)))) for n, p in enumerate(passes)])
            visits = np.repeat(np.arange(len(passes)), [len(p) for p in passes])
            start = Draws("start", seed, epoch, *cell).uniform()
            found.append((rows, visits, (np.arange(places) + start) / places))
        at = np.argsort(np.concatenate([f[2] for f in found]), kind="stable")
        return np.concatenate([f[0] for f in found])[at], np.concatenate([f[1] for f in found])[at]

    def _passes(self, cell: Cell, places: int, seed: int, epoch: int) -> list[Rows]:
        """The rows of a cell once for each time that all of them come up, then those that come up once more.

        These are taken from rounds: a round deals all rows in a drawn order, so many an epoch, and what is too few for
        another epoch is dealt anew in the next round.
        """
        rows = self.rows[cell]
        full, rest = divmod(places, len(rows))
        passes = [rows] * full
        if rest:
            turn, part = divmod(epoch, len(rows) // rest)
            dealt = permutation(len(rows), "round", seed, *cell, turn)
            passes.append(rows[np.sort(dealt[part * rest : (part + 1) * rest])])
        return passes

    def fingerprint(self) -> str:
        """Digest of what the order is a function of, beside the samples, the seed and the epoch."""
        return hashlib.sha256(repr(sorted(self.places.items())).encode()).hexdigest()[:16]
