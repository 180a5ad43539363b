"""How far a build is: commit markers counted against the plan, on any store, while a run goes on anywhere.

Two listings (markers and shards), the plan's list of shards, and the markers that were not read before: nothing is asked
of an engine, so that it works for one that runs elsewhere, or died.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from mdfp import manifest as manifests
from pipelines import drift
from pipelines.cache import cache_file
from pipelines.console import Console, duration, megabytes
from transforms import cancel
from transforms.plan import files
from transforms.plan.published import newest_number
from transforms.plan.shard_list import planned_shards
from transforms.progress import Speed, progress
from transforms.store import CorpusStore
from transforms.tally import Tallies, Tally


@dataclass(frozen=True)
class Status:
    """Where a corpus stands.

    Attributes:
        stage: what is going on or comes next: inventory, plan, build, publish, or published.
        plan_id, revision, generation: of the newest plan; None and 0 when there is none.
        shards_planned, shards_done, cases_planned, cases_done: of that plan; holes are done.
        samples, bytes, holes: of its committed shards; holes by reason.
        damaged: committed shards whose tar is not there in full length.
        published: number of the newest manifest; 0: nothing is published.
        plan_published: whether that manifest is of this very plan.
        speed: see `transforms.progress`.
        cancel_requests: how often somebody asked builds of this plan to stop.
        changed_sources: published cases whose source objects changed or disappeared, by what happened.
    """

    stage: str
    plan_id: str | None = None
    revision: int = 0
    generation: int = 0
    shards_planned: int = 0
    shards_done: int = 0
    cases_planned: int = 0
    cases_done: int = 0
    samples: int = 0
    bytes: int = 0
    holes: dict[str, int] = field(default_factory=dict)
    damaged: int = 0
    published: int = 0
    plan_published: bool = False
    speed: Speed | None = None
    cancel_requests: int = 0
    changed_sources: dict[str, int] = field(default_factory=dict)

    @property
    def next_step(self) -> str:
        """The command to run now."""
        if self.plan_id is None:
            return "plan" if self.stage == "plan" else "inventory, then plan"
        if self.plan_published:
            return "repair" if self.damaged or self.shards_done < self.shards_planned else "nothing: all is published"
        return "build" if self.shards_done < self.shards_planned else "publish"


class Watcher:
    """Looks at one corpus again and again; what a marker said is remembered."""

    def __init__(self, corpus: CorpusStore, now: Callable[[], float] = time.time):
        self._corpus = corpus
        self._now = now
        self._tallies = Tallies(corpus, None if corpus.folder else cache_file("status", corpus.root))

    def look(self) -> Status:
        """Count once."""
        corpus = self._corpus
        published = newest_number(corpus)
        base = files.latest(corpus)
        if base is None:
            return Status(_stage_before_plan(corpus), published=published)
        header = files.read_header(corpus, base)
        planned = planned_shards(corpus, base)
        wanted = {s.marker for s in planned}
        listed = [o for o in corpus.list("commits") if o.path in wanted]
        sizes = {o.path: o.bytes for o in corpus.list("shards")}
        tallies = self._tallies.of(listed)
        sound = [t for t in tallies if t.tar is None or sizes.get(t.tar) == t.bytes]
        now = self._now()
        times = {o.path: now if o.modified is None else o.modified for o in listed}
        counted = progress(planned, {t.marker: times[t.marker] for t in sound}, now)
        plan_published = published > 0 and _plan_of(corpus, published) == header["plan_id"]
        done = counted.shards_done == counted.shards_planned
        return Status(
            stage="published" if plan_published else "publish" if done else "build",
            plan_id=header["plan_id"],
            revision=header["revision"],
            generation=header["generation"],
            shards_planned=counted.shards_planned,
            shards_done=counted.shards_done,
            cases_planned=counted.cases_planned,
            cases_done=counted.cases_done,
            samples=sum(t.samples for t in sound),
            bytes=sum(t.bytes for t in sound),
            holes=_holes(sound),
            damaged=len(tallies) - len(sound),
            published=published,
            plan_published=plan_published,
            speed=None if plan_published else counted.speed,
            cancel_requests=cancel.count(corpus, base),
            changed_sources=drift.counts(corpus),
        )


def status(corpus: CorpusStore) -> Status:
    """Count markers against the newest plan, once."""
    return Watcher(corpus).look()


def _holes(tallies: list[Tally]) -> dict[str, int]:
    reasons: Counter[str] = Counter()
    for t in tallies:
        for h in t.holes:
            reasons[h.reason] += h.count
    return dict(sorted(reasons.items()))


def _stage_before_plan(corpus: CorpusStore) -> str:
    return "plan" if corpus.exists("inventory/LATEST") else "inventory"


def _plan_of(corpus: CorpusStore, number: int) -> str:
    path = manifests.manifest_path(number)
    return manifests.parse(corpus.read(path), corpus.url(path)).plan_id


def describe(found: Status, console: Console) -> None:
    """Print a status for people."""
    if found.plan_id is None:
        console.say(f"no plan yet; stage: {found.stage}")
    else:
        console.say(
            f"plan {found.plan_id[:12]} (generation {found.generation}, revision {found.revision}), stage: {found.stage}"
        )
        console.say(line(found))
    for reason, count in found.holes.items():
        console.say(f"  hole: {count} × {reason}")
    if found.damaged:
        console.say(f"  {found.damaged} committed shards are not there in full length")
    for what, count in found.changed_sources.items():
        console.say(f"  sources: {count} published cases {what}")
    if found.cancel_requests and not found.plan_published:
        console.say(f"  cancelled {found.cancel_requests} times; build goes on where it stopped")
    console.say(
        f"published: {f'manifest {found.published}' if found.published else 'nothing yet'}; next: {found.next_step}"
    )


def line(found: Status) -> str:
    """Shards, cases, bytes, speed and end, in one line."""
    parts = [
        f"{found.shards_done} of {found.shards_planned} shards",
        f"{found.cases_done} of {found.cases_planned} cases",
        megabytes(found.bytes),
    ]
    if found.speed is not None:
        parts.append(
            f"{found.speed.cases_per_hour:.0f} cases an hour (about {found.speed.work_per_second:.1f} workers)"
        )
        parts.append(f"last shard {duration(found.speed.idle_s)} ago")
        if found.speed.eta_s is not None:
            parts.append(f"about {duration(found.speed.eta_s)} left")
        elif found.shards_done < found.shards_planned:
            parts.append("nothing was committed for long: is it still running?")
    return ", ".join(parts)


def watch(watcher: Watcher, every_s: float, console: Console) -> Status:
    """Print a line whenever something changed, until nothing is left to build.

    Args:
        watcher: of the corpus.
        every_s: seconds between two looks.
        console: where lines go.
    """
    last = ""
    while True:
        found = watcher.look()
        if (text := line(found)) != last and found.plan_id is not None:
            console.say(text)
            last = text
        if found.next_step not in ("build", "plan", "inventory, then plan"):
            return found
        time.sleep(every_s)
