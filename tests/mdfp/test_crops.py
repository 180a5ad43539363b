from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdfp.class_mask import UNTOLD
from mdfp.crops import Crops
from mdfp.errors import UsageError
from mdfp.geometry import apply


def crops_of(corpus, key, crops, seed=0, epoch=0, visit=0):
    return crops.cut(corpus.sample(key), seed=seed, epoch=epoch, visit=visit)


def test_image_and_mask_are_the_same_part(corpus, written):
    crops = Crops((9, 14, 11), per_visit=6, space=["liver", "liver_tumour"], values="stored")
    for crop in crops_of(corpus, "alpha-01", crops):
        part = tuple(slice(a, b) for a, b in zip(crop.box[:3], crop.box[3:], strict=True))
        np.testing.assert_array_equal(crop.image[0], written.samples["alpha-01"].image[part])
        base = written.samples["alpha-01"].layers["base"][part]
        np.testing.assert_array_equal(crop.classes == 1, base == 5)
        np.testing.assert_array_equal(crop.classes == 2, base == 6)


def test_crops_are_a_function_of_seed_epoch_key_and_visit(corpus, written):
    crops = Crops(16, per_visit=3, foreground=0.5)

    def boxes(**where):
        return [c.box for c in crops_of(written.open(), "alpha-00", crops, **where)]

    assert boxes() == boxes()
    assert len({tuple(boxes(seed=s, epoch=e, visit=v)) for s in (0, 1) for e in (0, 1) for v in (0, 1)}) == 8


@pytest.mark.parametrize("size", [(32, 40, 34), (12, 16, 11), (3, 2, 1)])
@pytest.mark.parametrize("target", ["kidney_left", "liver_tumour", "liver"])
def test_foreground_crops_hold_the_structure(corpus, size, target):
    space = ["liver", "kidney_left"] if target == "liver" else ["liver", "kidney_left", "liver_tumour"]
    crops = Crops(size, per_visit=40, space=space, foreground={target: 1.0})
    found = crops_of(corpus, "alpha-00", crops)
    assert all(c.aimed_at == target for c in found)
    hits = [bool((c.classes == 1 + space.index(target)).any()) for c in found]
    if min(size) >= 32:
        assert all(hits)
    else:
        assert np.mean(hits) > (0.5 if min(size) > 3 else 0.15)


def test_foreground_fractions_are_kept(corpus):
    crops = Crops(8, per_visit=400, space=["liver", "kidney_left"], foreground={"liver": 0.5, "kidney_left": 0.25})
    aims = [c.aimed_at for c in crops_of(corpus, "alpha-00", crops)]
    assert abs(aims.count("liver") / 400 - 0.5) < 0.08
    assert abs(aims.count("kidney_left") / 400 - 0.25) < 0.08
    assert abs(aims.count(None) / 400 - 0.25) < 0.08


def test_a_sample_without_a_class_gives_its_share_to_the_others(corpus):
    crops = Crops(8, per_visit=50, space=["spleen", "liver"], foreground={"spleen": 0.5, "liver": 0.5})
    assert {c.aimed_at for c in crops_of(corpus, "alpha-00", crops)} == {"liver"}
    assert {c.aimed_at for c in crops_of(corpus, "delta-00", crops)} == {None}


def test_foreground_of_a_wider_class_is_found_through_what_was_drawn(corpus):
    crops = Crops(32, per_visit=10, space=["kidney"], foreground=1.0)
    assert all((c.classes == 1).any() for c in crops_of(corpus, "alpha-00", crops))


def test_placing_decodes_nothing(own):
    corpus = own.open()
    record = corpus.sample("alpha-00").record
    for shard in own.root.glob("shards/*/*"):
        shard.unlink()
    crops = Crops(16, foreground=1.0)
    from mdfp.draw import Draws

    box, aimed = crops.place(record, "ct", record.images[0].stored.shape, corpus.label_space(), Draws("x"))
    assert len(box) == 6
    assert aimed is not None


@pytest.mark.parametrize("pad", ["constant", "clamp"])
def test_a_crop_larger_than_its_volume_is_padded_on_both_sides(corpus, written, pad):
    image = written.samples["delta-00"].image  # 22, 28, 31
    (crop,) = crops_of(corpus, "delta-00", Crops((30, 16, 40), pad=pad, values="stored", fill=-7))
    assert crop.box[:3] == (-4, crop.box[1], -4)
    y0, y1 = crop.box[1], crop.box[4]
    np.testing.assert_array_equal(crop.image[0, 4:26, :, 4:35], image[:, y0:y1])
    if pad == "constant":
        assert (crop.image[0, :4] == -7).all()
    else:
        np.testing.assert_array_equal(crop.image[0, 0, :, 4:35], image[0, y0:y1])
        np.testing.assert_array_equal(crop.image[0, 29, :, 4:35], image[-1, y0:y1])
    assert (crop.classes == UNTOLD).all()


def test_padding_is_ignored_in_the_class_mask_whatever_the_rule(corpus):
    for pad in ("constant", "clamp"):
        (crop,) = crops_of(corpus, "alpha-02", Crops((41, 20, 20), pad=pad))
        assert (crop.classes[:4] == UNTOLD).all()
        assert (crop.classes[4:37] != UNTOLD).any()


def test_normalised_padding_is_zero_and_physical_padding_the_smallest_value(corpus, written):
    (crop,) = crops_of(corpus, "alpha-02", Crops((41, 20, 20)))
    assert crop.image.dtype == np.float32
    assert (crop.image[0, :4] == 0).all()
    (crop,) = crops_of(corpus, "alpha-02", Crops((41, 20, 20), values="physical"))
    assert (crop.image[0, :4] == written.samples["alpha-02"].image.min()).all()


def test_the_affine_of_a_crop_points_to_the_same_world(corpus):
    (crop,) = crops_of(corpus, "alpha-01", Crops((9, 14, 11)))
    z, y, x = crop.box[:3]
    np.testing.assert_allclose(
        apply(crop.affine_ras, (0, 0, 0)), apply(corpus.sample("alpha-01").affine(), (x, y, z)), atol=1e-9
    )


def test_without_labels_there_is_no_mask(corpus):
    (crop,) = crops_of(corpus, "delta-00", Crops(8, labels=False))
    assert crop.classes is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size_zyx": 0}, "one or three positive numbers"),
        ({"size_zyx": (3, 4)}, "one or three positive numbers"),
        ({"size_zyx": 8, "per_visit": 0}, "per_visit is at least 1"),
        ({"size_zyx": 8, "pad": "mirror"}, "pad is 'constant' or 'clamp'"),
        ({"size_zyx": 8, "foreground": 1.5}, "at most 1 together"),
        ({"size_zyx": 8, "foreground": {"a": 0.9, "b": 0.2}}, "at most 1 together"),
    ],
)
def test_wrong_crops_are_told(arguments, message):
    with pytest.raises(UsageError, match=message):
        Crops(**arguments)


sizes = st.tuples(st.integers(1, 50), st.integers(1, 80), st.integers(1, 110))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(["alpha-01", "alpha-03", "beta-02"]),
    size=sizes,
    per_visit=st.integers(1, 6),
    pad=st.sampled_from(["constant", "clamp"]),
    values=st.sampled_from(["normalised", "physical", "stored"]),
    seed=st.integers(0, 99),
)
def test_crops_of_a_visit_equal_slices_of_the_whole(corpus, written, key, size, per_visit, pad, values, seed):
    crops = Crops(size, per_visit=per_visit, pad=pad, values=values, fill=7, foreground=0.3)
    sample = corpus.sample(key)
    image, classes = sample.image(values=values), sample.classes()
    for crop in crops_of(corpus, key, crops, seed=seed):
        width = [(max(0, -a), max(0, b - n)) for a, b, n in zip(crop.box[:3], crop.box[3:], image.shape, strict=True)]
        part = tuple(slice(max(0, a), b) for a, b in zip(crop.box[:3], crop.box[3:], strict=True))
        rule = {"mode": "edge"} if pad == "clamp" else {"constant_values": 7}
        np.testing.assert_array_equal(crop.image[0], np.pad(image[part], width, **rule))
        np.testing.assert_array_equal(crop.classes, np.pad(classes[part], width, constant_values=UNTOLD))


@pytest.mark.parametrize("unknown", ["ignore", "absent"])
@pytest.mark.parametrize("space", [["liver"], ["kidney_left", "kidney_right", "liver_tumour"], ["liver", "spleen"]])
def test_class_parts_equal_parts_of_the_class_mask(corpus, space, unknown):
    for key in corpus.samples.keys:
        sample = corpus.sample(key)
        whole = sample.classes(space, unknown=unknown)
        boxes = [(0, 0, 0, *whole.shape), (5, 3, 1, 20, 28, 31), (7, 0, 2, 19, 20, 31)]
        for box, part in zip(boxes, sample.class_parts(boxes, space, unknown=unknown), strict=True):
            np.testing.assert_array_equal(part, whole[tuple(map(slice, box[:3], box[3:]))])


def test_crops_of_a_visit_are_separate_and_may_be_written_to(corpus):
    crops = Crops(30, per_visit=3)
    first, *rest = crops_of(corpus, "alpha-00", crops)
    before = [(c.image.copy(), c.classes.copy()) for c in rest]
    first.image[...], first.classes[...] = -5, 9
    for crop, (image, classes) in zip(rest, before, strict=True):
        np.testing.assert_array_equal(crop.image, image)
        np.testing.assert_array_equal(crop.classes, classes)
