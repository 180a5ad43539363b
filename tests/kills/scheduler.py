"""Actors that take turns: real code on real threads, of which one moves at a time, and a seed says which.

Every call to the fake store is a point at which another actor may go on. An actor that is killed gets no further: what
its `finally` clauses would still do to the store is refused, as a process that is gone can do nothing.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from unittest import mock

STUCK_S = 60.0
"""Seconds of real time after which an actor that reaches no point is taken for stuck."""

LONG = 300
"""Turns that a slow request takes, mostly."""

FOR_EVER = 1 << 30
"""Turns that a request takes which is not answered before nobody else can move."""


class Killed(BaseException):
    """The process that this actor stands for is gone. Not an `Exception`: no code under test may catch it."""


class StuckError(AssertionError):
    """An actor reached no point and did not end, or nobody could move."""


class _Gate:
    """A semaphore that starts at zero and counts to one: a bare lock, as it is passed a hundred thousand times."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.release = self._lock.release

    def acquire(self, timeout: float = -1) -> bool:
        return self._lock.acquire(timeout=timeout)


class Actor:
    """One process of the simulated world.

    Attributes:
        name: unique in the run.
        dead: killed; it may touch nothing any more.
        calls: calls to the store so far.
        kill_at: number of the call at which it is killed, or None.
        kill_after: whether that call still acts, its answer lost.
        naps_until: the turn until which others go first: a slow request, a pause.
        names: names it has made up so far.
        stalled: does not move while any other one can: a worker that was given up and comes back.
        error: what it ended with, or None.
        pixel_version: of the code it runs.
    """

    def __init__(self, name: str, run: Callable[[], object], pixel_version: int):
        self.name = name
        self.run = run
        self.pixel_version = pixel_version
        self.dead = False
        self.done = False
        self.calls = 0
        self.kill_at: int | None = None
        self.kill_after = False
        self.stalled = False
        self.naps_until = 0
        self.names = 0
        self.error: BaseException | None = None
        self.waits_for: Callable[[], bool] | None = None
        self.seen: dict[tuple[str, str], int] = {}
        self.go = _Gate()
        self.thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"Actor({self.name})"


class Scheduler:
    """Gives the turn, after a seed.

    Args:
        seed: of every choice.
        on_turn: called with the actor that moves next, before it does.
    """

    def __init__(self, seed: int, on_turn: Callable[[Actor], None] = lambda actor: None):
        self.random = random.Random(seed)
        self.actors: list[Actor] = []
        self.trace = hashlib.sha256()
        self.points = 0
        self.turns = 0
        self._on_turn = on_turn
        self._back = _Gate()

    def spawn(self, name: str, run: Callable[[], object], pixel_version: int = 0) -> Actor:
        """A new actor, which moves when its turn comes."""
        actor = Actor(f"{name}#{len(self.actors)}", run, pixel_version)
        self.actors.append(actor)
        actor.thread = threading.Thread(target=self._live, args=(actor,), name=actor.name, daemon=True)
        actor.thread.__dict__["actor"] = actor
        actor.thread.start()
        return actor

    def _live(self, actor: Actor) -> None:
        actor.go.acquire()
        try:
            if not actor.dead:
                actor.run()
        except BaseException as error:
            actor.error = error
        actor.done = True
        self._back.release()

    def point(self, actor: Actor, what: str, slow: float = 0.01) -> None:
        """Let others move, then go on.

        Args:
            actor: whose turn it is now.
            what: it is about to do.
            slow: chance that it takes long, so that much may happen before.

        Raises:
            Killed: this actor was killed meanwhile.
        """
        self.points += 1
        self.trace.update(f"{actor.name} {what}\n".encode())
        if not actor.dead:
            if self.random.random() < slow:
                everybody_else_first = self.random.random() < 0.3
                actor.naps_until = self.turns + (FOR_EVER if everybody_else_first else self.random.randrange(1, LONG))
            self._back.release()
            actor.go.acquire()
        if actor.dead:
            raise Killed

    def join(self, actor: Actor, others: Iterable[Actor]) -> None:
        """Wait until others have ended."""
        waited = list(others)
        actor.waits_for = lambda: all(o.done or o.stalled for o in waited)
        try:
            self.point(actor, "join")
        finally:
            actor.waits_for = None

    def kill(self, actor: Actor) -> None:
        """Kill an actor: it gets no further than where it stands."""
        actor.dead = True

    def run(self, *, wake: bool = True) -> None:
        """Give turns until everyone has ended.

        Args:
            wake: let those who are stalled go on when all others have ended; False: leave them for another time.

        Raises:
            StuckError: nobody can move.
        """
        while living := [a for a in self.actors if not a.done and (wake or not a.stalled)]:
            able = [a for a in living if a.dead or a.waits_for is None or a.waits_for()]
            moving = [a for a in able if not a.stalled] or able
            moving = [a for a in moving if a.naps_until <= self.turns] or moving
            self.turns += 1
            if not moving:
                raise StuckError(f"nobody can move: {living}")
            actor = moving[self.random.randrange(len(moving))]
            self._on_turn(actor)
            actor.go.release()
            if not self._back.acquire(timeout=STUCK_S):
                raise StuckError(f"{actor} does not come back")


def current_actor() -> tuple[Actor | None, bool]:
    """The actor whose code runs in this thread, and whether this is a helping thread of its process."""
    thread = threading.current_thread()
    actor: Actor | None = thread.__dict__.get("actor")
    return actor, thread.__dict__.get("helps", False)


@contextmanager
def inherited():
    """While the body runs, threads that an actor starts belong to it."""
    start = threading.Thread.start

    def start_as_helper(thread: threading.Thread) -> None:
        actor, _ = current_actor()
        if actor is not None and "actor" not in thread.__dict__:
            thread.__dict__["actor"], thread.__dict__["helps"] = actor, True
        start(thread)

    with mock.patch.object(threading.Thread, "start", start_as_helper):
        yield
