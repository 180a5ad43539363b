"""Any other file system that fsspec knows."""

from __future__ import annotations

import fsspec

from transforms.store import SourceStore


def test_a_listing_and_a_look_at_one_object_tell_the_same_version() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/generic/deep/a", b"0123456789")
    try:
        store = SourceStore("memory://generic")
        (listed,) = store.list()
        assert store.version("deep/a") == listed
        assert store.read_object("deep/a", listed.bytes, listed.version) == b"0123456789"
        assert store.read("deep/a", 2, 5, version=listed.version) == b"234"
    finally:
        memory.rm("/generic", recursive=True)
