from __future__ import annotations

import csv
import hashlib
import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mdfp import canonical, geometry
from schemas.case import CaseImage
from schemas.recipe import Recipe
from transforms.normalise.image import normalise_image
from transforms.rejected import Rejected
from transforms.volume import Volume

MakeRecipe = Callable[..., Recipe]
MakeCase = Callable[..., CaseImage]
Oblique = Callable[..., geometry.Affine]
ISO = {"spacing_mm": [1.5, 1.5, 1.5]}


def ct(shape: tuple[int, int, int] = (8, 22, 19), seed: int = 3) -> np.ndarray:
    array = np.full(shape, -1000, dtype=np.int16)
    array[1:-2, 4:-3, 3:-4] = 40
    return (array + np.random.default_rng(seed).integers(-20, 20, shape)).astype(np.int16)


def test_array_affine_and_record_agree(recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique) -> None:
    result = normalise_image(Volume(ct(), oblique(code="LPS")), case_image(), recipe(geometry=ISO))
    record = result.record
    assert result.array_zyx.shape == record.stored.shape == result.grid.shape_zyx
    assert record.stored.affine_ras == tuple(result.grid.affine_ras.reshape(-1))
    assert record.stored.spacing_xyz_mm == (1.5, 1.5, 1.5)
    assert record.stored.orientation == "RAS"
    assert record.native.orientation == "LPS"
    assert record.native.shape == (8, 22, 19)
    assert record.dtype == result.array_zyx.dtype.name == "int16"
    assert (record.unit, record.scale, record.offset, record.acquisition_axis) == ("HU", 1.0, 0.0, "z")
    assert record.native_intensity.minimum == ct().min()
    assert record.stored_intensity.maximum == result.array_zyx.max()
    assert result.done[0] == "axes turned from LPS to RAS"
    assert result.done[1].startswith("resampled from 0.7 x 1.1 x 2.5 mm to 1.5 x 1.5 x 1.5 mm (linear, low-pass")
    assert result.warnings == ()


def test_a_blob_stays_where_it_is_in_the_world(recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique) -> None:
    array = np.zeros((14, 31, 40), dtype=np.int16)
    array[5:9, 12:20, 22:33] = 1000
    affine = oblique(code="PIR", spacing=(0.7, 1.1, 2.1))
    result = normalise_image(Volume(array, affine), case_image("MR"), recipe(geometry=ISO))
    before = geometry.apply(affine, np.argwhere(array > 0)[:, ::-1].mean(axis=0))
    weights = result.array_zyx.astype(float)
    index = np.array([np.average(g, weights=weights) for g in np.indices(weights.shape)][::-1])
    assert geometry.apply(result.grid.affine_ras, index) == pytest.approx(before, abs=0.05)


def test_cubic_is_sharper_than_linear_and_stays_within_the_range_of_the_image(
    recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique
) -> None:
    array = np.full((14, 31, 40), 40, dtype=np.int16)
    array[5:9, 12:20, 22:33] = 1000
    made = {
        kernel: normalise_image(
            Volume(array, oblique(code="PIR")), case_image("MR"), recipe(geometry={**ISO, "interpolation": kernel})
        )
        for kernel in ("linear", "cubic")
    }
    cubic, linear = made["cubic"], made["linear"]
    assert (cubic.array_zyx.min(), cubic.array_zyx.max()) == (40, 1000)
    assert cubic.array_zyx.std() > linear.array_zyx.std()
    assert cubic.record.stored == linear.record.stored
    assert "(cubic, low-pass where coarser)" in cubic.done[1]
    for ours, plain in zip(cubic.grid.coverage_zyx, linear.grid.taps_zyx, strict=True):
        assert (ours.integer == plain.integer).all()  # labels are counted in one way


@pytest.mark.parametrize("kernel", ["linear", "cubic"])
@pytest.mark.parametrize("flips", list(itertools.product((1, -1), repeat=3)))
def test_flipping_the_file_changes_nothing(
    recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique, flips: tuple[int, int, int], kernel: str
) -> None:
    volume = Volume(ct(), oblique())
    flipped = Volume(
        np.ascontiguousarray(volume.array_zyx[tuple(slice(None, None, f) for f in flips)]), volume.affine_ras.copy()
    )
    for axis, flip in enumerate(flips[::-1]):
        if flip < 0:
            n = volume.shape_zyx[2 - axis]
            flipped.affine_ras[:3, 3] += flipped.affine_ras[:3, axis] * (n - 1)
            flipped.affine_ras[:3, axis] *= -1
    wanted = recipe(geometry={**ISO, "interpolation": kernel})
    a = normalise_image(volume, case_image(), wanted)
    b = normalise_image(flipped, case_image(), wanted)
    assert (a.array_zyx == b.array_zyx).all()
    assert (a.grid.affine_ras == b.grid.affine_ras).all()
    assert replace(a.record, native=b.record.native) == b.record


def test_native_intensity_without_resampling_is_an_independent_reading(
    recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique, code: str
) -> None:
    array = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(">f4")
    affine = oblique(code=code)
    result = normalise_image(Volume(array, affine), case_image("MR"), recipe(intensity="native"))
    theirs = nib.as_closest_canonical(nib.Nifti1Image(array.T.astype("<f4"), affine))
    assert result.array_zyx.dtype == np.dtype("<f4")
    assert (result.array_zyx == np.asanyarray(theirs.dataobj).T).all()
    assert result.grid.identity
    assert (result.record.scale, result.record.offset) == (1.0, 0.0)


def test_padding_is_counted_and_cannot_bleed_into_the_body(
    recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique
) -> None:
    array = ct()
    array[:, :2] = -3024
    array[0, 5, 5] = 2222
    expected = np.count_nonzero(array < -1024) + np.count_nonzero(array == 2222)
    for dtype in (np.int16, np.float32, np.float64):
        result = normalise_image(
            Volume(array.astype(dtype), oblique(), padding=2222), case_image(), recipe(geometry=ISO)
        )
        assert result.record.padding_voxels == expected
        assert result.array_zyx.min() >= -1024
        assert result.array_zyx.max() < 100
        assert f"{expected} padding voxels set to -1024 HU" in result.done
        assert result.record.native_intensity.minimum == -3024
    fractions = array.astype(np.float32) + np.float32(0.25)
    result = normalise_image(Volume(fractions, oblique(), padding=2222.25), case_image(), recipe(geometry=ISO))
    assert result.record.padding_voxels == expected


def test_one_ct_has_one_form_whatever_type_it_came_in(
    recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique
) -> None:
    variants = [
        Volume(ct(), oblique()),
        Volume(ct().astype(np.float32), oblique()),
        Volume((ct() + 1024).astype(np.uint16), oblique(), offset=-1024.0),
        Volume((ct() + 1024).astype(np.int32), oblique(), offset=-1024.0),
        Volume((-ct()).astype(np.int16), oblique(), scale=-1.0),
    ]
    results = [normalise_image(v, case_image(), recipe(geometry=ISO)) for v in variants]
    assert len({r.array_zyx.tobytes() for r in results}) == 1
    assert len({r.record.content_hash for r in results}) == 1
    assert len({canonical.dumps(r.record.stored_intensity) for r in results}) == 1
    for result in results:
        assert result.record.native_intensity.percentiles == pytest.approx(
            results[0].record.native_intensity.percentiles
        )


def test_what_is_not_finite_is_counted_and_replaced(recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique) -> None:
    array = ct().astype(np.float32)
    array[3, 10, 10] = np.nan
    result = normalise_image(Volume(array, oblique()), case_image(), recipe())
    assert result.record.nonfinite_voxels == 1
    assert result.canonical.shape_zyx == array.shape
    assert np.count_nonzero(result.array_zyx == -1024) == 1
    assert "1 voxels that were not finite replaced" in result.done


def test_more_than_a_few_that_are_not_finite_is_a_reject(
    recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique
) -> None:
    array = ct().astype(np.float32)
    array[:2] = np.nan
    with pytest.raises(Rejected, match=r"not_finite: expected at most 0.01 .* found 836 of 3344 \(0.25\)"):
        normalise_image(Volume(array, oblique()), case_image(), recipe())


def test_an_output_beyond_the_limits_is_a_reject_before_memory_is_taken(
    recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique
) -> None:
    with pytest.raises(Rejected, match=r"too_large: at 0.01 x 0.01 x 0.01 mm .* expected at most"):
        normalise_image(Volume(ct(), oblique()), case_image(), recipe(geometry={"spacing_mm": [0.01, 0.01, 0.01]}))


def test_cropping_keeps_the_body_and_moves_grid_and_record(
    recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique
) -> None:
    whole = normalise_image(Volume(ct(), oblique()), case_image(), recipe(geometry=ISO))
    cropped = normalise_image(Volume(ct(), oblique()), case_image(), recipe(geometry={**ISO, "crop": "foreground"}))
    assert cropped.crop == whole.record.body_box
    z0, y0, x0, z1, y1, x1 = cropped.crop or ()
    assert (cropped.array_zyx == whole.array_zyx[z0:z1, y0:y1, x0:x1]).all()
    assert cropped.record.body_box == (0, 0, 0, *cropped.array_zyx.shape)
    assert geometry.apply(cropped.grid.affine_ras, [0, 0, 0]) == pytest.approx(
        geometry.apply(whole.grid.affine_ras, [x0, y0, z0]), abs=1e-9
    )
    assert cropped.record.stored.shape == cropped.grid.shape_zyx == cropped.array_zyx.shape
    assert "cropped to the body" in cropped.done


def test_nothing_to_crop_to_is_a_warning(recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique) -> None:
    air = np.full((4, 5, 6), -1000, dtype=np.int16)
    result = normalise_image(Volume(air, oblique()), case_image(), recipe(geometry={"crop": "foreground"}))
    assert result.crop is None
    assert "no body found, not cropped" in result.warnings


def test_a_ct_that_is_not_in_hu_is_a_warning(recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique) -> None:
    array = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    result = normalise_image(Volume(array, oblique()), case_image(), recipe())
    assert "may not be in HU" in result.warnings[0]


def test_baked_arrays_run_from_zero_to_one(recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique) -> None:
    options = {"store": "normalised", "CT": {"window_hu": [-200, 100]}}
    result = normalise_image(Volume(ct(), oblique()), case_image(), recipe(intensity=options))
    plain = normalise_image(Volume(ct(), oblique()), case_image(), recipe())
    values = result.array_zyx * result.record.scale + result.record.offset
    assert values == pytest.approx(np.clip((plain.array_zyx + 200.0) / 300, 0, 1), abs=1e-5)
    assert result.record.normalisation.kind == "none"
    assert (result.record.normalisation.lower, result.record.normalisation.upper) == (0.0, 1.0)
    assert (result.record.unit, result.record.dtype) == (None, "uint16")
    assert result.record.body_box == plain.record.body_box
    assert "window_hu [-200, 100] mapped to [0, 1]" in result.done


def test_a_unit_that_the_reader_knows_is_recorded_and_a_large_value_is_not_cut_off(
    recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique
) -> None:
    array = np.random.default_rng(1).exponential(0.7, (9, 12, 14))
    array[4, 6, 7] = 66.5215
    image = case_image("PT", "float64")
    image = replace(image, header=replace(image.header, unit="g/ml (SUVbw)"))
    result = normalise_image(Volume(array, oblique()), image, recipe())
    assert result.record.unit == "g/ml (SUVbw)"
    assert result.array_zyx.max() * result.record.scale + result.record.offset == pytest.approx(66.5215, abs=1e-9)


def test_percentiles_are_those_of_the_stored_volume(recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique) -> None:
    array = np.random.default_rng(0).gamma(2.0, 300.0, (9, 14, 12)).astype(np.float32)
    result = normalise_image(
        Volume(array, oblique()), case_image("MR"), recipe(geometry=ISO, intensity={"MR": {"percentiles": [2, 98]}})
    )
    physical = result.array_zyx * result.record.scale + result.record.offset
    assert result.record.normalisation.kind == "percentiles"
    assert (result.record.normalisation.lower, result.record.normalisation.upper) == pytest.approx(
        np.percentile(physical, (2, 98)), rel=1e-9
    )


def test_geometry_may_differ_by_modality(recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique) -> None:
    mixed = recipe(geometry={**ISO, "modalities": {"MR": {"spacing_mm": {"in_plane": 2.0}}}})
    volume = Volume(np.abs(ct()), oblique(code="PIR", spacing=(0.7, 1.1, 4.0)))
    assert normalise_image(volume, case_image("CT"), mixed).record.stored.spacing_xyz_mm == (1.5, 1.5, 1.5)
    mr = normalise_image(volume, case_image("MR"), mixed).record
    assert mr.stored.spacing_xyz_mm == pytest.approx((4.0, 2.0, 2.0))
    assert mr.acquisition_axis == "x"


def test_a_zero_scale_is_a_bug_not_a_reject(recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique) -> None:
    with pytest.raises(ValueError, match="scale is zero"):
        normalise_image(Volume(ct(), oblique(), scale=0.0), case_image(), recipe())


def _real() -> list[dict[str, str]]:
    root = os.environ.get("MDFP_TESTDATA")
    if root is None:
        return []
    with (Path(root) / "MANIFEST.csv").open() as file:
        return [
            r
            for r in csv.DictReader(file)
            if r["kind"] == "nifti-image" and r["ras_int16_sha256"] and r["native_shape"].count("x") == 2
        ]


@pytest.mark.real
@pytest.mark.skipif("MDFP_TESTDATA" not in os.environ, reason="MDFP_TESTDATA is not set")
def test_real_volumes_equal_the_hash_of_an_independent_reading(recipe: MakeRecipe, case_image: MakeCase) -> None:
    rows = _real()
    assert rows
    for row in rows:
        image = nib.load(Path(os.environ["MDFP_TESTDATA"]) / row["path"])
        array = np.asanyarray(image.dataobj).T
        result = normalise_image(Volume(array, image.affine), case_image("MR"), recipe(intensity="native"))
        xyz = np.ascontiguousarray(result.array_zyx.T.astype("<i2"))
        assert hashlib.sha256(xyz.tobytes()).hexdigest() == row["ras_int16_sha256"], row["path"]
