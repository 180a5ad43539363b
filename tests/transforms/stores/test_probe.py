from __future__ import annotations

import pytest

from schemas.place import OutAccess, Place
from transforms import probe
from transforms.probe import Preconditions, PreconditionsError
from transforms.store import CorpusStore
from transforms.stores.errors import StoreError, TransientStoreError


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(probe, "_found", {})
    monkeypatch.setattr("time.sleep", lambda s: None)


def test_a_store_that_refuses_is_accepted_and_left_empty(memory):
    backend = memory()
    store = CorpusStore("mem://x", backend)
    probe.require(store)
    assert backend.objects == {}
    calls = len(backend.calls)
    probe.require(store)
    assert len(backend.calls) == calls  # asked once


def test_a_store_that_does_not_is_refused_with_the_remedy(memory):
    backend = memory(honours=False)
    with pytest.raises(PreconditionsError, match=r"in one request and in parts.*preconditions: do_without"):
        probe.require(CorpusStore("mem://x", backend))
    assert backend.objects == {}


def test_a_store_that_refuses_small_ones_only_is_refused(memory):
    backend = memory()
    put_parts = backend.put_parts
    backend.put_parts = lambda path, file, **options: put_parts(path, file, **{**options, "only_new": False})
    assert probe.probe(CorpusStore("mem://x", backend)) == Preconditions(small=True, parts=False)
    with pytest.raises(PreconditionsError, match="when it is written in parts"):
        probe.require(CorpusStore("mem://x", backend))


def test_a_store_that_does_not_take_the_question_says_why(memory):
    backend = memory()

    def put(path, data, *, only_new):
        if only_new:
            raise StoreError("the store answered 501 (Not Implemented)")
        backend.write(path, data)
        return True

    backend.put = put
    with pytest.raises(PreconditionsError, match="501"):
        probe.require(CorpusStore("mem://x", backend))


def test_a_failing_store_is_not_taken_for_one_that_ignores(memory):
    backend = memory()
    backend.faults = [("put", "before")] * 100
    with pytest.raises(TransientStoreError):
        probe.require(CorpusStore("mem://x", backend))


def test_faults_that_pass_do_not_change_the_answer(memory):
    for when in ("before", "after"):
        for number in range(4):
            backend = memory()
            backend.faults = [("put", when), ("put_parts", when)] * number
            assert probe.probe(CorpusStore("mem://x", backend)).honoured


def test_it_is_not_asked_of_a_store_that_the_recipe_accepts_as_it_is(memory):
    backend = memory(honours=False)
    store = CorpusStore(Place.of_corpus("mem://x", OutAccess(preconditions="do_without")), backend)
    probe.require(store)
    assert backend.calls == []
    assert store.remote.create("m", b"1")
    assert not store.remote.create("m", b"2")


def test_a_local_folder_is_not_asked(tmp_path):
    probe.require(CorpusStore(str(tmp_path / "corpus")))
    assert list(tmp_path.iterdir()) == []
