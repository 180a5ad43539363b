"""The plan says what it will cost before anything is spent, by prices that are data."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from catalog import prices as price_lists
from pipelines import cost
from pipelines.cli import app
from pipelines.inventory import take_inventory
from pipelines.plan import plan
from pipelines.runner import Engine
from transforms.plan.planner import Selection


@pytest.fixture(scope="module")
def planned(make_workspace, console, tmp_path_factory):
    workspace = make_workspace(tmp_path_factory.mktemp("cost") / "corpus")
    take_inventory(workspace, Engine(), console)
    return workspace, plan(workspace, Selection(), console)


def words(workspace, bucket, *more):
    roots = [w for root in bucket.roots() for w in ("--root", root)]
    return ["plan", str(workspace.recipe_path), "--out", workspace.corpus.root, *roots, *more]


def test_totals_are_those_of_the_plan(planned):
    _, made = planned
    totals = cost.totals(made)
    assert totals.cases == made.planned == len(made.cases)
    assert totals.objects == len(made.objects)
    assert totals.bytes_in == sum(o.bytes for o in made.objects)
    assert totals.shards == len(made.shards)
    assert totals.cpu_seconds == pytest.approx(sum(s.estimated_seconds for s in made.shards))


def test_plan_prints_it_and_says_that_prices_are_examples(planned, bucket):
    workspace, _ = planned
    ended = CliRunner(env={"COLUMNS": "200"}).invoke(app, words(workspace, bucket))
    assert ended.exit_code == 0, ended.output
    text = " ".join(ended.output.split())
    assert "dataflow (us-central1)" in text
    assert "check them on the providers' pages before you spend" in text
    assert "quota to check" in text


def test_json_has_the_same_numbers_and_ones_own_prices_count(planned, bucket, tmp_path):
    workspace, made = planned
    content = yaml.safe_load(price_lists.EXAMPLES.read_text())
    content |= {"currency": "EUR", "compute": [content["compute"][0] | {"id": "mine", "vcpu_hour": 1000}]}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(content))
    ended = CliRunner().invoke(app, words(workspace, bucket, "--prices", str(file), "--vcpus", "2", "--json"))
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)["cost"]
    (mine,) = found["compute"]
    assert (found["currency"], mine["id"], found["totals"]["cases"]) == ("EUR", "mine", made.planned)
    assert mine["amount"] > 1000 * found["totals"]["cpu_seconds"] / 3600
    assert mine["workers"] <= 2


def test_wrong_prices_are_refused_before_anything_is_planned(planned, bucket, tmp_path):
    workspace, _ = planned
    before = (workspace.corpus.folder / "plans" / "LATEST").stat().st_mtime_ns
    (tmp_path / "wrong.yaml").write_text("date: today\n")
    ended = CliRunner().invoke(app, words(workspace, bucket, "--prices", str(tmp_path / "wrong.yaml")))
    assert ended.exit_code == 2
    assert "wrong.yaml" in ended.output
    assert (workspace.corpus.folder / "plans" / "LATEST").stat().st_mtime_ns == before
