"""Pictures as batches: one size, one number of channels, and what is known of each as numbers.

    corpus.loader("train", seed=7, batch=32, crops=Frames(224, findings=("pneumonia", "edema")))
    corpus.loader("train", seed=7, batch=32, crops=Frames(224, labels=True, space=["optic_disc", "optic_cup"]))

A picture that is smaller than the size lies in the middle of it, one that is larger is cut at a place drawn from (seed,
epoch, key); nothing is resized here (`geometry: {longest_side: 224}` in the recipe does that once for all). Of a film one
frame is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp.class_mask import UNTOLD, mask_dtype
from mdfp.crops import Crop
from mdfp.draw import Draws
from mdfp.errors import UsageError
from mdfp.label_space import LabelSpace, Unknown
from mdfp.labels import State
from mdfp.opened import OpenSample, Space, Values

NO_CLASS = -1
"""Number of a class that nobody told, or that is none of those asked for."""

_ANSWERS = {State.PRESENT: 1.0, State.ABSENT: 0.0}


@dataclass(frozen=True)
class FrameCrop(Crop):
    """A picture or a part of one: `image` is (channels, y, x), `box` is y0, x0, y1, x1, beyond the picture where padded.

    `classes` is (y, x), or None without labels.

    Attributes:
        targets: by name: `findings`, float32 of 1 (present), 0 (absent) and NaN (uncertain, or nobody said); and for each
            classification a number of its class, or `NO_CLASS`.
    """

    targets: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Frames:
    """What to take of each picture or film.

    Attributes:
        size_yx: rows and columns; one number for a square.
        channels: 1 or 3; grey pictures are repeated, of colour the mean of the channels is taken. Alpha is left out.
        findings: names of findings to answer.
        classes: name of a classification -> its classes, numbered in this order.
        image: name of the image; None for the only one.
        values: normalised, physical or stored (as float32).
        per_visit: parts each time a sample comes up.
        labels: True for a class mask with each part; not of films.
        space: classes of the mask; the corpus's default space when None.
        unknown: see `Corpus.label_space`.
        ignore: number in the class mask for pixels that cannot be told, and for the padding.
    """

    size_yx: int | Sequence[int]
    channels: int = 3
    findings: tuple[str, ...] = ()
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    image: str | None = None
    values: Values = "normalised"
    per_visit: int = 1
    labels: bool = False
    space: Space = None
    unknown: Unknown = "ignore"
    ignore: int = UNTOLD

    def __post_init__(self) -> None:
        size = (self.size_yx,) * 2 if isinstance(self.size_yx, int) else tuple(self.size_yx)
        if len(size) != 2 or any(not isinstance(s, int) or s < 1 for s in size):
            raise UsageError(f"frames: size_yx is one or two positive numbers, found {self.size_yx!r}")
        object.__setattr__(self, "size_yx", size)
        if self.channels not in (1, 3) or self.per_visit < 1:
            raise UsageError(
                f"frames: channels is 1 or 3, per_visit at least 1, found {self.channels}, {self.per_visit}"
            )
        if strange := {"image", "classes", "findings", "box", "key", "source", "repeat", "epoch", "step"} & set(
            self.classes
        ):
            raise UsageError(f"frames: a batch has {sorted(strange)} of its own; no classification can be called so")

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        y, x = self.size_yx  # type: ignore[misc]  # made a tuple above
        return y, x

    def weights(self, space: LabelSpace) -> dict[str, float]:
        """Nothing: parts are not placed on structures."""
        return {}

    def cut(self, sample: OpenSample, *, seed: int, epoch: int, visit: int = 0) -> list[FrameCrop]:
        """The parts of one visit: a function of (seed, epoch, key, visit).

        Raises:
            UsageError: a volume, or several images and no name.
            CorpusError: the shard is missing or damaged.
        """
        name = self.image or sample.only_image()
        axes, shape = sample.record.image(name).axes, sample.array(name).shape
        if axes not in ("yx", "yxc", "tyx", "tyxc"):
            raise UsageError(f"{sample.key}: frames are taken of pictures and films, {name} has axes {axes}")
        if self.labels and "t" in axes:
            raise UsageError(f"{sample.key}: a film has no masks, {name} has axes {axes}; take frames without labels")
        draws = Draws("frame", seed, epoch, sample.key, visit)
        targets = self._targets(sample, name)
        return [self._part(sample, name, axes, shape, draws, targets) for _ in range(self.per_visit)]

    def _part(
        self,
        sample: OpenSample,
        name: str,
        axes: str,
        shape: tuple[int, ...],
        draws: Draws,
        targets: Mapping[str, npt.NDArray[Any]],
    ) -> FrameCrop:
        start: list[int] = []
        low: list[int] = []
        high: list[int] = []
        for axis, n in zip(axes, shape, strict=True):
            if axis == "t":
                number = draws.below(n)
                low, high = [*low, number], [*high, number + 1]
            elif axis == "c":
                low, high = [*low, 0], [*high, {2: 1, 4: 3}.get(n, n)]
            else:
                size = self.size[0] if axis == "y" else self.size[1]
                at = draws.below(n - size + 1) if n > size else -((size - n) // 2)
                start.append(at)
                low, high = [*low, max(0, at)], [*high, min(n, at + size)]
        part = sample.image(name, box=(*low, *high), values=self.values).astype(np.float32, copy=False)
        part = part[0] if "t" in axes else part
        planes = np.moveaxis(part, -1, 0) if "c" in axes else part[np.newaxis]
        if len(planes) > self.channels:
            planes = planes.mean(axis=0, keepdims=True, dtype=np.float32)
        image = np.zeros((self.channels, *self.size), np.float32)
        y, x = (max(0, -at) for at in start)
        image[:, y : y + planes.shape[1], x : x + planes.shape[2]] = planes
        box = (start[0], start[1], start[0] + self.size[0], start[1] + self.size[1])
        classes = self._classes(sample, name, start, shape[axes.index("y") :][:2]) if self.labels else None
        return FrameCrop(sample.key, sample.record.source, box, image, classes, None, None, targets=targets)

    def _classes(
        self, sample: OpenSample, name: str, start: Sequence[int], rows_columns: Sequence[int]
    ) -> npt.NDArray[Any]:
        """The class mask of a part that begins at `start`, `ignore` where it reaches beyond the picture."""
        asked = sample.label_space(self.space, self.unknown)
        low = [max(0, at) for at in start]
        high = [min(n, at + size) for n, at, size in zip(rows_columns, start, self.size, strict=True)]
        mask = np.full(self.size, self.ignore, mask_dtype(len(asked), self.ignore))
        there = tuple(slice(a - at, b - at) for a, b, at in zip(low, high, start, strict=True))
        mask[there] = sample.classes(asked, image=name, box=(*low, *high), ignore=self.ignore)
        return mask

    def _targets(self, sample: OpenSample, name: str) -> dict[str, npt.NDArray[Any]]:
        told = [a for a in sample.annotations(kind="class") if a.image in (None, name)]
        found: dict[str, npt.NDArray[Any]] = {}
        if self.findings:
            states = {a.name: a.state for a in told}
            answers = [_ANSWERS.get(states.get(f, State.UNKNOWN), np.nan) for f in self.findings]
            found["findings"] = np.array(answers, np.float32)
        for what, classes in self.classes.items():
            value = next((a.value for a in told if a.name == what and a.state is State.PRESENT), None)
            numbers: dict[str | None, int] = {c: number for number, c in enumerate(classes)}
            found[what] = np.array(numbers.get(value, NO_CLASS), np.int64)
        return found
