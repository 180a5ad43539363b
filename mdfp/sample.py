"""One row of a corpus's index: everything known about a sample without touching its pixels.

The index is authoritative; `<key>.json` inside a shard is a snapshot of the same facts for readers without an index.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from mdfp.arrow import ON_DEMAND
from mdfp.canonical import SPARSE
from mdfp.labels import State


@dataclass(frozen=True)
class Member:
    """One member of the shard, or of a sidecar of it, that belongs to the sample."""

    name: Annotated[str, "member name in the tar: <key>.<kind>.<array>.<extension>"]
    kind: Annotated[str, "image, label, text or json"]
    array: Annotated[str, "name of the image, label layer or text; empty for json"]
    offset: Annotated[int, "first byte of the member's data in the shard"]
    bytes: Annotated[int, "length of the member's data"]
    shard: Annotated[
        str | None, "path below the corpus of the sidecar that it lies in; left out where it lies in the sample's shard"
    ] = field(default=None, metadata={SPARSE: True, ON_DEMAND: True})


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an array lie."""

    shape: Annotated[tuple[int, ...], "voxels per axis, in array order (see the array's axes; z, y, x for a volume)"]
    spacing_xyz_mm: Annotated[
        tuple[float, ...] | None, "mm between voxel centres along x, y, z; null where none is known"
    ]
    orientation: Annotated[str | None, "directions the x, y, z axes point to, for example RAS"]
    affine_ras: Annotated[tuple[float, ...] | None, "4x4 row by row: voxel index (x, y, z) to world mm, RAS"]


@dataclass(frozen=True)
class IntensityStats:
    """Numbers about the physical intensities of an image."""

    minimum: Annotated[float, "smallest value"]
    maximum: Annotated[float, "largest value"]
    mean: Annotated[float, "mean over all voxels"]
    std: Annotated[float, "standard deviation over all voxels"]
    percentiles: Annotated[tuple[float, ...], "values at 0.5, 1, 5, 25, 50, 75, 95, 99 and 99.5 percent"]
    body_mean: Annotated[
        float | None, "mean of the body: voxels above -500 HU in CT, above the mean elsewhere; null when there are none"
    ]
    body_std: Annotated[float | None, "standard deviation of the body's voxels"]


PERCENTS = (0.5, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.5)
"""The percents at which `IntensityStats.percentiles` are taken."""


@dataclass(frozen=True)
class Normalisation:
    """The corpus's default way to make an image ready for a network: clip to [lower, upper], then map to [0, 1]."""

    kind: Annotated[str, "window_hu, percentiles, voi (the file's own window), range (all its bits can hold), none"]
    lower: Annotated[float, "physical value that becomes 0"]
    upper: Annotated[float, "physical value that becomes 1"]


@dataclass(frozen=True)
class Acquisition:
    """How an image was taken: what fusion and training ask of its metadata. Null where the source does not say."""

    sequence: Annotated[
        str | None, "MR sequence or weighting: T1, T2, FLAIR, ADC, …; or the source's name of the channel"
    ] = None
    contrast_phase: Annotated[str | None, "native, arterial, portal-venous, delayed, or the source's word"] = None
    body_part: Annotated[str | None, "DICOM BodyPartExamined (0018,0015)"] = None
    laterality: Annotated[str | None, "DICOM ImageLaterality (0020,0062) or Laterality (0020,0060): L, R, B"] = None
    manufacturer: Annotated[str | None, "DICOM Manufacturer (0008,0070)"] = None
    scanner_model: Annotated[str | None, "DICOM ManufacturerModelName (0008,1090)"] = None
    field_strength_t: Annotated[float | None, "DICOM MagneticFieldStrength (0018,0087), tesla"] = None
    kvp: Annotated[float | None, "DICOM KVP (0018,0060), kilovolt"] = None
    kernel: Annotated[str | None, "DICOM ConvolutionKernel (0018,1210)"] = None
    slice_thickness_mm: Annotated[float | None, "DICOM SliceThickness (0018,0050); not the spacing"] = None


@dataclass(frozen=True)
class SampleImage:
    """One image of a sample, as stored, and what it was before."""

    name: Annotated[str, "name of the image within the sample, for example ct"]
    modality: Annotated[str, "DICOM Modality (0008,0060) code: CT, MR, PT, …"]
    axes: Annotated[str, "axes of the stored array, slowest first: zyx, tzyx, yx, yxc, tyxc"]
    dtype: Annotated[str, "number type of the stored array"]
    unit: Annotated[str | None, "unit of the physical values: HU, or null where the source states none"]
    scale: Annotated[float, "physical = stored * scale + offset"]
    offset: Annotated[float, "physical = stored * scale + offset"]
    native: Annotated[Grid, "the grid the source published"]
    stored: Annotated[Grid, "the grid in the shard"]
    native_dtype: Annotated[str, "number type on the source's disk"]
    obliquity_deg: Annotated[float | None, "largest angle between an index axis and its world axis"]
    acquisition: Annotated[Acquisition, "how it was taken"]
    acquisition_axis: Annotated[str | None, "axis of the stored array (x, y or z) along which slices were acquired"]
    native_intensity: Annotated[IntensityStats, "physical values before resampling"]
    stored_intensity: Annotated[IntensityStats, "physical values as stored"]
    normalisation: Annotated[Normalisation, "default normalisation for readers"]
    padding_voxels: Annotated[int, "native voxels that were padding and were set to the floor"]
    nonfinite_voxels: Annotated[int, "native voxels that were not finite and were replaced"]
    body_box: Annotated[tuple[int, ...] | None, "z0, y0, x0, z1, y1, x1 of the body in stored voxels, ends exclusive"]
    content_hash: Annotated[str, "xxh3-128 of the canonical native voxels, header-free: equal for equal pixels"]
    times_ms: Annotated[
        tuple[float, ...] | None,
        "ms of each time point after the first, where the source says and they follow each other at no one step; else null: "
        "one step is the annotation frame_time",
    ] = field(default=None, metadata={SPARSE: True})


@dataclass(frozen=True)
class SampleLabel:
    """One stored mask: a layer of integers of the corpus's palette."""

    layer: Annotated[str, "name of the layer; the first is base"]
    image: Annotated[str, "name of the image whose grid it shares"]
    dtype: Annotated[str, "uint8 or uint16"]
    origin: Annotated[
        str,
        "who made it: expert, model, consensus, pseudo, unknown; reader-<n>, one of several readers; consensus:<rule>, "
        "what the readers drew, fused by that rule",
    ]
    native: Annotated[Grid, "the grid the source published"]
    content_hash: Annotated[str, "xxh3-128 of the canonical native labels after remapping"]
    grid_offset_voxels: Annotated[
        float, "largest distance of a corner from the image's, in voxels, before it was adopted"
    ]


@dataclass(frozen=True)
class StructureState:
    """What is known about one structure of the palette in one sample."""

    structure: Annotated[str, "ontology id"]
    value: Annotated[int, "its integer in the palette"]
    state: Annotated[State, "present, absent, unknown, merged or partial"]
    layer: Annotated[str | None, "layer that holds its voxels; null when it has none"]
    origin: Annotated[str | None, "who looked: see the origin of a label; null when nobody did"]
    merged_into: Annotated[str | None, "structure that was drawn instead, for state merged"]
    extent: Annotated[
        tuple[int, ...] | None, "z0, y0, x0, z1, y1, x1 of the stored voxels that were looked at, for state partial"
    ]
    native_voxels: Annotated[
        int | None, "voxels on the native grid, descendants and contained lesions not counted; null when unknown"
    ]
    stored_voxels: Annotated[int | None, "voxels as stored, counted the same way"]
    native_mm3: Annotated[float | None, "native voxels times the native voxel volume; null for pictures"]
    stored_mm3: Annotated[float | None, "stored voxels times the stored voxel volume; null for pictures"]
    box: Annotated[
        tuple[int, ...] | None,
        "z0, y0, x0, z1, y1, x1 (y0, x0, y1, x1 of a picture) of the stored voxels, ends exclusive",
    ]
    blocks: Annotated[
        tuple[int, ...], "blocks (edge BLOCK_VOXELS of the codec) holding it, as index in C order of the block grid"
    ]
    vanished: Annotated[bool, "present on the native grid, lost by resampling: not the same as absent"]
    outside_fraction: Annotated[
        float | None, "for a structure that lies in another: the fraction of its native voxels outside it"
    ]


@dataclass(frozen=True)
class Reading:
    """What one of several readers, or the rule that fuses them, says of the structures they drew.

    Readers are numbered by their place in the case's files. The same number in another case may be another person.
    """

    reader: Annotated[str, "reader-<n>, or consensus:<rule>"]
    image: Annotated[str, "name of the image that was read"]
    table: Annotated[str, "table of the source under which they drew; readers of one table and image belong together"]
    layers: Annotated[tuple[str, ...], "its label layers"]
    structures: Annotated[
        tuple[StructureState, ...], "one entry for each structure that any reader of the table speaks of"
    ]


@dataclass(frozen=True)
class SampleAnnotation:
    """A class, box, point or measurement, moved along with its array."""

    kind: Annotated[str, "class, box, point or measurement"]
    name: Annotated[str, "what is annotated: a finding, a structure, a quantity"]
    value: Annotated[str | None, "its value as text: a grade, a number with its unit"]
    state: Annotated[State, "present, absent, unknown, partial or uncertain"]
    level: Annotated[str, "frame, image, study or patient"]
    origin: Annotated[str, "expert, model, consensus, pseudo, unknown; reader-<n>, one of several readers"]
    image: Annotated[str | None, "the image it lies on; null for study and patient"]
    index_xyz: Annotated[tuple[float, ...], "point (3 numbers) or box (6: lower and upper corner) in stored voxels"]
    world_ras_mm: Annotated[tuple[float, ...], "the same in world mm, RAS"]


@dataclass(frozen=True)
class SampleText:
    """A report or caption."""

    name: Annotated[str, "name within the sample, for example report"]
    kind: Annotated[str, "report, caption, findings or impression"]
    language: Annotated[str | None, "BCP 47 tag"]


@dataclass(frozen=True)
class Finding:
    """Something noticed about a case while reading it."""

    code: Annotated[str, "what, from the closed list of findings"]
    where: Annotated[str, "the array it concerns"]
    detail: Annotated[str, "the numbers, for a person"]


@dataclass(frozen=True)
class Sample:
    """A case after normalisation, as it stands in a shard."""

    key: Annotated[str, "name of the sample in its shard, [a-z0-9_-]{1,80}"]
    case_id: Annotated[str, "the case it was made from"]
    source: Annotated[str, "id of the source"]
    split: Annotated[str, "train, val or test"]
    fold: Annotated[int | None, "cross-validation fold"]
    group: Annotated[str, "patients and cases that must not be split apart share it"]
    generation: Annotated[int, "number of the manifest that first named it"]
    shard: Annotated[str, "path of the shard below the corpus"]
    position: Annotated[int, "its place in the shard, holes counted"]
    patient: Annotated[str, "pseudonym: HMAC of namespace and patient id"]
    study: Annotated[str | None, "pseudonym of the study"]
    series: Annotated[str | None, "pseudonym of the series"]
    timepoint: Annotated[str | None, "name of the visit, where the source names it"]
    days_from_first: Annotated[int | None, "days since the patient's first study; dates are never kept"]
    modalities: Annotated[tuple[str, ...], "modalities of its images, sorted"]
    sex: Annotated[str | None, "DICOM PatientSex (0010,0040): F, M, O"]
    age_years: Annotated[float | None, "age at the study, capped at 90"]
    site: Annotated[str | None, "the institution as the source names it in its own tables"]
    license: Annotated[str, "SPDX id, or own-data"]
    images: Annotated[tuple[SampleImage, ...], "its images"]
    labels: Annotated[tuple[SampleLabel, ...], "its stored masks, in the order in which later ones cover earlier ones"]
    structures: Annotated[tuple[StructureState, ...], "one entry for each structure of the palette of its generation"]
    annotations: Annotated[tuple[SampleAnnotation, ...], "classes, boxes, points, measurements"]
    texts: Annotated[tuple[SampleText, ...], "its texts"]
    members: Annotated[tuple[Member, ...], "where each of its members lies"]
    findings: Annotated[tuple[Finding, ...], "what was noticed about the case"]
    done: Annotated[tuple[str, ...], "what was done to it, step by step"]
    warnings: Annotated[tuple[str, ...], "what a user may want to look at"]
    readings: Annotated[tuple[Reading, ...], "what each of several readers says; empty where one label is all"] = field(
        default=(), metadata={SPARSE: True}
    )
    others: Annotated[
        tuple[StructureState, ...], "what further labels say of structures; `structures` has the word that is taken"
    ] = field(default=(), metadata={SPARSE: True})

    def tar_of(self, member: Member) -> str:
        """Path below the corpus of the tar that a member lies in: the sample's shard, or a sidecar."""
        return member.shard or self.shard

    def image(self, name: str | None = None) -> SampleImage:
        """The image of that name, or the only one.

        Raises:
            KeyError: there is none of that name, or no name was given and there are several.
        """
        found = [i for i in self.images if name in (None, i.name)]
        if len(found) != 1:
            raise KeyError(f"{self.key} has images {[i.name for i in self.images]}, asked for {name!r}")
        return found[0]

    def state(self, structure: str) -> State:
        """State of a structure; `unknown` for one that the palette does not have."""
        for s in self.structures:
            if s.structure == structure:
                return s.state
        return State.UNKNOWN


@dataclass(frozen=True)
class Snapshot:
    """`<key>.json` in a shard: enough to use the sample with a tar reader, a JSON reader and blosc2 alone."""

    key: Annotated[str, "name of the sample"]
    source: Annotated[str, "id of the source"]
    patient: Annotated[str, "pseudonym"]
    license: Annotated[str, "SPDX id, or own-data"]
    images: Annotated[tuple[SampleImage, ...], "its images"]
    labels: Annotated[tuple[SampleLabel, ...], "its stored masks"]
    structures: Annotated[tuple[StructureState, ...], "what is known of each structure"]
    annotations: Annotated[tuple[SampleAnnotation, ...], "classes, boxes, points, measurements"] = field(default=())
    texts: Annotated[tuple[SampleText, ...], "its texts"] = field(default=())
    readings: Annotated[tuple[Reading, ...], "what each of several readers says; left out where there are none"] = (
        field(default=(), metadata={SPARSE: True})
    )
