"""Web servers, to read from. Every answer says which version of a file its bytes are from: that is compared.

A server shows folders as pages of links, or not at all; only what it links to is found. Passwords come from ~/.netrc.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, unquote

import aiohttp
from fsspec.asyn import sync
from fsspec.implementations.http import HTTPFileSystem

from mdfp.errors import UsageError
from schemas.place import Place
from transforms.stores import errors, limits
from transforms.stores.backend import Got, ListedObject, Retry, Unfinished
from transforms.stores.errors import ChangedError, StoreError

TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10, sock_read=60)
"""Seconds without an answer, or without a byte of it."""

ETAG, DATE = "etag:", "last-modified:"

_LINK = re.compile(r"""<a\s[^>]*?href\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)


class HttpBackend:
    """Files below a URL. See `transforms.stores.backend.Backend`.

    A file's version is its ETag; without one the date of its last change, which has a resolution of one second; without
    either its size.

    Raises:
        UsageError: `access:` names what the web does not have.
    """

    pins = True
    ordered = False

    def __init__(self, place: Place):
        if place.access.requester_pays:
            raise UsageError(f"{place.url}: requester_pays is for buckets; leave it out")
        self._root = place.url.rstrip("/")
        # trust_env: proxies, and passwords from ~/.netrc.
        self._fs = HTTPFileSystem(
            client_kwargs={"trust_env": not place.access.anonymous, "timeout": TIMEOUT},
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def list(self, prefix: str, retry: Retry) -> Iterator[ListedObject]:
        """Follow the links of folder pages downwards, and ask each file for size and version."""
        folders = [f"{prefix.rstrip('/')}/" if prefix else ""]
        seen = set(folders)
        while folders:
            folder = folders.pop()
            page = retry(lambda: self._page(folder))  # noqa: B023 (called at once)
            children = _links(page, folder, self._root)
            below = sorted({c for c in children if c.endswith("/")} - seen)
            seen |= set(below)
            folders += below
            files = [c for c in children if not c.endswith("/")]
            with ThreadPoolExecutor(limits.PARALLEL_PARTS) as pool:
                for found in pool.map(lambda f: retry(lambda: self.head(f)), files):
                    if found is not None:
                        yield found

    def head(self, path: str) -> ListedObject | None:
        """HEAD."""
        try:
            _, headers, _ = self._ask("HEAD", path, {})
        except FileNotFoundError:
            return None
        length = headers.get("Content-Length")
        if length is None:
            raise StoreError(f"{self._where(path)}: the server does not say how large the file is")
        date = headers.get("Last-Modified")
        time = parsedate_to_datetime(date).timestamp() if date else None
        return ListedObject(path, int(length), _version(headers), time)

    def get(self, path: str, start: int, end: int | None, version: str | None) -> Got:
        """GET of a range; servers that know none send the file from its start, of which the rest is not taken."""
        headers: dict[str, str] = {}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        if version is not None and version.startswith(ETAG) and not version.startswith(f"{ETAG}W/"):
            headers["If-Match"] = f'"{version.removeprefix(ETAG)}"'
        status, answer, data = self._ask("GET", path, headers, most=end)
        if status == 412:
            raise ChangedError(f"{self._where(path)}: it is no longer {version}")
        if status == 416:
            return Got(b"", None, None)
        found = _version(answer)
        total = answer.get("Content-Length")
        if status == 206:
            first, _, whole = answer.get("Content-Range", "").removeprefix("bytes ").partition("/")
            total = whole if whole.isdecimal() else None
            if first.partition("-")[0] != str(start):
                raise errors.TransientStoreError(f"{self._where(path)}: asked for bytes from {start}, was sent {first}")
        else:
            data = data[start:end]
        if found.startswith("size:"):
            found = f"size:{total}"
        return Got(data, int(total) if total is not None and total.isdecimal() else None, found)

    def put(self, path: str, data: bytes, *, only_new: bool) -> bool:
        """Never."""
        self._refuse()

    def put_parts(self, path: str, file: Path, *, only_new: bool, part_bytes: int, retry: Retry) -> bool:
        """Never."""
        self._refuse()

    def unfinished(self) -> Iterator[Unfinished]:
        """None."""
        return iter(())

    def abort(self, upload: Unfinished) -> None:
        """Never."""
        self._refuse()

    def delete(self, path: str) -> None:
        """Never."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UsageError(f"{self._root}: a web server cannot be written to; give out: a folder or a bucket")

    def _page(self, folder: str) -> str:
        try:
            _, headers, data = self._ask("GET", folder, {})
        except FileNotFoundError:
            return ""
        return data.decode(errors="replace") if "html" in headers.get("Content-Type", "") else ""

    def _ask(self, method: str, path: str, headers: dict[str, str], most: int | None = None) -> tuple[int, Any, bytes]:
        try:
            status, answer, data = sync(self._fs.loop, self._send, method, path, headers, most)
        except (aiohttp.ClientError, OSError) as error:
            errors.raise_as_ours(error, self._where(path))
        if status >= 300 and status not in (412, 416):
            raise errors.of_status(status, "", self._where(path))
        return status, answer, data

    async def _send(self, method: str, path: str, headers: dict[str, str], most: int | None) -> tuple[int, Any, bytes]:
        session = await self._fs.set_session()
        # identity: lengths and ranges are of the file, not of a compressed copy.
        headers = {"Accept-Encoding": "identity", **headers}
        url = self._fs.encode_url(f"{self._root}/{quote(path)}")
        async with session.request(method, url, headers=headers, allow_redirects=True) as answer:
            if method == "HEAD" or answer.status >= 300:
                return answer.status, answer.headers, b""
            if answer.status == 200 and most is not None:
                data = bytearray()
                async for piece in answer.content.iter_any():
                    data += piece
                    if len(data) >= most:
                        answer.close()
                        break
                return answer.status, answer.headers, bytes(data[:most])
            return answer.status, answer.headers, await answer.read()

    def _where(self, path: str) -> str:
        return f"{self._root}/{path}"


def _version(headers: Any) -> str:
    if etag := headers.get("ETag"):
        return ETAG + (etag if etag.startswith("W/") else etag.strip('"'))
    if date := headers.get("Last-Modified"):
        return DATE + date
    return f"size:{headers.get('Content-Length')}"


def _links(page: str, folder: str, root: str) -> list[str]:
    """Paths below the root that a folder's page links to and that lie in that very folder, sorted."""
    found = set()
    base = root.partition("://")[2].partition("/")[2]
    for link in _LINK.findall(page):
        target = unquote(link.partition("#")[0])
        if "?" in link or target.startswith("mailto:"):
            continue
        if target.startswith(f"{root}/"):
            target = target.removeprefix(f"{root}/")
        elif target.startswith("/"):
            below = f"/{base}/" if base else "/"
            if not target.startswith(below):
                continue
            target = target.removeprefix(below)
        elif "://" in target:
            continue
        else:
            target = folder + target.removeprefix("./")
        name = target.removeprefix(folder).rstrip("/")
        if target.startswith(folder) and name and "/" not in name and name != "..":
            found.add(target)
    return sorted(found)
