"""PET: activity to SUVbw, against arithmetic written out here with other functions, and refusals that say what is missing."""

from __future__ import annotations

import dataclasses
import io
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import uid
from pydicom.dataset import Dataset

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import dicom, series
from transforms.read.pet import PetFields, suv_factors
from transforms.rejected import Rejected

F18_S, C11_S = 6588.0, 1223.0
KG, BQ = 71.0, 3.5e8
DAY = 86400.0
ZS = [0.0, 3.0, 6.0, 9.0]
BODY = (KG * 1000) / BQ  # g/Bq: SUVbw of 1 Bq/ml if nothing decays

SOUND = PetFields(
    units="BQML", decay_correction="START", corrected=("DECY", "ATTN"), weight_kg=KG, dose_bq=BQ, half_life_s=F18_S,
    injections=1, injected_time_s=10 * 3600.0, series_s=100 * DAY + 11 * 3600.0, acquired_s=100 * DAY + 11 * 3600.0,
    frame_reference_s=90.0, frame_duration_s=180.0,
)  # fmt: skip


def factor(**changes: Any) -> float:
    return suv_factors([dataclasses.replace(SOUND, **changes)]).factors[0]


def note(**changes: Any) -> str:
    return suv_factors([dataclasses.replace(SOUND, **changes)]).note


def decay(seconds: float, half_life: float = F18_S) -> float:
    """What is left of an activity."""
    return math.exp(-math.log(2) * seconds / half_life)


def test_activity_corrected_to_the_start_is_divided_by_the_dose_left_then() -> None:
    assert factor() == pytest.approx(BODY / decay(3600), rel=1e-12)
    assert "DecayCorrection" not in note()
    assert "taken from SeriesTime; injected at RadiopharmaceuticalStartTime of the same day" in note()


def test_activity_corrected_to_the_injection_is_divided_by_the_whole_dose() -> None:
    assert factor(decay_correction="ADMIN", half_life_s=None, injected_time_s=None) == pytest.approx(BODY, rel=1e-15)


def test_activity_that_is_not_corrected_is_corrected_for_each_slice() -> None:
    beds = [
        dataclasses.replace(SOUND, decay_correction="NONE", acquired_s=100 * DAY + 11 * 3600.0 + t) for t in (0, 300)
    ]
    first, second = suv_factors(beds).factors
    # In the mean over a frame of length d the activity is A0 (1 - exp(-λd)) / λd: that of the moment returned.
    constant = math.log(2) / F18_S
    average = math.log(constant * 180 / -math.expm1(-constant * 180)) / constant
    assert 89 < average < 90
    assert first == pytest.approx(BODY / decay(3600 + average), rel=1e-10)
    assert second == pytest.approx(BODY / decay(3900 + average), rel=1e-10)


def test_uptake_is_uptake() -> None:
    for suv_type in (None, "BW"):
        assert suv_factors([PetFields(units="GML", suv_type=suv_type)]).factors == (1.0,)


def test_counts_become_uptake_by_the_vendors_factors_alone() -> None:
    assert factor(units="CNTS", philips_suv=0.0004) == 0.0004
    assert factor(units="CNTS", philips_activity=1.5) == pytest.approx(1.5 * BODY / decay(3600), rel=1e-12)
    assert factor(units="CNTS", philips_suv=0.0, philips_activity=1.5) == pytest.approx(1.5 * factor(), rel=1e-12)
    assert "7053,1009" in note(units="CNTS", philips_activity=1.5)


def test_an_injection_before_midnight_is_of_the_day_before() -> None:
    late = {"series_s": 101 * DAY + 600.0, "acquired_s": 101 * DAY + 600.0, "injected_time_s": 23.5 * 3600}
    assert factor(**late) == pytest.approx(BODY / decay(2400), rel=1e-12)
    assert "of the day before" in note(**late)


def test_a_dated_injection_is_taken_unless_its_date_cannot_be_true() -> None:
    # Carbon-11, injected the day before by its date: the time alone would say today.
    dated = {"injected_at_s": 99 * DAY + 12 * 3600.0, "injected_time_s": 10 * 3600.0}
    assert factor(**dated) == pytest.approx(BODY / decay(23 * 3600), rel=1e-12)
    for moved in (-400 * DAY, 30 * DAY):  # de-identification moved one date and not the other
        assert factor(**{**dated, "injected_at_s": 99 * DAY + moved}) == pytest.approx(BODY / decay(3600), rel=1e-12)
    with pytest.raises(Rejected, match="dated after the scan"):
        factor(injected_at_s=200 * DAY, injected_time_s=None)


def test_a_series_written_anew_finds_its_start_in_its_slices() -> None:
    rewritten = {"series_s": 100 * DAY + 15 * 3600.0}
    constant = math.log(2) / F18_S
    average = math.log(constant * 180 / -math.expm1(-constant * 180)) / constant
    # The second bed position begins 300 s after the start that both are corrected to.
    beds = [
        dataclasses.replace(SOUND, **rewritten, acquired_s=SOUND.acquired_s + t, frame_reference_s=t + average)
        for t in (0.0, 300.0)
    ]
    found = suv_factors(beds)
    assert found.factors == pytest.approx([BODY / decay(3600)] * 2, rel=1e-6)
    assert "AcquisitionTime and FrameReferenceTime" in found.note
    ge = 100 * DAY + 10.5 * 3600
    assert factor(**rewritten, ge_scan_s=ge) == pytest.approx(BODY / decay(1800), rel=1e-12)
    assert factor(**rewritten, frame_reference_s=None) == pytest.approx(BODY / decay(3600), rel=1e-12)
    assert "earliest AcquisitionTime" in note(**rewritten, frame_reference_s=None)


@given(st.floats(0, 12 * 3600), st.sampled_from([F18_S, C11_S, 4062.6]))
def test_the_uptake_of_one_tracer_does_not_depend_on_when_it_was_measured(wait_s: float, half_life: float) -> None:
    # A body that loses nothing: its concentration decays with the dose, so its uptake stays.
    begin = 100 * DAY + 11 * 3600.0 + wait_s
    left = decay(begin - 100 * DAY - 10 * 3600, half_life)
    fields = {"half_life_s": half_life, "series_s": begin, "acquired_s": begin, "injected_at_s": 100 * DAY + 36000.0}
    assert factor(**fields) * left == pytest.approx(BODY, rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"units": None}, "found none"),
        ({"units": "CM2"}, "found CM2"),
        ({"units": "JANE"}, "found something else"),
        ({"decay_correction": "JANE"}, "found something else"),
        ({"units": "GML", "suv_type": "JANE"}, "found something else"),
        ({"units": "CNTS"}, "vendor's factors"),
        ({"units": "GML", "suv_type": "LBM"}, "found LBM"),
        ({"weight_kg": None}, "no PatientWeight"),
        ({"weight_kg": 0.0, "dose_bq": None}, "no PatientWeight and no RadionuclideTotalDose"),
        ({"dose_bq": 350.0}, "another unit"),
        ({"half_life_s": None}, "no RadionuclideHalfLife"),
        ({"decay_correction": None}, "found none"),
        ({"injected_time_s": None}, "no time of injection"),
        ({"acquired_s": None}, "no AcquisitionDate and AcquisitionTime"),
        ({"decay_correction": "NONE", "frame_duration_s": None}, "no ActualFrameDuration"),
        ({"corrected": ("DECY", "RAN")}, "no ATTN"),
        ({"injections": 2}, "expected one injection, found 2"),
    ],
)
def test_what_is_missing_is_named(changes: dict[str, Any], found: str) -> None:
    with pytest.raises(Rejected, match=found) as rejected:
        factor(**changes)
    assert rejected.value.reason is Reason.NO_SUV


def test_slices_that_disagree_are_refused() -> None:
    for change in ({"weight_kg": 70.0}, {"units": "GML"}, {"dose_bq": 3.6e8}):
        with pytest.raises(Rejected, match="no_suv"):
            suv_factors([SOUND, dataclasses.replace(SOUND, **change)])


def injection(**fields: Any) -> list[Dataset]:
    item = Dataset()
    defaults = {
        "RadionuclideTotalDose": "350000000",
        "RadionuclideHalfLife": "6588",
        "RadiopharmaceuticalStartTime": "100000.00",
    }
    for keyword, value in {**defaults, **fields}.items():
        setattr(item, keyword, value)
    return [item]


def pet_fields(**more: Any) -> dict[str, Any]:
    return {
        "Modality": "PT", "SOPClassUID": uid.PositronEmissionTomographyImageStorage, "Units": "BQML",
        "DecayCorrection": "START", "CorrectedImage": ["DECY", "ATTN"], "PatientWeight": "71.0",
        "SeriesDate": "20191231", "SeriesTime": "110000", "AcquisitionDate": "20191231", "AcquisitionTime": "110000.000",
        "RadiopharmaceuticalInformationSequence": injection(), **more,
    }  # fmt: skip


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_a_series_is_read_as_uptake_and_its_record_holds_no_time(
    series_of: Callable[..., Any], syntax: uid.UID
) -> None:
    files = series_of(
        ZS, syntax=syntax, RescaleIntercept=0, per_slice=lambda n: {"RescaleSlope": 0.5 + n}, **pet_fields()
    )
    instances = [dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files]
    (found,) = series.diagnose(instances).volumes
    volume = series.read(files, found.header, Limits())
    raw = np.stack([pydicom.dcmread(io.BytesIO(d)).pixel_array * (0.5 + n) for n, (_, d) in enumerate(files)])
    np.testing.assert_allclose(volume.array_zyx, raw * BODY / decay(3600), rtol=1e-12)
    assert [f.code for f in found.findings] == ["rescale_varies", "suv"]
    assert found.header.unit == "g/ml (SUVbw)"
    for kept in (found.header, found.findings, found.metadata):
        for secret in ("2019", "110000", "100000", "1100", "71.0", "350000000", "39600", "36000"):
            assert secret not in str(kept)


def test_one_slope_keeps_the_integers_and_scales_them(series_of: Callable[..., Any]) -> None:
    files = series_of(ZS, RescaleSlope=2, RescaleIntercept=0, **pet_fields())
    (found,) = series.diagnose([dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files]).volumes
    volume = series.read(files, found.header, Limits())
    assert volume.array_zyx.dtype == np.int16
    assert volume.scale == found.header.scale == pytest.approx(2 * BODY / decay(3600), rel=1e-12)


def test_slices_that_the_header_announces_and_are_not_there_are_a_finding(series_of: Callable[..., Any]) -> None:
    for announced, codes in ((9, ["suv", "incomplete"]), (4, ["suv"])):
        files = series_of(ZS, **pet_fields(NumberOfSlices=announced))
        (found,) = series.diagnose([dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files]).volumes
        assert [f.code for f in found.findings] == codes
    files = series_of(ZS, **pet_fields(NumberOfSlices=9))
    (found,) = series.diagnose([dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files]).volumes
    assert found.findings[-1].detail == "the header announces 9 slices (NumberOfSlices), 4 are here"


def test_private_factors_are_read_under_their_makers_name_only(series_of: Callable[..., Any]) -> None:
    def counts(creator: str) -> series.Diagnosis:
        block = Dataset()
        block.add_new(0x70530010, "LO", creator)
        block.add_new(0x70531000, "DS", "0.25")
        files = []
        for path, data in series_of(ZS, **pet_fields(Units="CNTS")):
            ds = pydicom.dcmread(io.BytesIO(data))
            ds.update(block)
            buffer = io.BytesIO()
            ds.save_as(buffer)
            files.append((path, buffer.getvalue()))
        return series.diagnose([dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files])

    assert counts("Philips PET Private Group").volumes[0].header.scale == 0.25
    assert [r.reason for r in counts("Somebody Else").rejects] == [Reason.NO_SUV]


@pytest.mark.real
@pytest.mark.skipif("MDFP_TESTDATA" not in os.environ, reason="MDFP_TESTDATA names no folder of real files")
@pytest.mark.parametrize("folder", ["soft-tissue-sarcoma-raw/STS_001/PT", "soft-tissue-sarcoma/STS_003/PET/image"])
def test_real_series_are_uptake(folder: str) -> None:
    root = Path(os.environ["MDFP_TESTDATA"]) / "dicom" / folder
    files = [(f.name, f.read_bytes()) for f in sorted(root.iterdir())]
    (found,) = series.diagnose([dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files]).volumes
    volume = series.read([(p, dict(files)[p]) for p in found.paths], found.header, Limits())
    for z, path in enumerate(found.paths):
        ds = pydicom.dcmread(root / path)
        physical = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
        if ds.Units == "BQML":
            dose = ds.RadiopharmaceuticalInformationSequence[0]
            hours = [
                int(t[:2]) + int(t[2:4]) / 60 + float(t[4:]) / 3600
                for t in (dose.RadiopharmaceuticalStartTime, ds.SeriesTime)
            ]
            left = float(dose.RadionuclideTotalDose) * 0.5 ** (
                (hours[1] - hours[0]) * 3600 / float(dose.RadionuclideHalfLife)
            )
            physical = physical * (float(ds.PatientWeight) * 1000 / left)
            assert float(ds.PatientWeight) * 1000 / left == pytest.approx(0.000242902977, rel=1e-8)  # the manifest's
        np.testing.assert_allclose(volume.array_zyx[z] * volume.scale + volume.offset, physical, rtol=1e-9)
