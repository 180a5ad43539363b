from __future__ import annotations

import hashlib
import multiprocessing
import os

import pytest

from schemas.place import Access, Place
from transforms import commit
from transforms.rejected import Rejected
from transforms.store import CorpusStore, SourceStore
from transforms.stores import remote
from transforms.stores import s3 as s3_stores
from transforms.stores.errors import StoreError


@pytest.fixture
def source(s3, bucket):
    for key, body in {"raw/b/2.nii": b"22", "raw/a.nii": b"0123456789", "raw/b/": b"", "raw2/x": b"no"}.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    return SourceStore(f"s3://{bucket}/raw")


@pytest.fixture
def corpus(bucket):
    return CorpusStore(f"s3://{bucket}/corpus")


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(remote, "PART_BYTES", 5 << 20)


def uploads(s3, bucket):
    return [u["Key"] for u in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


def test_a_listing_is_sorted_and_has_neither_folder_markers_nor_neighbours(source):
    assert [(o.path, o.bytes) for o in source.list()] == [("a.nii", 10), ("b/2.nii", 2)]


def test_a_listing_takes_as_many_pages_as_it_needs(s3, bucket, monkeypatch):
    monkeypatch.setattr(s3_stores, "PAGE", 10)
    for n in range(25):
        s3.put_object(Bucket=bucket, Key=f"many/{n:05d}", Body=b"")
    assert len(list(SourceStore(f"s3://{bucket}/many").list())) == 25
    assert len(CorpusStore(f"s3://{bucket}").list("many")) == 25


def test_a_listing_and_a_look_agree_on_versions(source):
    for item in source.list():
        assert source.version(item.path) == item


def test_ranges_are_read_and_end_with_the_object(source, s3, bucket):
    s3.put_object(Bucket=bucket, Key="raw/empty", Body=b"")
    assert source.read("a.nii", 2, 5) == b"234"
    assert source.read("a.nii", 8, 100) == b"89"
    assert source.read("a.nii") == b"0123456789"
    assert source.read("a.nii", 10, 20) == b""
    assert source.read("empty") == source.read("empty", 0, 10) == b""
    assert source.read_object("empty", 0, source.version("empty").version) == b""


def test_every_range_is_of_the_version_that_was_listed(source, s3, bucket):
    before = source.version("a.nii")
    assert source.read("a.nii", 0, 4, version=before.version) == b"0123"
    s3.put_object(Bucket=bucket, Key="raw/a.nii", Body=b"9876543210")
    with pytest.raises(Rejected, match=r"source_changed: the inventory saw etag:\w+, now 10 bytes"):
        source.read("a.nii", 0, 4, version=before.version)
    with pytest.raises(Rejected, match="source_changed"):
        source.read_object("a.nii", 10, before.version)
    assert source.read("a.nii", 0, 4) == b"9876"


def test_an_object_that_is_gone_is_a_verdict(source):
    for read in (source.read, source.version):
        with pytest.raises(Rejected, match="missing_file"):
            read("none")


def test_a_large_object_is_read_in_pieces_and_put_together(s3, bucket, small_parts):
    data = os.urandom((12 << 20) + 77)
    s3.put_object(Bucket=bucket, Key="raw/large", Body=data)
    store = SourceStore(f"s3://{bucket}/raw")
    assert store.read_object("large", len(data), store.version("large").version) == data


def test_the_first_writer_wins_small(corpus):
    assert commit.create_bytes(b"first", corpus, "m.json")
    assert not commit.create_bytes(b"second", corpus, "m.json")
    assert corpus.read("m.json") == b"first"


def test_the_first_writer_wins_multipart_and_the_loser_leaves_nothing(corpus, s3, bucket, tmp_path, small_parts):
    file, other = tmp_path / "f", tmp_path / "g"
    file.write_bytes(os.urandom(11 << 20))
    other.write_bytes(os.urandom(11 << 20))
    assert commit.create_file(file, corpus, "shards/x.tar")
    assert not commit.create_file(other, corpus, "shards/x.tar")
    with pytest.raises(FileExistsError):  # the race itself: both looked, nothing was there
        corpus.remote.backend.put_parts(
            "shards/x.tar", other, only_new=True, part_bytes=5 << 20, retry=lambda request: request()
        )
    assert corpus.sha256("shards/x.tar") == hashlib.sha256(file.read_bytes()).hexdigest()
    assert uploads(s3, bucket) == []


def test_an_upload_that_fails_leaves_nothing(corpus, s3, bucket, tmp_path, small_parts, monkeypatch):
    file = tmp_path / "f"
    file.write_bytes(os.urandom(11 << 20))
    call = corpus.remote.backend._call

    def broken(method, path, **options):
        if method == "upload_part" and options["PartNumber"] == 2:
            raise KeyboardInterrupt
        return call(method, path, **options)

    monkeypatch.setattr(corpus.remote.backend, "_call", broken)
    with pytest.raises(KeyboardInterrupt):
        commit.create_file(file, corpus, "shards/x.tar")
    assert uploads(s3, bucket) == []
    assert corpus.size("shards/x.tar") is None


def test_what_was_stored_is_compared_with_what_was_sent(corpus, monkeypatch):
    call = corpus.remote.backend._call

    def corrupt(method, path, **options):
        if method == "put_object":
            options["Body"] = b"other"
        return call(method, path, **options)

    monkeypatch.setattr(corpus.remote.backend, "_call", corrupt)
    with pytest.raises(StoreError, match="sent bytes with the ETag"):
        commit.create_bytes(b"these", corpus, "m.json")


def test_replacing_restoring_and_removing(corpus, tmp_path):
    commit.replace(b"1", corpus, "LATEST")
    commit.replace(b"2", corpus, "LATEST")
    assert corpus.read("LATEST") == b"2"
    file = tmp_path / "f"
    file.write_bytes(b"good")
    commit.restore_file(file, hashlib.sha256(b"good").hexdigest(), corpus, "LATEST")
    assert corpus.read("LATEST") == b"good"
    commit.remove(corpus, "LATEST")
    commit.remove(corpus, "LATEST")
    assert not corpus.exists("LATEST")


def test_a_missing_bucket_is_named(s3):
    with pytest.raises(StoreError, match="there is no such bucket"):
        list(SourceStore("s3://not-there-at-all/x").list())


def test_no_credentials_is_said_with_the_remedies(s3, bucket, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StoreError, match=r"no usable credentials .*anonymous: true"):
        list(SourceStore(f"s3://{bucket}").list())


def test_an_anonymous_reader_signs_nothing_and_a_paying_one_says_so(s3, bucket, monkeypatch):
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", ACL="public-read")
    sent = []

    def watch(place):
        store = SourceStore(place)
        client = _client(store)
        client.meta.events.register("before-send.s3", lambda request, **_: sent.append(dict(request.headers)))
        return store

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = watch(Place(f"s3://{bucket}", Access(anonymous=True)))
    assert store.read("a", 0, 1) == b"x"
    assert not any(k.lower() == "authorization" for h in sent for k in h)
    sent.clear()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    store = watch(Place(f"s3://{bucket}", Access(requester_pays=True)))
    list(store.list())
    assert store.read("a", 0, 1) == b"x"
    assert sent
    assert all(h["x-amz-request-payer"] in (b"requester", "requester") for h in sent)


def _read_in_child(store, results):
    results.put((store.read("a.nii", 2, 5), [o.path for o in store.list()]))


def test_a_store_that_was_used_works_in_a_forked_child(source):
    assert source.read("a.nii", 0, 1) == b"0"
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_read_in_child, args=(source, results))
    child.start()
    assert results.get(timeout=60) == (b"234", ["a.nii", "b/2.nii"])
    child.join()
    assert source.read("a.nii", 0, 1) == b"0"


def _client(store):
    from fsspec.asyn import sync

    backend = store.remote.backend
    return sync(backend._fs.loop, backend._client)


def test_a_folder_is_listed_without_its_neighbours(s3, bucket):
    for key in ("root/u1/a.dcm", "root/u10/b.dcm", "root/u1.dcm"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    store = SourceStore(f"s3://{bucket}/root")
    assert [o.path for o in store.below("u1")] == ["u1/a.dcm"]
    assert [*store.below("u2")] == []
