"""Memory of plan and publish does not follow the number of cases, on the tables of the scale benchmark."""

from __future__ import annotations

import pyarrow as pa
import pytest

import mdfp
from benchmarks import scale
from expectations import engine
from expectations.validate import SampleCheck
from mdfp.verify import verify
from pipelines import index_rows
from pipelines.build import Built, audit
from pipelines.console import Console
from pipelines.inventory import read_inventory
from pipelines.plan import plan, read_latest
from pipelines.publish import publish
from transforms.plan import files, planner, work
from transforms.plan.planner import Selection
from transforms.rows import read_rows

SAMPLES = 60
"""Different samples that rows are made of."""

_POOLS: list[pa.MemoryPool] = []

QUIET = Console(quiet=True, as_json=True)


@pytest.fixture(scope="session")
def write(tmp_path_factory):
    """An inventory of so many cases, planned and committed as workers would, without Great Expectations."""
    patch = pytest.MonkeyPatch()
    patch.setattr(scale, "DISTINCT", SAMPLES)
    patch.setattr(scale, "CASES_PER_PART", 250)
    made = {}

    def make(cases):
        if cases not in made:
            root = tmp_path_factory.mktemp("scale") / str(cases)
            space = scale.workspace_of(root)
            space.claim()
            for part, start in enumerate(range(0, cases, 250)):
                scale.inventory_part(str(root), part, start, min(250, cases - start))
            scale.finish_inventory(space, -(-cases // 250))
            files.write(planner.make_plan(space.recipe, space.sources, read_inventory(space), None), space.corpus)
            scale.commit_shards(str(root), 0, len(read_latest(space).shards))
            made[cases] = space
        return made[cases]

    yield make
    patch.undo()


@pytest.fixture
def peak():
    """Most bytes that Arrow held while something ran."""

    def measure(action):
        before = pa.default_memory_pool()
        pool = pa.proxy_memory_pool(before)
        _POOLS.append(pool)  # what was allocated from it may live on
        pa.set_memory_pool(pool)
        try:
            action()
        finally:
            pa.set_memory_pool(before)
        return pool.max_memory()

    return measure


def test_moving_rows_into_shards_takes_the_memory_of_a_bucket(write, peak, monkeypatch, tmp_path):
    monkeypatch.setattr(work, "SHARDS_PER_FILE", 1)
    monkeypatch.setattr(work, "BUCKET_CASES", 200)
    monkeypatch.setattr(work, "BUCKET_OBJECTS", 8_000)

    def move(cases):
        space = write(cases)
        made = planner.make_plan(space.recipe, space.sources, read_inventory(space), None)
        return peak(lambda: work.write(made, space.corpus, f"plans/again-{tmp_path.name}"))

    few, many = move(1000), move(4000)
    assert many < 1.5 * few


def test_judging_and_writing_rows_takes_the_memory_of_a_chunk(write, peak, monkeypatch, tmp_path):
    monkeypatch.setattr(index_rows, "CHUNK_ROWS", 250)
    monkeypatch.setattr(engine, "JUDGED_ROWS", 500)

    def judge(cases):
        space = write(cases)
        made = read_latest(space)
        todo = index_rows.chunks(space.corpus, 1, audit(space, made), None)
        check = SampleCheck(made.palette, 1, space.recipe)
        folder = tmp_path / str(cases)
        folder.mkdir()

        def run():
            for table in index_rows.walk(todo, index_rows.Passed(), folder):
                check.add(table)

        return peak(run), check

    (few, _), (many, check) = judge(1000), judge(4000)
    # What grows is kept on purpose: a few short columns of each sample.
    kept = 4000 * 2_000
    assert many < 1.5 * few + kept
    assert check.summary.samples == 4000


def test_what_is_published_in_several_index_files_is_one_corpus(write, monkeypatch):
    monkeypatch.setattr(index_rows, "CHUNK_ROWS", 250)
    monkeypatch.setattr(engine, "JUDGED_ROWS", 500)
    space = write(1000)
    made = read_latest(space)
    done = publish(space, Built(made, audit(space, made)), QUIET)
    assert len(done.manifest.indexes) > 2
    assert sum(e.rows for e in done.manifest.indexes) == done.manifest.samples == 1000
    corpus = mdfp.open(space.corpus.root)
    assert len(corpus.samples) == 1000
    assert set(corpus.samples.keys) == {c for s in made.shards for c in s.cases}
    sample = corpus.open(0)
    assert sample.image(values="stored").shape == sample.record.images[0].stored.shape
    assert (space.corpus.folder / "contact-sheet.png").exists()


def test_the_digest_of_an_index_file_is_made_of_its_shards(write):
    """The benchmark's digests are not those of rows, so that a verification must find every file at fault."""
    space = write(1000)
    faults = [f for f in verify(mdfp.open(space.corpus.root), quick=True) if f.what == "sha256 of its shards"]
    assert len(faults) == len(mdfp.open(space.corpus.root).manifest.indexes)


def test_rows_of_shards_have_the_schema_of_an_index(write):
    space = write(1000)
    (first, *_) = audit(space, read_latest(space))
    assert read_rows(space.corpus, first, ["case_id", "images.list.element.content_hash"]).column_names == [
        "case_id",
        "images",
    ]


def test_what_is_published_is_not_planned_again(write):
    again = plan(write(1000), Selection(), QUIET)
    assert (again.planned, again.left_out(), again.published().total()) == (0, [], again.table.num_rows)
