"""Which samples to look at first, and their pictures for the report and the contact sheet."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from expectations.outcome import GATE, Outcome
from expectations.tables.structures import volume_ratio
from mdfp import picture
from mdfp.flat_picture import flat_view
from mdfp.labels import State
from mdfp.sample import Sample, SampleImage

Read = Callable[[Sample, SampleImage], tuple[npt.NDArray[Any], Sequence[npt.NDArray[Any]]]]
"""(sample, one of its images) -> the stored array (z, y, x), and the masks on its grid in the order of `sample.labels`."""

PER_SAMPLE = frozenset({"samples", "images", "masks", "structures", "sides"})
"""Tables whose rows are called after the key of a sample."""

_VOLUMES = ("zyx", "tzyx")

MAX_UNTROUBLED = 6
"""Samples without a failed expectation that are shown, for the change of a volume alone."""

PNG_COLOURS = 128
"""Colours of a picture in the report: grey levels and a few tints need no more."""


@dataclass(frozen=True)
class Picture:
    """A picture with the words around it."""

    title: str
    caption: str
    png: bytes


@dataclass(frozen=True)
class Concern:
    """A sample worth looking at, why, and which structures it is about."""

    sample: Sample
    reasons: tuple[str, ...]
    structures: tuple[str, ...]


def worst_cases(samples: Sequence[Sample], outcomes: Sequence[Outcome], *, limit: int = 12) -> tuple[Concern, ...]:
    """The samples to look at first: those that broke a gate, then a warning, then the largest change of a volume."""
    by_key = {s.key: s for s in samples}
    rank: dict[str, tuple[int, float]] = {}
    reasons: dict[str, dict[str, None]] = defaultdict(dict)
    structures: dict[str, dict[str, None]] = defaultdict(dict)
    for outcome in outcomes:
        if outcome.success or outcome.suite != "samples" or outcome.table not in PER_SAMPLE:
            continue
        for failing in outcome.failing:
            key, _, part = failing.partition("/")
            if key not in by_key:
                continue
            rank[key] = min(rank.get(key, (1, 0.0)), (0 if outcome.severity == GATE else 1, 0.0))
            reasons[key][f"{outcome.expectation}: {part}" if part else outcome.expectation] = None
            if outcome.table == "structures":
                structures[key][part] = None
            elif outcome.table == "sides":
                structures[key].update({f"{part}_left": None, f"{part}_right": None})
    for key, sample in by_key.items():
        deviation, structure, ratio = _largest_change(sample)
        severity, _ = rank.get(key, (2, 0.0))
        rank[key] = (severity, -deviation)
        if severity == 2 and structure is not None:
            reasons[key][f"{structure}: volume x {ratio:.3f}"] = None
            structures[key][structure] = None
    ordered = sorted((k for k in rank if reasons[k]), key=lambda k: (rank[k], k))
    troubled = [k for k in ordered if rank[k][0] < 2]
    chosen = (troubled + [k for k in ordered if rank[k][0] == 2][:MAX_UNTROUBLED])[:limit]
    return tuple(Concern(by_key[k], tuple(reasons[k]), tuple(structures[k])) for k in chosen)


def _largest_change(sample: Sample) -> tuple[float, str | None, float]:
    """(how far the volume ratio is from 1 on a logarithmic scale, of which structure, the ratio)."""
    best: tuple[float, str | None, float] = (0.0, None, 1.0)
    for s in sample.structures:
        ratio = volume_ratio(s)
        if ratio is not None and ratio > 0 and abs(math.log(ratio)) > best[0]:
            best = (abs(math.log(ratio)), s.structure, ratio)
    return best


def draw(
    sample: Sample, read: Read, *, focus: Sequence[str] = (), caption: str = "", panel_px: int = picture.PANEL_PX
) -> Any | None:
    """Picture (pillow) of a sample's volume with its labels, or of a picture with its mask and boxes; None without either.

    Args:
        sample: the sample.
        read: gives its arrays.
        focus: structures that the slices should go through.
        caption: a line under it.
        panel_px: edge of each of the three panels.
    """
    image = _volume_of(sample)
    if image is None:
        return _draw_flat(sample, read, caption, 2 * panel_px)
    stored, layers = read(sample, image)
    names = {s.value: s.structure for s in sample.structures}
    return picture.sample_view(
        image,
        stored,
        picture.flatten(layers) if layers else None,
        names=names,
        focus=[value for value, name in names.items() if name in focus],
        caption=caption,
        panel_px=panel_px,
    )


def _draw_flat(sample: Sample, read: Read, caption: str, edge_px: int) -> Any | None:
    """The first picture with a mask of a sample, else its first picture or film."""
    flats = [i for i in sample.images if i.axes not in _VOLUMES]
    if not flats:
        return None
    masked = {label.image for label in sample.labels}
    image = next((i for i in flats if i.name in masked), flats[0])
    stored, layers = read(sample, image)
    return flat_view(
        image,
        stored,
        sample.annotations,
        label_yx=picture.flatten(layers) if layers else None,
        names={s.value: s.structure for s in sample.structures},
        caption=caption,
        edge_px=edge_px,
    )


def _volume_of(sample: Sample) -> SampleImage | None:
    """The volume to show: the first that has a mask, else the first."""
    volumes = [i for i in sample.images if i.axes in _VOLUMES and i.stored.spacing_xyz_mm is not None]
    masked = {label.image for label in sample.labels}
    return next((i for i in volumes if i.name in masked), volumes[0] if volumes else None)


def draw_worst(concerns: Sequence[Concern], read: Read) -> tuple[Picture, ...]:
    """Pictures of samples worth looking at, for the report."""
    result = []
    for concern in concerns:
        image = draw(concern.sample, read, focus=concern.structures, panel_px=200)
        if image is not None:
            result.append(
                Picture(concern.sample.key, "; ".join(concern.reasons), picture.png(image, colours=PNG_COLOURS))
            )
    return tuple(result)


def draw_contact_sheet(
    samples: Sequence[Sample], read: Read, *, per_source: int = 1, heading: str = ""
) -> bytes | None:
    """PNG with samples of every source, those with the most structures first; None where nothing is a volume.

    Args:
        samples: all samples.
        read: gives their arrays.
        per_source: samples of each source and modality.
        heading: a line at the top.
    """
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for s in samples:
        groups[s.source, "+".join(s.modalities)].append(s)
    tiles = []
    for (source, modality), those in sorted(groups.items()):
        richest = sorted(those, key=lambda s: (-sum(x.state == State.PRESENT for x in s.structures), s.key))
        for sample in richest[:per_source]:
            image = draw(sample, read, caption=_caption(sample))
            if image is not None:
                tiles.append(picture.Tile(f"{source}   {modality}   {sample.key}", image))
    return picture.png(picture.contact_sheet(tiles, heading=heading)) if tiles else None


def _caption(sample: Sample) -> str:
    image = _volume_of(sample)
    if image is None:
        sizes = (dict(zip(i.axes, i.stored.shape, strict=True)) for i in sample.images)
        told = (f"{n['x']} x {n['y']}" + (f", {n['t']} frames" if "t" in n else "") for n in sizes)
        return f"{sample.split}   {'; '.join(told)} pixels   {sample.license}"
    shape = " x ".join(str(n) for n in image.stored.shape[:-4:-1])
    spacing = " x ".join(f"{s:g}" for s in image.stored.spacing_xyz_mm or ())
    return f"{sample.split}   {shape} voxels   {spacing} mm   {sample.license}"
