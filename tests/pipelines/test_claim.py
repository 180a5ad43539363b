from __future__ import annotations

import json

import pytest

from mdfp.errors import UsageError
from pipelines import workspace
from pipelines.workspace import check_claim
from schemas.recipe import Recipe
from transforms import commit
from transforms.store import CorpusStore


@pytest.fixture
def recipe():
    return Recipe.model_validate(
        {"corpus": "mine", "out": "-", "sources": [{"id": "a"}], "terms": {"accept": ["own-data"]}}
    )


@pytest.fixture(params=["local", "remote"])
def corpus(request, tmp_path):
    if request.param == "local":
        yield CorpusStore(str(tmp_path / "out"))
        return
    store = CorpusStore("memory://claims/out")
    yield store
    for item in store.list(""):
        commit.remove(store, item.path)


def claimed(corpus, name):
    commit.create_bytes(json.dumps({"corpus": name}).encode(), corpus, workspace.CLAIM)


def test_an_empty_place_and_ones_own_are_taken(recipe, corpus):
    check_claim(recipe, corpus)
    claimed(corpus, "mine")
    commit.create_bytes(b"x", corpus, "shards/x")
    check_claim(recipe, corpus)


def test_another_corpus_and_anything_else_are_not(recipe, corpus):
    commit.create_bytes(b"x", corpus, "thesis.docx")
    with pytest.raises(UsageError, match="not empty and holds no corpus"):
        check_claim(recipe, corpus)
    claimed(corpus, "theirs")
    with pytest.raises(UsageError, match="holds the corpus 'theirs'"):
        check_claim(recipe, corpus)


def test_a_run_that_begins_at_the_same_moment_is_no_stranger(recipe, corpus, monkeypatch):
    look = workspace._holds_something

    def just_then(store):
        claimed(store, "mine")
        return look(store)

    monkeypatch.setattr(workspace, "_holds_something", just_then)
    check_claim(recipe, corpus)
