"""Pictures as stored: nothing lost, areas averaged, annotations moved along."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from mdfp.codecs import VolumeCodec
from mdfp.pictures import decode
from mdfp.sample import Acquisition
from schemas.case import CaseAnnotation, CaseImage
from schemas.recipe import Recipe
from transforms.flat import Flat
from transforms.normalise.flat import move_on_flat, normalise_flat, png_bytes, shrink, smaller
from transforms.read import raster
from transforms.read.raster import flat_header

RNG = np.random.default_rng(3)


def recipe(**sections):
    content = {"corpus": "c", "out": "-", "sources": [{"id": "s"}], "terms": {"accept": ["CC0-1.0"]}}
    return Recipe.model_validate(content | sections)


def case_image(flat, modality="DX"):
    header = flat_header(
        name="xray", format="png", axes=flat.axes, shape=flat.array.shape, dtype=flat.array.dtype.name, file_bytes=1
    )
    return CaseImage(header, modality, Acquisition())


def stored(flat, **sections):
    return normalise_flat(flat, case_image(flat), recipe(**sections))


PICTURES = [
    RNG.integers(0, 256, (9, 14), np.uint8),
    RNG.integers(0, 65_536, (9, 14), np.uint16),
    RNG.integers(0, 256, (9, 14, 3), np.uint8),
    RNG.integers(0, 65_536, (9, 14, 3), np.uint16),
    RNG.integers(0, 256, (9, 14, 4), np.uint8),
]


@pytest.mark.parametrize("array", PICTURES, ids=lambda a: f"{a.shape}-{a.dtype}")
def test_png_members_hold_the_pixels_and_nothing_else(array):
    flat = Flat(array, "yx" if array.ndim == 2 else "yxc", top=int(np.iinfo(array.dtype).max))
    made = stored(flat)
    assert made.extension == "png"
    np.testing.assert_array_equal(decode(made.data), array)
    assert made.data == stored(flat).data
    kinds, at = [], 8
    while at < len(made.data):
        kinds.append(made.data[at + 4 : at + 8])
        at += 12 + int.from_bytes(made.data[at : at + 4], "big")
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}
    assert made.record.stored.shape == array.shape
    assert (made.record.stored.spacing_xyz_mm, made.record.stored.affine_ras) == (None, None)
    assert made.record.native_intensity.mean == pytest.approx(array.mean())
    assert made.record.native_intensity.maximum == array.max()


GOLDEN_PNG = "b9bea01eeb8c9a9a8ded72ef2f724bf21fd0c1df63cb8bb14114874e29b74ca6"


def test_the_bytes_of_a_png_are_these():
    """Another encoder would give other shards: the plan's environment lock must then have changed."""
    array = (np.arange(40 * 30) % 251).astype(np.uint8).reshape(40, 30)
    assert hashlib.sha256(png_bytes(array)).hexdigest() == GOLDEN_PNG


def jpeg(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", comment=b"a name")
    return buffer.getvalue()


def test_a_jpeg_stays_the_stream_it_was_unless_it_is_made_smaller():
    flat = raster.read(jpeg(PICTURES[2]), recipe().limits)
    kept = stored(flat)
    assert (kept.extension, kept.data) == ("jpg", flat.jpeg)
    np.testing.assert_array_equal(decode(kept.data), flat.array)
    cut = stored(flat, geometry={"longest_side": 8})
    assert (cut.extension, cut.record.stored.shape) == ("png", (5, 8, 3))
    np.testing.assert_array_equal(decode(cut.data), cut.array)
    assert kept.record.content_hash == cut.record.content_hash  # of the native pixels


def test_a_film_is_an_array_of_frames_with_its_frame_time():
    film = RNG.integers(0, 256, (4, 9, 14, 3), np.uint8)
    made = stored(Flat(film, "tyxc", frame_time_ms=40.0))
    assert made.extension == "b2nd"
    np.testing.assert_array_equal(VolumeCodec().decode(made.data), film)
    assert [(a.kind, a.name, a.value) for a in made.annotations] == [("measurement", "frame_time", "40 ms")]


@given(st.integers(1, 300), st.integers(1, 300), st.integers(8, 200))
def test_the_longest_side_is_kept_to_and_never_enlarged(rows, columns, longest):
    found = smaller((rows, columns), longest)
    assert max(found) == min(max(rows, columns), longest)
    assert min(found) >= 1
    assert abs(found[0] * columns - found[1] * rows) <= max(rows, columns) or min(found) == 1  # half a pixel each


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.uint16, st.tuples(st.integers(1, 20), st.integers(1, 20))),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_each_new_pixel_is_the_mean_of_the_area_it_covers(array, rows, columns):
    rows, columns = min(rows, array.shape[0]), min(columns, array.shape[1])
    made = shrink(array, "yx", (rows, columns))
    # A second way: every pixel repeated until the new ones cover whole numbers of them.
    fine = array.astype(np.float64).repeat(rows, axis=0).repeat(columns, axis=1)
    expected = fine.reshape(rows, array.shape[0], columns, array.shape[1]).mean(axis=(1, 3))
    np.testing.assert_allclose(made, expected, atol=0.5 + 1e-9)
    np.testing.assert_array_equal(
        made[::-1, ::-1], shrink(np.ascontiguousarray(array[::-1, ::-1]), "yx", (rows, columns))
    )


def test_films_and_colour_are_made_smaller_frame_by_frame():
    film = RNG.integers(0, 256, (4, 9, 14, 3), np.uint8)
    made = shrink(film, "tyxc", (5, 8))
    for t in range(4):
        for c in range(3):
            np.testing.assert_array_equal(
                made[t, :, :, c], shrink(np.ascontiguousarray(film[t, :, :, c]), "yx", (5, 8))
            )


def test_boxes_move_with_the_picture():
    array = np.zeros((40, 60), np.uint8)
    array[10:20, 30:45] = 200  # edges at y 10 and 20, x 30 and 45
    box = CaseAnnotation("box", "nodule", None, "present", "image", "expert", "xray", (29.5, 9.5, 0, 44.5, 19.5, 0), ())
    made = stored(Flat(array, "yx"), geometry={"longest_side": 12})
    moved = move_on_flat(box, made)
    x0, y0, _, x1, y1, _ = (v + 0.5 for v in moved.index_xyz)
    ys, xs = np.nonzero(made.array)
    assert (x0, y0, x1, y1) == (6, 2, 9, 4) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    assert moved.world_ras_mm == ()
    untouched = stored(Flat(array, "yx"))
    assert move_on_flat(box, untouched).index_xyz == box.index_xyz


def test_spacing_grows_as_pixels_do():
    made = stored(Flat(np.zeros((40, 60), np.uint8), "yx", spacing_xy_mm=(0.5, 0.25)), geometry={"longest_side": 12})
    assert made.record.native.spacing_xyz_mm == (0.5, 0.25)
    assert made.record.stored.spacing_xyz_mm == (2.5, 1.25)


def test_the_default_normalisation_is_asked_for_or_told_or_the_range():
    array = RNG.integers(0, 1024, (30, 20), np.uint16)
    told = Flat(array, "yx", window=(100.0, 500.0), top=1023)
    assert stored(told).record.normalisation.kind == "voi"
    asked = stored(told, intensity={"DX": {"percentiles": [1, 99]}}).record.normalisation
    assert (asked.kind, asked.lower) == ("percentiles", pytest.approx(np.percentile(array, 1)))
    plain = stored(Flat(array, "yx", top=1023)).record.normalisation
    assert (plain.kind, plain.lower, plain.upper) == ("range", 0, 1023)
    assert stored(Flat(array, "yx", top=65_535)).record.normalisation.kind == "percentiles"
