"""Labels added on a store, from masks on a store: the sidecars of a local corpus, and nothing else on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests import added_labels as world
from tests.stores.test_end_to_end import below, command

pytestmark = pytest.mark.stores


def commands(folder: Path, out: str, root: str, environment: dict[str, str]) -> list[dict]:
    """Build, add labels, and add them again: the last line of each command."""
    recipe = ["--out", out, "--root", f"scans={root}", "--json", "--quiet", "--workers", "1"]
    told = []
    for words in (["run", "--max-holes", "0.9"], *([["add-labels", str(folder / "model.yaml"), "--yes"]] * 2)):
        name, *more = words
        done = command(["-m", "pipelines", name, str(folder / "recipe.yaml"), *more, *recipe], environment)
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout.splitlines()[-1]))
    return told


@pytest.mark.proves("labels added to it: sidecars as local")
def test_sidecars_on_a_store_are_those_of_a_local_corpus(server, new_place, tmp_path):
    if not server.writable:
        pytest.skip("a store that is only read takes no labels")
    corpus = world.make(tmp_path / "here", None, "expert", build=False)
    corpus.spec()
    told = commands(corpus.folder, str(corpus.out), str(corpus.folder / "bucket"), {})
    expected = below(corpus.out)

    place = new_place(server)
    for part in ("bucket", "masks"):
        for name, data in below(corpus.folder / part).items():
            place.client.put(place.path(f"{part}/{name}"), data)
    spec = yaml.safe_load((corpus.folder / "model.yaml").read_text()) | {"root": place.url("masks")}
    (corpus.folder / "model.yaml").write_text(yaml.safe_dump(spec))
    there = commands(corpus.folder, place.url("corpus"), place.url("bucket"), dict(server.environment))
    assert there[1:] == told[1:]
    assert [t["samples"] for t in there[1:]] == [7, 0]
    found = {
        n.removeprefix("corpus/"): place.client.read(place.path(n))
        for n in place.client.names(place.bucket)
        if n.startswith("corpus/")
    }
    same = ("sidecars/", "index/", "rejects/", "shards/")
    assert {n: d for n, d in found.items() if n.startswith(same)} == {
        n: d for n, d in expected.items() if n.startswith(same)
    }
    assert not [n for n in found if n.startswith("labels/")]
    done = command(["-m", "mdfp", "verify", place.url("corpus")], dict(server.environment))
    assert done.returncode == 0, done.stdout + done.stderr
