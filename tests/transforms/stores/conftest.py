"""A small S3 server on a free port, and a store in memory that fails where it is told to."""

from __future__ import annotations

import contextlib
import hashlib
import logging

import pytest

from transforms.stores.backend import Got, ListedObject
from transforms.stores.errors import ChangedError, TransientStoreError


@pytest.fixture(scope="session")
def s3_server():
    """Endpoint of a fresh server."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch, tmp_path):
    """A boto3 client of the server, with credentials in the environment as everyone has them."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
        "AWS_SECRET_ACCESS_KEY": "very-secret-key-of-tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    return boto3.client("s3")


@pytest.fixture
def bucket(s3, request):
    """Name of an empty bucket of this test's own."""
    name = "b-" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20]
    s3.create_bucket(Bucket=name)
    return name


class MemoryBackend:
    """A store in memory that honours preconditions; `plan` says what goes wrong, call by call.

    A fault is (method, when): `before` fails with nothing done, `after` does it and loses the answer, `short` cuts the
    answer of a read.
    """

    ordered = True

    def __init__(self, pins=True, honours=True):
        self.pins = pins
        self.honours = honours
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.calls: list[tuple[str, str]] = []
        self.faults: list[tuple[str, str]] = []
        self._clock = 0

    def write(self, path, data):
        self._clock += 1
        self.objects[path] = (data, self._clock)

    def _listed(self, path):
        data, version = self.objects[path]
        return ListedObject(path, len(data), f"etag:{version}")

    @contextlib.contextmanager
    def _call(self, method, path):
        self.calls.append((method, path))
        when = None
        if self.faults and self.faults[0][0] == method:
            when = self.faults.pop(0)[1]
        if when == "before":
            raise TransientStoreError("503")
        yield when
        if when == "after":
            raise TransientStoreError("no answer")

    def list(self, prefix, retry):
        for path in sorted(self.objects):
            if path.startswith(f"{prefix}/" if prefix else ""):
                yield self._listed(path)

    def head(self, path):
        with self._call("head", path):
            return self._listed(path) if path in self.objects else None

    def get(self, path, start, end, version):
        with self._call("get", path) as when:
            if path not in self.objects:
                raise FileNotFoundError(path)
            if self.pins and version is not None and self._listed(path).version != version:
                raise ChangedError("412")
            data = self.objects[path][0]
            part = data[start:end]
            return Got(part[: len(part) // 2] if when == "short" else part, len(data), None)

    def put(self, path, data, *, only_new):
        with self._call("put", path):
            if only_new and self.honours and path in self.objects:
                raise FileExistsError(path)
            self.write(path, data)
        return True

    def put_parts(self, path, file, *, only_new, part_bytes, retry):
        with self._call("put_parts", path):
            if only_new and self.honours and path in self.objects:
                raise FileExistsError(path)
            self.write(path, file.read_bytes())
        return True

    def unfinished(self):
        return iter(())

    def abort(self, upload):
        raise AssertionError("there is none")

    def delete(self, path):
        with self._call("delete", path):
            self.objects.pop(path, None)


@pytest.fixture
def memory():
    """Makes stores in memory."""
    return MemoryBackend
