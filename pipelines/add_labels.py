"""Add labels to a corpus after publication: masks that a model or another reader made since, as a generation of their own.

    1  labels/<layer>/work-<id>*     which mask is of which sample; named by its content
    2  sidecars/…, labels/<layer>/…  Beam: new label members, new index rows, a marker for each shard; invisible
    3  index/…                       the index files of these samples, rewritten under new names; invisible
    4  manifests/<N+1>.json          create-only: readers who open the corpus from now on see the labels
    5  report and the rest           of the new manifest, and which masks could not be used
    6  labels/<layer>/               removed

Images are neither read nor rewritten, shards stay. Each step is a function of what the ones before left behind, so the command
may die anywhere and be given again.
"""

from __future__ import annotations

import dataclasses
import io
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mdfp import arrow, canonical, index
from mdfp import manifest as manifests
from mdfp.errors import NoCorpusError, UsageError
from mdfp.manifest import AddedLayer, IndexEntry, Manifest
from mdfp.sample import Sample
from pipelines import index_rows, withdrawal
from pipelines.build import READERS, AuditError, BuildOptions, scratch_folder
from pipelines.console import Console
from pipelines.gate import require_pass
from pipelines.publish import LostRaceError, check_rows, complete
from pipelines.runner import Engine
from pipelines.workspace import Workspace
from schemas import licenses
from schemas.added_labels import AddedLabels
from schemas.case import Reject
from schemas.label_work import LabelMarker, MaskFile, ShardLabels
from schemas.licenses import UNSTATED
from schemas.place import Place
from schemas.recipe import Recipe
from schemas.terms import DataOrigin
from transforms import commit, environment, probe
from transforms.add_labels import AddLabels
from transforms.added import includes_of, with_labels
from transforms.build_shards import recipe_of
from transforms.label_files import Matched, PublishedRow, match, order_of
from transforms.labels import palette as palettes
from transforms.pixel_version import PIXEL_VERSION
from transforms.plan.published import Published, read_columns
from transforms.plan.published import load as load_published
from transforms.plan.terms import Compiler, gate
from transforms.publish import index_path, labels_rejects_path, parquet_bytes, table_bytes
from transforms.references import References
from transforms.rows import read_rows_file
from transforms.sidecar import committed, read_marker, work_folder
from transforms.store import CorpusStore, SourceStore
from transforms.views import exceptions_of, recounted

ROUNDS = 5
"""How often another publish may come first."""

SHOWN = 5
"""Files of no sample that are named to the one who looks."""

COLUMNS = (
    "key", "case_id", "source", "shard", "license", "images.list.element.name", "labels.list.element.layer",
)  # fmt: skip
"""What of a published sample decides which masks are its."""


@dataclass(frozen=True)
class Todo:
    """What an addition has to do.

    Attributes:
        manifest: the newest, upon which it is made.
        matched: which file is of which sample.
        shards: the work, a shard each.
        header: what holds for all of it.
    """

    manifest: Manifest
    matched: Matched
    shards: tuple[ShardLabels, ...]
    header: dict[str, object]

    @property
    def samples(self) -> int:
        """Samples for which there are masks that they do not have yet."""
        return len({f.key for f in self.matched.files})

    @property
    def reasons(self) -> dict[str, int]:
        """Files and samples that are left out, by reason."""
        return dict(sorted(Counter(str(r.reason) for r in self.matched.rejects).items()))


@dataclass(frozen=True)
class Done:
    """What an addition did.

    Attributes:
        manifest: number of the newest manifest now.
        samples: samples that have the labels now and did not before.
        sidecars: tars that were added.
        there: samples that had them already.
        reasons: files and samples that were left out, by reason.
        table: where these are listed, below the corpus.
    """

    manifest: int
    samples: int
    sidecars: int
    there: int
    reasons: Mapping[str, int]
    table: str


def look(workspace: Workspace, spec: AddedLabels, root: Place) -> Todo:
    """What an addition would do; files are listed, none is read.

    Raises:
        NoCorpusError: nothing is published.
        UsageError: terms that the recipe refuses, a layer that is something else already, or a corpus of slices.
    """
    published = load_published(workspace.corpus)
    if published is None:
        raise NoCorpusError(f"{workspace.corpus.root}: nothing is published, so there is nothing to add labels to")
    withdrawal.require_finished(workspace, published)
    manifest = published.manifest
    recipe = recipe_of(json.loads(manifest.recipe))
    _check_addable(workspace, spec, manifest, recipe)
    rows, index_of = published_rows(workspace.corpus, manifest)
    _check_layer(spec, manifest, rows)
    matched = match(_masks(root, spec).list(), rows, spec, workspace.keys)
    _check_joined_terms(workspace, spec, matched, rows, recipe)
    palette = palettes.build(spec.labels.annotated(), manifest.palette)
    sources = {r.source for r in rows}
    header: dict[str, object] = {
        "labels": spec.without_locations(),
        "recipe": json.loads(manifest.recipe),
        "palette": canonical.plain(palette),
        "includes": {i: canonical.plain(includes_of(s)) for i, s in sorted(workspace.sources.items()) if i in sources},
        "pixel_version": PIXEL_VERSION,
        "environment": environment.locked(),
    }
    return Todo(manifest, matched, _shards(matched.files, manifest, index_of, header), header)


def describe(todo: Todo, spec: AddedLabels, console: Console) -> None:
    """Say what an addition would do."""
    console.say(
        f"add-labels: {len(todo.matched.files)} files are masks of {todo.samples} samples in {len(todo.shards)} shards; "
        f"{todo.matched.there} samples have {spec.layer} already; nothing was done. Do it with --yes"
    )
    for reason, count in todo.reasons.items():
        console.say(f"  left out: {count} × {reason}")
    for path in todo.matched.strange[:SHOWN]:
        console.say(f"  not asked for: {path}")


def summary(todo: Todo) -> dict[str, object]:
    """The same for machines."""
    return {
        "files": len(todo.matched.files),
        "samples": todo.samples,
        "shards": len(todo.shards),
        "there": todo.matched.there,
        "reasons": todo.reasons,
    }


def add_labels(
    workspace: Workspace, spec: AddedLabels, root: Place, engine: Engine, options: BuildOptions, console: Console
) -> Done:
    """Add labels to the samples that have masks, and publish them.

    Args:
        workspace: the corpus.
        spec: what the masks are.
        root: where they lie.
        engine: where sidecars are built.
        options: scratch and retries.
        console: for progress.

    Raises:
        NoCorpusError, UsageError: as `look`.
        GateError: an expectation does not hold; nothing is published.
        LostRaceError: others published again and again.
        PreconditionsError: the store lets two writers replace each other's manifests.
        OSError: a store or disk failed for longer than the retries; run again to go on where it stopped.
    """
    corpus = workspace.corpus
    probe.require(corpus)
    for attempt in range(1, ROUNDS + 1):
        todo = look(workspace, spec, root)
        markers = _build(workspace, todo, spec, root, engine, options, console)
        try:
            new = _publish(workspace, todo, spec, markers, console)
            break
        except LostRaceError:
            if attempt == ROUNDS:
                raise
            console.remark("another run published meanwhile; adding the labels to its manifest")
    rejects = sorted((*todo.matched.rejects, *(r for m in markers for r in m.rejects)), key=order_of)
    complete(workspace, console)
    number = (new or todo.manifest).number
    table = labels_rejects_path(number, spec.layer)
    commit.replace(table_bytes(Reject, rejects), corpus, table)
    _clean(corpus, spec.layer, number)
    return Done(
        manifest=number,
        samples=sum(m.samples for m in markers),
        sidecars=sum(m.path is not None for m in markers),
        there=todo.matched.there,
        reasons=dict(sorted(Counter(str(r.reason) for r in rejects).items())),
        table=table,
    )


def _clean(corpus: CorpusStore, layer: str, newest: int) -> None:
    """Remove what an addition kept until it was published, and the sidecars of rounds that another publish overtook."""
    work = [o.path for o in corpus.list(work_folder(layer))]
    made = {m.path for m in (read_marker(corpus, p) for p in work if "/commits/" in p and p.endswith(".json"))}
    named: set[str | None] = {None}
    for number in range(1, newest + 1) if made - named else ():
        path = manifests.manifest_path(number)
        named |= {s.path for s in manifests.parse(corpus.read(path), corpus.url(path)).sidecars}
    commit.remove_all(corpus, work)
    commit.remove_all(corpus, sorted(p for p in made - named if p is not None))


def _masks(root: Place, spec: AddedLabels) -> SourceStore:
    """The store of the masks.

    Raises:
        UsageError: there is no such folder.
    """
    try:
        return SourceStore(root)
    except UsageError as error:
        raise UsageError(
            f"root: of the labels {spec.layer}: expected a folder or a bucket at {root}, found none"
        ) from error


def _check_addable(workspace: Workspace, spec: AddedLabels, manifest: Manifest, recipe: Recipe) -> None:
    """Refuse what needs no look at files or rows.

    Raises:
        UsageError: slices, or terms that the recipe does not accept.
    """
    if recipe.slices is not None:
        raise UsageError(
            f"{workspace.corpus.root}: its samples are slices, which are cut from volumes with their labels; add the masks "
            "to the sources (labels: of their manifests) and build a new corpus"
        )
    for terms in (workspace.recipe.terms, recipe.terms):
        if refused := gate(spec.terms.license, terms):
            raise UsageError(f"the terms of the labels {spec.layer} are not accepted: {refused[0]}: {refused[1]}")
    before = next((a for a in manifest.added if a.layer == spec.layer), None)
    if before is not None and _differs(before, spec):
        raise UsageError(
            f"{workspace.corpus.root}: has labels {spec.layer} by {before.title!r} ({before.origin}, {before.license}); "
            "title, origin and terms of a layer stay what they are. Choose another layer:"
        )
    if before is None and any(o.origin == spec.layer for t in manifest.terms for o in t.origins):
        raise UsageError(f"layer: {spec.layer} is the name of a data set that samples came from; choose another layer:")


def _differs(before: AddedLayer, spec: AddedLabels) -> bool:
    told = (spec.title, spec.labels.origin, spec.terms.license or UNSTATED, spec.terms.url, spec.terms.citation)
    return (before.title, before.origin, before.license, before.url, before.citation) != told


def _check_layer(spec: AddedLabels, manifest: Manifest, rows: Sequence[PublishedRow]) -> None:
    """Refuse a name that a build gave to a layer.

    Raises:
        UsageError: it did.
    """
    if any(a.layer == spec.layer for a in manifest.added):
        return
    names = {name for row in rows for name in row.layers}
    mine = {spec.layer_of(image) for row in rows for image in row.images}
    if taken := sorted(names & mine):
        raise UsageError(f"layer: samples of this corpus have a layer {taken[0]} already; choose another name")


def _check_joined_terms(
    workspace: Workspace, spec: AddedLabels, matched: Matched, rows: Sequence[PublishedRow], recipe: Recipe
) -> None:
    """Refuse labels whose terms do not go together with those of the samples that they are of.

    Raises:
        UsageError: with the source, the licences and what speaks against them.
    """
    origin = DataOrigin(id=spec.layer, title=spec.title, what="labels", terms=spec.terms)
    sources = {i: s.model_copy(update={"origins": (*s.origins, origin)}) for i, s in workspace.sources.items()}
    keys = {f.key for f in matched.files}
    held = sorted({(r.source, r.license) for r in rows if r.key in keys})
    for terms in (workspace.recipe.terms, recipe.terms):
        compiler = Compiler(terms, sources)
        for source, license_id in held:
            together = licenses.join((*licenses.parts(license_id), spec.terms.license or UNSTATED))
            if refused := compiler.verdict(source, together):
                raise UsageError(
                    f"samples of {source} with the labels {spec.layer} would be under {together}, which the recipe's "
                    f"terms refuse: {refused[0]}: {refused[1]}"
                )


def published_rows(corpus: CorpusStore, manifest: Manifest) -> tuple[list[PublishedRow], dict[str, str]]:
    """What decides of all published samples, and the index file of each shard."""
    live = pa.array([s.path for s in manifest.shards], pa.string())
    rows: list[PublishedRow] = []
    index_of: dict[str, str] = {}
    for entry in manifest.indexes:
        table = read_columns(corpus, entry.path, COLUMNS)
        table = table.filter(pc.is_in(table["shard"], value_set=live))
        index_of |= dict.fromkeys(pc.unique(table["shard"]).to_pylist(), entry.path)
        rows += [
            PublishedRow(
                r["key"], r["case_id"], r["source"], r["shard"], r["license"],
                tuple(i["name"] for i in r["images"]), tuple(label["layer"] for label in r["labels"]),
            )
            for r in table.to_pylist()
        ]  # fmt: skip
    return rows, index_of


def _shards(
    files: Sequence[MaskFile], manifest: Manifest, index_of: Mapping[str, str], header: Mapping[str, object]
) -> tuple[ShardLabels, ...]:
    common = canonical.digest(header)
    entries = {s.path: s for s in manifest.shards}
    digests = {i.path: i.rows_sha256 for i in manifest.indexes}
    by_shard: dict[str, list[MaskFile]] = {}
    for file in files:
        by_shard.setdefault(file.shard, []).append(file)
    return tuple(
        ShardLabels(
            shard=path,
            index=index_of[path],
            files=len(those),
            fingerprint=canonical.digest(
                {
                    "header": common,
                    "shard": entries[path].sha256,
                    "rows": digests[index_of[path]],
                    "files": [canonical.plain(f) for f in those],
                }
            ),
        )
        for path, those in by_shard.items()
    )


def _build(
    workspace: Workspace,
    todo: Todo,
    spec: AddedLabels,
    root: Place,
    engine: Engine,
    options: BuildOptions,
    console: Console,
) -> list[LabelMarker]:
    """Build the sidecars that are not committed yet; the markers of all.

    Raises:
        AuditError: one is not there after the job, or does not add up.
    """
    corpus = workspace.corpus
    missing = [n for n, s in enumerate(todo.shards) if committed(corpus, spec.layer, s) is None]
    if missing:
        path = _write_work(corpus, todo, spec)
        scratch = scratch_folder(options)
        with tempfile.TemporaryDirectory(prefix="mdfp-labels-", dir=scratch) as folder:
            transform = AddLabels(
                out=corpus.place,
                work=path,
                root=root,
                scratch=folder if engine.local else str(scratch or tempfile.gettempdir()),
                attempts=options.attempts,
            )

            def count() -> int:
                return sum(committed(corpus, spec.layer, todo.shards[n]) is not None for n in missing)

            with console.progress("labels", len(missing), count):
                engine.run(lambda p: p | "ShardNumbers" >> References(missing) | transform, tasks=len(missing))
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(lambda s: committed(corpus, spec.layer, s), todo.shards))
    asked = Counter(shard for shard, _, _ in {(f.shard, f.key, f.image) for f in todo.matched.files})
    markers = []
    for shard, marker in zip(todo.shards, found, strict=True):
        if marker is None:
            raise AuditError(f"the labels of {shard.shard} are not committed; run add-labels again to make them")
        if marker.masks + len(marker.rejects) != asked[shard.shard]:
            raise AuditError(
                f"the labels of {shard.shard}: {asked[shard.shard]} masks asked for, {marker.masks} added and "
                f"{len(marker.rejects)} left out"
            )
        markers.append(marker)
    return markers


def _write_work(corpus: CorpusStore, todo: Todo, spec: AddedLabels) -> str:
    """Write the work list under a name that says what is in it; the header comes last."""
    digest = canonical.digest([s.fingerprint for s in todo.shards])[:16]
    base = f"{work_folder(spec.layer)}/work-{digest}"
    shards = parquet_bytes(arrow.to_table(ShardLabels, todo.shards))
    files = parquet_bytes(arrow.to_table(MaskFile, todo.matched.files))
    commit.create_bytes(shards, corpus, f"{base}-shards.parquet")
    commit.create_bytes(files, corpus, f"{base}-files.parquet")
    commit.create_same(canonical.pretty(todo.header), corpus, f"{base}.json")
    return f"{base}.json"


def _publish(
    workspace: Workspace, todo: Todo, spec: AddedLabels, markers: Sequence[LabelMarker], console: Console
) -> Manifest | None:
    """Publish the next manifest; None when no mask could be used.

    Raises:
        GateError: an expectation does not hold.
        LostRaceError: another publish was faster.
    """
    corpus, manifest = workspace.corpus, todo.manifest
    used = [m for m in markers if m.rows is not None]
    if not used:
        return None
    recipe = recipe_of(json.loads(manifest.recipe))
    palette = palettes.build(spec.labels.annotated(), manifest.palette)
    index_of = {s.shard: s.index for s in todo.shards}
    by_index: dict[str, list[LabelMarker]] = {}
    for marker in used:
        by_index.setdefault(index_of[marker.shard], []).append(marker)
    indexes = {}
    sources: set[str] = set()
    for entry in manifest.indexes:
        if entry.path in by_index:
            indexes[entry.path], found = _rewrite_index(corpus, manifest, entry, by_index[entry.path])
            sources |= found
    new = with_labels(manifest, spec, used, sources, palette, indexes)
    readable = Published(new, [partial(read_columns, corpus, entry.path) for entry in new.indexes])
    checked = check_rows(workspace, new, index_rows.chunks(corpus, 0, (), readable))
    require_pass(checked.result, corpus, console)
    new = recounted(new, recipe, checked.census)
    exceptions = exceptions_of(recipe, workspace.sources, checked.census, manifest.exceptions)
    new = dataclasses.replace(new, exceptions=exceptions)
    data = manifests.dump(new)
    if not commit.create_bytes(data, corpus, new.path()) and corpus.read(new.path()) != data:
        raise LostRaceError(f"manifest {new.number} was published by another run meanwhile")
    return new


def _rewrite_index(
    corpus: CorpusStore, manifest: Manifest, entry: IndexEntry, markers: Sequence[LabelMarker]
) -> tuple[IndexEntry, set[str]]:
    """An index file with the new rows of some samples in the place of the old ones, and the sources of these samples."""
    new: dict[str, Sample] = {}
    for marker in markers:
        if marker.rows is not None:
            new |= {s.key: s for s in arrow.from_table(Sample, read_rows_file(corpus, marker.rows))}
    live = {s.path for s in manifest.shards}
    table = pq.ParquetFile(io.BytesIO(corpus.read(entry.path))).read()
    records = [s for s in arrow.from_table(Sample, table) if s.shard in live]
    records = [new.get(s.key, s) for s in records]
    digest = index.file_digest(records, entry.digest_of)
    path = index_path(int(entry.path.removeprefix("index/")[:6]), digest)
    commit.create_bytes(table_bytes(Sample, records), corpus, path)
    return IndexEntry(path, len(records), digest, entry.digest_of), {s.source for s in new.values()}
