"""The grid that a build made follows from what it recorded: same shape, same place, same taps."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from mdfp.sample import Acquisition, Sample
from schemas.case import ArrayHeader, CaseImage
from schemas.recipe import Recipe
from transforms.labels.flat import FlatOnGrid
from transforms.labels.lattices import Lattice, lattices
from transforms.normalise.grid import OutputGrid
from transforms.normalise.image import NormalisedImage, normalise_image
from transforms.normalise.shared_grid import SharedGrid
from transforms.volume import TemporalVolume, Volume

SHAPE = (6, 9, 11)


def recipe(**geometry: Any) -> Recipe:
    return Recipe.model_validate(
        {"corpus": "c", "out": "-", "sources": [{"id": "s"}], "terms": {"accept": []}, "geometry": geometry}
    )


def affine(spacing: tuple[float, ...], origin: tuple[float, ...] = (12.0, -7.5, 3.25)) -> Any:
    """Axes along L, P, S, a little turned."""
    a = 0.07
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    result = np.eye(4)
    result[:3, :3] = turn @ np.diag([-spacing[0], -spacing[1], spacing[2]])
    result[:3, 3] = origin
    return result


def case_image(name: str, modality: str, shape: tuple[int, ...]) -> CaseImage:
    header = ArrayHeader(
        name=name, format="nifti", axes="zyx", shape=shape, spacing_xyz_mm=None, orientation=None, affine_ras=None,
        obliquity_deg=None, dtype="int16", scale=1, offset=0, frame_of_reference=None, verdict="regular", bytes=1,
    )  # fmt: skip
    return CaseImage(header, modality, Acquisition())


def body(shape: tuple[int, int, int]) -> Any:
    array = np.full(shape, -1000, np.int16)
    array[1:-1, 2:-2, 3:-3] = 30
    array[0, 0, 0] = -900
    return array


def sample(*images: NormalisedImage) -> Sample:
    empty: dict[str, Any] = {f.name: () for f in dataclasses.fields(Sample)}
    return Sample(**empty | {"images": tuple(i.record for i in images)})


def same(found: Any, built: NormalisedImage) -> None:
    assert isinstance(found, Lattice)
    np.testing.assert_array_equal(found.canonical.affine_ras, built.canonical.affine_ras)
    assert found.canonical.shape_zyx == built.canonical.shape_zyx
    assert found.grid.shape_zyx == built.grid.shape_zyx
    np.testing.assert_allclose(found.grid.affine_ras, built.grid.affine_ras, atol=1e-9)
    if isinstance(built.grid, OutputGrid) and isinstance(found.grid, OutputGrid):
        for mine, theirs in zip(found.grid.coverage_zyx, built.grid.coverage_zyx, strict=True):
            np.testing.assert_array_equal(mine.first, theirs.first)
            np.testing.assert_array_equal(mine.integer, theirs.integer)
    else:
        assert isinstance(found.grid, SharedGrid)
        assert isinstance(built.grid, SharedGrid)
        np.testing.assert_array_equal(found.grid.to_input, built.grid.to_input)
        assert found.grid.samples_zyx == built.grid.samples_zyx


@pytest.mark.parametrize(
    "geometry",
    [
        {"spacing_mm": "native"},
        {"spacing_mm": [1.0, 1.0, 1.0]},
        {"spacing_mm": {"in_plane": 2.5, "through_plane": "native"}, "low_pass": False},
        {"spacing_mm": [2.0, 2.0, 2.0], "upsample": "never", "interpolation": "cubic"},
        {"spacing_mm": [1.0, 1.5, 2.0], "crop": "foreground"},
        {"spacing_mm": "native", "crop": "foreground"},
    ],
    ids=str,
)
def test_the_published_grid_leads_to_the_stored_one(geometry: dict[str, Any]) -> None:
    wanted = recipe(**geometry)
    built = normalise_image(Volume(body(SHAPE), affine((0.9, 1.3, 2.1))), case_image("ct", "CT", SHAPE), wanted)
    found = dict(lattices(sample(built), built.record, wanted))
    same(found["published"], built)
    assert ("stored" in found) == (not built.grid.identity)
    for lattice in found.values():
        assert lattice.grid.shape_zyx == built.record.stored.shape


def test_images_on_a_shared_grid_are_brought_to_their_reference() -> None:
    wanted = recipe(spacing_mm=[1.5, 1.5, 2.0], grid={"reference": "CT"})
    ct = normalise_image(Volume(body(SHAPE), affine((0.9, 1.3, 2.1))), case_image("ct", "CT", SHAPE), wanted)
    shape = (4, 7, 8)
    there = Volume(body(shape), affine((1.4, 1.8, 3.1), (11.0, -6.0, 2.0)))
    assert isinstance(ct.grid, OutputGrid)
    pt = normalise_image(there, case_image("pt", "PT", shape), wanted, ct.grid)
    record = sample(ct, pt)
    same(dict(lattices(record, ct.record, wanted))["published"], ct)
    found = dict(lattices(record, pt.record, wanted))
    same(found["published"], pt)
    assert found["stored"].grid.shape_zyx == ct.record.stored.shape


def test_masks_of_an_image_over_time_lie_on_one_of_its_time_points() -> None:
    wanted = recipe(spacing_mm=[1.5, 1.5, 2.0])
    array = np.stack([body(SHAPE), body(SHAPE) + np.int16(1)])
    volume = TemporalVolume(array, affine((0.9, 1.3, 2.1)), "TemporalPositionIdentifier")
    built = normalise_image(volume, case_image("ct", "CT", array.shape), wanted)
    same(dict(lattices(sample(built), built.record, wanted))["published"], built)


def test_another_recipe_than_the_corpus_was_built_by_leads_nowhere() -> None:
    built = normalise_image(
        Volume(body(SHAPE), affine((0.9, 1.3, 2.1))), case_image("ct", "CT", SHAPE), recipe(spacing_mm=[1.0, 1.0, 1.0])
    )
    assert [name for name, _ in lattices(sample(built), built.record, recipe(spacing_mm=[2.0, 2.0, 2.0]))] == ["stored"]


def test_pictures_have_their_sizes_and_films_none() -> None:
    built = normalise_image(
        Volume(body(SHAPE), affine((0.9, 1.3, 2.1))), case_image("ct", "CT", SHAPE), recipe(spacing_mm="native")
    )
    native = dataclasses.replace(built.record.native, shape=(20, 30), affine_ras=None)
    stored = dataclasses.replace(native, shape=(10, 15))
    picture = dataclasses.replace(built.record, axes="yx", native=native, stored=stored)
    found = dict(lattices(sample(built), picture, recipe()))
    assert all(isinstance(lattice, FlatOnGrid) for lattice in found.values())
    assert {name: lattice.native_yx for name, lattice in found.items() if isinstance(lattice, FlatOnGrid)} == {
        "stored": (10, 15),
        "published": (20, 30),
    }
    film = dataclasses.replace(picture, axes="tyx")
    assert dict(lattices(sample(built), film, recipe())) == {}
