"""A build that is handed over as one job, and what `run` makes of it afterwards."""

from __future__ import annotations

import re

import fsspec
import pytest

from mdfp.errors import UsageError
from pipelines import plan as planning
from pipelines import submit
from pipelines.inventory import take_inventory
from pipelines.plan import read_latest
from pipelines.runner import Engine
from transforms.plan.planner import Selection
from transforms.shard import committed

RUNNER = "--runner=FnApiRunner"


@pytest.fixture(scope="module")
def planned(make_workspace, console, tmp_path_factory):
    """A corpus that is planned and not built."""
    workspace = make_workspace(tmp_path_factory.mktemp("submitted") / "corpus")
    take_inventory(workspace, Engine(), console)
    planning.plan(workspace, Selection(), console)
    return workspace


@pytest.fixture(scope="module")
def given(planned, bucket):
    values, rest = submit.arguments(
        [
            f"--recipe={planned.recipe_path}",
            f"--out={planned.corpus.root}",
            f"--roots={','.join(bucket.roots())}",
            RUNNER,
        ]
    )
    assert rest == [RUNNER]
    return values


def test_nothing_is_handed_over_without_a_runner(given, console):
    with pytest.raises(UsageError, match=r"--runner=… is needed; .*python -m pipelines build"):
        submit.submit(given, [], console)


def test_a_job_builds_every_missing_shard_and_run_publishes_the_same_bytes(
    planned, given, console, corpus, build_corpus, digests_of
):
    plan, shards = submit.submit(given, [RUNNER], console)
    assert shards == len(plan.shards) > 0
    assert all(committed(planned.corpus, s) for s in plan.shards)
    with pytest.raises(UsageError, match=f"all {shards} shards of the plan .* are built.*python -m pipelines run"):
        submit.submit(given, [RUNNER], console)

    assert not planned.corpus.exists("LATEST")
    build_corpus(planned.corpus.folder)
    assert digests_of(planned.corpus.folder) == corpus.digests()


def test_only_what_is_missing_is_in_the_job(planned, given, console, monkeypatch):
    from pipelines import build

    plan = read_latest(planned)
    lost = plan.shards[0]
    monkeypatch.setattr(build, "committed", lambda store, shard: None if shard == lost else committed(store, shard))
    assert submit.submit(given, [RUNNER], console)[1] == 1


def test_a_recipe_in_a_bucket_comes_with_the_manifests_beside_it(tmp_path):
    files = fsspec.filesystem("memory")
    text = "corpus: a\nout: o\nterms: {accept: [CC-BY-4.0]}\nsources: [{id: own, manifest: m/own.yaml, root: r}]\n"
    files.pipe("/configuration/a.yaml", text.encode())
    files.pipe("/configuration/m/own.yaml", b"id: own\n")
    recipe = submit.fetched("memory://configuration/a.yaml", tmp_path)
    assert recipe == tmp_path / "a.yaml"
    assert (tmp_path / "m" / "own.yaml").read_bytes() == b"id: own\n"


def test_a_recipe_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"memory://configuration/none\.yaml: there is no such file"):
        submit.fetched("memory://configuration/none.yaml", tmp_path)


@pytest.mark.parametrize("manifest", ["../own.yaml", "/etc/own.yaml"])
def test_a_recipe_in_a_bucket_names_no_manifest_outside_of_its_folder(tmp_path, manifest):
    files = fsspec.filesystem("memory")
    text = f"corpus: a\nout: o\nterms: {{accept: [CC-BY-4.0]}}\nsources: [{{id: own, manifest: {manifest}, root: r}}]\n"
    files.pipe("/configuration/b.yaml", text.encode())
    with pytest.raises(UsageError, match=f"manifest: {re.escape(manifest)}: expected a path below"):
        submit.fetched("memory://configuration/b.yaml", tmp_path)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--recipe", "expected --recipe=VALUE"),
        ("--recipe=gs://b/recipe.txt", "expected .*ya"),
        ("--out=corpus", "--out=corpus: expected"),
        ("--roots=raw", "--roots=raw: expected .*SOURCE=URL"),
        ("--retries=many", "--retries=many: expected"),
        ("--rebuild=yes", r"--rebuild=yes: expected \^\(true\|false\)\$"),
    ],
)
def test_an_argument_that_cannot_be_is_refused_before_anything_is_read(argument, said):
    with pytest.raises(UsageError, match=said):
        submit.arguments(["--recipe=gs://b/recipe.yaml", argument])


def test_the_program_ends_with_2_where_it_was_used_wrongly(capfd):
    assert submit.main([]) == 2
    assert "--recipe=… is needed" in capfd.readouterr().err
