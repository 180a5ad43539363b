from __future__ import annotations

import errno
import os
import pickle
import random
import threading

import pytest

from transforms import commit
from transforms.rejected import Rejected
from transforms.store import CorpusStore, SourceStore
from transforms.stores import limits, remote
from transforms.stores.errors import ChangedError, StoreError, TransientStoreError
from transforms.stores.remote import REQUEST_ATTEMPTS, Remote


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


@pytest.fixture
def store(memory):
    backend = memory()
    return Remote(backend, "mem://x"), backend


def test_waits_grow_and_are_not_alike(store, no_waiting):
    remote_store, backend = store
    backend.write("a", b"x")
    backend.faults = [("get", "before")] * (REQUEST_ATTEMPTS - 1)
    assert remote_store.read("a") == b"x"
    assert len(no_waiting) == REQUEST_ATTEMPTS - 1
    for n, seconds in enumerate(no_waiting):
        assert 0.1 * 2**n <= seconds <= 0.2 * 2**n
    backend.faults = [("get", "before")] * REQUEST_ATTEMPTS
    with pytest.raises(TransientStoreError):
        remote_store.read("a")


def test_an_answer_that_was_cut_short_is_asked_for_again(store):
    remote_store, backend = store
    backend.write("a", b"0123456789")
    backend.faults = [("get", "short"), ("get", "short")]
    assert remote_store.read("a", 2, 8) == b"234567"
    assert [c for c in backend.calls if c[0] == "get"] == [("get", "a")] * 3


@pytest.mark.parametrize("content", ["bytes", "file"])
@pytest.mark.parametrize("size", [0, 5, 200])
def test_a_creation_whose_answer_was_lost_is_known_again(store, content, size, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "PART_BYTES", 100)
    remote_store, backend = store
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    backend.faults = [("put" if content == "bytes" or size <= 100 else "put_parts", "after")]
    assert remote_store.create("m", data if content == "bytes" else tmp_path / "f")
    assert backend.objects["m"][0] == data


def test_another_writers_object_is_not_taken_for_ours_after_a_lost_answer(store):
    remote_store, backend = store
    put, raced = backend.put, []

    def lose(path, data, *, only_new):
        if not raced:
            raced.append(backend.write(path, b"theirs"))
            raise TransientStoreError("timed out before anything arrived")
        return put(path, data, only_new=only_new)

    backend.put = lose
    assert not remote_store.create("m", b"ours!!")
    assert backend.objects["m"][0] == b"theirs"


def test_a_shard_that_is_there_is_not_sent_again(store, tmp_path):
    remote_store, backend = store
    (tmp_path / "f").write_bytes(b"x")
    backend.write("s", b"x")
    assert not remote_store.create("s", tmp_path / "f")
    assert [c[0] for c in backend.calls] == ["head"]


def test_a_store_that_ignores_preconditions_is_looked_at_first(memory):
    backend = memory(honours=False)
    careful = Remote(backend, "mem://x", guarded=False)
    assert careful.create("m", b"first")
    assert not careful.create("m", b"second")
    assert backend.objects["m"][0] == b"first"


def test_what_arrived_is_looked_at_where_the_store_compared_nothing(store):
    remote_store, backend = store

    def lossy(path, data, *, only_new):
        backend.write(path, data[:-1])
        return False

    backend.put = lossy
    with pytest.raises(StoreError, match="sent 5 bytes, found 4 afterwards"):
        remote_store.create("m", b"12345")

    def wrong(path, data, *, only_new):
        backend.write(path, data[::-1])
        return False

    backend.put = wrong
    with pytest.raises(StoreError, match="holds other bytes than were sent"):
        remote_store.create("n", b"12345")


def test_large_objects_are_read_in_pieces_of_one_version(store, monkeypatch):
    monkeypatch.setattr(remote, "PART_BYTES", 7)
    remote_store, backend = store
    data = os.urandom(100)
    backend.write("a", data)
    version = backend.head("a").version
    assert remote_store.read_object("a", 100, version) == data
    get, seen = backend.get, []

    def changes(path, start, end, version):
        seen.append(start)
        if len(seen) == 5:
            backend.write("a", bytes(100))
        return get(path, start, end, version)

    backend.get = changes
    with pytest.raises(ChangedError):
        remote_store.read_object("a", 100, version)


def test_a_store_without_pinned_reads_is_looked_at_before_and_after(memory):
    backend = memory(pins=False)
    remote_store = Remote(backend, "mem://x")
    backend.write("a", b"0123")
    version = backend.head("a").version
    assert remote_store.read("a", 1, 3, version) == b"12"
    get = backend.get

    def changes(path, start, end, version):
        got = get(path, start, end, version)
        backend.write("a", b"4567")
        return got

    backend.get = changes
    with pytest.raises(ChangedError, match="expected etag:1, found etag:2"):
        remote_store.read("a", 1, 3, version)


def test_a_changed_object_is_a_verdict_with_both_versions(memory):
    backend = memory()
    backend.write("a", b"0123")
    store = SourceStore("mem://x", backend)
    seen = store.version("a")
    backend.write("a", b"01234")
    with pytest.raises(Rejected, match=r"saw 4 bytes \(etag:1\), now 5 bytes \(etag:2\); run the inventory again"):
        store.read_object("a", seen.bytes, seen.version)


def test_a_network_fault_is_never_a_verdict(memory):
    backend = memory()
    backend.write("a", b"0123")
    backend.faults = [("get", "before")] * REQUEST_ATTEMPTS
    with pytest.raises(TransientStoreError):
        SourceStore("mem://x", backend).read_object("a", 4, "etag:1")


def test_a_listing_out_of_order_is_refused_where_order_was_promised(memory):
    backend = memory()
    backend.list = lambda prefix, retry: iter([backend_item("b"), backend_item("a")])
    with pytest.raises(StoreError, match="listed 'a' after 'b'"):
        list(Remote(backend, "mem://x").list(""))
    backend.ordered = False
    assert [o.path for o in Remote(backend, "mem://x").list("")] == ["a", "b"]


def backend_item(path):
    from transforms.stores.backend import ListedObject

    return ListedObject(path, 1, "etag:1")


@pytest.mark.parametrize("seed", range(200))
def test_whatever_fails_one_writer_wins_whole_and_knows_it(memory, seed, monkeypatch, tmp_path):
    monkeypatch.setattr(remote, "PART_BYTES", 10)
    rng = random.Random(seed)
    backend = memory()
    methods = ["put", "put_parts", "head", "get"]
    backend.faults = [(rng.choice(methods), rng.choice(["before", "after"])) for _ in range(4)]
    contents = [bytes([n]) * rng.choice([3, 30]) for n in range(3)]
    won = []
    for number, content in enumerate(contents):
        file = tmp_path / str(number)
        file.write_bytes(content)
        what = file if rng.random() < 0.5 else content
        try:
            if Remote(backend, "mem://x").create("m", what):
                won.append(content)
        except OSError:
            continue
    if won:
        assert won == [backend.objects["m"][0]]
    assert backend.objects["m"][0] in contents


def test_requests_and_bytes_under_way_are_bounded(memory, monkeypatch):
    monkeypatch.setattr(limits, "REQUESTS", 3)
    monkeypatch.setattr(limits, "IN_FLIGHT_BYTES", 25)
    monkeypatch.setattr(limits, "_limits", limits._Limits())
    backend = memory()
    backend.write("a", bytes(100))
    running, most, lock = [0, 0], [0, 0], threading.Lock()
    get, gate = backend.get, threading.Event()

    def slow(path, start, end, version):
        with lock:
            running[0] += 1
            running[1] += end - start
            most[:] = [max(most[0], running[0]), max(most[1], running[1])]
        gate.wait(0.01)
        with lock:
            running[0] -= 1
            running[1] -= end - start
        return get(path, start, end, version)

    backend.get = slow
    store = SourceStore("mem://x", backend)
    assert len(list(store.each(lambda n: store.read("a", n, n + 10), range(40)))) == 40
    assert most[0] <= 2  # 25 bytes are two requests of 10
    assert most[1] <= 25
    assert len(list(store.each(lambda n: store.read("a", n, n + 1), range(40)))) == 40
    assert most[0] <= 3
    assert store.read("a", 0, 90) == bytes(90)  # larger than the budget: alone


def test_results_come_in_the_order_of_the_items_and_a_failure_ends_it(memory):
    store = SourceStore("mem://x", memory())
    assert list(store.each(lambda n: n * n, range(100))) == [n * n for n in range(100)]

    def fails(n):
        if n == 20:
            raise OSError(errno.EIO, "no")
        return n

    with pytest.raises(OSError, match="no"):
        list(store.each(fails, range(10**6)))


def test_a_store_opens_anew_where_it_arrives():
    store = CorpusStore("memory://pickled/corpus")
    commit.create_bytes(b"x", store, "a")
    other = pickle.loads(pickle.dumps(store))
    assert other.remote is not store.remote
    assert other.read("a") == b"x"
    commit.remove(store, "a")


def test_a_place_is_empty_where_only_telemetry_lies(memory):
    backend = memory()
    store = CorpusStore("mem://x", backend)
    assert store.is_empty()
    backend.write("telemetry/probes/a", b"")
    assert store.is_empty()
    backend.write("thesis.docx", b"")
    assert not store.is_empty()
