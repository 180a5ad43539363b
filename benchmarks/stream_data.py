"""The volumes of the streaming benchmark: CT-like, in a corpus and as `.npy` members of tars."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from mdfp import arrow, canonical
from mdfp import index as index_file
from mdfp.codecs import BLOCK_VOXELS, VolumeCodec
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
from mdfp.tar import TarWriter

ORGANS = 15
WINDOW_HU = (-160.0, 240.0)
SHAPE_ZYX = (200, 273, 273)
"""A 512×512×300 CT of 0.8×0.8×1.0 mm at 1.5 mm."""


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
