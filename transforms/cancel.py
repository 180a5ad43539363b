"""Asking a build to stop, on any engine and any store: a request in the corpus that workers look for between shards.

Requests of a plan are numbered and created once, never deleted. A build notes at its start how many there are and obeys
only later ones, so that a new build goes on after a cancelled one, while workers of the old one that are still alive
stop all the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from mdfp import canonical
from mdfp.errors import CancelledError
from transforms import commit
from transforms.store import CorpusStore

FOLDER = "telemetry/cancel"

Mode = Literal["finish", "now"]
"""`finish`: workers end the shard they are at. `now`: the driver ends the engine's job as well."""


@dataclass(frozen=True)
class CancelWatch:
    """What a build looks for. Plain values: it travels to workers.

    Attributes:
        known: (folder of a plan, number of requests there were when the build came to it), of each revision.
    """

    known: tuple[tuple[str, int], ...] = ()

    def also(self, store: CorpusStore, plan: str) -> CancelWatch:
        """The watch that looks for requests about one more plan, later than those that are there now.

        Args:
            store: the corpus.
            plan: the plan's folder; call this before it becomes the newest plan.
        """
        return CancelWatch((*self.known, (plan, count(store, plan))))

    def request(self, store: CorpusStore) -> Mode | None:
        """The mode of a request that came after the build began, or None. One HEAD for each revision."""
        for plan, number in self.known:
            path = request_path(plan, number + 1)
            if store.exists(path):
                return "now" if json.loads(store.read(path)).get("mode") == "now" else "finish"
        return None

    def check(self, store: CorpusStore) -> None:
        """Raise when a request is there.

        Raises:
            CancelledError: it is.
        """
        if self.request(store) is not None:
            raise CancelledError("the build was cancelled; every shard that was committed stays")


def request_path(plan: str, number: int) -> str:
    """Where a request lies below the corpus."""
    return f"{FOLDER}/{plan.removeprefix('plans/')}-{number:03d}.json"


def count(store: CorpusStore, plan: str) -> int:
    """How many requests a plan has."""
    start = f"{FOLDER}/{plan.removeprefix('plans/')}-"
    return sum(o.path.startswith(start) for o in store.list(FOLDER))


def ask(store: CorpusStore, plan: str, mode: Mode) -> int:
    """Make a request; returns its number.

    Args:
        store: the corpus.
        plan: folder of the plan whose builds are to stop.
        mode: see `Mode`.
    """
    number = count(store, plan) + 1
    while not commit.create_bytes(canonical.pretty({"mode": mode, "plan": plan}), store, request_path(plan, number)):
        number += 1
    return number
