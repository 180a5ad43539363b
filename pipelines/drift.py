"""Whether published samples are still what their sources hold, looked at whenever an inventory was taken."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations.outcome import WARN, Outcome, ValidationResult
from mdfp import arrow, canonical
from mdfp import manifest as manifests
from mdfp.errors import CorpusError
from pipelines.console import Console
from transforms import commit
from transforms.drift import COLUMNS, Drift, drift
from transforms.plan import files
from transforms.plan.published import Published
from transforms.plan.published import load as load_published
from transforms.store import CorpusStore

PATH = "expectations/sources.json"

_MEANING = {
    "gone": "no case of its id is found in its source any more",
    "changed": "objects it was made of are others now, or came or went",
    "touched": "a local file it was made of was written again, with the same size",
}


def look(
    corpus: CorpusStore, inventory: str, found: pa.Table, sources: Iterable[str], console: Console
) -> tuple[Drift, ...]:
    """Compare an inventory with what published samples were made of; tell and keep what differs.

    Two columns of the plans that were published, and a join; once for each inventory where something differs.

    Args:
        corpus: whose samples.
        inventory: folder of the inventory, below the corpus.
        found: the inventory's columns `transforms.drift.COLUMNS`.
        sources: ids of the sources that the recipe takes; samples of others are not looked for.
        console: where differences are told.
    """
    published = load_published(corpus)
    if published is None:
        return ()
    compared = {"inventory": inventory, "manifest": published.manifest.number}
    known = _read(corpus)
    if known.get("compared") == compared:
        drifted = tuple(arrow.from_dict(Drift, d) for d in known["drift"])
    else:
        drifted = drift(_made_of(corpus, published, sorted(sources)), found)
        if drifted or known:  # a run that finds everything as it was leaves everything as it was
            content = {"compared": compared, "drift": drifted, **canonical.plain(_result(drifted, published))}
            commit.replace(canonical.pretty(content), corpus, PATH)
    for d in drifted:
        console.remark(
            f"sources: {d.count} published cases {d.kind} ({_MEANING[d.kind]}), for example {d.cases[0]}; they stay as they are"
        )
    return drifted


def counts(corpus: CorpusStore) -> dict[str, int]:
    """Published cases by what became of their source, as the newest inventory found."""
    return {d["kind"]: d["count"] for d in _read(corpus).get("drift", [])}


def _read(corpus: CorpusStore) -> dict[str, Any]:
    try:
        return dict(json.loads(corpus.read(PATH)))
    except FileNotFoundError:
        return {}


def _result(found: Iterable[Drift], published: Published) -> ValidationResult:
    """The same as the outcome of a check, for the report."""
    by_kind = {d.kind: d for d in found}
    samples = published.manifest.samples
    outcomes = []
    for kind, meaning in _MEANING.items():
        d = by_kind.get(kind, Drift(kind, 0, ()))
        outcomes.append(
            Outcome(
                suite="sources",
                expectation=f"published_cases_not_{kind}",
                table="cases",
                rule="unchanged",
                columns=COLUMNS[1:],
                severity=WARN,
                meaning=f"of no published case: {meaning}",
                success=d.count == 0,
                rows=samples,
                failed=d.count,
                observed=f"{d.count} of {samples} published cases",
                failing=d.cases,
            )
        )
    return ValidationResult("sources", tuple(outcomes))


def _made_of(corpus: CorpusStore, published: Published, sources: list[str]) -> pa.Table:
    """What published samples were made of, from the plans that they were built by."""
    wanted = pa.array(sorted(published.case_ids()), pa.string())
    empty = pa.table({name: pa.array([], pa.string()) for name in COLUMNS})
    tables = [empty]
    for generation in sorted({s.generation for s in published.manifest.shards}):
        path = manifests.manifest_path(generation)
        try:
            plan_id = manifests.parse(corpus.read(path), corpus.url(path)).plan_id
            data = corpus.read(f"{files.find(corpus, plan_id)}/cases.parquet")
        except (CorpusError, FileNotFoundError):  # a plan that somebody deleted: nothing to compare with
            continue
        table = pq.ParquetFile(io.BytesIO(data)).read(columns=[*COLUMNS, "source", "shard"])
        mine = pc.and_(
            pc.is_in(table["case_id"], value_set=wanted), pc.is_in(table["source"], value_set=pa.array(sources))
        )
        table = table.filter(pc.and_(mine, pc.is_valid(table["shard"]))).select(list(COLUMNS))
        tables.append(table.cast(empty.schema))
    return pa.concat_tables(tables, promote_options="permissive")
