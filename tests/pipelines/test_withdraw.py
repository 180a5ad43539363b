"""What is taken back is gone from the newest manifest and from the disk; the rest is what it was; any step may die."""

from __future__ import annotations

import io
import json
import shutil

import pyarrow.parquet as pq
import pytest

import mdfp
from mdfp import manifest as manifests
from mdfp.errors import NoCorpusError, UsageError
from mdfp.verify import verify
from pipelines import withdraw as withdrawing
from pipelines.build import BuildOptions, audit, build
from pipelines.gc import collect
from pipelines.inventory import take_inventory
from pipelines.plan import plan, read_latest
from pipelines.repair import repair
from pipelines.runner import Engine
from pipelines.status import status
from pipelines.withdraw import look, withdraw
from transforms import commit
from transforms.plan.planner import Selection
from transforms.withdrawn import Withdrawal


@pytest.fixture
def published(corpus, make_workspace, tmp_path):
    """A published corpus of one's own."""
    shutil.copytree(corpus.folder, tmp_path / "corpus")
    return make_workspace(tmp_path / "corpus")


@pytest.fixture
def one(published):
    """A published case that shares its shard with others."""
    opened = mdfp.open(published.corpus.root)
    shard = max(opened.manifest.shards, key=lambda s: s.samples)
    return next(s for s in opened.samples if s.shard == shard.path)


def take_back(workspace, console, withdrawal, *, purge=True):
    return withdraw(workspace, withdrawal, purge=purge, scratch=None, console=console)


def everything(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def check_gone(workspace, gone, before):
    """The law: the newest manifest is sound, names none of the cases, and everything else as it was."""
    opened = mdfp.open(workspace.corpus.root)
    assert verify(opened) == []
    assert {s.key for s in opened.samples} == before - gone
    left = everything(workspace.corpus.folder)
    for name, data in left.items():
        if name.endswith(".tar"):
            assert not any(f"{key}.".encode() in data for key in gone), name
    for name in ("report.html", f"rejects/{opened.manifest.number:06d}.parquet"):
        assert not any(key.encode() in left[name] for key in gone), name
    rows = pq.read_table(io.BytesIO(left["findings.parquet"])).to_pylist()
    assert not any(key in str(row) for row in rows for key in gone)
    assert int(left["LATEST"]) == opened.manifest.number
    return opened


def test_a_case_is_gone_from_manifest_index_tars_and_report(published, one, console):
    before = mdfp.open(published.corpus.root)
    keys = {s.key for s in before.samples}
    found = look(published.corpus, Withdrawal((one.case_id,), (), ()))
    assert (found.samples, found.shards) == (1, 1)
    done = take_back(published, console, Withdrawal((one.case_id,), (), ()))
    assert (done.manifest, done.samples, done.rewritten) == (2, 1, 1)
    after = check_gone(published, {one.key}, keys)
    assert after.manifest.parent == 1
    assert len(set(after.manifest.shards) - set(before.manifest.shards)) == 1
    assert not (published.corpus.folder / one.shard).exists()
    (hole,) = [h for h in after.manifest.holes if h.reason == "withdrawn"]
    assert (hole.source, hole.count) == (one.source, 1)
    assert after.manifest.samples + sum(h.count for h in after.manifest.holes) == before.manifest.samples + sum(
        h.count for h in before.manifest.holes
    )


def test_a_patient_is_gone_with_all_their_cases(published, one, console):
    opened = mdfp.open(published.corpus.root)
    keys, mine = {s.key for s in opened.samples}, {s.key for s in opened.samples if s.patient == one.patient}
    take_back(published, console, Withdrawal((), (one.patient,), ()))
    check_gone(published, mine, keys)


def test_a_source_is_gone_with_its_shards(published, one, console):
    opened = mdfp.open(published.corpus.root)
    keys, mine = {s.key for s in opened.samples}, {s.key for s in opened.samples if s.source == one.source}
    done = take_back(published, console, Withdrawal((), (), (one.source,)))
    assert done.rewritten == 0
    after = check_gone(published, mine, keys)
    assert one.source not in {s.source for s in after.manifest.shards}


def test_it_is_not_planned_again_and_nothing_is_built_again(published, one, console):
    take_back(published, console, Withdrawal((one.case_id,), (), ()))
    take_inventory(published, Engine(), console)
    made = plan(published, Selection(), console)
    assert made.shards == ()
    (left,) = [a for a in made.left_out() if a.case_id == one.case_id]
    assert (str(left.left_out), "taken back" in left.detail) == ("withdrawn", True)
    before = everything(published.corpus.folder)
    built = build(published, read_latest(published), Engine(), BuildOptions(max_holes=0.9), console)
    assert [h.case_id for h in built.holes if h.reason == "withdrawn"] == [one.case_id]
    assert everything(published.corpus.folder) == before
    assert status(published.corpus).next_step == "nothing: all is published"


def test_no_marker_names_what_is_gone_though_another_edition_of_the_plan_was_made_since(
    published, one, console, plan_again
):
    plan_again(published)
    before = {s.key for s in mdfp.open(published.corpus.root).samples}
    take_back(published, console, Withdrawal((one.case_id,), (), ()))
    check_gone(published, {one.key}, before)
    left = everything(published.corpus.folder)
    named = {json.loads(data)["path"] for name, data in left.items() if name.startswith("commits/")}
    assert named - {None} <= left.keys()


def test_a_plan_that_was_made_before_is_refused(published, make_workspace, console, tmp_path, one):
    workspace = make_workspace(tmp_path / "other")
    take_inventory(workspace, Engine(), console)
    made = plan(workspace, Selection(only=(one.source,)), console)
    from transforms import withdrawn as tombstones

    tombstones.add(workspace.corpus, Withdrawal((one.case_id,), (), ()))
    with pytest.raises(UsageError, match="taken back since; make a new plan"):
        build(workspace, made, Engine(), BuildOptions(max_holes=0.9), console)


def test_nothing_published_is_refused(make_workspace, console, tmp_path):
    with pytest.raises(NoCorpusError, match="nothing is published"):
        take_back(make_workspace(tmp_path / "new"), console, Withdrawal(("a",), (), ()))


def test_readers_of_the_old_manifest_are_told(published, one, console):
    take_back(published, console, Withdrawal((one.case_id,), (), ()))
    with pytest.raises(mdfp.errors.CorpusError, match=r"taken back.*open manifest 2"):
        mdfp.open(published.corpus.root, 1)


def test_old_bytes_may_stay_for_readers_until_a_later_call(published, one, console):
    take_back(published, console, Withdrawal((one.case_id,), (), ()), purge=False)
    old = mdfp.open(published.corpus.root, 1)
    assert verify(old) == []
    assert one.key not in {s.key for s in mdfp.open(published.corpus.root).samples}
    assert collect(published.corpus, older_than_days=0, delete=True)
    assert (published.corpus.folder / one.shard).exists()
    done = take_back(published, console, None)
    assert (done.manifest, done.samples) == (2, 0)
    assert not (published.corpus.folder / one.shard).exists()


def test_what_a_late_writer_brings_back_is_garbage(published, one, console):
    old = (published.corpus.folder / one.shard).read_bytes()
    take_back(published, console, Withdrawal((one.case_id,), (), ()))
    commit.create_bytes(old, published.corpus, one.shard)
    found = collect(published.corpus, older_than_days=0, delete=True)
    assert one.shard in {g.object.path for g in found.found}
    assert not (published.corpus.folder / one.shard).exists()


def test_rewritten_shards_can_be_repaired(published, one, console):
    take_back(published, console, Withdrawal((one.case_id,), (), ()))
    opened = mdfp.open(published.corpus.root)
    rewritten = next(s for s in opened.manifest.shards if s.path.rsplit("-", 1)[0] == one.shard.rsplit("-", 1)[0])
    file = published.corpus.folder / rewritten.path
    content = file.read_bytes()
    file.write_bytes(content[:-100])
    done = repair(published, BuildOptions(attempts=1), deep=True, console=console)
    assert (done.restored, done.lost) == ((rewritten.path,), ())
    assert file.read_bytes() == content


class Killed(BaseException):
    """As if the process had died."""


WRITES = ("create_file", "create_bytes", "replace", "remove_all")


@pytest.fixture(scope="module")
def reference(corpus, make_workspace, console, tmp_path_factory):
    """What an undisturbed withdrawal leaves, and how many writes it takes."""
    folder = tmp_path_factory.mktemp("reference") / "corpus"
    shutil.copytree(corpus.folder, folder)
    workspace = make_workspace(folder)
    opened = mdfp.open(str(folder))
    shard = max(opened.manifest.shards, key=lambda s: s.samples)
    case = next(s for s in opened.samples if s.shard == shard.path)
    with pytest.MonkeyPatch.context() as patch:
        calls = counting(patch, die_at=None)
        take_back(workspace, console, Withdrawal((case.case_id,), (), ()))
    return case, len(calls), state(folder)


def counting(patch, *, die_at, after=False):
    """Count what is written; die right before (or right after) the given write."""
    calls = []
    for name in WRITES:
        original = getattr(commit, name)

        def wrapped(*words, _original=original, _name=name):
            calls.append(_name)
            if len(calls) == die_at and not after:
                raise Killed
            result = _original(*words)
            if len(calls) == die_at:
                raise Killed
            return result

        patch.setattr(commit, name, wrapped)
    return calls


def state(folder):
    """What must be equal however often the withdrawal died."""
    kept = ("shards/", "index/", "manifests/", "commits/", "rows/", "rejects/", "LATEST", "withdrawn/")
    return {name: data for name, data in everything(folder).items() if name.startswith(kept)}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_write_and_called_again_it_ends_in_one_state(
    after, reference, corpus, make_workspace, console, tmp_path
):
    case, writes, expected = reference
    keys = {s.key for s in corpus.samples}
    for step in range(1, writes + 1):
        folder = tmp_path / f"{step}" / "corpus"
        shutil.copytree(corpus.folder, folder)
        workspace = make_workspace(folder)
        with pytest.MonkeyPatch.context() as patch:
            counting(patch, die_at=step, after=after)
            with pytest.raises(Killed):
                take_back(workspace, console, Withdrawal((case.case_id,), (), ()))
        # A reader who comes now sees the old corpus or the new one, whole.
        opened = mdfp.open(str(folder))
        assert {s.key for s in opened.samples} in (keys, keys - {case.key})
        assert verify(opened, quick=True) == [], step
        take_back(workspace, console, Withdrawal((case.case_id,), (), ()))
        assert state(folder) == expected, step
        audit(workspace, read_latest(workspace))
        shutil.rmtree(folder)


def test_another_publish_meanwhile_is_taken_into_account(published, one, console, monkeypatch):
    original, raced = withdrawing._write_index, []

    def race(*words):
        if not raced:
            raced.append(1)
            manifest = json.loads((published.corpus.folder / manifests.manifest_path(1)).read_bytes())
            manifest |= {"number": 2, "parent": 1}
            (published.corpus.folder / manifests.manifest_path(2)).write_text(json.dumps(manifest))
        return original(*words)

    monkeypatch.setattr(withdrawing, "_write_index", race)
    done = take_back(published, console, Withdrawal((one.case_id,), (), ()))
    assert (done.manifest, done.samples) == (3, 1)
    assert one.key not in {s.key for s in mdfp.open(published.corpus.root).samples}
