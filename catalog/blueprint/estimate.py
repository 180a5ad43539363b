"""Bytes that data sets take, before any is downloaded: as published, and in shards. Estimates, each with its range.

`MEASURED` are the 10 %, 50 % and 90 % quantiles over series of NCI's Imaging Data Commons (index of release 25: CT, MR, PT and
NM of 16 instances or more, a series a volume; the others an instance a picture). Data sets of challenges are often compressed
or cut out, which the lower end allows for. `ASSUMED` are round figures without a measurement behind them, an order of magnitude wide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from catalog.blueprint.count import Count
from schemas.dataset import DataSet

MB = 1e6

MEASURED: dict[tuple[str, str], tuple[float, float, float]] = {
    ("volume", "CT"): (32.6, 80.0, 145.6),
    ("volume", "MR"): (0.606, 19.0, 84.4),
    ("volume", "PT"): (3.02, 12.2, 105.9),
    ("image", "CT"): (0.526, 0.527, 0.528),
    ("image", "MR"): (0.0375, 0.167, 0.530),
    ("image", "PT"): (0.0360, 0.0599, 0.325),
    ("image", "MG"): (5.83, 38.4, 147.8),
    ("image", "CR"): (13.6, 15.5, 15.6),
    ("image", "DX"): (7.60, 15.3, 15.3),
    ("image", "SM"): (18.9, 66.3, 278.8),
}
"""(kind, modality) -> MB: low, middle, high."""

ASSUMED: dict[str, tuple[float, float, float]] = {
    "image": (0.03, 0.3, 3.0),
    "volume": (3.0, 30.0, 300.0),
    "video": (10.0, 100.0, 1000.0),
}
"""kind -> MB, for every modality that was not measured. Pictures: from a JPEG of 256 pixels to a PNG of a fundus camera."""

FUSED = {"image": (0.3, 1.0, 2.0), "volume": (0.15, 0.3, 0.6), "video": (0.3, 1.0, 2.0)}
"""kind -> bytes in shards for a byte as published. The middle of volumes is what plans assume for archives before they are
built (docs/datasets.md); the others are assumptions: pictures and films are stored again with lossless codecs or as they are."""

SLICES = {"CT": (61, 151, 274), "MR": (16, 68, 205), "PT": (55, 263, 429)}
"""Instances of a series, measured as `MEASURED`: how many 2-D slices a volume has."""

SLICES_ASSUMED = (16, 100, 300)
"""The same for other modalities: an assumption."""


@dataclass(frozen=True)
class Range:
    """Low, middle and high."""

    low: float
    middle: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.middle + other.middle, self.high + other.high)

    def times(self, factor: tuple[float, float, float]) -> Range:
        """Each end by its own factor."""
        return Range(self.low * factor[0], self.middle * factor[1], self.high * factor[2])


ZERO = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Size:
    """What a data set takes, bytes, or None where its count is not known.

    Attributes:
        raw: as published.
        fused: in shards.
        slices: 2-D slices of its volumes, where volumes stand for pictures.
        measured: whether every figure per item was measured.
    """

    raw: Range | None
    fused: Range | None
    slices: Range
    measured: bool


def size(row: DataSet, count: Count, modalities: tuple[str, ...]) -> Size:
    """The size of a data set's items; of several modalities the range covers all, and the middle is their mean.

    Args:
        row: the data set.
        count: its items.
        modalities: those asked for among the row's; none: all of the row's.
    """
    if count.items is None:
        return Size(None, None, ZERO, measured=False)
    codes = modalities or row.modalities or ("OT",)
    raw, fused, slices, measured = ZERO, ZERO, ZERO, True
    for kind, number in (("image", count.images), ("volume", count.volumes), ("video", count.videos)):
        if not number:
            continue
        each = [MEASURED.get((kind, code), ASSUMED[kind]) for code in codes]
        measured = measured and all((kind, code) in MEASURED for code in codes)
        part = _spread(each).times((number * MB,) * 3)
        raw, fused = raw + part, fused + part.times(FUSED[kind])
        if kind == "volume":
            slices += _spread([SLICES.get(c, SLICES_ASSUMED) for c in codes]).times((number,) * 3)
    return Size(raw, fused, slices, measured)


def add(sizes: Iterable[Size]) -> tuple[Range, Range]:
    """(raw, fused) of several; those whose count is not known are not in it."""
    raw, fused = ZERO, ZERO
    for s in sizes:
        raw, fused = raw + (s.raw or ZERO), fused + (s.fused or ZERO)
    return raw, fused


def _spread(each: list[tuple[float, float, float]] | list[tuple[int, int, int]]) -> Range:
    return Range(min(e[0] for e in each), sum(e[1] for e in each) / len(each), max(e[2] for e in each))
