"""A shard without a sample is what a build without its case would have made."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from mdfp.errors import CorpusError
from transforms.rewrite import check_sha256, without
from transforms.rows import read_samples


@pytest.fixture
def built(world):
    """A committed shard: its tar and its rows."""
    marker, _ = world.builder().build(world.reader.work(0))
    return world.corpus.folder / marker.path, read_samples(world.corpus, marker), marker


def without_case(work, case_id):
    return dataclasses.replace(
        work,
        cases=tuple(c for c in work.cases if c.case_id != case_id),
        objects=tuple(o for o in work.objects if o.case_id != case_id),
    )


@pytest.mark.parametrize("number", [0, 1, -1])
def test_it_has_the_bytes_of_a_build_that_left_the_case_out(number, built, world, tmp_path):
    tar, samples, _ = built
    gone = samples[number].case_id
    left = without(tar, samples, {gone}, tmp_path / "new.tar")
    again = tmp_path / "again.tar"
    sha256, _ = world.builder().write_tar(without_case(world.reader.work(0), gone), again)
    assert left.sha256 == sha256
    assert (tmp_path / "new.tar").read_bytes() == again.read_bytes()
    assert left.bytes == again.stat().st_size


def test_members_of_what_stays_are_found_at_their_new_places(built, tmp_path):
    tar, samples, _ = built
    left = without(tar, samples, {samples[0].case_id}, tmp_path / "new.tar")
    old, new = tar.read_bytes(), (tmp_path / "new.tar").read_bytes()
    assert [s.case_id for s in left.samples] == [s.case_id for s in samples[1:]]
    for before, after in zip(samples[1:], left.samples, strict=True):
        for a, b in zip(before.members, after.members, strict=True):
            assert a.name == b.name
            assert old[a.offset : a.offset + a.bytes] == new[b.offset : b.offset + b.bytes]


def test_taking_nothing_out_changes_nothing(built, tmp_path):
    tar, samples, marker = built
    assert without(tar, samples, set(), tmp_path / "new.tar").sha256 == marker.sha256


def test_a_damaged_shard_is_refused(built, tmp_path):
    tar, samples, marker = built
    content = bytearray(tar.read_bytes())
    content[len(content) // 2] ^= 1
    tar.write_bytes(content)
    with pytest.raises(CorpusError, match="repair the corpus first"):
        check_sha256(tar, marker.sha256, marker.path)
    tar.write_bytes(content[:1000])
    with pytest.raises(CorpusError, match=r"expected \d+ bytes, found"):
        without(tar, samples, {samples[0].case_id}, tmp_path / "new.tar")
    assert hashlib.sha256(content).hexdigest() != marker.sha256
