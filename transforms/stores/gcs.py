"""Google Cloud Storage, by its JSON API, with the credentials that gcsfs finds.

Requests are made on the session of gcsfs: it knows create-only uploads but no reads of a given generation, and its
variant for hierarchical buckets asks for the bucket's kind before anything else, which takes a minute on emulators.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from fsspec.asyn import sync
from gcsfs.core import GCSFileSystem
from google.auth.exceptions import GoogleAuthError

from mdfp.errors import UsageError
from schemas.place import Place
from transforms.stores import errors
from transforms.stores.backend import Got, ListedObject, Retry, Unfinished
from transforms.stores.errors import ChangedError, StoreError, TransientStoreError

FAILURES = (aiohttp.ClientError, GoogleAuthError, OSError)
"""What a session raises when the store or the way to it fails."""

TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10, sock_read=60)
"""Seconds without an answer, or without a byte of it."""

PAGE = 1000
"""Objects in one answer of a listing."""

CHUNK_UNIT = 256 << 10
"""Chunks of a resumable upload are multiples of this, the last one aside."""

GENERATION = "generation:"
_FIELDS = "name,size,generation,md5Hash,timeCreated"


class GcsBackend:
    """Objects below `gs://bucket/prefix`. See `transforms.stores.backend.Backend`.

    - Reads and uploads carry ifGenerationMatch, and the generation of every answer is compared as well.
    - The MD5 of what was stored is compared with what was sent.

    Raises:
        StoreError: the URL names no bucket.
        UsageError: the bucket bills its readers, and there is no project to bill.
    """

    pins = True
    ordered = True

    def __init__(self, place: Place):
        bucket, _, prefix = place.url.split("://", 1)[1].partition("/")
        if not bucket:
            raise StoreError(f"{place.url}: expected gs://BUCKET/FOLDER")
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        payer = place.access.requester_pays and os.environ.get("GOOGLE_CLOUD_PROJECT", True)
        self._fs = GCSFileSystem(
            **({"token": "anon"} if place.access.anonymous else {}),
            requester_pays=payer,
            use_listings_cache=False,
            skip_instance_cache=True,
            # Objects that are stored compressed are read as they are stored.
            session_kwargs={"auto_decompress": False},
        )
        if payer is True and not self._fs.project:
            raise UsageError(
                f"{place.url}: who pays for requester_pays? Set GOOGLE_CLOUD_PROJECT to a project of yours"
            )

    def list(self, prefix: str, retry: Retry) -> Iterator[ListedObject]:
        """A page at a time in memory. Markers of empty folders are no objects."""
        params = {
            "prefix": f"{self._prefix}{prefix.rstrip('/')}/" if prefix else self._prefix,
            "maxResults": str(PAGE),
            "fields": f"items({_FIELDS}),nextPageToken",
        }
        while True:
            _, _, data = retry(lambda: self._ask("GET", self._objects(), "", params=params))  # noqa: B023 (called at once)
            page = json.loads(data)
            for item in page.get("items", ()):
                if not item["name"].endswith("/"):
                    yield _listed(item["name"][len(self._prefix) :], item)
            if not page.get("nextPageToken"):
                return
            params = {**params, "pageToken": page["nextPageToken"]}

    def head(self, path: str) -> ListedObject | None:
        """The object's metadata."""
        try:
            _, _, data = self._ask("GET", self._object(path), path, params={"fields": _FIELDS})
        except FileNotFoundError:
            return None
        return _listed(path, json.loads(data))

    def get(self, path: str, start: int, end: int | None, version: str | None) -> Got:
        """GET of a range, with ifGenerationMatch when a version is given."""
        params = {"alt": "media"}
        if version is not None and version.startswith(GENERATION):
            params["ifGenerationMatch"] = version.removeprefix(GENERATION)
        headers = {"Accept-Encoding": "gzip"}  # no decompression on the way
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        status, answer, data = self._ask(
            "GET", self._object(path, media=True), path, params=params, headers=headers, passed=(412, 416)
        )
        if status == HTTPStatus.PRECONDITION_FAILED:
            raise ChangedError(f"{self._where(path)}: it is no longer {version}")
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            found = self.head(path)
            return Got(b"", None, None if found is None else found.version)
        total = answer.get("Content-Range", "").rpartition("/")[2] or answer.get("Content-Length", "")
        generation = answer.get("X-Goog-Generation")
        return Got(
            data[start:end] if status == HTTPStatus.OK else data,
            int(total) if total.isdecimal() else None,
            f"{GENERATION}{generation}" if generation else None,
        )

    def put(self, path: str, data: bytes, *, only_new: bool) -> bool:
        """One request."""
        _, _, answer = self._ask(
            "POST", self._upload(), path, params=self._new(path, "media", only_new), body=data,
            headers={"Content-Type": "application/octet-stream"},
        )  # fmt: skip
        return self._compare(path, json.loads(answer), hashlib.md5(data, usedforsecurity=False).digest())

    def put_parts(self, path: str, file: Path, *, only_new: bool, part_bytes: int, retry: Retry) -> bool:
        """A resumable upload, piece after piece; ended when anything fails or another writer was first."""
        size = file.stat().st_size
        part_bytes = max(CHUNK_UNIT, part_bytes // CHUNK_UNIT * CHUNK_UNIT)
        _, answer, _ = retry(
            lambda: self._ask("POST", self._upload(), path, params=self._new(path, "resumable", only_new), body=b"")
        )
        session = answer["Location"]
        digest = hashlib.md5(usedforsecurity=False)
        stored = b"{}"
        try:
            with file.open("rb") as stream:
                for start in range(0, size, part_bytes):
                    piece = stream.read(part_bytes)
                    digest.update(piece)
                    stored = retry(lambda: self._send_piece(session, path, piece, start, size))  # noqa: B023 (called at once)
        except BaseException:
            # An upload that is never ended is forgotten after a week; this is only sooner.
            self._end(session, path)
            raise
        return self._compare(path, json.loads(stored), digest.digest())

    def unfinished(self) -> Iterator[Unfinished]:
        """None that could be listed: the store forgets unfinished uploads after a week by itself."""
        return iter(())

    def abort(self, upload: Unfinished) -> None:
        """Nothing: none is ever listed."""

    def delete(self, path: str) -> None:
        """DELETE."""
        try:
            self._ask("DELETE", self._object(path), path)
        except FileNotFoundError:
            return

    def _send_piece(self, session: str, path: str, piece: bytes, start: int, size: int) -> bytes:
        """Send one piece. Bytes that the store has already, because an answer was lost, it ignores.

        Raises:
            TransientStoreError: it did not take all of it, and may if it is sent again.
        """
        end = start + len(piece)
        status, answer, data = self._ask(
            "PUT", session, path, body=piece, headers={"Content-Range": f"bytes {start}-{end - 1}/{size}"},
            passed=(HTTPStatus.PERMANENT_REDIRECT,), asked=False,
        )  # fmt: skip
        if status == HTTPStatus.PERMANENT_REDIRECT:  # 308: go on
            taken = int(answer.get("Range", "bytes=0--1").rpartition("-")[2] or -1) + 1
            if taken != end:
                raise TransientStoreError(f"{self._where(path)}: sent bytes up to {end}, the store has {taken}")
        return data

    def _end(self, session: str, path: str) -> None:
        try:
            self._ask("DELETE", session, path, passed=(499,), asked=False)
        except OSError:
            return

    def _compare(self, path: str, stored: dict[str, Any], digest: bytes) -> bool:
        told = stored.get("md5Hash")
        if told is None:
            return False
        if base64.b64decode(told) != digest:
            raise StoreError(
                f"{self._where(path)}: sent bytes with MD5 {digest.hex()}, the store holds {base64.b64decode(told).hex()}; "
                "remove it and run again"
            )
        return True

    def _new(self, path: str, kind: str, only_new: bool) -> dict[str, str]:
        more = {"ifGenerationMatch": "0"} if only_new else {}
        return {"uploadType": kind, "name": self._prefix + path, **more}

    def _objects(self) -> str:
        return f"{self._fs.base}b/{quote(self._bucket, safe='')}/o"

    def _object(self, path: str, media: bool = False) -> str:
        return f"{self._objects()}/{quote(self._prefix + path, safe='')}"

    def _upload(self) -> str:
        return f"{self._fs._location}/upload/storage/v1/b/{quote(self._bucket, safe='')}/o"

    def _ask(
        self,
        method: str,
        url: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        passed: tuple[int, ...] = (),
        asked: bool = True,
    ) -> tuple[int, Any, bytes]:
        """One request; answers that are no success and not in `passed` are raised.

        `asked`: whether the bucket's reader is billed by this request: not within an upload that was billed already.
        """
        try:
            status, answer, data = sync(
                self._fs.loop, self._send, method, url, params or {}, headers or {}, body, asked
            )
        except FAILURES as error:
            errors.raise_as_ours(error, self._where(path))
        if status < 300 or status in passed:
            return status, answer, data
        if status == HTTPStatus.PRECONDITION_FAILED:
            raise FileExistsError(f"{self._where(path)}: it is there already")
        raise errors.of_status(status, _code(data), self._where(path))

    async def _send(
        self, method: str, url: str, params: dict[str, str], headers: dict[str, str], body: bytes | None, asked: bool
    ) -> tuple[int, Any, bytes]:
        session = await self._fs._set_session()
        async with session.request(
            method,
            # Names are quoted already: a slash within one is %2F, and must stay so.
            _encoded(url),
            params=self._fs._get_params(params) if asked else None,
            headers=self._fs._get_headers({"Accept-Encoding": "identity", **headers}),
            data=body,
            timeout=TIMEOUT,
            allow_redirects=False,
        ) as answer:
            return answer.status, answer.headers, await answer.read()

    def _where(self, path: str) -> str:
        return f"gs://{self._bucket}/{self._prefix}{path}"


def _listed(path: str, found: dict[str, Any]) -> ListedObject:
    created = found.get("timeCreated")
    time = datetime.fromisoformat(created).timestamp() if created else None
    return ListedObject(path, int(found["size"]), f"{GENERATION}{found['generation']}", time)


def _encoded(url: str) -> Any:
    from yarl import URL

    return URL(url, encoded=True)


def _code(data: bytes) -> str:
    """The reason in an error's JSON, where it is one."""
    try:
        error = json.loads(data)["error"]
        return str(error["errors"][0]["reason"])
    except (ValueError, KeyError, IndexError, TypeError):
        return ""
