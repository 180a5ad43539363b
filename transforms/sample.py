"""One case, from compressed bytes to the members of its sample. The heart of the build, and free of Beam."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mdfp import canonical
from mdfp.codecs import VolumeCodec
from mdfp.labels import State
from mdfp.manifest import PaletteEntry
from mdfp.sample import Sample, SampleAnnotation, SampleLabel, SampleText, Snapshot, StructureState
from schemas.case import ArrayHeader, Case, CaseLabel, CaseText
from schemas.plan import Assignment
from schemas.reasons import Reason
from schemas.recipe import Recipe
from schemas.source import Source
from transforms.confirm import confirm
from transforms.fetch import FetchedCase
from transforms.flat import Flat, is_flat
from transforms.labels.label import LabelPart, normalise_labels
from transforms.normalise.annotations import move_annotation
from transforms.normalise.flat import NormalisedFlat, move_on_flat, normalise_flat
from transforms.normalise.image import NormalisedImage, normalise_image
from transforms.plan.terms import UNSTATED
from transforms.read.array import Blob
from transforms.read.flat import read_any
from transforms.rejected import Rejected
from transforms.stopwatch import Stopwatch
from transforms.volume import Volume

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

    def make(self, fetched: FetchedCase, assignment: Assignment) -> MadeSample:
        """Read, normalise, check and encode one case.

        Memory: the compressed case, the stored images, and one image or mask as read (a view of its inflated file) at a
        time.

        Raises:
            Rejected: the case cannot be used, for a permanent reason.
        """
        case = fetched.case
        done: list[str] = []
        warnings: list[str] = []
        images: dict[str, NormalisedImage] = {}
        flats: dict[str, NormalisedFlat] = {}
        for case_image in case.images:
            blobs = [blob for blob, _ in fetched.blobs[f"image:{case_image.header.name}"]]
            volume = self._read(case_image.header, blobs)
            image: NormalisedImage | NormalisedFlat
            with self.watch.measure("normalise"):
                if isinstance(volume, Flat):
                    image = flats[case_image.header.name] = normalise_flat(volume, case_image, self.recipe)
                else:
                    image = images[case_image.header.name] = normalise_image(volume, case_image, self.recipe)
            del volume  # half of what a case takes; its labels come next
            done += [f"{case_image.header.name}: {step}" for step in image.done]
            warnings += [f"{case_image.header.name}: {w}" for w in image.warnings]

        with self.watch.measure("normalise"):
            layers, states, label_done, label_warnings = self._labels(fetched, images)
        done += label_done
        warnings += label_warnings

        annotations = (*_moved(case, images, flats), *(a for flat in flats.values() for a in flat.annotations))
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
        )
        check_invariants(record, self.recipe, self.palette)
        with self.watch.measure("encode"):
            return MadeSample(
                record, tuple(self._payloads(record, {**images, **flats}, layers, fetched, annotations, texts))
            )

    def _labels(
        self, fetched: FetchedCase, images: Mapping[str, NormalisedImage]
    ) -> tuple[Sequence[tuple[SampleLabel, object]], tuple[StructureState, ...], list[str], list[str]]:
        parts = [self._part(fetched, label) for label in fetched.case.labels]
        try:
            normalised = normalise_labels(parts, images, self.palette, self.recipe.labels)
        except Rejected as fault:
            if self.recipe.labels.on_fault == "reject" or fault.reason not in LABEL_FAULTS:
                raise
            normalised = normalise_labels([], images, self.palette, self.recipe.labels)
            return (), normalised.states, [], [f"label left out: {fault.reason}: {fault.detail}"]
        return normalised.layers, normalised.states, list(normalised.done), list(normalised.warnings)

    def _part(self, fetched: FetchedCase, label: CaseLabel) -> LabelPart:
        table = self.sources[fetched.case.source].labels[label.table]
        blobs = fetched.blobs[f"label:{label.header.name}"]

        def reader(objects: Sequence[Blob]) -> Callable[[], Volume]:
            def read() -> Volume:
                try:
                    volume = self._read(label.header, objects)
                    if isinstance(volume, Flat):
                        raise Rejected(Reason.UNSUPPORTED, "a mask in a picture file")
                    return volume
                except Rejected as fault:
                    raise Rejected(Reason.LABEL_UNREADABLE, f"{fault.reason}: {fault.detail}") from fault

            return read

        if any(structure is not None for _, structure in blobs):
            # One file for each structure, each read only when its turn comes.
            return LabelPart(label, table, tuple((reader([blob]), structure) for blob, structure in blobs))
        # One array, however many objects it lies in (a header with detached data).
        return LabelPart(label, table, ((reader([blob for blob, _ in blobs]), None),))

    def _read(self, header: ArrayHeader, blobs: Sequence[Blob]) -> Volume | Flat:
        with self.watch.measure("decode"):
            try:
                return read_any(header, blobs, limits=self.recipe.limits)
            except Rejected as verdict:
                raise confirm(verdict, header, blobs, self.recipe.limits) from verdict

    def _payloads(
        self,
        record: Sample,
        images: Mapping[str, NormalisedImage | NormalisedFlat],
        layers: Sequence[tuple[SampleLabel, object]],
        fetched: FetchedCase,
        annotations: tuple[SampleAnnotation, ...],
        texts: tuple[SampleText, ...],
    ) -> Iterator[Payload]:
        codec = VolumeCodec()
        for name, image in images.items():
            if isinstance(image, NormalisedFlat):
                yield Payload(f"{record.key}.image.{name}.{image.extension}", "image", name, image.data)
                continue
            data = codec.encode(image.array_zyx)
            yield Payload(f"{record.key}.image.{name}.{codec.extension}", "image", name, data)
        for label, array in layers:
            data = codec.encode(array)  # type: ignore[arg-type]
            yield Payload(f"{record.key}.label.{label.layer}.{codec.extension}", "label", label.layer, data)
        for text in fetched.case.texts:
            yield Payload(f"{record.key}.{text.name}.txt", "text", text.name, read_text(text, fetched))
        snapshot = Snapshot(
            key=record.key,
            source=record.source,
            patient=record.patient,
            license=record.license,
            images=record.images,
            labels=record.labels,
            structures=record.structures,
            annotations=annotations,
            texts=texts,
        )
        yield Payload(f"{record.key}.json", "json", "", canonical.dumps(snapshot))


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
        asked = recipe.geometry.spacing_for(image.modality)
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
