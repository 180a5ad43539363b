"""Azure Blob Storage, through the client that adlfs opens.

adlfs finds the account and its credentials in AZURE_STORAGE_… variables or by azure-identity. Requests are made on its
asynchronous client, without that client's own retries: after an answer that was lost they would see their own blob as
another writer's.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from adlfs import AzureBlobFileSystem
from azure.core import MatchConditions
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobBlock
from fsspec.asyn import sync

from mdfp.errors import UsageError
from schemas.place import Place
from transforms.stores import errors
from transforms.stores.backend import Got, ListedObject, Retry, Unfinished
from transforms.stores.errors import ChangedError, StoreError

FAILURES = (AzureError, OSError)
"""What the client raises when the store or the way to it fails."""

THERE = frozenset({"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"})
"""What a conditional write is told when a blob is there; the first comes with status 409."""

ONCE = {"retry_total": 0, "connection_timeout": 10, "read_timeout": 60}
"""Options of every request: no retries by the client; seconds."""

ETAG = "etag:"


class AzureBackend:
    """Blobs below `az://container/prefix` or `abfs://container@account.dfs.core.windows.net/prefix`.

    - Reads carry If-Match, writes and commits of blocks If-None-Match: *.
    - MD5 of what is sent is checked on arrival.
    - Blocks of an upload that failed cannot be removed; the store forgets them after a week.

    See `transforms.stores.backend.Backend`.

    Raises:
        UsageError: the URL names no container, no account was found, or `access:` names what Azure does not have.
    """

    pins = True
    # Accounts with a hierarchical namespace list folders first.
    ordered = False

    def __init__(self, place: Place):
        if place.access.requester_pays:
            raise UsageError(f"{place.url}: requester_pays is for S3 and GCS; leave it out")
        where, _, prefix = place.url.split("://", 1)[1].partition("/")
        self._container, _, host = where.partition("@")
        if not self._container:
            raise UsageError(f"{place.url}: expected az://CONTAINER/FOLDER")
        self._root = place.url.rstrip("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        options: dict[str, Any] = {"account_name": host.partition(".")[0]} if host else {}
        if place.access.anonymous:
            options["anon"] = True
        try:
            self._fs = AzureBlobFileSystem(use_listings_cache=False, skip_instance_cache=True, **options)
        except ValueError as error:
            raise UsageError(
                f"{place.url}: no storage account was found; set AZURE_STORAGE_ACCOUNT_NAME or "
                "AZURE_STORAGE_CONNECTION_STRING (docs/stores.md)"
            ) from error

    def list(self, prefix: str, retry: Retry) -> Iterator[ListedObject]:
        """Pages of five thousand. Folders of a hierarchical namespace are no objects."""
        start = f"{self._prefix}{prefix.rstrip('/')}/" if prefix else self._prefix
        token: str | None = None
        while True:
            page, token = retry(lambda: self._run("", self._page, start, token))  # noqa: B023 (called at once)
            for blob in page:
                if not blob.name.endswith("/") and not (blob.metadata or {}).get("hdi_isfolder"):
                    yield _listed(blob.name[len(self._prefix) :], blob)
            if not token:
                return

    def head(self, path: str) -> ListedObject | None:
        """The blob's properties."""
        try:
            found = self._run(path, self._properties, path)
        except FileNotFoundError:
            return None
        return _listed(path, found)

    def get(self, path: str, start: int, end: int | None, version: str | None) -> Got:
        """A range, with If-Match when a version is given."""
        try:
            data, expected, etag = self._run(path, self._download, path, start, end, version)
        except _AnswerError as error:
            if error.status == 412:
                raise ChangedError(f"{self._where(path)}: it is no longer {version}") from None
            if error.status == 416:
                return Got(b"", None, None)
            raise errors.of_status(error.status, error.code, self._where(path)) from None
        if len(data) != expected:
            raise errors.TransientStoreError(
                f"{self._where(path)}: expected {expected} bytes from {start}, the answer had {len(data)}"
            )
        return Got(data, None, _version(etag))

    def put(self, path: str, data: bytes, *, only_new: bool) -> bool:
        """One request."""
        self._write(path, self._upload, path, data, only_new)
        return True

    def put_parts(self, path: str, file: Path, *, only_new: bool, part_bytes: int, retry: Retry) -> bool:
        """Blocks, visible when their list is committed."""
        names: deque[str] = deque()
        with file.open("rb") as stream:
            while piece := stream.read(part_bytes):
                # All names of one blob have one length, and tell one upload's blocks from another's.
                digest = hashlib.sha256(piece).hexdigest()[:16]
                name = base64.b64encode(f"{len(names):08d}-{digest}".encode()).decode()
                retry(lambda: self._run(path, self._stage, path, name, piece))  # noqa: B023 (called at once)
                names.append(name)
        self._write(path, self._commit, path, names, only_new)
        return True

    def unfinished(self) -> Iterator[Unfinished]:
        """None that could be listed: the store forgets uncommitted blocks after a week by itself."""
        return iter(())

    def abort(self, upload: Unfinished) -> None:
        """Nothing: none is ever listed."""

    def delete(self, path: str) -> None:
        """Delete."""
        try:
            self._run(path, self._delete, path)
        except FileNotFoundError:
            return

    def _write(self, path: str, action: Any, *arguments: Any) -> None:
        try:
            self._run(path, action, *arguments)
        except _AnswerError as error:
            if error.code in THERE or error.status == 412:
                raise FileExistsError(f"{self._where(path)}: it is there already") from None
            raise errors.of_status(error.status, error.code, self._where(path)) from None

    def _run(self, path: str, action: Any, *arguments: Any) -> Any:
        """Run one request.

        Raises:
            _AnswerError: the store's answer is one that a caller must look at: 409, 412, 416.
            OSError: as `transforms.stores.errors` has it.
        """
        try:
            return sync(self._fs.loop, action, *arguments)
        except FAILURES as error:
            status = getattr(error, "status_code", None)
            code = str(getattr(error, "error_code", "") or "").rpartition(".")[2]
            if status in (412, 416) or code in THERE:
                raise _AnswerError(int(status or 0), code) from None
            errors.raise_as_ours(error, self._where(path))

    async def _page(self, start: str, token: str | None) -> tuple[Sequence[Any], str | None]:
        pages = self._blobs().list_blobs(name_starts_with=start, include=["metadata"], **ONCE).by_page(token)
        async for page in pages:
            return [blob async for blob in page], pages.continuation_token
        return [], None

    async def _properties(self, path: str) -> Any:
        return await self._blob(path).get_blob_properties(**ONCE)

    async def _download(self, path: str, start: int, end: int | None, version: str | None) -> tuple[bytes, int, str]:
        match: dict[str, Any] = {}
        if version is not None and version.startswith(ETAG):
            match = {"etag": f'"{version.removeprefix(ETAG)}"', "match_condition": MatchConditions.IfNotModified}
        length = None if end is None else end - start
        answer = await self._blob(path).download_blob(offset=start, length=length, **match, **ONCE)
        return await answer.readall(), answer.size, answer.properties.etag

    async def _upload(self, path: str, data: bytes, only_new: bool) -> None:
        await self._blob(path).upload_blob(data, overwrite=not only_new, validate_content=True, **ONCE)

    async def _stage(self, path: str, name: str, data: bytes) -> None:
        await self._blob(path).stage_block(name, data, length=len(data), validate_content=True, **ONCE)

    async def _commit(self, path: str, names: Iterable[str], only_new: bool) -> None:
        match = {"match_condition": MatchConditions.IfMissing} if only_new else {}
        await self._blob(path).commit_block_list([BlobBlock(name) for name in names], **match, **ONCE)

    async def _delete(self, path: str) -> None:
        await self._blob(path).delete_blob(**ONCE)

    def _blobs(self) -> Any:
        return self._fs.service_client.get_container_client(self._container)

    def _blob(self, path: str) -> Any:
        return self._blobs().get_blob_client(self._prefix + path)

    def _where(self, path: str) -> str:
        return f"{self._root}/{path}"


class _AnswerError(StoreError):
    """An answer that means different things to different requests."""

    def __init__(self, status: int, code: str):
        super().__init__(f"the store answered {status} {code}")
        self.status = status
        self.code = code


def _listed(path: str, found: Any) -> ListedObject:
    return ListedObject(path, int(found.size), _version(found.etag), found.last_modified.timestamp())


def _version(etag: str) -> str:
    return ETAG + etag.strip('"')
