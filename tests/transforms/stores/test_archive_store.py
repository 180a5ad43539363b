"""A store in which archives are folders: local and remote, listed once, read by whoever has the listing."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from schemas.reasons import Reason
from schemas.recipe import Limits
from schemas.source import Source
from tests.transforms.archives.test_archives import contents, make_tar, make_zip
from transforms.archive_store import ArchiveStore, open_source
from transforms.layouts.group import group
from transforms.pseudonym import PatientKeys
from transforms.refusal import refusal_of
from transforms.rejected import Rejected
from transforms.store import SourceStore

FILES = {
    "plain.nii": b"not in an archive",
    "set/one.zip": make_zip(),
    "set/two.tar": make_tar(),
    "three.TGZ": make_tar(mode="w:gz"),
    "broken.zip": b"PK",
    "bad.tar.gz": make_tar({"../x": b"1", "ok.nii": b"22"}, mode="w:gz"),
}


@pytest.fixture(params=["local", "remote"])
def store(request, tmp_path):
    if request.param == "local":
        for path, data in FILES.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_bytes(data)
        return ArchiveStore(str(tmp_path), (), Limits())
    s3, bucket = request.getfixturevalue("s3"), request.getfixturevalue("bucket")
    for path, data in FILES.items():
        s3.put_object(Bucket=bucket, Key=f"raw/{path}", Body=data)
    return ArchiveStore(f"s3://{bucket}/raw", (), Limits())


def expected():
    names = contents()
    inside = [f"{a}/{n}" for a in ("set/one.zip", "set/two.tar", "three.TGZ") for n in names]
    return sorted([*inside, "plain.nii", "bad.tar.gz/ok.nii", "bad.tar.gz/member 1", "broken.zip"])


def test_members_are_objects_of_their_own(store):
    listing = list(store.list())
    assert [o.path for o in listing] == expected()
    refused = {o.path: verdict.reason for o in listing if (verdict := refusal_of(o))}
    assert refused == {"bad.tar.gz/member 1": Reason.UNSAFE_MEMBER, "broken.zip": Reason.CORRUPT_ARCHIVE}


def test_another_process_reads_by_the_listing_alone(store, monkeypatch):
    listing = [o for o in store.list() if refusal_of(o) is None]
    worker = pickle.loads(pickle.dumps(store))
    monkeypatch.setattr(ArchiveStore, "_index", lambda *a: pytest.fail("the directory is not read again"))
    for o in listing:
        data = contents().get(o.path.split("/", 2 if o.path.startswith("set/") else 1)[-1])
        if data is None:
            data = {"plain.nii": FILES["plain.nii"], "bad.tar.gz/ok.nii": b"22"}[o.path]
        assert bytes(worker.read_object(o.path, o.bytes, o.version)) == data
        assert worker.read(o.path, 3, 40, version=o.version) == data[3:40]
        assert worker.local(o.path) is None or worker.local(o.path).read_bytes() == data


def test_side_files_are_read_without_a_version(store):
    assert store.read("set/one.zip/a.nii") == contents()["a.nii"]
    assert store.version("three.TGZ/a.nii") in list(store.list())
    with pytest.raises(Rejected, match="missing_file"):
        store.read("set/one.zip/nothing")


def test_an_archive_that_changed_is_another(tmp_path):
    (tmp_path / "one.zip").write_bytes(make_zip())
    store = ArchiveStore(str(tmp_path), (), Limits())
    found = next(store.list())
    os.utime(tmp_path / "one.zip", ns=(1, 1))
    with pytest.raises(Rejected, match="source_changed"):
        store.read_object(found.path, found.bytes, found.version)
    assert next(store.list()).version != found.version


def test_only_the_archives_that_are_asked_for_are_looked_into(store):
    some = ArchiveStore(store.place, ("set/*.zip",), Limits())
    assert {o.path for o in some.list()} == {f"set/one.zip/{n}" for n in contents()} | set(FILES) - {"set/one.zip"}


def source(archives):
    return Source.model_validate(
        {
            "id": "s", "title": "s", "patient": {"namespace": "s"}, "archives": archives, "public_ids": True,
            "layout": {"kind": "paired", "images": [{"name": "ct", "modality": "CT", "path": "{a}/{case}.nii"}]},
        }
    )  # fmt: skip


def test_a_source_that_does_not_ask_is_read_as_before(tmp_path):
    (tmp_path / "a.zip").write_bytes(make_zip())
    plain = open_source(str(tmp_path), source(False), Limits())
    assert type(plain) is SourceStore
    assert [o.path for o in plain.list()] == ["a.zip"]


def test_refused_members_are_rejects_and_every_object_is_accounted_for(store):
    opened = open_source(store.place, source(True), Limits())
    grouped = group(source(True), opened.list(), opened.read, PatientKeys(b"a key of sixteen bytes"))
    assert grouped.counts.balanced()
    reasons = {r.path: r.reason for r in grouped.rejects}
    assert reasons["bad.tar.gz/member 1"] == Reason.UNSAFE_MEMBER
    assert reasons["broken.zip"] == Reason.CORRUPT_ARCHIVE
    assert "a" in {c.name.split("_")[-1] for c in grouped.cases}


def test_a_folder_that_is_called_as_an_archive_stays_a_folder(tmp_path):
    (tmp_path / "data.zip").mkdir()
    (tmp_path / "data.zip" / "x.nii").write_bytes(b"1")
    opened = ArchiveStore(str(tmp_path), (), Limits())
    assert [o.path for o in opened.list()] == ["data.zip/x.nii"]
    assert opened.read("data.zip/x.nii") == b"1"
    assert opened.local("data.zip/x.nii") == tmp_path / "data.zip" / "x.nii"


@pytest.mark.real
@pytest.mark.skipif("MDFP_TESTDATA" not in os.environ, reason="needs the real files at MDFP_TESTDATA")
@pytest.mark.parametrize(
    ("archive", "folder"), [("oblique_MR.tar.gz", "oblique"), ("generic_raw_MR.zip", "generic-raw")]
)
def test_real_archives_hold_the_files_beside_them(archive, folder):
    root = Path(os.environ["MDFP_TESTDATA"])
    opened = ArchiveStore(str(root / "archives"), (archive,), Limits())
    found = {
        Path(o.path).name: bytes(opened.read_object(o.path, o.bytes, o.version))
        for o in opened.list()
        if o.path.startswith(f"{archive}/")
    }
    beside = {p.name: p.read_bytes() for p in (root / "dicom" / "dicom2nifti" / folder).rglob("*") if p.is_file()}
    assert found == beside
