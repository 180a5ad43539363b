"""What became of the cases that published samples were made of: gone, changed or touched since.

Published samples stay as they are; these are findings for whoever decides whether to build a case anew. A plan and an
inventory hold a digest of each case's objects, so that a million cases are two columns and a join.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc

KINDS = ("gone", "changed", "touched")
"""From the worst to the least: no case of that id is found any more; an object's size or version is another, or an object
came or went; a local file was written again with the same size."""

COLUMNS = ("case_id", "objects_digest", "content_digest")
"""What is compared: digests of a case's objects with the times of local files, and without."""

MAX_CASES = 50
"""Case ids kept of each kind; the count beside them is complete."""


@dataclass(frozen=True)
class Drift:
    """Published cases of one kind."""

    kind: Annotated[str, "gone, changed or touched"]
    count: Annotated[int, "cases"]
    cases: Annotated[tuple[str, ...], "ids of some of them, sorted"]


def drift(made_of: pa.Table, found: pa.Table) -> tuple[Drift, ...]:
    """How the published cases differ from what an inventory found.

    Args:
        made_of: the columns `COLUMNS` of the cases that have a published sample, from the plans they were built by.
        found: the same columns of an inventory.
    """
    now = found.select(list(COLUMNS)).rename_columns(["case_id", "objects_now", "content_now"])
    joined: Any = made_of.select(list(COLUMNS)).join(now, keys="case_id", join_type="left outer")
    gone: Any = pc.is_null(joined["content_now"])
    changed: Any = pc.fill_null(pc.not_equal(joined["content_digest"], joined["content_now"]), False)
    other: Any = pc.fill_null(pc.not_equal(joined["objects_digest"], joined["objects_now"]), False)
    touched: Any = pc.and_not(other, changed)
    result = []
    for kind, mask in zip(KINDS, (gone, changed, touched), strict=True):
        cases = sorted(str(c) for c in joined.filter(mask)["case_id"].to_pylist())
        if cases:
            result.append(Drift(kind, len(cases), tuple(cases[:MAX_CASES])))
    return tuple(result)
