"""One case, from compressed bytes to the members of its sample. The heart of the build, and free of Beam."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy.typing as npt

from mdfp import canonical
from mdfp.codecs import VolumeCodec
from mdfp.labels import State
from mdfp.manifest import PaletteEntry
from mdfp.sample import Sample, SampleAnnotation, SampleLabel, SampleText, Snapshot
from schemas.case import ArrayHeader, Case, CaseLabel, CaseText
from schemas.plan import Assignment
from schemas.reasons import Reason
from schemas.recipe import Recipe, ReferenceGrid
from schemas.source import Source
from transforms import slices
from transforms.confirm import confirm
from transforms.fetch import FetchedCase
from transforms.flat import Flat, is_flat
from transforms.labels.drawn import drawn_part
from transforms.labels.flat import FlatOnGrid
from transforms.labels.label import LabelPart, NormalisedLabels, normalise_labels
from transforms.labels.part import ImageOnGrid
from transforms.labels.picture import picture_part, sliced_part
from transforms.normalise.annotations import move_annotation
from transforms.normalise.flat import NormalisedFlat, move_on_flat, normalise_flat, png_bytes
from transforms.normalise.image import NormalisedImage, normalise_image
from transforms.normalise.shared_grid import SharedGrid, reference_image
from transforms.plan.terms import UNSTATED
from transforms.read import lidc, mask, segment
from transforms.read.array import Blob
from transforms.read.flat import read_any
from transforms.rejected import Rejected
from transforms.stopwatch import Stopwatch
from transforms.volume import TemporalVolume, Volume

T = TypeVar("T")

Layers = Sequence[tuple[SampleLabel, npt.NDArray[Any]]]
"""Records and stored masks of a sample's labels."""

LABEL_FAULTS = frozenset(
    {Reason.UNMAPPED_LABEL, Reason.LABEL_GRID, Reason.LABEL_NOT_INTEGER, Reason.LABEL_UNREADABLE, Reason.MISSING_LABEL}
)
"""Reasons that concern the label alone: with `on_fault: image_only` the image is kept and every state is unknown."""


@dataclass(frozen=True)
class Payload:
    """One member of a sample, before it has a place in a tar."""

    name: str
    kind: str
    array: str
    data: bytes


@dataclass(frozen=True)
class MadeSample:
    """A finished sample.

    Attributes:
        record: its index row, without shard offsets (`members` is empty, `shard` is "").
        payloads: its members in the order in which they go into the tar.
    """

    record: Sample
    payloads: tuple[Payload, ...]


@dataclass(frozen=True)
class SampleMaker:
    """Makes samples after one plan. Holds configuration only; safe to share between cases of a process.

    Attributes:
        recipe: the recipe, locations left out.
        sources: source manifests by id.
        palette: integer of each structure.
        generation: number of the manifest the samples are planned for.
        watch: what the time goes into.
    """

    recipe: Recipe
    sources: Mapping[str, Source]
    palette: tuple[PaletteEntry, ...]
    generation: int
    watch: Stopwatch = field(default_factory=Stopwatch, compare=False)

    def samples(self, fetched: FetchedCase, assignment: Assignment) -> Iterator[MadeSample]:
        """The samples of a case: one, or where the recipe asks for slices of volumes one for each of them.

        A case is refused before its first sample is given, never after.

        Raises:
            Rejected: as `make`, and whatever `transforms.slices` raises.
        """
        record, arrays, layers = self._normalised(fetched, assignment)
        if self.recipe.slices is None or not slices.to_slice(record):
            return iter([self._encoded(record, arrays, layers, fetched)])
        volumes = {name: image.array for name, image in arrays.items()}
        texts = tuple(_texts(record.key, fetched))  # read once: a text that is none refuses the case
        return (self._encoded_slice(one, texts) for one in slices.cut(record, volumes, layers, self.recipe.slices))

    def make(self, fetched: FetchedCase, assignment: Assignment) -> MadeSample:
        """Read, normalise, check and encode one case, volumes whole.

        Memory: the compressed case, the stored images, and one image or mask as read (a view of its inflated file) at a
        time; of a file that others read too, its inflated content (`kept_content.KEPT_BYTES` at most).

        Raises:
            Rejected: the case cannot be used, for a permanent reason.
        """
        return self._encoded(*self._normalised(fetched, assignment), fetched)

    def _normalised(
        self, fetched: FetchedCase, assignment: Assignment
    ) -> tuple[Sample, dict[str, NormalisedImage | NormalisedFlat], Layers]:
        """Record, images and masks of a case, checked."""
        case = fetched.case
        done: list[str] = []
        warnings: list[str] = []
        images, flats = self._images(fetched)
        made: dict[str, NormalisedImage | NormalisedFlat] = {**images, **flats}
        for name in (i.header.name for i in case.images):
            done += [f"{name}: {step}" for step in made[name].done]
            warnings += [f"{name}: {w}" for w in made[name].warnings]

        with self.watch.measure("normalise"):
            lattices: dict[str, ImageOnGrid] = {
                **images,
                **{n: lattice for n, f in flats.items() if (lattice := _lattice(f))},
            }
            labels = self._labels(fetched, lattices)
        layers, states = labels.layers, labels.states
        done += labels.done
        warnings += labels.warnings

        annotations = (*_moved(case, images, flats), *(a for image in made.values() for a in image.annotations))
        texts = tuple(SampleText(t.name, t.kind, t.language) for t in case.texts)
        record = Sample(
            key=case.case_id,
            case_id=case.case_id,
            source=case.source,
            split=assignment.split or "",
            fold=assignment.fold,
            group=assignment.group,
            generation=self.generation,
            shard="",
            position=assignment.position or 0,
            patient=case.patient,
            study=case.study,
            series=case.series,
            timepoint=case.timepoint,
            days_from_first=case.days_from_first,
            modalities=tuple(sorted({i.modality for i in case.images})),
            sex=case.sex,
            age_years=case.age_years,
            site=case.site,
            license=case.license or UNSTATED,
            images=tuple((flats[n] if n in flats else images[n]).record for n in (i.header.name for i in case.images)),
            labels=tuple(label for label, _ in layers),
            structures=states,
            annotations=annotations,
            texts=texts,
            members=(),
            findings=case.findings,
            done=tuple(done),
            warnings=tuple(warnings),
            readings=labels.readings,
            others=labels.others,
        )
        check_invariants(record, self.recipe, self.palette)
        return record, {**images, **flats}, layers

    def _encoded(
        self,
        record: Sample,
        images: Mapping[str, NormalisedImage | NormalisedFlat],
        layers: Layers,
        fetched: FetchedCase,
    ) -> MadeSample:
        with self.watch.measure("encode"):
            return MadeSample(record, tuple(self._payloads(record, images, layers, fetched)))

    def _encoded_slice(self, one: slices.SlicedSample, texts: Sequence[Payload]) -> MadeSample:
        key = one.record.key
        with self.watch.measure("encode"):
            members = [
                Payload(f"{key}.image.{name}.png", "image", name, png_bytes(pixels))
                for name, pixels in one.pictures.items()
            ]
            members += [
                Payload(f"{key}.label.{layer}.png", "label", layer, png_bytes(mask))
                for layer, mask in one.masks.items()
            ]
            members += [dataclasses.replace(t, name=f"{key}.{t.array}.txt") for t in texts]
            return MadeSample(one.record, (*members, _snapshot(one.record)))

    def _images(self, fetched: FetchedCase) -> tuple[dict[str, NormalisedImage], dict[str, NormalisedFlat]]:
        """The volumes and the pictures of a case, by name; of volumes that share a grid the reference is made first.

        Raises:
            Rejected: OFF_GRID, and whatever reading and normalising raise.
        """
        wanted = {i.header.name: i for i in fetched.case.images}
        solid = [i for i in fetched.case.images if not is_flat(i.header.axes)]
        reference = reference_image(solid, self.recipe.geometry.grid) if solid else None
        images: dict[str, NormalisedImage] = {}
        flats: dict[str, NormalisedFlat] = {}
        for name in sorted(wanted, key=lambda name: name != reference):
            volume = self._read(wanted[name].header, [blob for blob, _ in fetched.blobs[f"image:{name}"]])
            with self.watch.measure("normalise"):
                if isinstance(volume, Flat):
                    flats[name] = normalise_flat(volume, wanted[name], self.recipe)
                else:
                    shared = images[reference].grid if reference is not None and name != reference else None
                    assert not isinstance(shared, SharedGrid)  # the reference's own grid is nobody's
                    images[name] = normalise_image(volume, wanted[name], self.recipe, shared)
            del volume  # half of what a case takes; the next image or its labels come
        return {n: images[n] for n in wanted if n in images}, {n: flats[n] for n in wanted if n in flats}

    def _labels(self, fetched: FetchedCase, images: Mapping[str, ImageOnGrid]) -> NormalisedLabels:
        try:
            parts = [self._part(fetched, label, images) for label in fetched.case.labels]
            return normalise_labels(parts, images, self.palette, self.recipe.labels)
        except Rejected as fault:
            if self.recipe.labels.on_fault == "reject" or fault.reason not in LABEL_FAULTS:
                raise
            without = normalise_labels([], images, self.palette, self.recipe.labels)
            return dataclasses.replace(without, warnings=(f"label left out: {fault.reason}: {fault.detail}",))

    def _part(self, fetched: FetchedCase, label: CaseLabel, images: Mapping[str, ImageOnGrid]) -> LabelPart:
        table = self.sources[fetched.case.source].labels[label.table]
        blobs = fetched.blobs[f"label:{label.header.name}"]

        def as_label(read: Callable[[], T]) -> T:
            try:
                return read()
            except Rejected as fault:
                if fault.reason in LABEL_FAULTS:
                    raise
                raise Rejected(Reason.LABEL_UNREADABLE, f"{fault.reason}: {fault.detail}") from fault

        def volume_of(objects: Sequence[Blob]) -> Volume:
            volume = self._read(label.header, objects)
            assert isinstance(volume, Volume)  # masks in picture files are read by `pixels_of`
            return volume

        def pixels_of(blob: Blob) -> Flat:
            sliced = label.header.format == mask.SLICES
            header = mask.of_slice(label.header, table) if sliced else label.header
            pixels = as_label(lambda: self._read(header, [blob]))
            assert isinstance(pixels, Flat)
            return pixels

        def reader(objects: Sequence[Blob]) -> Callable[[], Volume]:
            return lambda: as_label(lambda: volume_of(objects))

        if label.header.format == mask.FORMAT:
            return picture_part(label, table, blobs, pixels_of, images.get(label.image))
        if label.header.format == mask.SLICES:
            return sliced_part(label, table, [blob for blob, _ in blobs], pixels_of)
        if label.header.format in segment.FORMATS:
            objects = [blob for blob, _ in blobs]

            def run(read: Callable[[], T]) -> T:
                return as_label(lambda: self._confirmed(read, label.header, objects))

            return drawn_part(label, table, objects[0].content(), self.recipe.limits, run)

        if label.header.format == lidc.FORMAT:
            # The marks name slices, so the image's own objects are read beside them.
            of_image = [blob for blob, _ in fetched.blobs[f"image:{label.image}"]]
            (structure,) = table.structures.values()
            return LabelPart(label, table, ((reader([blobs[0][0], *of_image]), structure),))

        if any(structure is not None for _, structure in blobs):
            # One file for each structure, each read only when its turn comes.
            return LabelPart(label, table, tuple((reader([blob]), structure) for blob, structure in blobs))
        # One array, however many objects it lies in (a header with detached data).
        return LabelPart(label, table, ((reader([blob for blob, _ in blobs]), None),))

    def _read(self, header: ArrayHeader, blobs: Sequence[Blob]) -> Volume | TemporalVolume | Flat:
        return self._confirmed(lambda: read_any(header, blobs, limits=self.recipe.limits), header, blobs)

    def _confirmed(self, read: Callable[[], T], header: ArrayHeader, blobs: Sequence[Blob]) -> T:
        with self.watch.measure("decode"):
            try:
                return read()
            except Rejected as verdict:
                raise confirm(verdict, header, blobs, self.recipe.limits) from verdict

    def _payloads(
        self,
        record: Sample,
        images: Mapping[str, NormalisedImage | NormalisedFlat],
        layers: Layers,
        fetched: FetchedCase,
    ) -> Iterator[Payload]:
        codec = VolumeCodec()
        for name, image in images.items():
            if isinstance(image, NormalisedFlat):
                yield Payload(f"{record.key}.image.{name}.{image.extension}", "image", name, image.data)
                continue
            data = codec.encode(image.array)
            yield Payload(f"{record.key}.image.{name}.{codec.extension}", "image", name, data)
        for label, array in layers:
            # A picture's mask has two axes: a PNG of grey numbers, as users of pictures read them.
            data, extension = (png_bytes(array), "png") if array.ndim == 2 else (codec.encode(array), codec.extension)
            yield Payload(f"{record.key}.label.{label.layer}.{extension}", "label", label.layer, data)
        yield from _texts(record.key, fetched)
        yield _snapshot(record)


def _texts(key: str, fetched: FetchedCase) -> Iterator[Payload]:
    for text in fetched.case.texts:
        yield Payload(f"{key}.{text.name}.txt", "text", text.name, read_text(text, fetched))


def _snapshot(record: Sample) -> Payload:
    snapshot = Snapshot(
        key=record.key,
        source=record.source,
        patient=record.patient,
        license=record.license,
        images=record.images,
        labels=record.labels,
        structures=record.structures,
        annotations=record.annotations,
        texts=record.texts,
        readings=record.readings,
    )
    return Payload(f"{record.key}.json", "json", "", canonical.dumps(snapshot))


def _lattice(image: NormalisedFlat) -> FlatOnGrid | None:
    """What a mask of a picture is laid on; None for a film."""
    if "t" in image.record.axes:
        return None
    native, stored = (g.shape[:2] for g in (image.record.native, image.record.stored))
    return FlatOnGrid.of((native[0], native[1]), (stored[0], stored[1]))


def _moved(
    case: Case, images: Mapping[str, NormalisedImage], flats: Mapping[str, NormalisedFlat]
) -> tuple[SampleAnnotation, ...]:
    """The annotations of a case, where its stored images are."""
    moved = []
    for annotation in case.annotations:
        name = annotation.image or ""
        if name in flats:
            moved.append(move_on_flat(annotation, flats[name]))
        else:
            moved.append(move_annotation(annotation, images.get(name), case.images))
    return tuple(moved)


def read_text(text: CaseText, fetched: FetchedCase) -> bytes:
    """A text as the shard holds it: UTF-8 without a byte order mark.

    Raises:
        Rejected: UNREADABLE, the file is no UTF-8 text.
    """
    if text.value is not None:
        return text.value.encode()
    (blob, _), *_ = fetched.blobs[text.array]
    try:
        return bytes(blob.content()).decode("utf-8-sig").encode()
    except UnicodeDecodeError as error:
        raise Rejected(Reason.UNREADABLE, f"the text {text.name!r} is not UTF-8") from error


def check_invariants(record: Sample, recipe: Recipe, palette: Sequence[PaletteEntry]) -> None:
    """What must hold of every sample, cheaply, before it is written.

    Raises:
        Rejected: INVARIANT, with the numbers.
    """
    for image in record.images:
        stats = image.stored_intensity
        if not stats.minimum <= stats.mean <= stats.maximum:
            raise Rejected(
                Reason.INVARIANT, f"{image.name}: mean {stats.mean} outside [{stats.minimum}, {stats.maximum}]"
            )
        if recipe.intensity.store == "physical" and image.modality == "CT" and stats.minimum < -1024:
            raise Rejected(Reason.INVARIANT, f"{image.name}: CT minimum {stats.minimum} HU, expected at least -1024")
        if is_flat(image.axes):
            continue
        grid = recipe.geometry.grid
        asked = recipe.geometry.spacing_for(grid.reference if isinstance(grid, ReferenceGrid) else image.modality)
        if isinstance(asked, tuple) and recipe.geometry.upsample == "allow":
            found = image.stored.spacing_xyz_mm or ()
            if any(abs(a - b) > 1e-6 for a, b in zip(asked, found, strict=True)):
                raise Rejected(Reason.INVARIANT, f"{image.name}: spacing {found} mm, asked for {asked}")
    names = {s.structure for s in record.structures}
    if missing := {e.structure for e in palette} - names:
        raise Rejected(Reason.INVARIANT, f"no state for {sorted(missing)}")
    layers = {label.layer for label in record.labels}
    for structure in record.structures:
        if structure.layer is not None and structure.layer not in layers:
            raise Rejected(
                Reason.INVARIANT,
                f"{structure.structure} is said to be in layer {structure.layer!r}, which is not there",
            )
        # A structure that is there by its parts alone (a kidney by its two sides) has no layer of its own.
        if structure.state == State.PRESENT and structure.layer is not None and not structure.native_voxels:
            raise Rejected(Reason.INVARIANT, f"{structure.structure} is present with no voxel")


def with_place(record: Sample, **changes: object) -> Sample:
    """The record with its place in a shard filled in."""
    return dataclasses.replace(record, **changes)  # type: ignore[arg-type]
