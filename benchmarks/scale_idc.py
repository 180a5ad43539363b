"""Plan a real million of series from the public table of NCI's Imaging Data Commons, and cost its CTs.

    pip install idc-index-data==25.0.5
    python -m benchmarks.scale_idc FOLDER

The table becomes an inventory that trusts it: a case for each series, its folder of instances as one object, no header read.
That is planned; then the CT series of at least 40 instances are costed by the seconds and prices that the project carries.
Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.scale import FOLDER, finish_inventory
from catalog import prices
from mdfp import arrow, canonical
from mdfp.sample import Acquisition
from pipelines.console import Console
from pipelines.plan import plan as make_plan
from pipelines.workspace import Workspace
from schemas.case import ArrayHeader, Case, CaseImage
from schemas.inventory import InventoryRow
from schemas.recipe import Recipe
from schemas.source import Source
from transforms import cost
from transforms.estimate import INSTANCE_S, RESAMPLE_S_PER_VOXEL
from transforms.plan.inventory import make_row
from transforms.plan.planner import Selection
from transforms.pseudonym import PatientKeys
from transforms.store import CorpusStore
from transforms.take_inventory import part_path

COLUMNS = (
    "collection_id", "PatientID", "SeriesInstanceUID", "Modality", "instanceCount", "license_short_name", "crdc_series_uuid",
    "series_aws_url", "series_size_MB",
)  # fmt: skip

LICENSES = {
    "CC BY 3.0": "CC-BY-3.0",
    "CC BY 4.0": "CC-BY-4.0",
    "CC BY-NC 3.0": "CC-BY-NC-3.0",
    "CC BY-NC 4.0": "CC-BY-NC-4.0",
}
"""SPDX id of each licence of the table; others become LicenseRef-other."""

ROWS_PER_PART = 20_000
STORED_SHARE = 0.3
"""Bytes in a shard over bytes in the archive, assumed for every modality: a CT at 1.5 mm, compressed."""

MAX_SERIES_MB = 60_000
"""Larger ones (a few slides) are excluded: a shard of one would break the plan's own expectation of sizes."""

SLICE_VOXELS = 512 * 512
MIN_SLICES = 40
MAX_SLICES = 2_000
"""Series of more instances (one in 450) are many volumes, which the diagnosis splits: memory is that of a volume."""

VCPUS = 256


def series_table(file: Path | None) -> pa.Table:
    """The archive's table of series, from a file or from the installed package."""
    if file is None:
        file = Path(str(resources.files("idc_index_data") / "idc_index.parquet"))
    table = pq.ParquetFile(file).read(columns=list(COLUMNS))
    return table.cast(
        pa.schema([(f.name, pa.string() if f.type == pa.large_string() else f.type) for f in table.schema])
    )


def sources_of(table: pa.Table) -> list[str]:
    """Ids of the sources that the archive's collections are."""
    return sorted(c.replace("_", "-") for c in pc.unique(table["collection_id"]).to_pylist())


def workspace_of(root: Path, collections: Sequence[str], exclude: Mapping[str, Sequence[str]]) -> Workspace:
    """A workspace in which every collection is a source; terms that allow any use are accepted.

    Args:
        root: of the corpus.
        collections: ids of the sources.
        exclude: cases of each that the recipe leaves out.
    """
    sources = {
        name: Source.model_validate(
            {
                "id": name,
                "title": name,
                "terms": {"license": "CC-BY-4.0"},
                "patient": {"namespace": name},
                "layout": {"kind": "dicom"},
            }
        )
        for name in collections
    }
    recipe = Recipe.model_validate(
        {
            "corpus": "idc",
            "out": str(root),
            "sources": [{"id": name, "exclude": list(exclude.get(name, ()))} for name in collections],
            "terms": {"accept": ["CC-BY-3.0", "CC-BY-4.0"]},
            "geometry": {"spacing_mm": [1.5, 1.5, 1.5]},
            "labels": "image_only",
            "splits": {"train": 0.8, "val": 0.1, "test": 0.1},
        }
    )
    keys = PatientKeys(b"a key for a benchmark")
    return Workspace(recipe, root / "recipe.yaml", sources, dict.fromkeys(sources, "-"), CorpusStore(str(root)), keys)


def inventory_rows(table: pa.Table) -> pa.Table:
    """A row for each series, with the schema of `InventoryRow`."""
    header = ArrayHeader("image", "dicom", "zyx", (), None, None, None, None, "int16", 1.0, 0.0, None, "deferred", 0)
    image = CaseImage(header, "OT", Acquisition())
    case = Case(
        "", "", "", None, None, None, None, None, None, None, None, None, (image,), (), (), (), (), 0.0, 0
    )  # fmt: skip
    count = table.num_rows
    rows = arrow.to_table(InventoryRow, [make_row(case, (), None)]).take(pa.array(np.zeros(count, np.int64)))
    source = [c.replace("_", "-") for c in table["collection_id"].to_pylist()]
    series, patients = table["SeriesInstanceUID"].to_pylist(), table["PatientID"].to_pylist()
    versions, urls = table["crdc_series_uuid"].to_pylist(), table["series_aws_url"].to_pylist()
    size = np.round(table["series_size_MB"].to_numpy() * 1e6).astype(np.int64)
    instances = table["instanceCount"].to_numpy()
    digests = [hashlib.sha256(s.encode()).hexdigest() for s in series]
    held = [hashlib.sha256(f"{u}\n{v}\n{b}".encode()).hexdigest() for u, v, b in zip(urls, versions, size, strict=True)]
    kind = rows.schema.field("objects").type
    objects = pa.StructArray.from_arrays(
        [
            pa.array(urls),
            pa.array(size),
            pa.array([f"uuid:{v}" for v in versions]),
            pa.array(["image:image"] * count),
            pa.array(np.zeros(count, np.int64)),
            pa.nulls(count, pa.string()),
        ],
        fields=list(kind.value_type),
    )
    columns = {
        "case_id": pa.array([f"{s[:40]}-{d[:24]}" for s, d in zip(source, digests, strict=True)]),
        "source": pa.array(source),
        "patient": pa.array(
            [hashlib.sha256(f"{s}\n{p}".encode()).hexdigest()[:32] for s, p in zip(source, patients, strict=True)]
        ),
        "license": pa.array([LICENSES.get(v, "LicenseRef-other") for v in table["license_short_name"].to_pylist()]),
        "estimated_bytes": pa.array(np.maximum(20_000, (size * STORED_SHARE).astype(np.int64))),
        "estimated_seconds": pa.array(np.round(instances * INSTANCE_S + size / 2 * RESAMPLE_S_PER_VOXEL, 3)),
        "objects": pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32)), objects, type=kind),
        "case_digest": pa.array(digests),
        "objects_digest": pa.array(held),
        "content_digest": pa.array(held),
        "object_count": pa.array(instances),
        "object_bytes": pa.array(size),
        "voxels": pa.array(size // 2),
    }
    for name, values in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)
    return rows


def write_inventory(root: Path, table: pa.Table) -> None:
    """The inventory of the table, where the inventory stage would put it."""
    workspace = workspace_of(root, sources_of(table), {})
    workspace.claim()
    starts = range(0, table.num_rows, ROWS_PER_PART)
    for part, start in enumerate(starts):
        file = root / part_path(FOLDER, part)
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(inventory_rows(table.slice(start, ROWS_PER_PART)), file, compression="zstd")
    finish_inventory(workspace, len(starts))


def measure_plan(root: Path, table: pa.Table) -> dict[str, object]:
    """Plan it."""
    names = sources_of(table)
    huge = inventory_rows(table.filter(pc.greater(table["series_size_MB"], MAX_SERIES_MB)))
    exclude: dict[str, list[str]] = defaultdict(list)
    for source, case_id in zip(huge["source"].to_pylist(), huge["case_id"].to_pylist(), strict=True):
        exclude[source].append(case_id)
    del table, huge
    made = make_plan(workspace_of(root, names, exclude), Selection(), Console(quiet=True, as_json=True))
    return {
        "series": made.table.num_rows,
        "planned": made.planned,
        "shards": len(made.shards),
        "collections": len(names),
        "patients": len(pc.unique(made.table["group"])),
        "terabytes": round((pc.sum(made.placed["object_bytes"]).as_py() or 0) / 1e12, 1),
    }


def ct_totals(table: pa.Table, seconds_per_300_slices: float) -> cost.Totals:
    """What the CT series of at least `MIN_SLICES` instances add up to.

    Args:
        table: the archive's.
        seconds_per_300_slices: CPU seconds of a 512×512×300 CT, measured by `make bench-pipeline`; parsing of single
            instances comes on top.
    """
    ct = table.filter(pc.and_(pc.equal(table["Modality"], "CT"), pc.greater_equal(table["instanceCount"], MIN_SLICES)))
    slices = ct["instanceCount"].to_numpy()
    size = ct["series_size_MB"].to_numpy() * 1e6
    seconds = slices / 300 * seconds_per_300_slices + slices * INSTANCE_S
    stored = size * STORED_SHARE
    shard = 512e6
    return cost.Totals(
        cases=ct.num_rows,
        objects=int(slices.sum()),
        shards=int(np.ceil(stored.sum() / shard)),
        bytes_in=int(size.sum()),
        bytes_out=int(stored.sum()),
        cpu_seconds=float(seconds.sum()),
        longest_shard_seconds=float(seconds.mean() * shard / stored.mean()),
        peak_bytes=int(300e6 + 6 * min(slices.max(), MAX_SLICES) * SLICE_VOXELS),
    )


def run_stage(words: Sequence[str]) -> str:
    """A stage in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale_idc", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.splitlines()[-1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="an empty folder")
    parser.add_argument("--table", type=Path, help="idc_index.parquet; default: of the installed idc-index-data")
    parser.add_argument("--seconds", type=float, default=0.6, help="CPU seconds of a CT of 300 slices")
    parser.add_argument("--stage", choices=["inventory", "plan", "cost"])
    options = parser.parse_args(arguments)
    words = [str(options.folder), *(["--table", str(options.table)] if options.table else [])]
    if options.stage is None:
        for stage in ("inventory", "plan", "cost"):
            print(run_stage([*words, "--seconds", str(options.seconds), "--stage", stage]), flush=True)
        return
    start = time.perf_counter()
    table = series_table(options.table)
    if options.stage == "inventory":
        write_inventory(options.folder, table)
        facts: dict[str, object] = {"rows": table.num_rows}
    elif options.stage == "plan":
        facts = measure_plan(options.folder, table)
    else:
        totals = ct_totals(table, options.seconds)
        facts = {"totals": canonical.plain(totals)}
        facts["cost"] = canonical.plain(cost.estimate(totals, prices.load(), VCPUS))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        json.dumps(
            {"stage": options.stage}
            | facts
            | {
                "seconds": round(time.perf_counter() - start, 1),
                "cpu_seconds": round(time.process_time(), 1),
                "peak_gb": round(peak, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
