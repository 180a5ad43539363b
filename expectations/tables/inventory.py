"""Tables of the inventory: cases, their arrays, and how each source fared."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import pyarrow as pa

from expectations.tables.build import table
from schemas.case import ArrayHeader, Case, ObjectRecord, Reject


@dataclass(frozen=True)
class CaseRow:
    """One case."""

    id: Annotated[str, "case id"]
    source: Annotated[str, "id of the source"]
    patient: Annotated[str | None, "pseudonym of the patient; null when empty"]
    license: Annotated[str | None, "terms of the source; null when it states none"]
    split: Annotated[str | None, "split that the source itself assigns"]
    sex: Annotated[str | None, "DICOM PatientSex"]
    age_years: Annotated[float | None, "age at the study, capped at 90"]
    days_from_first: Annotated[int | None, "days since the patient's first study"]
    modalities: Annotated[str, "modalities of its images, sorted, joined by +"]
    images: Annotated[int, "number of images"]
    labels: Annotated[int, "number of labels, annotations and texts"]
    repeated_arrays: Annotated[int, "names that more than one of its images, or of its labels, bear"]
    findings: Annotated[int, "things noticed while its headers were read"]
    rejects: Annotated[int, "rejects that name it although it is there"]
    estimated_seconds: Annotated[float, "CPU seconds the build will spend on it"]
    estimated_bytes: Annotated[int, "bytes it will take in a shard"]


@dataclass(frozen=True)
class ArrayRow:
    """One image or label of a case, as its header says."""

    id: Annotated[str, "case id/role:name"]
    case_id: Annotated[str, "the case"]
    source: Annotated[str, "id of the source"]
    role: Annotated[str, "image or label"]
    name: Annotated[str, "name within the case"]
    format: Annotated[str, "dicom, nifti, itk, seg or rtstruct"]
    modality: Annotated[str | None, "DICOM Modality code; null for a label"]
    axes: Annotated[str, "axes of the array, slowest first"]
    shape_min: Annotated[int, "voxels along its shortest axis; 0 when it has no axes"]
    shape_max: Annotated[int, "voxels along its longest axis"]
    spacing_min_mm: Annotated[float | None, "smallest spacing; null where the file has none"]
    spacing_max_mm: Annotated[float | None, "largest spacing"]
    anisotropy: Annotated[float | None, "largest spacing over smallest"]
    obliquity_deg: Annotated[float | None, "largest angle between an index axis and its world axis"]
    placed: Annotated[bool, "whether a volume (axes zyx) has spacing and affine; true for everything else"]
    dtype: Annotated[str, "number type on disk"]
    verdict: Annotated[str, "regular, or what the series was found to be"]
    bytes: Annotated[int, "compressed bytes on the store"]
    objects: Annotated[int, "objects that serve it"]
    empty_objects: Annotated[int, "of these, without a byte"]
    repeated_objects: Annotated[int, "objects that serve it more than once"]
    image_known: Annotated[bool | None, "for a label: whether its image is in the case"]


@dataclass(frozen=True)
class SourceRow:
    """One source."""

    id: Annotated[str, "id of the source"]
    cases: Annotated[int, "cases found"]
    patients: Annotated[int, "different patients among them"]
    rejects: Annotated[int, "cases and objects left out"]
    reject_fraction: Annotated[float, "rejects over cases and rejects"]
    licenses: Annotated[int, "different terms among its cases"]


TABLES: dict[str, type] = {"cases": CaseRow, "arrays": ArrayRow, "sources": SourceRow}


@dataclass
class _Served:
    """Objects of one array."""

    objects: int = 0
    empty: int = 0
    paths: Counter[str] = field(default_factory=Counter)


def tables(cases: Sequence[Case], objects: Iterable[ObjectRecord], rejects: Sequence[Reject]) -> dict[str, pa.Table]:
    """The inventory's tables, by name. `objects` is walked once and may be long."""
    served: dict[tuple[str, str], _Served] = defaultdict(_Served)
    for o in objects:
        array = served[o.case_id, o.array]
        array.objects += 1
        array.empty += o.bytes <= 0
        array.paths[o.path] += 1
    rejected = Counter(r.case_id for r in rejects if r.case_id is not None)
    return {
        "cases": table(CaseRow, (_case_row(c, rejected[c.case_id]) for c in cases)),
        "arrays": table(ArrayRow, (row for c in cases for row in _array_rows(c, served))),
        "sources": table(SourceRow, _source_rows(cases, rejects)),
    }


def _case_row(case: Case, rejects: int) -> CaseRow:
    names = Counter(
        [*(f"image:{i.header.name}" for i in case.images), *(f"label:{x.header.name}" for x in case.labels)]
    )
    return CaseRow(
        id=case.case_id,
        source=case.source,
        patient=case.patient or None,
        license=case.license,
        split=case.split,
        sex=case.sex,
        age_years=case.age_years,
        days_from_first=case.days_from_first,
        modalities="+".join(sorted({i.modality for i in case.images})),
        images=len(case.images),
        labels=len(case.labels) + len(case.annotations) + len(case.texts),
        repeated_arrays=sum(n > 1 for n in names.values()),
        findings=len(case.findings),
        rejects=rejects,
        estimated_seconds=case.estimated_seconds,
        estimated_bytes=case.estimated_bytes,
    )


def _array_rows(case: Case, served: dict[tuple[str, str], _Served]) -> Iterator[ArrayRow]:
    images = {i.header.name for i in case.images}
    for image in case.images:
        yield _array_row(case, "image", image.header, served, modality=image.modality, image_known=None)
    for label in case.labels:
        yield _array_row(case, "label", label.header, served, modality=None, image_known=label.image in images)


def _array_row(
    case: Case,
    role: str,
    header: ArrayHeader,
    served: dict[tuple[str, str], _Served],
    *,
    modality: str | None,
    image_known: bool | None,
) -> ArrayRow:
    spacing = header.spacing_xyz_mm
    objects = served.get((case.case_id, f"{role}:{header.name}"), _Served())
    return ArrayRow(
        id=f"{case.case_id}/{role}:{header.name}",
        case_id=case.case_id,
        source=case.source,
        role=role,
        name=header.name,
        format=header.format,
        modality=modality,
        axes=header.axes,
        shape_min=min(header.shape, default=0),
        shape_max=max(header.shape, default=0),
        spacing_min_mm=min(spacing) if spacing else None,
        spacing_max_mm=max(spacing) if spacing else None,
        anisotropy=max(spacing) / min(spacing) if spacing and min(spacing) > 0 else None,
        obliquity_deg=header.obliquity_deg,
        placed=header.axes not in ("zyx", "tzyx") or (bool(spacing) and header.affine_ras is not None),
        dtype=header.dtype,
        verdict=header.verdict,
        bytes=header.bytes,
        objects=objects.objects,
        empty_objects=objects.empty,
        repeated_objects=sum(n > 1 for n in objects.paths.values()),
        image_known=image_known,
    )


def _source_rows(cases: Sequence[Case], rejects: Sequence[Reject]) -> Iterator[SourceRow]:
    found: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        found[case.source].append(case)
    left_out = Counter(r.source for r in rejects)
    for source in sorted({*found, *left_out}):
        of_source = found.get(source, [])
        yield SourceRow(
            id=source,
            cases=len(of_source),
            patients=len({c.patient for c in of_source}),
            rejects=left_out[source],
            reject_fraction=left_out[source] / (len(of_source) + left_out[source]),
            licenses=len({c.license for c in of_source}),
        )
