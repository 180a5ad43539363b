"""What takes part in the streaming benchmark: readers that give the same crops, this library and its peers."""

from __future__ import annotations

import io
import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import mdfp
from benchmarks.stream_data import SHAPE_ZYX, WINDOW_HU, ct_like, structure
from mdfp.codecs import VolumeCodec
from mdfp.crops import Crops
from mdfp.tar import members
from mdfp.wds import decoder

ASKED = 5

Crop = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]
Reader = Callable[[int, int], Iterator[Crop]]
"""(round, crops per visit) → crops of one pass over the volumes."""


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
