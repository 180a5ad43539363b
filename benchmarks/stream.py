"""Random crops per second from warm local files: this library, and what else one would use for it.

One process, no workers, one thread for everything (blosc2 and numpy included). Every reader gives the same: a random cube
of the image, clipped to a window and mapped to 0..1 as float32, and the class mask of five of fifteen structures as
uint8. Readers take turns in every round, so that a busy machine is busy for all; the median of the rounds is shown.

    python benchmarks/stream.py --crops 64 --rounds 5

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
import io
import json
import mmap
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

import mdfp
from mdfp import arrow, canonical
from mdfp import index as index_file
from mdfp.codecs import BLOCK_VOXELS, VolumeCodec
from mdfp.crops import Crops
from mdfp.labels import State
from mdfp.manifest import FORMAT, SCHEMA_VERSION, IndexEntry, Manifest, PaletteEntry, ShardEntry, SplitTotal
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
from mdfp.tar import TarWriter, members
from mdfp.wds import decoder

PEERS = {"webdataset": "webdataset", "streaming": "mosaicml", "litdata": "litdata"}
"""Packages that are compared where they are installed, and what the table calls them."""

ORGANS = 15
ASKED = 5
WINDOW_HU = (-160.0, 240.0)
SHAPE_ZYX = (200, 273, 273)
"""A 512×512×300 CT of 0.8×0.8×1.0 mm at 1.5 mm."""

Crop = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]
Reader = Callable[[int, int], Iterator[Crop]]
"""(round, crops per visit) → crops of one pass over the volumes."""


def ct_like(seed: int) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """A body in air with organs and noise: int16 HU, and its mask of 15 organs. zstd-1 takes it to about 1/3.8."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[-1 : 1 : SHAPE_ZYX[0] * 1j, -1 : 1 : SHAPE_ZYX[1] * 1j, -1 : 1 : SHAPE_ZYX[2] * 1j]
    image = np.full(SHAPE_ZYX, -1000.0, dtype=np.float32)
    label = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    body = np.broadcast_to((y / 0.7) ** 2 + (x / 0.88) ** 2 < 1, SHAPE_ZYX)
    image[body] = -90
    image[np.broadcast_to((y / 0.62) ** 2 + (x / 0.8) ** 2 < 1, SHAPE_ZYX)] = 45
    for organ in range(1, ORGANS + 1):
        centre = rng.uniform(-0.5, 0.5, 3) * (1.5, 0.8, 1.0)
        radius = rng.uniform(0.1, 0.3, 3)
        inside = sum(((g - c) / r) ** 2 for g, c, r in zip((z, y, x), centre, radius, strict=True)) < 1
        inside &= body
        image[inside] = rng.choice([-800, 20, 60, 110, 150, 400])
        label[inside] = organ
    noise = rng.normal(size=SHAPE_ZYX).astype(np.float32)
    for axis in range(3):  # resampling has smoothed what a scanner made
        noise = (noise + 0.6 * np.roll(noise, 1, axis)) / np.float32(1.17)
    image += 8 * noise / noise.std()
    for axis, edge in ((1, 30), (2, 20)):  # outside the field of view there is no noise
        outside = np.moveaxis(image, axis, 0)
        outside[:edge] = outside[-edge:] = -1024
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16), label


def structure(value: int) -> str:
    """Name of an organ."""
    return f"organ_{value:02d}"


def write_corpus(root: Path, volumes: int) -> float:
    """A corpus of that many volumes in shards of four; returns how much smaller the images are than raw."""
    codec = VolumeCodec()
    rows: list[Sample] = []
    shards: list[ShardEntry] = []
    raw = packed = 0
    for first in range(0, volumes, 4):
        buffer = io.BytesIO()
        tar = TarWriter(buffer)
        made = []
        for number in range(first, min(first + 4, volumes)):
            image, label = ct_like(number)
            found = []
            for kind, name, array in (("image", "ct", image), ("label", "base", label)):
                at = tar.add(f"case-{number:04d}.{kind}.{name}.b2nd", codec.encode(array))
                found.append(Member(at.name, kind, name, at.offset, at.bytes))
            raw, packed = raw + image.nbytes, packed + found[0].bytes
            made.append(_record(f"case-{number:04d}", image, label, tuple(found)))
        sha256, size = tar.finish()
        path = f"shards/train/bench-{first // 4:04d}-{sha256[:16]}.tar"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(buffer.getvalue())
        shards.append(ShardEntry(path, size, sha256, len(made), "train", "bench", 1))
        rows += [replace(r, shard=path, position=i) for i, r in enumerate(made)]
    (root / "index").mkdir()
    pq.write_table(arrow.to_table(Sample, rows), root / "index/000001.parquet")
    digest = index_file.file_digest(rows, "shards")
    palette = tuple(
        PaletteEntry(v, structure(v), None, None, None, "anatomy", (), (), ()) for v in range(1, ORGANS + 1)
    )
    manifest = Manifest(
        format=FORMAT,
        schema_version=SCHEMA_VERSION,
        number=1,
        parent=None,
        corpus="bench",
        plan_id="",
        pixel_version=1,
        environment="",
        patient_key="",
        recipe="{}",
        label_space=(),
        palette=palette,
        relations=(),
        shards=tuple(shards),
        indexes=(IndexEntry("index/000001.parquet", len(rows), digest, "shards"),),
        splits=(
            SplitTotal("train", len(rows), len(rows), sum(s.bytes for s in shards), tuple(s.path for s in shards)),
        ),
        holes=(),
        terms=(),
    )
    (root / "manifests").mkdir()
    (root / manifest.path()).write_bytes(canonical.pretty(manifest))
    return raw / packed


def _record(key: str, image: npt.NDArray[Any], label: npt.NDArray[Any], found: tuple[Member, ...]) -> Sample:
    grid = Grid(image.shape, (1.5, 1.5, 1.5), "RAS", tuple(float(v) for v in np.diag([1.5, 1.5, 1.5, 1]).reshape(-1)))
    stats = IntensityStats(float(image.min()), float(image.max()), 0.0, 1.0, (0.0,) * 9, None, None)
    states = []
    for value in range(1, ORGANS + 1):
        places = np.nonzero(label == value)
        there = len(places[0]) > 0
        blocks: tuple[int, ...] = ()
        if there:
            grid_of_blocks = tuple(-(-n // BLOCK_VOXELS) for n in label.shape)
            corners = np.ravel_multi_index([p // BLOCK_VOXELS for p in places], grid_of_blocks)
            blocks = tuple(int(b) for b in np.unique(corners))
        states.append(
            StructureState(
                structure=structure(value),
                value=value,
                state=State.PRESENT if there else State.ABSENT,
                layer="base" if there else None,
                origin="expert",
                merged_into=None,
                extent=None,
                native_voxels=len(places[0]),
                stored_voxels=len(places[0]),
                native_mm3=None,
                stored_mm3=None,
                box=(*(int(p.min()) for p in places), *(int(p.max()) + 1 for p in places)) if there else None,
                blocks=blocks,
                vanished=False,
                outside_fraction=None,
            )
        )
    ct = SampleImage(
        name="ct",
        modality="CT",
        axes="zyx",
        dtype="int16",
        unit="HU",
        scale=1.0,
        offset=0.0,
        native=grid,
        stored=grid,
        native_dtype="int16",
        obliquity_deg=0.0,
        acquisition=Acquisition(),
        acquisition_axis="z",
        native_intensity=stats,
        stored_intensity=stats,
        normalisation=Normalisation("window_hu", *WINDOW_HU),
        padding_voxels=0,
        nonfinite_voxels=0,
        body_box=None,
        content_hash="",
    )
    return Sample(
        key=key,
        case_id=key,
        source="bench",
        split="train",
        fold=None,
        group=key,
        generation=1,
        shard="",
        position=0,
        patient=key,
        study=None,
        series=None,
        timepoint=None,
        days_from_first=None,
        modalities=("CT",),
        sex=None,
        age_years=None,
        site=None,
        license="own-data",
        images=(ct,),
        labels=(SampleLabel("base", "ct", "uint8", "expert", grid, "", 0.0),),
        structures=tuple(states),
        annotations=(),
        texts=(),
        members=found,
        findings=(),
        done=(),
        warnings=(),
    )


def write_npy(root: Path, volumes: int) -> list[str]:
    """The same arrays as `.npy` members, as webdataset's own writer would lay them."""
    paths = []
    for first in range(0, volumes, 4):
        path = root / f"npy-{first // 4:04d}.tar"
        with path.open("wb") as file:
            tar = TarWriter(file)
            for number in range(first, min(first + 4, volumes)):
                for name, array in zip(("image", "label"), ct_like(number), strict=True):
                    npy = io.BytesIO()
                    np.save(npy, array)
                    tar.add(f"case-{number:04d}.{name}.npy", npy.getvalue())
            tar.finish()
        paths.append(str(path))
    return paths


class Task:
    """What every reader gives of a volume: some random cubes, ready for a network."""

    def __init__(self, size: int):
        self.size = size
        self.table = np.array([v if v <= ASKED else 0 for v in range(256)], dtype=np.uint8)

    def boxes(self, seed: int, shape: tuple[int, ...], n: int) -> Iterator[tuple[slice, ...]]:
        """Random cubes."""
        rng = np.random.default_rng(seed)
        for _ in range(n):
            start = [int(rng.integers(0, s - self.size + 1)) for s in shape]
            yield tuple(slice(a, a + self.size) for a in start)

    def ready(self, image: npt.NDArray[np.int16], label: npt.NDArray[np.uint8]) -> Crop:
        """Clipped to the window, 0..1, float32; classes by table: as quick as numpy does it."""
        lower, upper = WINDOW_HU
        out = np.empty((1, *image.shape), dtype=np.float32)
        out[0] = image
        out *= np.float32(1 / (upper - lower))
        out += np.float32(-lower / (upper - lower))
        np.clip(out, 0, 1, out=out)
        return out, np.frombuffer(label.tobytes().translate(self.table.tobytes()), dtype=np.uint8).reshape(label.shape)

    def of(self, image: Any, label: Any, seed: int, n: int) -> Iterator[Crop]:
        """Crops of whole (or lazy) arrays."""
        for box in self.boxes(seed, image.shape, n):
            yield self.ready(np.asarray(image[box]), np.asarray(label[box]))


def mdfp_reader(root: Path, task: Task, foreground: float) -> Reader:
    """This library."""
    corpus = mdfp.open(str(root))

    def read(turn: int, per_visit: int) -> Iterator[Crop]:
        space = [structure(v) for v in range(1, ASKED + 1)]
        crops = Crops(task.size, per_visit=per_visit, space=space, foreground=foreground)
        for visit in corpus.loader("train", seed=turn, crops=crops):
            for crop in visit:
                yield crop.image, crop.classes

    return read


def npy_reader(urls: list[str], task: Task, view: bool) -> Reader:
    """Plain webdataset over npy members."""
    import webdataset

    def array(data: bytes) -> npt.NDArray[Any]:
        head = io.BytesIO(data)
        np.lib.format.read_magic(head)
        shape, _, dtype = np.lib.format.read_array_header_1_0(head)
        return np.frombuffer(data, dtype=dtype, offset=head.tell()).reshape(shape)

    def read(turn: int, per_visit: int) -> Iterator[Crop]:
        data = webdataset.WebDataset(urls, shardshuffle=False)
        for number, sample in enumerate(data if view else data.decode()):
            image, label = sample["image.npy"], sample["label.npy"]
            if view:
                image, label = array(image), array(label)
            yield from task.of(image, label, turn * 1000 + number, per_visit)

    return read


def b2nd_reader(root: Path, task: Task, lazy: bool) -> Reader:
    """Plain webdataset over this library's shards."""
    import webdataset

    urls = sorted(str(p) for p in root.glob("shards/*/*.tar"))

    def read(turn: int, per_visit: int) -> Iterator[Crop]:
        data = webdataset.WebDataset(urls, shardshuffle=False)
        for number, sample in enumerate(data if lazy else data.decode(decoder)):
            image, label = sample["image.ct.b2nd"], sample["label.base.b2nd"]
            if lazy:
                image, label = VolumeCodec().open(image), VolumeCodec().open(label)
            yield from task.of(image, label, turn * 1000 + number, per_visit)

    return read


def raw_reader(urls: list[str], task: Task) -> Reader:
    """Uncompressed members of a mapped tar, by offset."""
    found: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []
    for url in urls:
        with Path(url).open("rb") as file:
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            arrays = []
            for member in members(file):
                header = member.bytes - int(np.prod(SHAPE_ZYX)) * (2 if "image" in member.name else 1)
                dtype = np.int16 if "image" in member.name else np.uint8
                data = view[member.offset + header : member.offset + member.bytes]
                arrays.append(np.frombuffer(data, dtype=dtype).reshape(SHAPE_ZYX))
            found += list(zip(arrays[::2], arrays[1::2], strict=True))

    def read(turn: int, per_visit: int) -> Iterator[Crop]:
        for number, (image, label) in enumerate(found):
            yield from task.of(image, label, turn * 1000 + number, per_visit)

    return read


def mosaic_reader(root: Path, volumes: int, task: Task) -> Reader:
    """MosaicML streaming, its own format, from a local folder."""
    from streaming import MDSWriter, StreamingDataset

    columns = {"image": "ndarray:int16", "label": "ndarray:uint8"}
    with MDSWriter(out=str(root), columns=columns, compression=None, size_limit=1 << 28) as writer:
        for number in range(volumes):
            image, label = ct_like(number)
            writer.write({"image": image, "label": label})
    data = StreamingDataset(local=str(root), shuffle=False, batch_size=1)

    def read(turn: int, per_visit: int) -> Iterator[Crop]:
        for number in range(volumes):
            sample = data[number]
            yield from task.of(sample["image"], sample["label"], turn * 1000 + number, per_visit)

    return read


def lit_reader(root: Path, volumes: int, task: Task) -> Reader:
    """LitData, its own format, from a local folder."""
    from litdata import StreamingDataset
    from litdata.streaming import Cache

    cache = Cache(str(root), chunk_bytes=1 << 28)
    for number in range(volumes):
        image, label = ct_like(number)
        cache[number] = {"image": image, "label": label}
    cache.done()
    cache.merge()
    data = StreamingDataset(str(root))

    def read(turn: int, per_visit: int) -> Iterator[Crop]:
        for number in range(volumes):
            sample = data[number]
            yield from task.of(sample["image"], sample["label"], turn * 1000 + number, per_visit)

    return read


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
