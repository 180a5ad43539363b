"""The doctor: every ailment of a series has its verdict, its reason and its numbers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its usual name)
from hypothesis import given, settings
from hypothesis import strategies as st

from mdfp import geometry
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import dicom, series
from transforms.rejected import Rejected
from transforms.volume import Volume

Files = list[tuple[str, bytes]]
SeriesOf = Callable[..., Files]
ZS = [10.0, 12.5, 15.0, 17.5, 20.0, 22.5]
OBLIQUE = (0.96, 0.28, 0.0, -0.28 * 0.6, 0.96 * 0.6, 0.8)


def diagnosed(files: Files) -> series.Diagnosis:
    return series.diagnose([dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files], name="ct")


def volume_of(files: Files, diagnosis: series.Diagnosis | None = None, number: int = 0) -> Volume:
    found = (diagnosis or diagnosed(files)).volumes[number]
    return series.read([(p, dict(files)[p]) for p in found.paths], found.header, Limits())


def only_volume(files: Files) -> series.SeriesVolume:
    diagnosis = diagnosed(files)
    assert not diagnosis.rejects
    (volume,) = diagnosis.volumes
    return volume


def only_reject(files: Files) -> series.SeriesReject:
    diagnosis = diagnosed(files)
    assert not diagnosis.volumes
    (reject,) = diagnosis.rejects
    assert len(reject.paths) == len(files)
    return reject


def stacked(zs: Sequence[Any]) -> np.ndarray:
    """Voxels of `series_of` for slices of these numbers."""
    return np.stack([(n * 100 + np.arange(12)).reshape(4, 3) for n in zs])


def test_a_regular_series_is_a_volume_whatever_order_names_and_numbers_say(series_of: SeriesOf) -> None:
    files = series_of(ZS, per_slice=lambda n: {"name": f"{(n * 5) % 6}", "InstanceNumber": 9 - n})
    random.Random(0).shuffle(files)
    found = only_volume(files)
    assert (found.verdict, found.header.verdict, found.findings) == ("regular", "regular", ())
    assert found.header.shape == (6, 4, 3)
    assert found.header.orientation == "LPS"
    assert found.header.spacing_xyz_mm == pytest.approx((0.7, 0.8, 2.5))  # columns, rows, positions; not SliceThickness
    assert found.header.bytes == sum(len(d) for _, d in files)
    volume = volume_of(files)
    np.testing.assert_array_equal(volume.array_zyx, stacked(range(6)))
    np.testing.assert_allclose(geometry.apply(volume.affine_ras, [0, 0, 0]), [5, -7, 10])
    np.testing.assert_allclose(geometry.apply(volume.affine_ras, [2, 3, 5]), [5 - 1.4, -7 - 2.4, 22.5])
    assert found.header.affine_ras == tuple(volume.affine_ras.ravel())


def test_the_diagnosis_does_not_depend_on_the_order_of_the_listing(series_of: SeriesOf) -> None:
    files = series_of([*ZS, 10.0], per_slice=lambda n: {"InstanceNumber": n % 6})
    expected = diagnosed(files)
    for seed in range(5):
        random.Random(seed).shuffle(files)
        assert diagnosed(files) == expected


def test_an_oblique_series_lies_where_itk_puts_it(slice_bytes: Callable[..., bytes], tmp_path: Path) -> None:
    row, column = np.array(OBLIQUE[:3]), np.array(OBLIQUE[3:])
    normal = np.cross(row, column)
    rng = np.random.default_rng(1)
    files = []
    for n in range(5):
        place = tuple(np.array([3.0, -4.0, 50.0]) - 1.7 * n * normal)
        data = slice_bytes(
            rng.integers(-900, 900, (4, 3)).astype(np.int16),
            position=place,
            name=f"{n}",
            ImageOrientationPatient=list(OBLIQUE),
        )
        (tmp_path / f"{n}.dcm").write_bytes(data)
        files.append((str(tmp_path / f"{n}.dcm"), data))
    volume = volume_of(files)
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path)))
    np.testing.assert_array_equal(volume.array_zyx, sitk.GetArrayFromImage(image))
    direction = np.array(image.GetDirection()).reshape(3, 3)
    other = geometry.lps_to_ras(geometry.compose(direction, image.GetSpacing(), image.GetOrigin()))
    np.testing.assert_allclose(volume.affine_ras, other, atol=1e-5)  # positions are written with six decimals


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 40), min_size=2, max_size=6, unique=True), st.randoms())
def test_every_instance_is_in_exactly_one_volume_or_reject(
    series_of: SeriesOf, places: list[int], rng: random.Random
) -> None:
    kinds: list[dict[str, Any]] = [
        {}, {"ImagePositionPatient": None}, {"NumberOfFrames": 4}, {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"PixelSpacing": [1, 1]}, {"PhotometricInterpretation": "PALETTE COLOR"},
    ]  # fmt: skip
    files = series_of([float(p) for p in places], per_slice=lambda n: rng.choice(kinds))
    diagnosis = diagnosed(files)
    named = [p for v in diagnosis.volumes for p in v.paths] + [p for r in diagnosis.rejects for p in r.paths]
    assert sorted(named) == sorted(p for p, _ in files)


def test_one_slope_for_all_keeps_the_stored_integers(series_of: SeriesOf) -> None:
    files = series_of(ZS, RescaleSlope=2, RescaleIntercept=-1024, PixelPaddingValue=-2000)
    volume = volume_of(files)
    assert (volume.array_zyx.dtype, volume.scale, volume.offset, volume.padding) == (np.int16, 2.0, -1024.0, -2000.0)
    header = only_volume(files).header
    assert (header.scale, header.offset, header.dtype) == (2.0, -1024.0, "int16")


def test_a_slope_per_slice_gives_physical_values_exactly(series_of: SeriesOf) -> None:
    slopes = [0.1, 0.37, 1 / 3, 2.0, 5.5, 0.001]
    files = series_of(ZS, per_slice=lambda n: {"RescaleSlope": f"{slopes[n]:.12g}"[:16]})
    volume = volume_of(files)
    expected = stacked(range(6)) * np.array([float(f"{s:.12g}"[:16]) for s in slopes])[:, None, None]
    assert volume.array_zyx.dtype == np.float64
    np.testing.assert_array_equal(volume.array_zyx, expected)
    assert [f.code for f in only_volume(files).findings] == ["rescale_varies"]
    dyadic = volume_of(series_of(ZS, per_slice=lambda n: {"RescaleSlope": 0.5 + n}))
    assert dyadic.array_zyx.dtype == np.float32
    assert (dyadic.scale, dyadic.offset) == (1.0, 0.0)


def test_slices_of_different_number_types_meet_in_one_that_holds_both(series_of: SeriesOf) -> None:
    files = series_of(ZS[:2], per_slice=lambda n: {"pixels": np.full((4, 3), 60000, np.uint16)} if n else {})
    volume = volume_of(files)
    assert volume.array_zyx.dtype == np.int32
    assert volume.array_zyx.max() == 60000


def test_acquisition_number_echo_or_type_alone_do_not_split_a_regular_stack(series_of: SeriesOf) -> None:
    files = series_of(
        ZS,
        per_slice=lambda n: {
            "AcquisitionNumber": n // 2,
            "EchoTime": 10 + n,
            "ImageType": ["ORIGINAL", "PRIMARY", f"N{n % 2}"],
        },
    )
    assert only_volume(files).verdict == "regular"


def test_identical_slices_at_one_position_are_dropped_with_a_finding(series_of: SeriesOf) -> None:
    files = series_of(ZS)
    copy = series_of(
        [ZS[0], ZS[2]],
        per_slice=lambda n: {"name": "copy", "pixels": stacked([2])[0].astype(np.int16), "InstanceNumber": 3},
    )[1]
    found = only_volume([*files, copy])
    assert found.verdict == found.header.verdict == "duplicates"
    assert found.header.shape == (6, 4, 3)
    assert "1 further slices at 1 of 6 positions" in found.findings[0].detail
    np.testing.assert_array_equal(volume_of([*files, copy]).array_zyx, stacked(range(6)))


def test_conflicting_slices_at_one_position_are_refused_with_the_count(series_of: SeriesOf) -> None:
    files = [*series_of(ZS), series_of([ZS[3]], name="other")[0]]
    with pytest.raises(
        Rejected, match=r"at one position, 7\.500 mm from the first; 12 of 12 pixels differ"
    ) as rejected:
        volume_of(files)
    assert rejected.value.reason is Reason.CONFLICTING_SLICES


def test_equal_pixels_under_different_slopes_conflict(series_of: SeriesOf) -> None:
    files = [*series_of(ZS), series_of([ZS[0]], name="other", RescaleSlope=3)[0]]
    with pytest.raises(Rejected, match="conflicting_slices"):
        volume_of(files)


@pytest.mark.parametrize("lost", [(1,), (2,), (4,), (2, 3)])
def test_a_gap_is_refused_and_says_how_many_slices_are_missing_and_where(
    series_of: SeriesOf, lost: tuple[int, ...]
) -> None:
    reject = only_reject(series_of([z for n, z in enumerate(ZS) if n not in lost]))
    assert reject.reason is Reason.MISSING_SLICES
    assert f"{len(lost)} of 6 slices are missing: {len(lost)} after slice {lost[0]}" in reject.detail
    assert "the usual step is 2.5000 mm" in reject.detail


def test_a_missing_slice_among_three_is_a_gap(series_of: SeriesOf) -> None:
    assert only_reject(series_of([0.0, 1.0, 3.0])).reason is Reason.MISSING_SLICES


def test_a_spacing_that_changes_on_purpose_is_irregular_and_no_gap(series_of: SeriesOf) -> None:
    reject = only_reject(series_of([0, 5, 10, 15, 25, 35, 45]))
    assert reject.reason is Reason.IRREGULAR_SPACING
    assert "from 5.0000 to 10.0000 mm" in reject.detail


def test_rounded_positions_are_regular(series_of: SeriesOf) -> None:
    assert only_volume(series_of([round(0.625 * n, 2) for n in range(40)])).verdict == "regular"


def test_slightly_irregular_steps_are_resampled_on_a_regular_grid(series_of: SeriesOf) -> None:
    zs = [0.0, 1.1, 2.0, 3.0, 4.1, 5.0]
    files = series_of(zs, per_slice=lambda n: {"pixels": np.full((4, 3), round(1000 * zs[n]), np.int16)})
    found = only_volume(files)
    assert found.verdict == "irregular"
    assert "from 0.9000 to 1.1000 mm, usually 1.0000" in found.findings[0].detail
    assert found.header.spacing_xyz_mm == pytest.approx((0.7, 0.8, 1.0))
    volume = volume_of(files)
    # The pixels are their own z, which linear interpolation keeps.
    np.testing.assert_array_equal(volume.array_zyx[:, 0, 0], [0, 1000, 2000, 3000, 4000, 5000])
    assert volume.array_zyx.dtype == np.int16


def test_padding_is_not_blended_when_slices_are_resampled(series_of: SeriesOf) -> None:
    zs = [0.0, 1.1, 2.0, 3.0]
    pixels = [np.full((4, 3), v, np.int16) for v in (100, -2000, 300, 400)]
    volume = volume_of(series_of(zs, PixelPaddingValue=-2000, per_slice=lambda n: {"pixels": pixels[n]}))
    assert sorted(set(volume.array_zyx[:, 0, 0].tolist())) == [-2000, 100, 300, 400]


def test_steps_beyond_the_tolerance_are_refused_with_the_numbers(series_of: SeriesOf) -> None:
    reject = only_reject(series_of([0.0, 1.0, 2.0, 3.4, 4.4, 5.4]))
    assert reject.reason is Reason.IRREGULAR_SPACING
    assert "from 1.0000 to 1.4000 mm, usually 1.0000 mm: 40.0 % off, 20 % is allowed" in reject.detail


def test_a_slice_beside_the_line_of_the_others_is_irregular(series_of: SeriesOf) -> None:
    reject = only_reject(series_of(ZS, x_of=lambda z: -5.0 + (z == 15.0)))
    assert reject.reason is Reason.IRREGULAR_SPACING
    assert "up to 1.000 mm beside the line" in reject.detail


def test_a_lean_within_rounding_is_regular(series_of: SeriesOf) -> None:
    assert only_volume(series_of(ZS, x_of=lambda z: -5.0 + 0.001 * z)).verdict == "regular"
    assert only_volume(series_of(ZS, x_of=lambda z: -5.0 + 0.25 * z)).verdict == "tilted"


def test_localizers_are_refused_and_the_rest_of_the_series_is_kept(series_of: SeriesOf) -> None:
    scout = series_of([99.0, 100.0], name="scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])[:1]
    diagnosis = diagnosed([*series_of(ZS), *scout])
    assert [r.reason for r in diagnosis.rejects] == [Reason.LOCALIZER]
    (volume,) = diagnosis.volumes
    assert [f.code for f in volume.findings] == ["left_out"]


def test_three_planes_of_few_slices_are_a_localizer(series_of: SeriesOf) -> None:
    planes = [(1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1)]
    files = [
        f
        for n, p in enumerate(planes)
        for f in series_of([0.0, 5.0], ImageOrientationPatient=list(p), per_slice=lambda k, n=n: {"name": f"{n}{k}"})
    ]
    assert only_reject(files).reason is Reason.LOCALIZER


def test_two_planes_sizes_spacings_or_frames_are_volumes_of_their_own(series_of: SeriesOf) -> None:
    for change in (
        {"ImageOrientationPatient": [0.96, 0.28, 0, -0.28, 0.96, 0]},
        {"pixels": np.zeros((4, 5), np.int16)},
        {"PixelSpacing": [0.5, 0.5]},
        {"FrameOfReferenceUID": "1.2.8"},
    ):
        diagnosis = diagnosed([*series_of(ZS), *series_of(ZS, per_slice=lambda n, c=change: {**c, "name": f"b{n}"})])
        assert not diagnosis.rejects
        assert [v.verdict for v in diagnosis.volumes] == ["mixed", "mixed"]
        assert all(f.code == "mixed" for v in diagnosis.volumes for f in v.findings)


@pytest.mark.parametrize("keyword", ["EchoTime", "EchoNumbers", "DiffusionBValue", "InversionTime"])
def test_contrasts_at_the_same_positions_are_volumes_of_their_own(series_of: SeriesOf, keyword: str) -> None:
    files = [
        *series_of(ZS, **{keyword: 1}),
        *series_of(ZS, per_slice=lambda n: {"name": f"b{n}", keyword: 8, "InstanceNumber": 50 + n}),
    ]
    diagnosis = diagnosed(files)
    assert not diagnosis.rejects
    assert [v.verdict for v in diagnosis.volumes] == ["mixed", "mixed"]
    assert keyword in diagnosis.volumes[0].findings[0].detail
    np.testing.assert_array_equal(volume_of(files, diagnosis, 1).array_zyx, stacked(range(6)))


def test_text_of_a_header_is_quoted_only_where_the_standard_says_what_it_can_be(series_of: SeriesOf) -> None:
    files = [
        f
        for t, kind in enumerate(("M", "JANE DOE"))
        for f in series_of(
            ZS,
            ImageType=["ORIGINAL", "PRIMARY", kind],
            per_slice=lambda n, t=t: {"name": f"{t}{n}", "InstanceNumber": 6 * t + n},
        )
    ]
    details = sorted(f.detail for v in diagnosed(files).volumes for f in v.findings)
    assert [d.rpartition(": ")[2] for d in details] == ["ImageType ORIGINAL/PRIMARY/M", "ImageType ORIGINAL/PRIMARY/…"]
    assert all("one of 2 volumes of its series, one expected" in d for d in details)
    palette = series_of(ZS, PhotometricInterpretation="JANE DOE")
    assert "JANE" not in only_reject(palette).detail


@pytest.mark.parametrize("keyword", ["TemporalPositionIdentifier", "TriggerTime", "AcquisitionNumber"])
def test_times_at_the_same_positions_are_temporal(series_of: SeriesOf, keyword: str) -> None:
    files = [f for t in range(3) for f in series_of(ZS, per_slice=lambda n, t=t: {"name": f"{t}{n}", keyword: t})]
    reject = only_reject(files)
    assert reject.reason is Reason.TEMPORAL
    assert f"3 time points ({keyword}) at 6 positions" in reject.detail


def test_repeats_that_only_the_instance_number_tells_apart_are_temporal(series_of: SeriesOf) -> None:
    files = [
        f
        for t in range(3)
        for f in series_of(ZS, per_slice=lambda n, t=t: {"name": f"{t}{n}", "InstanceNumber": 6 * t + n})
    ]
    assert "3 instances with numbers of their own at each of 6 positions" in only_reject(files).detail


def test_a_series_saved_twice_is_duplicates_and_not_temporal(series_of: SeriesOf) -> None:
    files = [*series_of(ZS), *series_of(ZS, per_slice=lambda n: {"name": f"b{n}"})]
    assert only_volume(files).verdict == "duplicates"
    np.testing.assert_array_equal(volume_of(files).array_zyx, stacked(range(6)))


def test_overlapping_acquisitions_are_volumes_of_their_own(series_of: SeriesOf) -> None:
    files = [
        *series_of(ZS[:4], AcquisitionNumber=1),
        *series_of(ZS[2:], per_slice=lambda n: {"name": f"b{n}", "AcquisitionNumber": 2, "InstanceNumber": 20 + n}),
    ]
    assert [v.header.shape[0] for v in diagnosed(files).volumes] == [4, 4]


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_slices_that_cannot_be_placed_are_incomplete_and_nothing_is_invented(series_of: SeriesOf, keyword: str) -> None:
    reject = only_reject(series_of(ZS, **{keyword: None}))
    assert reject.reason is Reason.INCOMPLETE
    assert keyword in reject.detail


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"PixelSpacing": [0, 1]}, Reason.BAD_SPACING),
        ({"ImageOrientationPatient": [1, 0, 0, 0.3, 1, 0]}, Reason.BAD_AFFINE),
        ({"NumberOfFrames": 3}, Reason.MULTIFRAME),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, Reason.MULTIFRAME),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, Reason.UNSUPPORTED),
        ({"Modality": "DX"}, Reason.NOT_A_VOLUME),
    ],
)
def test_other_ailments_have_their_own_reasons(series_of: SeriesOf, fields: dict[str, Any], reason: Reason) -> None:
    assert only_reject(series_of(ZS, **fields)).reason is reason


def test_one_slice_is_incomplete(series_of: SeriesOf) -> None:
    reject = only_reject(series_of([5.0]))
    assert reject.reason is Reason.INCOMPLETE
    assert "expected slices at 2 positions or more, found 1" in reject.detail


def test_a_truncated_slice_refuses_the_volume_and_does_not_shorten_it(series_of: SeriesOf) -> None:
    files = series_of(ZS)
    files[-1] = (files[-1][0], files[-1][1][:-4])
    reject = only_reject(files)
    assert reject.reason is Reason.TRUNCATED
    assert "1 of 6 slices are short, by up to 4 bytes" in reject.detail


def test_a_series_that_changed_since_the_inventory_is_refused(series_of: SeriesOf) -> None:
    files = series_of(ZS)
    header = only_volume(files).header
    with pytest.raises(Rejected, match="source_changed"):
        series.read(files[:-1], header, Limits())


def test_limits_hold_for_a_series(series_of: SeriesOf) -> None:
    files = series_of(ZS)
    with pytest.raises(Rejected, match="too_large"):
        series.read(files, only_volume(files).header, Limits(max_voxels=71))


def test_an_empty_series_has_no_volume() -> None:
    assert series.diagnose([]) == series.Diagnosis((), ())
