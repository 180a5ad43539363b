"""One sample, opened: its arrays, or parts of them, decoded when asked for."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from mdfp.class_mask import UNTOLD, class_mask, structure_masks
from mdfp.codecs import VolumeCodec
from mdfp.errors import CorpusError, UsageError
from mdfp.geometry import Affine
from mdfp.label_space import LabelSpace, Openness, Unknown
from mdfp.labels import State
from mdfp.sample import Member, Normalisation, Sample, SampleImage, SampleLabel

if TYPE_CHECKING:
    from mdfp.corpus import Corpus

Values = Literal["normalised", "physical", "stored"]
"""Which numbers: ready for a network (0..1), in the image's unit, or as they lie in the shard."""

Space = LabelSpace | Sequence[str] | Mapping[str, str | Sequence[str]] | None
"""A label space, what makes one, or None for the corpus's default."""

Box = tuple[int, ...]
"""z0, y0, x0, z1, y1, x1 in stored voxels, ends exclusive."""


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
        self._told: dict[tuple[int, str, tuple[str, ...]], tuple[Openness, ...]] = {}
        self.record = record
        """The row of the index: everything known without pixels."""

    def __repr__(self) -> str:
        return f"OpenSample({self.key!r}, images={[i.name for i in self.record.images]})"

    @property
    def key(self) -> str:
        """Name of the sample."""
        return self.record.key

    def array(self, name: str | None = None) -> Any:
        """The stored image as a lazy blosc2 array: slicing it decodes the blocks it touches.

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
        record = self._image(name)
        stored = self._cut(self._open("image", record.name), box)
        if values == "stored":
            return stored
        if values not in ("physical", "normalised"):
            raise UsageError(f"values: expected normalised, physical or stored, found {values!r}")
        return rescale(stored, record, normalise=values == "normalised", out=out)

    def label(self, layer: str | None = None, *, box: Box | None = None) -> npt.NDArray[Any]:
        """A stored mask of palette values and `mdfp.labels.IGNORE`, or part of it; by default the first layer."""
        names = [entry.layer for entry in self.record.labels]
        if not names or (layer is not None and layer not in names):
            raise UsageError(f"{self.key} has the label layers {names}, asked for {layer or 'the first'!r}")
        return self._cut(self._open("label", layer or names[0]), box)

    def classes(
        self,
        space: Space = None,
        *,
        image: str | None = None,
        box: Box | None = None,
        layers: Collection[str] | None = None,
        unknown: Unknown = "ignore",
        ignore: int = UNTOLD,
    ) -> npt.NDArray[Any]:
        """One class per voxel, for a loss: 0 background, 1..n as in the space, `ignore` where it cannot be told.

        Args:
            space: which classes; the corpus's default space when left out. Rules: `mdfp.label_space`.
            image: the image on whose grid; may be left out when there is one.
            box: part of it.
            layers: read these layers only (an expert's and not a model's, say); default all.
            unknown: `"absent"` takes what nobody looked for as not there. Ignored for a ready LabelSpace.
            ignore: the number for voxels that cannot be told.
        """
        return class_mask(*self._masks(space, image, box, layers, unknown), ignore=ignore)

    def masks(
        self,
        space: Space = None,
        *,
        image: str | None = None,
        box: Box | None = None,
        layers: Collection[str] | None = None,
        unknown: Unknown = "ignore",
    ) -> npt.NDArray[np.uint8]:
        """A mask per class, (classes, z, y, x) uint8: 1, 0, or 255 where it cannot be told. Arguments as `classes`."""
        return structure_masks(*self._masks(space, image, box, layers, unknown))

    def states(self, space: Space = None) -> dict[str, State]:
        """State of each class of a label space in this sample."""
        return self._corpus.label_space(space).states(self.record)

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

    def text(self, name: str) -> str:
        """A report or caption."""
        return bytes(self._bytes(self._member("text", name))).decode()

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

    def _masks(
        self, space: Space, image: str | None, box: Box | None, wanted: Collection[str] | None, unknown: Unknown
    ) -> tuple[list[npt.NDArray[Any]], tuple[int, ...], tuple[int, ...], LabelSpace, tuple[Openness, ...]]:
        asked = self._corpus.label_space(space, unknown=unknown)
        record = self._image(image)
        shape = record.stored.shape
        start: tuple[int, ...] = (0,) * len(shape)
        if box is not None:
            start = tuple(box[: len(box) // 2])
            shape = tuple(b - a for a, b in zip(start, box[len(box) // 2 :], strict=True))
        labels = self._layers(record, wanted)
        names = tuple(e.layer for e in labels)
        openness = self._told.get((id(asked), record.name, names))
        if openness is None:
            openness = asked.openness(self.record, names)
            if isinstance(space, LabelSpace):
                self._told[id(asked), record.name, names] = openness
        return [self.label(name, box=box) for name in names], shape, start, asked, openness

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
            if not member.name.endswith(f".{VolumeCodec.extension}"):
                raise UsageError(f"{member.name}: this reader decodes .{VolumeCodec.extension} members")
            try:
                self._arrays[member.name] = VolumeCodec().open(self._bytes(member))
            except (RuntimeError, ValueError) as error:
                raise self._damaged(member.name, error) from error
        return self._arrays[member.name]

    def _cut(self, array: Any, box: Box | None) -> npt.NDArray[Any]:
        if box is None:
            index: Any = ...
        else:
            n = array.ndim
            if len(box) != 2 * n or any(
                not 0 <= a < b <= s for a, b, s in zip(box[:n], box[n:], array.shape, strict=True)
            ):
                raise UsageError(
                    f"{self.key}: box {box} is not inside the shape {array.shape}; give lower then upper corner"
                )
            index = tuple(slice(int(a), int(b)) for a, b in zip(box[:n], box[n:], strict=True))
        try:
            return np.asarray(array[index])
        except (RuntimeError, ValueError) as error:
            raise self._damaged(self.record.shard, error) from error

    def _damaged(self, name: str, error: Exception) -> CorpusError:
        where = self._corpus.store.where(self.record.shard)
        return CorpusError(f"{where}: {name} of {self.key} does not decode ({error}); `mdfp verify` lists every fault")


def rescale(
    stored: npt.NDArray[Any], record: SampleImage, *, normalise: bool, out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Stored numbers as physical ones, or clipped and mapped to 0..1 by the image's default normalisation.

    An image whose normalisation is `none`, or has no width, gives physical numbers or zeros respectively.

    Returns:
        float32 of the same shape: `out` when it was given.
    """
    scale, offset = record.scale, record.offset
    n: Normalisation = record.normalisation
    clip = normalise and n.kind != "none"
    if clip:
        width = n.upper - n.lower
        scale, offset = (scale / width, (offset - n.lower) / width) if width > 0 else (0.0, 0.0)
    result = np.empty(stored.shape, dtype=np.float32) if out is None else out
    if stored.itemsize <= 2 or stored.dtype == np.float32:
        result[...] = stored
        if (scale, offset) != (1.0, 0.0):
            result *= np.float32(scale)
            result += np.float32(offset)
    else:
        result[...] = stored * scale + offset
    return np.clip(result, 0.0, 1.0, out=result) if clip else result
