"""Take cases back after publication: a new manifest without them, then their bytes go.

    1  withdrawn/000001.json   from now on no plan takes them
    2  new tars, new indexes   invisible: content names that nothing names yet; sidecars are tars too
    3  manifests/<N+1>.json    create-only: readers who open the corpus from now on do not see them
    4  markers                 of the shards that were rewritten, so that no build makes the old ones again
    5  report and the rest     of the new manifest
    6  the old tars, index files and rows are deleted

Each step is a function of what the ones before left behind, so the command may die anywhere and be given again.
"""

from __future__ import annotations

import dataclasses
import io
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mdfp import arrow, canonical, index
from mdfp import manifest as manifests
from mdfp.errors import NoCorpusError
from mdfp.manifest import IndexEntry, Manifest, ShardEntry, SidecarEntry
from mdfp.sample import Sample
from pipelines.console import Console
from pipelines.publish import LostRaceError, complete
from pipelines.workspace import Workspace
from schemas.case import Reject
from schemas.plan import Marker, ShardPlan
from schemas.reasons import Reason
from transforms import commit, probe
from transforms import withdrawn as tombstones
from transforms.build_shards import recipe_of
from transforms.census import Census
from transforms.plan import files
from transforms.plan.files import PlanReader
from transforms.plan.published import newest_number
from transforms.publish import index_path, is_labels_rejects, parquet_bytes, table_bytes
from transforms.rewrite import check_sha256, without
from transforms.rows import made_digest, read_rows, read_rows_file, read_samples, write_rows
from transforms.shard import marker_path, read_marker
from transforms.sidecar import read_marker as read_label_marker
from transforms.store import CorpusStore
from transforms.views import recounted
from transforms.withdraw import last_withdrawal, reduced, shard_of, superseded, taken_back
from transforms.withdrawn import Withdrawal, Withdrawn

ROUNDS = 5
"""How often another publish may come first."""

DECIDING = ["case_id", "patient", "source", "split", "shard"]

READ_AT_ONCE = 64 << 20
"""Bytes of a shard that are in memory while it is brought to scratch."""


@dataclass(frozen=True)
class Found:
    """What a withdrawal would take.

    Attributes:
        samples: published samples.
        shards: tars they lie in.
        bytes: bytes of these tars.
    """

    samples: int
    shards: int
    bytes: int


@dataclass(frozen=True)
class Done:
    """What a withdrawal did.

    Attributes:
        manifest: number of the newest manifest now.
        samples: samples taken out of it.
        rewritten: shards made anew; those of which nothing is left are not counted.
        purged: objects deleted.
    """

    manifest: int
    samples: int
    rewritten: int
    purged: int


def look(corpus: CorpusStore, withdrawal: Withdrawal) -> Found:
    """What a withdrawal would take, before anything is done.

    Raises:
        NoCorpusError: nothing is published.
    """
    manifest = _newest(corpus)
    rows = _rows(corpus, manifest)
    hit = rows.filter(pa.array(taken_back(rows, tombstones.union([withdrawal]))))
    paths = set(hit["shard"].to_pylist())
    mine = [s for s in manifest.shards if s.path in paths]
    return Found(hit.num_rows, len(mine), sum(s.bytes for s in mine))


def withdraw(
    workspace: Workspace, withdrawal: Withdrawal | None, *, purge: bool, scratch: Path | None, console: Console
) -> Done:
    """Take back what a withdrawal names, and what an interrupted one left to do.

    Args:
        workspace: the corpus.
        withdrawal: what; None: only go on with what was begun.
        purge: delete the old tars, indexes and rows; False: leave them to readers of older manifests until a later call.
        scratch: local folder for the shards that are rewritten.
        console: for remarks.

    Raises:
        NoCorpusError: nothing is published.
        CorpusError: a shard to be rewritten is damaged.
        LostRaceError: others published again and again.
        PreconditionsError: the store lets two writers replace each other's manifests.
    """
    corpus = workspace.corpus
    _newest(corpus)
    probe.require(corpus)
    withdrawn = tombstones.add(corpus, withdrawal) if withdrawal else tombstones.load(corpus)
    samples = rewritten = 0
    for attempt in range(1, ROUNDS + 1):
        try:
            published = _publish_without(corpus, withdrawn, scratch)
        except LostRaceError:
            if attempt == ROUNDS:
                raise
            console.remark("another run published meanwhile; taking the samples out of its manifest")
            continue
        if published is None:
            break
        samples, rewritten = samples + published[0], rewritten + published[1]
    manifest = _newest(corpus)
    _replace_markers(corpus, manifest)
    doomed = _unpublished(corpus, withdrawn)
    complete(workspace, console)
    _forget_masks(corpus, manifest)
    number = last_withdrawal([*_older(corpus, manifest), manifest])
    if purge and number:
        doomed += _left_over(corpus, manifest, withdrawn)
        commit.remove_all(corpus, doomed)
        commit.create_bytes(b"", corpus, f"{tombstones.PURGED}{number:06d}")
    else:
        commit.remove_all(corpus, doomed)
    return Done(manifest.number, samples, rewritten, len(doomed))


def _newest(corpus: CorpusStore) -> Manifest:
    number = newest_number(corpus)
    if number == 0:
        raise NoCorpusError(f"{corpus.root}: nothing is published, so there is nothing to take back")
    return _manifest(corpus, number)


def _manifest(corpus: CorpusStore, number: int) -> Manifest:
    path = manifests.manifest_path(number)
    return manifests.parse(corpus.read(path), corpus.url(path))


def _table(corpus: CorpusStore, path: str, columns: list[str] | None = None) -> pa.Table:
    return pq.ParquetFile(io.BytesIO(corpus.read(path))).read(columns=columns)


def _rows(corpus: CorpusStore, manifest: Manifest) -> pa.Table:
    """The deciding columns of all samples that a manifest names."""
    live = {s.path for s in manifest.shards}
    tables = [arrow.to_table(Sample, []).select(DECIDING)]
    tables += [_table(corpus, entry.path, DECIDING) for entry in manifest.indexes]
    rows = pa.concat_tables(tables)
    return rows.filter(pa.array([path in live for path in rows["shard"].to_pylist()], pa.bool_()))


def _publish_without(corpus: CorpusStore, withdrawn: Withdrawn, scratch: Path | None) -> tuple[int, int] | None:
    """Publish the next manifest; (samples taken out, shards rewritten), or None when there is nothing to take out.

    Raises:
        LostRaceError: another publish was faster.
    """
    manifest = _newest(corpus)
    rows = _rows(corpus, manifest)
    mask = taken_back(rows, withdrawn)
    if not mask.any():
        return None
    hit, left = rows.filter(pa.array(mask)), rows.filter(pa.array(~mask))
    gone = frozenset(map(str, hit["case_id"].to_pylist()))
    paths = frozenset(map(str, hit["shard"].to_pylist()))
    shards: dict[str, ShardEntry | None] = {}
    indexes: dict[str, IndexEntry] = {}
    sidecars: dict[str, SidecarEntry | None] = {}
    entries = {s.path: s for s in manifest.shards}
    for entry in manifest.indexes:
        if paths.isdisjoint(_table(corpus, entry.path, ["shard"])["shard"].to_pylist()):
            continue
        records: list[Sample] = []
        for path, mine in _by_shard(arrow.from_table(Sample, _table(corpus, entry.path))):
            if path in entries and path in paths:
                shards[path], left_in = _rewrite(corpus, entries[path], mine, gone, scratch)
                for sidecar in (s for s in manifest.sidecars if s.shard == path):
                    sidecars[sidecar.path], left_in = _rewrite_sidecar(corpus, sidecar, mine, left_in, scratch)
                mine = left_in
            if path in entries:  # rows of shards that no manifest names any more are not carried on
                records += mine
        indexes[entry.path] = _write_index(corpus, entry, records)
    pairs = set(zip(left["split"].to_pylist(), left["patient"].to_pylist(), strict=True))
    patients = Counter(str(split) for split, _ in pairs)
    # Holes are counted in cases; the slices of a volume share one.
    cases = set(zip(hit["source"].to_pylist(), hit["case_id"].to_pylist(), strict=True))
    new = reduced(manifest, shards, indexes, Counter(str(source) for source, _ in cases), patients, sidecars)
    new = _recounted(corpus, new)
    data = manifests.dump(new)
    if not commit.create_bytes(data, corpus, new.path()) and corpus.read(new.path()) != data:
        raise LostRaceError(f"manifest {new.number} was published by another run meanwhile")
    return hit.num_rows, sum(s is not None for s in shards.values())


def _recounted(corpus: CorpusStore, manifest: Manifest) -> Manifest:
    """The manifest with its sampling plan, sites and exceptions counted anew, where it has any."""
    if not (manifest.sampling or manifest.sites or manifest.exceptions):
        return manifest
    recipe = recipe_of(json.loads(manifest.recipe))
    census = Census(recipe)
    live = pa.array([s.path for s in manifest.shards], pa.string())
    for entry in manifest.indexes:
        table = _table(corpus, entry.path)
        census.add(table.filter(pc.is_in(table["shard"], value_set=live)))
    return recounted(manifest, recipe, census)


def _by_shard(records: Sequence[Sample]) -> list[tuple[str, list[Sample]]]:
    groups: dict[str, list[Sample]] = {}
    for r in records:
        groups.setdefault(r.shard, []).append(r)
    return list(groups.items())


def _rewrite(
    corpus: CorpusStore, entry: ShardEntry, samples: list[Sample], gone: frozenset[str], scratch: Path | None
) -> tuple[ShardEntry | None, list[Sample]]:
    """Upload a shard without some samples; what a manifest and an index say of it."""
    if all(s.case_id in gone for s in samples):
        return None, []
    with tempfile.TemporaryDirectory(prefix="mdfp-withdraw-", dir=scratch) as folder:
        old, new = Path(folder) / "old.tar", Path(folder) / "new.tar"
        _bring(corpus, entry, old)
        check_sha256(old, entry.sha256, entry.path)
        left = without(old, samples, gone, new)
        path = f"shards/{shard_of(entry.path)}-{left.sha256[:16]}.tar"
        _upload(corpus, new, path, left.bytes)
    placed = [dataclasses.replace(s, shard=path) for s in left.samples]
    rewritten = dataclasses.replace(entry, path=path, bytes=left.bytes, sha256=left.sha256, samples=len(placed))
    return rewritten, placed


def _rewrite_sidecar(
    corpus: CorpusStore, entry: SidecarEntry, before: list[Sample], left: list[Sample], scratch: Path | None
) -> tuple[SidecarEntry | None, list[Sample]]:
    """Upload a sidecar without the samples that are not left; what a manifest and an index say of it.

    Args:
        corpus: where it lies.
        entry: the sidecar.
        before: the records of its shard.
        left: those that stay, with the shard that they lie in now.
        scratch: local folder for the tars.
    """
    held = {s.key for s in before if any(m.shard == entry.path for m in s.members)}
    kept = [s for s in left if s.key in held]
    if not kept:
        return None, left
    if len(kept) == len(held):
        return dataclasses.replace(entry, shard=kept[0].shard), left
    with tempfile.TemporaryDirectory(prefix="mdfp-withdraw-", dir=scratch) as folder:
        old, new = Path(folder) / "old.tar", Path(folder) / "new.tar"
        _bring(corpus, entry, old)
        check_sha256(old, entry.sha256, entry.path)
        copied = without(old, kept, (), new, entry.path)
        path = f"sidecars/{shard_of(entry.path)}-{copied.sha256[:16]}.tar"
        _upload(corpus, new, path, copied.bytes)
    moved = {s.key: _moved(s, entry.path, path) for s in copied.samples}
    rewritten = dataclasses.replace(
        entry, path=path, bytes=copied.bytes, sha256=copied.sha256, samples=len(kept), shard=kept[0].shard
    )
    return rewritten, [moved.get(s.key, s) for s in left]


def _moved(record: Sample, old: str, new: str) -> Sample:
    members = tuple(dataclasses.replace(m, shard=new) if m.shard == old else m for m in record.members)
    return dataclasses.replace(record, members=members)


def _upload(corpus: CorpusStore, file: Path, path: str, size: int) -> None:
    if not commit.create_file(file, corpus, path) and corpus.size(path) != size:
        raise commit.CommitError(
            f"{corpus.url(path)}: expected {size} bytes, found {corpus.size(path)}; remove it and run again"
        )


def _bring(corpus: CorpusStore, entry: ShardEntry | SidecarEntry, into: Path) -> None:
    with into.open("xb") as file:
        for start in range(0, entry.bytes, READ_AT_ONCE):
            file.write(corpus.read_range(entry.path, start, min(entry.bytes, start + READ_AT_ONCE)))


def _write_index(corpus: CorpusStore, entry: IndexEntry, records: list[Sample]) -> IndexEntry:
    digest = index.file_digest(records, entry.digest_of)
    number = int(entry.path.removeprefix("index/")[:6])
    path = index_path(number, digest)
    commit.create_bytes(table_bytes(Sample, records), corpus, path)
    return IndexEntry(path, len(records), digest, entry.digest_of)


def _replace_markers(corpus: CorpusStore, manifest: Manifest) -> None:
    """Let the markers of rewritten shards say what is there now, so that a build of their plan finds them done.

    The one case in which a marker changes. What it says follows from the newest manifest and from the old marker.
    """
    older = _older(corpus, manifest)
    tars, _ = superseded(manifest, older)
    if not tars:
        return
    names = {shard_of(path) for path in tars}
    now = {shard_of(s.path): s for s in manifest.shards if shard_of(s.path) in names}
    samples = _samples_of(corpus, manifest, {s.path for s in now.values()})
    plans = [
        base for plan_id in sorted({m.plan_id for m in (*older, manifest)}) for base in files.editions(corpus, plan_id)
    ]
    for base in plans:
        for shard in PlanReader(corpus, base).shards:
            if shard.shard not in names:
                continue
            try:
                marker = read_marker(corpus, marker_path(shard))
            except FileNotFoundError:
                continue
            if marker.path in tars:
                entry = now.get(shard.shard)
                mine = samples.get(entry.path, []) if entry else []
                commit.replace(
                    canonical.dumps(_reduced(corpus, marker, shard, entry, mine)), corpus, marker_path(shard)
                )


def _reduced(
    corpus: CorpusStore, marker: Marker, shard: ShardPlan, entry: ShardEntry | None, samples: list[Sample]
) -> Marker:
    kept = {s.case_id for s in samples}
    gone = {s.case_id: s.source for s in read_samples(corpus, marker) if s.case_id not in kept}  # slices share a case
    holes = [
        Reject("build", source, case_id, Reason.WITHDRAWN, "taken back after publication", None)
        for case_id, source in gone.items()
    ]
    return dataclasses.replace(
        marker,
        path=entry.path if entry else None,
        bytes=entry.bytes if entry else 0,
        sha256=entry.sha256 if entry else None,
        samples=len(samples),
        made=made_digest(s.case_id for s in samples),
        rows=write_rows(samples, shard, corpus) if samples else None,
        holes=(*marker.holes, *holes),
    )


def _forget_masks(corpus: CorpusStore, manifest: Manifest) -> None:
    """Take samples that are no longer there out of the lists of masks that could not be added: those were of published ones."""
    lists = [o.path for o in corpus.list("rejects") if is_labels_rejects(o.path)]
    if not lists:
        return
    published = _rows(corpus, manifest)["case_id"]
    for path in lists:
        table = _table(corpus, path)
        kept = pc.or_kleene(pc.is_null(table["case_id"]), pc.is_in(table["case_id"], value_set=published))
        left = table.filter(kept)
        if left.num_rows < table.num_rows:
            commit.replace(parquet_bytes(left), corpus, path)


def _older(corpus: CorpusStore, manifest: Manifest) -> list[Manifest]:
    return [_manifest(corpus, n) for n in range(1, manifest.number)]


def _samples_of(corpus: CorpusStore, manifest: Manifest, paths: set[str]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for entry in manifest.indexes:
        if paths.isdisjoint(_table(corpus, entry.path, ["shard"])["shard"].to_pylist()):
            continue
        for path, mine in _by_shard(arrow.from_table(Sample, _table(corpus, entry.path))):
            if path in paths:
                found[path] = mine
    return found


def _unpublished(corpus: CorpusStore, withdrawn: Withdrawn) -> list[str]:
    """Markers, tars and rows of shards that no manifest names and that hold what was taken back. Markers come first."""
    named = {s.path for n in range(1, newest_number(corpus) + 1) for s in _manifest(corpus, n).shards}
    markers, others = [], []
    for o in corpus.list("commits"):
        if not o.path.endswith(".json"):
            continue
        marker = read_marker(corpus, o.path)
        if marker.path is None or marker.path in named or marker.rows is None:
            continue
        if not corpus.exists(marker.rows.path):
            continue
        if taken_back(read_rows(corpus, marker), withdrawn).any():
            markers.append(o.path)
            others += [marker.path, marker.rows.path]
    return [*markers, *others, *_unpublished_labels(corpus, withdrawn)]


def _unpublished_labels(corpus: CorpusStore, withdrawn: Withdrawn) -> list[str]:
    """All that additions of labels keep which are under way and hold what was taken back; they begin anew."""
    named = {s.path for n in range(1, newest_number(corpus) + 1) for s in _manifest(corpus, n).sidecars}
    folders: dict[str, list[str]] = {}
    for o in corpus.list("labels"):
        folders.setdefault("/".join(o.path.split("/")[:2]), []).append(o.path)
    doomed: list[str] = []
    for paths in folders.values():
        markers = [read_label_marker(corpus, p) for p in paths if "/commits/" in p and p.endswith(".json")]
        rows = [m.rows for m in markers if m.rows is not None and corpus.exists(m.rows.path)]
        if any(taken_back(read_rows_file(corpus, r), withdrawn).any() for r in rows):
            sidecars = {m.path for m in markers if m.path is not None} - named
            doomed += [*sorted(paths, key=lambda p: "/commits/" not in p), *sorted(sidecars)]
    return doomed


def _left_over(corpus: CorpusStore, manifest: Manifest, withdrawn: Withdrawn) -> list[str]:
    """What earlier manifests name and the newest does not, and rows of shards that were rewritten.

    Index files go where they hold what was taken back: added labels leave index files behind too.
    """
    older = _older(corpus, manifest)
    tars, indexes = superseded(manifest, older)
    sidecars = {s.path for m in older for s in m.sidecars} - {s.path for s in manifest.sidecars}
    indexes = frozenset(
        path for path in indexes if corpus.exists(path) and taken_back(_table(corpus, path, DECIDING), withdrawn).any()
    )
    names = {shard_of(path) for path in tars}
    named = set()
    for o in corpus.list("commits"):
        if o.path.removeprefix("commits/").rsplit(".", 2)[0] in names and o.path.endswith(".json"):
            marker = read_marker(corpus, o.path)
            named.add(marker.rows.path if marker.rows else "")
    rows = [o.path for o in corpus.list("rows") if shard_of(o.path) in names and o.path not in named]
    return sorted(p for p in (*tars, *sidecars, *indexes, *rows) if corpus.exists(p))
