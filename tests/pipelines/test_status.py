"""What a status says of a build that runs, stands still, is finished, or was damaged; and what it costs to ask."""

from __future__ import annotations

import json
import os
import re
import time

import pytest
from typer.testing import CliRunner

from pipelines import status as looking
from pipelines.build import BuildOptions, build
from pipelines.cli import app
from pipelines.inventory import take_inventory
from pipelines.plan import plan
from pipelines.runner import Engine
from pipelines.status import Watcher, line, status
from transforms.plan.planner import Selection
from transforms.shard import marker_path
from transforms.store import CorpusStore


@pytest.fixture(scope="module")
def built(make_workspace, console, tmp_path_factory):
    """A finished build of two sources, not published."""
    workspace = make_workspace(tmp_path_factory.mktemp("status") / "corpus")
    take_inventory(workspace, Engine(), console)
    made = plan(workspace, Selection(only=("phantom-mr", "phantom-ct-structures")), console)
    return workspace.corpus, made, build(workspace, made, Engine(), BuildOptions(max_holes=0.9), console)


def spread(corpus, made, *, start, step):
    """Make the markers look as if one was committed every `step` seconds."""
    for n, shard in enumerate(made.shards):
        os.utime(corpus.folder / marker_path(shard), (start + n * step, start + n * step))


def test_speed_and_end_come_from_the_times_of_markers(built):
    corpus, made, _ = built
    spread(corpus, made, start=1_000_000, step=60)
    last = corpus.folder / marker_path(made.shards[-1])
    kept = last.read_bytes()
    last.unlink()
    try:
        now = 1_000_000 + 60 * (len(made.shards) - 2) + 5
        found = Watcher(corpus, now=lambda: now).look()
        assert found.stage == "build"
        assert found.speed.idle_s == pytest.approx(5, abs=0.1)
        assert found.speed.work_per_second == pytest.approx(
            sum(s.estimated_seconds for s in made.shards[1:-1]) / (60 * (len(made.shards) - 2)), abs=1e-3
        )
        assert "left" in line(found)
        later = Watcher(corpus, now=lambda: now + 86_400).look()
        assert later.speed.eta_s is None
        assert "is it still running?" in line(later)
    finally:
        last.write_bytes(kept)


def test_asking_costs_two_listings_and_new_markers_only(built, monkeypatch):
    corpus, made, _ = built
    asked = []
    for name in ("list", "read", "size", "exists"):
        original = getattr(CorpusStore, name)
        monkeypatch.setattr(
            CorpusStore, name, lambda self, path, o=original, n=name: asked.append((n, path)) or o(self, path)
        )
    watcher = Watcher(corpus)
    watcher.look()
    first = [path for name, path in asked if name == "read" and path.startswith("commits/")]
    assert sorted(first) == sorted(marker_path(s) for s in made.shards)
    assert [path for name, path in asked if name == "list" and path in ("commits", "shards")] == ["commits", "shards"]
    assert not [path for name, path in asked if name in ("size", "exists") and path.startswith(("shards", "commits"))]
    asked.clear()
    watcher.look()
    assert not [path for name, path in asked if name == "read" and path.startswith("commits/")]


def test_summaries_are_kept_between_calls_and_a_damaged_cache_is_no_fault(built, tmp_path):
    from transforms.tally import Tallies

    corpus, made, _ = built
    listed = [o for o in corpus.list("commits") if o.path.endswith(".json")]
    cache = tmp_path / "cache" / "marks.jsonl"
    first = Tallies(corpus, cache).of(listed)
    assert len(first) == len(made.shards)
    nowhere = CorpusStore(str(tmp_path / "nothing"))
    assert Tallies(nowhere, cache).of(listed) == first
    cache.write_bytes(b"not json\n")
    assert Tallies(corpus, cache).of(listed) == first


def test_holes_are_counted_by_reason(corpus):
    found = status(corpus.workspace.corpus)
    assert found.stage == "published"
    assert found.holes == {"corrupt_gzip": 1, "duplicate": 1, "label_grid": 1, "unmapped_label": 1} or sum(
        found.holes.values()
    ) == sum(len(s.cases) for s in corpus.plan.shards) - len(corpus.samples)
    assert found.cases_done == found.cases_planned == corpus.plan.planned


def test_a_status_needs_neither_sources_nor_a_recipe(built):
    corpus, made, _ = built
    ended = CliRunner().invoke(app, ["status", str(corpus.folder), "--json"])
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)
    assert (found["shards_done"], found["next_step"]) == (len(made.shards), "publish")
    assert found["speed"] is None or found["speed"]["idle_s"] >= 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{nothing}"], "expected a recipe .* or the folder of a corpus, found nothing"),
        (["{empty}"], "there is no corpus here"),
        (["{empty}", "--out", "elsewhere"], "goes with a recipe"),
        (["{empty}/none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_a_wrong_address_is_refused_with_a_remedy(words, message, tmp_path):
    (tmp_path / "empty").mkdir()
    words = [w.format(nothing=tmp_path / "nothing", empty=tmp_path / "empty") for w in words]
    ended = CliRunner().invoke(app, ["status", *words])
    assert ended.exit_code == 2
    assert re.search(message, " ".join(ended.output.split()))


def test_watching_ends_when_nothing_is_left_to_build(built, console):
    corpus, _, _ = built
    start = time.monotonic()
    assert looking.watch(Watcher(corpus), 60, console).next_step == "publish"
    assert time.monotonic() - start < 30


def test_ten_thousand_shards_are_counted_in_seconds(tmp_path):
    """Names and times of 10,000 markers, of a plan with a million cases: a listing, a table, and arithmetic."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from transforms.plan.shard_list import planned_shards
    from transforms.progress import progress

    count, cases = 10_000, 100
    (tmp_path / "plans" / "p").mkdir(parents=True)
    table = pa.table(
        {
            "shard": [f"train/source-{n:05d}" for n in range(count)],
            "fingerprint": [f"{n:064x}" for n in range(count)],
            "cases": [[f"source-{n}-{c}" for c in range(cases)] for n in range(count)],
            "estimated_seconds": [300.0] * count,
        }
    )
    pq.write_table(table, tmp_path / "plans" / "p" / "shards.parquet")
    start = time.process_time()
    planned = planned_shards(CorpusStore(str(tmp_path)), "plans/p")
    found = progress(planned, {s.marker: 1e6 + 3.0 * n for n, s in enumerate(planned[:7000])}, 1e6 + 21_000)
    assert time.process_time() - start < 5
    assert (found.shards_done, found.cases_done, found.cases_planned) == (7000, 700_000, 1_000_000)
    assert found.speed.work_per_second == pytest.approx(100)
    assert found.speed.eta_s == pytest.approx(3000 * 3, rel=0.01)


def test_telemetry_says_where_the_time_went(built):
    corpus, made, _ = built
    ended = CliRunner().invoke(app, ["status", corpus.root, "--telemetry", "--json"])
    assert ended.exit_code == 0, ended.output
    sums = json.loads(ended.stdout.splitlines()[-1])["telemetry"]
    assert (sums["attempts"], sums["workers"], sums["retries"]) == (len(made.shards), 1, 0)
    assert sums["bytes_in"] == sum(o.bytes for o in made.objects)
    assert set(sums["seconds"]) == {"fetch", "decode", "normalise", "encode", "upload"}
    shown = CliRunner().invoke(app, ["status", corpus.root, "--telemetry"])
    assert re.search(r"decode: .*, \d+%", shown.output + shown.stderr)


def test_a_corpus_without_telemetry_says_so(make_workspace, tmp_path, console):
    workspace = make_workspace(tmp_path / "corpus")
    take_inventory(workspace, Engine(), console)
    shown = CliRunner().invoke(app, ["status", workspace.corpus.root, "--telemetry"])
    assert "nothing was measured" in shown.output + shown.stderr
