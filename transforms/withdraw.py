"""The manifest without what was taken back: pure assembly, nothing is read or written here."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mdfp import manifest as manifests
from mdfp.manifest import HoleCount, IndexEntry, Manifest, ShardEntry, SidecarEntry, SplitTotal
from schemas.reasons import Reason
from transforms.withdrawn import Withdrawn


def taken_back(rows: pa.Table, withdrawn: Withdrawn) -> npt.NDArray[np.bool_]:
    """Which rows of a table with the columns case_id, patient and source were taken back."""
    mask = np.zeros(rows.num_rows, dtype=bool)
    for column, values in (
        ("case_id", withdrawn.cases),
        ("patient", withdrawn.patients),
        ("source", withdrawn.sources),
    ):
        if values:
            mask |= np.asarray(pc.is_in(rows[column], value_set=pa.array(sorted(values), pa.string())))
    return mask


def reduced(
    manifest: Manifest,
    shards: Mapping[str, ShardEntry | None],
    indexes: Mapping[str, IndexEntry],
    gone: Mapping[str, int],
    patients: Mapping[str, int],
    sidecars: Mapping[str, SidecarEntry | None] = MappingProxyType({}),
) -> Manifest:
    """The next manifest: the same corpus with some shards rewritten or left out.

    It keeps the plan id of its parent: nothing was built. What is no longer there counts as holes.

    Args:
        manifest: the newest.
        shards: what stands in for a shard, by its path; None: nothing is left of it.
        indexes: what stands in for an index file, by its path.
        gone: samples that were taken back, by source.
        patients: patients that are left, by split.
        sidecars: what stands in for a sidecar, by its path; None: nothing is left of it.
    """
    kept = [shards.get(s.path, s) for s in manifest.shards]
    left = tuple(s for s in kept if s is not None)
    holes = Counter({(h.source, h.reason): h.count for h in manifest.holes})
    for source, count in gone.items():
        holes[source, str(Reason.WITHDRAWN)] += count
    beside = tuple(s for s in (sidecars.get(s.path, s) for s in manifest.sidecars) if s is not None)
    added = tuple(a for a in manifest.added if a.layer in {s.layer for s in beside})
    forgotten = {a.layer for a in manifest.added} - {a.layer for a in added}
    return dataclasses.replace(
        manifest,
        schema_version=manifests.version_for(beside),
        terms=tuple(
            dataclasses.replace(t, origins=tuple(o for o in t.origins if o.origin not in forgotten))
            for t in manifest.terms
        ),
        sidecars=beside,
        added=added,
        number=manifest.number + 1,
        parent=manifest.number,
        shards=left,
        indexes=tuple(indexes.get(i.path, i) for i in manifest.indexes),
        splits=tuple(_total(s.split, left, patients.get(s.split, 0)) for s in manifest.splits),
        holes=tuple(HoleCount(source, reason, count) for (source, reason), count in sorted(holes.items())),
    )


def _total(split: str, shards: Sequence[ShardEntry], patients: int) -> SplitTotal:
    mine = [s for s in shards if s.split == split]
    return SplitTotal(
        split, sum(s.samples for s in mine), patients, sum(s.bytes for s in mine), tuple(s.path for s in mine)
    )


def superseded(newest: Manifest, older: Sequence[Manifest]) -> tuple[frozenset[str], frozenset[str]]:
    """(shards, index files) that earlier manifests name and the newest does not.

    Shards are left behind by withdrawals alone, index files by added labels too.
    """
    tars = {s.path for m in older for s in m.shards} - {s.path for s in newest.shards}
    indexes = {i.path for m in older for i in m.indexes} - {i.path for i in newest.indexes}
    return frozenset(tars), frozenset(indexes)


def last_withdrawal(history: Sequence[Manifest]) -> int:
    """Number of the newest manifest that names less than the one before it; 0 for none.

    Args:
        history: all manifests, in order.
    """
    found = 0
    for before, after in itertools.pairwise(history):
        if {t.path for t in before.tars} - {t.path for t in after.tars}:
            found = after.number
    return found


def shard_of(path: str) -> str:
    """Id of the shard that a tar or a file of rows is of: `train/a-00001` of `shards/train/a-00001-<sha>.tar`."""
    return path.partition("/")[2].rsplit("-", 1)[0]
