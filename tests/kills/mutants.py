"""The commit protocol, broken on purpose: each of these must be caught, or the simulator proves nothing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pipelines.publish
from mdfp import canonical
from schemas.reasons import Reason
from tests.kills.fake_store import STORM, Weather
from tests.kills.scheduler import current_actor
from tests.kills.simulate import Scenario
from transforms import build_shards, commit
from transforms import shard as shards
from transforms.rejected import Rejected
from transforms.store import CorpusStore
from transforms.stores.remote import Remote


@dataclass(frozen=True)
class Mutant:
    """A broken protocol, and the histories in which that shows.

    Attributes:
        breaks: replaces (object, name) by something wrong, given what was there.
        scenario: of the histories.
        seeds: histories at most until one must show it.
    """

    breaks: Callable[[], tuple[tuple[object, str, Any], ...]]
    scenario: Scenario
    seeds: int = 40

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """While the body runs, the protocol is broken."""
        with contextlib.ExitStack() as stack:
            for target, name, instead in self.breaks():
                stack.enter_context(mock.patch.object(target, name, instead))
            yield


def _late(first: str, then: str) -> tuple[tuple[object, str, Any], ...]:
    """What is to be created below `first` is created after the next creation below `then`."""
    create_bytes, create_file = commit.create_bytes, commit.create_file
    pending: dict[object, list[tuple[bytes, str]]] = {}

    def postponed(data: bytes, path: str) -> bool:
        pending.setdefault(current_actor()[0], []).append((data, path))
        return True

    def bytes_(data: bytes, store: CorpusStore, path: str) -> bool:
        if path.startswith(first):
            return postponed(data, path)
        created = create_bytes(data, store, path)
        if path.startswith(then):
            for late in pending.pop(current_actor()[0], []):
                create_bytes(late[0], store, late[1])
        return created

    def file_(file: Path, store: CorpusStore, path: str) -> bool:
        return postponed(file.read_bytes(), path) if path.startswith(first) else create_file(file, store, path)

    return (commit, "create_file", file_), (commit, "create_bytes", bytes_)


def _marker_before_tar() -> tuple[tuple[object, str, Any], ...]:
    """The marker is written first, and whoever skips looks at the marker alone."""
    size = CorpusStore.size

    def blind(self: CorpusStore, path: str) -> int | None:
        return _Whatever() if path.startswith("shards/") else size(self, path)

    return *_late("shards/", "commits/"), (CorpusStore, "size", blind)


def _manifest_before_index() -> tuple[tuple[object, str, Any], ...]:
    return _late("index/", "manifests/")


class _Whatever(int):
    """A size that is always the expected one."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


def _overwrite() -> tuple[tuple[object, str, Any], ...]:
    def create(data: bytes, store: CorpusStore, path: str) -> bool:
        commit.replace(data, store, path)
        return True

    return ((commit, "create_bytes", create),)


def _exists_is_success() -> tuple[tuple[object, str, Any], ...]:
    create_bytes = commit.create_bytes

    def create(data: bytes, store: CorpusStore, path: str) -> bool:
        create_bytes(data, store, path)
        return True

    return ((commit, "create_bytes", create),)


def _lost_answer_is_success() -> tuple[tuple[object, str, Any], ...]:
    """A repetition that finds an object takes it for its own, whatever is in it."""
    return ((Remote, "holds", lambda self, path, content: True),)


def _loser_takes_the_next_number() -> tuple[tuple[object, str, Any], ...]:
    create_bytes = commit.create_bytes

    def create(data: bytes, store: CorpusStore, path: str) -> bool:
        if path.startswith("manifests/") and store.exists(path):
            content = json.loads(data)
            content["number"] += 1
            return create(canonical.pretty(content), store, f"manifests/{content['number']:06d}.json")
        return create_bytes(data, store, path)

    # Nobody looks whether the plan was made for this number.
    return (commit, "create_bytes", create), (pipelines.publish, "newest_number", lambda store: _Fits())


class _Fits(int):
    """A number whose successor is whatever a plan was made for."""

    def __add__(self, other: int) -> int:
        return _Whatever()


def _uploads_in_pieces() -> tuple[tuple[object, str, Any], ...]:
    """A stream: the first half is visible before the second."""
    create_bytes = commit.create_bytes

    def create_file(file: Path, store: CorpusStore, path: str) -> bool:
        data = file.read_bytes()
        if not path.startswith("shards/"):
            return create_bytes(data, store, path)
        if not create_bytes(data[: len(data) // 2], store, path):
            return False
        commit.replace(data, store, path)
        return True

    return ((commit, "create_file", create_file),)


def _markers_without_fingerprints() -> tuple[tuple[object, str, Any], ...]:
    return ((shards, "marker_path", lambda shard: f"commits/{shard.shard}.json"),)


def _workers_do_not_ask() -> tuple[tuple[object, str, Any], ...]:
    """The driver alone looks whether its code is the plan's."""
    return ((build_shards, "require_same_code", lambda *_, **__: None),)


def _what_may_pass_is_a_hole() -> tuple[tuple[object, str, Any], ...]:
    fetch_case = shards.fetch_case

    def fetch(*what: Any, **how: Any) -> Any:
        try:
            return fetch_case(*what, **how)
        except OSError as error:
            raise Rejected(Reason.MISSING_FILE, str(error)) from error

    return ((shards, "fetch_case", fetch),)


RIVALS = Scenario("rivals", killing=0.0, stalling=0.0)

MUTANTS: dict[str, Mutant] = {
    "the marker is written before the tar": Mutant(_marker_before_tar, Scenario("race", killing=1.0)),
    "the manifest is written before the index": Mutant(_manifest_before_index, Scenario("one", killing=0.0), 1),
    "create overwrites": Mutant(_overwrite, RIVALS, 120),
    "what exists is taken for one's own": Mutant(_exists_is_success, RIVALS, 120),
    "a repetition does not compare": Mutant(
        _lost_answer_is_success, replace(RIVALS, weather=Weather(refused=0.4)), 120
    ),
    "who loses a number takes the next": Mutant(_loser_takes_the_next_number, RIVALS),
    "uploads are visible in pieces": Mutant(_uploads_in_pieces, Scenario("race", STORM, killing=1.0)),
    "markers have no fingerprint": Mutant(_markers_without_fingerprints, Scenario("upgrade", killing=0.5)),
    "workers do not ask which code they are": Mutant(_workers_do_not_ask, Scenario("upgrade", killing=0.5)),
    "what may pass becomes a hole": Mutant(_what_may_pass_is_a_hole, Scenario("one", killing=0.0, sources_down=0.7)),
}
