"""A header that lies is refused before memory is taken for what it says."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest

from schemas.reasons import Reason
from schemas.recipe import Limits
from tests.hostile import series
from tests.hostile.files import metaimage, nifti, nrrd, packed
from transforms.read import dicom, inflate, itk
from transforms.read import nifti as nifti_reader
from transforms.read import series as doctor
from transforms.read.header import check_frames
from transforms.rejected import Rejected

SMALL_BYTES = 16 << 20
"""What a reader may take for a file of a few kilobytes."""


@pytest.fixture(autouse=True)
def _little_memory():
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < SMALL_BYTES


def lying_gzip() -> bytes:
    """A gzip whose length field announces 4 GB."""
    return packed(nifti())[:-4] + b"\xff" * 4


HUGE = (3, 16000, 16000, 7)  # 3.6 GB of int16, within the limits of voxels and bytes

FILES = {
    "nifti, plain": (nifti_reader.read, nifti(dim=HUGE), Reason.TRUNCATED),
    "nifti, gzip": (nifti_reader.read, packed(nifti(dim=HUGE)), Reason.EXPANSION),
    "nifti, length of gzip": (nifti_reader.read, lying_gzip(), Reason.CORRUPT_GZIP),
    "nifti, content of gzip": (nifti_reader.read, packed(nifti() + bytes(60 << 20)), Reason.TOO_LARGE),
    "nifti, offset": (nifti_reader.read, packed(nifti(vox_offset=3e9)), Reason.TOO_LARGE),
    "metaimage, raw": (itk.read, metaimage(DimSize="16000 16000 7"), Reason.TRUNCATED),
    "metaimage, zlib": (
        itk.read, metaimage(DimSize="16000 16000 7", CompressedData="True", data=zlib.compress(b"1")), Reason.EXPANSION
    ),
    "nrrd, gzip": (itk.read, nrrd(sizes="16000 16000 7", encoding="gzip", data=packed(b"1")), Reason.EXPANSION),
    "nrrd, skip": (itk.read, nrrd(byte_skip=str(2**40)), Reason.TOO_LARGE),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_a_lie_costs_no_memory(what):
    read, data, reason = FILES[what]
    with pytest.raises(Rejected) as verdict:
        read(data, limits=Limits())
    assert verdict.value.reason == reason


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (Limits(max_edge=11), "voxels along one axis"),
        (Limits(max_voxels=959), "voxels"),
        (Limits(max_bytes=1919), "bytes in memory"),
    ],
)
@pytest.mark.parametrize(("read", "data"), [(nifti_reader.read, nifti()), (itk.read, metaimage()), (itk.read, nrrd())])
def test_each_limit_of_an_array_holds_for_each_format(read, data, limits, what):
    with pytest.raises(Rejected, match=f"too_large.* {what}; the recipe's limits allow"):
        read(data, limits=limits)


def test_rows_and_columns_of_a_series_are_held_to_the_limits():
    files = [(p, d) for p, d in series.files("limits").items()]
    instances = [dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files]
    (volume,) = doctor.diagnose(instances).volumes
    for limits in (Limits(max_edge=19), Limits(max_voxels=1919), Limits(max_bytes=3839)):
        with pytest.raises(Rejected, match="too_large"):
            doctor.read(files, volume.header, limits)
    assert (
        doctor.read(files, volume.header, Limits(max_edge=20, max_voxels=1920, max_bytes=3840)).array_zyx.size == 1920
    )


def test_frames_are_held_to_the_limit():
    check_frames(5, Limits(max_frames=5))
    with pytest.raises(Rejected, match="too_large: the header announces 6 frames; the recipe's limits allow 5"):
        check_frames(6, Limits(max_frames=5))
    with pytest.raises(Rejected, match="unreadable: expected a number of frames, found -1"):
        check_frames(-1, Limits())


def test_a_stream_holds_at_most_what_deflate_can():
    zeros = zlib.compress(bytes(10 << 20), 9)
    inflate.check_holds(len(zeros), 10 << 20)
    with pytest.raises(Rejected, match="expansion"):
        inflate.check_holds(len(zeros), 1033 * len(zeros))


def test_a_deflated_data_set_is_held_to_a_limit(monkeypatch):
    monkeypatch.setattr("transforms.read.deflated.MAX_INFLATED_BYTES", 1 << 20)
    ds = series.dataset("deflated", 0)
    ds.PixelData = bytes(2 << 20)
    data = series.encoded(ds, series.DEFLATED)
    with pytest.raises(Rejected, match="too_large: a deflated data set of more than 1048576 bytes"):
        dicom.read_instance(data, path="x", file_bytes=len(data))
