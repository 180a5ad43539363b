"""What markers say, in short, each read once: a marker never changes, so its summary is kept between calls."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mdfp import arrow, canonical
from mdfp.errors import CorpusError
from schemas.plan import Marker
from transforms.shard import read_marker
from transforms.store import CorpusStore, ListedObject

READERS = 16
"""Markers read at once from a remote store: each is one small request."""


@dataclass(frozen=True)
class HoleTally:
    """Holes of a shard, by source and reason."""

    source: Annotated[str, "id of the source"]
    reason: Annotated[str, "reason code"]
    count: Annotated[int, "how many"]


@dataclass(frozen=True)
class Tally:
    """One marker in short."""

    marker: Annotated[str, "its path below the corpus"]
    version: Annotated[str, "of the marker's object, as listed"]
    fingerprint: Annotated[str, "of the shard plan that was built"]
    tar: Annotated[str | None, "the tar; null when every case was a hole"]
    rows: Annotated[str | None, "the index rows; null when every case was a hole"]
    bytes: Annotated[int, "size of the tar"]
    samples: Annotated[int, "samples in it"]
    holes: Annotated[tuple[HoleTally, ...], "cases that could not be made"]


def tally(path: str, version: str, marker: Marker) -> Tally:
    """A marker in short."""
    holes = Counter((h.source, str(h.reason)) for h in marker.holes)
    return Tally(
        marker=path,
        version=version,
        fingerprint=marker.fingerprint,
        tar=marker.path,
        rows=marker.rows.path if marker.rows else None,
        bytes=marker.bytes,
        samples=marker.samples,
        holes=tuple(HoleTally(s, r, n) for (s, r), n in sorted(holes.items())),
    )


class Tallies:
    """Summaries of the markers of one corpus.

    Args:
        corpus: whose markers.
        cache: local file that summaries are kept in; None: in memory only.
    """

    def __init__(self, corpus: CorpusStore, cache: Path | None = None):
        self._corpus = corpus
        self._cache = cache
        self._known = {t.marker: t for t in _load(cache)} if cache else {}

    def of(self, listed: Sequence[ListedObject]) -> list[Tally]:
        """The summary of each marker, in the order given; only those not known yet are read.

        A marker that disappears between the listing and its reading (somebody withdraws or collects garbage) is left
        out.
        """
        missing = [o for o in listed if not self._has(o)]
        with ThreadPoolExecutor(READERS) as pool:
            for found in pool.map(self._read, missing):
                if found is not None:
                    self._known[found.marker] = found
        if missing and self._cache:
            _save(self._cache, self._known.values())
        return [self._known[o.path] for o in listed if self._has(o)]

    def _has(self, o: ListedObject) -> bool:
        return o.path in self._known and self._known[o.path].version == o.version

    def _read(self, o: ListedObject) -> Tally | None:
        try:
            return tally(o.path, o.version, read_marker(self._corpus, o.path))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise CorpusError(
                f"{self._corpus.url(o.path)}: expected a commit marker of this version, found something else ({error}); "
                "was it written by another version of this program? Then build into another folder"
            ) from error


def _load(cache: Path) -> list[Tally]:
    """Summaries that an earlier call kept; none where the file is missing, damaged, or of another version."""
    try:
        return [arrow.from_dict(Tally, json.loads(line)) for line in cache.read_bytes().splitlines()]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _save(cache: Path, tallies: Iterable[Tally]) -> None:
    """Keep summaries for the next call. Without a place to keep them everything works, slower."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=cache.parent)
        with os.fdopen(handle, "wb") as file:
            file.writelines(canonical.dumps(t) + b"\n" for t in tallies)
        Path(name).replace(cache)
    except OSError:
        return
