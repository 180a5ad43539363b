"""A store in memory whose every call may fail, be lost, or be the last thing its caller does.

It keeps what object stores promise: a write is whole or not there, what was written is read at once, and an object is
created only where none is, unless it is told to ignore that condition.
"""

from __future__ import annotations

import errno
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import fsspec
from fsspec.spec import AbstractFileSystem

from schemas.place import Place
from tests.kills.scheduler import Actor, Killed, Scheduler, current_actor
from transforms.stores.backend import Got, ListedObject, Retry, Unfinished
from transforms.stores.errors import ChangedError
from transforms.stores.remote import Remote

PROTOCOL = "sim"


@dataclass(frozen=True)
class Weather:
    """How often a call goes wrong, as fractions of all calls.

    Attributes:
        refused: 503 or a connection reset; nothing happened.
        lost: it acted, and the answer was lost.
        echoed: a create acted, the answer was lost, and the client's own repetition finds the object there.
        cut: the body of an answer ends early, and the client notices.
        short: the body of an answer ends early, and nobody says so.
    """

    refused: float = 0.0
    lost: float = 0.0
    echoed: float = 0.0
    cut: float = 0.0
    short: float = 0.0


CALM = Weather()
STORM = Weather(refused=0.05, lost=0.02, echoed=0.01, cut=0.01, short=0.01)
"""One call in ten goes wrong."""


class FakeStore:
    """Objects by path, and the world's weather.

    Attributes:
        objects: bytes by path.
        sources_down: fraction of the reads of sources that is refused.
        honours: whether create-only is honoured.
        kills: kills so far, by the kind of call they struck.
        on_write: called with the path and its former bytes after every change.
    """

    def __init__(self, seed: int, *, honours: bool = True):
        self.seed = seed
        self.honours = honours
        self.objects: dict[str, bytes] = {}
        self.weather = CALM
        self.sources_down = 0.0
        self.scheduler: Scheduler | None = None
        self.kills: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.on_write: Callable[[str, bytes | None], None] = lambda path, before: None

    def call(
        self, what: str, path: str, act: Callable[[], Any], *, shorten: bool = False, creates: bool = False
    ) -> Any:
        """Do something to the store, if the caller lives and the weather allows."""
        actor, helps = current_actor()
        if actor is None or self.scheduler is None:
            return act()
        if not helps:
            actor.calls += 1
            due = actor.kill_at is not None and actor.calls >= actor.kill_at
            if due and not actor.dead and not actor.kill_after:
                self._kill(actor, what, path, "before")
            # Most can happen between a look and the write that follows it: there time passes.
            slow = 0.5 if "/manifests/" in path and creates else 0.1 if creates else 0.01
            self.scheduler.point(actor, f"{what} {path}", slow)
            if due and not actor.dead:
                act()
                self._kill(actor, what, path, "after")
                raise Killed
        elif actor.dead:
            raise Killed
        return self._in_weather(actor, what, path, act, shorten, creates)

    def _kill(self, actor: Actor, what: str, path: str, when: str) -> None:
        assert self.scheduler is not None
        self.scheduler.kill(actor)
        self.kills[f"{when} {what} {kind(path)}"] += 1

    def _in_weather(
        self, actor: Actor, what: str, path: str, act: Callable[[], Any], shorten: bool, creates: bool
    ) -> Any:
        # The luck of a call depends on who asks for what for which time, not on which thread of a process is faster.
        count = actor.seen[what, path] = actor.seen.get((what, path), 0) + 1
        luck = _fraction(self.seed, actor.name, what, path, count)
        w = self.weather
        if path.startswith("raw/") and _fraction(self.seed, "sources", actor.name, path, count) < self.sources_down:
            self.faults["source refused"] += 1
            raise _refusal(luck)
        if (luck := luck - w.refused) < 0:
            self.faults["refused"] += 1
            raise _refusal(-luck / w.refused)
        if (luck := luck - w.lost) < 0:
            act()
            self.faults["lost"] += 1
            raise TimeoutError(errno.ETIMEDOUT, "no answer in time")
        if (luck := luck - w.echoed) < 0 and creates:
            self.faults["echoed"] += 1
            act()
            return act()
        answer = act()
        if shorten and len(answer) > 1:
            if (luck := luck - w.cut) < 0:
                self.faults["cut"] += 1
                raise ConnectionResetError(errno.ECONNRESET, "the body of the answer ended early")
            if luck - w.short < 0:
                self.faults["short"] += 1
                return answer[: len(answer) // 2]
        return answer

    def put(self, path: str, data: bytes, *, only_new: bool) -> None:
        """Write an object, whole."""

        def act() -> None:
            before = self.objects.get(path)
            if only_new and self.honours and before is not None:
                raise FileExistsError(path)
            self.objects[path] = data
            self.on_write(path, before)

        self.call("create" if only_new else "replace", path, act, creates=only_new)

    def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """Bytes of an object."""
        return self.call("read", path, lambda: self._of(path)[start:end], shorten=True)

    def stat(self, path: str) -> tuple[int, str]:
        """Size and ETag of an object."""

        def act() -> tuple[int, str]:
            data = self._of(path)
            return len(data), etag(data)

        return self.call("head", path, act)

    def look(self, path: str) -> tuple[int, str]:
        """Size and ETag as the answer to a read says them: no call of its own."""
        data = self._of(path)
        return len(data), etag(data)

    def names(self, prefix: str) -> dict[str, tuple[int, str]]:
        """Size and ETag of all objects whose path starts so."""
        return self.call(
            "list", prefix, lambda: {p: (len(d), etag(d)) for p, d in self.objects.items() if p.startswith(prefix)}
        )

    def delete(self, path: str) -> None:
        """Remove an object."""

        def act() -> None:
            before = self._of(path)
            del self.objects[path]
            self.on_write(path, before)

        self.call("delete", path, act)

    def _of(self, path: str) -> bytes:
        if path not in self.objects:
            raise FileNotFoundError(path)
        return self.objects[path]


@lru_cache(maxsize=4096)
def etag(data: bytes) -> str:
    """What changes when the bytes do."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def kind(path: str) -> str:
    """What sort of object of a corpus a path names, for counting."""
    parts = path.split("/")[1:]
    if parts[:1] == ["plans"] and len(parts) > 2:
        return f"plans/*/{parts[-1]}"
    return "/".join(parts) if len(parts) == 1 else f"{parts[0]}/*"


def _fraction(*what: object) -> float:
    return int.from_bytes(hashlib.blake2b(repr(what).encode(), digest_size=8).digest(), "big") / 2**64


def _refusal(which: float) -> OSError:
    if which < 0.5:
        return OSError(errno.EBUSY, "503 Slow Down")
    return (
        ConnectionResetError(errno.ECONNRESET, "connection reset by peer")
        if which < 0.75
        else TimeoutError("timed out")
    )


class FakeBackend:
    """How builders speak to the fake store: as to S3, with versions, lengths and checksums."""

    pins = True
    ordered = True

    def __init__(self, place: Place):
        name, _, self._base = place.url.removeprefix(f"{PROTOCOL}://").partition("/")
        self._store = STORES[name]

    def list(self, prefix: str, retry: Retry) -> Iterator[ListedObject]:
        """All below a folder."""
        found = retry(lambda: self._store.names(f"{self._base}/{prefix}/".replace("//", "/")))
        for path in sorted(found):
            size, tag = found[path]
            yield ListedObject(path.removeprefix(f"{self._base}/"), size, f"etag:{tag}", 0.0)

    def head(self, path: str) -> ListedObject | None:
        """Size and ETag."""
        try:
            size, tag = self._store.stat(f"{self._base}/{path}")
        except FileNotFoundError:
            return None
        return ListedObject(path, size, f"etag:{tag}")

    def get(self, path: str, start: int, end: int | None, version: str | None) -> Got:
        """A range, perhaps not all of it."""
        total, tag = self._store.look(f"{self._base}/{path}")
        if version is not None and version != f"etag:{tag}":
            raise ChangedError(f"{path}: expected {version}, found etag:{tag}")
        return Got(self._store.get(f"{self._base}/{path}", start, end), total, f"etag:{tag}")

    def put(self, path: str, data: bytes, *, only_new: bool) -> bool:
        """In one request."""
        self._store.put(f"{self._base}/{path}", data, only_new=only_new)
        return True

    def put_parts(self, path: str, file: Path, *, only_new: bool, part_bytes: int, retry: Retry) -> bool:
        """In as many requests as it has parts; visible with the last."""
        data = file.read_bytes()
        for start in range(0, len(data), part_bytes):
            retry(lambda start=start: self._store.call("part", f"{self._base}/{path}", lambda: start))
        self._store.put(f"{self._base}/{path}", data, only_new=only_new)
        return True

    def unfinished(self) -> Iterator[Unfinished]:
        """None is told of."""
        return iter(())

    def abort(self, upload: Unfinished) -> None:
        """Nothing."""

    def delete(self, path: str) -> None:
        """Remove it, if it is there."""
        try:
            self._store.delete(f"{self._base}/{path}")
        except FileNotFoundError:
            return


def open_fake(place: Place) -> Remote:
    """What `transforms.stores.open.open_remote` gives for `sim://`."""
    return Remote(FakeBackend(place), place.url, guarded=place.guarded)


STORES: dict[str, FakeStore] = {}
"""The stores that `sim://<name>/…` finds."""


class FakeFileSystem(AbstractFileSystem):
    """`sim://<store>/<path>` for readers: nothing can be written by this way."""

    protocol = PROTOCOL
    cachable = False

    def _find(self, path: str) -> tuple[FakeStore, str]:
        store, _, inside = self._strip_protocol(path).partition("/")
        return STORES[store], inside

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        store, inside = self._find(path)
        return store.get(inside, start, end)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        store, inside = self._find(path)
        size, tag = store.stat(inside)
        return {"name": self._strip_protocol(path), "size": size, "type": "file", "ETag": tag}

    def isfile(self, path: str) -> bool:
        return self.exists(path)

    def exists(self, path: str, **_: Any) -> bool:
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def find(self, path: str, maxdepth: Any = None, withdirs: bool = False, detail: bool = False, **_: Any) -> Any:
        store, inside = self._find(path)
        root = self._strip_protocol(path).partition("/")[0]
        found = {
            f"{root}/{name}": {"name": f"{root}/{name}", "size": size, "type": "file", "ETag": tag}
            for name, (size, tag) in store.names(f"{inside}/").items()
        }
        return found if detail else sorted(found)

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        own = self._strip_protocol(path).rstrip("/")
        found = self.find(path, detail=True)
        entries = {}
        for name, info in found.items():
            head, slash, _ = name[len(own) + 1 :].partition("/")
            child = f"{own}/{head}"
            entries[child] = {"name": child, "size": 0, "type": "directory"} if slash else info
        if not entries:
            raise FileNotFoundError(path)
        return [entries[k] for k in sorted(entries)] if detail else sorted(entries)

    def open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        if mode != "rb":
            raise AssertionError(f"a stream for writing was opened on the store: {path}")
        return io.BytesIO(self.cat_file(path))


fsspec.register_implementation(PROTOCOL, FakeFileSystem, clobber=True)
