"""Real processes, really killed: each death is followed by a look at what is visible, a resume, and a comparison."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mdfp
from mdfp.errors import NoCorpusError
from mdfp.store import CorpusStore as Reader
from mdfp.verify import verify
from tests.kills import writer
from tests.kills.points import POINTS, Point
from tests.kills.writer import FAILED, Order, ended, start
from transforms.commit import PART_PREFIX

EQUAL = ("shards", "manifests", "index", "rejects")
"""Folders of a corpus that must be equal however it came about."""

AT_ANY_MOMENT = "at a random moment"


@dataclass(frozen=True)
class Death:
    """One kill and what came of it.

    Attributes:
        point: where.
        killed: whether a process really died of it.
        violations: what did not hold.
    """

    point: str
    killed: bool
    violations: tuple[str, ...]


class Ground:
    """A folder in which writers are killed, and what an undisturbed one makes.

    Args:
        folder: empty.
        corpus: gives the URL or folder of a new corpus of that name; None: a folder beside.
        environment: for writers.
    """

    def __init__(
        self, folder: Path, corpus: Callable[[str], str] | None = None, environment: dict[str, str] | None = None
    ):
        self.folder = folder
        self.environment = environment or {}
        self.remote = corpus is not None
        self._corpus = corpus or (lambda name: str(folder / name))
        self._made = 0
        writer.write_sources(folder / "raw")
        first = self.new()
        status = ended(start(first))
        if status:
            raise RuntimeError(f"an undisturbed build ended with {status}")
        self.expected = self.digests(first.corpus)

    def new(self, **what: object) -> Order:
        """An order for a new corpus."""
        self._made += 1
        scratch = self.folder / f"scratch-{self._made}"
        scratch.mkdir()
        made = Order(
            self._corpus(f"corpus-{self._made}"), str(self.folder / "raw"), str(scratch), environment=self.environment
        )
        return again(made, **what)

    def digests(self, corpus: str) -> dict[str, str]:
        """sha256 of everything that must be equal."""
        return {
            path: hashlib.sha256(data).hexdigest()
            for path, data in self._files(corpus)
            if path.startswith(EQUAL) and PART_PREFIX not in path
        }

    def _files(self, corpus: str) -> Iterator[tuple[str, bytes]]:
        store = Reader(corpus)
        base = store._root.rstrip("/")
        for name in sorted(store._fs.find(base)):
            path = str(name)[len(base) :].lstrip("/")
            yield path, store.read(path)

    def visible(self, corpus: str) -> Iterator[str]:
        """What is wrong with what a reader can see, whatever state the corpus is in."""
        with contextlib.suppress(FileNotFoundError):
            for path, data in self._files(corpus):
                name = path.rsplit("/", 1)[-1]
                if name.startswith(PART_PREFIX):
                    continue
                if path.startswith(("shards/", "rows/")):
                    said = name.rsplit("-", 1)[-1].partition(".")[0]
                    if not hashlib.sha256(data).hexdigest().startswith(said):
                        yield f"{path}: its bytes are not those that its name says"
                elif path.startswith(("commits/", "manifests/")) or name == "plan.json":
                    try:
                        json.loads(data)
                    except ValueError:
                        yield f"{path}: half a file"
            with contextlib.suppress(NoCorpusError):
                yield from (f"verify: {fault}" for fault in verify(mdfp.open(corpus), quick=True))

    def finished(self, order: Order) -> Iterator[str]:
        """Resume without trouble; what differs from an undisturbed build then."""
        status = ended(start(again(order, point=None, half_copies=False, blind=False, only=())))
        if status:
            yield f"a resume ended with {status}"
        found = self.digests(order.corpus)
        for path in sorted({*found, *self.expected}):
            if found.get(path) != self.expected.get(path):
                yield f"{path}: expected {self.expected.get(path)}, found {found.get(path)}"
        yield from self.visible(order.corpus)


def again(order: Order, **what: object) -> Order:
    """The same order with some fields changed."""
    return Order(**{**order.__dict__, **what})  # type: ignore[arg-type]


def deaths(ground: Ground, rounds: tuple[int, ...] = (1, 2, 3)) -> Iterator[Death]:
    """Kill a writer at every point, the first, second, … time that it passes."""
    for point in POINTS:
        if not (point.remote if ground.remote else point.local):
            continue
        for occurrence in rounds:
            one = death(ground, point, occurrence)
            if one.killed or occurrence == 1:
                yield one
            if not one.killed:
                break
    if not ground.remote:
        yield _judged(
            ground, ground.new(half_copies=True, scratch=_elsewhere(ground)), "scratch: half of a copy to another disk"
        )


def _elsewhere(ground: Ground) -> str:
    """A scratch folder on another file system than the corpus, so that files cannot be linked."""
    for candidate in (Path("/dev/shm"), Path("/tmp"), Path.home()):
        if candidate.is_dir() and candidate.stat().st_dev != ground.folder.stat().st_dev:
            folder = candidate / f"mdfp-kills-{os.getpid()}"
            folder.mkdir(exist_ok=True)
            return str(folder)
    raise RuntimeError("this machine has one file system only")


def death(ground: Ground, point: Point, occurrence: int) -> Death:
    """Kill a writer at a point, look, resume, compare."""
    return _judged(ground, ground.new(point=point.name, occurrence=occurrence), point.name)


def _judged(ground: Ground, order: Order, name: str, status: int | None = None) -> Death:
    status = ended(start(order)) if status is None else status
    found = [] if status in (0, -signal.SIGKILL) else [f"a writer ended with {status}"]
    found += ground.visible(order.corpus)
    found += ground.finished(order)
    return Death(name, status == -signal.SIGKILL, tuple(found))


def deaths_at_any_moment(ground: Ground, count: int, seed: int = 0) -> Iterator[Death]:
    """Kill writers from outside, after a random part of the time that one takes which is let be."""
    began = time.monotonic()
    ended(start(ground.new()))
    span = time.monotonic() - began
    luck = random.Random(seed)
    for _ in range(count):
        order = ground.new()
        process = start(order)
        time.sleep(luck.uniform(0, span))
        process.kill()
        yield _judged(ground, order, AT_ANY_MOMENT, ended(process))


def race(ground: Ground) -> Death:
    """Two writers on one plan at once."""
    order = ground.new()
    both = [start(order), start(again(order, scratch=ground.new().scratch))]
    found = [f"a writer ended with {s}" for s in (ended(p) for p in both) if s]
    return Death("two writers, one plan", False, (*found, *ground.visible(order.corpus), *ground.finished(order)))


def rivals(ground: Ground) -> Death:
    """Two writers with different plans for one manifest number: every case is published once."""
    order = ground.new(only=("a",))
    both = [start(order), start(again(order, scratch=ground.new().scratch, only=("b",)))]
    found = [f"a writer ended with {s}" for s in (ended(p) for p in both) if s]
    status = ended(start(again(order, only=())))
    found += [f"a resume ended with {status}"] if status else []
    found += ground.visible(order.corpus)
    corpus = mdfp.open(order.corpus)
    keys = [s.key for s in corpus.samples]
    wanted = {f"{s}-{n}" for s, n in [*(("a", n) for n in range(7) if n != 4), *(("b", n) for n in range(7, 12))]}
    if len(set(keys)) != len(keys) or not set(keys) <= wanted or len(wanted) - len(keys) != 1:
        found.append(f"expected one of each of {sorted(wanted)} but for a twin, found {sorted(keys)}")
    return Death("two writers, two plans, one number", False, tuple(found))


def zombie(ground: Ground, point: str = "shard: rows visible, no marker") -> Death:
    """A writer that stops in the middle, and goes on when another one has published."""
    order = ground.new(point=point, happens="stop")
    sleeper = start(order)
    assert sleeper.pid is not None
    _until(lambda: _state(int(sleeper.pid or 0)) == "T")
    found = list(ground.finished(order))
    before = ground.digests(order.corpus)
    os.kill(sleeper.pid, signal.SIGCONT)
    status = ended(sleeper)
    if status:
        found.append(f"the one that came back ended with {status}")
    if ground.digests(order.corpus) != before:
        found.append("the one that came back changed what was published")
    return Death(f"comes back after publish: {point}", False, (*found, *ground.visible(order.corpus)))


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _until(holds: Callable[[], bool], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("a writer did not come to the point at which it should stop")
        time.sleep(0.02)


@contextlib.contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Path]:
    """A file system of a few kilobytes, where this process may mount one.

    Raises:
        PermissionError: it may not.
    """
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        folder.rmdir()
        raise PermissionError("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def full_scratch(ground: Ground, *, blind: bool) -> Death:
    """Scratch is a file system too small for any shard; `blind`: it fills up while a tar is being written."""
    order = ground.new(blind=blind)
    with small_disk(ground.folder / "small", 4) as small:
        status = ended(start(again(order, scratch=str(small))))
        found = [] if status == FAILED else [f"a writer with a full scratch ended with {status}, expected {FAILED}"]
        said = Path(f"{small}.error").read_text()
        if ("ScratchFullError" in said) == blind:
            found.append(f"a writer with a full scratch said {said!r}")
    found += ground.visible(order.corpus)
    name = "scratch fills up under a tar" if blind else "scratch is full"
    return Death(name, False, (*found, *ground.finished(order)))


def full_corpus(ground: Ground) -> Death:
    """The corpus's own disk is full in the middle; then it is made larger."""
    with small_disk(ground.folder / "corpus-disk", 300) as small:
        order = ground.new(corpus=str(small / "corpus"))
        status = ended(start(order))
        found = [] if status == FAILED else [f"a writer to a full disk ended with {status}, expected {FAILED}"]
        found += ground.visible(order.corpus)
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        found += ground.finished(order)
    return Death("the corpus's disk is full", False, tuple(found))


def repairs(ground: Ground, kills: tuple[tuple[str, int], ...] = ()) -> Iterator[Death]:
    """Damage published shards and kill the repair half-way."""
    points = kills or (
        ("shard: a case fetched", 1),
        ("shard: tar half written on scratch", 1),
        ("repair: half of a copy", 1),
    )
    for name, occurrence in points:
        order = ground.new()
        if status := ended(start(order)):
            yield Death(f"repair, {name}", False, (f"a build ended with {status}",))
            continue
        damaged = [Path(order.corpus) / p for p in ground.expected if p.startswith("shards/")][:2]
        damaged[0].unlink()
        damaged[1].write_bytes(damaged[1].read_bytes()[:-700])
        mend = again(order, job="repair")
        half = name.startswith("repair:")
        status = ended(start(again(mend, half_copies=half, point=None if half else name, occurrence=occurrence)))
        found = [] if status == -signal.SIGKILL else [f"a repair ended with {status}, expected to be killed"]
        for path in damaged:
            if (
                path.exists()
                and path != damaged[1]
                and ground.expected[str(path.relative_to(order.corpus))] != _sha256(path)
            ):
                found.append(f"{path.name}: half repaired under its own name")
        if status := ended(start(mend)):
            found.append(f"a second repair ended with {status}")
        yield Death(f"repair, {name}", True, (*found, *ground.finished(order)))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
