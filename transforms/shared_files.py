"""Files of which several cases are made: fetched and inflated once in a process, as long as memory allows.

`temporal: split` makes each time point a case of its own. The order of cases is drawn by a hash, so the time points of one
file lie apart in a shard, and in several shards. What a shard still needs is known beforehand: beyond the budget that file
goes first which is needed last, and before it what only a later shard may need.
"""

from __future__ import annotations

import bisect
import math
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence

from schemas.case import Case, ObjectRecord
from transforms.read.array import Blob

SHARED_BYTES = 1 << 30
"""What the files that are kept may come to, compressed and inflated together; beside the case in work and the next one."""

Key = tuple[str, str, str]


class SharedFiles:
    """The shared files of one process. One thread may `put` and `get` while another calls `done`."""

    def __init__(self, budget_bytes: int = SHARED_BYTES):
        self._budget_bytes = budget_bytes
        self._uses: dict[Key, list[int]] = {}
        self._blobs: dict[Key, Blob] = {}
        self._lock = threading.Lock()

    def begin(self, cases: Sequence[Case], objects: Sequence[ObjectRecord]) -> None:
        """Turn to another shard: keep the files that are here of its sources, and forget others.

        Shared is a file that several cases of the shard read, and one of which a case reads one part alone: the others are
        likely to be cases of other shards.

        Args:
            cases: of the shard, in the order in which they are made.
            objects: of all cases.
        """
        number = {case.case_id: n for n, case in enumerate(cases)}
        parts = {(case.case_id, name) for case in cases for name in _parts(case)}
        arrays = Counter((record.case_id, record.path) for record in objects)
        uses: dict[Key, set[int]] = defaultdict(set)
        in_part: set[Key] = set()
        for record in objects:
            uses[_key(record)].add(number[record.case_id])
            if (record.case_id, record.array) in parts and arrays[record.case_id, record.path] == 1:
                in_part.add(_key(record))
        with self._lock:
            self._uses = {key: sorted(of) for key, of in uses.items() if len(of) > 1 or key in in_part}
            sources = {case.source for case in cases}
            self._blobs = {key: blob for key, blob in self._blobs.items() if key[0] in sources}

    def shares(self, record: ObjectRecord) -> bool:
        """Whether others read the file too."""
        return _key(record) in self._uses

    def get(self, record: ObjectRecord) -> Blob | None:
        """The file, where an earlier case brought it and it is still kept."""
        with self._lock:
            return self._blobs.get(_key(record))

    def put(self, record: ObjectRecord, blob: Blob) -> None:
        """Keep a file, where others read it too."""
        if self.shares(record):
            with self._lock:
                self._blobs[_key(record)] = blob

    def done(self, number: int) -> None:
        """The case of this number in its shard is made: forget what is beyond the budget."""
        with self._lock:
            held = sum(_bytes(b) for b in self._blobs.values())
            for key in sorted(self._blobs, key=lambda k: self._next_use(k, number), reverse=True):
                if held <= self._budget_bytes:
                    return
                blob = self._blobs[key]
                if blob.kept is not None:
                    held -= blob.kept.bytes
                    blob.kept.forget()
                if held > self._budget_bytes:
                    held -= len(blob.data)
                    del self._blobs[key]

    def _next_use(self, key: Key, number: int) -> float:
        uses = self._uses.get(key, [])
        following = bisect.bisect_right(uses, number)
        return uses[following] if following < len(uses) else math.inf


def _parts(case: Case) -> list[str]:
    """Arrays of a case that are one of several volumes in a file."""
    return [
        *(f"image:{i.header.name}" for i in case.images if i.header.component is not None),
        *(f"label:{x.header.name}" for x in case.labels if x.header.component is not None),
    ]


def _key(record: ObjectRecord) -> Key:
    return record.source, record.path, record.version


def _bytes(blob: Blob) -> int:
    return len(blob.data) + (blob.kept.bytes if blob.kept is not None else 0)
