"""What `transforms` makes of each server: every promise of `docs/stores.md`, through the classes that builds use."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import fsspec.config
import pytest

from transforms import commit, probe
from transforms.rejected import Rejected
from transforms.store import CorpusStore, SourceStore
from transforms.stores import remote

pytestmark = pytest.mark.stores

PART_BYTES = 5 << 20
"""Smallest part that S3 takes."""

RACERS = 8


@pytest.fixture(autouse=True)
def entered(server, monkeypatch):
    """The environment in which people's programs find the server, and nothing of this machine's own."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "FSSPEC_", "STORAGE_EMULATOR_HOST")):
            monkeypatch.delenv(name)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    # fsspec read its own variables, of which gs:// takes its token, when it was imported.
    found = {}
    fsspec.config.set_conf_env(found)
    for protocol in ("gs", "s3"):
        monkeypatch.setitem(fsspec.config.conf, protocol, found.get(protocol, {}))
    monkeypatch.setattr(remote, "PART_BYTES", PART_BYTES)
    monkeypatch.setattr(probe, "_found", {})


@pytest.fixture
def source(place) -> SourceStore:
    for name, data in {"b/2 ü.nii": b"22", "a.nii": b"0123456789", "empty": b""}.items():
        place.client.put(place.path(f"raw/{name}"), data)
    return SourceStore(place.url("raw"))


@pytest.fixture
def corpus(writable) -> CorpusStore:
    return CorpusStore(writable.url("corpus"))


@pytest.mark.proves("listing, sizes and versions as read")
def test_a_listing_and_a_look_agree(source):
    found = list(source.list())
    assert [(o.path, o.bytes) for o in found] == [("a.nii", 10), ("b/2 ü.nii", 2), ("empty", 0)]
    assert [source.version(o.path) for o in found] == found
    assert source.read("b/2 ü.nii") == b"22"


@pytest.mark.proves("ranged reads")
def test_ranges_are_read_and_end_with_the_object(source):
    assert source.read("a.nii", 2, 5) == b"234"
    assert source.read("a.nii", 8, 100) == b"89"
    assert source.read("a.nii", 10, 20) == b""
    assert source.read("empty", 0, 10) == source.read("empty") == b""
    with pytest.raises(Rejected, match="missing_file"):
        source.read("none", 0, 10)


@pytest.mark.proves("every range of the version that was listed")
def test_a_changed_object_is_a_verdict(source, place):
    seen = source.version("a.nii")
    assert source.read("a.nii", 0, 4, version=seen.version) == b"0123"
    assert source.read_object("a.nii", 10, seen.version) == b"0123456789"
    place.client.put(place.path("raw/a.nii"), b"9876543210")
    with pytest.raises(Rejected, match="source_changed"):
        source.read("a.nii", 0, 4, version=seen.version)
    with pytest.raises(Rejected, match="source_changed"):
        source.read_object("a.nii", 10, seen.version)


@pytest.mark.proves("large objects in pieces")
def test_a_large_object_is_read_in_pieces(source, place):
    data = os.urandom(2 * PART_BYTES + 77)
    place.client.put(place.path("raw/large"), data)
    assert source.read_object("large", len(data), source.version("large").version) == data


@pytest.mark.proves("start-up probe: preconditions honoured")
def test_the_probe_finds_that_preconditions_are_honoured(corpus, writable):
    assert probe.probe(corpus) == probe.Preconditions(small=True, parts=True)
    probe.require(corpus)
    assert writable.client.names(writable.bucket) == set()


@pytest.mark.proves("8 racing writers: one wins, whole")
def test_of_racing_writers_one_wins(corpus):
    offers = [bytes([n]) * 1000 for n in range(RACERS)]
    with ThreadPoolExecutor(RACERS) as pool:
        won = list(pool.map(lambda offer: commit.create_bytes(offer, corpus, "manifests/000001.json"), offers))
    assert won.count(True) == 1
    assert corpus.read("manifests/000001.json") == offers[won.index(True)]


@pytest.mark.proves("a shard in parts: create-only, nothing left behind")
def test_a_shard_is_created_once_in_parts(corpus, writable, tmp_path):
    files = [tmp_path / "first", tmp_path / "second"]
    for file in files:
        file.write_bytes(os.urandom(2 * PART_BYTES + 11))
    assert commit.create_file(files[0], corpus, "shards/x.tar")
    assert not commit.create_file(files[1], corpus, "shards/x.tar")
    with pytest.raises(FileExistsError):  # both had looked, and nothing was there
        corpus.remote.backend.put_parts(
            "shards/x.tar", files[1], only_new=True, part_bytes=PART_BYTES, retry=corpus.remote.again
        )
    assert corpus.sha256("shards/x.tar") == hashlib.sha256(files[0].read_bytes()).hexdigest()
    assert writable.client.unfinished(writable.bucket) == 0


@pytest.mark.proves("replace, remove")
def test_hints_are_replaced_and_garbage_is_removed(corpus, tmp_path):
    commit.replace(b"1", corpus, "LATEST")
    commit.replace(b"2", corpus, "LATEST")
    assert corpus.read("LATEST") == b"2"
    assert corpus.size("LATEST") == 1
    commit.remove(corpus, "LATEST")
    commit.remove(corpus, "LATEST")
    assert corpus.size("LATEST") is None
    assert corpus.list("") == []
