"""How much of a build is the work itself: `run` on many CTs against the bare kernels on the same files.

    make bench-pipeline            40 CTs of 512x512x300 with 15 organs, to 1.5 mm, 2 workers

The kernels are inflate (image and label), the fused resampling of the image and the coverage vote of the label, in as many
processes at once as the pipeline has workers. The pipeline is all of `python -m pipelines run`: inventory, plan, checks,
statistics, hashes, encoding, tars, commit, expectations, report. Its start-up is taken out by running it twice, on few and
on all cases: what a further case costs, in CPU seconds of all its processes, is the steady state. Start-up varies by a second,
so all three are measured in turns, and medians are compared.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipelines.engines.surroundings import MALLOC

FEW = 16
"""Cases of the shorter run: enough that the report has as many pictures as in the longer one."""

KERNEL_CASES = 3
"""Cases that each kernel process does, after one to warm up."""

SOURCE = """\
id: bench-ct
title: Synthetic CT
terms: {{license: own-data}}
public_ids: true
patient: {{namespace: bench-ct}}
layout:
  kind: paired
  images: [{{name: ct, modality: CT, path: "{{case}}/ct.nii.gz"}}]
  labels: [{{table: organs, image: ct, path: "{{case}}/organs.nii.gz"}}]
labels:
  organs:
    origin: expert
    values: {values}
"""

RECIPE = """\
corpus: bench-ct
out: {out}
sources: [{{id: bench-ct, manifest: bench-ct.yaml, root: {root}}}]
terms: {{accept: [own-data]}}
geometry: {{spacing_mm: [1.5, 1.5, 1.5]}}
intensity: {{CT: {{window_hu: [-1000, 1000]}}}}
labels: {{space: [liver, spleen]}}
"""


def make_case(folder: Path, base: tuple, number: int, level: int) -> None:
    """One case: the base volume rolled along z by its number, so that no two are duplicates."""
    import nibabel as nib
    import numpy as np
    from imagecodecs import gzip_encode

    from benchmarks.preprocess_data import affine_ras

    target = folder / f"c{number:03d}"
    if (target / "organs.nii.gz").exists():
        return
    target.mkdir(parents=True, exist_ok=True)
    for name, array in zip(("ct", "organs"), base, strict=True):
        rolled = np.roll(array, number, axis=0)
        data = nib.Nifti1Image(rolled.T, affine_ras(array.shape)).to_bytes()
        partial = target / f"{name}.partial"
        partial.write_bytes(gzip_encode(data, level=level))
        partial.replace(target / f"{name}.nii.gz")


def make_cases(folder: Path, cases: int, size: str) -> Path:
    """The raw folder, made once and kept."""
    import nibabel as nib
    import numpy as np

    from benchmarks.preprocess_data import make_pair

    raw = folder / f"raw-{size}"
    if len(list(raw.glob("c*/organs.nii.gz"))) < cases:
        pair = make_pair(folder, size)
        base = tuple(np.ascontiguousarray(np.asarray(nib.load(p).dataobj).T) for p in (pair.image, pair.label))
        for number in range(cases):
            make_case(raw, base, number, level=6)
            print(f"\rraw case {number + 1} of {cases}", end="", file=sys.stderr)
        print(file=sys.stderr)
    return raw


def kernels(raw: Path, numbers: range) -> list[float]:
    """CPU seconds of inflate, resampling and vote of each of these cases."""
    import numpy as np

    from schemas.recipe import Limits
    from transforms.labels.vote import vote
    from transforms.normalise.grid import output_grid
    from transforms.normalise.orientation import canonicalise
    from transforms.normalise.resample import resample
    from transforms.read import nifti

    seconds = []
    lut = np.arange(256, dtype=np.uint8)
    for number in numbers:
        files = [(raw / f"c{number:03d}" / f"{name}.nii.gz").read_bytes() for name in ("ct", "organs")]
        start = time.process_time()
        image, label = (canonicalise(nifti.read(data, limits=Limits())) for data in files)
        grid = output_grid(image.shape_zyx, image.affine_ras, (1.5, 1.5, 1.5), low_pass=True)
        resample(image.array_zyx, grid.taps_zyx, dtype=np.int16, lower=-1024)
        vote(label.array_zyx, lut, grid.taps_zyx)
        seconds.append(time.process_time() - start)
    return seconds


def kernel_seconds(raw: Path, workers: int) -> float:
    """Median CPU seconds a case, in so many processes at once."""
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        spans = [range(w * (KERNEL_CASES + 1), (w + 1) * (KERNEL_CASES + 1)) for w in range(workers)]
        measured = pool.starmap(kernels, [(raw, span) for span in spans])
    warm = sorted(s for of_one in measured for s in of_one[1:])
    return warm[len(warm) // 2]


def pipeline_seconds(raw: Path, folder: Path, cases: int, workers: int) -> tuple[float, float]:
    """(wall, CPU of all processes) seconds of one `run` on so many cases."""
    from benchmarks.preprocess_data import STRUCTURES

    values = {0: "background", **dict(enumerate(STRUCTURES, start=1))}
    shown = "{" + ", ".join(f"{k}: {v}" for k, v in values.items()) + "}"
    (folder / "bench-ct.yaml").write_text(SOURCE.format(values=shown))
    recipe = folder / f"recipe-{cases}.yaml"
    recipe.write_text(RECIPE.format(out=folder / f"corpus-{cases}", root=raw))
    command = [sys.executable, "-m", "pipelines", "run", str(recipe), "--workers", str(workers), "--limit", str(cases)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    subprocess.run([*command, "--scratch-dir", str(folder), "--quiet", "--json"], check=True, stdout=subprocess.DEVNULL)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--repeats", type=int, default=5, help="turns of kernels, short run and long run; medians count"
    )
    parser.add_argument("--size", choices=("full", "small"), default="full")
    cache = Path(os.environ.get("MDFP_BENCH_CACHE", Path(tempfile.gettempdir()) / "mdfp-bench"))
    parser.add_argument("--folder", type=Path, default=cache, help="where raw cases are kept between runs")
    options = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "BLOSC_NTHREADS"):
        os.environ[variable] = "1"
    os.environ.setdefault("GLIBC_TUNABLES", MALLOC)  # bare kernels take memory as worker processes do
    os.environ.setdefault("MDFP_PATIENT_KEY", "synthetic scans belong to nobody")

    options.folder.mkdir(parents=True, exist_ok=True)
    raw = make_cases(options.folder, options.cases, options.size)
    few = min(FEW, options.cases // 2)
    turns = []
    with tempfile.TemporaryDirectory(prefix="pipeline-", dir=options.folder) as scratch:
        pipeline_seconds(raw, Path(scratch), 2, options.workers)  # compiles the kernels into the cache
        for turn in range(options.repeats):
            folder = Path(scratch) / str(turn)
            folder.mkdir()
            bare = kernel_seconds(raw, options.workers)
            _, cpu_few = pipeline_seconds(raw, folder, few, options.workers)
            turns.append((bare, cpu_few, *pipeline_seconds(raw, folder, options.cases, options.workers)))
            bare, short, _, long = turns[-1]
            print(
                f"turn {turn + 1} of {options.repeats}: kernels {bare:.3f} CPU s a case, {few} cases {short:.1f} s, "
                f"{options.cases} cases {long:.1f} s",
                file=sys.stderr,
            )
            shutil.rmtree(folder)
    kernel, cpu_few, wall_all, cpu_all = (statistics.median(column) for column in zip(*turns, strict=True))
    cpu = (cpu_all - cpu_few) / (options.cases - few)
    print(f"kernels (inflate, resample, vote)     {kernel:6.3f} CPU s a case")
    print(f"pipeline, steady state                {cpu:6.3f} CPU s a case   {cpu / kernel:5.2f} x the kernels")
    print(
        f"whole run of {options.cases} cases on {options.workers} workers: {wall_all:.0f} s wall, {cpu_all:.0f} s CPU"
    )
    print(f"volumes per core-hour, steady state: {3600 / cpu:.0f}")
    result = {
        "kernel_cpu_s": round(kernel, 3),
        "pipeline_cpu_s": round(cpu, 3),
        "ratio_cpu": round(cpu / kernel, 3),
        "volumes_per_core_hour": round(3600 / cpu),
        "cases": options.cases,
        "repeats": options.repeats,
        "whole_run_wall_s": round(wall_all, 1),
    }
    print(json.dumps(result, sort_keys=True))


if __name__ == "__main__":
    main()
