"""Whether a corpus is what its manifest and index say, byte by byte and voxel by voxel. Never stops at the first fault."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp import canonical, index
from mdfp.codecs import VolumeCodec
from mdfp.corpus import Corpus
from mdfp.errors import CorpusError
from mdfp.labels import IGNORE
from mdfp.manifest import ShardEntry, SidecarEntry
from mdfp.pictures import decode, is_picture
from mdfp.sample import Grid, Member, Sample, SampleImage
from mdfp.tar import members

_OF_LABELS = ("license", "structures", "readings")
"""What labels that are added later change in the row of a sample, and not in its snapshot."""


@dataclass(frozen=True)
class Fault:
    """One thing that is not as said."""

    file: str
    """Path below the corpus, with the member where it lies in a shard."""
    what: str
    """What was compared."""
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}: expected {self.expected}, found {self.found}"


def verify(
    corpus: Corpus, *, quick: bool = False, done: Callable[[ShardEntry | SidecarEntry], None] | None = None
) -> list[Fault]:
    """All faults of a corpus, in the order of its shards, then of its sidecars.

    Every shard is hashed again, every member read again and decoded, and compared with the index: names, offsets, sizes,
    shapes, dtypes, label values, voxel counts and boxes of each structure. So is every sidecar.

    Args:
        corpus: an open corpus; an index that cannot be read is a fault, not an error.
        quick: hash and list the shards, decode nothing.
        done: called after each shard and sidecar, for a progress bar.
    """
    faults: list[Fault] = []
    try:
        records = list(index.Samples(index.read(corpus.store, corpus.manifest)))
    except CorpusError as error:
        faults.append(Fault("index", "readable", "an index as the manifest says", str(error)))
        records = []
    else:
        faults += _index_faults(corpus, records)
    in_tar: dict[str, list[Sample]] = {}
    for record in records:
        for path in dict.fromkeys((record.shard, *(record.tar_of(m) for m in record.members))):
            in_tar.setdefault(path, []).append(record)
    for tar in corpus.manifest.tars:
        faults += _tar_faults(corpus, tar, in_tar.get(tar.path, []), bool(records), quick)
        if done:
            done(tar)
    for path in sorted(set(in_tar) - {t.path for t in corpus.manifest.tars}):
        faults.append(
            Fault(path, "tar", "named by the manifest", f"not named, and holds members of {in_tar[path][0].key}")
        )
    return faults


def _index_faults(corpus: Corpus, records: Sequence[Sample]) -> Iterator[Fault]:
    for key, count in Counter(r.key for r in records).items():
        if count > 1:
            yield Fault("index", f"rows of key {key}", "1", str(count))
    for entry in corpus.manifest.indexes:
        # Of all rows of the file, void ones too.
        rows = index.Samples(index.read_one(corpus.store, entry.path))
        found = index.file_digest(rows, entry.digest_of)
        if found != entry.rows_sha256:
            yield Fault(entry.path, f"sha256 of its {entry.digest_of}", entry.rows_sha256, found)
    counted = Counter(r.split for r in records)
    for split in corpus.manifest.splits:
        if counted[split.split] != split.samples:
            yield Fault("index", f"samples of split {split.split}", str(split.samples), str(counted[split.split]))


def _tar_faults(
    corpus: Corpus, shard: ShardEntry | SidecarEntry, records: Sequence[Sample], has_index: bool, quick: bool
) -> Iterator[Fault]:
    digest, size = hashlib.sha256(), 0
    try:
        for piece in corpus.store.pieces(shard.path):
            digest.update(piece)
            size += len(piece)
    except FileNotFoundError:
        yield Fault(shard.path, "file", "there", "missing")
        return
    if size != shard.bytes:
        yield Fault(shard.path, "bytes", str(shard.bytes), str(size))
    if digest.hexdigest() != shard.sha256:
        yield Fault(shard.path, "sha256", shard.sha256, digest.hexdigest())
    if has_index and len(records) != shard.samples:
        yield Fault(shard.path, "samples in the index", str(shard.samples), str(len(records)))
    listed: dict[str, tuple[int, int]] = {}
    try:
        with corpus.store.open(shard.path) as file:
            for member in members(file):
                listed[member.name] = (member.offset, member.bytes)
    except tarfile.TarError as error:
        yield Fault(shard.path, "tar", "readable to its end", str(error))
    if has_index:
        if isinstance(shard, SidecarEntry) and (strange := {r.shard for r in records} - {shard.shard}):
            yield Fault(shard.path, "shard of its samples", shard.shard, ", ".join(sorted(strange)))
        wanted = {m.name for r in records for m in r.members if r.tar_of(m) == shard.path}
        for name in sorted(set(listed) - wanted):
            yield Fault(f"{shard.path}#{name}", "member", "named by the index", "not named")
    for record in records:
        for m in record.members:
            if record.tar_of(m) != shard.path:
                continue
            where = f"{shard.path}#{m.name}"
            at = listed.get(m.name)
            if at is None:
                yield Fault(where, "member", "in the tar", "missing")
            elif at != (m.offset, m.bytes):
                yield Fault(where, "offset and bytes", f"{m.offset}, {m.bytes}", f"{at[0]}, {at[1]}")
            elif not quick:
                yield from _member_faults(corpus, record, m, where)


def _member_faults(corpus: Corpus, record: Sample, member: Member, where: str) -> Iterator[Fault]:
    try:
        data = bytes(corpus.store.read_range(record.tar_of(member), member.offset, member.bytes))
    except CorpusError as error:
        yield Fault(where, "bytes", "readable", str(error))
        return
    if member.kind == "json":
        yield from _snapshot_faults(record, data, where)
    if member.kind == "text":
        yield from _text_faults(data, where)
    picture = is_picture(member.name)
    if member.kind not in ("image", "label") or not (picture or member.name.endswith(f".{VolumeCodec.extension}")):
        return
    try:
        array = decode(data) if picture else VolumeCodec().decode(data)
    except (RuntimeError, ValueError) as error:
        yield Fault(where, "decodes", "a picture" if picture else "a blosc2 array", str(error))
        return
    if member.kind == "image":
        image = record.image(member.array)
        yield from _array_faults(array, image.stored, image.dtype, where)
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            yield Fault(where, "values", "finite", f"{int((~np.isfinite(array)).sum())} that are not")
    else:
        label = next((entry for entry in record.labels if entry.layer == member.array), None)
        if label is None:
            yield Fault(where, "layer", f"one of {[entry.layer for entry in record.labels]}", member.array)
            return
        image = record.image(label.image)
        yield from _array_faults(array, _mask_grid(image), label.dtype, where)
        yield from _label_faults(corpus, record, member.array, array, where)


def _mask_grid(image: SampleImage) -> Grid:
    """The grid of a mask: its image's, at one time point and without channels."""
    shape = tuple(n for axis, n in zip(image.axes, image.stored.shape, strict=True) if axis in "zyx")
    return replace(image.stored, shape=shape)


def _text_faults(data: bytes, where: str) -> Iterator[Fault]:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        yield Fault(where, "text", "UTF-8", str(error))


def _snapshot_faults(record: Sample, data: bytes, where: str) -> Iterator[Fault]:
    import json

    try:
        snapshot = json.load(io.BytesIO(data))
    except ValueError as error:
        yield Fault(where, "JSON", "readable", str(error))
        return
    said = canonical.plain(record)
    later = {m.array for m in record.members if m.shard}
    if later:
        # Labels that were added since are in the index alone, and with them states and terms.
        said = {name: value for name, value in said.items() if name not in _OF_LABELS}
        said["labels"] = [canonical.plain(label) for label in record.labels if label.layer not in later]
    for name, value in snapshot.items():
        if name in said and value != said[name]:
            yield Fault(where, name, "as in the index", "something else")


def _array_faults(array: npt.NDArray[Any], grid: Grid, dtype: str, where: str) -> Iterator[Fault]:
    if array.shape != grid.shape:
        yield Fault(where, "shape", str(grid.shape), str(array.shape))
    if array.dtype != np.dtype(dtype):
        yield Fault(where, "dtype", dtype, str(array.dtype))


def _label_faults(corpus: Corpus, record: Sample, layer: str, array: npt.NDArray[Any], where: str) -> Iterator[Fault]:
    if array.dtype.name not in IGNORE:
        return
    counts = np.bincount(array.reshape(-1))
    values = {e.value: e.structure for e in corpus.palette}
    for value in np.flatnonzero(counts):
        if value and value not in values and value != IGNORE[array.dtype.name]:
            yield Fault(where, "value", "0, one of the palette, or ignore", f"{value} in {counts[value]} voxels")
    words = (*record.structures, *record.others, *(s for reading in record.readings for s in reading.structures))
    here = tuple(dict.fromkeys(s for s in words if s.layer == layer))
    spoken_of = {s.structure for s in here}
    for state in (*here, *(s for s in record.structures if s.structure not in spoken_of)):
        found = int(counts[state.value]) if state.value < len(counts) else 0
        said = state.stored_voxels or 0 if state.layer == layer else 0
        if found != said:
            yield Fault(where, f"voxels of {state.structure}", str(said), str(found))
        elif found and state.box is not None:
            places = np.nonzero(array == state.value)
            box = (*(int(p.min()) for p in places), *(int(p.max()) + 1 for p in places))
            if box != state.box:
                yield Fault(where, f"box of {state.structure}", str(state.box), str(box))
