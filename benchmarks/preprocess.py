"""One CT pair from `.nii.gz` to RAS, 1.5 mm, windowed and remapped: this project, and what else one would use for it.

    python -m benchmarks.preprocess --repeats 3

One process for each library and repetition, one thread each; libraries take turns in every repetition, so that a busy
machine is busy for all. CPU seconds and peak memory are those of the process, for the second case it does; the median is
shown. Memory is what a script gets, for all; `--memory` changes that. Every library is given exactly our output grid. Image and
label are compared with SimpleITK's linear (in double precision, not rounded) and nearest interpolation on that grid, at voxels
that lie inside the input.

| row | what it does |
| --- | --- |
| ours | plain linear, nearest label; with all checks, statistics, hashes, label states and records of a build |
| ours-default | the same with low-pass and coverage vote: other voxels by design |
| simpleitk | a plain script, a filter a step: ReadImage, DICOMOrient, Resample, Clamp, ChangeLabel |
| simpleitk-lean | the same by an expert: Resample also turns the axes, numpy remaps |
| monai | LoadImaged, Orientationd, ResampleToMatchd, ScaleIntensityRanged, MapLabelValued |
| torchio | ToCanonical, Resample, Clamp, RemapLabels |
| nibabel-scipy | as_closest_canonical, ndimage.affine_transform |

The last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.preprocess_data import SHAPES_ZYX, STRUCTURES, make_pair
from pipelines.engines.surroundings import MALLOC

PEERS = ("ours", "ours-default", "simpleitk", "simpleitk-lean", "monai", "torchio", "nibabel-scipy")
NEEDS = {
    "simpleitk": "SimpleITK",
    "simpleitk-lean": "SimpleITK",
    "monai": "monai",
    "torchio": "torchio",
    "nibabel-scipy": "scipy",
}

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "BLOSC_NTHREADS",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    ),
    "1",
)

OURS = ("ours", "ours-default")

MEMORY = ("usual", "huge", "own")


def memory(peer: str, how: str) -> dict[str, str]:
    """What the environment says of memory. glibc 2.35 and later read it, others do not mind.

    Args:
        peer: whose process.
        how: usual: all as a script gets it. huge: all in huge pages, where a fresh 100 MB are not 25,000 page faults. own:
            ours as its worker processes run, which set this themselves; the others as a script gets it.
    """
    if how == "huge":
        return {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    return {"GLIBC_TUNABLES": MALLOC} if how == "own" and peer in OURS else {}


def run(peer: str, folder: Path, size: str, how: str) -> dict[str, float]:
    """One job in a process of its own: `cpu_s`, `wall_s`, `peak_mb`, `before_mb`.

    Raises:
        RuntimeError: the job failed.
    """
    root = Path(__file__).parents[1]
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.preprocess_peers", peer, str(folder), size],
        cwd=root,
        env={**os.environ, **ONE_THREAD, **memory(peer, how), "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise RuntimeError(f"{peer} failed:\n{finished.stderr[-3000:]}")
    return dict(json.loads(finished.stdout.strip().splitlines()[-1]))


def agreement(peer: str, folder: Path, size: str) -> dict[str, Any]:
    """How far a peer's voxels are from the reference's.

    Returns:
        `grid` (exact or near), and for an exact one `max` and `mean` absolute difference of the image, in HU, and
        `label_percent`, voxels of the label that differ.
    """
    image, label = (np.load(folder / f"{size}-{peer}-{kind}.npy", mmap_mode="r") for kind in ("image", "label"))
    wanted, classes = (np.load(folder / f"{size}-reference-{kind}.npy", mmap_mode="r") for kind in ("image", "label"))
    if image.shape != wanted.shape:
        return {"grid": "near", "max": None, "mean": None, "label_percent": None}
    # Ours numbers structures by its palette: both are brought to the label values of the file.
    known = np.array(sorted(np.unique(label)))
    if peer.startswith("ours"):
        from transforms.labels.palette import build

        values = {e.structure: e.value for e in build(STRUCTURES)}
        table = np.zeros(256, dtype=np.uint8)
        for number, structure in enumerate(STRUCTURES, start=1):
            table[values[structure]] = 100 + number
        assert set(known.tolist()) <= {0, *values.values()}
        label = table[label]
    largest, total, differing = 0.0, 0.0, 0
    for a, b, c, d in zip(image, wanted, label, classes, strict=True):
        difference = np.abs(a - b)
        largest, total = max(largest, float(difference.max())), total + float(difference.sum())
        differing += int(np.count_nonzero(c != d))
    return {
        "grid": "exact",
        "max": largest,
        "mean": total / wanted.size,
        "label_percent": 100 * differing / wanted.size,
    }


def report(runs: dict[str, list[dict[str, float]]], found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Print the table; the same as plain values."""
    cpu = {peer: statistics.median(r["cpu_s"] for r in results) for peer, results in runs.items()}
    peak = {peer: statistics.median(r["peak_mb"] for r in results) for peer, results in runs.items()}
    print(
        f"\n{'':15}{'CPU s':>8}{'(all)':>24}{'x ours':>8}{'x default':>11}{'peak MB':>9}{'grid':>7}"
        f"{'max HU':>9}{'mean HU':>9}{'label %':>9}"
    )
    for peer, results in runs.items():
        spread = " ".join(f"{r['cpu_s']:.2f}" for r in results)
        ratios = [f"{cpu[peer] / cpu[row]:.2f}" if row in cpu else "-" for row in ("ours", "ours-default")]
        a = found[peer]
        exact = a["grid"] == "exact"
        numbers = [f"{a['max']:.4f}", f"{a['mean']:.4f}", f"{a['label_percent']:.4f}"] if exact else ["-"] * 3
        print(
            f"{peer:15}{cpu[peer]:8.2f}{spread:>24}{ratios[0]:>8}{ratios[1]:>11}{peak[peer]:9.0f}{a['grid']:>7}"
            f"{numbers[0]:>9}{numbers[1]:>9}{numbers[2]:>9}"
        )
    return {
        "cpu_s": cpu,
        "peak_mb": peak,
        "ratio_to_ours": {p: c / cpu["ours"] for p, c in cpu.items()} if "ours" in cpu else {},
        "ratio_to_ours_default": {p: c / cpu["ours-default"] for p, c in cpu.items()} if "ours-default" in cpu else {},
        "peak_of_ours": {p: peak["ours"] / m for p, m in peak.items()} if "ours" in peak else {},
        "agreement": found,
    }


def main() -> None:
    """Make the data, run everybody, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", choices=["small", "full"], default="full")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument(
        "--memory",
        choices=MEMORY,
        default="usual",
        help="usual: all as a script gets it; huge: all in huge pages; own: ours as its workers run, the others usual",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()) / "mdfp-benchmark",
        help="where the pair and the results lie (about 1 GB); the pair is made once",
    )
    options = parser.parse_args()
    missing = [p for p in options.peers if p in NEEDS and importlib.util.find_spec(NEEDS[p]) is None]
    peers = [p for p in options.peers if p not in missing]
    for peer in missing:
        print(f"{peer}: {NEEDS[peer]} is not installed, left out (see benchmarks/README.md)")

    pair = make_pair(options.folder, options.size)
    make_pair(options.folder, "warm-up")
    voxels = int(np.prod(SHAPES_ZYX[options.size]))
    ratio = 2 * voxels / pair.image.stat().st_size
    print(f"{options.size}: {SHAPES_ZYX[options.size]} voxels (z, y, x), the image compresses {ratio:.2f}x", flush=True)
    run("reference", options.folder, options.size, options.memory)
    runs: dict[str, list[dict[str, float]]] = {peer: [] for peer in peers}
    for turn in range(options.repeats):
        for peer in peers:
            runs[peer].append(run(peer, options.folder, options.size, options.memory))
            print(f"{turn + 1}/{options.repeats} {peer:15}{runs[peer][-1]['cpu_s']:8.2f} CPU s", flush=True)
    found = {peer: agreement(peer, options.folder, options.size) for peer in peers}
    summary = report(runs, found)
    print(
        json.dumps(
            {
                "benchmark": "preprocess",
                "size": options.size,
                "memory": options.memory,
                "repeats": options.repeats,
                **summary,
            }
        )
    )


if __name__ == "__main__":
    main()
