"""Any other file system that fsspec knows, by what all of them have in common.

It cannot be asked for a version of an object, so what is read is looked at before and after; whether it refuses to
create what is there, `transforms.probe` finds out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec

from schemas.place import Place
from transforms.stores import errors
from transforms.stores.backend import Got, ListedObject, Retry, Unfinished

VERSION_KEYS = (
    "generation",
    "ETag",
    "etag",
    "versionId",
    "LastModified",
    "last_modified",
    "mtime",
    "updated",
    "created",
)
"""What file systems call the version of an object, the surest first."""

TIME_KEYS = ("LastModified", "last_modified", "updated", "mtime", "timeCreated", "created")
"""What they call the time it was made."""


class GenericBackend:
    """Objects below the URL of any file system. See `transforms.stores.backend.Backend`."""

    pins = False
    ordered = False

    def __init__(self, place: Place):
        # Listings are never cached: a store that others write to changes under us.
        self._fs: Any
        self._fs, base = fsspec.core.url_to_fs(place.url, use_listings_cache=False)
        self._base = base.rstrip("/")
        self._root = place.url.rstrip("/")

    def list(self, prefix: str, retry: Retry) -> Iterator[ListedObject]:
        """One listing, whole in memory."""
        found = retry(lambda: self._try(prefix, lambda p: self._fs.find(p.rstrip("/"), detail=True)))
        for name, info in found.items():
            path = name[len(self._base) :].lstrip("/")
            if path != prefix or not prefix:
                yield ListedObject(path, int(info["size"]), _version(info), _modified(info))

    def head(self, path: str) -> ListedObject | None:
        """The file system's info."""
        try:
            info = self._try(path, self._fs.info)
        except FileNotFoundError:
            return None
        return None if info.get("type") == "directory" else ListedObject(path, int(info["size"]), _version(info))

    def get(self, path: str, start: int, end: int | None, version: str | None) -> Got:
        """A range, of whatever version."""
        data = self._try(path, lambda p: self._fs.cat_file(p, start=start or None, end=end))
        return Got(bytes(data), None, None)

    def put(self, path: str, data: bytes, *, only_new: bool) -> bool:
        """In one call; create-only as far as the file system is."""
        self._try(path, lambda p: self._fs.pipe_file(p, data, mode="create" if only_new else "overwrite"))
        return False

    def put_parts(self, path: str, file: Path, *, only_new: bool, part_bytes: int, retry: Retry) -> bool:
        """In one call: the file system decides about parts."""
        self._try(path, lambda p: self._fs.put_file(str(file), p, mode="create" if only_new else "overwrite"))
        return False

    def unfinished(self) -> Iterator[Unfinished]:
        """None that a file system could name."""
        return iter(())

    def abort(self, upload: Unfinished) -> None:
        """Nothing: there are none."""

    def delete(self, path: str) -> None:
        """Remove a file."""
        try:
            self._try(path, self._fs.rm_file)
        except FileNotFoundError:
            return

    def _try(self, path: str, action: Any) -> Any:
        try:
            return action(f"{self._base}/{path}")
        except OSError as error:
            errors.raise_as_ours(error, f"{self._root}/{path}")


def _version(info: dict[str, Any]) -> str:
    for key in VERSION_KEYS:
        if value := info.get(key):
            # Some file systems list a moment as a number and tell it of one object as a date: they are one version.
            told = value.timestamp() if isinstance(value, datetime) else value
            return f"{key.lower()}:{str(told).strip(chr(34))}"
    return f"size:{info['size']}"


def _modified(info: dict[str, Any]) -> float | None:
    """Unix time of an object, whatever a file system calls it and however it writes it; None where it says none."""
    for key in TIME_KEYS:
        value = info.get(key)
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                continue
        if isinstance(value, datetime):
            # Without a zone it is UTC, as in all that stores say.
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return None
