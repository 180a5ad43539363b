"""Indexes and reads of zip and tar agree with the standard library's; what is hostile is refused by its own reason."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import tracemalloc
import zipfile
import zlib

import pytest

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.archives import member as members
from transforms.archives import tarred, zipped
from transforms.archives.inflated import Inflated
from transforms.rejected import Rejected

NAMES = ("a.nii", "deep/er/b c.nii", "日本/Ω ü.dcm", "line\nbreak.nii", "عربى.nii.gz", "empty", "x" * 300)


def contents(seed=1):
    rng = random.Random(seed)
    return {
        n: rng.randbytes(50 if i % 2 else 70_000) + bytes(1000 * i) if n != "empty" else b""
        for i, n in enumerate(NAMES)
    }


def make_zip(files=None, *, method=zipfile.ZIP_DEFLATED, edit=None, **more):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method, **more) as archive:
        for name, data in (contents() if files is None else files).items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            if edit:
                edit(info)
            archive.writestr(info, data)
    return sink.getvalue()


def make_tar(files=None, *, format=tarfile.PAX_FORMAT, edit=None, mode="w"):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode, format=format) as archive:
        for name, data in (contents() if files is None else files).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if edit:
                edit(info)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def reader(data):
    return lambda start, end: data[start:end]


def index(kind, data, limits=None):
    limits = limits or Limits()
    if kind == "zip":
        return zipped.index(reader(data), len(data), limits)
    if kind == "tar":
        return tarred.index(reader(data), len(data), limits)
    return tarred.index_gzip(Inflated(reader(data), len(data), limits, interval_bytes=10_000), limits)


def read(kind, data, member, start=0, end=None):
    if kind == "zip":
        return zipped.read(reader(data), member, start, end)
    read_at = (
        reader(data) if kind == "tar" else Inflated(reader(data), len(data), Limits(), interval_bytes=9_999).read_at
    )
    return tarred.read(read_at, member, start, end)


ARCHIVES = {
    "zip, deflated": ("zip", make_zip),
    "zip, stored": ("zip", lambda: make_zip(method=zipfile.ZIP_STORED)),
    "pax": ("tar", make_tar),
    "gnu": ("tar", lambda: make_tar(format=tarfile.GNU_FORMAT)),
    "tar.gz": ("tgz", lambda: make_tar(mode="w:gz")),
    "tar.gz of two gzip members and padding": (
        "tgz", lambda: gzip.compress(make_tar()[:30_000]) + gzip.compress(make_tar()[30_000:]) + bytes(20)
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ARCHIVES)
def test_members_are_those_of_the_standard_library(what):
    kind, make = ARCHIVES[what]
    data, expected = make(), contents()
    found = index(kind, data)
    assert found.refused == ()
    assert [m.name for m in found.members] == list(expected)
    for m in found.members:
        assert bytes(read(kind, data, m)) == expected[m.name]
        for start, end in ((0, 100), (10, 40_000), (69_990, None), (5, 5)):
            assert bytes(read(kind, data, m, start, end)) == expected[m.name][start:end]


def test_places_in_a_gzip_stream_are_read_in_any_order_with_bounded_memory(monkeypatch):
    monkeypatch.setattr("transforms.archives.inflated.MAX_COPIES", 8)
    rng = random.Random(2)
    content = b"".join(rng.randbytes(500) + bytes(500) for _ in range(3000))
    stream = Inflated(reader(gzip.compress(content)), len(gzip.compress(content)), Limits(), interval_bytes=5000)
    assert stream.finish() == len(content)
    assert len(stream._copies) <= 8
    for _ in range(50):
        start = rng.randrange(len(content))
        end = start + rng.randrange(100_000)
        assert stream.read_at(start, end) == content[start:end]


def test_a_zip_of_more_than_4_gib_is_indexed():
    """Sizes and offsets in 64 bits, from a directory alone: nothing of that size is made."""
    big, start = 6 << 30, 7 << 30
    name = b"big.nii"
    extra = struct.pack("<2H3Q", 1, 24, big, big, 0x10)
    entry = struct.pack(
        "<4s6H3L5H2L",
        b"PK\1\2",
        45,
        45,
        0,
        0,
        0,
        0,
        0,
        0xFFFFFFFF,
        0xFFFFFFFF,
        len(name),
        len(extra),
        0,
        0,
        0,
        0,
        0xFFFFFFFF,
    )
    directory = entry + name + extra
    at = start + len(directory)
    tail = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(directory), start)
    tail += struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    tail += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    last = directory + tail

    def read_at(a, b):
        return bytes(max(0, start - a)) + last[max(0, a - start) : b - start]

    found = zipped.index(read_at, start + len(last), Limits())
    (only,) = found.members
    assert (only.name, only.bytes, only.offset) == ("big.nii", big, 0x10)


def refusal(kind, data, limits=None):
    """Reason of the archive, or of its only refused member."""
    try:
        found = index(kind, data, limits)
    except Rejected as verdict:
        return verdict.reason
    assert len(found.refused) == 1
    return found.refused[0].verdict.reason


UNSAFE = ("../up.nii", "a/../../up.nii", "/etc/passwd", "C:/x.nii", "c:x", "a\\b.nii", "a//b.nii", "a/./b.nii", "..")


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_are_refused_and_not_repeated(kind, name):
    make = make_zip if kind == "zip" else make_tar
    data = make({"good.nii": b"1", name: b"22"})
    found = index(kind, data)
    assert [m.name for m in found.members] == ["good.nii"]
    (refused,) = found.refused
    assert refused.verdict.reason == Reason.UNSAFE_MEMBER
    assert refused.number == 2
    assert name not in refused.verdict.detail or name == ".."


def as_link(info):
    info.create_system, info.external_attr = 3, 0o120777 << 16


def encrypted(data):
    """The flag set in the directory: what a reader sees first."""
    at = data.index(b"PK\1\2")
    return data[: at + 8] + bytes([data[at + 8] | 1]) + data[at + 9 :]


def bomb():
    """A member announced as 10 GB in 10 KB of deflate."""
    data = bytearray(make_zip({"bomb.nii": bytes(10_000_000)}))
    at = data.index(b"PK\1\2")
    data[at + 24 : at + 28] = (3 << 30).to_bytes(4, "little")
    return bytes(data)


def overlapping():
    """Two entries of the directory that lie on the same bytes."""
    data = make_zip({"a": bytes(1000), "b": bytes(1000)}, method=zipfile.ZIP_STORED)
    second = data.rindex(b"PK\1\2")
    return data[: second + 42] + bytes(4) + data[second + 46 :]


def tar_of(type_):
    return make_tar({"x": b""}, edit=lambda i: (setattr(i, "type", type_), setattr(i, "linkname", "/etc/passwd")))


HOSTILE = {
    "zip: a link": ("zip", make_zip({"l": b"/etc/passwd"}, edit=as_link), Reason.UNSAFE_MEMBER),
    "zip: encrypted": ("zip", encrypted(make_zip({"a": b"1"})), Reason.ENCRYPTED),
    "zip: bzip2": ("zip", make_zip({"a": b"1" * 99}, method=zipfile.ZIP_BZIP2), Reason.UNSUPPORTED),
    "zip: cut short": ("zip", make_zip()[:-30], Reason.CORRUPT_ARCHIVE),
    "zip: directory cut": ("zip", make_zip()[:1000] + make_zip()[-22:], Reason.CORRUPT_ARCHIVE),
    "zip: no zip": ("zip", b"not a zip" * 100, Reason.CORRUPT_ARCHIVE),
    "zip: empty file": ("zip", b"", Reason.CORRUPT_ARCHIVE),
    "zip: announces more than deflate can hold": ("zip", bomb(), Reason.EXPANSION),
    "zip: overlapping members": ("zip", overlapping(), Reason.CORRUPT_ARCHIVE),
    "zip: in a zip": ("zip", make_zip({"in.zip": make_zip({"a": b""})}), Reason.UNSUPPORTED),
    "zip: long name": ("zip", make_zip({"n" * 2000: b"1"}), Reason.TOO_LARGE),
    "tar: long name": ("tar", make_tar({"n" * 2000: b"1"}), Reason.TOO_LARGE),
    "tar: symbolic link": ("tar", tar_of(tarfile.SYMTYPE), Reason.UNSAFE_MEMBER),
    "tar: hard link": ("tar", tar_of(tarfile.LNKTYPE), Reason.UNSAFE_MEMBER),
    "tar: device": ("tar", tar_of(tarfile.CHRTYPE), Reason.UNSAFE_MEMBER),
    "tar: pipe": ("tar", tar_of(tarfile.FIFOTYPE), Reason.UNSAFE_MEMBER),
    "tar: cut within a member": ("tar", make_tar()[:40_000], Reason.CORRUPT_ARCHIVE),
    "tar: cut between members": ("tar", make_tar({"a": bytes(512)})[:1024], Reason.CORRUPT_ARCHIVE),
    "tar: damaged header": (
        "tar", make_tar({"a": bytes(512), "b": b"2"}).replace(b"b\0\0\0\0", b"\xffb\0\0\0"), Reason.CORRUPT_ARCHIVE
    ),
    "tar: chain of long names": (
        "tar", (lambda h: h * 3000 + bytes(1024))(make_tar({"n" * 150: b""}, format=tarfile.GNU_FORMAT)[:1024]),
        Reason.CORRUPT_ARCHIVE,
    ),
    "tar: huge pax header": (
        "tar", make_tar({"x": bytes(5 << 20)}, edit=lambda i: setattr(i, "type", tarfile.XHDTYPE)), Reason.CORRUPT_ARCHIVE
    ),
    "tgz: cut short": ("tgz", make_tar(mode="w:gz")[:-200], Reason.CORRUPT_GZIP),
    "tgz: wrong checksum": ("tgz", make_tar(mode="w:gz")[:-8] + bytes(8), Reason.CORRUPT_GZIP),
    "tgz: garbage behind": ("tgz", make_tar(mode="w:gz") + b"\0garbage", Reason.CORRUPT_GZIP),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_are_refused_by_their_own_reason(what):
    kind, data, reason = HOSTILE[what]
    assert refusal(kind, data) == reason


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_of_one_name_are_refused_both(kind):
    with pytest.warns(UserWarning, match="Duplicate") if kind == "zip" else _nothing():
        sink = io.BytesIO()
        if kind == "zip":
            with zipfile.ZipFile(sink, "w") as z:
                for name in ("a", "b", "a"):
                    z.writestr(name, name)
        else:
            with tarfile.open(fileobj=sink, mode="w") as t:
                for name in ("a", "b", "./a"):
                    t.addfile(tarfile.TarInfo(name))
    found = index(kind, sink.getvalue())
    assert [m.name for m in found.members] == ["b"]
    assert [(r.number, r.verdict.reason) for r in found.refused] == [(n, Reason.CONFLICTING_FILES) for n in (1, 3)]


class _nothing:  # noqa: N801 (stands where pytest.warns does)
    def __enter__(self): ...
    def __exit__(self, *error): ...


def test_content_that_does_not_match_its_checksum_is_refused():
    data = bytearray(make_zip({"a": b"0123456789"}, method=zipfile.ZIP_STORED))
    data[data.index(b"01234")] = 0x31
    (only,) = index("zip", bytes(data)).members
    with pytest.raises(Rejected, match="bad_checksum: the CRC-32 of the member's 10 bytes"):
        zipped.read(reader(bytes(data)), only, 0, None)


def test_a_damaged_deflate_stream_is_refused():
    data = bytearray(make_zip({"a": bytes(range(256)) * 100}))
    data[35:60] = b"\xff" * 25
    (only,) = index("zip", bytes(data)).members
    for end in (None, 100):
        with pytest.raises(Rejected, match="corrupt_archive"):
            zipped.read(reader(bytes(data)), only, 0, end)


def test_two_archives_in_one_file_are_not_one():
    """The directory says one name, the local header another."""
    data = make_zip({"aaaa": b"1"}).replace(b"aaaa", b"bbbb", 1)
    (only,) = index("zip", data).members
    with pytest.raises(Rejected, match="another name than the zip's directory"):
        zipped.read(reader(data), only, 0, None)


def test_limits_hold_before_memory_is_taken():
    zeros = zlib.compress(bytes(1000))
    assert len(zeros) < 100
    few = Limits(max_members=3, max_path_length=5, max_bytes=1000)
    assert refusal("zip", make_zip({f"{i}": b"" for i in range(4)}), few) == Reason.TOO_LARGE
    assert refusal("tar", make_tar({f"{i}": b"" for i in range(4)}), few) == Reason.TOO_LARGE
    assert refusal("zip", make_zip({"123456": b""}), few) == Reason.TOO_LARGE
    assert refusal("tar", make_tar({"123456": b""}), few) == Reason.TOO_LARGE
    assert refusal("zip", make_zip({"1": bytes(1001)}), few) == Reason.TOO_LARGE
    assert refusal("tar", make_tar({"1": bytes(1001)}), few) == Reason.TOO_LARGE


def test_a_gzip_bomb_ends_where_the_limit_is(monkeypatch):
    monkeypatch.setattr(members, "FREE_BYTES", 1 << 20)
    header = tarfile.TarInfo("bomb.nii")
    header.size = 200 << 20
    stream = gzip.compress(header.tobuf() + bytes(200 << 20) + bytes(1024))
    tracemalloc.start()
    try:
        assert refusal("tgz", stream, Limits(max_expansion=50)) == Reason.EXPANSION
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_a_million_lying_entries_cost_no_memory():
    """The directory is read a step at a time and given up at the limit."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    count = 400_000
    directory = entry * count
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, len(directory), 0, 0)
    data = directory + end
    tracemalloc.start()
    try:
        assert refusal("zip", data, Limits(max_members=1000)) == Reason.TOO_LARGE
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("first", [True, False])
def test_names_that_are_not_utf8_are_latin1(first):
    files = {"g\xfcltig": b"1", "plain": b"2"}
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT, encoding="latin-1") as archive:
        for name in files if first else reversed(files):
            archive.addfile(tarfile.TarInfo(name))
    assert {m.name for m in index("tar", sink.getvalue()).members} == set(files)
