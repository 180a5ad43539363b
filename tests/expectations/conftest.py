"""Made-up but lifelike records: three sources, CT and MR, organs of both sides, a lesion, and what goes wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

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
    Finding,
    Member,
    Normalisation,
    Sample,
    SampleImage,
    SampleLabel,
)
from schemas.case import ArrayHeader, Case, CaseImage, CaseLabel, ObjectRecord, Reject
from schemas.plan import Assignment, ShardPlan
from schemas.reasons import Reason
from tests.expectations.made_up import (
    ORGANS,
    SHAPE_ZYX,
    SPACING_XYZ,
    affine,
    digest,
    grid,
    statistics,
    structure_states,
)

Make = Callable[..., Any]


@pytest.fixture(scope="session")
def make_sample() -> Make:
    """A sample that breaks no rule; keywords replace fields."""

    def make(
        number: int = 0,
        *,
        source: str = "msd-task09-spleen",
        modality: str = "CT",
        split: str = "train",
        looked_for: Sequence[str] = tuple(ORGANS),
        lesion: bool = True,
        **fields: Any,
    ) -> Sample:
        key = fields.get("key", f"{source}-{number:03d}")
        rng = random.Random(f"{source}{number}")
        name = modality.lower()
        thick = rng.choice([1.0, 2.5, 5.0])
        native_spacing = (0.8, 0.8, thick) if modality == "CT" else (1.1, 1.1, 3 * thick)
        native_shape = tuple(
            round(n * s / t) for n, s, t in zip(SHAPE_ZYX, SPACING_XYZ, native_spacing[::-1], strict=True)
        )
        stats = statistics(modality, rng)
        image = SampleImage(
            name=name,
            modality=modality,
            axes="zyx",
            dtype="int16",
            unit="HU" if modality == "CT" else None,
            scale=1.0,
            offset=0.0,
            native=grid(native_shape, native_spacing, "LPS"),
            stored=grid(SHAPE_ZYX, SPACING_XYZ),
            native_dtype="int16",
            obliquity_deg=0.0,
            acquisition=Acquisition(),
            acquisition_axis="z",
            native_intensity=stats,
            stored_intensity=stats,
            normalisation=Normalisation("window_hu", -1000.0, 1000.0)
            if modality == "CT"
            else Normalisation("percentiles", 0.0, 1250.0),
            padding_voxels=0,
            nonfinite_voxels=0,
            body_box=None,
            content_hash=digest(key, 32),
        )
        label = SampleLabel("base", name, "uint8", "expert", image.native, digest(key + "label", 32), 0.01)
        sizes = [
            (f"{key}.image.{name}.b2nd", "image", name, 4_200_000),
            (f"{key}.label.base.b2nd", "label", "base", 61_000),
        ]
        sizes.append((f"{key}.json", "json", "", 9_000))
        members, offset = [], 512
        for member, kind, array, size in sizes:
            members.append(Member(member, kind, array, offset, size))
            offset += size + 1024
        sample = Sample(
            key=key,
            case_id=key,
            source=source,
            split=split,
            fold=None,
            group=digest(f"patient{source}{number}", 16),
            generation=1,
            shard=f"shards/{split}/{source}-000-{digest(split, 12)}.tar",
            position=number,
            patient=digest(f"patient{source}{number}", 16),
            study=None,
            series=None,
            timepoint=None,
            days_from_first=None,
            modalities=(modality,),
            sex=None,
            age_years=None,
            site=None,
            license="CC-BY-SA-4.0",
            images=(image,),
            labels=(label,),
            structures=structure_states(rng, looked_for, lesion=lesion),
            annotations=(),
            texts=(),
            members=tuple(members),
            findings=(),
            done=("reoriented LPS to RAS", "resampled to 1.5 x 1.5 x 1.5 mm"),
            warnings=(),
        )
        return replace(sample, **{k: v for k, v in fields.items() if k != "key"})

    return make


@pytest.fixture(scope="session")
def with_structure() -> Make:
    """(sample, structure, changes) -> the sample with that structure's state changed."""

    def change(sample: Sample, structure: str, **fields: Any) -> Sample:
        assert structure in {s.structure for s in sample.structures}
        return replace(
            sample,
            structures=tuple(replace(s, **fields) if s.structure == structure else s for s in sample.structures),
        )

    return change


@pytest.fixture(scope="session")
def with_image() -> Make:
    """(sample, changes) -> the sample with its first image changed; stored_* fields of intensity by `intensity={}`."""

    def change(sample: Sample, intensity: dict[str, Any] | None = None, **fields: Any) -> Sample:
        first, *rest = sample.images
        if intensity:
            fields["stored_intensity"] = replace(first.stored_intensity, **intensity)
        return replace(sample, images=(replace(first, **fields), *rest))

    return change


@pytest.fixture(scope="session")
def palette() -> tuple[PaletteEntry, ...]:
    return tuple(
        PaletteEntry(
            value=value,
            structure=name,
            code=None,
            meaning=None,
            side=name.rsplit("_")[-1] if name.startswith("kidney") else None,
            kind="lesion" if name == "liver_tumour" else "anatomy",
            is_a=("kidney",) if name.startswith("kidney") else (),
            part_of=(),
            located_in=("liver",) if name == "liver_tumour" else (),
        )
        for value, name in enumerate(ORGANS, start=1)
    )


@pytest.fixture(scope="session")
def samples(make_sample: Make, with_structure: Make) -> tuple[Sample, ...]:
    """40 samples of three sources; gates hold, some warnings do not."""
    result = []
    for n in range(18):
        result.append(make_sample(n, looked_for=("spleen",), split="val" if n % 9 == 8 else "train"))
    for n in range(14):
        result.append(
            make_sample(
                n,
                source="totalsegmentator",
                split="test" if n % 7 == 6 else "train",
                lesion=n % 3 == 0,
                license="CC-BY-4.0",
            )
        )
    for n in range(8):
        looked_for = ("liver", "kidney_left", "kidney_right")
        result.append(make_sample(n, source="my-mr", modality="MR", looked_for=looked_for, license="own-data"))
    result[20] = with_structure(result[20], "liver", stored_mm3=0.7 * result[20].structures[1].native_mm3)
    result[21] = with_structure(
        result[21], "liver_tumour", vanished=True, stored_voxels=0, stored_mm3=0.0, box=None, blocks=()
    )
    left, right = (
        next(s for s in result[34].structures if s.structure == f"kidney_{side}") for side in ("left", "right")
    )
    result[34] = with_structure(with_structure(result[34], "kidney_left", box=right.box), "kidney_right", box=left.box)
    result[22] = replace(result[22], warnings=("the label's affine was off by 0.08 voxel; the image's was taken",))
    result[5] = replace(result[5], findings=(Finding("qform_differs", "image:ct", "qform and sform differ by 0.4 mm"),))
    return tuple(result)


@pytest.fixture(scope="session")
def holes() -> tuple[Reject, ...]:
    def reject(
        stage: str, source: str, case: str | None, reason: Reason, detail: str, path: str | None = None
    ) -> Reject:
        return Reject(stage, source, case, reason, detail, path)

    return (
        reject(
            "build",
            "msd-task09-spleen",
            "msd-task09-spleen-018",
            Reason.CORRUPT_GZIP,
            "trailer says 4718592 bytes, found 4718080",
            "imagesTr/spleen_18.nii.gz",
        ),
        reject(
            "build",
            "totalsegmentator",
            "totalsegmentator-014",
            Reason.UNMAPPED_LABEL,
            "value 99 in 312 voxels; the table has 0 to 4",
            "s0014/segmentations.nii.gz",
        ),
        reject("build", "my-mr", "my-mr-008", Reason.DUPLICATE, "same pixels as my-mr-001"),
    )


@pytest.fixture(scope="session")
def rejects(holes: tuple[Reject, ...]) -> tuple[Reject, ...]:
    return (
        *holes,
        Reject("inventory", "my-mr", None, Reason.BAD_SPACING, "spacing z is 0", "p09/t1.nii.gz"),
        Reject("inventory", "my-mr", None, Reason.MISSING_SLICES, "gap of 9.0 mm after slice 12; step 3.0 mm", "p10"),
        Reject(
            "inventory",
            "totalsegmentator",
            "totalsegmentator-015",
            Reason.LABEL_GRID,
            "label 240 x 200 x 180, image 240 x 200 x 179",
            None,
        ),
        Reject("plan", "totalsegmentator", "totalsegmentator-016", Reason.PATIENT_CONFLICT, "published in train", None),
    )


@pytest.fixture(scope="session")
def manifest(samples: tuple[Sample, ...], palette: tuple[PaletteEntry, ...]) -> Manifest:
    shards = []
    for path in sorted({s.shard for s in samples}):
        those = [s for s in samples if s.shard == path]
        size = sum(m.bytes for s in those for m in s.members)
        shards.append(ShardEntry(path, size, digest(path, 64), len(those), those[0].split, those[0].source, 1))
    splits = [
        SplitTotal(
            split,
            sum(s.split == split for s in samples),
            len({s.patient for s in samples if s.split == split}),
            sum(s.bytes for s in shards if s.split == split),
            tuple(s.path for s in shards if s.split == split),
        )
        for split in ("train", "val", "test")
    ]
    terms = (
        SourceTerms(
            "msd-task09-spleen",
            "Medical Segmentation Decathlon, Task 09 Spleen",
            "CC-BY-SA-4.0",
            "http://medicaldecathlon.com",
            ("Antonelli M. et al. The Medical Segmentation Decathlon. Nature Communications 13, 4128 (2022).",),
        ),
        SourceTerms("my-mr", "Our abdominal MR", "own-data", None, ()),
        SourceTerms(
            "totalsegmentator",
            "TotalSegmentator CT v2",
            "CC-BY-4.0",
            "https://doi.org/10.5281/zenodo.10047292",
            ("Wasserthal J. et al. TotalSegmentator. Radiology: Artificial Intelligence 5 (2023).",),
        ),
    )
    return Manifest(
        format=FORMAT,
        schema_version=SCHEMA_VERSION,
        number=1,
        parent=None,
        corpus="abdomen-ct-mr",
        plan_id=digest("plan", 64),
        pixel_version=1,
        environment=digest("environment", 64),
        patient_key=digest("key", 16),
        recipe="{}",
        label_space=("spleen", "liver"),
        palette=palette,
        relations=(Relation("kidney_left", "is_a", "kidney"),),
        shards=tuple(shards),
        indexes=(IndexEntry("index/000001.parquet", len(samples), digest("rows", 64)),),
        splits=tuple(splits),
        holes=(
            HoleCount("msd-task09-spleen", "corrupt_gzip", 1),
            HoleCount("my-mr", "duplicate", 1),
            HoleCount("totalsegmentator", "unmapped_label", 1),
        ),
        terms=terms,
    )


@pytest.fixture(scope="session")
def make_case() -> Make:
    """A case that breaks no rule; keywords replace fields."""

    def make(
        number: int = 0, *, source: str = "msd-task09-spleen", header: dict[str, Any] | None = None, **fields: Any
    ) -> Case:
        spacing, shape = (0.8, 0.7, 2.5), (90, 512, 480)
        array = ArrayHeader(
            name="ct",
            format="nifti",
            axes="zyx",
            shape=shape,
            spacing_xyz_mm=spacing,
            orientation="LAS",
            affine_ras=affine(spacing, shape, (-1, 1, 1)),
            obliquity_deg=0.0,
            dtype="int16",
            scale=1.0,
            offset=0.0,
            frame_of_reference=None,
            verdict="regular",
            bytes=20_000_000,
        )
        image = replace(array, **(header or {}))
        case = Case(
            case_id=f"{source}-{number:03d}",
            source=source,
            patient=digest(f"patient{number}", 16),
            study=None,
            series=None,
            timepoint=None,
            days_from_first=None,
            sex="F",
            age_years=61.0,
            site=None,
            split=None,
            license="CC-BY-SA-4.0",
            images=(CaseImage(image, "CT", Acquisition()),),
            labels=(CaseLabel(replace(array, name="organs"), image.name, "labels", "expert"),),
            annotations=(),
            texts=(),
            findings=(),
            estimated_seconds=0.9,
            estimated_bytes=12_000_000,
        )
        return replace(case, **fields)

    return make


@pytest.fixture(scope="session")
def objects_of() -> Make:
    """Objects that serve cases, one for each array."""

    def make(*cases: Case) -> list[ObjectRecord]:
        return [
            ObjectRecord(c.source, f"{c.case_id}/{array}", 1000, "mtime:1", c.case_id, array, 0, None)
            for c in cases
            for array in [*(f"image:{i.header.name}" for i in c.images), *(f"label:{x.header.name}" for x in c.labels)]
        ]

    return make


@pytest.fixture(scope="session")
def plan_of() -> Make:
    """A sound plan of cases: every case in one shard per split, the splits given per case (default train)."""

    def make(cases: Sequence[Case], splits: Sequence[str] | None = None) -> tuple[list[Assignment], list[ShardPlan]]:
        splits = splits or ["train"] * len(cases)
        members: dict[str, list[Case]] = {}
        assignments = []
        for case, split in zip(cases, splits, strict=True):
            shard = f"{split}/{case.source}-000"
            position = len(members.setdefault(shard, []))
            members[shard].append(case)
            assignments.append(
                Assignment(case.case_id, case.source, split, None, case.patient, shard, position, None, "")
            )
        shards = [
            ShardPlan(
                shard,
                shard.split("/")[0],
                those[0].source,
                1,
                tuple(c.case_id for c in those),
                (),
                12_000_000 * len(those),
                0.9 * len(those),
                digest(shard, 64),
            )
            for shard, those in members.items()
        ]
        return assignments, shards

    return make


@pytest.fixture(scope="session")
def outcome_of() -> Make:
    """(result, expectation id) -> its outcome."""

    def find(result: Any, expectation: str) -> Any:
        return next(o for o in result.outcomes if o.expectation == expectation)

    return find


@pytest.fixture(scope="session")
def failed_of() -> Make:
    """Ids of the expectations of a result that do not hold, by severity."""

    def find(result: Any, severity: str) -> set[str]:
        return {o.expectation for o in result.outcomes if not o.success and o.severity == severity}

    return find
