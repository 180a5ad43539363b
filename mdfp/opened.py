"""One sample, opened: its arrays, or parts of them, decoded when asked for."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from mdfp.boxes import at_one_time, empty, shape_of, spread, whole
from mdfp.class_mask import UNTOLD, class_mask, class_table, look_up, mask_dtype, structure_masks
from mdfp.codecs import VolumeCodec
from mdfp.errors import CorpusError, UsageError
from mdfp.geometry import Affine
from mdfp.label_space import LabelSpace, Openness, Unknown
from mdfp.labels import State
from mdfp.origins import View
from mdfp.pictures import Decoded, decode, is_picture
from mdfp.pieces import Box, Change, pieces
from mdfp.readers import Reader, together, views
from mdfp.sample import Member, Sample, SampleAnnotation, SampleImage, SampleLabel
from mdfp.scaling import Scaling
from mdfp.targets import Marginal, agreed_marginal, marginal, multi_hot

if TYPE_CHECKING:
    from mdfp.corpus import Corpus

Values = Literal["normalised", "physical", "stored"]
"""Which numbers: ready for a network (0..1), in the image's unit, or as they lie in the shard."""

Space = LabelSpace | Sequence[str] | Mapping[str, str | Sequence[str]] | None
"""A label space, what makes one, or None for the corpus's default."""

Asked = tuple[LabelSpace, tuple[str, ...], tuple[Openness, ...]]
"""Classes, the layers that are read for them, and what each layer leaves open."""


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
        self._seen: dict[tuple[Any, ...], tuple[View, ...]] = {}
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
        frame: int | None = None,
        values: Values = "physical",
        out: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[Any]:
        """An image, or the part in a box.

        Args:
            name: which; may be left out when there is one.
            box: part of it, within the volume; of an image over time (`tzyx`) z0, y0, x0, z1, y1, x1 at every time point, or
                t0, z0, y0, x0, t1, z1, y1, x1.
            frame: one time point of an image over time, or one frame of a film, from 0: nothing of the others is decoded.
            values: see `Values`; `stored` keeps the dtype of the shard, the others are float32.
            out: where to put it, of the part's shape; float32.

        Returns:
            Array with the image's axes (`zyx` for a volume); without `t` where one frame was asked for.

        Raises:
            UsageError: an image, box or kind of values that does not exist.
            CorpusError: the shard is missing or damaged.
        """
        part = self._timed(self._image(name), box, frame)
        if frame is None:
            return self.image_parts([part], name, values=values, out=None if out is None else [out])[0]
        given = None if out is None else [out[np.newaxis]]
        return self.image_parts([part], name, values=values, out=given)[0][0]

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
        found = list(out) if out is not None else empty(boxes, np.dtype(np.float32))
        scaling = Scaling(record, normalise=values == "normalised")
        for number, there, stored in self._pieces(array, boxes):
            scaling.apply(stored, found[number][there])
        return found

    def _timed(self, image: SampleImage, box: Box | None, frame: int | None) -> Box:
        """A box of all axes of an image, from one of those of a time point, and the number of that."""
        shape = image.stored.shape
        found = whole(shape) if box is None else tuple(box)
        if not image.axes.startswith("t"):
            if frame is not None:
                raise UsageError(f"{self.key}: frame= is of images over time and films, {image.name} has {image.axes}")
            return found
        if len(found) == 2 * (len(shape) - 1):
            found = spread(found, (0, shape[0]))
        if frame is None:
            return found
        if not 0 <= frame < shape[0]:
            raise UsageError(f"{self.key}: {image.name} has the frames 0..{shape[0] - 1}, asked for {frame}")
        return spread(at_one_time(found, len(shape)), (frame, frame + 1))

    def _label_box(self, image: str | None, box: Box | None) -> Box:
        """A box of the masks of an image, which are of one time point."""
        record = self._image(image)
        shape = _mask_shape(record)
        found = whole(shape) if box is None else tuple(box)
        return at_one_time(found, len(shape)) if record.axes == "tzyx" else found

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
        reader: Reader = None,
        unknown: Unknown = "ignore",
        ignore: int = UNTOLD,
    ) -> npt.NDArray[Any]:
        """One class per voxel or pixel, for a loss: 0 background, 1..n as in the space, `ignore` where it cannot be told.

        The mask of a picture has its rows and columns, and no channels: a box is y0, x0, y1, x1.

        Args:
            space: which classes; the corpus's default space when left out. Rules: `mdfp.label_space`.
            image: the image on whose grid; may be left out when there is one. What is drawn on an image over time is one
                mask, for every time point.
            box: part of it.
            layers: read these layers only; default all.
            origins: who is asked, in this order: `["expert", "model"]`; default `mdfp.origins.ORDER`.
            reader: of several readers, among those origins, the one whose word is taken: `reader-2`, 2 or `consensus`; see
                `mdfp.readers`.
            unknown: `"absent"` takes what nobody looked for as not there. Ignored for a ready LabelSpace.
            ignore: the number for voxels that cannot be told.
        """
        boxes = [self._label_box(image, box)]
        return self.class_parts(
            boxes, space, image=image, layers=layers, origins=origins, reader=reader, unknown=unknown, ignore=ignore
        )[0]

    def class_parts(
        self,
        boxes: Sequence[Box],
        space: Space = None,
        *,
        image: str | None = None,
        layers: Collection[str] | None = None,
        origins: Sequence[str] | None = None,
        reader: Reader = None,
        unknown: Unknown = "ignore",
        ignore: int = UNTOLD,
    ) -> list[npt.NDArray[Any]]:
        """`classes` of several boxes: a block that they share is decoded once. Arguments as `classes`."""
        seen = [
            self._class_parts(boxes, self._asked(space, image, layers, view, unknown), view, ignore)
            for view in self._views(origins, reader, layers)
        ]
        return [_agreed(parts, ignore) for parts in zip(*seen, strict=True)]

    def _class_parts(self, boxes: Sequence[Box], asked: Asked, view: View, ignore: int) -> list[npt.NDArray[Any]]:
        space, names, openness = asked
        dtype = mask_dtype(len(space), ignore)
        if len(names) == 1:
            array = self._open("label", names[0])
            if (table := class_table(space, openness, array.dtype, ignore)) is not None:
                found = empty(boxes, dtype)

                def class_of(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
                    return look_up(view.shown(names[0], stored), table)

                for number, there, classes in self._pieces(array, boxes, class_of):
                    found[number][there] = classes
                return found
        stored = [[view.shown(n, part) for part in self._copy(self._open("label", n), boxes)] for n in names]
        return [
            class_mask([layer[i] for layer in stored], shape_of(box), box[: len(box) // 2], space, openness, ignore)
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
        reader: Reader = None,
        unknown: Unknown = "ignore",
    ) -> npt.NDArray[np.uint8]:
        """A mask per class, (classes, z, y, x) or of a picture (classes, y, x): uint8 of 1, 0, or 255 where it cannot be told.

        A lesion that is a class itself is left out of its organ's mask; `multi_hot` has both. Arguments as `classes`.
        """
        found = []
        for view in self._views(origins, reader, layers):
            asked, names, openness = self._asked(space, image, layers, view, unknown)
            found.append(structure_masks(*self._stored(view, names, image, box), asked, openness))
        return _agreed(found, UNTOLD)

    def multi_hot(
        self,
        space: Space = None,
        *,
        image: str | None = None,
        box: Box | None = None,
        layers: Collection[str] | None = None,
        origins: Sequence[str] | None = None,
        reader: Reader = None,
        unknown: Unknown = "ignore",
        ignore: int = UNTOLD,
    ) -> npt.NDArray[np.uint8]:
        """A channel per class, nested ones overlapping: shape and numbers as `masks`, see `mdfp.targets`.

        Arguments as `classes`.
        """
        found = []
        for view in self._views(origins, reader, layers):
            asked, names, _ = self._asked(space, image, layers, view, unknown)
            found.append(multi_hot(*self._stored(view, names, image, box), asked, view.record, names, ignore))
        return _agreed(found, ignore)

    def marginal(
        self,
        space: Space = None,
        *,
        image: str | None = None,
        box: Box | None = None,
        layers: Collection[str] | None = None,
        origins: Sequence[str] | None = None,
        reader: Reader = None,
        unknown: Unknown = "ignore",
        ignore: int = UNTOLD,
    ) -> Marginal:
        """Groups of classes that this sample does not tell apart, and the target over them: see `mdfp.targets`.

        Arguments as `classes`.
        """
        found = []
        for view in self._views(origins, reader, layers):
            asked, names, _ = self._asked(space, image, layers, view, unknown)
            found.append(marginal(*self._stored(view, names, image, box), asked, view.record, names, ignore))
        return agreed_marginal(found, ignore)

    def states(
        self, space: Space = None, *, origins: Sequence[str] | None = None, reader: Reader = None
    ) -> dict[str, State]:
        """State of each class of a label space in this sample, or as some origins, or one of several readers, say."""
        return self._corpus.label_space(space).states(self.seen_by(origins, reader))

    @property
    def readers(self) -> tuple[str, ...]:
        """Who read the sample, where several did: `reader-1`, …, and `consensus:<rule>` of a fused layer."""
        return tuple(dict.fromkeys(r.reader for r in self.record.readings))

    def seen_by(self, origins: Sequence[str] | None = None, reader: Reader = None) -> Sample:
        """The record with the states that these origins, and of several readers this one, give; see `mdfp.readers`.

        Where readers differ and none was chosen, the word of the first who drew a structure.
        """
        return together(self._views(origins, reader))

    def affine(self, image: str | None = None, *, box: Box | None = None) -> Affine | None:
        """4×4 of an image, or of the part in a box: voxel index (x, y, z) → world mm, RAS. None if unknown."""
        record = self._image(image)
        if record.stored.affine_ras is None:
            return None
        affine = np.array(record.stored.affine_ras, dtype=np.float64).reshape(4, 4)
        if box is not None:
            low = box[: len(box) // 2]
            z, y, x = low[-3:] if "z" in record.axes else (0, *low[-2:])  # of a picture y and x are given
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

    def _views(
        self, origins: Sequence[str] | None, reader: Reader, layers: Collection[str] | None = None
    ) -> tuple[View, ...]:
        of_origins = origins if origins is None or isinstance(origins, str) else tuple(origins)
        key = of_origins, reader, None if layers is None else tuple(sorted(layers))
        if key not in self._seen:
            self._seen[key] = views(self.record, reader, layers, origins)
        return self._seen[key]

    def _stored(
        self, view: View, names: Sequence[str], image: str | None, box: Box | None
    ) -> tuple[list[npt.NDArray[Any]], tuple[int, ...], tuple[int, ...]]:
        """Stored masks of a part as a view shows them, the part's shape, and its first voxel."""
        box = self._label_box(image, box)
        return [view.shown(n, self.label(n, box=box)) for n in names], shape_of(box), box[: len(box) // 2]

    def _asked(
        self, space: Space, image: str | None, wanted: Collection[str] | None, view: View, unknown: Unknown
    ) -> Asked:
        asked = self._corpus.label_space(space, unknown=unknown)
        record = self._image(image)
        found = self._layers(record, wanted)
        names = tuple(e.layer for e in found if view.layers is None or e.layer in view.layers)
        key = (id(asked), record.name, names, id(view))
        openness = self._told.get(key)
        if openness is None:
            openness = asked.openness(view.record, names)
            if isinstance(space, LabelSpace):
                self._told[key] = openness
        return asked, names, openness

    def _member(self, kind: str, array: str) -> Member:
        for member in self.record.members:
            if member.kind == kind and member.array == array:
                return member
        raise CorpusError(f"{self.key}: the index names no {kind} member {array!r} of it")

    def _bytes(self, member: Member) -> bytes | memoryview:
        return self._corpus.store.read_range(self.record.tar_of(member), member.offset, member.bytes)

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
                raise self._damaged(self.record.tar_of(member), member.name, error) from error
        return self._arrays[member.name]

    def _copy(
        self, array: Any, boxes: Sequence[Box], out: Sequence[npt.NDArray[Any]] | None = None
    ) -> list[npt.NDArray[Any]]:
        found = list(out) if out is not None else empty(boxes, array.dtype)
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
            raise self._damaged(self.record.shard, "a member", error) from error

    def _damaged(self, tar: str, name: str, error: Exception) -> CorpusError:
        where = self._corpus.store.where(tar)
        return CorpusError(f"{where}: {name} of {self.key} does not decode ({error}); `mdfp verify` lists every fault")


def _mask_shape(image: SampleImage) -> tuple[int, ...]:
    """Shape of masks on an image: its own, without the channels of a picture."""
    return tuple(n for axis, n in zip(image.axes, image.stored.shape, strict=True) if axis != "c")


def _agreed(seen: Sequence[npt.NDArray[Any]], ignore: int) -> npt.NDArray[Any]:
    """What several masks of one part say alike, `ignore` where they differ; the first, where there is one."""
    first, *others = seen
    if not others:
        return first
    same = np.logical_and.reduce([first == other for other in others])
    return np.where(same, first, np.array(ignore, dtype=first.dtype))
