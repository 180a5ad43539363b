"""Random crops per second from warm local files: this library, and what else one would use for it.

One process, no workers, one thread for everything (blosc2 and numpy included). Every reader gives the same: a random cube
of the image, clipped to a window and mapped to 0..1 as float32, and the class mask of five of fifteen structures as
uint8. Readers take turns in every round, so that a busy machine is busy for all; the median of the rounds is shown.

    python -m benchmarks.stream --crops 64 --rounds 5

| reader | what it does |
| --- | --- |
| mdfp | `corpus.loader(crops=…)`: ranged, the blocks that a visit touches decoded once, any sample in any order |
| mdfp, foreground | the same, half of the crops placed on a structure |
| webdataset npy | a tar of `.npy` members through `WebDataset(…).decode()`, then cropped: every volume is read whole |
| webdataset npy view | the same with `numpy.frombuffer` in place of `.decode()`: no second copy |
| webdataset b2nd | our own shards through plain webdataset and `mdfp.wds.decoder` |
| webdataset b2nd lazy | the same, only the crop decoded |
| raw tar | uncompressed arrays in a mapped tar, by offset: the floor, no format left |
| mosaicml, litdata | the same arrays in their formats, where those libraries are installed |

`--per-visit` is what decides: the readers of whole volumes divide the cost of one by the crops taken from it, at the price
of batches that are all of one patient. The last line of the output is one JSON object; `vs_webdataset_npy` is the ratio
of rates at the first `--per-visit`, `_cpu` the same in CPU time, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

from benchmarks.stream_data import SHAPE_ZYX, write_corpus, write_npy
from benchmarks.stream_readers import (
    ASKED,
    Reader,
    Task,
    b2nd_reader,
    lit_reader,
    mdfp_reader,
    mosaic_reader,
    npy_reader,
    raw_reader,
)

PEERS = {"webdataset": "webdataset", "streaming": "mosaicml", "litdata": "litdata"}
"""Packages that are compared where they are installed, and what the table calls them."""

Rates = dict[str, list[tuple[float, float]]]
"""For each reader, for every round: crops per second of wall time, and of CPU time."""


def measure(readers: dict[str, Reader], per_visit: int, crops: int, volumes: int, rounds: int) -> Rates:
    """Rates of each reader; readers take turns."""
    rates: Rates = {name: [] for name in readers}
    for turn in range(rounds + 1):
        for name, read in readers.items():
            done, wall, cpu = 0, time.perf_counter(), time.process_time()
            for pass_ in range(max(1, crops // (per_visit * volumes))):
                for image, label in read(turn * 100 + pass_, per_visit):
                    assert image.dtype == np.float32
                    assert label.shape == image.shape[1:]
                    done += 1
            if turn:  # the first round warms the files
                rates[name].append((done / (time.perf_counter() - wall), done / (time.process_time() - cpu)))
    return rates


def main() -> None:
    """Write the data, let the readers take turns, print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--volumes", type=int, default=8, help="volumes of 200×273×273 voxels, 45 MB each")
    parser.add_argument("--size", type=int, default=96, help="edge of a crop, voxels")
    parser.add_argument("--crops", type=int, default=64, help="crops a reader gives in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--per-visit", type=int, nargs="+", default=[4, 1, 8], help="crops from a volume each time it comes up"
    )
    parser.add_argument("--folder", type=Path, help="where the data go; a temporary folder by default")
    options = parser.parse_args()
    blosc2.set_nthreads(1)
    folder = Path(tempfile.mkdtemp(prefix="stream-", dir=options.folder))
    try:
        result = run(options, folder)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(result))


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The benchmark in a folder."""
    task = Task(options.size)
    for name in ("corpus", "npy"):
        (folder / name).mkdir()
    ratio = write_corpus(folder / "corpus", options.volumes)
    urls = write_npy(folder / "npy", options.volumes)
    readers: dict[str, Reader] = {
        "mdfp": mdfp_reader(folder / "corpus", task, 0.0),
        "mdfp, foreground": mdfp_reader(folder / "corpus", task, 0.5),
        "raw tar": raw_reader(urls, task),
    }
    if find_spec("webdataset"):
        readers["webdataset npy"] = npy_reader(urls, task, view=False)
        readers["webdataset npy view"] = npy_reader(urls, task, view=True)
        readers["webdataset b2nd"] = b2nd_reader(folder / "corpus", task, lazy=False)
        readers["webdataset b2nd lazy"] = b2nd_reader(folder / "corpus", task, lazy=True)
    if find_spec("streaming"):
        readers["mosaicml"] = mosaic_reader(folder / "mds", options.volumes, task)
    if find_spec("litdata"):
        readers["litdata"] = lit_reader(folder / "lit", options.volumes, task)
    for library, reader in PEERS.items():
        if not find_spec(library):
            print(f"{reader}: the package {library} is not installed, left out (see benchmarks/constraints.txt)")
    agree(readers["mdfp"], options.size)

    print(f"{options.size}³ crops/s, {options.volumes} volumes of {'×'.join(map(str, SHAPE_ZYX))}, warm, one thread;")
    print(f"images take 1/{ratio:.2f} of raw int16; median of {options.rounds} rounds, readers taking turns;")
    print("crops per second of wall time, and of CPU time\n")
    print(f"{'reader':22s}" + "".join(f"{f'{n} per visit':>16s}" for n in options.per_visit))
    rates = {n: measure(readers, n, options.crops, options.volumes, options.rounds) for n in options.per_visit}
    wall, cpu = (
        {n: {name: statistics.median(v[i] for v in values) for name, values in by.items()} for n, by in rates.items()}
        for i in (0, 1)
    )
    for name in readers:
        print(f"{name:22s}" + "".join(f"{wall[n][name]:8.1f} {cpu[n][name]:7.1f}" for n in options.per_visit))
    print()
    first = options.per_visit[0]
    result: dict[str, Any] = {
        "benchmark": "stream",
        "size": options.size,
        "volumes": options.volumes,
        "image_ratio": round(ratio, 2),
        "crops_per_s": {str(n): {k: round(v, 1) for k, v in by.items()} for n, by in wall.items()},
        "crops_per_cpu_s": {str(n): {k: round(v, 1) for k, v in by.items()} for n, by in cpu.items()},
        "blosc2": blosc2.__version__,
        "python": sys.version.split()[0],
    }
    if "webdataset npy" in readers:
        for name, by_visit in (("vs_webdataset_npy", wall), ("vs_webdataset_npy_cpu", cpu)):
            result[name] = round(by_visit[first]["mdfp"] / by_visit[first]["webdataset npy"], 2)
            result[f"{name}_per_visit"] = {
                str(n): round(by["mdfp"] / by["webdataset npy"], 2) for n, by in by_visit.items()
            }
    result["vs_raw_tar"] = round(wall[first]["mdfp"] / wall[first]["raw tar"], 2)
    return result


def agree(read: Reader, size: int) -> None:
    """The library's crops are what they should be: a fast wrong answer is no answer."""
    image, label = next(iter(read(0, 1)))
    assert image.shape == (1, size, size, size)
    assert 0 <= float(image.min()) <= float(image.max()) <= 1
    assert set(np.unique(label)) <= set(range(ASKED + 1))


if __name__ == "__main__":
    main()
