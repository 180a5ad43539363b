"""Equal pixels under different names: certain only once they were read, and then one of them stays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.plan.splits import PRECEDENCE


@dataclass(frozen=True)
class Duplicate:
    """A sample whose pixels another one has."""

    case_id: str
    kept: str
    """Case id of the one that stays."""
    detail: str


COLUMNS = ("case_id", "source", "split", "images.list.element.content_hash", "labels.list.element.content_hash")
"""What of a sample tells whose copy it is."""


@dataclass(frozen=True)
class _Copy:
    """A sample whose pixels another one has."""

    case_id: str
    source: str
    split: str
    pixels: str
    labels: tuple[str, ...]
    old: bool


def resolve(published: Iterable[pa.Table], built: Iterable[pa.Table]) -> list[Duplicate]:
    """The newly built samples to leave out, so that no two samples of the corpus have equal pixels.

    Of a set of equal ones stays: what is published already; else what is in the most protected split (a test copy
    wins); else what has labels; else the first by source and case id. The choice does not depend on the order given.
    Labels come second here and first where copies are known before the build (`transforms.plan.identity.copies`): a sample
    that is built cannot move, and an image that is trained on under one name must not test under another.

    Args:
        published: rows of the samples of earlier generations, with the columns `COLUMNS`.
        built: rows of the samples of this one.
    """
    copies = _copies(published, built)
    old = {c.pixels: c for c in sorted(copies, key=lambda c: c.case_id) if c.old}
    kept: dict[str, _Copy] = {}
    losers: list[Duplicate] = []
    for copy in sorted((c for c in copies if not c.old), key=_rank):
        winner = old.get(copy.pixels) or kept.get(copy.pixels)
        if winner is None:
            kept[copy.pixels] = copy
        elif winner.case_id != copy.case_id:
            labels = "equal" if winner.labels == copy.labels else "not equal"
            losers.append(
                Duplicate(
                    copy.case_id,
                    winner.case_id,
                    f"the same pixels as {winner.case_id} ({winner.split}); their labels are {labels}",
                )
            )
    return sorted(losers, key=lambda d: d.case_id)


def _copies(published: Iterable[pa.Table], built: Iterable[pa.Table]) -> list[_Copy]:
    """The samples whose pixels occur more than once. Only these become records: a million others stay columns."""
    tables = [*(_slim(t, old=True) for t in published), *(_slim(t, old=False) for t in built)]
    table = pa.concat_tables(tables) if tables else None
    if table is None or table.num_rows == 0:
        return []
    # The slices of a volume carry its hash and its case id: one of them speaks for all.
    cases = np.asarray(table["case_id"].combine_chunks().dictionary_encode().indices)
    whose = 2 * cases.astype(np.int64) + np.asarray(table["old"].combine_chunks()).astype(np.int64)
    table = table.take(pa.array(np.sort(np.unique(whose, return_index=True)[1])))
    codes = np.asarray(table["pixels"].combine_chunks().dictionary_encode().indices)
    repeated = (np.bincount(codes) > 1)[codes]
    rows = table.filter(pa.array(repeated)).to_pylist()
    return [_Copy(**{**r, "labels": tuple(sorted(r["labels"]))}) for r in rows]


def _slim(table: pa.Table, *, old: bool) -> pa.Table:
    labels = table["labels"].combine_chunks()
    values = pc.struct_field(pc.list_flatten(labels), "content_hash")
    lengths = np.asarray(pc.list_value_length(labels).fill_null(0))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    slim = pa.table(
        {
            "case_id": table["case_id"],
            "source": table["source"],
            "split": table["split"],
            "pixels": _pixels(table["images"].combine_chunks()),
            "labels": pa.ListArray.from_arrays(offsets, values),
            "old": pa.array(np.full(table.num_rows, old)),
        }
    )
    # Copied: a column that was read is a view of its whole file, and would keep that in memory.
    return slim.take(pa.array(np.arange(table.num_rows)))


def _pixels(images: pa.ListArray) -> pa.Array:
    """The content hashes of each sample's images, sorted and joined."""
    flat = pc.struct_field(pc.list_flatten(images), "content_hash")
    parent = pc.list_parent_indices(images)
    order = pc.sort_indices(
        pa.table({"parent": parent, "hash": flat}), [("parent", "ascending"), ("hash", "ascending")]
    )
    lengths = np.asarray(pc.list_value_length(images).fill_null(0))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    return pc.binary_join(pa.ListArray.from_arrays(offsets, flat.take(order)), "+")


def _rank(copy: _Copy) -> tuple[int, int, str, str]:
    return PRECEDENCE.index(copy.split), -len(copy.labels), copy.source, copy.case_id
