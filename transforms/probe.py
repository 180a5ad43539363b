"""Does a store refuse to create what is there? Asked of the store itself, at the start of every run that writes.

Everything that makes a corpus safe against two writers rests on this answer: a commit marker and a manifest's number
belong to whoever created them first. Some servers, gateways and emulators take the header and ignore it.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mdfp.errors import MdfpError
from transforms.store import CorpusStore
from transforms.stores.errors import StoreError, may_pass

FOLDER = "telemetry/probes"
"""Where probes lie for a moment, below the corpus: readers and manifests never look there."""


_found: dict[str, Preconditions] = {}
"""What was found in this process, by the store's root."""


class PreconditionsError(MdfpError):
    """The store does not refuse to create what is there."""


@dataclass(frozen=True)
class Preconditions:
    """What a store was found to refuse.

    Attributes:
        small: a second creation in one request.
        parts: a second creation in parts.
        why: what it said, where it did not take the question at all.
    """

    small: bool
    parts: bool
    why: str = ""

    @property
    def honoured(self) -> bool:
        """Whether it can be relied on."""
        return self.small and self.parts


def probe(store: CorpusStore) -> Preconditions:
    """Create two small objects twice each, with other bytes the second time, and remove them.

    A local folder is not asked: its files appear by a hard link, which cannot replace anything.

    Raises:
        OSError: the store cannot be reached or written to.
    """
    if store.folder is not None:
        return Preconditions(True, True)
    with tempfile.TemporaryDirectory(prefix="mdfp-probe-") as folder:
        name = f"{FOLDER}/{uuid.uuid4().hex}"
        backend, again = store.remote.backend, store.remote.again
        first, second = Path(folder) / "first", Path(folder) / "second"
        first.write_bytes(b"first")
        second.write_bytes(b"second")

        def small(file: Path) -> None:
            backend.put(f"{name}-small", file.read_bytes(), only_new=True)

        def parts(file: Path) -> None:
            backend.put_parts(f"{name}-parts", file, only_new=True, part_bytes=5 << 20, retry=again)

        # Whether it can be written to at all is not what is asked here.
        again(lambda: backend.put(f"{name}-write", b"", only_new=False))
        try:
            return _asked(store, name, small, parts, first, second)
        finally:
            for kind in ("write", "small", "parts"):
                # A writer that may not delete leaves a few bytes where nobody looks.
                with suppress(OSError):
                    store.remote.delete(f"{name}-{kind}")


def _asked(
    store: CorpusStore,
    name: str,
    small: Callable[[Path], None],
    parts: Callable[[Path], None],
    first: Path,
    second: Path,
) -> Preconditions:
    try:
        return Preconditions(
            _refuses(store, f"{name}-small", small, first, second),
            _refuses(store, f"{name}-parts", parts, first, second),
        )
    except StoreError as error:
        if may_pass(error):
            raise
        return Preconditions(False, False, str(error))


def _refuses(store: CorpusStore, path: str, create: Callable[[Path], None], first: Path, second: Path) -> bool:
    again = store.remote.again

    def created(file: Path) -> bool:
        try:
            again(lambda: create(file))
        except FileExistsError:
            return False
        return True

    created(first)  # refused when an attempt whose answer was lost did it
    return not created(second) and store.read(path) == first.read_bytes()


def require(store: CorpusStore) -> None:
    """Make sure that a corpus can be written to this store. Asked once in a process.

    Raises:
        PreconditionsError: the store does not honour preconditions, and the recipe does not accept that.
    """
    if not store.place.guarded or store.folder is not None:
        return
    if store.root not in _found:
        _found[store.root] = probe(store)
    found = _found[store.root]
    if found.honoured:
        return
    ignored = [kind for kind, fine in (("in one request", found.small), ("in parts", found.parts)) if not fine]
    raise PreconditionsError(
        f"{store.root}: expected a store that refuses to create an object that is there, found that this one does not when "
        f"it is written {' and '.join(ignored)}{f' ({found.why})' if found.why else ''}. Two runs at once could replace each "
        "other's markers and manifests. Use another store; or, where one run at a time writes, accept it in the recipe "
        "with out_access: {preconditions: do_without}"
    )
