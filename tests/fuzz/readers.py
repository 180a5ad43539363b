"""The readers as functions of bytes, and what each may begin from. Only `Rejected` may come out of one."""

from __future__ import annotations

import bz2
import gzip
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from schemas.recipe import Limits
from tests.fuzz import drawings, flat, marks, several
from tests.hostile import files, packs, series
from transforms.archives import tarred, zipped
from transforms.archives.inflated import Inflated
from transforms.read import array, dicom, dicom_pixels, itk, nifti, over_time
from transforms.read import series as doctor
from transforms.read.header import check_extent
from transforms.rejected import Rejected

LIMITS = Limits(max_bytes=256 << 20, max_voxels=64 << 20, max_members=10_000, max_expansion=100)
"""Small, so that a run that takes much memory is one that passed a limit by."""


@dataclass(frozen=True)
class Target:
    """A reader under fuzz.

    Attributes:
        name: for the command line.
        read: gives bytes to the reader, as the pipelines do: header first, then everything.
        seeds: what is mutated.
        words: bytes that mean something in the format.
    """

    name: str
    read: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...]


def _nifti(data: bytes) -> None:
    prefix = data[: nifti.HEADER_PREFIX_BYTES]
    if over_time.time_points("nifti", prefix) > 1:
        header = over_time.read_header("nifti", prefix, name="x", file_bytes=len(data), limits=LIMITS).header
        _use(over_time.read(header, [array.Blob("x", data)], LIMITS).array_tzyx)
        return
    array.read_header("nifti", prefix, name="x", file_bytes=len(data), limits=LIMITS)
    _use(nifti.read(data, limits=LIMITS).array_zyx)


def _itk(data: bytes) -> None:
    prefix = data[: itk.HEADER_PREFIX_BYTES]
    array.read_header("itk", prefix, name="x", file_bytes=len(data), limits=LIMITS)
    _use(itk.read(data, beside={"image.raw": data}, limits=LIMITS).array_zyx)


def _dicom(data: bytes) -> None:
    """Two slices, the second a copy moved by a step: what is sound becomes a volume."""
    try:
        instance = dicom.read_instance(data[: dicom.HEADER_PREFIX_BYTES], path="a", file_bytes=len(data))
    except dicom.HeaderCutError:
        instance = dicom.read_instance(data, path="a", file_bytes=len(data))
    other = dicom.read_instance(_SECOND, path="b", file_bytes=len(_SECOND))
    diagnosis = doctor.diagnose([instance, other])
    for volume in diagnosis.volumes:
        check_extent(volume.header.shape, np.dtype(volume.header.dtype).itemsize, LIMITS)
        read = [(p, data if p == "a" else _SECOND) for p in volume.paths]
        _use(doctor.read(read, volume.header, LIMITS).array_zyx)
    if instance.rows * instance.columns <= LIMITS.max_voxels:  # the doctor would not ask for more
        _use(dicom_pixels.pixels(data).array_yx)


_SECOND = series.encoded(series.dataset("fuzz", 1))


def _zip(data: bytes) -> None:
    def read_at(start: int, end: int) -> bytes:
        return data[start:end]

    for member in zipped.index(read_at, len(data), LIMITS).members[:20]:
        for start, end in ((0, 100), (0, None)):
            try:
                zipped.read(read_at, member, start, end)
            except Rejected:
                continue


def _tar(data: bytes) -> None:
    def read_at(start: int, end: int) -> bytes:
        return data[start:end]

    for member in tarred.index(read_at, len(data), LIMITS).members[:20]:
        tarred.read(read_at, member, 0, None)


def _tgz(data: bytes) -> None:
    if data[:1] != b"\x1f":  # a tar within a sound stream: what is behind the checksums is reached too
        data = gzip.compress(data, 1, mtime=0)
    stream = Inflated(lambda start, end: data[start:end], len(data), LIMITS, interval_bytes=1000)
    for member in tarred.index_gzip(stream, LIMITS).members[:20]:
        tarred.read(stream.read_at, member, 0, None)


def _use(voxels: np.ndarray) -> None:
    if voxels.size:
        voxels.reshape(-1)[[0, -1]].sum()


def _nifti_seeds() -> list[bytes]:
    floats = files.nifti(files.voxels().astype(np.float32))
    qform = files.nifti(codes=(1, 1), quatern=(0.1, 0.2, 0.3))
    two = bytearray(544)
    two[:4], two[4:12] = (540).to_bytes(4, "little"), b"n+2\0\r\n\x1a\n"
    two[12:16] = (4).to_bytes(2, "little") + (16).to_bytes(2, "little")
    two[16:80] = np.array([3, 12, 10, 8, 1, 1, 1, 1], "<i8").tobytes()
    two[104:168] = np.array([1, 1, 1, 1, 0, 0, 0, 0], "<f8").tobytes()
    two[168:176] = (544).to_bytes(8, "little")
    two[344:352] = np.array([0, 1], "<i4").tobytes()
    two[400:496] = np.eye(4)[:3].astype("<f8").tobytes()
    times = files.nifti(np.stack([files.voxels()] * 3))
    plain = [times, files.nifti(), files.nifti(order=">"), floats, qform, bytes(two) + files.voxels().tobytes()]
    return [*plain, files.packed(plain[0]), files.packed(plain[0][:300]) + files.packed(plain[0][300:])]


def _nrrd_seeds() -> list[bytes]:
    raw = files.voxels().tobytes()
    return [
        files.nrrd(), files.nrrd(encoding="gzip", data=files.packed(raw)),
        files.nrrd(encoding="bzip2", data=bz2.compress(raw)), files.nrrd(data_file="image.raw", data=b""),
        files.nrrd(byte_skip="-1", space_units='"mm" "mm" "mm"'), files.nrrd(endian="big", space="RAS"),
    ]  # fmt: skip


def _metaimage_seeds() -> list[bytes]:
    raw = files.voxels().tobytes()
    return [
        files.metaimage(), files.metaimage(CompressedData="True", data=zlib.compress(raw)),
        files.metaimage(ElementDataFile="image.raw", data=b"", HeaderSize="-1"),
        files.metaimage(BinaryDataByteOrderMSB="True", DistanceUnits="cm", Comment="none"),
    ]  # fmt: skip


def _dicom_seeds() -> list[bytes]:
    native = [series.encoded(series.dataset("fuzz", 0), s) for s in (series.LITTLE, series.DEFLATED)]
    compressed = series.dataset("fuzz", 0)
    series._jpeg2000(compressed, 0)
    return [*native, series.encoded(compressed, series.JPEG2000), series._nested(5)]


def _zip_seeds() -> list[bytes]:
    members = [("a/image.nii", files.nifti()), ("善/b", b"12345" * 100), ("d/", b"")]
    stored = packs.zipped(members, lambda info: setattr(info, "compress_type", zipfile.ZIP_STORED))
    return [packs.zipped(members), stored, packs.zipped([])]


def _tar_seeds() -> list[bytes]:
    members = [("a/image.nii", files.nifti()), ("善" * 60, b"12345" * 100), ("n" * 150, b"")]
    return [packs.tarred(members), packs.tarred(members, lambda info: setattr(info, "type", tarfile.GNUTYPE_LONGNAME))]


def _tgz_seeds() -> list[bytes]:
    return [*(gzip.compress(t, mtime=0) for t in _tar_seeds()), *_tar_seeds()]


def real_seeds(name: str) -> list[bytes]:
    """Real files at MDFP_TESTDATA for a reader: the smallest of each folder; none where there are no such files."""
    if "MDFP_TESTDATA" not in os.environ:
        return []
    smallest: dict[Path, Path] = {}
    for pattern in _REAL.get(name, ()):
        for file in sorted(Path(os.environ["MDFP_TESTDATA"]).glob(pattern)):
            best = smallest.get(file.parent)
            if file.is_file() and (best is None or file.stat().st_size < best.stat().st_size):
                smallest[file.parent] = file
    return [f.read_bytes() for f in smallest.values() if f.stat().st_size <= _REAL_BYTES]


_REAL_BYTES = 400_000
_REAL = {
    "nifti": ("nifti/**/*.nii", "nifti/**/*.nii.gz"), "nrrd": ("nrrd/**/*.nrrd",), "metaimage": ("mha/**/*.mha", "mha/**/*.mhd"),
    "dicom": ("dicom/**/*",), "zip": ("archives/*.zip",), "tgz": ("archives/*.tar.gz",),
    "png": ("png/**/*.png",), "jpeg": ("jpg/**/*.jpg",), "seg": ("dicom/**/SEG/*.dcm",), "rtstruct": ("dicom/**/RS.dcm",),
    "flatdicom": tuple(f"dicom/**/{m}/*.dcm" for m in ("US", "CR", "DX", "MG", "XA", "NM")),
    "mask": ("png/**/*.png",),
}  # fmt: skip
_NUMBERS = tuple(
    n.to_bytes(w, o) for w in (2, 4, 8) for o in ("little", "big") for n in (0, 1, 2**15, 2 ** (8 * w) - 1)
)  # type: ignore[arg-type]
_TEXT = (
    b"0", b"-1", b"nan", b"inf", b"1e400", b"9" * 30, b"9" * 5000, b" ", b"\n", b"\n\n", b"(", b")", b"none", b"\0", b"LOCAL",
)  # fmt: skip
_DICOM_WORDS = (
    b"SQ\0\0\xff\xff\xff\xff", b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0", b"UN\0\0", b"OB\0\0",
    b"\xe0\x7f\x10\x00", b"1.2.840.10008.1.2", b"\xff\x4f\xff\x51", b"\xff\xd8\xff", b"\\",
)  # fmt: skip

TARGETS = {
    t.name: t
    for t in (
        Target("nifti", _nifti, _nifti_seeds, _NUMBERS),
        Target("nrrd", _itk, _nrrd_seeds, _TEXT),
        Target("metaimage", _itk, _metaimage_seeds, _TEXT),
        Target("dicom", _dicom, _dicom_seeds, (*_NUMBERS, *_DICOM_WORDS)),
        Target("zip", _zip, _zip_seeds, (*_NUMBERS, b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"../")),
        Target(
            "tar",
            _tar,
            _tar_seeds,
            (b"0", b"7" * 11, b"\x80" + b"\xff" * 11, b"../", b"L", b"x", b"K", b"S", b"2", b"\0"),
        ),
        Target("tgz", _tgz, _tgz_seeds, _NUMBERS),
        Target("lidc", *marks.lidc_reader()),
        *(Target(name, *parts) for name, parts in flat.readers(LIMITS).items()),
        Target("seg", drawings.reader("seg", LIMITS), lambda: list(drawings.seg_seeds()), (*_NUMBERS, *_DICOM_WORDS)),
        Target(
            "rtstruct",
            drawings.reader("rtstruct", LIMITS),
            lambda: list(drawings.rtstruct_seeds()),
            (*_TEXT, *_DICOM_WORDS),
        ),
        *(Target(name, *parts) for name, parts in several.readers(LIMITS).items()),
    )
}
