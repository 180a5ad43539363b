"""One simulated history of a corpus: what happens, to whom and in which order is a function of a seed.

python -m tests.kills.simulate 17            the history of seed 17, told
python -m tests.kills.simulate 1000:2000     a thousand histories
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from mdfp import manifest as manifests
from mdfp.errors import MdfpError
from mdfp.tar import TarMember, TarWriter
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.repair import repair
from tests.kills import invariants, world
from tests.kills.fake_store import CALM, STORES, STORM, FakeStore, Weather
from tests.kills.invariants import CORPUS
from tests.kills.remembered import forget, remembered
from tests.kills.scheduler import Actor, Killed, Scheduler, StuckError, current_actor, inherited
from transforms import probe
from transforms import shard as shards
from transforms.build_shards import BuildShardFn
from transforms.plan.planner import Selection

KINDS = ("one", "race", "rivals", "upgrade", "rot")
"""What the drivers of a history are about."""

BUNDLE_ATTEMPTS = 3
"""How often an engine gives a failed piece of work to another worker."""


@dataclass(frozen=True)
class Scenario:
    """What a history is made of.

    Attributes:
        kind: `one` driver; a `race` of two with one plan; `rivals` with different plans for one number; an `upgrade` of
            the code in the middle; `rot`: a published corpus is damaged and repaired.
        weather: of the store.
        killing: chance that an actor is killed at some call.
        stalling: chance that a worker is given up while it lives, and goes on when everybody else has finished.
        full: chance, per member of a tar, that scratch is full.
        sources_down: chance that a read of a source's bucket is refused: more often than any retry can bear.
        unstable: whether no two builds of a shard give the same bytes.
        honours: whether the store refuses to create what is there; one that does not is accepted for one driver at a time.
    """

    kind: str
    weather: Weather = CALM
    killing: float = 0.5
    stalling: float = 0.2
    full: float = 0.0
    sources_down: float = 0.0
    unstable: bool = False
    honours: bool = True

    @property
    def one_plan(self) -> bool:
        """Whether all drivers have one plan, so that what comes out is known to the byte."""
        return self.kind in ("one", "race") and not self.unstable


def scenario_of(seed: int) -> Scenario:
    """The scenario of a seed: all kinds in turn, in all weathers."""
    kind = KINDS[seed % len(KINDS)]
    odd = seed // len(KINDS)
    return Scenario(
        kind=kind,
        weather=STORM if odd % 3 else CALM,
        full=0.03 if odd % 4 == 1 else 0.0,
        sources_down=0.6 if odd % 5 == 2 else 0.0,
        unstable=odd % 11 == 7 and kind != "rot",  # what is not deterministic cannot be repaired
        honours=odd % 7 != 3 or kind != "one",
    )


@dataclass
class History:
    """How it went.

    Attributes:
        seed: of it.
        scenario: what it was made of.
        violations: what did not hold; nothing, if all is well.
        kills: by the kind of call they struck.
        faults: of the store, by kind.
        points: at which another actor could have moved.
        trace: digest of who did what in which order.
        shards: sha256 of the published shards, by path.
    """

    seed: int
    scenario: Scenario
    violations: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    points: int = 0
    trace: str = ""
    shards: dict[str, str] = field(default_factory=dict)


class Simulation:
    """The world of one history."""

    def __init__(self, seed: int, scenario: Scenario, scratch: Path):
        self.name = f"w{seed}"
        self.scenario = scenario
        self.scratch = scratch
        self.store = FakeStore(seed, honours=scenario.honours)
        for source, files in world.contents().items():
            self.store.objects.update({f"raw/{source}/{name}": data for name, data in files.items()})
        self.watch = invariants.Watch(self.store)
        self.scheduler = Scheduler(seed, self._turn)
        self.random = self.scheduler.random
        self.fleet = world.PIXEL_VERSION
        self.peaceful = False
        self.history = History(seed, scenario)

    @property
    def url(self) -> str:
        """Of the corpus."""
        return f"sim://{self.name}/{CORPUS}"

    def tell(self) -> History:
        """Let it happen: trouble, then peace, then the check."""
        STORES[self.name] = self.store
        self.store.scheduler = self.scheduler
        try:
            self._happen()
        except StuckError as error:
            self.history.violations.append(str(error))
        finally:
            self.store.scheduler = None
            world.run_version(world.PIXEL_VERSION)
        if not self.history.violations:
            self.history.violations += invariants.check(self.store, self.url)
        self.history.violations += self.watch.violations
        if not self.history.violations:
            self.history.shards = invariants.shards_of(self.store)
        self.history.kills, self.history.faults = self.store.kills, self.store.faults
        self.history.points = self.scheduler.points
        self.history.trace = self.scheduler.trace.hexdigest()[:16]
        del STORES[self.name]
        return self.history

    def _happen(self) -> None:
        kind = self.scenario.kind
        if kind == "rot":
            self._in_peace("first", lambda: self._drive(Selection()))
            if self.history.violations:
                return
            self.rot()
        self.store.weather = self.scenario.weather
        self.store.sources_down = self.scenario.sources_down
        if kind == "rot":
            for _ in range(2):
                self._mortal("repairer", self._repair, calls=60)
        elif kind == "rivals":
            self._mortal("driver", lambda: self._operate(Selection(only=("a",))))
            self._mortal("driver", lambda: self._operate(Selection(only=("b", "a-2", "a-3"))))
        else:
            for _ in range(1 if kind == "one" else 2):
                self._mortal("driver", lambda: self._operate(Selection()))
        if kind == "upgrade":
            self.scheduler.spawn("operator", self._upgrade)
        # Whoever was given up comes back when the others have ended: before the last driver, or after everything.
        early = self.random.random() < 0.5
        self.scheduler.run(wake=early)
        self.store.weather, self.store.sources_down = CALM, 0.0
        self.peaceful = True
        self._in_peace("last", lambda: self._drive(Selection()))
        self.scheduler.run()
        if kind == "rot":
            self._in_peace("repairer", self._repair)

    def _in_peace(self, name: str, action: Callable[[], object]) -> None:
        """One that nothing happens to must reach its end."""
        was, self.peaceful = self.peaceful, True
        actor = self.scheduler.spawn(name, action, self.fleet)
        self.scheduler.run(wake=False)
        self.peaceful = was
        if actor.error is not None:
            self.history.violations.append(f"in peace: {type(actor.error).__name__}: {actor.error}")

    def _mortal(self, name: str, action: Callable[[], object], calls: int = 160) -> Actor:
        actor = self.scheduler.spawn(name, action, self.fleet)
        if not self.peaceful and self.random.random() < self.scenario.killing:
            actor.kill_at = self.random.randrange(1, calls)
            actor.kill_after = self.random.random() < 0.5
        return actor

    def _turn(self, actor: Actor) -> None:
        world.run_version(actor.pixel_version, actor.name.encode() if self.scenario.unstable else b"")

    def _operate(self, selection: Selection) -> None:
        """Run a driver, and run it again when it fails, as its message says."""
        actor, _ = current_actor()
        assert actor is not None
        for _ in range(3):
            actor.pixel_version = self.fleet  # whoever starts again starts the code that is installed now
            world.run_version(actor.pixel_version, actor.name.encode() if self.scenario.unstable else b"")
            try:
                self._drive(selection)
            except (MdfpError, OSError, ValueError):
                continue
            return

    def _drive(self, selection: Selection) -> None:
        space = world.workspace(self.url, f"sim://{self.name}/raw", guarded=self.scenario.honours)
        options = BuildOptions(scratch=self.scratch, attempts=3, max_holes=0.9)
        finished = runs.run(space, selection, FakeEngine(self), options, world.CONSOLE)  # type: ignore[arg-type]
        if finished is not None:
            self._said(finished.published.manifest)

    def _said(self, manifest: manifests.Manifest) -> None:
        """A driver that says that it published has."""
        path = f"{CORPUS}/{manifests.manifest_path(manifest.number)}"
        if self.store.objects.get(path) != manifests.dump(manifest):
            self.history.violations.append(f"a driver said that it published {path}, and did not")

    def _repair(self) -> None:
        space = world.workspace(self.url, f"sim://{self.name}/raw", guarded=self.scenario.honours)
        done = repair(space, BuildOptions(scratch=self.scratch, attempts=3), deep=True, console=world.CONSOLE)
        if self.peaceful and done.lost:
            self.history.violations.append(f"not repaired: {done.lost}")

    def rot(self) -> None:
        """Damage published shards, as disks and people do."""
        published = [p for p in self.watch.named if p.startswith("shards/")]
        for path in self.random.sample(published, 2):
            data = self.store.objects[f"{CORPUS}/{path}"]
            what = self.random.randrange(3)
            if what == 0:
                del self.store.objects[f"{CORPUS}/{path}"]
            else:
                self.store.objects[f"{CORPUS}/{path}"] = data[:-700] if what == 1 else data[:700] + b"?" + data[701:]

    def _upgrade(self) -> None:
        actor, _ = current_actor()
        assert actor is not None
        for _ in range(self.random.randrange(1, 60)):
            self.scheduler.point(actor, "the day goes on")
        self.fleet += 1


@dataclass(frozen=True)
class FakeEngine:
    """Gives shard numbers to workers as engines do: at least once, sometimes to two at a time, again when one fails."""

    simulation: Simulation
    workers: int = 2
    local: bool = False
    stop: Callable[[], bool] | None = None

    def run(self, build: Callable[[Any], object], **_: object) -> None:
        """Run a graph of numbers and one transform over them."""
        build(_Graph(self._shards))

    def _shards(self, numbers: list[int], transform: Any) -> None:
        s = self.simulation
        driver, _ = current_actor()
        assert driver is not None
        todo = list(numbers)
        for attempt in range(BUNDLE_ATTEMPTS):
            bundles = [todo[n :: s.random.randrange(1, 4)] for n in range(3)]
            if not s.peaceful and s.random.random() < 0.3:
                bundles.append(s.random.sample(todo, min(2, len(todo))))  # speculation: the same work twice at a time
            done: set[int] = set()
            crew = [s._mortal("worker", self._work(transform, b, done), calls=30) for b in bundles if b]
            for worker in crew:
                worker.stalled = not s.peaceful and s.random.random() < s.scenario.stalling
            try:
                s.scheduler.join(driver, crew)
            except Killed:
                if s.random.random() < 0.5:  # workers on this machine go with their driver, others do not notice
                    for worker in crew:
                        s.scheduler.kill(worker)
                raise
            todo = [n for n in todo if n not in done]
            if not todo:
                return
            if attempt + 1 == BUNDLE_ATTEMPTS:
                errors = [w.error for w in crew if w.error is not None]
                raise OSError(errno.EIO, f"shards {todo} failed {BUNDLE_ATTEMPTS} times: {errors}")

    @staticmethod
    def _work(transform: Any, numbers: list[int], done: set[int]) -> Callable[[], None]:
        def work() -> None:
            function = BuildShardFn(transform)
            function.setup()
            for number in numbers:
                list(function.process(number))
                done.add(number)

        return work


class _Graph:
    """What a driver's graph comes to without Beam: the elements of a `Create`, handed to what follows it."""

    def __init__(self, then: Callable[[list[int], Any], None], values: list[int] | None = None):
        self._then, self._values = then, values

    def __or__(self, step: Any) -> Any:
        step = getattr(step, "transform", step)
        if self._values is None:
            return _Graph(self._then, list(step.values))
        return self._then(self._values, step)


class FillingTarWriter(TarWriter):
    """The tar writer, on a disk that is full now and then."""

    chance = 0.0
    luck: Callable[[], float] = staticmethod(lambda: 1.0)

    def add(self, name: str, data: bytes) -> TarMember:
        if type(self).luck() < type(self).chance:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().add(name, data)


@contextlib.contextmanager
def prepared() -> Iterator[Path]:
    """While the body runs, histories can be told; gives a scratch folder. Sleeping costs no time, and
    what is named by chance is named by who names it."""
    sleep = time.sleep
    usage = SimpleNamespace(free=1 << 40)

    def pass_time(seconds: float) -> None:
        actor, helps = current_actor()
        if actor is None:
            sleep(seconds)
        elif not helps:
            pass

    chance = uuid.uuid4

    def named() -> uuid.UUID:
        actor, _ = current_actor()
        if actor is None:
            return chance()
        actor.names += 1
        return uuid.uuid5(uuid.NAMESPACE_URL, f"{actor.name}/{actor.names}")

    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="mdfp-kills-", dir=memory if memory.is_dir() else None)
    logging.getLogger("mdfp").setLevel(logging.CRITICAL)
    with world.cheap(), remembered(), inherited(), contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(time, "sleep", pass_time))
        stack.enter_context(mock.patch.object(uuid, "uuid4", named))
        stack.enter_context(mock.patch.object(shutil, "disk_usage", return_value=usage))
        stack.enter_context(mock.patch.object(shards, "TarWriter", FillingTarWriter))
        try:
            yield Path(folder)
        finally:
            shutil.rmtree(folder)


def tell(seed: int, scratch: Path, scenario: Scenario | None = None) -> History:
    """The history of a seed; within `prepared`."""
    forget()
    probe._found.clear()  # each actor is a process of its own, and each history a new store
    simulation = Simulation(seed, scenario or scenario_of(seed), scratch)
    FillingTarWriter.chance = simulation.scenario.full
    FillingTarWriter.luck = lambda: 1.0 if simulation.peaceful else simulation.random.random()
    history = simulation.tell()
    if simulation.scenario.one_plan and not history.violations and history.shards != undisturbed(scratch):
        history.violations.append(f"the shards are not those of an undisturbed build: {history.shards}")
    return history


UNDISTURBED = Scenario("one", killing=0.0, stalling=0.0)
_undisturbed: dict[int, dict[str, str]] = {}


def undisturbed(scratch: Path) -> dict[str, str]:
    """sha256 of the shards of a corpus that nothing happened to while it was built."""
    if 0 not in _undisturbed:
        _undisturbed[0] = {}
        _undisturbed[0] = Simulation(0, UNDISTURBED, scratch).tell().shards
    return _undisturbed[0]


def describe(history: History) -> str:
    """A history for people."""
    lines = [f"seed {history.seed}: {history.scenario}", f"  {history.points} points, trace {history.trace}"]
    lines += [f"  killed {what}" for what in sorted(history.kills)]
    lines += [f"  store: {n} {what}" for what, n in sorted(history.faults.items())]
    lines += [f"  VIOLATION {v}" for v in history.violations] or ["  all holds"]
    return "\n".join(lines)


def failures(seeds: Iterable[int]) -> list[tuple[int, str]]:
    """Seeds whose histories violate something, with their descriptions: a piece of work for one process."""
    with prepared() as scratch:
        histories = [tell(seed, scratch) for seed in seeds]
        return [(h.seed, describe(h)) for h in histories if h.violations]


def main(words: list[str]) -> int:
    """Tell the histories of some seeds."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.kills.simulate", *words], os.environ | {"PYTHONHASHSEED": "0"}
        )
    bad = 0
    with prepared() as scratch:
        for word in words:
            first, colon, last = word.partition(":")
            for seed in range(int(first), int(last) if colon else int(first) + 1):
                history = tell(seed, scratch)
                bad += bool(history.violations)
                if history.violations or not colon:
                    sys.stdout.write(f"{describe(history)}\n")
    sys.stdout.write(f"{bad} violated\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
