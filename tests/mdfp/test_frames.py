"""Pictures as batches: where they lie, what is told of them, and that nothing but the names decides."""

from __future__ import annotations

import numpy as np
import pytest

from mdfp.crops import Crop
from mdfp.errors import UsageError
from mdfp.frames import NO_CLASS, Frames
from mdfp.labels import State
from mdfp.loader import collate
from mdfp.sample import SampleAnnotation

RNG = np.random.default_rng(7)


class Stub:
    """As much of an opened sample as frames ask of it."""

    def __init__(self, array, axes, annotations=(), key="a"):
        self._array, self.key = array, key
        self.record = self
        self.source, self.axes, self._told = "toy", axes, annotations

    def only_image(self):
        return "xray"

    def image(self, name=None, *, box=None, values="stored"):
        if box is None:
            return self  # the record's method
        n = len(box) // 2
        return self._array[tuple(slice(a, b) for a, b in zip(box[:n], box[n:], strict=True))]

    def array(self, name):
        return self._array

    def annotations(self, kind):
        return [a for a in self._told if a.kind == kind]


def told(name, value=None, state=State.PRESENT, image="xray"):
    return SampleAnnotation("class", name, value, state, "image", "expert", image, (), ())


def test_a_small_picture_lies_in_the_middle_and_its_channels_are_repeated():
    array = RNG.integers(1, 255, (5, 8), np.uint8)
    (crop,) = Frames((9, 8)).cut(Stub(array, "yx"), seed=1, epoch=0)
    assert crop.image.shape == (3, 9, 8)
    assert crop.box == (-2, 0, 7, 8)
    for channel in crop.image:
        np.testing.assert_array_equal(channel[2:7], array)
        assert not channel[:2].any()
        assert not channel[7:].any()


def test_a_large_picture_is_cut_where_its_box_says():
    array = RNG.integers(1, 255, (30, 40, 3), np.uint8)
    found = Frames((9, 8), per_visit=5).cut(Stub(array, "yxc"), seed=1, epoch=0)
    assert len({c.box for c in found}) > 1
    for crop in found:
        y, x, y1, x1 = crop.box
        np.testing.assert_array_equal(crop.image, np.moveaxis(array[y:y1, x:x1], -1, 0))
    again = Frames((9, 8), per_visit=5).cut(Stub(array, "yxc"), seed=1, epoch=0)
    assert [c.box for c in again] == [c.box for c in found]
    other = Frames((9, 8), per_visit=5).cut(Stub(array, "yxc"), seed=1, epoch=1)
    assert [c.box for c in other] != [c.box for c in found]


def test_alpha_is_left_out_and_colour_becomes_grey_where_asked():
    array = RNG.integers(1, 255, (6, 6, 4), np.uint8)
    (crop,) = Frames(6).cut(Stub(array, "yxc"), seed=0, epoch=0)
    np.testing.assert_array_equal(crop.image, np.moveaxis(array[..., :3], -1, 0))
    (grey,) = Frames(6, channels=1).cut(Stub(array, "yxc"), seed=0, epoch=0)
    np.testing.assert_allclose(grey.image[0], array[..., :3].mean(axis=-1), rtol=1e-6)
    (first,) = Frames(6, channels=1).cut(Stub(array[..., :2], "yxc"), seed=0, epoch=0)
    np.testing.assert_array_equal(first.image[0], array[..., 0])


@pytest.mark.parametrize("axes", ["tyx", "tyxc"])
def test_of_a_film_one_frame_is_drawn(axes):
    array = np.broadcast_to(np.arange(1, 8, dtype=np.uint8).reshape(7, 1, 1, 1), (7, 6, 6, 3)).copy()
    array = array if axes == "tyxc" else array[..., 0]
    seen = set()
    for epoch in range(60):
        (crop,) = Frames(6).cut(Stub(array, axes), seed=0, epoch=epoch)
        assert len(np.unique(crop.image)) == 1
        seen.add(int(crop.image[0, 0, 0]))
    assert seen == set(range(1, 8))


def test_what_nobody_said_is_nan_and_not_absent():
    annotations = [
        told("edema"), told("mass", state=State.ABSENT), told("hernia", state=State.UNCERTAIN),
        told("diagnosis", "nevus"), told("effusion", image="lateral"),
    ]  # fmt: skip
    asked = Frames(
        6,
        findings=("edema", "mass", "hernia", "fracture", "effusion"),
        classes={"diagnosis": ["mole", "nevus"], "view": ["AP"]},
    )
    crops = asked.cut(Stub(np.ones((6, 6), np.uint8), "yx", annotations), seed=0, epoch=0)
    batch = collate([*crops, *crops], 0, 0, [False, False])
    np.testing.assert_array_equal(batch["findings"], [[1, 0, np.nan, np.nan, np.nan]] * 2)
    np.testing.assert_array_equal(batch["diagnosis"], [1, 1])
    np.testing.assert_array_equal(batch["view"], [NO_CLASS, NO_CLASS])
    assert batch["image"].shape == (2, 3, 6, 6)
    assert batch["box"].shape == (2, 4)
    assert "classes" not in batch
    assert isinstance(crops[0], Crop)


def test_a_volume_is_refused_by_name():
    with pytest.raises(UsageError, match="frames are taken of pictures and films, xray has axes zyx"):
        Frames(6).cut(Stub(np.ones((6, 6, 6), np.uint8), "zyx"), seed=0, epoch=0)


@pytest.mark.parametrize(
    "wrong",
    [{"size_yx": 0}, {"size_yx": (1, 2, 3)}, {"size_yx": 4, "channels": 2}, {"size_yx": 4, "classes": {"key": []}}],
)
def test_arguments_that_make_no_sense_are_explained(wrong):
    with pytest.raises(UsageError, match="frames: "):
        Frames(**wrong)
