from __future__ import annotations

import collections
import hashlib
import os
import shutil
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from schemas.reasons import Reason
from transforms import commit
from transforms.plan.duplicates import Duplicate
from transforms.plan.files import PlanReader, write
from transforms.plan.revision import revise
from transforms.rows import read_samples
from transforms.shard import ScratchFullError, committed, marker_path, read_marker


def below(folder):
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())


def test_a_shard_holds_its_cases_in_the_planned_order(world):
    marker, built = world.builder().build(world.reader.work(0))
    assert built
    samples = read_samples(world.corpus, marker)
    assert tuple(s.case_id for s in samples) == world.plan.shards[0].cases
    assert [s.position for s in samples] == [0, 1, 2, 3]
    file = world.corpus.folder / marker.path
    assert hashlib.sha256(file.read_bytes()).hexdigest() == marker.sha256
    assert marker.path == f"shards/train/tiny-00000-{marker.sha256[:16]}.tar"
    assert file.stat().st_size == marker.bytes
    with tarfile.open(file) as tar:
        names = tar.getnames()
    assert names == [m.name for s in samples for m in s.members]
    assert names[:3] == [f"{samples[0].key}.{end}" for end in ("image.ct.b2nd", "label.base.b2nd", "json")]


def test_members_lie_where_the_record_says(world):
    marker, _ = world.builder().build(world.reader.work(0))
    content = (world.corpus.folder / marker.path).read_bytes()
    with tarfile.open(world.corpus.folder / marker.path) as tar:
        for sample in read_samples(world.corpus, marker):
            for member in sample.members:
                expected = tar.extractfile(member.name).read()
                assert content[member.offset : member.offset + member.bytes] == expected


def test_what_is_committed_is_skipped(world):
    first, _ = world.builder().build(world.reader.work(0))
    second, built = world.builder().build(world.reader.work(0))
    assert not built
    assert second == first == committed(world.corpus, world.plan.shards[0])


@pytest.mark.parametrize("damage", [os.unlink, lambda path: os.truncate(path, 1000)])
@pytest.mark.parametrize("what", ["tar", "rows"])
def test_a_marker_whose_tar_or_rows_are_not_there_in_full_commits_nothing(world, what, damage):
    first, _ = world.builder().build(world.reader.work(0))
    damage(world.corpus.folder / (first.path if what == "tar" else first.rows.path))
    assert committed(world.corpus, world.plan.shards[0]) is None


def test_lost_rows_are_written_again(world):
    first, _ = world.builder().build(world.reader.work(0))
    content = (world.corpus.folder / first.rows.path).read_bytes()
    (world.corpus.folder / first.rows.path).unlink()
    second, _ = world.builder().build(world.reader.work(0))
    assert second == first
    assert (world.corpus.folder / first.rows.path).read_bytes() == content


def test_a_lost_tar_is_built_again(world):
    first, _ = world.builder().build(world.reader.work(0))
    (world.corpus.folder / first.path).unlink()
    second, _ = world.builder().build(world.reader.work(0))
    assert second == first
    assert hashlib.sha256((world.corpus.folder / first.path).read_bytes()).hexdigest() == first.sha256


def test_a_tar_of_other_length_under_the_right_name_is_an_error_and_stays(world):
    first, _ = world.builder().build(world.reader.work(0))
    os.truncate(world.corpus.folder / first.path, 1000)
    with pytest.raises(commit.CommitError, match=r"expected \d+ bytes, found 1000.*Remove it and run again"):
        world.builder().build(world.reader.work(0))


def test_a_permanent_fault_is_a_hole_and_nothing_is_renumbered(world):
    victim = world.plan.shards[0].cases[1]
    number = int(victim[-1])
    content = world.file(number).read_bytes()
    stat = world.file(number).stat()
    world.file(number).write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    os.utime(world.file(number), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    marker, _ = world.builder().build(world.reader.work(0))
    ((hole),) = marker.holes
    assert (hole.case_id, hole.stage, hole.reason) == (victim, "build", Reason.CORRUPT_GZIP)
    assert [s.position for s in read_samples(world.corpus, marker)] == [0, 2, 3]


def test_a_file_that_is_gone_or_changed_is_a_hole(world):
    world.file(0).unlink()
    os.utime(world.file(1, label=True))
    marker, _ = world.builder().build(world.reader.work(0))
    assert {h.case_id: h.reason for h in marker.holes} == {
        "tiny-c0": Reason.MISSING_FILE,
        "tiny-c1": Reason.SOURCE_CHANGED,
    }
    assert not any(str(world.root) in h.detail for h in marker.holes)


def test_a_known_duplicate_is_a_hole_and_is_not_even_read(world):
    revised = revise(world.plan, [Duplicate("tiny-c2", "tiny-c0", "the same pixels as tiny-c0")])
    world.file(2).unlink()
    marker, _ = world.builder().build(PlanReader(world.corpus, write(revised, world.corpus)).work(0))
    assert [(h.case_id, h.reason, h.detail) for h in marker.holes] == [
        ("tiny-c2", Reason.DUPLICATE, "the same pixels as tiny-c0")
    ]
    assert marker.samples == 3


def test_a_shard_of_holes_alone_has_a_marker_and_no_tar(world):
    for number in range(4):
        world.file(number).unlink()
    marker, _ = world.builder().build(world.reader.work(0))
    assert (marker.path, marker.sha256, marker.bytes, marker.samples, marker.rows) == (None, None, 0, 0, None)
    assert read_samples(world.corpus, marker) == ()
    assert len(marker.holes) == 4
    assert committed(world.corpus, world.plan.shards[0]) == marker
    assert not (world.corpus.folder / "shards").exists()
    assert not (world.corpus.folder / "rows").exists()


def test_what_may_pass_is_raised_and_leaves_nothing_behind(world, monkeypatch):
    def failing(path, size, version):
        raise OSError(5, "the disk is not well")

    monkeypatch.setattr(world.source, "read_object", failing)
    before = below(world.corpus.folder)
    with pytest.raises(OSError, match="not well"):
        world.builder().build(world.reader.work(0))
    assert below(world.corpus.folder) == before
    assert below(world.scratch) == []


def test_a_bug_is_raised_and_leaves_nothing_behind(world, monkeypatch):
    from transforms.sample import SampleMaker

    def broken(self, fetched, assignment):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(SampleMaker, "samples", broken)
    before = below(world.corpus.folder)
    with pytest.raises(ZeroDivisionError):
        world.builder().build(world.reader.work(0))
    assert below(world.corpus.folder) == before
    assert below(world.scratch) == []


def test_without_room_on_scratch_nothing_is_begun(world, monkeypatch):
    full = collections.namedtuple("usage", "total used free")(1, 1, 5 << 10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(ScratchFullError, match=r"twice its size.*--scratch-dir"):
        world.builder().build(world.reader.work(0))


def test_builders_that_race_give_one_shard_and_one_marker(world):
    barrier, work = threading.Barrier(3), world.reader.work(0)

    def build(_):
        barrier.wait()
        return world.builder().build(work)

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(build, range(3)))
    assert len({marker.sha256 for marker, _ in results}) == 1
    assert sum(built for _, built in results) == 1
    assert len(below(world.corpus.folder / "shards")) == len(below(world.corpus.folder / "rows")) == 1
    assert below(world.corpus.folder / "commits") == [marker_path(world.plan.shards[0]).removeprefix("commits/")]
    assert read_marker(world.corpus, marker_path(world.plan.shards[0])) == results[0][0]


def test_every_case_is_ticked_holes_included(world):
    world.file(0).unlink()
    ticks = []
    world.builder(on_case=lambda: ticks.append(1)).build(world.reader.work(0))
    assert len(ticks) == 4


def test_a_large_case_is_not_fetched_ahead_and_comes_out_the_same(world, monkeypatch):
    from transforms import shard

    ahead, _ = world.builder().write_tar(world.reader.work(0), world.scratch / "a.tar")
    monkeypatch.setattr(shard, "PREFETCH_BYTES", 0)
    assert world.builder().write_tar(world.reader.work(0), world.scratch / "b.tar") == (ahead, [])


def test_a_touched_file_may_serve_a_repair(world):
    before, _ = world.builder().write_tar(world.reader.work(0), world.scratch / "a.tar")
    for number in range(4):
        os.utime(world.file(number))
    again = world.builder(any_version=True).write_tar(world.reader.work(0), world.scratch / "b.tar")
    assert again == (before, [])
