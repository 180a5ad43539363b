"""Named points of the commit protocol at which a process kills itself, or stops, as told from outside.

The process under test wraps its own functions before it begins; the code that builds corpora knows nothing of it.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Point:
    """A step of the protocol.

    Attributes:
        name: for people: where the process dies.
        call: `module:attribute` that is wrapped, or `module:Class.method`.
        path: what must stand in one of its arguments, if anything.
        when: `before` it acts, `after` it acted, or `half`-way through what it writes.
        remote: whether the point is there when the corpus lies in an object store.
        local: whether it is there when the corpus is a folder.
    """

    name: str
    call: str
    path: str = ""
    when: str = "before"
    remote: bool = True
    local: bool = True


CREATE_FILE = "transforms.commit:create_file"
CREATE_BYTES = "transforms.commit:create_bytes"
REPLACE = "transforms.commit:replace"
LINK = "os:link"
WRITE = "pathlib:Path.write_bytes"
PUT = "transforms.stores.s3:S3Backend.put"

POINTS = (
    Point("plan: half of its tables there", CREATE_BYTES, "/shards.parquet", "after"),
    Point("plan: all tables there, no header", CREATE_BYTES, "/plan.json"),
    Point("shard: marker looked up, nothing begun", "transforms.shard:committed", when="after"),
    Point("shard: a case fetched", "transforms.shard:fetch_case", when="after"),
    Point("shard: tar half written on scratch", "transforms.shard:TarWriter.add", when="after"),
    Point("shard: tar finished on scratch", CREATE_FILE, "shards/"),
    Point("shard: tar synced, not linked", LINK, "/shards/", remote=False),
    Point("shard: tar linked, folder not synced", LINK, "/shards/", "after", remote=False),
    Point("shard: tar visible, no rows", CREATE_FILE, "shards/", "after"),
    Point("rows: half of the temporary file", WRITE, "/rows/", "half", remote=False),
    Point("shard: rows visible, no marker", CREATE_BYTES, "commits/"),
    Point("marker: half of the temporary file", WRITE, "/commits/", "half", remote=False),
    Point("marker: temporary file whole, not linked", LINK, "/commits/", remote=False),
    Point("marker: linked, temporary name still there", LINK, "/commits/", "after", remote=False),
    Point("shard: committed", CREATE_BYTES, "commits/", "after"),
    Point("build: audited", "pipelines.build:audit", when="after"),
    Point("publish: nothing written", CREATE_FILE, "index/"),
    Point("index: synced, not linked", LINK, "/index/", remote=False),
    Point("publish: index visible, no manifest", CREATE_BYTES, "manifests/"),
    Point("manifest: half of the temporary file", WRITE, "/manifests/", "half", remote=False),
    Point("manifest: linked, folder not synced", LINK, "/manifests/", "after", remote=False),
    Point("publish: manifest visible, no rejects", REPLACE, "rejects/"),
    Point("publish: rejects written, no report", REPLACE, "report.html"),
    Point("publish: report written, hint not", REPLACE, "LATEST"),
    Point("hint: temporary file written, not renamed", "pathlib:Path.replace", "/LATEST", remote=False),
    Point("store: a tar about to be sent", PUT, "shards/", local=False),
    Point("store: a tar stored, no answer", PUT, "shards/", "after", local=False),
    Point("store: a marker about to be sent", PUT, "commits/", local=False),
    Point("store: a marker stored, no answer", PUT, "commits/", "after", local=False),
    Point("store: a manifest about to be sent", PUT, "manifests/", local=False),
    Point("store: a manifest stored, no answer", PUT, "manifests/", "after", local=False),
)


def by_name(name: str) -> Point:
    """The point of that name.

    Raises:
        KeyError: there is none.
    """
    return {p.name: p for p in POINTS}[name]


def arm(point: Point, occurrence: int, act: Callable[[], None]) -> None:
    """Wrap what the point is about in this process, so that `act` happens when it is passed for the n-th time."""
    module, _, attribute = point.call.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = attribute.split(".")
    for cls in classes:
        owner = getattr(owner, cls)
    original = getattr(owner, name)
    passed = 0

    def wrapped(*what: Any, **how: Any) -> Any:
        nonlocal passed
        hit = not point.path or any(point.path in str(w) for w in what if isinstance(w, (str, Path)))
        passed += hit
        if not hit or passed != occurrence:
            return original(*what, **how)
        if point.when == "before":
            act()
        if point.when == "half":
            target, data = what
            with Path(target).open("wb") as file:
                file.write(data[: len(data) // 2])
            act()
        result = original(*what, **how)
        if point.when == "after":
            act()
        return result

    setattr(owner, name, wrapped)


def die() -> None:
    """End this process as the kernel ends one for want of memory: at once, without a word."""
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    """Stop this process until somebody lets it go on."""
    os.kill(os.getpid(), signal.SIGSTOP)


def copy_half(act: Callable[[], None]) -> None:
    """Have the copy from a scratch folder on another file system end half-way."""

    def copyfile(source: Any, target: Any, **_: Any) -> Any:
        data = Path(source).read_bytes()
        Path(target).write_bytes(data[: len(data) // 2])
        act()
        raise AssertionError("unreachable: the process is gone")

    shutil.copyfile = copyfile
