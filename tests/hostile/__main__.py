"""`make hostile`: broken and hostile inputs beside sound ones, through the real pipelines, and one line at the end.

python -m tests.hostile          the table
python -m tests.hostile --json   what a test looks at
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import tempfile
import time
from pathlib import Path

from tests.hostile import files, flat, packs, series
from tests.hostile.run import Outcome, run

MEMORY_BYTES = 2 << 30
"""What a process of the run may take at its largest."""


def _own_peak_bytes() -> int:
    """What this process took at its largest. Its own `ru_maxrss` is at least that of whoever started it (getrusage(2))."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) * 1024


def main(words: list[str]) -> int:
    """Run, print, and say how it went."""
    logging.disable(logging.WARNING)
    began = time.monotonic()
    good = [*files.good(), *series.good(), *packs.good(), *flat.good()]
    bad = [*files.bad(), *series.bad(), *packs.bad(), *flat.bad()]
    with tempfile.TemporaryDirectory(prefix="mdfp-hostile-") as name:
        alone = run(good, Path(name) / "alone")
        found = run([*good, *bad], Path(name) / "all")
    peak = max(_own_peak_bytes(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
    wrong = [i.name for i in bad if found.reasons.get(i.name) != {str(i.reason)} or i.name in found.samples]
    lost = [i.name for i in good if i.name not in found.samples or i.name in found.reasons]
    same = alone.shards == found.shards and bool(found.shards)
    if "--json" in words:
        result = {
            "inputs": len(bad), "wrong": {w: sorted(found.reasons.get(w, ())) for w in wrong}, "lost": lost, "same": same,
            "shards": len(found.shards), "peak_bytes": peak, "seconds": time.monotonic() - began,
        }  # fmt: skip
        sys.stdout.write(json.dumps(result) + "\n")
        return 0
    _table(bad, found)
    for i in lost:
        sys.stdout.write(f"lost: {i!r} is sound and did not come out: {found.reasons.get(i)}\n")
    unchanged = "good cases unchanged" if same and not lost else "good cases CHANGED"
    sys.stdout.write(
        f"hostile: {len(bad) - len(wrong)} of {len(bad)} refused by their own reason; {unchanged}; "
        f"peak {peak / 2**30:.1f} GB; {time.monotonic() - began:.0f} s\n"
    )
    return 1 if wrong or lost or not same or peak > MEMORY_BYTES else 0


def _table(bad: list[files.Input], found: Outcome) -> None:
    sys.stdout.write(f"{'input':32} {'expected':22} found\n")
    for i in bad:
        reasons = ", ".join(sorted(found.reasons.get(i.name, {"nothing"})))
        came = " AND A SAMPLE" if i.name in found.samples else ""
        mark = "" if reasons == i.reason and not came else "  <-- wrong"
        sys.stdout.write(f"{i.name:32} {i.reason!s:22} {reasons}{came}{mark}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
