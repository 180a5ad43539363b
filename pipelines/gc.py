"""Collect garbage: find what manifests and markers do not name, and delete it when asked to.

Safe beside a running build: what it has written and not yet named is young, and what it names is looked up again right
before anything is deleted. Should a marker all the same come to name a file that goes at that very moment, the next
build or the audit before publishing finds it missing and makes it again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from mdfp import manifest as manifests
from mdfp.errors import CorpusError, MdfpError
from pipelines.cache import cache_file
from pipelines.console import Console, megabytes
from transforms import commit
from transforms.garbage import Garbage, Needed, Stored, garbage, total
from transforms.plan import files
from transforms.plan.published import newest_number
from transforms.plan.shard_list import planned_shards
from transforms.sidecar import read_marker as read_label_marker
from transforms.store import CorpusStore
from transforms.tally import Tallies
from transforms.withdrawn import FOLDER, PURGED

DAY_S = 86_400.0


class CorpusMovedError(MdfpError):
    """A plan or manifest appeared while garbage was being looked for. Nothing was deleted."""


@dataclass(frozen=True)
class Collected:
    """What was found, and whether it was deleted.

    Attributes:
        found: garbage, in the order of deletion.
        uploads: multipart uploads that nobody finished.
        deleted: whether all of it is gone now.
    """

    found: tuple[Garbage, ...]
    uploads: int
    deleted: bool

    def summary(self) -> dict[str, object]:
        """For machines."""
        sums = {kind: {"objects": n, "bytes": size} for kind, (n, size) in total(self.found).items()}
        return {"found": sums, "uploads": self.uploads, "deleted": self.deleted}


def collect(
    corpus: CorpusStore, *, older_than_days: float, delete: bool, now: Callable[[], float] = time.time
) -> Collected:
    """Find garbage, and delete it when `delete` is given.

    Args:
        corpus: where.
        older_than_days: what is younger stays, whatever it is.
        delete: False: only look.
        now: Unix time.

    Raises:
        CorpusMovedError: what must stay changed between looking and deleting.
    """
    moment = now()
    tallies = Tallies(corpus, None if corpus.folder else cache_file("status", corpus.root))
    before = _heads(corpus)
    # Objects are listed before what must stay is asked for: what is named in between stays.
    stored = [Stored(o.path, o.bytes, moment if o.modified is None else o.modified) for o in corpus.list("")]
    found = garbage(stored, needed(corpus, tallies), older_than_s=older_than_days * DAY_S, now=moment)
    uploads = [u for u in corpus.unfinished() if u.begun < moment - older_than_days * DAY_S]
    if delete:
        again = needed(corpus, tallies)
        if _heads(corpus) != before:
            raise CorpusMovedError(
                f"{corpus.root}: another plan or manifest appeared meanwhile; nothing was deleted, run gc again"
            )
        found = [g for g in found if g.object.path not in again.objects | again.markers]
        for kind in total(found):  # markers first: no marker ever names what is gone
            commit.remove_all(corpus, [g.object.path for g in found if g.kind == kind])
        commit.abort(corpus, uploads)
    return Collected(tuple(found), len(uploads), delete)


def needed(corpus: CorpusStore, tallies: Tallies) -> Needed:
    """What must stay: all that any manifest names, the newest plan, the plans of published generations, their markers."""
    newest = files.latest(corpus)
    plans = {newest} if newest else set()
    objects: set[str] = set()
    newest_manifest = newest_number(corpus)
    purged = _purged(corpus)
    for number in range(1, newest_manifest + 1):
        path = manifests.manifest_path(number)
        try:
            manifest = manifests.parse(corpus.read(path), corpus.url(path))
        except FileNotFoundError:
            continue
        if number >= purged or number == newest_manifest:
            objects |= {t.path for t in manifest.tars} | {i.path for i in manifest.indexes}
        plans |= _editions(corpus, manifest.plan_id)
    markers: set[str] = set()
    for base in plans:
        try:
            markers |= {s.marker for s in planned_shards(corpus, base)}
        except CorpusError:  # a plan that somebody deleted by hand
            continue
    for t in tallies.of([o for o in corpus.list("commits") if o.path in markers]):
        objects |= {p for p in (t.tar, t.rows) if p is not None}
    for o in corpus.list("labels"):  # additions that are under way
        if "/commits/" in o.path and o.path.endswith(".json"):
            objects |= {p for p in (read_label_marker(corpus, o.path).path,) if p is not None}
    return Needed(frozenset(objects), frozenset(markers), frozenset(plans), _inventory(corpus))


def _purged(corpus: CorpusStore) -> int:
    """Number of the manifest whose withdrawal deleted what earlier ones named in vain; 0: there was none.

    What a late writer brings back of it is named by those manifests, and is garbage all the same.
    """
    marks = [o.path.removeprefix(PURGED) for o in corpus.list(FOLDER) if o.path.startswith(PURGED)]
    return max(map(int, marks), default=0)


def _editions(corpus: CorpusStore, plan_id: str) -> set[str]:
    found = {o.path.split("/")[1] for o in corpus.list("plans") if o.path.count("/") > 1}
    return {f"plans/{name}" for name in found if name.startswith(f"{plan_id[:16]}-")}


def _inventory(corpus: CorpusStore) -> frozenset[str]:
    try:
        newest = corpus.read("inventory/LATEST").decode().strip()
        folders = json.loads(corpus.read(f"{newest}/inventory.json")).get("folders", {})
        return frozenset({newest, *folders.values()})
    except FileNotFoundError:
        return frozenset()


def _heads(corpus: CorpusStore) -> tuple[str | None, int, frozenset[str]]:
    return files.latest(corpus), newest_number(corpus), _inventory(corpus)


def describe(done: Collected, older_than_days: float, console: Console) -> None:
    """Print what was found, by kind."""
    sums = total(done.found)
    for kind, (count, size) in sums.items():
        console.say(f"  {kind}: {count} objects, {megabytes(size)}")
    if done.uploads:
        console.say(f"  unfinished uploads: {done.uploads}")
    size = sum(s for _, s in sums.values())
    if not sums and not done.uploads:
        console.say(f"gc: nothing older than {older_than_days:g} days that nobody needs")
    elif done.deleted:
        console.say(f"gc: {len(done.found)} objects deleted, {megabytes(size)} free")
    else:
        console.say(f"gc: {len(done.found)} objects, {megabytes(size)}, could go; delete them with --delete")
