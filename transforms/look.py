"""Look at files without building anything: what each holds, what is wrong with it, what a build would do.

Headers go through the readers of an inventory, so what is said here is what an inventory finds. Images over time are shown
whole, as `temporal: keep` takes them. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp.sample import Acquisition, Finding, SampleImage
from schemas.case import ArrayHeader, CaseImage
from schemas.reasons import Reason
from schemas.recipe import Limits, Recipe
from transforms.flat import Flat
from transforms.inventory_series import read_header as read_instance
from transforms.layouts.case_files import HeaderFile
from transforms.layouts.listing import with_companions
from transforms.normalise.flat import normalise_flat
from transforms.normalise.image import normalise_image
from transforms.normalise.over_time import Image
from transforms.read import array, dicom_flat, flat, over_time, series
from transforms.read.dicom import Instance
from transforms.read.segment import Drawing
from transforms.rejected import Rejected
from transforms.store import ListedObject, SourceStore

CT_AIR = -500.0
"""A volume with smaller values is shown in the window of a CT, where no header names its modality."""

UNKNOWN_MODALITY = "OT"

_RECIPE = Recipe.model_validate(
    {"corpus": "look", "out": ".", "sources": [{"id": "look"}], "terms": {"accept": ["own-data"]}}
)
"""Native grid, physical numbers, default windows."""


@dataclass(frozen=True, eq=False)
class Seen:
    """One volume, picture or film, or one thing that is none.

    Attributes:
        name: its file, or the folder of its instances.
        format: dicom, nifti, itk, png, …; seg, rtstruct; or other.
        objects: its files, of a volume in the order of reading.
        header: of an image; None otherwise.
        modality: DICOM Modality; None where no header names one.
        acquisition: how it was taken; None where no header says.
        findings: what was noticed.
        fault: why it would be rejected; None for a volume, and for files that are not looked into.
        drawn: segments or regions of a DICOM SEG or RTSTRUCT.
    """

    name: str
    format: str
    objects: tuple[ListedObject, ...]
    header: ArrayHeader | None = None
    modality: str | None = None
    acquisition: Acquisition | None = None
    findings: tuple[Finding, ...] = ()
    fault: Rejected | None = None
    drawn: int | None = None

    @property
    def bytes(self) -> int:
        """Size of its files."""
        return sum(o.bytes for o in self.objects)


def look(
    store: SourceStore, objects: Iterable[ListedObject], limits: Limits, *, tick: Callable[[], None] = lambda: None
) -> Iterator[Seen]:
    """What some objects hold, from their headers: files in their order, DICOM series, then what is drawn on them.

    Args:
        store: where they lie.
        objects: the objects.
        limits: what a file may cost.
        tick: is called after each object.

    Raises:
        OSError: what may pass, from the store.
    """
    all_objects = list(objects)
    beside = with_companions(all_objects, all_objects)
    companions = {o.path for found in beside.values() for o in found}
    drawings: list[tuple[ListedObject, Drawing]] = []
    instances: dict[str, list[tuple[ListedObject, Instance]]] = {}
    for o in all_objects:
        form = (
            None if PurePosixPath(o.path).name.startswith("._") else array.format_of(o.path)
        )  # twins that macOS writes
        if o.path in companions:
            tick()
            continue
        try:
            if form == "dicom":
                read = read_instance(HeaderFile(o, "", (), drawings=("SEG", "RTSTRUCT")), store)
                if read.instance is not None:
                    instances.setdefault(read.instance.series_instance_uid, []).append((o, read.instance))
                elif read.drawing is not None:
                    drawings.append((o, read.drawing))
            elif form is not None:
                yield _file((o, *beside.get(o.path, ())), form, store, limits)
            else:
                yield Seen(o.path, "other", (o,))
        except Rejected as fault:
            yield Seen(o.path, form or "other", (o,), fault=fault)
        tick()
    for uid in sorted(instances, key=lambda u: min(o.path for o, _ in instances[u])):
        yield from _series(instances[uid])
    for o, drawing in drawings:
        orphan = Rejected(
            Reason.ORPHAN_LABEL, "the series that it is drawn on is not among these files: look at both together"
        )
        there = drawing.series_instance_uid in instances
        yield Seen(o.path, drawing.format, (o,), fault=None if there else orphan, drawn=len(drawing.segments))


def _file(objects: tuple[ListedObject, ...], form: str, store: SourceStore, limits: Limits) -> Seen:
    o = objects[0]
    name = PurePosixPath(o.path).name
    if form in array.PREFIX_BYTES:
        prefix = store.read(o.path, 0, min(array.PREFIX_BYTES[form], o.bytes), version=o.version)
        whole = over_time.time_points(form, bytes(prefix)) > 1
        of_format = over_time.read_header if whole else array.read_header
        read = of_format(form, bytes(prefix), name=name, file_bytes=o.bytes, limits=limits)
    else:
        read = flat.read_header(o, store, name=name, limits=limits)
    return Seen(o.path, form, objects, read.header, findings=read.findings)


def _series(members: list[tuple[ListedObject, Instance]]) -> Iterator[Seen]:
    by_path = {o.path: o for o, _ in members}
    pictures = dicom_flat.pictures([instance for _, instance in members], name="image")
    diagnosis = pictures.found.joined(series.diagnose(pictures.others, temporal="keep"))
    for found in diagnosis.volumes:
        objects = tuple(by_path[p] for p in found.paths)
        yield Seen(
            _folder(found.paths),
            "dicom",
            objects,
            found.header,
            found.instance.modality,
            found.metadata,
            found.findings,
        )
    for left in diagnosis.rejects:
        objects = tuple(by_path[p] for p in left.paths)
        fault = Rejected(left.reason, left.detail)
        yield Seen(_folder(left.paths), "dicom", objects, None, left.instance.modality, fault=fault)


def _folder(paths: tuple[str, ...]) -> str:
    return paths[0] if len(paths) == 1 else str(PurePosixPath(paths[0]).parent)


def pixels(seen: Seen, store: SourceStore, limits: Limits) -> Image | Flat:
    """The voxels of a volume or the pixels of a picture or film, as a build reads them.

    Raises:
        Rejected: as a build would.
        OSError: what may pass, from the store.
        ValueError: it holds neither.
    """
    if seen.header is None:
        raise ValueError(f"{seen.name} holds no image")
    blobs = [
        array.Blob(o.path, store.read_object(o.path, o.bytes, o.version), store.local(o.path)) for o in seen.objects
    ]
    return flat.read_any(seen.header, blobs, limits)


def described(seen: Seen, read: Image | Flat) -> tuple[SampleImage, npt.NDArray[Any]]:
    """The record of an image on its own grid, a volume turned to RAS, and its array: what a picture is drawn from.

    Raises:
        Rejected: as a build would.
        ValueError: it holds no image.
    """
    if seen.header is None:
        raise ValueError(f"{seen.name} holds no image")
    acquisition = seen.acquisition or Acquisition()
    if isinstance(read, Flat):
        image = CaseImage(seen.header, seen.modality or UNKNOWN_MODALITY, acquisition)
        return normalise_flat(read, image, _RECIPE).record, read.array
    lowest = float(np.nanmin(read.array)) * read.scale + read.offset
    guess = "CT" if lowest < CT_AIR else UNKNOWN_MODALITY
    made = normalise_image(read, CaseImage(seen.header, seen.modality or guess, acquisition), _RECIPE)
    return made.record, made.array
