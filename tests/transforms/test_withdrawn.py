"""What was taken back stays taken back, is written once, and names cases, patients and sources."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pyarrow as pa
import pytest

from mdfp import arrow
from transforms import withdrawn
from transforms.store import CorpusStore
from transforms.withdraw import shard_of, taken_back
from transforms.withdrawn import Withdrawal, Withdrawn

CASE = Withdrawal(("a-1",), (), ())
PATIENT = Withdrawal((), ("p2",), ())
SOURCE = Withdrawal((), (), ("c",))


@pytest.fixture
def store(tmp_path):
    return CorpusStore(str(tmp_path))


def record(case_id, patient, source):
    return SimpleNamespace(case_id=case_id, patient=patient, source=source)


def test_a_case_a_patient_and_a_source_are_told_by_their_columns():
    all_of_them = withdrawn.union([CASE, PATIENT, SOURCE])
    rows = [("a-1", "p1", "a"), ("a-2", "p2", "a"), ("c-3", "p3", "c"), ("a-4", "p4", "a")]
    table = pa.table(dict(zip(["case_id", "patient", "source"], zip(*rows, strict=True), strict=True)))
    assert taken_back(table, all_of_them).tolist() == [True, True, True, False]
    assert [all_of_them.has(record(*row)) for row in rows] == [True, True, True, False]
    assert not taken_back(table, Withdrawn()).any()


def test_nothing_is_taken_back_from_a_new_corpus(store):
    assert not withdrawn.load(store)


def test_it_is_written_once(store):
    withdrawn.add(store, CASE)
    found = withdrawn.add(store, PATIENT)
    assert found == withdrawn.union([CASE, PATIENT]) == withdrawn.load(store)
    withdrawn.add(store, CASE)
    assert [o.path for o in store.list(withdrawn.FOLDER)] == ["withdrawn/000001.json", "withdrawn/000002.json"]


def test_withdrawals_at_once_are_all_kept(store):
    many = [Withdrawal((f"a-{n}",), (), ()) for n in range(12)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda w: withdrawn.add(store, w), many))
    assert withdrawn.load(store).cases == {f"a-{n}" for n in range(12)}


def test_the_shard_of_a_path():
    assert shard_of("shards/train/a-b-00001-0123456789abcdef.tar") == "train/a-b-00001"
    assert shard_of("rows/test/pool-00012-0123456789abcdef.parquet") == "test/pool-00012"


def test_every_field_is_documented():
    assert arrow.undocumented(Withdrawal) == []
