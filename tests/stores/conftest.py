"""Real servers, one at a time, each with a client that asks it directly: what `transforms` makes of them comes after.

The servers are set up by `make stores`; in any other run these tests are skipped, and say so.
"""

from __future__ import annotations

import itertools
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import fsspec
import pytest

from infra.servers.install import Unavailable, cache_folder
from infra.servers.process import free_port, serving
from infra.servers.servers import SERVERS, Running, nginx, running

CHOSEN = os.environ.get("MDFP_STORES", "").split(",")
"""Names of the servers that this run uses."""

PART_BYTES = 5 << 20
"""Smallest part of a multipart upload that S3 takes."""

_count = itertools.count(1)


@pytest.fixture(scope="session", params=list(SERVERS))
def server(request, tmp_path_factory) -> Iterator[Running]:
    """One server after the other, for all tests."""
    name = request.param
    if name not in CHOSEN:
        pytest.skip("needs a server that `make stores` sets up")
    try:
        installed = SERVERS[name].install(cache_folder(os.environ))
    except Unavailable as error:
        pytest.skip(f"{name} cannot run on this machine: {error}")
    with running(SERVERS[name], installed, tmp_path_factory.mktemp("servers")) as started:
        yield started


CARELESS = """
location / {{
    proxy_pass http://127.0.0.1:{behind};
    proxy_set_header Host $http_host;
    proxy_set_header If-None-Match "";
}}
"""
"""A proxy as some stand before a store: it drops a header that it does not know what for."""


@pytest.fixture
def careless(tmp_path, new_place) -> Iterator[tuple[Place, dict[str, str]]]:
    """A bucket of a store that takes create-only writes and creates all the same, and the environment to reach it."""
    if not {"moto", "nginx"} <= set(CHOSEN):
        pytest.skip("needs two servers that `make stores` sets up")
    cache = cache_folder(os.environ)
    # moto does not check signatures, which cover the header that is dropped.
    with running(SERVERS["moto"], SERVERS["moto"].install(cache), tmp_path) as behind:
        port = free_port()
        start = nginx(SERVERS["nginx"].install(cache), port, tmp_path, CARELESS.format(behind=behind.port))
        with serving(start.words, start.environment, f"http://127.0.0.1:{port}/", tmp_path / "proxy.log"):
            yield new_place(behind), {**behind.environment, **SERVERS["moto"].environment(port)}


@pytest.fixture(autouse=True)
def _say_what_is_proved(request, record_property):
    """What the table of results is made of: the server, and the sentence a test proves."""
    if "server" in request.fixturenames:
        record_property("server", request.getfixturevalue("server").name)
    for marker in request.node.iter_markers("proves"):
        record_property("proves", marker.args[0])


class Client(Protocol):
    """A store asked directly. Versions are what the store calls one: ETag or generation."""

    def make_bucket(self, bucket: str) -> None: ...

    def put(self, path: str, data: bytes) -> None:
        """Whatever was there before."""

    def create(self, path: str, data: bytes) -> bool:
        """In one request, unless something is there."""

    def create_in_parts(self, path: str, data: bytes) -> bool:
        """In several requests, unless something is there."""

    def read(self, path: str) -> bytes | None: ...

    def version(self, path: str) -> str: ...

    def read_if(self, path: str, version: str, start: int, end: int) -> bytes | None:
        """Bytes [start, end) of that version, or None when the store says that it is another one now."""

    def names(self, bucket: str) -> set[str]:
        """Paths of all objects of a bucket, without the bucket."""

    def begin_upload(self, path: str, data: bytes) -> Callable[[], None]:
        """Send the first part of an upload and no more. Returns what aborts it."""

    def unfinished(self, bucket: str) -> int:
        """Uploads that the store keeps parts of."""


class _Fsspec:
    """What is the same for the stores that fsspec writes to."""

    def __init__(self, server: Running):
        self.fs: Any = self._kind(server)(use_listings_cache=False, skip_instance_cache=True, **server.options)

    def _kind(self, server: Running) -> Any:
        return fsspec.get_filesystem_class(server.protocol)

    def make_bucket(self, bucket: str) -> None:
        self.fs.mkdir(bucket)

    def put(self, path: str, data: bytes) -> None:
        self.fs.pipe_file(path, data)

    def read(self, path: str) -> bytes | None:
        try:
            return bytes(self.fs.cat_file(path))
        except FileNotFoundError:
            return None

    def names(self, bucket: str) -> set[str]:
        return {name.removeprefix(f"{bucket}/") for name in self.fs.find(bucket)}


class S3Client(_Fsspec):
    """s3fs, and below it the S3 API."""

    def make_bucket(self, bucket: str) -> None:
        self.fs.call_s3("create_bucket", Bucket=bucket)  # mkdir names the region, which us-east-1 does not take

    def create(self, path: str, data: bytes) -> bool:
        return _created(lambda: self.fs.pipe_file(path, data, mode="create"))

    def create_in_parts(self, path: str, data: bytes) -> bool:
        return _created(lambda: self.fs.pipe_file(path, data, mode="create", chunksize=PART_BYTES))

    def version(self, path: str) -> str:
        return str(self.fs.info(path)["ETag"])

    def read_if(self, path: str, version: str, start: int, end: int) -> bytes | None:
        bucket, _, key = path.partition("/")

        async def ask() -> bytes:
            found = await self.fs._call_s3(
                "get_object", Bucket=bucket, Key=key, IfMatch=version, Range=f"bytes={start}-{end - 1}"
            )
            return await found["Body"].read()

        try:
            return fsspec.asyn.sync(self.fs.loop, ask)
        except OSError as error:  # s3fs makes EINVAL of it, as of much else
            if _code(error) == "PreconditionFailed":
                return None
            raise

    def begin_upload(self, path: str, data: bytes) -> Callable[[], None]:
        bucket, _, key = path.partition("/")
        upload = self.fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key)["UploadId"]
        self.fs.call_s3("upload_part", Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=data)
        return lambda: self.fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload)

    def unfinished(self, bucket: str) -> int:
        return len(self.fs.call_s3("list_multipart_uploads", Bucket=bucket).get("Uploads") or ())


class GcsClient(_Fsspec):
    """gcsfs, and below it the JSON API."""

    def _kind(self, server: Running) -> Any:
        # The class that gcsfs hands out otherwise asks emulators over gRPC first, for a minute.
        from gcsfs.core import GCSFileSystem

        return GCSFileSystem

    def create(self, path: str, data: bytes) -> bool:
        return _created(lambda: self.fs.pipe_file(path, data, mode="create"))

    def create_in_parts(self, path: str, data: bytes) -> bool:
        return _created(lambda: self.fs.pipe_file(path, data, mode="create", chunksize=PART_BYTES))

    def version(self, path: str) -> str:
        return str(self.fs.info(path)["generation"])

    def read_if(self, path: str, version: str, start: int, end: int) -> bytes | None:
        # The generation itself is asked for: where versions are kept that gives the old bytes, elsewhere nothing.
        bucket, _, key = path.partition("/")
        headers = {"Range": f"bytes={start}-{end - 1}"}
        try:
            _, data = self.fs.call("GET", "b/{}/o/{}", bucket, key, alt="media", generation=version, headers=headers)
        except FileNotFoundError:
            return None
        return bytes(data)

    def begin_upload(self, path: str, data: bytes) -> Callable[[], None]:
        from gcsfs.core import initiate_upload, upload_chunk

        bucket, _, key = path.partition("/")
        session = fsspec.asyn.sync(self.fs.loop, initiate_upload, self.fs, bucket, key)
        fsspec.asyn.sync(
            self.fs.loop, upload_chunk, self.fs, session, data, 0, 4 * len(data), "application/octet-stream"
        )
        return lambda: self.fs.call("DELETE", session)

    def unfinished(self, bucket: str) -> int:
        return 0  # sessions of GCS cannot be listed; they end by themselves after a week


class AzureClient(_Fsspec):
    """adlfs, and below it the service's own client."""

    def __init__(self, server: Running):
        super().__init__(server)
        from azure.storage.blob import BlobServiceClient

        self.service = BlobServiceClient.from_connection_string(server.options["connection_string"])

    def _blob(self, path: str) -> Any:
        container, _, name = path.partition("/")
        return self.service.get_blob_client(container, name)

    def put(self, path: str, data: bytes) -> None:
        self._blob(path).upload_blob(data, overwrite=True)

    def create(self, path: str, data: bytes) -> bool:
        return _created(lambda: self._blob(path).upload_blob(data, overwrite=False))

    def create_in_parts(self, path: str, data: bytes) -> bool:
        from azure.storage.blob import BlobBlock

        blob = self._blob(path)

        def put() -> None:
            blob.stage_block("0001", data[:PART_BYTES])
            blob.stage_block("0002", data[PART_BYTES:])
            blob.commit_block_list([BlobBlock("0001"), BlobBlock("0002")], if_none_match="*")

        return _created(put)

    def version(self, path: str) -> str:
        return str(self._blob(path).get_blob_properties().etag)

    def read_if(self, path: str, version: str, start: int, end: int) -> bytes | None:
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError

        try:
            return self._blob(path).download_blob(
                offset=start, length=end - start, etag=version, match_condition=MatchConditions.IfNotModified
            ).readall()  # fmt: skip
        except ResourceModifiedError:
            return None

    def begin_upload(self, path: str, data: bytes) -> Callable[[], None]:
        self._blob(path).stage_block("0001", data)
        return lambda: None  # nothing to abort: blocks that no list names end by themselves after a week

    def unfinished(self, bucket: str) -> int:
        return 0


class HttpClient:
    """A web server over a folder: written to as a folder, read by HTTP."""

    def __init__(self, server: Running):
        self.server = server

    def make_bucket(self, bucket: str) -> None:
        (self.server.data / bucket).mkdir()

    def put(self, path: str, data: bytes) -> None:
        target = self.server.data / path
        target.parent.mkdir(parents=True, exist_ok=True)
        before = target.stat().st_mtime if target.exists() else None
        target.write_bytes(data)
        if before is not None:
            os.utime(target, (before + 1, before + 1))  # the ETag of nginx is made of seconds and size

    def read(self, path: str) -> bytes | None:
        return self._get(path, {})[0]

    def version(self, path: str) -> str:
        return self._get(path, {})[1]

    def read_if(self, path: str, version: str, start: int, end: int) -> bytes | None:
        return self._get(path, {"If-Match": version, "Range": f"bytes={start}-{end - 1}"})[0]

    def names(self, bucket: str) -> set[str]:
        fs = fsspec.filesystem("http", use_listings_cache=False, skip_instance_cache=True)
        root = self.server.url(f"{bucket}/")
        return {name.removeprefix(root) for name in fs.find(root)}

    def _get(self, path: str, headers: dict[str, str]) -> tuple[bytes | None, str]:
        request = urllib.request.Request(self.server.url(path), headers=headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.read(), answer.headers["ETag"]
        except urllib.error.HTTPError as error:
            if error.code in (404, 412):
                return None, ""
            raise


CLIENTS = {"s3": S3Client, "gs": GcsClient, "az": AzureClient, "http": HttpClient}


def _code(error: OSError) -> str:
    """The store's own word for an error that s3fs translated."""
    return str(getattr(error.__cause__, "response", {}).get("Error", {}).get("Code", ""))


def _created(put: Callable[[], object]) -> bool:
    exists: tuple[type[BaseException], ...] = (FileExistsError,)
    try:
        from azure.core.exceptions import ResourceExistsError, ResourceModifiedError

        exists = (*exists, ResourceExistsError, ResourceModifiedError)
    except ImportError:
        pass
    try:
        put()
    except exists:
        return False
    return True


@dataclass(frozen=True)
class Place:
    """A new, empty bucket of a server.

    Attributes:
        server: where.
        bucket: its name.
        client: asks the server directly.
    """

    server: Running
    bucket: str
    client: Any

    def path(self, name: str) -> str:
        return f"{self.bucket}/{name}"

    def url(self, path: str = "") -> str:
        return self.server.url(f"{self.bucket}/{path}".rstrip("/"))


@pytest.fixture(scope="session")
def new_client() -> Callable[[Running], Any]:
    """Makes clients."""
    return lambda server: CLIENTS[server.protocol](server)


@pytest.fixture(scope="session")
def new_place() -> Callable[[Running], Place]:
    """Makes buckets."""

    def make(server: Running) -> Place:
        client: Any = CLIENTS[server.protocol](server)
        bucket = f"mdfp-{next(_count):04d}"
        client.make_bucket(bucket)
        return Place(server, bucket, client)

    return make


@pytest.fixture
def place(server, new_place) -> Place:
    return new_place(server)


@pytest.fixture
def writable(place) -> Place:
    if not place.server.writable:
        pytest.skip("read-only: nothing is written there")
    return place
