"""Inputs that are archives: sound ones, and what is packed to lead out of them or to fill the memory."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable

from schemas.reasons import Reason
from tests.hostile import series
from tests.hostile.files import Input, nifti, packed, voxels

MAX_MEMBERS = 500
"""The limit that the run sets, so that a small archive has too many."""

Members = list[tuple[str, bytes]]


def zipped(members: Members, edit: Callable[[zipfile.ZipInfo], None] | None = None) -> bytes:
    """A zip, the same bytes each time."""
    sink = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that occur twice are meant
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members:
                info = zipfile.ZipInfo(name)
                info.compress_type = zipfile.ZIP_DEFLATED
                if edit:
                    edit(info)
                archive.writestr(info, data)
    return sink.getvalue()


def tarred(members: Members, edit: Callable[[tarfile.TarInfo], None] | None = None) -> bytes:
    """A tar."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if edit:
                edit(info)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def _link(info: zipfile.ZipInfo) -> None:
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16


def _typed(kind: bytes) -> Callable[[tarfile.TarInfo], None]:
    def edit(info: tarfile.TarInfo) -> None:
        info.type, info.linkname, info.size = kind, "/etc/passwd", 0

    return edit


def _encrypted(data: bytes) -> bytes:
    at = data.index(b"PK\1\2")
    return data[: at + 8] + bytes([data[at + 8] | 1]) + data[at + 9 :]


def _lying(data: bytes, size: int) -> bytes:
    at = data.index(b"PK\1\2")
    return data[: at + 24] + size.to_bytes(4, "little") + data[at + 28 :]


def _checksum(data: bytes) -> bytes:
    at = data.index(b"PK\1\2")
    return data[: at + 16] + bytes(4) + data[at + 20 :]


def _overlapping() -> bytes:
    data = zipped([("a/image.nii", nifti()), ("b/image.nii", nifti())])
    second = data.rindex(b"PK\1\2")
    return data[: second + 42] + bytes(4) + data[second + 46 :]


def _zeros(mebibytes: int) -> bytes:
    """A tar.gz of a member of zeros."""
    info = tarfile.TarInfo("x/image.nii")
    info.size = mebibytes << 20
    sink = io.BytesIO()
    with gzip.GzipFile(fileobj=sink, mode="wb", mtime=0) as stream:
        stream.write(info.tobuf())
        for _ in range(mebibytes):
            stream.write(bytes(1 << 20))
        stream.write(bytes(1024))
    return sink.getvalue()


def good() -> list[Input]:
    """Sound archives of every kind, with names of many scripts within."""

    def members(seed: int) -> Members:
        return [
            ("p1/image.nii.gz", packed(nifti(voxels(seed)))),
            ("患者 2/image.nii", nifti(voxels(seed + 1))),
            ("line\nbreak/image.nii", nifti(voxels(seed + 2))),
        ]

    made = {
        "good.zip": zipped(members(20)),
        "good.tar": tarred(members(30)),
        "good.tar.gz": gzip.compress(tarred(members(40)), mtime=0),
        "gut.tgz": gzip.compress(tarred(members(50)), mtime=0),
    }
    slices = {n: list(series.files(f"packed {n}").items()) for n in ("a", "b")}
    packs = {"good-series.zip": zipped(slices["a"]), "good-series.tgz": gzip.compress(tarred(slices["b"]), mtime=0)}
    return [
        *(Input(n, {n: data}, None, "archives") for n, data in made.items()),
        *(Input(n, {n: data}, None, "series") for n, data in packs.items()),
    ]


def bad() -> list[Input]:
    """Broken and hostile archives, each with the reason by which it, or its member, must be refused."""
    image = ("x/image.nii", nifti())
    many = [(f"{n}/image.nii", b"") for n in range(MAX_MEMBERS + 1)]
    tgz = gzip.compress(tarred([image]), mtime=0)
    rows: list[tuple[str, bytes, Reason]] = [
        ("zip-empty.zip", b"", Reason.CORRUPT_ARCHIVE),
        ("zip-cut.zip", zipped([image])[:-30], Reason.CORRUPT_ARCHIVE),
        ("zip-up.zip", zipped([("../../x/image.nii", nifti())]), Reason.UNSAFE_MEMBER),
        ("zip-absolute.zip", zipped([("/etc/image.nii", nifti())]), Reason.UNSAFE_MEMBER),
        ("zip-drive.zip", zipped([("C:/x/image.nii", nifti())]), Reason.UNSAFE_MEMBER),
        ("zip-backslash.zip", zipped([("..\\x\\image.nii", nifti())]), Reason.UNSAFE_MEMBER),
        ("zip-link.zip", zipped([("x/image.nii", b"/etc/passwd")], _link), Reason.UNSAFE_MEMBER),
        ("zip-encrypted.zip", _encrypted(zipped([image])), Reason.ENCRYPTED),
        ("zip-twice.zip", zipped([image, image]), Reason.CONFLICTING_FILES),
        ("zip-checksum.zip", _checksum(zipped([("x/image.nii.gz", packed(nifti()))])), Reason.BAD_CHECKSUM),
        ("zip-lie.zip", _lying(zipped([image]), 3 << 30), Reason.EXPANSION),
        ("zip-overlap.zip", _overlapping(), Reason.CORRUPT_ARCHIVE),
        ("zip-nested.zip", zipped([("x/in.zip", zipped([image]))]), Reason.UNSUPPORTED),
        ("zip-long-name.zip", zipped([("n" * 3000 + "/image.nii", nifti())]), Reason.TOO_LARGE),
        ("zip-many.zip", zipped(many), Reason.TOO_LARGE),
        ("tar-cut.tar", tarred([image])[:1500], Reason.CORRUPT_ARCHIVE),
        ("tar-up.tar", tarred([("x/../../image.nii", nifti())]), Reason.UNSAFE_MEMBER),
        ("tar-link.tar", tarred([("x/image.nii", b"")], _typed(tarfile.SYMTYPE)), Reason.UNSAFE_MEMBER),
        ("tar-hard-link.tar", tarred([("x/image.nii", b"")], _typed(tarfile.LNKTYPE)), Reason.UNSAFE_MEMBER),
        ("tar-device.tar", tarred([("x/image.nii", b"")], _typed(tarfile.BLKTYPE)), Reason.UNSAFE_MEMBER),
        ("tar-twice.tar", tarred([image, image]), Reason.CONFLICTING_FILES),
        ("tar-many.tar", tarred(many), Reason.TOO_LARGE),
        ("tgz-cut.tgz", tgz[:-200], Reason.CORRUPT_GZIP),
        ("tgz-bit.tgz", tgz[:-8] + bytes(4) + tgz[-4:], Reason.CORRUPT_GZIP),
        ("tgz-no-tar.tgz", gzip.compress(b"text" * 1000, mtime=0), Reason.CORRUPT_ARCHIVE),
        ("tgz-bomb.tgz", _zeros(300), Reason.EXPANSION),
    ]
    return [Input(n, {n: data}, reason, "archives") for n, data, reason in rows]
