from __future__ import annotations

import errno

import aiohttp
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from transforms.retry import with_retries
from transforms.stores.errors import ChangedError, StoreError, TransientStoreError, may_pass, of_status, raise_as_ours


def client_error(status, code):
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")


@pytest.mark.parametrize(
    "error",
    [
        client_error(503, "SlowDown"), client_error(500, "InternalError"), client_error(400, "RequestTimeout"),
        client_error(429, "TooManyRequests"), client_error(409, "ConditionalRequestConflict"),
        client_error(400, "BadDigest"), EndpointConnectionError(endpoint_url="http://h"), TimeoutError(),
        aiohttp.ClientPayloadError(), aiohttp.ServerDisconnectedError(), ConnectionResetError(), OSError(errno.EIO, "x"),
        OSError(errno.ENOSPC, "disk full"), OSError(errno.ESTALE, "nfs"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_may_pass(error):
    with pytest.raises(OSError) as raised:
        raise_as_ours(error, "s3://b/k")
    assert may_pass(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        client_error(403, "AccessDenied"), client_error(404, "NoSuchKey"), client_error(404, "NoSuchBucket"),
        client_error(400, "InvalidArgument"), client_error(301, "PermanentRedirect"), client_error(501, "NotImplemented"),
        NoCredentialsError(), FileNotFoundError("x"), FileExistsError("x"), PermissionError("x"),
        OSError(errno.ENAMETOOLONG, "x"), OSError(errno.EROFS, "x"), ChangedError("x"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_does_not_pass(error):
    with pytest.raises(OSError) as raised:
        raise_as_ours(error, "s3://b/k")
    assert not may_pass(raised.value)
    calls = []

    def action():
        calls.append(1)
        raise raised.value

    with pytest.raises(OSError):
        with_retries(action, attempts=4)
    assert len(calls) == 1


def test_a_missing_object_and_a_missing_bucket_are_told_apart():
    assert isinstance(of_status(404, "NoSuchKey", "s3://b/k"), FileNotFoundError)
    missing = of_status(404, "NoSuchBucket", "s3://b/k")
    assert isinstance(missing, StoreError)
    assert not isinstance(missing, FileNotFoundError)


def test_a_bug_is_raised_as_it_is():
    bug = KeyError("ours")
    with pytest.raises(KeyError) as raised:
        raise_as_ours(bug, "s3://b/k")
    assert raised.value is bug


def test_a_librarys_words_do_not_bring_secrets_or_endpoints():
    error = EndpointConnectionError(endpoint_url="https://me:secret@internal.example/bucket?X-Amz-Signature=secret")
    with pytest.raises(TransientStoreError) as raised:
        raise_as_ours(error, "s3://b/k")
    assert "internal" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_no_attempt_at_all_is_a_mistake():
    with pytest.raises(ValueError, match="at least 1"):
        with_retries(lambda: None, attempts=0)
