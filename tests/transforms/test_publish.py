from __future__ import annotations

import dataclasses
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mdfp import arrow, canonical
from mdfp import manifest as manifests
from mdfp.index import file_digest
from mdfp.sample import Sample
from schemas.case import Reject
from schemas.plan import PlannedCase
from schemas.reasons import Reason
from transforms.attribution import attribution
from transforms.build_shards import recipe_of
from transforms.plan.duplicates import Duplicate
from transforms.plan.files import PlanReader, write
from transforms.plan.published import Published
from transforms.plan.revision import revise
from transforms.publish import all_rejects, assemble, index_entry, table_bytes
from transforms.rows import read_samples


@pytest.fixture
def built(world):
    """(plan, markers) of a world whose third case is a duplicate."""
    plan = revise(world.plan, [Duplicate("tiny-c2", "tiny-c0", "the same pixels as tiny-c0")])
    reader = PlanReader(world.corpus, write(plan, world.corpus))
    return plan, [world.builder().build(reader.work(n))[0] for n in range(len(plan.shards))]


@pytest.fixture
def first(world, built):
    from schemas.source import Source

    plan, markers = built
    sources = {i: Source.model_validate(s) for i, s in plan.sources.items()}
    recipe = recipe_of(plan.recipe)

    def make(published=None, **changes):
        made = dataclasses.replace(plan, **changes)
        patients = {"train": sum(m.samples for m in markers)}  # each has its own
        entries = [index_entry(made.generation, markers)] if any(m.rows for m in markers) else []
        return assemble(made, markers, entries, patients, recipe, sources, published)

    return make


def test_a_manifest_counts_what_the_markers_say(first, built):
    plan, markers = built
    manifest = first()
    assert (manifest.number, manifest.parent, manifest.plan_id) == (1, None, plan.plan_id)
    assert [(s.path, s.bytes, s.sha256, s.samples) for s in manifest.shards] == [
        (m.path, m.bytes, m.sha256, m.samples) for m in markers
    ]
    assert {s.split: (s.samples, s.patients) for s in manifest.splits} == {
        "train": (3, 3),
        "val": (0, 0),
        "test": (0, 0),
    }
    assert [(h.source, h.reason, h.count) for h in manifest.holes] == [("tiny", "duplicate", 1)]
    assert manifest.splits[0].urls == (markers[0].path,)


def test_a_manifest_comes_back_from_its_file(first):
    manifest = first()
    assert manifests.parse(canonical.pretty(manifest), "here") == manifest


def test_a_manifest_holds_no_place_and_no_time(first, world):
    text = canonical.pretty(first()).decode()
    assert str(world.root) not in text
    assert str(world.corpus.folder) not in text
    assert "mtime" not in text


def test_a_second_generation_names_everything_of_the_first(first, built, world):
    _, markers = built
    parent = first()
    samples = tuple(s for m in markers for s in read_samples(world.corpus, m))
    second = first(Published.of(parent, samples), generation=2, parent=1)
    assert second.parent == 1
    assert set(parent.shards) <= set(second.shards)
    assert second.indexes[0] == parent.indexes[0]
    assert second.indexes[1].path.startswith("index/000002-")
    assert second.samples == 2 * parent.samples
    assert [h.count for h in second.holes] == [2]


def test_the_name_of_an_index_says_what_is_in_it(built, world):
    _, markers = built
    entry = index_entry(12, markers)
    rows = [s for m in markers for s in read_samples(world.corpus, m)]
    assert (entry.rows, entry.digest_of) == (3, "shards")
    assert entry.rows_sha256 == file_digest(rows, "shards") != file_digest(rows[:-1], "shards")
    assert entry.path == f"index/000012-{entry.rows_sha256[:12]}.parquet"
    assert index_entry(12, []).path != entry.path


def test_a_shard_of_holes_alone_is_not_named(first, built, world):
    _, markers = built
    empty = [dataclasses.replace(m, path=None, sha256=None, bytes=0, samples=0, rows=None) for m in markers]
    markers[:] = empty
    assert first().shards == ()


def test_tables_come_back(built, world):
    _, markers = built
    rows = [s for m in markers for s in read_samples(world.corpus, m)]
    assert arrow.from_table(Sample, pq.read_table(io.BytesIO(table_bytes(Sample, rows)))) == rows
    assert arrow.from_table(Reject, pq.read_table(io.BytesIO(table_bytes(Reject, [])))) == []


def test_rejects_are_of_all_three_stages(built):
    plan, markers = built
    early = Reject("inventory", "tiny", None, Reason.UNMATCHED, "a stranger", "x")
    left = PlannedCase(
        "tiny-c9", "tiny", None, None, "p", None, None, Reason.EXCLUDED, "by the recipe", *["d"] * 3, None, 1, 1, 1
    )
    table = pa.concat_tables([plan.table, arrow.to_table(PlannedCase, [left])])
    plan = dataclasses.replace(plan, rejects=(early,), table=table)
    assert [(r.stage, r.case_id, r.reason) for r in all_rejects(plan, markers)] == [
        ("inventory", None, Reason.UNMATCHED),
        ("plan", "tiny-c9", Reason.EXCLUDED),
        ("build", "tiny-c2", Reason.DUPLICATE),
    ]


def test_the_attribution_names_data_licence_and_works(first):
    manifest = first()
    (terms,) = manifest.terms
    cited = dataclasses.replace(terms, citation=("Somebody 2020",), url="https://example.org")
    text = attribution(dataclasses.replace(manifest, terms=(cited,)))
    assert "## Four pairs" in text
    assert "- licence: own-data" in text
    assert "- cite: Somebody 2020" in text
    assert "- page: https://example.org" in text
