"""The shards of a plan by name, without their cases: what progress and garbage collection look at."""

from __future__ import annotations

import io

import pyarrow.compute as pc
import pyarrow.parquet as pq

from mdfp.errors import CorpusError
from transforms.progress import PlannedShard
from transforms.shard import marker_name
from transforms.store import CorpusStore

_COLUMNS = ["shard", "fingerprint", "cases", "estimated_seconds"]


def planned_shards(store: CorpusStore, base: str) -> list[PlannedShard]:
    """The shards of the plan in a folder, in the plan's order. Ten thousand of them are one read and a tenth of a second.

    Raises:
        CorpusError: there is no such plan.
    """
    try:
        data = store.read(f"{base}/shards.parquet")
    except FileNotFoundError as error:
        raise CorpusError(f"{store.url(base)}: there is no such plan; make one with the plan command") from error
    table = pq.read_table(io.BytesIO(data), columns=_COLUMNS)
    table = table.append_column("count", pc.list_value_length(table["cases"])).drop_columns(["cases"])
    return [
        PlannedShard(
            row["shard"], marker_name(row["shard"], row["fingerprint"]), row["count"], row["estimated_seconds"]
        )
        for row in table.to_pylist()
    ]
