"""From the markers of a built plan to the next manifest: pure assembly, nothing is read or written here."""

from __future__ import annotations

import dataclasses
import io
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from mdfp import arrow, canonical, index
from mdfp import manifest as manifests
from mdfp.manifest import HoleCount, IndexEntry, Manifest, ShardEntry, SourceTerms, SplitTotal
from schemas.case import Reject
from schemas.plan import Marker
from schemas.reasons import Reason
from schemas.recipe import Recipe
from schemas.source import Source
from transforms import environment, views
from transforms.added import fusion_with, terms_with
from transforms.census import Census
from transforms.plan.planner import Plan
from transforms.plan.published import Published

SPLIT_ORDER = ("train", "val", "test")


def index_path(number: int, rows_sha256: str) -> str:
    """Where the index rows of a generation lie, below the corpus.

    Its name says what is in it: a run that was killed before its manifest may have left other rows of that number.
    """
    return f"index/{number:06d}-{rows_sha256[:12]}.parquet"


def rejects_path(number: int) -> str:
    """Where the rejects of a generation lie, below the corpus."""
    return f"rejects/{number:06d}.parquet"


def labels_rejects_path(number: int, layer: str) -> str:
    """Where it is listed which masks were not added when labels were, below the corpus."""
    return f"rejects/{number:06d}-{layer}.parquet"


def is_labels_rejects(path: str) -> bool:
    """Whether a path is of that form."""
    return re.fullmatch(r"rejects/\d{6,}-[a-z][a-z0-9_]*\.parquet", path) is not None


def table_bytes(record: type, rows: Sequence[object]) -> bytes:
    """Parquet bytes of records."""
    return parquet_bytes(arrow.to_table(record, rows))


def parquet_bytes(table: pa.Table) -> bytes:
    """Parquet bytes of a table."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=1000)
    return sink.getvalue()


def assemble(
    plan: Plan,
    markers: Sequence[Marker],
    indexes: Sequence[IndexEntry],
    patients: Mapping[str, int],
    recipe: Recipe,
    sources: Mapping[str, Source],
    published: Published | None,
    census: Census | None = None,
) -> Manifest:
    """The manifest of a built plan.

    Args:
        plan: what was built.
        markers: of all its shards, in the plan's order.
        indexes: the index files of this generation.
        patients: patients of each split, earlier generations included.
        recipe: the recipe, for the label space.
        sources: their manifests, for terms.
        published: the parent, or None for the first.
        census: counts of all samples, earlier generations included; None leaves out what is made of them.

    Raises:
        UsageError: the caps of the sampling plan leave places to nobody.
    """
    number = plan.generation
    sidecars, added = (published.manifest.sidecars, published.manifest.added) if published else ((), ())
    shards = list(published.manifest.shards) if published else []
    for marker, shard in zip(markers, plan.shards, strict=True):
        if marker.path is not None and marker.sha256 is not None:
            shards.append(
                ShardEntry(marker.path, marker.bytes, marker.sha256, marker.samples, shard.split, shard.source, number)
            )
    shards.sort(key=lambda s: (SPLIT_ORDER.index(s.split), s.path))
    holes = (
        Counter((h.source, h.reason) for h in published.manifest.holes for _ in range(h.count))
        if published
        else Counter()
    )
    holes.update((h.source, str(h.reason)) for m in markers for h in m.holes)
    return Manifest(
        format=manifests.FORMAT,
        schema_version=manifests.version_for(sidecars),
        number=number,
        parent=plan.parent,
        corpus=plan.corpus,
        plan_id=plan.plan_id,
        pixel_version=plan.pixel_version,
        environment=environment.fingerprint(plan.environment),
        patient_key=plan.patient_key,
        recipe=canonical.dumps(plan.recipe).decode(),
        label_space=_label_space(plan, recipe),
        palette=plan.palette,
        relations=plan.relations,
        shards=tuple(shards),
        indexes=(*(published.manifest.indexes if published else ()), *indexes),
        splits=tuple(_total(split, shards, patients.get(split, 0)) for split in SPLIT_ORDER),
        holes=tuple(HoleCount(source, reason, count) for (source, reason), count in sorted(holes.items())),
        terms=terms_with(_terms(sources, published), added),
        profile=recipe.terms.profile,
        exceptions=views.exceptions_of(recipe, sources, census, published.manifest.exceptions if published else ())
        if census
        else (),
        sampling=views.sampling_of(recipe.sampling, census) if census else None,
        sites=census.sites.result() if census and census.sites else None,
        fusion=fusion_with(plan.fusion, added),
        sidecars=sidecars,
        added=added,
    )


def _label_space(plan: Plan, recipe: Recipe) -> tuple[str, ...]:
    """What readers get who ask for nothing: the derived space; none, which is the whole palette, where none was asked for."""
    wanted = recipe.labels
    if plan.fusion is None:  # a plan of a version without
        return wanted.space if isinstance(wanted.space, tuple) else ()
    return plan.fusion.space if wanted.space or wanted.resolve else ()


def index_entry(number: int, markers: Sequence[Marker]) -> IndexEntry:
    """What the manifest says of an index file that holds the rows of these shards, in this order."""
    digest = index.digest_of_shards(m.rows.digest for m in markers if m.rows is not None)
    return IndexEntry(index_path(number, digest), sum(m.samples for m in markers), digest, "shards")


def _total(split: str, shards: Sequence[ShardEntry], patients: int) -> SplitTotal:
    mine = [s for s in shards if s.split == split]
    return SplitTotal(
        split, sum(s.samples for s in mine), patients, sum(s.bytes for s in mine), tuple(s.path for s in mine)
    )


def _terms(sources: Mapping[str, Source], published: Published | None) -> tuple[SourceTerms, ...]:
    terms = {t.source: t for t in published.manifest.terms} if published else {}
    for source in sources.values():
        terms[source.id] = views.terms_of(source)
    return tuple(terms[k] for k in sorted(terms))


def all_rejects(plan: Plan, markers: Sequence[Marker]) -> list[Reject]:
    """Everything that is no sample: the inventory's rejects, what the plan left out, and holes."""
    left_out = [
        Reject("plan", a.source, a.case_id, a.left_out, a.detail, None)
        for a in plan.left_out()
        if a.left_out is not None
    ]
    holes = [h for m in markers for h in m.holes]
    gone = {h.case_id for h in holes if h.reason == Reason.WITHDRAWN and h.case_id}
    return [_unnamed(r, gone) for r in (*plan.rejects, *left_out, *holes)]


def _unnamed(reject: Reject, gone: Collection[str]) -> Reject:
    """A reject without the name of a case that was taken back: it is counted, and no longer shown."""
    detail = reject.detail
    for case_id in (
        gone if reject.reason in (Reason.DUPLICATE, Reason.TERMS_UNKNOWN) else ()
    ):  # it says whose pixels it has
        detail = detail.replace(case_id, "a case that was taken back")
    hidden = reject.reason == Reason.WITHDRAWN or reject.case_id in gone
    return dataclasses.replace(reject, case_id=None if hidden else reject.case_id, detail=detail)
