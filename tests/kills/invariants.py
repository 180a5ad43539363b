"""Manifest = bytes = plan: what must hold of a corpus whatever died, raced or failed while it was made."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator

import pyarrow.parquet as pq

import mdfp
from mdfp import arrow
from mdfp import manifest as manifests
from mdfp.corpus import Corpus
from mdfp.manifest import Manifest
from mdfp.verify import verify
from schemas.case import Reject
from tests.kills import world
from tests.kills.fake_store import FakeStore
from transforms.plan import files
from transforms.plan.published import newest_number
from transforms.publish import rejects_path
from transforms.store import CorpusStore

CORPUS = "corpus"
"""Folder of the corpus in the fake store."""


class Watch:
    """Looks at every write: what a manifest names is there, whole, from the moment the manifest is, and never changes.

    Args:
        store: to watch.

    Attributes:
        violations: what was seen.
    """

    def __init__(self, store: FakeStore):
        self.store = store
        self.violations: list[str] = []
        self.named: dict[str, str] = {}
        store.on_write = self._wrote

    def _wrote(self, path: str, before: bytes | None) -> None:
        inside = path.removeprefix(f"{CORPUS}/")
        now = self.store.objects.get(path)
        if inside in self.named and (now is None or _sha256(now) != self.named[inside]):
            self.violations.append(f"{inside}: named by a manifest, and {'deleted' if now is None else 'changed'}")
        if inside.startswith("manifests/") and before is None and now is not None:
            self._published(inside, now)

    def _published(self, path: str, data: bytes) -> None:
        try:
            manifest = manifests.parse(data, path)
        except (mdfp.CorpusError, TypeError, KeyError) as error:
            self.violations.append(f"{path}: half a manifest became visible: {error}")
            return
        self.named[path] = _sha256(data)
        for shard in manifest.shards:
            found = self.store.objects.get(f"{CORPUS}/{shard.path}")
            if found is None or _sha256(found) != shard.sha256:
                self.violations.append(
                    f"{path}: names {shard.path}, which is {'not there' if found is None else 'other bytes'}"
                )
            self.named[shard.path] = shard.sha256
        for entry in manifest.indexes:
            found = self.store.objects.get(f"{CORPUS}/{entry.path}")
            if found is None or pq.read_metadata(io.BytesIO(found)).num_rows != entry.rows:
                self.violations.append(f"{path}: names {entry.path}, which is not there or has other rows")
            else:
                self.named[entry.path] = _sha256(found)


def check(store: FakeStore, url: str) -> Iterator[str]:
    """What does not hold of a corpus in the fake store that everybody has finished with."""
    corpus = CorpusStore(url)
    newest = newest_number(corpus)
    if newest == 0:
        yield "nothing is published"
        return
    for fault in verify(mdfp.open(url), quick=True):
        yield f"verify: {fault}"
    holes: Counter[tuple[str, str]] = Counter()
    seen: dict[str, str] = {}
    for number in range(1, newest + 1):
        opened = mdfp.open(url, number)
        yield from _generation(store, corpus, opened, holes, seen)
    if store.objects.get(f"{CORPUS}/LATEST") != b"%d\n" % newest:
        yield f"LATEST: expected {newest}, found {store.objects.get(f'{CORPUS}/LATEST')!r}"
    yield from _complete(seen)


def _generation(
    store: FakeStore, corpus: CorpusStore, opened: Corpus, holes: Counter[tuple[str, str]], seen: dict[str, str]
) -> Iterator[str]:
    manifest = opened.manifest
    where = f"manifest {manifest.number}"
    fresh = [s for s in opened.samples if s.generation == manifest.number]
    plan = files.read(corpus, files.find(corpus, manifest.plan_id))
    planned = Counter(c for shard in plan.shards for c in shard.cases)
    rejected = store.objects.get(f"{CORPUS}/{rejects_path(manifest.number)}")
    if rejected is None:
        yield f"{where}: its rejects are not there"
        return
    missing = [
        r for r in arrow.from_table(Reject, pq.read_table(io.BytesIO(rejected))) if r.stage == "build" and r.case_id
    ]
    accounted = Counter([s.case_id for s in fresh] + [str(r.case_id) for r in missing])
    if accounted != planned:
        wrong = (accounted - planned) + (planned - accounted)
        yield f"{where}: samples and holes are not what was planned: {dict(wrong)}"
    holes.update((r.source, str(r.reason)) for r in missing)
    said = Counter({(h.source, h.reason): h.count for h in manifest.holes})
    if said != holes:
        yield f"{where}: says holes {dict(said)}, its rejects have {dict(holes)}"
    for sample in fresh:
        if sample.case_id in seen:
            yield f"{where}: {sample.case_id} is in {sample.shard} and in {seen[sample.case_id]}"
        seen[sample.case_id] = sample.shard
        yield from _bytes(store, manifest, sample.source, sample.case_id, sample.shard, sample.members[0])


def _bytes(
    store: FakeStore, manifest: Manifest, source: str, case_id: str, shard: str, member: object
) -> Iterator[str]:
    offset, size = member.offset, member.bytes  # type: ignore[attr-defined]
    found = store.objects.get(f"{CORPUS}/{shard}", b"")[offset : offset + size]
    content = world.contents()[source][f"{case_id}.bin"]
    expected = world.payload(content, manifest.pixel_version)
    if not found.startswith(expected):
        yield f"{shard}: {case_id} is not made of its file by version {manifest.pixel_version}: {found[:40]!r}"


def _complete(seen: dict[str, str]) -> Iterator[str]:
    """Of every content that can be read, one sample; of what is broken, none."""
    wanted = {data for of in world.contents().values() for data in of.values() if data != world.BAD}
    by_case = {n.removesuffix(".bin"): d for of in world.contents().values() for n, d in of.items()}
    made = Counter(by_case[c] for c in seen)
    if made != Counter(wanted):
        lost = [c for c, d in by_case.items() if d in wanted and d not in made]
        twice = [c for c in seen if made[by_case[c]] > 1]
        broken = [c for c in seen if by_case[c] == world.BAD]
        yield f"lost {lost}, more than once {twice}, made of broken files {broken}"


def shards_of(store: FakeStore) -> dict[str, str]:
    """sha256 of all shards that the newest manifest names, by path."""
    names = sorted(p for p in store.objects if p.startswith(f"{CORPUS}/manifests/"))
    content = json.loads(store.objects[names[-1]])
    return {s["path"]: s["sha256"] for s in content["shards"]}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
