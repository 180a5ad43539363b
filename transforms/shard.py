"""Build one shard and commit it: exactly once visible, whatever dies or runs twice.

skip if its marker and its tar are there
for each case in the planned order:  fetch -> read -> normalise -> check -> append to a tar on scratch
close, hash, re-open and count
create   shards/<split>/<source>-<n>-<sha>.tar     (content name: equal bytes, equal name)
create   rows/<split>/<source>-<n>-<sha>.arrow.zst   (the index rows of its samples, likewise)
create   commits/<shard>.<fingerprint>.json        the commit point; a loser adopts the winner
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from mdfp import arrow, canonical
from mdfp.errors import MdfpError
from mdfp.sample import Member, Sample
from mdfp.tar import TarWriter, members
from schemas.case import Case, ObjectRecord, Reject
from schemas.plan import Marker, ShardPlan
from schemas.reasons import Reason
from transforms import commit, deferred
from transforms.fetch import FetchedCase, fetch_case
from transforms.observe import Observer
from transforms.plan.files import ShardWork
from transforms.rejected import Rejected
from transforms.rows import made_digest, write_rows
from transforms.sample import MadeSample, SampleMaker
from transforms.shared_files import SharedFiles
from transforms.store import CorpusStore, SourceStore

PREFETCH_BYTES = 512 << 20
"""The next case is fetched while the present one is worked on, unless its compressed objects are larger than this."""


class ScratchFullError(MdfpError, OSError):
    """There is not enough room on local scratch for the shard. It may pass, or another folder may be given."""


@dataclass(frozen=True)
class ShardBuilder:
    """Builds shards of one plan; one per process.

    Attributes:
        maker: makes samples.
        roots: a store for each source.
        corpus: where the shard goes.
        scratch: local folder for the tar while it is built.
        attempts: how often a failing request to a store is tried.
        any_version: see `fetch_case`.
        on_case: called after every case, for a progress display.
        observer: told of what happens, for telemetry and logs.
        shared: files of which several cases are made.
    """

    maker: SampleMaker
    roots: Mapping[str, SourceStore]
    corpus: CorpusStore
    scratch: Path
    attempts: int = 4
    any_version: bool = False
    on_case: Callable[[], None] = lambda: None
    observer: Observer = field(default_factory=Observer)
    shared: SharedFiles = field(default_factory=SharedFiles, compare=False)

    def build(self, work: ShardWork) -> tuple[Marker, bool]:
        """Build and commit a shard, or find that it is there already.

        Returns:
            Its marker, and whether it was built by this call (False: skipped, or another attempt won).

        Raises:
            ScratchFullError: no room.
            OSError: what may pass; nothing half-done is visible.
        """
        if (marker := committed(self.corpus, work.shard)) is not None:
            self.observer.skipped(work)
            return marker, False
        free = shutil.disk_usage(self.scratch).free
        if free < 2 * work.shard.estimated_bytes:
            raise ScratchFullError(
                f"{self.scratch}: {free >> 20} MiB free, a shard of about {work.shard.estimated_bytes >> 20} MiB needs "
                "twice its size; free some space or give another folder with --scratch-dir"
            )
        self.observer.started(work)
        with tempfile.TemporaryDirectory(prefix="mdfp-shard-", dir=self.scratch) as folder:
            file = Path(folder) / "shard.tar"
            samples, holes, sha256, size = self._write(work, file)
            path, rows = None, None
            if samples:
                path = shard_path(work.shard, sha256)
                placed = [dataclasses.replace(s, shard=path) for s in samples]
                with self.observer.watch.measure("upload"):
                    self._place(file, path, size)
                    rows = write_rows(placed, work.shard, self.corpus)
        built = Marker(
            shard=work.shard.shard,
            fingerprint=work.shard.fingerprint,
            path=path,
            bytes=size if samples else 0,
            sha256=sha256 if samples else None,
            samples=len(samples),
            made=made_digest(s.case_id for s in samples),
            rows=rows,
            holes=tuple(holes),
        )
        with self.observer.watch.measure("upload"):
            created = commit.create_bytes(canonical.dumps(built), self.corpus, marker_path(work.shard))
            winner = built if created else read_marker(self.corpus, marker_path(work.shard))
        self.observer.finished(work, built, winner)
        return winner, created

    def _place(self, file: Path, path: str, size: int) -> None:
        if not commit.create_file(file, self.corpus, path) and self.corpus.size(path) != size:
            raise commit.CommitError(
                f"{self.corpus.url(path)}: expected {size} bytes, found {self.corpus.size(path)}; its name says that it "
                "holds these very bytes. Remove it and run again."
            )

    def write_tar(self, work: ShardWork, file: Path) -> tuple[str, list[Reject]]:
        """Build the tar of a shard into a local file without committing it; returns its sha256 and its holes."""
        _, holes, sha256, _ = self._write(work, file)
        return sha256, holes

    def _write(self, work: ShardWork, file: Path) -> tuple[list[Sample], list[Reject], str, int]:
        assignments = {a.case_id: a for a in work.assignments}
        samples: list[Sample] = []
        holes: list[Reject] = []
        with file.open("xb") as stream, ThreadPoolExecutor(1) as fetcher:
            tar = TarWriter(stream)
            self.shared.begin(work.cases, work.objects)
            for number, (case, fetched) in enumerate(self._fetched(work, fetcher)):
                if isinstance(fetched, Reject):
                    holes.append(fetched)
                    self.observer.hole(work, case.case_id, fetched.reason)
                else:
                    try:
                        for made in self.maker.samples(fetched.result(), assignments[case.case_id]):
                            samples.append(_append(tar, made))
                    except Rejected as verdict:
                        holes.append(_hole(case, verdict.reason, verdict.detail))
                        self.observer.hole(work, case.case_id, verdict.reason)
                self.shared.done(number)
                self.on_case()
            sha256, size = tar.finish()
        self._recount(file, samples)
        return samples, holes, sha256, size

    def _fetched(
        self, work: ShardWork, fetcher: ThreadPoolExecutor
    ) -> Iterator[tuple[Case, Future[FetchedCase] | Reject]]:
        """Cases in planned order; the next one's bytes are on their way while the caller works on the present one."""
        objects: dict[str, list[ObjectRecord]] = {c.case_id: [] for c in work.cases}
        for record in work.objects:
            objects[record.case_id].append(record)
        known = {a.case_id: a for a in work.assignments if a.case_id in work.shard.holes}

        def start(case: Case) -> Future[FetchedCase] | Reject:
            if case.case_id in known:
                return _hole(case, known[case.case_id].left_out or Reason.DUPLICATE, known[case.case_id].detail)
            return fetcher.submit(self._fetch, case, objects[case.case_id])

        upcoming: Future[FetchedCase] | Reject | None = None
        for number, case in enumerate(work.cases):
            current = upcoming if upcoming is not None else start(case)
            upcoming = None
            if isinstance(current, Future):
                # Wait, so that two cases are in memory at most: the present one and the next.
                current.exception()
            following = work.cases[number + 1 : number + 2]
            if following and sum(o.bytes for o in objects[following[0].case_id]) <= PREFETCH_BYTES:
                upcoming = start(following[0])
            yield case, current

    def _fetch(self, case: Case, objects: Sequence[ObjectRecord]) -> FetchedCase:
        with self.observer.watch.measure("fetch"):
            store = self.roots[case.source]
            if deferred.is_deferred(case):
                source, recipe = self.maker.sources[case.source], self.maker.recipe
                case, objects = deferred.diagnose(case, objects, source, store, recipe, attempts=self.attempts)
            return fetch_case(
                case, objects, store, attempts=self.attempts, any_version=self.any_version, shared=self.shared
            )

    def _recount(self, file: Path, samples: list[Sample]) -> None:
        expected = [m.name for s in samples for m in s.members]
        with file.open("rb") as stream:
            found = [m.name for m in members(stream)] if samples else []
        if found != expected:
            raise AssertionError(f"the tar holds {len(found)} members, {len(expected)} were written")


def _append(tar: TarWriter, made: MadeSample) -> Sample:
    placed = []
    for payload in made.payloads:
        member = tar.add(payload.name, payload.data)
        placed.append(Member(payload.name, payload.kind, payload.array, member.offset, member.bytes))
    return dataclasses.replace(made.record, members=tuple(placed))


def _hole(case: Case, reason: Reason, detail: str) -> Reject:
    return Reject("build", case.source, case.case_id, reason, detail, None)


def shard_path(shard: ShardPlan, sha256: str) -> str:
    """Path of a shard's tar below the corpus: its name says what its bytes are."""
    return f"shards/{shard.shard}-{sha256[:16]}.tar"


def marker_path(shard: ShardPlan) -> str:
    """Path of a shard's commit marker below the corpus."""
    return marker_name(shard.shard, shard.fingerprint)


def marker_name(shard: str, fingerprint: str) -> str:
    """The same from the shard's id and fingerprint."""
    return f"commits/{shard}.{fingerprint[:16]}.json"


def read_marker(corpus: CorpusStore, path: str) -> Marker:
    """A commit marker.

    Raises:
        FileNotFoundError: it is not there.
    """
    return arrow.from_dict(Marker, json.loads(corpus.read(path)))


def committed(corpus: CorpusStore, shard: ShardPlan) -> Marker | None:
    """The marker of a shard when it is committed, and its tar and its rows are there in full length, else None."""
    try:
        marker = read_marker(corpus, marker_path(shard))
    except FileNotFoundError:
        return None
    if marker.path is not None and corpus.size(marker.path) != marker.bytes:
        return None
    if marker.rows is not None and corpus.size(marker.rows.path) != marker.rows.bytes:
        return None
    return marker
