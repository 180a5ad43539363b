"""What the build graph itself costs: memory of one worker over many shards, CPU an element, bytes through the shuffle.

    python -m benchmarks.graph FOLDER --shards 200

One CT pair under 200 names (hard links) is inventoried, planned into a shard each, and built by one worker in this process,
whose resident memory is read after every shard. Then the same graph runs over the finished shards: every element is read
from the plan, looked up and found committed, so that what is left is the graph's own.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import nibabel
import numpy as np

from pipelines.console import Console
from pipelines.inventory import take_inventory
from pipelines.plan import plan
from pipelines.runner import Engine
from pipelines.workspace import Workspace, open_workspace
from transforms import patient_key
from transforms.build_shards import BuildShardFn, BuildShards
from transforms.plan import files
from transforms.plan.planner import Plan, Selection

SHAPE_XYZ = (320, 320, 60)
"""Voxels of the pair: 12 MB of CT, about one smallest shard."""

SOURCE = """\
id: many
title: One pair under many names
terms: {license: own-data}
patient: {namespace: many}
layout:
  kind: paired
  images: [{name: ct, modality: CT, path: "{case}.nii.gz"}]
  labels: [{table: organs, image: ct, path: "{case}_seg.nii.gz"}]
labels: {organs: {origin: expert, values: {0: background, 1: liver, 2: spleen}}}
"""
RECIPE = """\
corpus: many
out: corpus
sources: [{id: many, root: raw, manifest: many.yaml}]
terms: {accept: [own-data]}
geometry: {spacing_mm: [1.0, 1.0, 2.0]}
splits: {train: 1.0, val: 0.0}
shards: {target_mb: 1}
"""


def write_bucket(folder: Path, pairs: int) -> Workspace:
    """A bucket of that many pairs, its manifest and its recipe."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    x, y, _ = np.mgrid[0 : SHAPE_XYZ[0], 0 : SHAPE_XYZ[1], 0 : SHAPE_XYZ[2]]
    body = ((x - 160) ** 2 + (y - 160) ** 2) < 140**2
    noise = np.random.default_rng(0).normal(0, 20, SHAPE_XYZ)
    label = np.zeros(SHAPE_XYZ, np.uint8)
    label[60:140, 100:200, 10:50], label[200:240, 130:180, 20:40] = 1, 2
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    for array, end in ((np.where(body, 40 + noise, -1000).astype(np.int16), ""), (label, "_seg")):
        nibabel.save(nibabel.Nifti1Image(array, affine), raw / f"c0000{end}.nii.gz")
        for n in range(1, pairs):
            os.link(raw / f"c0000{end}.nii.gz", raw / f"c{n:04d}{end}.nii.gz")
    (folder / "many.yaml").write_text(SOURCE)
    (folder / "recipe.yaml").write_text(RECIPE)
    return open_workspace(folder / "recipe.yaml")


def resident_mb() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def options_of(workspace: Workspace, made: Plan, scratch: str) -> BuildShards:
    """What a worker is given."""
    return BuildShards(
        out=workspace.corpus.place,
        plan=files.folder(made),
        roots=tuple(sorted(workspace.places.items())),
        scratch=scratch,
    )


def build_in_process(options: BuildShards, shards: int) -> tuple[list[float], float]:
    """(resident MB after each shard, CPU seconds a shard) of one worker that builds them all."""
    worker = BuildShardFn(options)
    worker.setup()
    memory = []
    start = time.process_time()
    for number in range(shards):
        list(worker.process(number))
        memory.append(resident_mb())
    return memory, (time.process_time() - start) / shards


def run_over_committed(options: BuildShards, shards: int) -> float:
    """CPU seconds an element of the whole graph when every shard is there already; start-up taken out."""

    def cpu(elements: list[int]) -> float:
        start = time.process_time()
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            pipeline | "ShardNumbers" >> beam.Create(elements) | options
        return time.process_time() - start

    cpu([0])
    return (cpu(list(range(shards)) * 5) - cpu([0])) / (5 * shards)


def shuffle_bytes(shards: int) -> int:
    """Bytes of one element of the only shuffle: a shard's number, under the random key of the Reshuffle."""
    coder = beam.coders.TupleCoder(
        (beam.coders.VarIntCoder(), beam.coders.IterableCoder(beam.coders.FastPrimitivesCoder()))
    )
    return max(len(coder.encode((2**31, [number]))) for number in (0, shards - 1))


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="an empty folder; the corpus goes there too")
    parser.add_argument("--shards", type=int, default=200)
    wanted = parser.parse_args(arguments)
    patient_key.load()
    console = Console(quiet=True, as_json=True)
    workspace = write_bucket(wanted.folder, wanted.shards)
    take_inventory(workspace, Engine(), console)
    made = plan(workspace, Selection(), console)
    with tempfile.TemporaryDirectory() as scratch:
        options = options_of(workspace, made, scratch)
        memory, seconds = build_in_process(options, len(made.shards))
        overhead = run_over_committed(options, len(made.shards))
    tenth = max(1, len(memory) // 10)
    print(
        json.dumps(
            {
                "shards": len(made.shards),
                "cases": made.planned,
                "resident_mb_after": {str(n): round(memory[n - 1]) for n in range(tenth, len(memory) + 1, tenth)},
                "cpu_s_a_shard": round(seconds, 3),
                "graph_cpu_ms_an_element": round(1000 * overhead, 2),
                "shuffle_bytes_a_shard": shuffle_bytes(len(made.shards)),
                "pickled_bytes_of_the_transform": len(pickle.dumps(options)),
            }
        )
    )


if __name__ == "__main__":
    main()
