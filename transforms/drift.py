"""What became of the objects that published samples were made of: changed, touched or deleted since.

Published samples stay as they are; these are findings for whoever decides whether to build a case anew. Tables go in
and counts come out, so that forty million objects are a join and not as many Python objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc

KINDS = ("deleted", "changed", "touched")
"""From the worst to the least: an object is gone; its size or version is another; only its local file's time is."""

MAX_CASES = 50
"""Case ids kept of each kind; the count beside them is complete."""


@dataclass(frozen=True)
class Drift:
    """Published cases of one kind."""

    kind: Annotated[str, "deleted, changed or touched"]
    count: Annotated[int, "cases"]
    cases: Annotated[tuple[str, ...], "ids of some of them, sorted"]


def drift(made_of: pa.Table, found: pa.Table) -> tuple[Drift, ...]:
    """How the objects of published cases differ from what lies in the sources now; a case counts for its worst object.

    Args:
        made_of: columns case_id, source, path, bytes, version: the objects that published samples were made of.
        found: columns source, path, bytes, version: what the sources' listings show now.
    """
    now = found.select(["source", "path", "bytes", "version"]).rename_columns(
        ["source", "path", "now_bytes", "now_version"]
    )
    joined = made_of.join(now, keys=["source", "path"], join_type="left outer")
    deleted = pc.is_null(joined["now_bytes"])
    other_size = pc.fill_null(pc.not_equal(joined["bytes"], joined["now_bytes"]), False)
    other_version = pc.fill_null(pc.not_equal(joined["version"], joined["now_version"]), False)
    # A copied folder has other times and the same bytes: no more than a hint.
    local = pc.starts_with(joined["version"], "mtime:")
    kinds = {
        "deleted": deleted,
        "changed": pc.or_(other_size, pc.and_(other_version, pc.invert(local))),
        "touched": pc.and_(other_version, local),
    }
    seen: set[str] = set()
    result = []
    for kind in KINDS:
        cases = set(pc.unique(joined.filter(kinds[kind])["case_id"]).to_pylist()) - seen
        seen |= cases
        if cases:
            result.append(Drift(kind, len(cases), tuple(sorted(cases)[:MAX_CASES])))
    return tuple(result)
