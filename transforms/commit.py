"""The only place that writes to a corpus.

A file is built on local scratch, closed and hashed, then becomes visible in one step, and only when nothing is there
yet. No stream is ever opened on the corpus itself: on object stores an exception inside such a stream publishes the
part that was written. How remote stores are written to is in `transforms.stores.remote`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mdfp.errors import MdfpError
from transforms.retry import with_retries as with_retries
from transforms.store import CorpusStore
from transforms.stores.backend import Unfinished

PART_PREFIX = ".part-"
"""How temporary files are called until they become visible. A killed process may leave one behind; nobody reads it."""


REMOVED_AT_ONCE = 16
"""Requests at a time while many objects are removed."""


class CommitError(MdfpError):
    """The corpus holds other bytes under a name that says what its bytes are."""


def create_file(file: Path, store: CorpusStore, path: str) -> bool:
    """Make a finished local file visible as `path`, if nothing is there yet.

    Args:
        file: complete and closed; left where it is.
        store: the corpus.
        path: below the corpus.

    Returns:
        True when this call created it, False when it was already there (whose bytes are then another's affair).
    """
    if store.folder is None:
        return store.remote.create(path, file)
    target = store.folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    _sync(file)
    try:
        os.link(file, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
        with _beside(target) as temporary:  # scratch on another file system: copy next to the target first
            shutil.copyfile(file, temporary)
            _sync(temporary)
            return _link(temporary, target)
    _sync(target.parent)
    return True


def create_bytes(data: bytes, store: CorpusStore, path: str) -> bool:
    """Like `create_file`, from memory: for small files."""
    if store.folder is None:
        return store.remote.create(path, data)
    target = store.folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with _beside(target) as temporary:
        temporary.write_bytes(data)
        _sync(temporary)
        return _link(temporary, target)


def create_same(data: bytes, store: CorpusStore, path: str) -> None:
    """Create `path`; when it is there already its bytes must be these.

    Raises:
        CommitError: it holds other bytes.
    """
    if not create_bytes(data, store, path) and store.read(path) != data:
        raise CommitError(
            f"{store.url(path)}: already there with other content than expected (sha256 "
            f"{hashlib.sha256(data).hexdigest()[:16]}); it was written by another version or changed by hand. "
            "Move it away, or build into another folder."
        )


def replace(data: bytes, store: CorpusStore, path: str) -> None:
    """Put `data` at `path`, whatever was there, in one step. Only for what nothing depends on: hints and reports."""
    if store.folder is None:
        store.remote.replace(path, data)
        return
    target = store.folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with _beside(target) as temporary:
        temporary.write_bytes(data)
        _sync(temporary)
        temporary.replace(target)


def restore_file(file: Path, sha256: str, store: CorpusStore, path: str) -> None:
    """Put back a published file whose bytes were damaged or lost, from a rebuilt copy with the published hash.

    Raises:
        CommitError: the copy does not have that hash; nothing was changed.
    """
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise CommitError(f"{path}: the manifest says sha256 {sha256}, the rebuilt copy has {found}; left as it is")
    if store.folder is None:
        store.remote.replace(path, file)
        return
    target = store.folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with _beside(target) as temporary:
        shutil.copyfile(file, temporary)
        _sync(temporary)
        temporary.replace(target)


def remove(store: CorpusStore, path: str) -> None:
    """Remove what nothing refers to any more; nothing when it is not there."""
    if store.folder is None:
        store.remote.delete(path)
        return
    (store.folder / path).unlink(missing_ok=True)


def remove_all(store: CorpusStore, paths: Iterable[str]) -> None:
    """Remove many, several at a time. The caller has made sure that nothing that stays names them.

    Empty folders of a local corpus stay: another process may be about to write there.
    """
    with ThreadPoolExecutor(REMOVED_AT_ONCE) as pool:
        list(pool.map(lambda path: remove(store, path), paths))


def abort(store: CorpusStore, uploads: Iterable[Unfinished]) -> None:
    """End uploads in parts that nobody will finish, so that their parts are no longer stored and billed."""
    for upload in uploads:
        store.remote.abort(upload)


class _beside(contextlib.AbstractContextManager[Path]):  # noqa: N801 (used as a function)
    """A temporary name in the target's folder, so that linking and renaming stay within one file system."""

    def __init__(self, target: Path):
        handle, name = tempfile.mkstemp(prefix=PART_PREFIX, dir=target.parent)
        os.close(handle)
        self._path = Path(name)
        self._path.chmod(0o644)

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)


def _link(temporary: Path, target: Path) -> bool:
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    _sync(target.parent)
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
