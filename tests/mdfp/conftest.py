"""A small valid corpus, written with the library's own writer, tar and codec: the format's golden example."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import mdfp
from mdfp import arrow, canonical
from mdfp import index as index_file
from mdfp.codecs import BLOCK_VOXELS, VolumeCodec
from mdfp.geometry import compose, obliquity_deg, orientation_code, spacing_xyz_mm
from mdfp.labels import IGNORE, State
from mdfp.manifest import (
    FORMAT,
    SCHEMA_VERSION,
    HoleCount,
    IndexEntry,
    Manifest,
    PaletteEntry,
    Relation,
    ShardEntry,
    SourceTerms,
    SplitTotal,
)
from mdfp.sample import (
    Acquisition,
    Grid,
    IntensityStats,
    Member,
    Normalisation,
    Sample,
    SampleImage,
    SampleLabel,
    Snapshot,
    StructureState,
)
from mdfp.tar import TarWriter

PALETTE = {
    "kidney": (1, "anatomy", None, {}),
    "kidney_left": (2, "anatomy", "left", {"is_a": ("kidney",)}),
    "kidney_right": (3, "anatomy", "right", {"is_a": ("kidney",)}),
    "kidney_tumour": (4, "lesion", None, {"is_a": ("tumour_unspecified",), "located_in": ("kidney",)}),
    "liver": (5, "anatomy", None, {}),
    "liver_tumour": (6, "lesion", None, {"is_a": ("tumour_unspecified",), "located_in": ("liver",)}),
    "lung_lower_lobe_left": (7, "anatomy", "left", {"is_a": ("lung_lower_lobe",), "part_of": ("lung_left",)}),
    "lung_upper_lobe_left": (8, "anatomy", "left", {"is_a": ("lung_upper_lobe",), "part_of": ("lung_left",)}),
    "spleen": (9, "anatomy", None, {}),
    "tumour_unspecified": (10, "lesion", None, {}),
}
EXTRA_RELATIONS = (
    ("lung_left", "is_a", "lung"),
    ("lung_right", "is_a", "lung"),
    ("lung_lower_lobe", "part_of", "lung"),
    ("lung_upper_lobe", "part_of", "lung"),
)


def entries() -> tuple[PaletteEntry, ...]:
    return tuple(
        PaletteEntry(
            value=value,
            structure=structure,
            code=None,
            meaning=None,
            side=side,
            kind=kind,
            is_a=relations.get("is_a", ()),
            part_of=relations.get("part_of", ()),
            located_in=relations.get("located_in", ()),
        )
        for structure, (value, kind, side, relations) in PALETTE.items()
    )


def relations() -> tuple[Relation, ...]:
    own = [
        Relation(e.structure, name, parent)
        for e in entries()
        for name in ("is_a", "part_of", "located_in")
        for parent in getattr(e, name)
    ]
    return tuple(own + [Relation(*r) for r in EXTRA_RELATIONS])


@dataclass
class Recorded:
    """What a test wants to know of a sample that was written."""

    record: Sample
    image: np.ndarray
    layers: dict[str, np.ndarray]


@dataclass
class Draft:
    """A sample to write: masks by layer (palette values) and the states that differ from what the masks show."""

    key: str
    source: str
    split: str
    shape: tuple[int, int, int]
    seed: int
    modality: str = "CT"
    affine: np.ndarray | None = None
    layers: dict[str, np.ndarray] = field(default_factory=dict)
    states: dict[str, dict] = field(default_factory=dict)


def box_of(where: np.ndarray) -> tuple[int, ...]:
    places = np.nonzero(where)
    return tuple(int(p.min()) for p in places) + tuple(int(p.max()) + 1 for p in places)


def blocks_of(where: np.ndarray) -> tuple[int, ...]:
    n = [-(-s // BLOCK_VOXELS) for s in where.shape]
    places = [p // BLOCK_VOXELS for p in np.nonzero(where)]
    return tuple(int(b) for b in np.unique(np.ravel_multi_index(places, n)))


def structure_states(draft: Draft) -> tuple[StructureState, ...]:
    result = []
    for structure, (value, *_) in PALETTE.items():
        state = StructureState(
            structure=structure,
            value=value,
            state=State.UNKNOWN,
            layer=None,
            origin=None,
            merged_into=None,
            extent=None,
            native_voxels=None,
            stored_voxels=None,
            native_mm3=None,
            stored_mm3=None,
            box=None,
            blocks=(),
            vanished=False,
            outside_fraction=None,
        )
        for layer, mask in draft.layers.items():
            here = mask == value
            if here.any():
                n = int(here.sum())
                state = replace(
                    state,
                    state=State.PRESENT,
                    layer=layer,
                    origin="expert",
                    native_voxels=n,
                    stored_voxels=n,
                    native_mm3=float(n),
                    stored_mm3=float(n),
                    box=box_of(here),
                    blocks=blocks_of(here),
                )
        result.append(replace(state, **draft.states.get(structure, {})))
    return tuple(result)


def volume(draft: Draft) -> np.ndarray:
    rng = np.random.default_rng(draft.seed)
    image = rng.integers(-60, 80, draft.shape).astype(np.int16)
    for mask in draft.layers.values():
        image[(mask > 0) & (mask < 200)] += 100
    return image


def sample_of(draft: Draft, image: np.ndarray) -> Sample:
    affine = compose(np.eye(3), (1.5, 1.25, 2.0), (-30.0, 12.0, 5.0)) if draft.affine is None else draft.affine
    grid = Grid(
        shape=draft.shape,
        spacing_xyz_mm=spacing_xyz_mm(affine),
        orientation=orientation_code(affine),
        affine_ras=tuple(float(v) for v in affine.reshape(-1)),
    )
    stats = IntensityStats(
        minimum=float(image.min()),
        maximum=float(image.max()),
        mean=float(image.mean()),
        std=float(image.std()),
        percentiles=tuple(float(p) for p in np.percentile(image, (0.5, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.5))),
        body_mean=None,
        body_std=None,
    )
    name = draft.modality.lower()
    image_record = SampleImage(
        name=name,
        modality=draft.modality,
        axes="zyx",
        dtype="int16",
        unit="HU" if draft.modality == "CT" else None,
        scale=1.0 if draft.modality == "CT" else 0.5,
        offset=0.0 if draft.modality == "CT" else 10.0,
        native=grid,
        stored=grid,
        native_dtype="int16",
        obliquity_deg=obliquity_deg(affine),
        acquisition=Acquisition(),
        acquisition_axis="z",
        native_intensity=stats,
        stored_intensity=stats,
        normalisation=Normalisation("window_hu" if draft.modality == "CT" else "percentiles", -50.0, 150.0),
        padding_voxels=0,
        nonfinite_voxels=0,
        body_box=None,
        content_hash=f"{draft.seed:032x}",
    )
    labels = tuple(
        SampleLabel(
            layer=layer,
            image=name,
            dtype=str(mask.dtype),
            origin="expert" if layer == "base" else "model",
            native=grid,
            content_hash="0" * 32,
            grid_offset_voxels=0.0,
        )
        for layer, mask in draft.layers.items()
    )
    return Sample(
        key=draft.key,
        case_id=draft.key,
        source=draft.source,
        split=draft.split,
        fold=None,
        group=draft.key,
        generation=1,
        shard="",
        position=0,
        patient=f"p-{draft.key}",
        study=None,
        series=None,
        timepoint=None,
        days_from_first=None,
        modalities=(draft.modality,),
        sex=None,
        age_years=None,
        site=None,
        license="CC-BY-4.0",
        images=(image_record,),
        labels=labels,
        structures=structure_states(draft),
        annotations=(),
        texts=(),
        members=(),
        findings=(),
        done=("reoriented", "resampled"),
        warnings=(),
    )


def ellipsoid(shape: tuple[int, ...], centre: tuple[float, ...], radius: tuple[float, ...]) -> np.ndarray:
    grid = np.ogrid[tuple(slice(0, s) for s in shape)]
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radius, strict=True)) <= 1


def oblique() -> np.ndarray:
    c, s = np.cos(0.3), np.sin(0.3)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return compose(turn, (1.5, 1.25, 2.0), (-30.0, 12.0, 5.0))


ABSENT = {"state": State.ABSENT, "origin": "expert", "native_voxels": 0, "stored_voxels": 0}


def drafts() -> list[Draft]:
    result = []
    # alpha: both kidneys apart, liver with a tumour inside, spleen looked for and absent in one.
    for i, shape in enumerate([(40, 70, 50), (36, 60, 101), (33, 40, 45), (64, 48, 40)]):
        base = np.zeros(shape, np.uint8)
        z, y, x = shape
        base[ellipsoid(shape, (z * 0.5, y * 0.7, x * 0.25), (6, 7, 5))] = 2
        base[ellipsoid(shape, (z * 0.5, y * 0.7, x * 0.75), (6, 7, 5))] = 3
        base[ellipsoid(shape, (z * 0.5, y * 0.3, x * 0.5), (9, 8, 12))] = 5
        base[ellipsoid(shape, (z * 0.5, y * 0.3, x * 0.5), (3, 3, 3))] = 6
        states = {"spleen": ABSENT, "kidney": {"state": State.PRESENT}}
        result.append(
            Draft(
                f"alpha-{i:02d}",
                "alpha",
                "train" if i < 3 else "val",
                shape,
                i,
                affine=oblique() if i == 1 else None,
                layers={"base": base},
                states=states,
            )
        )
    # beta: "kidney" painted, sides merged; a tumour in it; nobody looked at the liver; an ignored value.
    for i, shape in enumerate([(30, 44, 52), (41, 42, 43), (20, 90, 34)]):
        base = np.zeros(shape, np.uint8)
        z, y, x = shape
        base[ellipsoid(shape, (z * 0.5, y * 0.7, x * 0.25), (6, 7, 5))] = 1
        base[ellipsoid(shape, (z * 0.5, y * 0.7, x * 0.75), (6, 7, 5))] = 1
        base[ellipsoid(shape, (z * 0.5, y * 0.7, x * 0.75), (3, 3, 2))] = 4
        base[:2, :2, :2] = IGNORE["uint8"]
        merged = {"state": State.MERGED, "merged_into": "kidney", "origin": "expert"}
        result.append(
            Draft(
                f"beta-{i:02d}",
                "beta",
                "train" if i < 2 else "val",
                shape,
                10 + i,
                layers={"base": base},
                states={"kidney_left": merged, "kidney_right": merged},
            )
        )
    # gamma: MR; the liver looked for in some slices only; a model's tumour in a layer of its own, 16 bits.
    for i, shape in enumerate([(35, 37, 39), (24, 66, 40)]):
        base = np.zeros(shape, np.uint8)
        z, y, x = shape
        base[ellipsoid(shape, (z * 0.5, y * 0.3, x * 0.5), (5, 8, 9))] = 5
        pseudo = np.zeros(shape, np.uint16)
        pseudo[ellipsoid(shape, (z * 0.5, y * 0.3 + 7, x * 0.5), (3, 4, 3))] = 6
        result.append(
            Draft(
                f"gamma-{i:02d}",
                "gamma",
                "train",
                shape,
                20 + i,
                modality="MR",
                layers={"base": base, "pseudo": pseudo},
                states={
                    "liver": {"state": State.PARTIAL, "extent": (4, 0, 0, z - 4, y, x)},
                    "spleen": ABSENT,
                },
            )
        )
    # delta: images only.
    result.append(Draft("delta-00", "delta", "train", (22, 28, 31), 30))
    return result


@dataclass
class Written:
    """A corpus on disk, and what was put in it."""

    root: Path
    manifest: Manifest
    samples: dict[str, Recorded]

    def open(self, **kw) -> mdfp.Corpus:
        return mdfp.open(str(self.root), **kw)


def write_corpus(root: Path, todo: list[Draft], per_shard: int = 2, number: int = 1) -> Written:
    codec = VolumeCodec()
    written: dict[str, Recorded] = {}
    shards: list[ShardEntry] = []
    rows: list[Sample] = []
    groups: dict[tuple[str, str], list[Draft]] = {}
    for draft in todo:
        groups.setdefault((draft.split, draft.source), []).append(draft)
    for (split, source), members in sorted(groups.items()):
        for n, start in enumerate(range(0, len(members), per_shard)):
            buffer = io.BytesIO()
            tar = TarWriter(buffer)
            made: list[Sample] = []
            for position, draft in enumerate(members[start : start + per_shard]):
                image = volume(draft)
                sample = sample_of(draft, image)
                found: list[Member] = []
                name = sample.images[0].name
                at = tar.add(f"{draft.key}.image.{name}.b2nd", codec.encode(image))
                found.append(Member(at.name, "image", name, at.offset, at.bytes))
                for layer, mask in draft.layers.items():
                    at = tar.add(f"{draft.key}.label.{layer}.b2nd", codec.encode(mask))
                    found.append(Member(at.name, "label", layer, at.offset, at.bytes))
                snapshot = Snapshot(
                    key=sample.key,
                    source=sample.source,
                    patient=sample.patient,
                    license=sample.license,
                    images=sample.images,
                    labels=sample.labels,
                    structures=sample.structures,
                )
                at = tar.add(f"{draft.key}.json", canonical.dumps(snapshot))
                found.append(Member(at.name, "json", "", at.offset, at.bytes))
                made.append(replace(sample, members=tuple(found), position=position, generation=number))
                written[draft.key] = Recorded(made[-1], image, draft.layers)
            sha256, size = tar.finish()
            path = f"shards/{split}/{source}-{n:04d}-{sha256[:16]}.tar"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(buffer.getvalue())
            shards.append(ShardEntry(path, size, sha256, len(made), split, source, number))
            for sample in made:
                rows.append(replace(sample, shard=path))
                written[sample.key].record = rows[-1]
    index = f"index/{number:06d}.parquet"
    (root / "index").mkdir(exist_ok=True)
    pq.write_table(arrow.to_table(Sample, rows), root / index)
    digest = index_file.file_digest(rows, "shards")
    manifest = Manifest(
        format=FORMAT,
        schema_version=SCHEMA_VERSION,
        number=number,
        parent=number - 1 or None,
        corpus="golden",
        plan_id="0" * 64,
        pixel_version=1,
        environment="0" * 64,
        patient_key="0" * 16,
        recipe="{}",
        label_space=("liver", "kidney_left", "kidney_right"),
        palette=entries(),
        relations=relations(),
        shards=tuple(shards),
        indexes=(IndexEntry(index, len(rows), digest, "shards"),),
        splits=tuple(
            SplitTotal(
                split,
                sum(s.samples for s in shards if s.split == split),
                sum(s.samples for s in shards if s.split == split),
                sum(s.bytes for s in shards if s.split == split),
                tuple(s.path for s in shards if s.split == split),
            )
            for split in sorted({s.split for s in shards})
        ),
        holes=(HoleCount("beta", "label_grid", 1),),
        terms=tuple(
            SourceTerms(s, f"Data set {s}", "CC-BY-4.0", None, (f"The {s} authors, 2024.",))
            for s in sorted({d.source for d in todo})
        ),
    )
    write_manifest(root, manifest)
    return Written(root, manifest, written)


def write_manifest(root: Path, manifest: Manifest) -> None:
    (root / "manifests").mkdir(exist_ok=True)
    (root / manifest.path()).write_bytes(canonical.pretty(manifest))
    (root / "LATEST").write_text(f"{manifest.number}\n")


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Written:
    """The golden corpus; tests do not change it."""
    return write_corpus(tmp_path_factory.mktemp("corpus"), drafts())


@pytest.fixture(scope="session")
def corpus(written) -> mdfp.Corpus:
    return written.open()


@pytest.fixture
def own(tmp_path) -> Written:
    """A copy of the golden corpus for a test that damages it."""
    root = tmp_path / "corpus"
    root.mkdir()
    return write_corpus(root, drafts())


@pytest.fixture(scope="session")
def golden():
    """The pieces above, for tests that write corpora of their own."""
    from types import SimpleNamespace

    return SimpleNamespace(
        Draft=Draft,
        write_corpus=write_corpus,
        write_manifest=write_manifest,
        drafts=drafts,
        entries=entries,
        relations=relations,
        sample_of=sample_of,
        volume=volume,
        PALETTE=PALETTE,
        ABSENT=ABSENT,
        oblique=oblique,
        structure_states=structure_states,
    )
