from __future__ import annotations

import fsspec
import pytest

from mdfp.errors import CorpusError
from mdfp.store import FETCH_ATTEMPTS, CorpusStore


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda s: None)
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/reader-test/a", b"0123456789")
    yield CorpusStore("memory://reader-test")
    memory.rm("/reader-test", recursive=True)


def failing(store, monkeypatch, faults):
    """The store's file system, after it has done these: raise an error, or cut an answer to some bytes."""
    cat = store._fs.cat_file
    coming = list(faults)

    def cat_file(path, start, end):
        fault = coming.pop(0) if coming else None
        if isinstance(fault, Exception):
            raise fault
        return cat(path, start=start, end=end)[:fault]

    monkeypatch.setattr(store._fs, "cat_file", cat_file)
    return coming


def test_an_answer_that_fails_or_is_cut_short_is_asked_for_again(store, monkeypatch):
    left = failing(store, monkeypatch, [OSError("503"), 2, TimeoutError()])
    assert store.read_range("a", 2, 5) == b"23456"
    assert left == []


def test_a_file_that_stays_short_is_damage(store, monkeypatch):
    with pytest.raises(CorpusError, match="expected 20 bytes at 5, found 5: cut short"):
        store.read_range("a", 5, 20)
    failing(store, monkeypatch, [OSError("gone wrong")] * FETCH_ATTEMPTS)
    with pytest.raises(OSError, match="gone wrong"):
        store.read_range("a", 0, 1)


def test_a_missing_file_is_not_asked_for_twice(store, monkeypatch):
    left = failing(store, monkeypatch, [FileNotFoundError("a"), FileNotFoundError("a")])
    with pytest.raises(CorpusError, match="named by the manifest and not there"):
        store.read_range("a", 0, 1)
    assert len(left) == 1


def test_a_server_without_ranges_is_named(store, monkeypatch):
    monkeypatch.setattr(store._fs, "cat_file", lambda path, start, end: b"0123456789")
    with pytest.raises(CorpusError, match="its server knows no ranges"):
        store.read_range("a", 0, 1)


def test_messages_show_no_credentials():
    store = CorpusStore("https://me:secret@host/corpus")
    assert store.where("a") == "https://***@host/corpus/a"
