"""`make fuzz`: mutated files before each reader; only `Rejected` may come out, in bounded time and memory.

python -m tests.fuzz [SECONDS] [READER ...]     60 seconds for each of all readers

A finding is written to build/fuzz/READER-NUMBER and told with its number; what is fixed goes to tests/fuzz/corpus, which
is read first, here and in the test suite.
"""

from __future__ import annotations

import logging
import os
import resource
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from tests.fuzz.mutate import mutated
from tests.fuzz.readers import TARGETS, Target, real_seeds
from transforms.read import isolated
from transforms.rejected import Rejected

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path("build") / "fuzz"

SLOW_S = 2.0
"""A file that takes longer is a finding."""

MEMORY_BYTES = 2 << 30
"""What the process may come to."""

DECODER_BYTES = MEMORY_BYTES + isolated.ChildLimits().memory_bytes
"""What a decoder's process may come to, which is limited by itself."""


def outcome(target: Target, data: bytes) -> str:
    """The reason of a reject, `read`, or `BUG: …`."""
    began = time.process_time()
    try:
        target.read(data)
        found = "read"
    except Rejected as verdict:
        found = str(verdict.reason)
    except Exception:
        lines = traceback.format_exc().splitlines()
        ours = [line for line in lines if "/transforms/" in line]
        return f"BUG: {lines[-1][:200]} {ours[-1].strip() if ours else ''}"
    taken = time.process_time() - began
    return found if taken < SLOW_S else f"BUG: {taken:.1f} s"


def fuzz(target: Target, seconds: float, first: int) -> tuple[Counter[str], list[tuple[int, str]]]:
    """Counts by outcome, and what was found: (number, message).

    Args:
        target: the reader.
        seconds: how long.
        first: number of the first file.
    """
    seeds = target.seeds() + real_seeds(target.name)
    seeds += [p.read_bytes() for p in sorted(CORPUS.glob(f"{target.name}-*"))]
    counts: Counter[str] = Counter()
    bugs: list[tuple[int, str]] = []
    until = time.monotonic() + seconds
    number = first
    for data in seeds:
        _record(outcome(target, data), -1, counts, bugs)
    while time.monotonic() < until and len(bugs) < 20:
        data = mutated(seeds, target.words, number)
        found = outcome(target, data)
        _record(found, number, counts, bugs)
        if found.startswith("BUG"):
            FOUND.mkdir(parents=True, exist_ok=True)
            (FOUND / f"{target.name}-{number}").write_bytes(data)
        number += 1
    return counts, bugs


def _record(found: str, number: int, counts: Counter[str], bugs: list[tuple[int, str]]) -> None:
    if found.startswith("BUG"):
        bugs.append((number, found))
        found = "bug"
    counts[found] += 1


def main(words: list[str]) -> int:
    """Fuzz, print, and say how it went."""
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")
    seconds = float(words[0]) if words else 60.0
    names = words[1:] or list(TARGETS)
    first = int(os.environ.get("FIRST", "0"))
    total = bugs = 0
    for name in names:
        counts, found = fuzz(TARGETS[name], seconds, first)
        total += sum(counts.values())
        bugs += len(found)
        told = ", ".join(f"{n} {k}" for k, n in counts.most_common())
        sys.stdout.write(f"{name}: {sum(counts.values())} files in {seconds:g} s: {told}\n")
        for number, message in found[:5]:
            sys.stdout.write(f"  file {number}: {message}\n")
        sys.stdout.flush()
    isolated._end()  # its memory is known once it was waited for
    peak, decoders = (resource.getrusage(w).ru_maxrss * 1024 for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    sys.stdout.write(
        f"fuzz: {total} files before {len(names)} readers, {bugs} bugs, peak {peak / 2**30:.1f} GB, "
        f"of a decoder's process {decoders / 2**30:.1f} GB\n"
    )
    return 1 if bugs or peak > MEMORY_BYTES or decoders > DECODER_BYTES else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
