"""A shard built from and to a real S3 protocol, while the store fails, and what is written there."""

from __future__ import annotations

import logging
import random

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from schemas.reasons import Reason
from transforms import probe
from transforms.store import CorpusStore, SourceStore
from transforms.stores import remote


@pytest.fixture
def remote_world(make_world, s3, bucket, monkeypatch):
    """The tiny world from and to a bucket; large objects are those above 64 KiB."""
    monkeypatch.setattr(probe, "_found", {})

    def places(root):
        for file in root.iterdir():
            s3.upload_file(str(file), bucket, f"raw/{file.name}")
        return SourceStore(f"s3://{bucket}/raw"), CorpusStore(f"s3://{bucket}/corpus")

    return make_world(places)


@pytest.fixture
def local_world(make_world):
    return make_world()


def keys(s3, bucket):
    return [o["Key"] for o in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def flaky(store, rng, rate, monkeypatch):
    """One in 1/rate of the store's answers is an error, is lost, or is cut short; returns how many."""
    backend = store.remote.backend
    send, get, faults = backend._send, backend._get, []

    def fault(name):
        faults.append(name)
        if rng.random() < 0.5:
            raise ReadTimeoutError(endpoint_url="http://elsewhere")
        answer = {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}
        raise ClientError(answer, name)

    async def flaky_send(method, options):
        when = rng.random()
        if when < rate / 2:
            fault(method)
        result = await send(method, options)
        if when < rate:
            fault(f"lost {method}")
        return result

    async def flaky_get(key, options):
        when = rng.random()
        if when < rate / 2:
            fault("get_object")
        answer, data = await get(key, options)
        if when < rate:
            faults.append("short")
            data = data[: len(data) // 2]
        return answer, data

    monkeypatch.setattr(backend, "_send", flaky_send)
    monkeypatch.setattr(backend, "_get", flaky_get)
    return faults


def test_a_shard_is_the_same_from_and_to_a_bucket(remote_world, local_world):
    there, built = remote_world.builder().build(remote_world.reader.work(0))
    here, _ = local_world.builder().build(local_world.reader.work(0))
    assert built
    assert (there.sha256, there.path) == (here.sha256, here.path)
    assert remote_world.corpus.sha256(there.path) == here.sha256
    assert remote_world.builder().build(remote_world.reader.work(0)) == (there, False)


@pytest.mark.parametrize("seed", range(3))
def test_a_store_that_fails_two_times_in_five_changes_nothing(remote_world, local_world, s3, bucket, seed, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda s: None)
    monkeypatch.setattr(remote, "REQUEST_ATTEMPTS", 12)
    rng = random.Random(seed)
    faults = flaky(remote_world.source, rng, 0.4, monkeypatch), flaky(remote_world.corpus, rng, 0.4, monkeypatch)
    probe.require(remote_world.corpus)
    marker, _ = remote_world.builder(attempts=3).build(remote_world.reader.work(0))
    assert sum(map(len, faults)) > 3
    assert marker.holes == ()
    assert marker.sha256 == local_world.builder().build(local_world.reader.work(0))[0].sha256
    assert s3.get_object(Bucket=bucket, Key=f"corpus/{marker.path}")["ContentLength"] == marker.bytes
    # An upload whose name never arrived cannot be ended by whoever began it: that is what lifecycle rules are for.
    lost = [name for names in faults for name in names if name == "lost create_multipart_upload"]
    assert len(s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])) == len(lost)
    assert not [k for k in keys(s3, bucket) if "probes" in k]


def test_an_object_that_changed_is_a_hole_with_that_reason(remote_world, s3, bucket):
    before = s3.get_object(Bucket=bucket, Key="raw/c1.nii.gz")["Body"].read()
    s3.put_object(Bucket=bucket, Key="raw/c1.nii.gz", Body=before[:-1] + b"x")  # the same length
    s3.delete_object(Bucket=bucket, Key="raw/c2_seg.nii.gz")
    marker, _ = remote_world.builder().build(remote_world.reader.work(0))
    assert sorted((h.case_id, h.reason) for h in marker.holes) == [
        ("tiny-c1", Reason.SOURCE_CHANGED),
        ("tiny-c2", Reason.MISSING_FILE),
    ]


def test_nothing_written_or_logged_names_a_credential_or_an_endpoint(remote_world, s3, s3_server, bucket, caplog):
    caplog.set_level(logging.INFO)
    probe.require(remote_world.corpus)
    remote_world.builder().build(remote_world.reader.work(0))
    secrets = ["AKIATESTTESTTESTTEST", "very-secret-key-of-tests", s3_server.removeprefix("http://")]
    written = [key for key in keys(s3, bucket) if key.startswith("corpus/")]
    assert len(written) >= 5
    for key in written:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert not [s for s in secrets if s in key or s.encode() in body], key
    assert not [s for s in secrets if s in caplog.text]
