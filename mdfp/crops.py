"""Crops: where to cut, decided from the index alone, and the arrays that a network takes.

Foreground is found from the boxes and occupied blocks that the index holds for each structure, so that nothing is decoded
but the blocks that a crop touches.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mdfp.boxes import spread
from mdfp.class_mask import UNTOLD
from mdfp.codecs import BLOCK_VOXELS
from mdfp.draw import Draws
from mdfp.errors import UsageError
from mdfp.geometry import Affine
from mdfp.label_space import LabelSpace, Unknown
from mdfp.opened import OpenSample, Space, Values
from mdfp.origins import checked
from mdfp.pieces import Box
from mdfp.readers import Reader, check
from mdfp.sample import Sample


@dataclass(frozen=True)
class Crop:
    """A part of a sample, its images and class mask on one grid."""

    key: str
    """Name of the sample."""
    source: str
    """Its source."""
    box: Box
    """z0, y0, x0, z1, y1, x1 in stored voxels, ends exclusive; beyond the volume where it was padded."""
    image: npt.NDArray[Any]
    """(images, z, y, x), or (images, t, z, y, x) of several time points: float32, or the stored dtype for
    `values="stored"`."""
    classes: npt.NDArray[Any] | None
    """(z, y, x) class mask, `ignore` in the padding; None for `labels=False`."""
    affine_ras: Affine | None
    """Voxel index (x, y, z) of the crop → world mm."""
    aimed_at: str | None
    """The class that the crop was placed on; None for a place drawn from the whole volume."""
    frames: tuple[int, int] | None = None
    """First time point of an image over time that was taken, and the one after the last; None of a volume."""


@dataclass(frozen=True)
class Crops:
    """What to cut from each sample.

    Attributes:
        size_zyx: voxels along z, y, x; one number for a cube.
        per_visit: crops each time a sample comes up.
        space: classes of the mask; the corpus's default space when None.
        labels: False to take images only.
        foreground: fraction of the crops that are placed on a structure: one number, shared evenly by the classes of the
            space, or a fraction for each class named. A crop so placed covers one whole occupied block of the class (or
            lies in it, when it is smaller), so it holds voxels of it. Where a sample has none of a class, the others
            take its share; where it has none of any, the place is drawn from the whole volume.
        pad: what fills a crop that is larger than its volume: `"constant"` (`fill`) or `"clamp"` (the nearest voxel).
            The volume lies in the middle. The class mask holds `ignore` there, whatever the rule.
        fill: the constant, in the numbers asked for; None for 0 in normalised ones, the image's smallest value in others.
        values: normalised, physical or stored.
        images: names of the images, which must share a grid; None for the only one.
        layers: label layers to read; None for all.
        origins: whose labels to read, in order of preference; None for `mdfp.origins.ORDER`.
        reader: of several readers the one whose word is taken; see `mdfp.readers`.
        unknown: see `Corpus.label_space`.
        ignore: number in the class mask for voxels that cannot be told.
        frames: time points to take of an image over time. 1: one is drawn, and the crop is as that of a volume. A number n:
            n that follow each other, from a drawn one, on an axis of their own; `"all"`: all of them. The same are taken of
            all images over time of a crop, and the class mask is that of each of them.
    """

    size_zyx: int | Sequence[int]
    per_visit: int = 1
    space: Space = None
    labels: bool = True
    foreground: float | Mapping[str, float] = 0.0
    pad: Literal["constant", "clamp"] = "constant"
    fill: float | None = None
    values: Values = "normalised"
    images: tuple[str, ...] | None = None
    layers: Collection[str] | None = None
    origins: tuple[str, ...] | None = None
    reader: Reader = None
    unknown: Unknown = "ignore"
    ignore: int = UNTOLD
    frames: int | Literal["all"] = 1

    def __post_init__(self) -> None:
        size = (self.size_zyx,) * 3 if isinstance(self.size_zyx, int) else tuple(self.size_zyx)
        if len(size) != 3 or any(not isinstance(s, int) or s < 1 for s in size):
            raise UsageError(f"crops: size_zyx is one or three positive numbers, found {self.size_zyx!r}")
        object.__setattr__(self, "size_zyx", size)
        if self.frames != "all" and (not isinstance(self.frames, int) or self.frames < 1):
            raise UsageError(f"crops: frames is a positive number or 'all', found {self.frames!r}")
        check(self.reader)
        checked(self.origins)
        if self.per_visit < 1:
            raise UsageError(f"crops: per_visit is at least 1, found {self.per_visit}")
        if self.pad not in ("constant", "clamp"):
            raise UsageError(f"crops: pad is 'constant' or 'clamp', found {self.pad!r}")
        parts = list(self.foreground.values()) if isinstance(self.foreground, Mapping) else [self.foreground]
        if any(p < 0 for p in parts) or sum(parts) > 1 + 1e-9:
            raise UsageError(
                f"crops: foreground fractions are at least 0 and at most 1 together, found {self.foreground}"
            )

    @property
    def size(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        z, y, x = self.size_zyx  # type: ignore[misc]  # made a tuple above
        return z, y, x

    def weights(self, space: LabelSpace) -> dict[str, float]:
        """Fraction for each class that crops are placed on.

        Raises:
            UsageError: a fraction for what is no class of the space.
        """
        if isinstance(self.foreground, Mapping):
            if strange := set(self.foreground) - set(space.names):
                raise UsageError(f"crops: foreground names {sorted(strange)}, the classes are {list(space.names)}")
            return {n: float(w) for n, w in self.foreground.items() if w > 0}
        return {n: self.foreground / len(space) for n in space.names} if self.foreground > 0 and len(space) else {}

    def cut(self, sample: OpenSample, *, seed: int, epoch: int, visit: int = 0) -> list[Crop]:
        """The crops of one visit: a function of (seed, epoch, key, visit) and the index, nothing else.

        Raises:
            UsageError: images on different grids, or something asked for that the sample does not have.
            CorpusError: the shard is missing or damaged.
        """
        names = self.images or (sample.only_image(),)
        shape = _shared_shape(sample, names)
        space = sample.label_space(self.space, self.unknown) if self.labels else None
        draws = Draws("crop", seed, epoch, sample.key, visit)
        record = sample.seen_by(self.origins, self.reader)
        placed = [self.place(record, names[0], shape, space, draws) for _ in range(self.per_visit)]
        cuts = [Cut.of(box, shape) for box, _ in placed]
        # Drawn apart, so that places are the same whatever is taken of time.
        times = self._times(sample, names, Draws("frames", seed, epoch, sample.key, visit))
        images = self._images(sample, names, cuts, times)
        classes: Sequence[npt.NDArray[Any] | None] = [None] * len(cuts)
        if space is not None:
            classes = self._classes(sample, space, names[0], cuts)
        return [
            Crop(
                key=sample.key,
                source=sample.record.source,
                box=box,
                image=image,
                classes=told,
                affine_ras=sample.affine(names[0], box=box),
                aimed_at=aimed_at,
                frames=frames,
            )
            for (box, aimed_at), image, told, frames in zip(placed, images, classes, times, strict=True)
        ]

    def _times(self, sample: OpenSample, names: Sequence[str], draws: Draws) -> list[tuple[int, int] | None]:
        """Time points of each crop; None where no image is over time.

        Raises:
            UsageError: images of different numbers of time points, or of fewer than asked for.
        """
        counts = {n: r.stored.shape[0] for n in names if (r := sample.record.image(n)).axes == "tzyx"}
        if not counts and self.frames == 1:
            return [None] * self.per_visit
        if len(counts) < len(names) and self.frames != 1:
            axes = {n: sample.record.image(n).axes for n in names}
            raise UsageError(f"{sample.key}: frames={self.frames!r} needs images over time (axes tzyx), found {axes}")
        if len(set(counts.values())) > 1:
            raise UsageError(f"{sample.key}: crops of several images need one number of time points, found {counts}")
        total = next(iter(counts.values()))
        wanted = total if self.frames == "all" else self.frames
        if wanted > total:
            raise UsageError(f"{sample.key}: frames is {wanted}, {next(iter(counts))} has {total} time points")
        starts = (draws.below(total - wanted + 1) for _ in range(self.per_visit))
        return [(start, start + wanted) for start in starts]

    def place(
        self, record: Sample, image: str, shape: tuple[int, ...], space: LabelSpace | None, draws: Draws
    ) -> tuple[Box, str | None]:
        """Where to cut: (box, class aimed at). Reads the index only."""
        aimed_at, target = None, None
        if space is not None and (weights := self.weights(space)):
            blocks = {name: _blocks(record, image, shape, space, name) for name in weights}
            present = {name: w for name, w in weights.items() if blocks[name]}
            total, throw = sum(weights.values()), draws.uniform()
            if present and throw < total:
                aimed_at = _choose(present, throw / total)
                target = blocks[aimed_at][draws.below(len(blocks[aimed_at]))]
        start = []
        for axis, (n, size) in enumerate(zip(shape, self.size, strict=True)):
            if n <= size:
                start.append(-((size - n) // 2))
                continue
            low, high = 0, n - size
            if target is not None:
                a, b = target[axis], target[axis + 3]
                # Cover [a, b), or lie in it when the crop is the smaller; then stay inside the volume.
                low, high = (b - size, a) if b - a <= size else (a, b - size)
                low, high = max(0, min(low, n - size)), max(0, min(high, n - size))
            start.append(low + draws.below(high - low + 1))
        return (*start, *(a + s for a, s in zip(start, self.size, strict=True))), aimed_at

    def _images(
        self, sample: OpenSample, names: Sequence[str], cuts: Sequence[Cut], times: Sequence[tuple[int, int] | None]
    ) -> list[npt.NDArray[Any]]:
        if any(t is not None for t in times):
            return self._images_over_time(sample, names, cuts, [t for t in times if t is not None])
        stored = self.values == "stored"
        dtype = np.dtype(sample.record.image(names[0]).dtype) if stored else np.dtype(np.float32)
        images = [np.empty((len(names), *self.size), dtype=dtype) for _ in cuts]
        for channel, name in enumerate(names):
            channels = [image[channel] for image in images]
            inside = [c[cut.at] for c, cut in zip(channels, cuts, strict=True)]
            sample.image_parts([cut.inner for cut in cuts], name, values=self.values, out=inside)
            for whole, part, cut in zip(channels, inside, cuts, strict=True):
                self._pad(whole, part, cut, sample, name)
        return images

    def _images_over_time(
        self, sample: OpenSample, names: Sequence[str], cuts: Sequence[Cut], times: Sequence[tuple[int, int]]
    ) -> list[npt.NDArray[Any]]:
        """As `_images`, with an axis of time behind that of the images unless one time point is asked for.

        A volume beside images over time is taken as it is: then one time point is asked for.
        """
        stored = self.values == "stored"
        dtype = np.dtype(sample.record.image(names[0]).dtype) if stored else np.dtype(np.float32)
        images = [np.empty((len(names), b - a, *self.size), dtype=dtype) for a, b in times]
        boxes = [spread(cut.inner, t) for cut, t in zip(cuts, times, strict=True)]
        for channel, name in enumerate(names):
            still = sample.record.image(name).axes == "zyx"
            found = sample.image_parts([cut.inner for cut in cuts] if still else boxes, name, values=self.values)
            parts = [part[np.newaxis] for part in found] if still else found
            for image, part, cut in zip(images, parts, cuts, strict=True):
                for whole, moment in zip(image[channel], part, strict=True):
                    whole[cut.at] = moment
                    self._pad(whole, moment, cut, sample, name)
        return [image[:, 0] for image in images] if self.frames == 1 else images

    def _pad(self, whole: npt.NDArray[Any], part: npt.NDArray[Any], cut: Cut, sample: OpenSample, name: str) -> None:
        """Fill what of a crop lies beyond its volume, around the part that is there."""
        if part.shape == whole.shape:
            return
        if self.pad == "clamp":
            width = [(s.start, n - s.stop) for s, n in zip(cut.at, self.size, strict=True)]
            whole[...] = np.pad(part, width, mode="edge")
        else:
            _fill_around(whole, cut.at, self._constant(sample, name))

    def _classes(
        self, sample: OpenSample, space: LabelSpace, image: str, cuts: Sequence[Cut]
    ) -> list[npt.NDArray[Any]]:
        told = sample.class_parts(
            [cut.inner for cut in cuts],
            space,
            image=image,
            layers=self.layers,
            origins=self.origins,
            reader=self.reader,
            ignore=self.ignore,
        )
        classes = []
        for part, cut in zip(told, cuts, strict=True):
            whole = part
            if part.shape != self.size:
                whole = np.full(self.size, self.ignore, dtype=part.dtype)
                whole[cut.at] = part
            classes.append(whole)
        return classes

    def _constant(self, sample: OpenSample, name: str) -> float:
        if self.fill is not None:
            return self.fill
        record = sample.record.image(name)
        if self.values == "normalised" and record.normalisation.kind != "none":
            return 0.0
        low = record.stored_intensity.minimum
        return round((low - record.offset) / record.scale) if self.values == "stored" else low


@dataclass(frozen=True)
class Cut:
    """A crop's box, cut to its volume."""

    inner: Box
    """What is inside the volume."""
    at: tuple[slice, ...]
    """Where that lies in the crop."""

    @staticmethod
    def of(box: Box, shape: tuple[int, ...]) -> Cut:
        """A box that may reach beyond a volume of that shape."""
        low = tuple(max(0, a) for a in box[:3])
        high = tuple(min(n, b) for n, b in zip(shape, box[3:], strict=True))
        at = tuple(slice(a - o, b - o) for a, b, o in zip(low, high, box[:3], strict=True))
        return Cut((*low, *high), at)


def _fill_around(whole: npt.NDArray[Any], at: tuple[slice, ...], value: float) -> None:
    """Set everything but the part at `at`."""
    for axis, s in enumerate(at):
        rim: list[slice] = [*at[:axis], slice(0, s.start), *[slice(None)] * (whole.ndim - axis - 1)]
        whole[tuple(rim)] = value
        rim[axis] = slice(s.stop, None)
        whole[tuple(rim)] = value


def _shared_shape(sample: OpenSample, names: Sequence[str]) -> tuple[int, ...]:
    images = {name: sample.record.image(name) for name in names}
    first = images[names[0]]
    if first.axes not in ("zyx", "tzyx"):
        raise UsageError(
            f"{sample.key}: crops are cut from volumes (z, y, x), {names[0]} has the shape {first.stored.shape}"
        )
    grids = {name: (i.stored.shape[-3:], i.stored.affine_ras) for name, i in images.items()}
    if len(set(grids.values())) > 1:
        shapes = {n: i.stored.shape for n, i in images.items()}
        raise UsageError(f"{sample.key}: crops of several images need one grid, found shapes {shapes}; name one image")
    return first.stored.shape[-3:]


def _blocks(record: Sample, image: str, shape: tuple[int, ...], space: LabelSpace, name: str) -> list[Box]:
    """The occupied blocks of a class, each cut to its structure's box, in order."""
    held = space.held_by(name)
    on_grid = {label.layer for label in record.labels if label.image == image}
    n = [-(-s // BLOCK_VOXELS) for s in shape]
    found = []
    for state in record.structures:
        if state.structure not in held or state.layer not in on_grid or state.box is None:
            continue
        for number in state.blocks:
            corner = (number // (n[1] * n[2]), number // n[2] % n[1], number % n[2])
            low = [max(c * BLOCK_VOXELS, a) for c, a in zip(corner, state.box[:3], strict=True)]
            high = [min((c + 1) * BLOCK_VOXELS, b) for c, b in zip(corner, state.box[3:], strict=True)]
            found.append((*low, *high))
    return found


def _choose(weights: Mapping[str, float], throw: float) -> str:
    """The name whose share of the total `throw` in [0, 1) falls on."""
    left = throw * sum(weights.values())
    for name, weight in weights.items():
        left -= weight
        if left < 0:
            return name
    return name
