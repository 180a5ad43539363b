from __future__ import annotations

import contextlib
import os

import pytest

from mdfp.errors import UsageError
from schemas.reasons import Reason
from transforms.rejected import Rejected
from transforms.store import CorpusStore, SourceStore


@pytest.fixture
def bucket(tmp_path):
    for name, content in {"b/2.nii": b"22", "a.nii": b"0123456789", "b/1.nii": b"1"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_a_listing_is_sorted_and_relative(bucket):
    assert [(o.path, o.bytes) for o in SourceStore(str(bucket)).list()] == [
        ("a.nii", 10),
        ("b/1.nii", 1),
        ("b/2.nii", 2),
    ]


def test_a_link_to_a_folder_is_not_followed(bucket):
    (bucket / "loop").symlink_to(bucket, target_is_directory=True)
    assert len(list(SourceStore(str(bucket)).list())) == 3


def test_a_range_is_read_without_the_rest(bucket):
    store = SourceStore(str(bucket))
    assert store.read("a.nii", 2, 5) == b"234"
    assert store.read("a.nii", 8, 100) == b"89"


def test_a_changed_file_has_another_version(bucket):
    store = SourceStore(str(bucket))
    before = store.version("a.nii")
    (bucket / "a.nii").write_bytes(b"9876543210")
    import os

    os.utime(bucket / "a.nii", ns=(1, 1))
    assert store.version("a.nii") != before


def test_a_file_that_is_gone_is_a_verdict(bucket):
    with pytest.raises(Rejected) as verdict:
        SourceStore(str(bucket)).read("c.nii")
    assert verdict.value.reason == Reason.MISSING_FILE


def test_a_missing_root_names_the_remedy(tmp_path):
    with pytest.raises(UsageError, match="--root"):
        SourceStore(str(tmp_path / "nowhere"))


def test_a_remote_store_lists_and_reads_alike(bucket):
    import fsspec

    memory = fsspec.filesystem("memory")
    for o in SourceStore(str(bucket)).list():
        memory.pipe_file(f"/store-test/{o.path}", (bucket / o.path).read_bytes())
    remote = SourceStore("memory://store-test")
    assert [(o.path, o.bytes) for o in remote.list()] == [("a.nii", 10), ("b/1.nii", 1), ("b/2.nii", 2)]
    assert remote.read("a.nii", 2, 5) == b"234"
    with pytest.raises(Rejected):
        remote.read("none")
    memory.rm("/store-test", recursive=True)


def test_sizes_tell_what_is_there(bucket):
    corpus = CorpusStore(str(bucket))
    assert corpus.size("a.nii") == 10
    assert corpus.size("none") is None
    assert corpus.list("nowhere") == []


def test_a_file_that_goes_while_it_is_listed_is_passed_over(tmp_path, monkeypatch):
    """A writer's temporary file lives for a moment, also while somebody counts markers."""
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"x")
    original = os.scandir

    def scan(folder):
        found = list(original(folder))
        (tmp_path / "b").unlink()
        return contextlib.nullcontext(found)

    monkeypatch.setattr(os, "scandir", scan)
    assert [o.path for o in CorpusStore(str(tmp_path)).list("")] == ["a", "c"]
