from __future__ import annotations

import multiprocessing
import os
import time

import pytest

from transforms import commit
from transforms.store import CorpusStore


@pytest.fixture
def store(tmp_path):
    return CorpusStore(str(tmp_path / "corpus"))


def test_a_created_file_is_whole_and_alone(store, tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"abc")
    assert commit.create_file(file, store, "shards/train/x.tar")
    assert store.read("shards/train/x.tar") == b"abc"
    assert [o.path for o in store.list("")] == ["shards/train/x.tar"]


def test_the_first_writer_wins(store):
    assert commit.create_bytes(b"first", store, "m.json")
    assert not commit.create_bytes(b"second", store, "m.json")
    assert store.read("m.json") == b"first"


def test_equal_bytes_may_be_created_twice_other_bytes_may_not(store):
    commit.create_same(b"x", store, "plan.json")
    commit.create_same(b"x", store, "plan.json")
    with pytest.raises(commit.CommitError, match="other content"):
        commit.create_same(b"y", store, "plan.json")
    assert store.read("plan.json") == b"x"


def test_a_hint_may_be_replaced(store):
    commit.replace(b"1", store, "LATEST")
    commit.replace(b"2", store, "LATEST")
    assert store.read("LATEST") == b"2"


def test_scratch_on_another_file_system_is_copied(store, tmp_path, monkeypatch):
    file = tmp_path / "f"
    file.write_bytes(b"abc")
    link = os.link

    def cross_device(source, target):
        if source == file:
            raise OSError(18, "Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(os, "link", cross_device)
    assert commit.create_file(file, store, "a/b")
    assert store.read("a/b") == b"abc"
    assert [o.path for o in store.list("")] == ["a/b"]


def test_a_damaged_file_is_restored_only_by_its_own_bytes(store, tmp_path):
    import hashlib

    file = tmp_path / "f"
    file.write_bytes(b"good")
    commit.create_bytes(b"bad!", store, "s.tar")
    with pytest.raises(commit.CommitError, match="left as it is"):
        commit.restore_file(file, "0" * 64, store, "s.tar")
    assert store.read("s.tar") == b"bad!"
    commit.restore_file(file, hashlib.sha256(b"good").hexdigest(), store, "s.tar")
    assert store.read("s.tar") == b"good"


def _claim(root, number, results):
    results.put((number, commit.create_bytes(str(number).encode() * 1000, CorpusStore(root), "manifests/000001.json")))


def test_of_many_racing_processes_one_wins_and_its_bytes_stand(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    racers = [context.Process(target=_claim, args=(str(tmp_path), n, results)) for n in range(8)]
    for racer in racers:
        racer.start()
    outcomes = dict(results.get(timeout=30) for _ in racers)
    for racer in racers:
        racer.join()
    winners = [n for n, won in outcomes.items() if won]
    assert len(winners) == 1
    assert CorpusStore(str(tmp_path)).read("manifests/000001.json") == str(winners[0]).encode() * 1000


def test_what_may_pass_is_tried_again():
    calls = []

    def flaky():
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionResetError("reset")
        return "ok"

    assert commit.with_retries(flaky, attempts=4, first_wait_s=0) == "ok"
    assert len(calls) == 3


def test_what_does_not_pass_is_raised_at_once():
    calls = []

    def missing():
        calls.append(1)
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError):
        commit.with_retries(missing, attempts=4, first_wait_s=0)
    assert len(calls) == 1


def test_many_are_removed_and_what_is_not_there_is_passed_over(store):
    for name in ("a/1", "a/2", "b/3"):
        commit.create_bytes(b"x", store, name)
    commit.remove_all(store, ["a/1", "b/3", "c/4"])
    assert [o.path for o in store.list("")] == ["a/2"]


def test_a_listing_says_when_an_object_was_made(store):
    before = time.time()
    commit.create_bytes(b"x", store, "a/1")
    (found,) = store.list("a")
    assert before - 2 <= found.modified <= time.time() + 2
