"""Diagnose a series, a file or a folder for a person: what it is, what is wrong with it, what it looks like."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mdfp import picture
from mdfp.errors import UsageError
from mdfp.flat_picture import flat_view
from mdfp.sample import SampleImage
from pipelines.console import Console, megabytes
from schemas.findings import FINDINGS
from schemas.recipe import Limits
from transforms.look import Seen, described, look, pixels
from transforms.read.header import IF_WANTED, OVER_TIME
from transforms.rejected import Rejected
from transforms.store import ListedObject, SourceStore, local_path

PICTURED = 12
"""Volumes whose voxels are read, unless more are asked for."""

MAX_OBJECTS = 100_000
"""Objects that are looked at: this is for a person, an inventory is for a bucket."""


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What was found of one volume, or of one thing that is none.

    Attributes:
        seen: its header and findings.
        image: statistics of its voxels; None where they were not read.
        fault: why a build would reject it, once its voxels were read.
    """

    seen: Seen
    image: SampleImage | None = None
    fault: Rejected | None = None


@dataclass
class Inspection:
    """Everything that was looked at, and the picture."""

    diagnoses: list[Diagnosis] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    tiles: list[picture.Tile] = field(default_factory=list)
    unread: int = 0

    @property
    def images(self) -> int:
        """Volumes, pictures and films that a build could take."""
        return sum(d.seen.header is not None and d.fault is None for d in self.diagnoses)


def inspect(place: str, *, limit: int, console: Console) -> Inspection:
    """Look at a file or folder.

    Args:
        place: path or URL of either.
        limit: volumes whose voxels are read.
        console: shows how far it is.

    Raises:
        UsageError: nothing is there, or too much.
        OSError: the store did not answer.
    """
    store, objects = _objects(place)
    limits, found, done = Limits(), Inspection(), [0]

    def tick() -> None:
        done[0] += 1

    with console.progress("headers", len(objects), lambda: done[0]):
        everything = list(look(store, objects, limits, tick=tick))
    worth = [s for s in everything if s.format != "other"]
    found.others.update(Path(s.name).suffix.lower() or "no suffix" for s in everything if s.format == "other")
    readable = [s for s in worth if s.header is not None]
    done[0] = 0
    with console.progress("voxels", min(limit, len(readable)), lambda: done[0]):
        for seen in worth:
            read = seen.header is not None and done[0] < limit
            found.diagnoses.append(
                _read(seen, store, limits, found.tiles) if read else Diagnosis(seen, None, seen.fault)
            )
            done[0] += read
    found.unread = max(0, len(readable) - limit)
    return found


def _objects(place: str) -> tuple[SourceStore, list[ListedObject]]:
    """The store that holds a file or folder, and what is to be looked at."""
    local = local_path(place)
    if local is not None and not local.exists():
        raise UsageError(f"{place}: expected a file or folder, or the URL of one, found nothing")
    if local is not None and local.is_file():
        store = SourceStore(str(local.absolute().parent))
        return store, [store.version(local.name)]
    parent, _, name = place.rstrip("/").rpartition("/")
    if local is None and not parent.endswith(":/"):  # of a bucket there is nothing above
        store = SourceStore(parent)
        with contextlib.suppress(Rejected):  # no such object: a folder
            return store, [store.version(name)]
    store = SourceStore(place)
    return store, _few(store)


def _few(store: SourceStore) -> list[ListedObject]:
    objects: list[ListedObject] = []
    for o in store.list():
        objects.append(o)
        if len(objects) > MAX_OBJECTS:
            raise UsageError(
                f"{store.root} holds more than {MAX_OBJECTS:,} objects; inspect a folder below it, or take an inventory"
            )
    if not objects:
        raise UsageError(f"{store.root}: expected files, found an empty folder")
    return objects


def _read(seen: Seen, store: SourceStore, limits: Limits, tiles: list[picture.Tile]) -> Diagnosis:
    try:
        record, array = described(seen, pixels(seen, store, limits))
    except Rejected as fault:
        return Diagnosis(seen, None, fault)
    title = f"{seen.modality or ''} {seen.name}".strip()
    if record.axes in ("zyx", OVER_TIME):
        tiles.append(picture.Tile(title, picture.sample_view(record, array, caption=_grid(record))))
    else:
        tiles.append(picture.Tile(title, flat_view(record, array, caption=_grid(record))))
    return Diagnosis(seen, record)


def _grid(record: SampleImage) -> str:
    spacing = record.native.spacing_xyz_mm
    told = f"{_size(record.axes, record.native.shape)}   {f'{_times(spacing)} mm' if spacing else 'no spacing stated'}"
    return told.replace("×", "x")  # the font has none


def save_picture(found: Inspection, path: Path) -> bool:
    """Write the pictures of all volumes as one PNG; False where there is nothing to draw."""
    if not found.tiles:
        return False
    path.write_bytes(
        picture.png(picture.contact_sheet(found.tiles, heading="volumes in radiological convention: R is on the left"))
    )
    return True


def lines(found: Inspection) -> Iterator[str]:
    """The diagnosis for a person."""
    for d in found.diagnoses:
        yield from _lines(d)
        yield ""
    if found.others:
        told = ", ".join(f"{n} {suffix}" for suffix, n in found.others.most_common(8))
        yield f"not looked into: {found.others.total()} other files ({told})"
    if found.unread:
        yield f"{found.unread} further volumes: headers only; --limit reads more of them"
    labels = sum(d.seen.drawn is not None and d.fault is None for d in found.diagnoses)
    told = f", {labels} are labels drawn on them" if labels else ""
    yield f"{found.images} of {len(found.diagnoses)} would be read as images{told}"


def _lines(d: Diagnosis) -> Iterator[str]:
    seen, h = d.seen, d.seen.header
    verdict = f"REJECTED {d.fault.reason}" if d.fault else (h.verdict if h else "a label")
    files = "1 file" if len(seen.objects) == 1 else f"{len(seen.objects)} files"
    yield f"{seen.name}   {verdict}"
    yield f"  what      {' '.join(w for w in (seen.format, seen.modality) if w)}, {files}, {megabytes(seen.bytes)}"
    if seen.drawn is not None:
        yield f"  holds     {seen.drawn} segments or regions"
    if h is not None:
        oblique = f", {h.obliquity_deg:.1f}° oblique" if h.obliquity_deg and h.obliquity_deg >= 0.05 else ""
        yield f"  size      {_size(h.axes, h.shape)}, {h.dtype}"
        placed = f", {h.orientation}{oblique}" if h.orientation else ""
        yield (
            f"  spacing   {_times(h.spacing_xyz_mm)} mm{placed}"
            if h.spacing_xyz_mm
            else "  spacing   the file states none"
        )
    if d.image is not None:
        stats, unit = d.image.native_intensity, f" {d.image.unit}" if d.image.unit else ""
        yield f"  values    {stats.minimum:g} to {stats.maximum:g}{unit}, mean {stats.mean:.4g}, std {stats.std:.4g}"
        if d.image.nonfinite_voxels:
            yield f"  values    {d.image.nonfinite_voxels} voxels are NaN or infinite"
    for f in seen.findings:
        yield f"  found     {f.code}: {f.detail}"
        if f.code in FINDINGS:
            yield f"            {FINDINGS[f.code]}"
    if h is not None and h.axes == OVER_TIME:
        yield f"  recipe    refused by default; {IF_WANTED}"
    if d.fault is not None:
        yield f"  rejected  {d.fault.detail}"
        yield f"            {d.fault.reason.meaning}"


def as_json(found: Inspection) -> list[dict[str, Any]]:
    """The same for machines."""
    return [
        {
            "name": d.seen.name,
            "format": d.seen.format,
            "modality": d.seen.modality,
            "files": len(d.seen.objects),
            "bytes": d.seen.bytes,
            "axes": d.seen.header.axes if d.seen.header else None,
            "shape": list(d.seen.header.shape) if d.seen.header else None,
            "spacing_xyz_mm": list(d.seen.header.spacing_xyz_mm or ()) if d.seen.header else None,
            "orientation": d.seen.header.orientation if d.seen.header else None,
            "verdict": d.seen.header.verdict if d.seen.header and d.fault is None else None,
            "minimum": d.image.native_intensity.minimum if d.image else None,
            "maximum": d.image.native_intensity.maximum if d.image else None,
            "mean": d.image.native_intensity.mean if d.image else None,
            "drawn": d.seen.drawn,
            "findings": [{"code": f.code, "detail": f.detail} for f in d.seen.findings],
            "rejected": {"reason": str(d.fault.reason), "detail": d.fault.detail} if d.fault else None,
        }
        for d in found.diagnoses
    ]


def _size(axes: str, shape: Sequence[int]) -> str:
    """The axes of an array as people say them: x × y × z voxels, x × y pixels, channels, frames."""
    sizes = dict(zip(axes, shape, strict=True))
    told = _times([sizes[a] for a in "xyz" if a in sizes])
    told += " voxels (x, y, z)" if "z" in sizes else " pixels (x, y)"
    told += f", {sizes['c']} channels" if "c" in sizes else ""
    times = "time points" if "z" in sizes else "frames"
    return told + (f", {sizes['t']} {times}" if "t" in sizes else "")


def _times(numbers: Sequence[float]) -> str:
    return " × ".join(f"{n:.4g}" if isinstance(n, float) else str(n) for n in numbers) or "unknown"
