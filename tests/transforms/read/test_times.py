"""Times between the time points of DICOM series: what dcm2niix finds, what headers state, and what is irregular is said to be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from schemas.recipe import Limits
from tests.scanned_series import enhanced, item, mosaic, slices, voxels, written
from transforms.read import dicom, series
from transforms.read.temporal import read_temporal
from transforms.volume import TemporalVolume

Stamps = Callable[[int, int], dict[str, Any]]
"""Attributes of a time point and slice."""


def clock(seconds: float) -> str:
    """TM of seconds since midnight."""
    return f"{int(seconds // 3600):02}{int(seconds % 3600 // 60):02}{seconds % 60:09.6f}"


def at(*seconds: float, start: float = 36_610.0, apart: float = 0.0) -> Stamps:
    """AcquisitionTime of each time point, its slices one after the other."""
    return lambda t, z: {"AcquisitionTime": clock(start + seconds[t] + apart * z)}


def classic(stamps: Stamps, *, count: int = 4, positions: int = 4, **fields: Any) -> list[Dataset]:
    """Slices of several time points, which AcquisitionNumber tells apart."""
    made = []
    for t in range(count):
        made += slices(
            voxels((positions, 34, 36)) + np.uint16(t), modality="MR", rescale=lambda z: (1, 0),
            per_slice=lambda z, t=t: {
                "AcquisitionNumber": t + 1, "InstanceNumber": positions * t + z + 1, "SOPInstanceUID": f"1.2.3.4.{t}.{z}",
                **fields, **stamps(t, z),
            },
        )  # fmt: skip
    return made


def mosaics(stamps: Stamps, *, count: int = 4, **fields: Any) -> list[Dataset]:
    made = [mosaic(voxels((6, 16, 20)) + np.uint16(t), moment=t) for t in range(count)]
    for t, ds in enumerate(made):
        for keyword, value in {**fields, **stamps(t, 0)}.items():
            setattr(ds, keyword, value)
    return made


def nothing(t: int, z: int) -> dict[str, Any]:
    return {"AcquisitionTime": None}


def read(made: Sequence[Dataset]) -> TemporalVolume:
    return read_temporal([(f"{n:04}", written(ds)) for n, ds in enumerate(made)], Limits())


def findings(made: Sequence[Dataset]) -> dict[str, str]:
    files = [(f"{n:04}", written(ds)) for n, ds in enumerate(made)]
    instances = [dicom.read_instance(data, path=path, file_bytes=len(data)) for path, data in files]
    (volume,) = series.diagnose(instances, temporal="keep").volumes
    return {f.code: f.detail for f in volume.findings}


EPI = {"ScanningSequence": "EP", "MRAcquisitionType": "2D"}
LIKE_DCM2NIIX: dict[str, tuple[Callable[[], list[Dataset]], float]] = {
    "acquisition times": (lambda: classic(at(0, 2.5, 5, 7.5), RepetitionTime=5), 2500),
    "slices one after the other": (lambda: classic(at(0, 3, 6, 9, apart=0.7), RepetitionTime=5), 3000),
    "repetition of EPI": (lambda: classic(nothing, RepetitionTime=1500, **EPI), 1500),
    "repetition of EPI that the clock bears out": (
        lambda: classic(at(0, 1.5, 3, 4.5, apart=0.3), RepetitionTime=1500, **EPI), 1500,
    ),
    "mosaics by their repetition": (lambda: mosaics(nothing, RepetitionTime=2000), 2000),
    "mosaics with a rounded clock": (lambda: mosaics(at(0, 2.0025, 4, 5.9975), RepetitionTime=2000), 2000),
}  # fmt: skip


def convert(folder: Path, out: Path) -> tuple[nib.Nifti1Image, dict[str, Any]]:
    """The only image that dcm2niix makes of a folder, and what it says beside it."""
    out.mkdir()
    order = ["dcm2niix", "-b", "y", "-z", "n", "-f", "x", "-o", str(out), str(folder)]
    subprocess.run(order, check=True, capture_output=True)
    (image,), (told,) = out.glob("*.nii"), out.glob("*.json")
    return nib.load(image), json.loads(told.read_text())


def put(folder: Path, made: Sequence[Dataset]) -> Path:
    folder.mkdir()
    for number, ds in enumerate(made):
        (folder / f"{number:03}.dcm").write_bytes(written(ds))
    return folder


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
@pytest.mark.parametrize("name", LIKE_DCM2NIIX)
def test_the_step_is_that_of_dcm2niix(tmp_path, name):
    make, expected = LIKE_DCM2NIIX[name]
    made = make()
    found = read(made)
    assert (found.step_ms, found.times_ms) == (pytest.approx(expected, abs=1e-3), ())
    image, told = convert(put(tmp_path / "series", made), tmp_path / "out")
    assert image.shape[3] == len(found.array_tzyx)
    assert image.header.get_xyzt_units()[1] == "sec"
    assert float(image.header.get_zooms()[3]) * 1000 == pytest.approx(found.step_ms, abs=1e-3)
    assert told["RepetitionTime"] * 1000 == pytest.approx(found.step_ms, abs=1e-3)


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
def test_irregular_times_are_told_where_dcm2niix_writes_their_mean(tmp_path):
    made = classic(at(0, 10, 20, 50), RepetitionTime=5)
    found = read(made)
    assert (found.step_ms, found.times_ms) == (None, (0, 10_000, 20_000, 50_000))
    image, told = convert(put(tmp_path / "series", made), tmp_path / "out")
    assert float(image.header.get_zooms()[3]) == pytest.approx(50 / 3)
    assert [t * 1000 for t in told["FrameTimesStart"]] == pytest.approx(found.times_ms)
    assert findings(made)["irregular_times"] == "4 time points, 10000 to 30000 ms apart by acquisition time"


def test_a_finding_says_the_step():
    detail = findings(classic(at(0, 2.5, 5, 7.5)))["temporal"]
    assert detail == "4 time points of 4 slices, by AcquisitionNumber, 2500 ms apart by acquisition time"


@pytest.mark.parametrize(
    ("stamps", "fields"),
    [
        (nothing, {"RepetitionTime": 1500}),
        (nothing, {"RepetitionTime": 1500, **EPI, "SequenceVariant": "SK"}),
        (nothing, {"RepetitionTime": 1500, **EPI, "MRAcquisitionType": "3D"}),
        (nothing, {"RepetitionTime": 0, **EPI}),
        (nothing, {"TemporalResolution": -3}),
        (at(0, 0, 0, 0), {}),
        (at(0, 3, 2, 5), {}),
        (lambda t, z: {"AcquisitionTime": "noon"}, {}),
        (lambda t, z: {"AcquisitionTime": clock(36_000 + t) if z else None}, {}),
    ],
    ids=[
        "no EPI",
        "segmented",
        "3D",
        "no repetition",
        "negative",
        "equal",
        "backwards",
        "no time",
        "not of all slices",
    ],
)
def test_what_no_header_says_is_not_invented(stamps, fields):
    made = classic(stamps, **fields)
    assert (read(made).step_ms, read(made).times_ms) == (None, ())
    assert "irregular_times" not in findings(made)


def test_a_cine_has_the_steps_of_its_trigger():
    found = read(classic(lambda t, z: {"TriggerTime": 40.5 * t}, RepetitionTime=5))
    assert (found.ordered_by, found.step_ms) == ("TriggerTime", 40.5)


def test_a_stated_resolution_holds_where_no_clock_goes_forward():
    assert read(classic(at(0, 0, 0, 0), TemporalResolution=3200)).step_ms == 3200


def test_a_pause_between_repetitions_is_heard_from_the_clock():
    """dcm2niix writes the repetition, 2 s: its pixdim[4] is not when the volumes were taken."""
    assert read(mosaics(at(0, 9, 18, 27), RepetitionTime=2000)).step_ms == 9000


def test_a_missing_volume_is_no_longer_step():
    found = read(mosaics(at(0, 2, 6, 8), RepetitionTime=2000))
    assert (found.step_ms, found.times_ms) == (None, (0, 2000, 6000, 8000))


def test_slices_that_do_not_agree_have_no_times_of_all():
    made = classic(lambda t, z: {"TriggerTime": t * (40.0 + 5 * z)})
    assert (read(made).step_ms, read(made).times_ms) == (None, ())
    assert findings(made)["irregular_times"] == "4 time points, 40 to 55 ms apart by TriggerTime"


def test_a_clock_of_whole_seconds_bears_out_what_lies_between():
    def whole(t: int, z: int) -> dict[str, Any]:
        return {"AcquisitionTime": clock(36_610 + 2.5 * t).partition(".")[0]}

    assert read(mosaics(whole, RepetitionTime=2500)).step_ms == 2500


def test_midnight_is_passed_where_the_date_is_said():
    def stamps(t: int, z: int) -> dict[str, Any]:
        seconds = 86_395.0 + 2 * t
        day = "20200131" if seconds < 86_400 else "20200201"
        return {"AcquisitionDate": day, "AcquisitionTime": clock(seconds % 86_400)}

    assert read(classic(stamps)).step_ms == 2000
    later = classic(lambda t, z: {"AcquisitionDateTime": f"20200131{clock(36_000 + 4 * t)}+0100"})
    assert read(later).step_ms == 4000


@example(start=1.698419628364718, step=1.5629978728404694, count=2, jitter=0.0)
@given(start=st.floats(0, 80_000), step=st.floats(0.02, 300), count=st.integers(2, 6), jitter=st.floats(-0.005, 0.005))
def test_any_step_is_found_within_the_rounding_of_the_clock(start, step, count, jitter):
    times = [n * step * (1 + (jitter if n == 1 and count > 2 else 0)) for n in range(count)]
    found = read(classic(at(*times, start=start), count=count, positions=2))
    assert found.step_ms == pytest.approx(1000 * step, abs=0.003)


@given(step=st.floats(1, 60), late=st.floats(0.1, 0.9), which=st.integers(1, 2))
def test_a_time_point_that_comes_late_is_irregular(step, late, which):
    times = [n * step + (late * step if n == which else 0) for n in range(4)]
    found = read(classic(at(*times), positions=2))
    assert found.step_ms is None
    assert found.times_ms == pytest.approx([1000 * t for t in times], abs=0.01)


def multiframe(content: Callable[[int], dict[str, Any]], groups: Callable[[int], dict[str, Any]]) -> Dataset:
    """Enhanced MR: three time points of four slices."""
    ds = enhanced(voxels((12, 34, 36)), modality="MR")
    items = ds.PerFrameFunctionalGroupsSequence
    for number, frame in enumerate(items):
        t, z = divmod(number, 4)
        frame.PlanePositionSequence = items[z].PlanePositionSequence
        frame.FrameContentSequence = [item(StackID="1", InStackPositionNumber=z + 1, TemporalPositionIndex=t + 1)]
        for keyword, value in content(t).items():
            setattr(frame.FrameContentSequence[0], keyword, value)
        for keyword, value in groups(t).items():
            setattr(frame, keyword, value)
    return ds


@pytest.mark.parametrize(
    ("content", "groups", "step_ms"),
    [
        (lambda t: {}, lambda t: {"TemporalPositionSequence": [item(TemporalPositionTimeOffset=1.25 * t)]}, 1250),
        (lambda t: {"FrameAcquisitionDateTime": f"20200131{clock(36_000 + 3 * t)}"}, lambda t: {}, 3000),
        (
            lambda t: {},
            lambda t: {"CardiacSynchronizationSequence": [item(NominalCardiacTriggerDelayTime=33.0 * t)]},
            33,
        ),
        (lambda t: {}, lambda t: {}, None),
    ],
    ids=["offset", "frame acquisition", "trigger delay", "nothing"],
)
def test_frames_of_an_enhanced_object_have_their_times(content, groups, step_ms):
    found = read([multiframe(content, groups)])
    assert found.array_tzyx.shape[:2] == (3, 4)
    assert (found.step_ms, found.times_ms) == (step_ms, ())


@pytest.mark.real
@pytest.mark.skipif("MDFP_TESTDATA" not in os.environ, reason="MDFP_TESTDATA names no folder of real files")
@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
def test_a_real_series_has_the_step_of_dcm2niix(tmp_path):
    folder = Path(os.environ["MDFP_TESTDATA"]) / "dicom/dcm-qa-nih/DEV/20180918GE/mr_0004"
    image, _ = convert(folder, tmp_path / "out")
    found = read_temporal([(p.name, p.read_bytes()) for p in sorted(folder.glob("*.dcm"))], Limits())
    assert found.step_ms == pytest.approx(float(image.header.get_zooms()[3]) * 1000)
