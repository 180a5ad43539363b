from __future__ import annotations

import dataclasses
import hashlib

import pytest

from mdfp import canonical
from mdfp.errors import CorpusError
from mdfp.index import rows_digest
from transforms.commit import CommitError
from transforms.rows import made_digest, read_rows, read_samples, write_rows


@pytest.fixture
def marker(world):
    return world.builder().build(world.reader.work(0))[0]


def test_rows_are_what_the_marker_says(world, marker):
    data = (world.corpus.folder / marker.rows.path).read_bytes()
    samples = read_samples(world.corpus, marker)
    assert (len(data), hashlib.sha256(data).hexdigest()) == (marker.rows.bytes, marker.rows.sha256)
    assert marker.rows.path == f"rows/train/tiny-00000-{marker.rows.sha256[:16]}.arrow.zst"
    assert marker.rows.digest == rows_digest(samples)
    assert marker.made == made_digest(s.case_id for s in samples)
    assert {s.shard for s in samples} == {marker.path}


def test_a_marker_stays_small(marker):
    assert len(canonical.dumps(marker)) < 1000


def test_writing_the_same_rows_twice_is_harmless(world, marker):
    samples = read_samples(world.corpus, marker)
    assert write_rows(samples, world.plan.shards[0], world.corpus) == marker.rows


def test_rows_of_other_length_under_the_right_name_are_an_error_and_stay(world, marker):
    samples = read_samples(world.corpus, marker)
    file = world.corpus.folder / marker.rows.path
    file.write_bytes(b"x")
    with pytest.raises(CommitError, match=r"expected \d+ bytes, found 1; its name says"):
        write_rows(samples, world.plan.shards[0], world.corpus)
    assert file.read_bytes() == b"x"


def test_changed_and_lost_rows_are_named(world, marker):
    file = world.corpus.folder / marker.rows.path
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(CorpusError, match=r"the marker says sha256 [0-9a-f]{64}, found .*run build again"):
        read_rows(world.corpus, marker)
    file.unlink()
    with pytest.raises(CorpusError, match="named by a marker and not there"):
        read_rows(world.corpus, marker)


def test_a_shard_of_holes_alone_has_no_rows(world, marker):
    assert read_rows(world.corpus, dataclasses.replace(marker, rows=None)).num_rows == 0


def test_case_ids_are_told_apart_at_their_ends():
    assert made_digest(["ab", "c"]) != made_digest(["a", "bc"])
    assert made_digest([]) != made_digest([""])
