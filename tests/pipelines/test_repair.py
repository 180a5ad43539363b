"""Damaged shards come back byte for byte, from the sources, or are named with the reason why not."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

import mdfp
from mdfp.verify import verify
from pipelines.build import BuildOptions
from pipelines.cli import app
from pipelines.repair import repair


@pytest.fixture
def copied(corpus, bucket, tmp_path):
    """A corpus and its bucket, to be damaged; the bucket's files have other mtimes."""
    shutil.copytree(corpus.folder, tmp_path / "corpus")
    shutil.copytree(bucket.folder, tmp_path / "bucket", copy_function=shutil.copyfile)
    return tmp_path / "corpus", type(bucket)(tmp_path / "bucket", bucket.truth)


@pytest.fixture
def mend(make_workspace, console, copied):
    def run(**options):
        out, bucket = copied
        return repair(
            make_workspace(out, source=bucket), BuildOptions(attempts=1), deep=True, console=console, **options
        )

    return run


def shards(out):
    return [out / s.path for s in mdfp.open(str(out)).manifest.shards]


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_sound_corpus_is_left_alone(mend, copied):
    before = {f: f.stat().st_mtime_ns for f in shards(copied[0])}
    done = mend()
    assert (done.checked, done.damaged, done.lost) == (len(before), (), ())
    assert {f: f.stat().st_mtime_ns for f in before} == before


def test_cut_short_flipped_and_deleted_shards_are_restored_byte_for_byte(mend, copied, corpus, digests_of):
    cut, flipped, deleted = shards(copied[0])[0], shards(copied[0])[3], shards(copied[0])[5]
    cut.write_bytes(cut.read_bytes()[:-700])
    flip(flipped)
    deleted.unlink()
    assert verify(mdfp.open(str(copied[0])))
    done = mend()
    assert sorted(done.damaged) == sorted(done.restored)
    assert len(done.restored) == 3
    assert done.lost == ()
    assert digests_of(copied[0]) == corpus.digests()
    assert verify(mdfp.open(str(copied[0]))) == []


def test_a_quick_look_sees_sizes_only(make_workspace, console, copied):
    out, bucket = copied
    flip(shards(out)[0])
    shards(out)[1].unlink()
    done = repair(make_workspace(out, source=bucket), BuildOptions(), deep=False, console=console)
    assert len(done.damaged) == 1


def test_what_the_sources_no_longer_give_is_named_with_the_reason(mend, copied):
    out, bucket = copied
    shutil.rmtree(bucket.folder / "phantom-mr")
    truth = next(c for c in bucket.truth.cases if c.source == "phantom-ct-structures" and c.name == "s0004")
    (bucket.folder / "phantom-ct-structures" / truth.image_paths[0]).unlink()
    victims = [f for f in shards(out) if "phantom-mr" in f.name or "phantom-ct-structures" in f.name]
    for file in victims:
        file.unlink()
    done = mend()
    why = dict(done.lost)
    assert len(done.restored) + len(done.lost) == len(victims)
    assert all(("phantom-mr" in path) == ("expected a folder, found nothing" in reason) for path, reason in why.items())
    (missing,) = [reason for path, reason in why.items() if "phantom-ct-structures" in path]
    assert missing.startswith("phantom-ct-structures-s0004: missing_file")
    assert not [f for f in victims if f.exists() and str(f.relative_to(out)) in why]


def test_a_source_of_other_content_and_equal_size_does_not_get_in(mend, copied):
    out, bucket = copied
    case = next(c for c in bucket.truth.cases if c.source == "phantom-mr" and c.image_paths[0].endswith(".mha"))
    flip(bucket.folder / "phantom-mr" / case.image_paths[0])
    mr = [f for f in shards(out) if "phantom-mr" in f.name]
    for file in mr:
        file.unlink()
    done = mend()
    assert len(done.lost) == 1
    assert "the manifest says sha256" in done.lost[0][1]
    assert len(done.restored) == len(mr) - 1


def test_another_environment_is_named_as_the_reason(mend, copied, monkeypatch):
    from transforms import environment, sample

    shards(copied[0])[0].unlink()
    monkeypatch.setattr(sample, "canonical", _OtherJson())
    now = environment.locked()
    monkeypatch.setattr(environment, "locked", lambda: now | {"numpy": "99.0"})
    done = mend()
    assert "another environment: numpy 99.0 (planned" in done.lost[0][1]


class _OtherJson:
    """What another environment might do to bytes."""

    def dumps(self, value):
        from mdfp import canonical

        return canonical.dumps(value) + b"\n"


def test_the_command_says_what_it_did_and_fails_when_something_is_lost(command_line, copied):
    out, bucket = copied
    line = type(command_line)(bucket)
    shards(out)[0].unlink()
    ended = line.run("repair", out, "--json", "--quiet")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["restored"]

    shutil.rmtree(bucket.folder / "phantom-mr")
    victim = next(f for f in shards(out) if "phantom-mr" in f.name)
    victim.unlink()
    words = line.words("repair", out, "--quiet")[3:]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 1
    assert victim.name in ended.stderr
    assert "phantom-mr" in ended.stderr
    assert "Traceback" not in ended.output
