"""What the inventory writes: objects, cases and rejects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mdfp.sample import Acquisition, Finding
from schemas.reasons import Reason


@dataclass(frozen=True)
class ObjectRecord:
    """One object (file) in a source's bucket, and what it serves."""

    source: Annotated[str, "id of the source"]
    path: Annotated[str, "below the source's root, with forward slashes"]
    bytes: Annotated[int, "size"]
    version: Annotated[str, "ETag or generation of the store, or mtime:<ns> of a local file"]
    case_id: Annotated[str, "case it serves"]
    array: Annotated[str, "name of the array of the case, for example image:ct or label:organs"]
    ordinal: Annotated[int, "its place in the array: slice order for DICOM, 0 for a single file"]
    structure: Annotated[str | None, "structure, where one file holds one structure's mask"]


@dataclass(frozen=True)
class ArrayHeader:
    """What a header says of one image or label, before its pixels are read."""

    name: Annotated[str, "name within the case: ct, organs, …"]
    format: Annotated[
        str,
        "dicom, nifti, itk (MHA, MHD, NRRD), seg, rtstruct, lidc, png, jpeg, tiff, bmp or video; mask, of a label in a "
        "picture file, mask-slices, of one in a picture for each slice",
    ]
    axes: Annotated[str, "axes of the array in memory, slowest first: zyx, tzyx, yx, yxc, tyx, tyxc"]
    shape: Annotated[tuple[int, ...], "voxels per axis, in the order of axes"]
    spacing_xyz_mm: Annotated[
        tuple[float, ...] | None, "mm between voxel centres along index axes x, y, z; x, y of a picture"
    ]
    orientation: Annotated[str | None, "directions the index axes x, y, z point to"]
    affine_ras: Annotated[tuple[float, ...] | None, "4x4 row by row: voxel index (x, y, z) to world mm, RAS"]
    obliquity_deg: Annotated[float | None, "largest angle between an index axis and its world axis"]
    dtype: Annotated[str, "number type on disk"]
    scale: Annotated[float, "physical = stored * scale + offset, where one pair holds for the whole array"]
    offset: Annotated[float, "physical = stored * scale + offset"]
    frame_of_reference: Annotated[str | None, "digest of the FrameOfReferenceUID; equal for arrays in one space"]
    verdict: Annotated[str, "regular, or what the series was found to be"]
    bytes: Annotated[int, "compressed bytes on the store"]
    spacing_override_xyz_mm: Annotated[
        tuple[float, ...] | None,
        "spacing by the source manifest where the file's is known to be wrong; readers apply it",
    ] = None
    component: Annotated[
        int | None,
        "which volume of a file of several (four axes, or frames at several times), or which reader of a file of marks, from "
        "0; else null",
    ] = None
    placement: Annotated[
        str | None, "qform, where the source manifest says that it and not the sform places a NIfTI's voxels; else null"
    ] = None
    unit: Annotated[
        str | None, "unit of the physical values where the reader makes it so: g/ml of SUVbw; else null"
    ] = None
    part: Annotated[int | None, "which volume of its objects it is, where they hold several (multi-frame DICOM)"] = None


@dataclass(frozen=True)
class CaseImage:
    """One image of a case."""

    header: Annotated[ArrayHeader, "what its header says"]
    modality: Annotated[str, "DICOM Modality code"]
    acquisition: Annotated[Acquisition, "how it was taken"]


@dataclass(frozen=True)
class CaseLabel:
    """One label of a case: a file of integers, or a set of files of one structure each."""

    header: Annotated[ArrayHeader, "what its header says; the first file's, for several files"]
    image: Annotated[str, "name of the image it belongs to"]
    table: Annotated[str, "name of its table in the source manifest"]
    origin: Annotated[str, "expert, model, consensus, pseudo, unknown; reader-<n>, one of several readers"]
    looked_for: Annotated[
        tuple[str, ...] | None,
        "structures that were looked for in this case, where a table of the source says; else null",
    ] = None


@dataclass(frozen=True)
class CaseAnnotation:
    """A class, box, point or measurement that came with a case, in native coordinates."""

    kind: Annotated[str, "class, box, point or measurement"]
    name: Annotated[str, "what is annotated"]
    value: Annotated[str | None, "its value as text"]
    state: Annotated[str, "present, absent, unknown, partial or uncertain"]
    level: Annotated[str, "frame, image, study or patient"]
    origin: Annotated[str, "expert, model, consensus, pseudo, unknown; reader-<n>, one of several readers"]
    image: Annotated[str | None, "the image it lies on"]
    index_xyz: Annotated[tuple[float, ...], "point or box in native voxels"]
    world_ras_mm: Annotated[tuple[float, ...], "the same in world mm, RAS"]


@dataclass(frozen=True)
class CaseText:
    """A report or caption that came with a case; the text itself stays in its object until the build."""

    name: Annotated[str, "name within the case"]
    kind: Annotated[str, "report, caption, findings or impression"]
    language: Annotated[str | None, "BCP 47 tag"]
    array: Annotated[str, "array name of its object; empty where the text came in a table's cell"]
    value: Annotated[str | None, "the text itself where it came in a table's cell; else null"] = None


@dataclass(frozen=True)
class Case:
    """One training unit as found: images, labels, annotations and texts of one patient that belong together."""

    case_id: Annotated[
        str, "unique in the corpus, [a-z0-9_-]{1,80}; it names no source file unless the source allows it"
    ]
    source: Annotated[str, "id of the source"]
    patient: Annotated[str, "HMAC of the patient namespace and id"]
    study: Annotated[str | None, "HMAC of the study"]
    series: Annotated[str | None, "HMAC of the series"]
    timepoint: Annotated[str | None, "name of the visit, where the source names it"]
    days_from_first: Annotated[int | None, "days since the patient's first study"]
    sex: Annotated[str | None, "DICOM PatientSex"]
    age_years: Annotated[float | None, "age at the study, capped at 90"]
    site: Annotated[str | None, "the institution as the source names it in its own tables"]
    split: Annotated[str | None, "the split that the source itself assigns: train, val or test"]
    license: Annotated[str | None, "SPDX id or own-data; null when the source states none"]
    images: Annotated[tuple[CaseImage, ...], "its images"]
    labels: Annotated[tuple[CaseLabel, ...], "its labels"]
    annotations: Annotated[tuple[CaseAnnotation, ...], "its annotations"]
    texts: Annotated[tuple[CaseText, ...], "its texts"]
    findings: Annotated[tuple[Finding, ...], "what was noticed while reading headers"]
    estimated_seconds: Annotated[float, "CPU seconds the build will spend on it"]
    estimated_bytes: Annotated[int, "bytes it will take in a shard"]


@dataclass(frozen=True)
class Reject:
    """A case or object left out, and why."""

    stage: Annotated[str, "inventory, plan or build"]
    source: Annotated[str, "id of the source"]
    case_id: Annotated[str | None, "the case, when there was one"]
    reason: Annotated[Reason, "code from the closed list"]
    detail: Annotated[str, "what was expected and what was found, for a person"]
    path: Annotated[str | None, "object below the source's root, where the source has public ids; else its digest"]
