"""Objects of many slices: Enhanced multi-frame images, Siemens mosaics, and series over time."""

from __future__ import annotations

import dataclasses
import inspect
import io
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from mdfp import geometry
from schemas.reasons import Reason
from schemas.recipe import Limits
from tests.scanned_series import csa_header
from transforms.read import csa, dicom, series
from transforms.read.array import Blob
from transforms.read.flat import read_any
from transforms.read.temporal import read_temporal
from transforms.rejected import Rejected

SliceBytes = Callable[..., bytes]
Files = list[tuple[str, bytes]]
ROWS, COLUMNS = 4, 3
NORMAL = ["0.1", "-0.2", "0.97"]


def item(**fields: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in fields.items():
        setattr(ds, keyword, value)
    return ds


def frame(z: float, **groups: Any) -> Dataset:
    return item(PlanePositionSequence=[item(ImagePositionPatient=[-5.0, 7.0, z])], **groups)


def shared(**groups: Any) -> Dataset:
    defaults = {
        "PlaneOrientationSequence": [item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        "PixelMeasuresSequence": [item(PixelSpacing=[0.8, 0.7], SliceThickness=9)],
    }
    return item(**{**defaults, **groups})


def multiframe(
    slice_bytes: SliceBytes, frames: Sequence[Dataset], common: Dataset | None = None, *, name: str = "1",
    syntax: uid.UID = uid.ExplicitVRLittleEndian, **fields: Any,
) -> bytes:  # fmt: skip
    """An Enhanced MR object; frame n holds n*100 + index."""
    data = slice_bytes(np.zeros((ROWS, COLUMNS), np.int16), position=None, name=name)
    ds = pydicom.dcmread(io.BytesIO(data))
    ds.SOPClassUID, ds.Modality = uid.EnhancedMRImageStorage, "MR"
    for keyword in ("ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(ds, keyword)
    ds.NumberOfFrames = len(frames)
    ds.SharedFunctionalGroupsSequence = [shared() if common is None else common]
    ds.PerFrameFunctionalGroupsSequence = list(frames)
    ds.PixelData = stacked(range(len(frames))).astype("<i2").tobytes()
    for keyword, value in fields.items():
        setattr(ds, keyword, value)
    if syntax.is_compressed:
        ds.compress(syntax)
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


def stacked(numbers: Sequence[int]) -> np.ndarray:
    return np.stack([(n * 100 + np.arange(ROWS * COLUMNS)).reshape(ROWS, COLUMNS) for n in numbers])


def diagnosed(files: Files) -> series.Diagnosis:
    return series.diagnose([dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files])


def read(files: Files, found: series.SeriesVolume) -> Any:
    return series.read([(p, dict(files)[p]) for p in found.paths], found.header, Limits())


class TestEnhanced:
    @pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless])
    def test_frames_are_slices_in_the_order_of_their_positions(self, slice_bytes: SliceBytes, syntax: uid.UID) -> None:
        zs = [5.0, 0.0, 7.5, 2.5]
        files = [("a", multiframe(slice_bytes, [frame(z) for z in zs], syntax=syntax))]
        (found,) = diagnosed(files).volumes
        assert (found.verdict, found.paths, found.header.part) == ("multiframe", ("a",), None)
        assert found.header.spacing_xyz_mm == pytest.approx((0.7, 0.8, 2.5))
        assert found.header.bytes == len(files[0][1])
        assert found.findings[0].detail == "4 slices from 1 objects"
        volume = read(files, found)
        np.testing.assert_array_equal(volume.array_zyx, stacked(np.argsort(zs)))
        np.testing.assert_allclose(geometry.apply(volume.affine_ras, [0, 0, 0]), [5, -7, 0])

    def test_a_frames_own_group_comes_before_the_shared_one(self, slice_bytes: SliceBytes) -> None:
        own = {"PixelValueTransformationSequence": [item(RescaleSlope=4, RescaleIntercept=-9)]}
        common = shared(PixelValueTransformationSequence=[item(RescaleSlope=2, RescaleIntercept=1)])
        frames = [frame(0.0), frame(2.0, **own), frame(4.0)]
        files = [("a", multiframe(slice_bytes, frames, common))]
        (found,) = diagnosed(files).volumes
        volume = read(files, found)
        expected = stacked(range(3)) * np.array([2, 4, 2])[:, None, None] + np.array([1, -9, 1])[:, None, None]
        np.testing.assert_array_equal(volume.array_zyx, expected)
        assert "rescale_varies" in [f.code for f in found.findings]

    @pytest.mark.parametrize(
        ("group", "of", "shown"),
        [
            ("MREchoSequence", lambda v: item(EffectiveEchoTime=v), "EchoTime"),
            ("MRDiffusionSequence", lambda v: item(DiffusionBValue=v), "DiffusionBValue"),
            ("MRModifierSequence", lambda v: item(InversionTimes=v), "InversionTime"),
            (
                "MRImageFrameTypeSequence",
                lambda v: item(FrameType=["ORIGINAL", "PRIMARY", "T1", "M" if v == 1 else "P"]),
                "ImageType",
            ),
            (
                "MRDiffusionSequence",
                lambda v: item(DiffusionGradientDirectionSequence=[item(DiffusionGradientOrientation=[v == 1, v != 1, 0])]),
                "DiffusionGradientOrientation",
            ),
            (
                "PlaneOrientationSequence",
                lambda v: item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0] if v == 1 else [0.96, 0.28, 0, -0.28, 0.96, 0]),
                "plane",
            ),
        ],
    )  # fmt: skip
    def test_volumes_of_one_object_are_told_apart_and_found_again(
        self, slice_bytes: SliceBytes, group: str, of: Callable[[int], Dataset], shown: str
    ) -> None:
        frames = [frame(z, **{group: [of(v)]}) for z in (0.0, 2.0, 4.0) for v in (1, 8)]
        files = [("a", multiframe(slice_bytes, frames))]
        diagnosis = diagnosed(files)
        assert not diagnosis.rejects
        assert [v.header.part for v in diagnosis.volumes] == [0, 1]
        assert [v.verdict for v in diagnosis.volumes] == ["mixed", "mixed"]
        assert shown in diagnosis.volumes[0].findings[0].detail
        for number, found in enumerate(diagnosis.volumes):
            np.testing.assert_array_equal(read(files, found).array_zyx, stacked([number, number + 2, number + 4]))

    @pytest.mark.parametrize(("unit", "decays"), [("Bq/ml", True), ("{SUVbw}g/ml", False)])
    def test_enhanced_pet_is_uptake_by_its_mapping(self, slice_bytes: SliceBytes, unit: str, decays: bool) -> None:
        code = item(CodeValue=unit, CodingSchemeDesignator="UCUM")
        frames = [
            frame(z, RealWorldValueMappingSequence=[item(
                MeasurementUnitsCodeSequence=[code], RealWorldValueSlope=2.0 + z, RealWorldValueIntercept=0.0
            )])
            for z in (0.0, 2.0)
        ]  # fmt: skip
        dose = item(
            RadionuclideTotalDose=3.5e8, RadionuclideHalfLife=6588, RadiopharmaceuticalStartDateTime="20191231230000"
        )
        fields = {
            "Modality": "PT", "SOPClassUID": uid.EnhancedPETImageStorage, "PatientWeight": 71, "DecayCorrected": "YES",
            "AttenuationCorrected": "YES", "DecayCorrectionDateTime": "20200101003000.0",
            "RadiopharmaceuticalInformationSequence": [dose],
        }  # fmt: skip
        files = [("a", multiframe(slice_bytes, frames, **fields))]
        (found,) = diagnosed(files).volumes
        factor = 71000 / (3.5e8 * 0.5 ** (5400 / 6588)) if decays else 1.0
        expected = stacked(range(2)) * np.array([2.0, 4.0])[:, None, None] * factor
        np.testing.assert_allclose(read(files, found).array_zyx, expected, rtol=1e-12)
        (note,) = [f.detail for f in found.findings if f.code == "suv"]
        assert ("DecayCorrectionDateTime" in note) == decays
        for change in ({"DecayCorrected": "NO"}, {"AttenuationCorrected": "NO"}):
            rejects = diagnosed([("a", multiframe(slice_bytes, frames, **{**fields, **change}))]).rejects
            assert [r.reason for r in rejects] == ([Reason.NO_SUV] if decays else [])

    def test_stacks_are_volumes_though_their_slices_would_fit_one(self, slice_bytes: SliceBytes) -> None:
        frames = [frame(z, FrameContentSequence=[item(StackID="1" if z < 3 else "2")]) for z in (0.0, 2.0, 30.0, 31.0)]
        diagnosis = diagnosed([("a", multiframe(slice_bytes, frames))])
        assert [v.header.spacing_xyz_mm[2] for v in diagnosis.volumes] == [2.0, 1.0]  # type: ignore[index]
        assert "stack 1 of 2 (StackID)" in diagnosis.volumes[0].findings[0].detail

    def test_a_volume_beside_a_series_over_time_is_found_again(self, slice_bytes: SliceBytes) -> None:
        turned = {"PlaneOrientationSequence": [item(ImageOrientationPatient=[0.96, 0.28, 0, -0.28, 0.96, 0])]}
        frames = [
            *(frame(z, FrameContentSequence=[item(TemporalPositionIndex=t)]) for t in (1, 2) for z in (0.0, 2.0)),
            *(frame(z, **turned) for z in (0.0, 3.0)),
        ]
        files = [("a", multiframe(slice_bytes, frames))]
        diagnosis = diagnosed(files)
        assert [r.reason for r in diagnosis.rejects] == [Reason.TEMPORAL]
        assert "4 slices of 1 instances" in diagnosis.rejects[0].detail
        (found,) = diagnosis.volumes
        np.testing.assert_array_equal(read(files, found).array_zyx, stacked([4, 5]))

    def test_a_series_of_objects_with_frames_is_one_volume(self, slice_bytes: SliceBytes) -> None:
        files = [
            ("b", multiframe(slice_bytes, [frame(4.0), frame(6.0)], name="2")),
            ("a", multiframe(slice_bytes, [frame(2.0), frame(0.0)])),
        ]
        (found,) = diagnosed(files).volumes
        assert found.paths == ("a", "b")
        np.testing.assert_array_equal(read(files, found).array_zyx, stacked([1, 0, 0, 1]))

    def test_ailments_of_frames_are_those_of_slices(self, slice_bytes: SliceBytes) -> None:
        def reason(frames: list[Dataset], common: Dataset | None = None, **fields: Any) -> Reason:
            (reject,) = diagnosed([("a", multiframe(slice_bytes, frames, common, **fields))]).rejects
            assert reject.paths == ("a",)
            return reject.reason

        assert reason([frame(z) for z in (0.0, 1.0, 2.0, 4.0)]) is Reason.MISSING_SLICES
        assert reason([frame(0.0)]) is Reason.INCOMPLETE
        assert reason([frame(0.0), Dataset()]) is Reason.INCOMPLETE
        assert reason([frame(0.0), frame(1.0)], Dataset()) is Reason.INCOMPLETE
        assert reason([frame(z) for z in (0.0, 1.0, 0.0, 1.0)]) is Reason.TEMPORAL
        assert reason([frame(0.0), frame(1.0)], NumberOfFrames=3, PixelData=bytes(72)) is Reason.MULTIFRAME
        assert reason([frame(0.0), frame(1.0)], PerFrameFunctionalGroupsSequence=[]) is Reason.MULTIFRAME
        assert reason([frame(0.0), frame(1.0)], PixelData=bytes(40)) is Reason.TRUNCATED
        assert reason([frame(0.0), frame(1.0)], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]) is Reason.LOCALIZER
        assert reason([frame(0.0), frame(1.0)], Modality="XA") is Reason.NOT_A_VOLUME
        assert reason([frame(0.0), frame(1.0)], Modality="PT") is Reason.NO_SUV
        zero = shared(PixelValueTransformationSequence=[item(RescaleSlope=0, RescaleIntercept=0)])
        assert reason([frame(0.0), frame(1.0)], zero) is Reason.UNREADABLE

    def test_all_frames_together_must_fit_the_limits(self, slice_bytes: SliceBytes) -> None:
        frames = [frame(z, MREchoSequence=[item(EffectiveEchoTime=v)]) for z in (0.0, 2.0) for v in (1, 8)]
        files = [("a", multiframe(slice_bytes, frames))]
        with pytest.raises(Rejected, match="too_large"):
            series.read(files, diagnosed(files).volumes[0].header, Limits(max_bytes=90))

    def test_a_volume_that_is_no_longer_there_is_a_change(self, slice_bytes: SliceBytes) -> None:
        files = [("a", multiframe(slice_bytes, [frame(0.0), frame(2.0)]))]
        header = dataclasses.replace(diagnosed(files).volumes[0].header, part=3)
        with pytest.raises(Rejected, match="source_changed"):
            series.read(files, header, Limits())


def mosaic(
    slice_bytes: SliceBytes, count: int, sign: int = 1, *, name: str = "1", first: int = 0, version: int = 2,
    **fields: Any,
) -> bytes:  # fmt: skip
    """A mosaic of 3×3 tiles of 4×3 pixels around (0, 0, z), whose tile n holds (first + n)*100 + index."""
    tiles = np.zeros((3, 3, ROWS, COLUMNS), np.int16)
    tiles.reshape(9, ROWS, COLUMNS)[:count] = stacked(range(first, first + count))
    pixels = tiles.transpose(0, 2, 1, 3).reshape(3 * ROWS, 3 * COLUMNS)
    corner = (-5.0 - COLUMNS * 0.7, 7.0 - ROWS * 0.8, 10.0)  # two tiles stick out, one on either side
    fields = {
        "Modality": "MR", "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], "SpacingBetweenSlices": 2.5, **fields
    }  # fmt: skip
    ds = pydicom.dcmread(io.BytesIO(slice_bytes(pixels, position=corner, name=name, **fields)))
    ds.add_new(0x00290010, "LO", "SIEMENS CSA HEADER")
    tags = {"NumberOfImagesInMosaic": [str(count)], "SliceNormalVector": ["0.0", "0.0", f"{sign}.0"]}
    header = csa_header(tags, version=version)
    ds.add_new(0x00291010, "OB", header + bytes(len(header) % 2))
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


class TestMosaic:
    @pytest.mark.parametrize("version", [1, 2])
    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize("count", [5, 9])
    def test_tiles_are_slices_along_the_normal_that_the_header_names(
        self, slice_bytes: SliceBytes, count: int, sign: int, version: int
    ) -> None:
        files = [("a", mosaic(slice_bytes, count, sign, version=version))]
        (found,) = diagnosed(files).volumes
        assert (found.verdict, found.header.shape) == ("mosaic", (count, ROWS, COLUMNS))
        volume = read(files, found)
        np.testing.assert_array_equal(volume.array_zyx, stacked(range(count))[::sign])
        first = geometry.apply(volume.affine_ras, [0, 0, 0 if sign > 0 else count - 1])
        np.testing.assert_allclose(first, [5, -7, 10], atol=1e-5)  # RAS of (-5, 7, 10)
        assert found.header.spacing_xyz_mm == pytest.approx((0.7, 0.8, 2.5))

    @pytest.mark.filterwarnings("ignore:The DICOM readers are highly experimental")
    @pytest.mark.parametrize("items", [3, 6, 7])
    def test_what_the_header_says_nibabel_says(self, items: int) -> None:
        from nibabel.nicom import csareader  # it warns when imported

        data = csa_header({"NumberOfImagesInMosaic": ["36"], "SliceNormalVector": NORMAL}, items=items)
        theirs = csareader.read(data)["tags"]
        ours = csa.read_csa(data)
        assert [int(v) for v in ours["NumberOfImagesInMosaic"]] == [36]
        assert [float(v) for v in ours["SliceNormalVector"]] == theirs["SliceNormalVector"]["items"]

    @pytest.mark.filterwarnings("ignore:The DICOM readers are highly experimental")
    @pytest.mark.parametrize("items", [3, 6, 7])
    @pytest.mark.parametrize(("first_items", "corrected"), [(0, False), (0, True), (1, True), (6, True)])
    def test_what_a_header_of_version_1_says_nibabel_says(self, items: int, first_items: int, corrected: bool) -> None:
        from nibabel.nicom import csareader

        # nibabel 5 takes the items of the second tag for those of the first (its issue 817, corrected by its pull request
        # 1548): as it is, it reads only headers in which both have none.
        source = inspect.getsource(csareader.read)
        assert "tag_no == 1" in source
        place = dict(vars(csareader))
        exec(source.replace("tag_no == 1", "tag_no == 0"), place)
        read = place["read"] if corrected else csareader.read
        tags = {"Nothing": [], "NumberOfImagesInMosaic": ["36"], "SliceNormalVector": NORMAL, "Last": ["7"]}
        data = csa_header(tags, version=1, items=items, first_items=first_items)
        theirs, ours = read(data), csa.read_csa(data)
        assert theirs["type"] == 1
        assert [float(v) for v in ours["NumberOfImagesInMosaic"]] == theirs["tags"]["NumberOfImagesInMosaic"]["items"]
        assert [float(v) for v in ours["SliceNormalVector"]] == theirs["tags"]["SliceNormalVector"]["items"]
        assert len(ours["SliceNormalVector"]) == 3

    @pytest.mark.parametrize("first_items", [0, 1, 6])
    def test_lengths_of_version_1_may_be_those_of_version_2(self, first_items: int) -> None:
        tags = {"NumberOfImagesInMosaic": ["36"], "SliceNormalVector": NORMAL, "Last": ["x"]}
        data = csa_header(tags, version=1, first_items=first_items, excess=False)
        assert csa.read_csa(data) == {"NumberOfImagesInMosaic": ("36",), "SliceNormalVector": tuple(NORMAL)}

    @pytest.mark.parametrize("version", [1, 2])
    def test_a_damaged_csa_header_is_as_none(self, slice_bytes: SliceBytes, version: int) -> None:
        data = csa_header({"NumberOfImagesInMosaic": ["36"], "SliceNormalVector": NORMAL}, version=version)
        for length in range(len(data) - 90):
            with pytest.raises((ValueError, struct.error)):
                csa.read_csa(data[:length])
        whole = mosaic(slice_bytes, 5)
        for broken in (whole.replace(b"SV10", b"SV99"), whole.replace(b"SIEMENS CSA", b"NOBODYS CSA")):
            (reject,) = diagnosed([("a", broken)]).rejects
            assert reject.reason is Reason.MULTIFRAME
            assert "without the private CSA image header" in reject.detail

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"SpacingBetweenSlices": None}, Reason.INCOMPLETE),
            ({"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]}, Reason.BAD_AFFINE),
        ],
    )
    def test_a_mosaic_that_cannot_be_placed_is_refused(
        self, slice_bytes: SliceBytes, fields: dict[str, Any], reason: Reason
    ) -> None:
        fields = {k: v for k, v in fields.items() if v is not None} or {"SpacingBetweenSlices": 0}
        (reject,) = diagnosed([("a", mosaic(slice_bytes, 5, **fields))]).rejects
        assert reject.reason is reason


def taken(files: Files, temporal: Any) -> list[Any]:
    """What the volumes of a diagnosis are read as, moments in their order."""
    found = series.diagnose(
        [dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files], temporal=temporal
    ).volumes
    ordered = sorted(found, key=lambda v: v.moment or (-1, -1))
    return [read_any(v.header, [Blob(p, dict(files)[p]) for p in v.paths], Limits()) for v in ordered]


class TestTemporal:
    def check(self, files: Files, ordered_by: str, moments: Sequence[int], slices: int) -> None:
        (reject,) = diagnosed(files).rejects
        assert reject.reason is Reason.TEMPORAL
        found = read_temporal(files, Limits())
        assert found.ordered_by == ordered_by
        expected = np.stack([stacked(range(m, m + slices)) for m in moments])
        np.testing.assert_array_equal(found.array_tzyx, expected)
        np.testing.assert_allclose(geometry.apply(found.affine_ras, [0, 0, 0]), [5, -7, 10], atol=1e-5)
        (kept,) = taken(files, "keep")
        np.testing.assert_array_equal(kept.array, expected)
        for moment, whole in zip(taken(files, "split"), expected, strict=True):
            np.testing.assert_array_equal(moment.array, whole)
            np.testing.assert_array_equal(moment.affine_ras, found.affine_ras)

    @pytest.mark.parametrize("keyword", ["TemporalPositionIdentifier", "TriggerTime", "AcquisitionNumber"])
    def test_slices_at_several_times(self, series_of: Callable[..., Files], keyword: str) -> None:
        files = []
        for t in (2, 0, 1):
            files += series_of(
                [10.0, 12.5, 15.0],
                per_slice=lambda n, t=t: {
                    "name": f"{t}{n}", keyword: t + 1, "pixels": stacked([10 * t + n])[0].astype(np.int16)
                },
            )  # fmt: skip
        self.check(files, keyword, [0, 10, 20], 3)

    def test_slices_that_only_their_number_tells_apart(self, series_of: Callable[..., Files]) -> None:
        files = []
        for t in (2, 0, 1):
            files += series_of(
                [10.0, 12.5, 15.0],
                per_slice=lambda n, t=t: {
                    "name": f"{t}{n}", "InstanceNumber": 3 * t + n, "pixels": stacked([10 * t + n])[0].astype(np.int16)
                },
            )  # fmt: skip
        self.check(files, "InstanceNumber", [0, 10, 20], 3)

    def test_mosaics(self, slice_bytes: SliceBytes) -> None:
        files = [
            (str(t), mosaic(slice_bytes, 5, name=str(t), first=10 * t, InstanceNumber=t, AcquisitionNumber=t))
            for t in (3, 1, 2)
        ]
        self.check(files, "AcquisitionNumber", [10, 20, 30], 5)

    def test_frames(self, slice_bytes: SliceBytes) -> None:
        frames = [frame(z, FrameContentSequence=[item(TemporalPositionIndex=t)]) for t in (1, 2) for z in (10.0, 12.5)]
        self.check([("a", multiframe(slice_bytes, frames))], "TemporalPositionIdentifier", [0, 2], 2)

    def test_frames_of_an_object_that_holds_another_stack_too(self, slice_bytes: SliceBytes) -> None:
        def at(z: float, t: int, stack: str) -> Dataset:
            return frame(z, FrameContentSequence=[item(TemporalPositionIndex=t, StackID=stack)])

        frames = [at(z, 1, "still") for z in (0.0, 4.0)]
        frames += [at(z, t, stack) for stack in ("a", "b") for t in (2, 1) for z in (10.0, 12.5)]
        files = [("a", multiframe(slice_bytes, frames))]
        assert [r.reason for r in diagnosed(files).rejects] == [Reason.TEMPORAL] * 2
        still, first, second = sorted(taken(files, "keep"), key=lambda v: v.array.max())
        np.testing.assert_array_equal(still.array, stacked([0, 1]))
        np.testing.assert_array_equal(first.array, [stacked([4, 5]), stacked([2, 3])])
        np.testing.assert_array_equal(second.array, [stacked([8, 9]), stacked([6, 7])])
        _, *moments = taken(files, "split")
        for moment, numbers in zip(moments, ([4, 5], [2, 3], [8, 9], [6, 7]), strict=True):
            np.testing.assert_array_equal(moment.array, stacked(numbers))

    def test_a_slope_that_varies_gives_physical_values(self, series_of: Callable[..., Files]) -> None:
        files = []
        for t in range(2):
            files += series_of(
                [0.0, 1.0], RescaleSlope=t + 1, per_slice=lambda n, t=t: {"name": f"{t}{n}", "TriggerTime": t}
            )
        found = read_temporal(files, Limits())
        assert (found.array_tzyx.dtype, found.scale) == (np.float64, 1.0)
        np.testing.assert_array_equal(found.array_tzyx[1], 2 * found.array_tzyx[0])

    def test_what_is_no_series_over_time_is_refused(self, series_of: Callable[..., Files]) -> None:
        def reason(files: Files, limits: Limits | None = None) -> Reason:
            with pytest.raises(Rejected) as rejected:
                read_temporal(files, limits or Limits())
            return rejected.value.reason

        first, second = (
            series_of(z, per_slice=lambda n, t=t: {"name": f"{t}{n}", "TriggerTime": t})
            for t, z in enumerate(([0.0, 1.0, 2.0], [0.0, 1.0]))
        )
        assert reason([*first, *second]) is Reason.MISSING_SLICES
        other = series_of([0.0, 1.0], PixelSpacing=[2, 2], per_slice=lambda n: {"name": f"o{n}"})
        assert reason([*first, *other]) is Reason.TEMPORAL
        whole = series_of([0.0, 1.0, 2.0], per_slice=lambda n: {"name": f"w{n}", "TriggerTime": 7})
        assert reason([*first, *whole], Limits(max_bytes=100)) is Reason.TOO_LARGE
