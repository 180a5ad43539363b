"""What earlier generations of a corpus could not make, from their rejects and plans."""

from __future__ import annotations

import io
from collections.abc import Collection

import pyarrow.parquet as pq

from mdfp import arrow
from mdfp import manifest as manifests
from mdfp.errors import CorpusError
from schemas.case import Reject
from transforms.plan import files
from transforms.plan.holes import KnownHole, made_of
from transforms.plan.published import newest_number
from transforms.publish import rejects_path
from transforms.store import CorpusStore


def load_holes(store: CorpusStore) -> dict[str, KnownHole]:
    """The holes of all published generations by case id, the newest verdict of each.

    A generation whose plan or rejects were deleted is passed over: its holes are tried again.
    """
    holes: dict[str, KnownHole] = {}
    for number in range(1, newest_number(store) + 1):
        path = manifests.manifest_path(number)
        try:
            plan_id = manifests.parse(store.read(path), store.url(path)).plan_id
            rejects = pq.read_table(io.BytesIO(store.read(rejects_path(number))))
            base = files.find(store, plan_id)
            header = files.read_header(store, base)
        except (CorpusError, FileNotFoundError):
            continue
        found = {r.case_id: r for r in arrow.from_table(Reject, rejects) if r.stage == "build" and r.case_id}
        for case_id, objects in _digests(store, base, found).items():
            reject = found[case_id]
            content = made_of(objects, header["sources"][reject.source], header["pixel_version"])
            holes[case_id] = KnownHole(number, reject.reason, reject.detail, content)
    return holes


def _digests(store: CorpusStore, base: str, case_ids: Collection[str]) -> dict[str, str]:
    """Digest of the objects of each of these cases, as the plan in a folder has them."""
    if not case_ids:
        return {}
    data = io.BytesIO(store.read(f"{base}/cases.parquet"))
    wanted = [("case_id", "in", sorted(case_ids)), ("shard", "!=", "")]
    rows = pq.read_table(data, columns=["case_id", "objects_digest"], filters=wanted).to_pylist()
    return {r["case_id"]: r["objects_digest"] for r in rows}
