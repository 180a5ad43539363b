"""Plan and publish for a million cases: seconds, peak memory and rows, on tables alone (no pixels, no network).

    python -m benchmarks.scale FOLDER --cases 1000000

writes an inventory as the inventory's workers do (40 objects a case), plans it, writes markers and index rows as the build's
workers do (20 structures a sample), and publishes. Plan and publish each run in a process of their own. The tars are sparse
files with one volume at their start, so that the report's dozen pictures have something to show.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mdfp import arrow, canonical
from mdfp.codecs import VolumeCodec
from mdfp.labels import State
from mdfp.sample import (
    Acquisition,
    Grid,
    IntensityStats,
    Member,
    Normalisation,
    Sample,
    SampleImage,
    SampleLabel,
    StructureState,
)
from pipelines import index_rows
from pipelines.build import Built, audit
from pipelines.console import Console
from pipelines.plan import plan as make_plan
from pipelines.plan import read_latest
from pipelines.publish import publish
from pipelines.workspace import Workspace
from schemas.case import ArrayHeader, Case, CaseImage, CaseLabel, Reject
from schemas.inventory import InventoryRow
from schemas.plan import Marker, RowsFile, ShardPlan
from schemas.recipe import Recipe
from schemas.source import Source
from transforms.plan import duplicates
from transforms.plan.inventory import make_row
from transforms.plan.planner import Selection
from transforms.pseudonym import PatientKeys
from transforms.publish import table_bytes
from transforms.rows import made_digest, rows_bytes, rows_path
from transforms.shard import marker_path, shard_path
from transforms.store import CorpusStore
from transforms.take_inventory import part_path, rejects_path

OBJECTS = 40
"""Slices of a case."""

STRUCTURES = (
    "aorta", "duodenum", "esophagus", "gallbladder", "heart", "kidney_left", "kidney_right", "liver", "pancreas",
    "spleen", "stomach", "urinary_bladder", "adrenal_gland_left", "adrenal_gland_right", "colon", "small_bowel", "trachea",
    "brain", "prostate", "inferior_vena_cava",
)  # fmt: skip
"""Structures that every sample has a state of."""

CASES_PER_PART = 2000
"""As the inventory stage cuts its parts."""

DISTINCT = 2000
"""Samples whose structures differ; later ones repeat them."""

FOLDER = "inventory/generated"


def workspace_of(root: Path) -> Workspace:
    """A workspace of one source of CT volumes with a label file each."""
    source = Source.model_validate(
        {
            "id": "bench",
            "title": "A generated archive",
            "terms": {"license": "CC-BY-4.0"},
            "patient": {"namespace": "bench"},
            "layout": {
                "kind": "paired",
                "images": [{"name": "ct", "modality": "CT", "path": "{case}.nii.gz"}],
                "labels": [{"table": "organs", "image": "ct", "path": "{case}_seg.nii.gz"}],
            },
            "labels": {
                "organs": {
                    "origin": "model",
                    "values": {0: "background", **dict(enumerate(STRUCTURES, 1))},
                }
            },
        }
    )
    recipe = Recipe.model_validate(
        {
            "corpus": "scale",
            "out": str(root),
            "sources": [{"id": "bench"}],
            "terms": {"accept": ["CC-BY-4.0"]},
            "geometry": {"spacing_mm": [1.5, 1.5, 1.5]},
            "splits": {"train": 0.8, "val": 0.1, "test": 0.1},
        }
    )
    keys = PatientKeys(b"a key for a benchmark")
    return Workspace(recipe, root / "recipe.yaml", {"bench": source}, {"bench": "-"}, CorpusStore(str(root)), keys)


def _case() -> Case:
    affine = (-0.7, 0.0, 0.0, 0.0, 0.0, -0.7, 0.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    header = ArrayHeader(
        "ct", "dicom", "zyx", (OBJECTS, 512, 512), (0.7, 0.7, 5.0), "LPS", affine, 0.0, "int16", 1.0, -1024.0, "5" * 16,
        "regular", 21_000_000,
    )  # fmt: skip
    label = CaseLabel(replace(header, name="organs", dtype="uint8"), "ct", "organs", "model")
    image = CaseImage(header, "CT", Acquisition(body_part="ABDOMEN", manufacturer="SIEMENS", kvp=120.0))
    return Case(
        "", "bench", "", "s" * 32, "e" * 32, None, None, "F", 61.0, None, None, "CC-BY-4.0", (image,), (label,), (), (), (),
        0.25, 7_200_000,
    )  # fmt: skip


def inventory_part(root: str, part: int, first: int, count: int) -> None:
    """Write one part file: cases first … first + count, as an inventory's worker would."""
    numbers = range(first, first + count)
    one = arrow.to_table(InventoryRow, [make_row(_case(), (), None)])
    table = one.take(pa.array(np.zeros(count, np.int64)))
    digests = [hashlib.sha256(str(n).encode()).hexdigest() for n in numbers]
    slots = [(n, j) for n in numbers for j in range(OBJECTS)]
    objects = pa.StructArray.from_arrays(
        [
            pa.array([f"{digests[n - first][:32]}/1.3.6.1.4.1.14519.5.2.1.{n:08d}.{j:03d}.dcm" for n, j in slots]),
            pa.array([526_000 + (n * 31 + j * 7) % 1000 for n, j in slots]),
            pa.array([f"etag:{(n * 64 + j) * 0x9E3779B97F4A7C15 % 2**64:016x}{n:016x}" for n, j in slots]),
            pa.repeat(pa.scalar("image:ct"), len(slots)),
            pa.array(np.tile(np.arange(OBJECTS), count)),
            pa.nulls(len(slots), pa.string()),
        ],
        fields=list(table.schema.field("objects").type.value_type),
    )
    columns = {
        "case_id": pa.array([f"bench-{d[:24]}" for d in digests]),
        "patient": pa.array([hashlib.sha256(b"patient %d" % (n // 3)).hexdigest()[:32] for n in numbers]),
        "objects": pa.ListArray.from_arrays(
            pa.array(np.arange(count + 1, dtype=np.int32) * OBJECTS), objects, type=table.schema.field("objects").type
        ),
        "case_digest": pa.array(digests),
        "objects_digest": pa.array([d[::-1] for d in digests]),
        "content_digest": pa.array([d[::-1] for d in digests]),
        "object_count": pa.array(np.full(count, OBJECTS)),
        "object_bytes": pa.array(np.full(count, OBJECTS * 526_500)),
    }
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
    for path, rows in ((part_path(FOLDER, part), table), (rejects_path(FOLDER, part), arrow.to_table(Reject, []))):
        file = Path(root) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, file, compression="zstd")


def write_inventory(root: Path, cases: int) -> None:
    """An inventory of so many cases, where the inventory stage would put it."""
    workspace = workspace_of(root)
    workspace.claim()
    starts = range(0, cases, CASES_PER_PART)
    with ProcessPoolExecutor(2) as pool:
        jobs = [
            pool.submit(inventory_part, str(root), i, s, min(CASES_PER_PART, cases - s)) for i, s in enumerate(starts)
        ]
        for job in jobs:
            job.result()
    finish_inventory(workspace, len(starts))


def finish_inventory(workspace: Workspace, parts: int) -> None:
    """What the inventory's driver writes when all parts are there."""
    root = Path(workspace.corpus.root)
    (root / FOLDER / "rejects.parquet").write_bytes(table_bytes(Reject, []))
    content = {"counts": {}, "patient_key": workspace.keys.fingerprint, "parts": list(range(parts))}
    (root / FOLDER / "inventory.json").write_bytes(canonical.pretty(content))
    (root / "inventory/LATEST").write_text(f"{FOLDER}\n")


def _samples(palette: Mapping[str, int]) -> pa.Table:
    """`DISTINCT` samples as a build writes them; what names them is filled in later."""
    rng = np.random.default_rng(1)
    affine = tuple(float(v) for v in np.diag([1.5, 1.5, 1.5, 1.0]).reshape(-1))
    native = Grid((OBJECTS, 512, 512), (0.7, 0.7, 5.0), "LPS", _case().images[0].header.affine_ras)
    stored = Grid((133, 239, 239), (1.5, 1.5, 1.5), "RAS", affine)
    rows = []
    for _ in range(DISTINCT):
        percentiles = tuple(float(x) for x in np.sort(rng.normal(0, 400, 9)))
        stats = IntensityStats(-1024.0, 3071.0, float(rng.normal()), 480.0, percentiles, 40.0, 60.0)
        image = SampleImage(
            name="ct", modality="CT", axes="zyx", dtype="int16", unit="HU", scale=1.0, offset=0.0, native=native, stored=stored,
            native_dtype="int16", obliquity_deg=0.0, acquisition=_case().images[0].acquisition, acquisition_axis="z",
            native_intensity=stats, stored_intensity=stats, normalisation=Normalisation("window_hu", -1000.0, 1000.0),
            padding_voxels=0, nonfinite_voxels=0, body_box=(0, 20, 10, 133, 220, 230), content_hash="",
        )  # fmt: skip
        states = []
        for name, value in palette.items():
            voxels = int(rng.integers(3_000, 400_000))
            z, y, x = (int(v) for v in rng.integers(0, 90, 3))
            left = name.endswith("_left")
            box = (z, y, x + (0 if left else 120), z + 40, y + 60, x + 25 + (0 if left else 120))
            blocks = tuple(sorted(int(b) for b in rng.choice(320, size=int(rng.integers(2, 30)), replace=False)))
            mm3 = voxels * 3.375
            states.append(
                StructureState(
                    name,
                    value,
                    State.PRESENT,
                    "base",
                    "model",
                    None,
                    None,
                    voxels,
                    voxels,
                    mm3,
                    mm3 * 1.001,
                    box,
                    blocks,
                    False,
                    None,
                )
            )
        rows.append(
            Sample(
                key="",
                case_id="",
                source="bench",
                split="train",
                fold=None,
                group="",
                generation=1,
                shard="",
                position=0,
                patient="",
                study="s" * 32,
                series="e" * 32,
                timepoint=None,
                days_from_first=None,
                modalities=("CT",),
                sex="F",
                age_years=61.0,
                site=None,
                license="CC-BY-4.0",
                images=(image,),
                labels=(SampleLabel("base", "ct", "uint8", "model", native, f"{rng.integers(2**62):032x}", 0.0),),
                structures=tuple(states),
                annotations=(),
                texts=(),
                members=(
                    Member("", "image", "ct", 512, 1),
                    Member("", "label", "base", 1, 1),
                    Member("", "json", "", 2, 1),
                ),
                findings=(),
                done=("ct: oriented LPS -> RAS", "ct: resampled to 1.5 mm"),
                warnings=(),
            )
        )
    return arrow.to_table(Sample, rows)


def _with_names(
    table: pa.Table, cases: Sequence[str], patients: Sequence[str], shard: ShardPlan, path: str, at: Any
) -> pa.Table:
    """The rows of a shard: `table` has as many rows as `cases`."""
    count = len(cases)
    members = table["members"].combine_chunks()
    ends = ("image.ct.b2nd", "label.base.b2nd", "json")
    names = pa.array([f"{c}.{end}" for c in cases for end in ends])
    offsets, sizes = (pa.array(np.tile(np.array(x), count)) for x in zip(*at, strict=True))
    flat = members.flatten()
    fields = list(flat.type)
    flat = pa.StructArray.from_arrays([names, flat.field(1), flat.field(2), offsets, sizes], fields=fields)
    images = table["images"].combine_chunks()
    image = images.flatten()
    hashes = pa.array([hashlib.md5(c.encode(), usedforsecurity=False).hexdigest() for c in cases])
    parts = [hashes if f.name == "content_hash" else image.field(i) for i, f in enumerate(image.type)]
    columns = {
        "key": pa.array(cases),
        "case_id": pa.array(cases),
        "patient": pa.array(patients),
        "group": pa.array(patients),
        "split": pa.repeat(pa.scalar(shard.split), count),
        "shard": pa.repeat(pa.scalar(path), count),
        "position": pa.array(np.arange(count)),
        "members": pa.ListArray.from_arrays(
            pa.array(np.arange(count + 1, dtype=np.int32) * 3), flat, type=members.type
        ),
        "images": pa.ListArray.from_arrays(
            pa.array(np.arange(count + 1, dtype=np.int32)),
            pa.StructArray.from_arrays(parts, fields=list(image.type)),
            type=images.type,
        ),
    }
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
    return table


def commit_shards(root: str, start: int, stop: int) -> None:
    """Write tar, rows and marker of shards start … stop of the newest plan, as the build's workers would."""
    made = read_latest(workspace_of(Path(root)))
    rng = np.random.default_rng(start)
    template = _samples({e.structure: e.value for e in made.palette})
    volume = VolumeCodec().encode(np.zeros((133, 239, 239), np.int16))
    mask = VolumeCodec().encode(np.zeros((133, 239, 239), np.uint8))
    at = ((512, len(volume)), (512 + len(volume), len(mask)), (512 + len(volume) + len(mask), 1))
    groups = made.placed["group"].to_pylist()
    first = np.concatenate([[0], np.cumsum([len(s.cases) for s in made.shards])])
    for number in range(start, stop):
        shard = made.shards[number]
        sha256 = hashlib.sha256(shard.shard.encode()).hexdigest()
        path = shard_path(shard, sha256)
        rows = template.take(pa.array(rng.integers(0, DISTINCT, len(shard.cases)))).combine_chunks()
        rows = _with_names(rows, shard.cases, groups[first[number] : first[number + 1]], shard, path, at)
        data = rows_bytes(rows)
        digest = hashlib.sha256(data).hexdigest()
        file = RowsFile(rows_path(shard, digest), len(data), digest, digest)
        marker = Marker(
            shard.shard, shard.fingerprint, path, shard.estimated_bytes, sha256, len(shard.cases), made_digest(shard.cases),
            file, (),
        )  # fmt: skip
        for name, content in ((file.path, data), (marker_path(shard), canonical.dumps(marker))):
            target = Path(root) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        tar = Path(root) / path
        tar.parent.mkdir(parents=True, exist_ok=True)
        tar.write_bytes(bytes(512) + volume + mask)
        os.truncate(tar, shard.estimated_bytes)


def write_commits(root: Path) -> None:
    """Everything that a finished build of the newest plan leaves behind."""
    shards = len(read_latest(workspace_of(root)).shards)
    middle = shards // 2
    with ProcessPoolExecutor(2) as pool:
        for job in [pool.submit(commit_shards, str(root), a, b) for a, b in ((0, middle), (middle, shards))]:
            job.result()


def measure_plan(root: Path) -> dict[str, object]:
    """Plan the newest inventory."""
    workspace = workspace_of(root)
    made = make_plan(workspace, Selection(), Console(quiet=True, as_json=True))
    return {
        "cases": made.planned,
        "shards": len(made.shards),
        "objects": made.planned * OBJECTS,
        "plan_id": made.plan_id,
    }


def measure_publish(root: Path) -> dict[str, object]:
    """Audit, look for duplicates and publish the newest plan."""
    workspace = workspace_of(root)
    clock = Clock()
    made = read_latest(workspace)
    clock.lap("read the plan")
    built = Built(made, audit(workspace, made))
    clock.lap("audit")
    twins = duplicates.resolve([], index_rows.each(workspace.corpus, built.markers, duplicates.COLUMNS))
    clock.lap("duplicates")
    done = publish(workspace, built, Console(quiet=True, as_json=True))
    clock.lap("publish")
    index = sum((root / e.path).stat().st_size for e in done.manifest.indexes)
    return {"samples": done.manifest.samples, "duplicates": len(twins), "index_bytes": index, "laps": clock.laps}


class Clock:
    """Seconds of parts, one after the other."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """A part has ended."""
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 1)
        self._last = now


STAGES: dict[str, Callable[[Path], dict[str, object]]] = {"plan": measure_plan, "publish": measure_publish}


def run_stage(stage: str, root: Path) -> dict[str, object]:
    """A stage in a process of its own: what it says, its seconds and its peak memory."""
    words = [sys.executable, "-m", "benchmarks.scale", str(root), "--stage", stage]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{stage} failed:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="an empty folder: 4 GB for a million cases")
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--stage", choices=[*STAGES, "inventory", "commits"], help="one stage alone")
    options = parser.parse_args(arguments)
    setup = {"inventory": partial(write_inventory, cases=options.cases), "commits": write_commits}
    if options.stage in STAGES:
        start = time.perf_counter()
        facts = STAGES[options.stage](options.folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        facts |= {"seconds": round(time.perf_counter() - start, 1), "cpu_seconds": round(time.process_time(), 1)}
        facts |= {"peak_gb": round(peak, 2)}
        print(json.dumps(facts))
        return
    for stage in [options.stage] if options.stage else ("inventory", "plan", "commits", "publish"):
        start = time.perf_counter()
        if stage in setup:
            setup[stage](options.folder)
            print(f"{stage:>9}: written in {time.perf_counter() - start:.0f} s (not measured: workers do this)")
        else:
            print(f"{stage:>9}: {json.dumps(run_stage(stage, options.folder))}", flush=True)


if __name__ == "__main__":
    main()
