"""S3 and what speaks its protocol, through the client that s3fs opens.

s3fs finds credentials, region and endpoint as every AWS program does (environment, profile, instance role). Requests are
made on its asynchronous client: s3fs itself sends no If-Match, and its exclusive streams leave uploads behind.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import s3fs
from botocore.exceptions import BotoCoreError, ClientError
from fsspec.asyn import sync

from schemas.place import Place
from transforms.stores import errors, limits
from transforms.stores.backend import Got, ListedObject, Retry, Unfinished
from transforms.stores.errors import ChangedError, StoreError

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
"""Without a byte of the answer."""

PAGE = 1000
"""Objects in one answer of a listing; S3 gives no more."""

MOST_PARTS = 10_000
"""S3 takes no more in one upload."""

FAILURES = (BotoCoreError, ClientError, aiohttp.ClientError, OSError)
"""What the client raises when a store or the way to it fails."""

ETAG = "etag:"

_MD5 = re.compile(r"[0-9a-f]{32}(-\d+)?")


class S3Backend:
    """Objects below `s3://bucket/prefix`. See `transforms.stores.backend.Backend`.

    - GET with If-Match, and the ETag of the answer is compared as well: some servers ignore the header.
    - PUT and CompleteMultipartUpload with If-None-Match: *.
    - The ETag of what was written is compared with the MD5 of what was sent, where it is one.

    Raises:
        StoreError: the URL names no bucket.
    """

    pins = True

    def __init__(self, place: Place):
        bucket, _, prefix = place.url.split("://", 1)[1].partition("/")
        if not bucket:
            raise StoreError(f"{place.url}: expected s3://BUCKET/FOLDER")
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        # Directory buckets (S3 Express) list in no order.
        self.ordered = not bucket.endswith("--x-s3")
        self._fs = s3fs.S3FileSystem(
            anon=place.access.anonymous,
            requester_pays=place.access.requester_pays,
            use_listings_cache=False,
            skip_instance_cache=True,
            config_kwargs={
                # One place tries again, with jitter, and it is not the library.
                "retries": {"total_max_attempts": 1, "mode": "standard"},
                "max_pool_connections": limits.REQUESTS,
                "connect_timeout": CONNECT_TIMEOUT_S,
                "read_timeout": READ_TIMEOUT_S,
            },
        )
        self._more = {"RequestPayer": "requester"} if place.access.requester_pays else {}

    def list(self, prefix: str, retry: Retry) -> Iterator[ListedObject]:
        """A page at a time in memory. Markers of empty folders are no objects."""
        start = f"{self._prefix}{prefix.rstrip('/')}/" if prefix else self._prefix
        token: dict[str, Any] = {}
        while True:
            page = retry(lambda: self._call("list_objects_v2", None, Prefix=start, MaxKeys=PAGE, **token))  # noqa: B023 (called at once)
            for item in page.get("Contents", ()):
                if not item["Key"].endswith("/"):
                    path, version = item["Key"][len(self._prefix) :], _version(item["ETag"])
                    yield ListedObject(path, int(item["Size"]), version, item["LastModified"].timestamp())
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def head(self, path: str) -> ListedObject | None:
        """HEAD."""
        try:
            answer = self._call("head_object", path)
        except FileNotFoundError:
            return None
        return ListedObject(
            path, int(answer["ContentLength"]), _version(answer["ETag"]), answer["LastModified"].timestamp()
        )

    def get(self, path: str, start: int, end: int | None, version: str | None) -> Got:
        """GET of a range, with If-Match when a version is given."""
        options: dict[str, str] = {}
        if start or end is not None:
            options["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        if version is not None and version.startswith(ETAG):
            options["IfMatch"] = f'"{version.removeprefix(ETAG)}"'
        try:
            answer, data = sync(self._fs.loop, self._get, self._prefix + path, options)
        except FAILURES as error:
            status = _status(error)
            if status == 412:
                raise ChangedError(f"{self._where(path)}: it is no longer {version}") from None
            if status == 416:  # the range begins where the object ends, or it is empty
                found = self.head(path)
                return Got(b"", None, None if found is None else found.version)
            errors.raise_as_ours(error, self._where(path))
        total = answer.get("ContentRange", "").rpartition("/")[2] or answer.get("ContentLength")
        return Got(data, int(total) if str(total).isdecimal() else None, _version(answer["ETag"]))

    def put(self, path: str, data: bytes, *, only_new: bool) -> bool:
        """PUT, with If-None-Match when it must be new."""
        answer = self._call("put_object", path, only_new=only_new, Body=data)
        return self._compare(path, answer, hashlib.md5(data, usedforsecurity=False).hexdigest())

    def put_parts(self, path: str, file: Path, *, only_new: bool, part_bytes: int, retry: Retry) -> bool:
        """Multipart upload; aborted, parts and all, when anything fails or another writer was first."""
        size = file.stat().st_size
        part_bytes = max(part_bytes, -(-size // MOST_PARTS))
        upload = retry(lambda: self._call("create_multipart_upload", path))["UploadId"]
        try:
            with ThreadPoolExecutor(limits.PARALLEL_PARTS) as pool:
                sent = list(
                    pool.map(
                        lambda start: self._send_part(path, upload, file, start, part_bytes, retry),
                        range(0, size, part_bytes) or [0],
                    )
                )
            parts = [{"PartNumber": n, "ETag": etag} for n, (etag, _) in enumerate(sent, 1)]
            with limits.request():
                answer = self._call(
                    "complete_multipart_upload",
                    path,
                    only_new=only_new,
                    UploadId=upload,
                    MultipartUpload={"Parts": parts},
                )
        except BaseException:
            # Also on an interrupt: parts are stored, and billed, until the upload is ended. When the answer to a
            # completion was lost there is nothing left to abort, which is fine.
            with suppress(OSError):
                retry(lambda: self._call("abort_multipart_upload", path, UploadId=upload))
            raise
        digest = hashlib.md5(b"".join(bytes.fromhex(md5) for _, md5 in sent), usedforsecurity=False).hexdigest()
        return self._compare(path, answer, f"{digest}-{len(sent)}")

    def unfinished(self) -> Iterator[Unfinished]:
        """ListMultipartUploads, a page at a time."""
        marker: dict[str, Any] = {}
        while True:
            page = self._call("list_multipart_uploads", None, Prefix=self._prefix, **marker)
            for item in page.get("Uploads", ()):
                yield Unfinished(item["Key"][len(self._prefix) :], item["UploadId"], item["Initiated"].timestamp())
            if not page.get("IsTruncated"):
                return
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def abort(self, upload: Unfinished) -> None:
        """AbortMultipartUpload."""
        with suppress(FileNotFoundError):
            self._call("abort_multipart_upload", upload.path, UploadId=upload.id)

    def delete(self, path: str) -> None:
        """DELETE."""
        self._call("delete_object", path)

    def _send_part(
        self, path: str, upload: str, file: Path, start: int, part_bytes: int, retry: Retry
    ) -> tuple[str, str]:
        with file.open("rb") as stream:
            stream.seek(start)
            data = stream.read(part_bytes)
        number = start // part_bytes + 1
        answer = retry(lambda: self._call("upload_part", path, UploadId=upload, PartNumber=number, Body=data))
        return answer["ETag"], hashlib.md5(data, usedforsecurity=False).hexdigest()

    def _compare(self, path: str, answer: dict[str, Any], expected: str) -> bool:
        """Compare the ETag of what was stored with what was sent.

        With KMS or customer keys an ETag is no MD5; the CRC32 that the client sends and S3 checks on arrival stands
        then.

        Returns:
            False where the server's ETag is none that S3 documents, and nothing was compared.
        """
        if answer.get("ServerSideEncryption", "").startswith("aws:kms") or "SSECustomerAlgorithm" in answer:
            return True
        stored = str(answer.get("ETag", "")).strip('"').lower()
        if _is_no_md5(stored, expected):
            return False
        if stored != expected:
            raise StoreError(
                f"{self._where(path)}: sent bytes with the ETag {expected}, the store holds {stored}; remove it and run again"
            )
        return True

    def _call(self, method: str, path: str | None, *, only_new: bool = False, **options: Any) -> dict[str, Any]:
        if path is not None:
            options["Key"] = self._prefix + path
        if only_new:
            options["IfNoneMatch"] = "*"
        try:
            answer: dict[str, Any] = sync(self._fs.loop, self._send, method, options)
        except FAILURES as error:
            if only_new and _status(error) == 412:
                raise FileExistsError(f"{self._where(path or '')}: it is there already") from None
            errors.raise_as_ours(error, self._where(path or ""))
        return answer

    async def _send(self, method: str, options: dict[str, Any]) -> dict[str, Any]:
        client = await self._client()
        answer: dict[str, Any] = await getattr(client, method)(Bucket=self._bucket, **options, **self._more)
        return answer

    async def _get(self, key: str, options: dict[str, str]) -> tuple[dict[str, Any], bytes]:
        client = await self._client()
        answer = await client.get_object(Bucket=self._bucket, Key=key, **options, **self._more)
        async with answer["Body"] as body:
            return answer, await body.read()

    async def _client(self) -> Any:
        await self._fs.set_session()
        return await self._fs.get_s3(self._bucket)

    def _where(self, path: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{path}"


def _version(etag: str) -> str:
    return ETAG + etag.strip('"')


def _status(error: BaseException) -> int:
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return 0
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _is_no_md5(stored: str, expected: str) -> bool:
    """Whether an ETag cannot be the digest that S3 documents: other servers are free to count differently."""
    return _MD5.fullmatch(stored) is None or stored.partition("-")[2] != expected.partition("-")[2]
