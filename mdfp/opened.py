"""One sample, opened: its arrays, or parts of them, decoded when asked for."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from mdfp.class_mask import UNTOLD, class_mask, class_table, look_up, mask_dtype, structure_masks
from mdfp.codecs import VolumeCodec
from mdfp.errors import CorpusError, UsageError
from mdfp.geometry import Affine
from mdfp.label_space import LabelSpace, Openness, Unknown
from mdfp.labels import State
from mdfp.origins import View, view
from mdfp.pictures import Decoded, decode, is_picture
from mdfp.pieces import Box, Change, pieces
from mdfp.sample import Member, Normalisation, Sample, SampleAnnotation, SampleImage, SampleLabel
from mdfp.targets import Marginal, marginal, multi_hot

if TYPE_CHECKING:
    from mdfp.corpus import Corpus

Values = Literal["normalised", "physical", "stored"]
"""Which numbers: ready for a network (0..1), in the image's unit, or as they lie in the shard."""

Space = LabelSpace | Sequence[str] | Mapping[str, str | Sequence[str]] | None
"""A label space, what makes one, or None for the corpus's default."""

SCALED_AT_ONCE = 2**17
"""Voxels that are scaled together: half a megabyte as float32, a quarter of a core's own cache."""


class OpenSample:
    """A sample of a corpus. Nothing is read until an array is asked for, and then only the blocks it touches.

    Example:
        sample = corpus.sample("msd09-spleen-12")
        ct = sample.image()                      # (z, y, x) float32, HU
        mask = sample.classes(["spleen"])        # (z, y, x) uint8: 0, 1, 255 where it cannot be told
        part = sample.image(box=(0, 0, 0, 32, 64, 64), values="normalised")
    """

    def __init__(self, corpus: Corpus, record: Sample):
        self._corpus = corpus
        self._arrays: dict[str, Any] = {}
        self._told: dict[tuple[Any, ...], tuple[Openness, ...]] = {}
        self._views: dict[tuple[tuple[str, ...] | None, tuple[str, ...] | None], View] = {}
        self.record = record
        """The row of the index: everything known without pixels."""

    def __repr__(self) -> str:
        return f"OpenSample({self.key!r}, images={[i.name for i in self.record.images]})"

    @property
    def key(self) -> str:
        """Name of the sample."""
        return self.record.key

    def array(self, name: str | None = None) -> Any:
        """The stored image as a lazy blosc2 array: slicing it decodes the blocks it touches. A picture is decoded whole.

        Raises:
            UsageError: no image of that name, or several and no name.
            CorpusError: the shard is missing, cut short or damaged here.
        """
        return self._open("image", self._image(name).name)

    def image(
        self,
        name: str | None = None,
        *,
        box: Box | None = None,
        values: Values = "physical",
        out: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[Any]:
        """An image, or the part in a box.

        Args:
            name: which; may be left out when there is one.
            box: part of it, within the volume.
            values: see `Values`; `stored` keeps the dtype of the shard, the others are float32.
            out: where to put it, of the part's shape; float32.

        Returns:
            Array with the image's axes (`zyx` for a volume).

        Raises:
            UsageError: an image, box or kind of values that does not exist.
            CorpusError: the shard is missing or damaged.
        """
        boxes = [whole(self.array(name).shape) if box is None else box]
        return self.image_parts(boxes, name, values=values, out=None if out is None else [out])[0]

    def image_parts(
        self,
        boxes: Sequence[Box],
        name: str | None = None,
        *,
        values: Values = "physical",
        out: Sequence[npt.NDArray[Any]] | None = None,
    ) -> list[npt.NDArray[Any]]:
        """The parts of an image in several boxes: a block that they share is decoded once.

        Args:
            boxes: parts within the volume.
            name: as for `image`.
            values: as for `image`.
            out: where to put each, of the part's shape and the dtype that `image` gives.

        Returns:
            `out`, or new arrays.

        Raises:
            UsageError: as `image`.
            CorpusError: the shard is missing or damaged.
        """
        record = self._image(name)
        if values not in ("physical", "normalised", "stored"):
            raise UsageError(f"values: expected normalised, physical or stored, found {values!r}")
        array = self._open("image", record.name)
        if values == "stored":
            return self._copy(array, boxes, out)
        found = list(out) if out is not None else _empty(boxes, np.dtype(np.float32))
        scaling = Scaling(record, normalise=values == "normalised")
        for number, there, stored in self._pieces(array, boxes):
            scaling.apply(stored, found[number][there])
        return found

    def label(self, layer: str | None = None, *, box: Box | None = None) -> npt.NDArray[Any]:
        """A stored mask of palette values and `mdfp.labels.IGNORE`, or part of it; by default the first layer."""
        names = [entry.layer for entry in self.record.labels]
        if not names or (layer is not None and layer not in names):
            raise UsageError(f"{self.key} has the label layers {names}, asked for {layer or 'the first'!r}")
        array = self._open("label", layer or names[0])
        return self._copy(array, [whole(array.shape) if box is None else box])[0]

    def classes(
        self,
        space: Space = None,
        *,
        image: str | None = None,
        box: Box | None = None,
        layers: Collection[str] | None = None,
        origins: Sequence[str] | None = None,
        unknown: Unknown = "ignore",
        ignore: int = UNTOLD,
    ) -> npt.NDArray[Any]:
        """One class per voxel, for a loss: 0 background, 1..n as in the space, `ignore` where it cannot be told.

        Args:
            space: which classes; the corpus's default space when left out. Rules: `mdfp.label_space`.
            image: the image on whose grid; may be left out when there is one.
            box: part of it.
            layers: read these layers only; default all.
            origins: who is asked, in this order: `["expert", "model"]`; default `mdfp.origins.ORDER`.
            unknown: `"absent"` takes what nobody looked for as not there. Ignored for a ready LabelSpace.
            ignore: the number for voxels that cannot be told.
        """
        boxes = [whole(self._image(image).stored.shape) if box is None else box]
        return self.class_parts(
            boxes, space, image=image, layers=layers, origins=origins, unknown=unknown, ignore=ignore
        )[0]

    def class_parts(
        self,
        boxes: Sequence[Box],
        space: Space = None,
        *,
        image: str | None = None,
        layers: Collection[str] | None = None,
        origins: Sequence[str] | None = None,
        unknown: Unknown = "ignore",
        ignore: int = UNTOLD,
    ) -> list[npt.NDArray[Any]]:
        """`classes` of several boxes: a block that they share is decoded once. Arguments as `classes`."""
        asked, names, openness = self._asked(space, image, layers, origins, unknown)
        seen = self._view(origins, layers)
        dtype = mask_dtype(len(asked), ignore)
        if len(names) == 1:
            array = self._open("label", names[0])
            if (table := class_table(asked, openness, array.dtype, ignore)) is not None:
                found = _empty(boxes, dtype)

                def told(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
                    return look_up(seen.shown(names[0], stored), table)

                for number, there, classes in self._pieces(array, boxes, told):
                    found[number][there] = classes
                return found
        stored = [[seen.shown(n, part) for part in self._copy(self._open("label", n), boxes)] for n in names]
        return [
            class_mask([layer[i] for layer in stored], _shape(box), box[: len(box) // 2], asked, openness, ignore)
            for i, box in enumerate(boxes)
        ]

    def masks(
        self,
        space: Space = None,
        *,
        image: str | None = None,
        box: Box | None = None,
        layers: Collection[str] | None = None,
        origins: Sequence[str] | None = None,
        unknown: Unknown = "ignore",
    ) -> npt.NDArray[np.uint8]:
        """A mask per class, (classes, z, y, x) uint8: 1, 0, or 255 where it cannot be told. Arguments as `classes`.

        A lesion that is a class itself is left out of its organ's mask; `multi_hot` has both.
        """
        asked, names, openness = self._asked(space, image, layers, origins, unknown)
        box = whole(self._image(image).stored.shape) if box is None else box
        return structure_masks(
            self._shown(names, box, self._view(origins, layers)), _shape(box), box[: len(box) // 2], asked, openness
        )

    def multi_hot(
        self,
        space: Space = None,
        *,
        image: str | None = None,
        box: Box | None = None,
        layers: Collection[str] | None = None,
        origins: Sequence[str] | None = None,
        unknown: Unknown = "ignore",
        ignore: int = UNTOLD,
    ) -> npt.NDArray[np.uint8]:
        """A channel per class, (classes, z, y, x) uint8, nested ones overlapping: see `mdfp.targets`. Arguments as `classes`."""
        asked, names, _ = self._asked(space, image, layers, origins, unknown)
        box = whole(self._image(image).stored.shape) if box is None else box
        seen, start = self._view(origins, layers), box[: len(box) // 2]
        return multi_hot(self._shown(names, box, seen), _shape(box), start, asked, seen.record, names, ignore)

    def marginal(
        self,
        space: Space = None,
        *,
        image: str | None = None,
        box: Box | None = None,
        layers: Collection[str] | None = None,
        origins: Sequence[str] | None = None,
        unknown: Unknown = "ignore",
        ignore: int = UNTOLD,
    ) -> Marginal:
        """Groups of classes that this sample does not tell apart, and the target over them: see `mdfp.targets`.

        Arguments as `classes`.
        """
        asked, names, _ = self._asked(space, image, layers, origins, unknown)
        box = whole(self._image(image).stored.shape) if box is None else box
        seen, start = self._view(origins, layers), box[: len(box) // 2]
        return marginal(self._shown(names, box, seen), _shape(box), start, asked, seen.record, names, ignore)

    def states(self, space: Space = None, *, origins: Sequence[str] | None = None) -> dict[str, State]:
        """State of each class of a label space in this sample."""
        return self._corpus.label_space(space).states(self._view(origins).record)

    def affine(self, image: str | None = None, *, box: Box | None = None) -> Affine | None:
        """4×4 of an image, or of the part in a box: voxel index (x, y, z) → world mm, RAS. None if unknown."""
        record = self._image(image)
        if record.stored.affine_ras is None:
            return None
        affine = np.array(record.stored.affine_ras, dtype=np.float64).reshape(4, 4)
        if box is not None:
            z, y, x = box[:3]
            affine[:3, 3] += affine[:3, 0] * x + affine[:3, 1] * y + affine[:3, 2] * z
        return affine

    def annotations(
        self, *, kind: str | None = None, name: str | None = None, image: str | None = None
    ) -> tuple[SampleAnnotation, ...]:
        """Classes, boxes, points and measurements, all or those of a kind, a name, an image. Nothing is read."""
        wanted = {"kind": kind, "name": name, "image": image}
        asked = {field: value for field, value in wanted.items() if value is not None}
        return tuple(a for a in self.record.annotations if all(getattr(a, f) == v for f, v in asked.items()))

    def finding(self, name: str) -> State:
        """State of a finding that annotations of the kind `class` speak of; `unknown` where none does.

        Raises:
            UsageError: they differ from image to image; ask `annotations` for the one.
        """
        states = {a.state for a in self.annotations(kind="class", name=name)} or {State.UNKNOWN}
        if len(states) > 1:
            raise UsageError(f"{self.key}: {name!r} is {sorted(states)} on different images; see annotations(image=)")
        return states.pop()

    def text(self, name: str) -> str:
        """A report or caption."""
        return bytes(self._bytes(self._member("text", name))).decode()

    def member(self, kind: str, name: str) -> tuple[str, bytes]:
        """A member of the shard as it is: its name, and its bytes.

        Raises:
            CorpusError: the index names none such, or the shard is missing or damaged.
        """
        found = self._member(kind, name)
        return found.name, bytes(self._bytes(found))

    def snapshot(self) -> dict[str, Any]:
        """`<key>.json` of the shard: what readers without an index get."""
        return dict(json.loads(bytes(self._bytes(self._member("json", "")))))

    def label_space(self, space: Space = None, unknown: Unknown = "ignore") -> LabelSpace:
        """A label space of the sample's corpus; see `Corpus.label_space`."""
        return self._corpus.label_space(space, unknown=unknown)

    def only_image(self) -> str:
        """Name of the sample's image.

        Raises:
            UsageError: it has none, or several.
        """
        return self._image(None).name

    def _image(self, name: str | None) -> SampleImage:
        try:
            return self.record.image(name)
        except KeyError as error:
            raise UsageError(str(error.args[0])) from error

    def _layers(self, image: SampleImage, wanted: Collection[str] | None) -> list[SampleLabel]:
        names = [entry.layer for entry in self.record.labels]
        if wanted is not None and (strange := set(wanted) - set(names)):
            raise UsageError(f"{self.key} has the label layers {names}, asked for {sorted(strange)}")
        return [e for e in self.record.labels if e.image == image.name and (wanted is None or e.layer in wanted)]

    def seen_by(self, origins: Sequence[str] | None = None) -> Sample:
        """The record with the states that these origins give, in their order of preference: see `mdfp.origins`."""
        return self._view(origins).record

    def _view(self, origins: Sequence[str] | None, layers: Collection[str] | None = None) -> View:
        key = None if origins is None else tuple(origins), None if layers is None else tuple(sorted(layers))
        if key not in self._views:
            self._views[key] = view(self.record, origins, layers)
        return self._views[key]

    def _shown(self, names: Sequence[str], box: Box, seen: View) -> list[npt.NDArray[Any]]:
        return [seen.shown(name, self.label(name, box=box)) for name in names]

    def _asked(
        self,
        space: Space,
        image: str | None,
        wanted: Collection[str] | None,
        origins: Sequence[str] | None,
        unknown: Unknown,
    ) -> tuple[LabelSpace, tuple[str, ...], tuple[Openness, ...]]:
        asked = self._corpus.label_space(space, unknown=unknown)
        record, seen = self._image(image), self._view(origins, wanted)
        found = [e.layer for e in self._layers(record, wanted)]
        names = tuple(n for n in found if seen.layers is None or n in seen.layers)
        key = (id(asked), record.name, names, id(seen))
        openness = self._told.get(key)
        if openness is None:
            openness = asked.openness(seen.record, names)
            if isinstance(space, LabelSpace):
                self._told[key] = openness
        return asked, names, openness

    def _member(self, kind: str, array: str) -> Member:
        for member in self.record.members:
            if member.kind == kind and member.array == array:
                return member
        raise CorpusError(f"{self.key}: the index names no {kind} member {array!r} of it")

    def _bytes(self, member: Member) -> bytes | memoryview:
        return self._corpus.store.read_range(self.record.shard, member.offset, member.bytes)

    def _open(self, kind: str, name: str) -> Any:
        member = self._member(kind, name)
        if member.name not in self._arrays:
            picture = is_picture(member.name)
            if not picture and not member.name.endswith(f".{VolumeCodec.extension}"):
                raise UsageError(f"{member.name}: this reader decodes .{VolumeCodec.extension}, .png and .jpg members")
            try:
                data = self._bytes(member)
                self._arrays[member.name] = Decoded(decode(data)) if picture else VolumeCodec().open(data)
            except (RuntimeError, ValueError) as error:
                raise self._damaged(member.name, error) from error
        return self._arrays[member.name]

    def _copy(
        self, array: Any, boxes: Sequence[Box], out: Sequence[npt.NDArray[Any]] | None = None
    ) -> list[npt.NDArray[Any]]:
        found = list(out) if out is not None else _empty(boxes, array.dtype)
        for number, there, stored in self._pieces(array, boxes):
            found[number][there] = stored
        return found

    def _pieces(
        self, array: Any, boxes: Sequence[Box], change: Change | None = None
    ) -> Iterator[tuple[int, tuple[slice, ...], npt.NDArray[Any]]]:
        n = array.ndim
        for box in boxes:
            if len(box) != 2 * n or any(
                not 0 <= a < b <= s for a, b, s in zip(box[:n], box[n:], array.shape, strict=True)
            ):
                raise UsageError(
                    f"{self.key}: box {box} is not inside the shape {array.shape}; give lower then upper corner"
                )
        try:
            yield from pieces(array, boxes, change)
        except (RuntimeError, ValueError) as error:
            raise self._damaged(self.record.shard, error) from error

    def _damaged(self, name: str, error: Exception) -> CorpusError:
        where = self._corpus.store.where(self.record.shard)
        return CorpusError(f"{where}: {name} of {self.key} does not decode ({error}); `mdfp verify` lists every fault")


class Scaling:
    """Stored numbers as physical ones, or clipped and mapped to 0..1 by the image's default normalisation.

    An image whose normalisation is `none`, or has no width, gives physical numbers or zeros respectively.
    """

    def __init__(self, record: SampleImage, *, normalise: bool):
        scale, offset = record.scale, record.offset
        n: Normalisation = record.normalisation
        self.clip = normalise and n.kind != "none"
        if self.clip:
            width = n.upper - n.lower
            scale, offset = (scale / width, (offset - n.lower) / width) if width > 0 else (0.0, 0.0)
        self.scale, self.offset = scale, offset

    def apply(self, stored: npt.NDArray[Any], out: npt.NDArray[np.float32]) -> None:
        """Put what the numbers mean into `out`, float32 of the same shape.

        All steps but the last work on a part that stays in the cache: `out` is new memory, and is gone over once.
        """
        rows = max(1, SCALED_AT_ONCE // max(1, stored[:1].size))
        for first in range(0, len(stored), rows):
            self._apply(stored[first : first + rows], out[first : first + rows])

    def _apply(self, stored: npt.NDArray[Any], out: npt.NDArray[np.float32]) -> None:
        if stored.itemsize <= 2 or stored.dtype == np.float32:
            part = stored.astype(np.float32)
            if (self.scale, self.offset) != (1.0, 0.0):
                part *= np.float32(self.scale)
                part += np.float32(self.offset)
        else:
            part = (stored * self.scale + self.offset).astype(np.float32)
        if self.clip:
            np.clip(part, 0.0, 1.0, out=part)
        out[...] = part


def whole(shape: tuple[int, ...]) -> Box:
    """The box of a volume."""
    return (*(0 for _ in shape), *shape)


def _shape(box: Box) -> tuple[int, ...]:
    n = len(box) // 2
    return tuple(b - a for a, b in zip(box[:n], box[n:], strict=True))


def _empty(boxes: Sequence[Box], dtype: np.dtype[Any]) -> list[npt.NDArray[Any]]:
    return [np.empty(_shape(box), dtype=dtype) for box in boxes]
