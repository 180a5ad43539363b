"""`make fusion-world`: a generated world through the real pipelines, a table, and one JSON line at the end.

python -m tests.world            300 people, 12 sources
python -m tests.world small      40 people, 6 sources: what the suite runs
python -m tests.world --folder F keeps the world, its truth and the corpus in F, which is new or empty
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path

from examples.world.sources import SOURCES
from tests.world.run import Result, run

SIZES = {"whole": (12, 300, 60), "small": (6, 40, 10)}
"""Sources, people, and how many of them are published more than once."""


def main(words: list[str]) -> int:
    """Run, print, and say how it went: 1 when a threshold is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.world", description=__doc__.split("\n")[0])
    parser.add_argument("size", nargs="?", choices=list(SIZES), default="whole")
    parser.add_argument("--folder", type=Path, help="where to leave everything; default: nothing is left")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args(words)
    logging.disable(logging.WARNING)
    sources, patients, shared = SIZES[options.size]
    with tempfile.TemporaryDirectory(prefix="mdfp-world-") as name:
        folder = options.folder or Path(name)
        result = run(folder, SOURCES[:sources], patients=patients, shared=shared, workers=options.workers)
    _table(result)
    sys.stdout.write(json.dumps(summary(result)) + "\n")
    return 1 if result.failures else 0


def summary(result: Result) -> dict[str, object]:
    """The last line."""
    return {
        "recall": round(result.recall, 6), "precision": round(result.precision, 6), "split_leaks": len(result.split_leaks),
        "wrong_states": len(result.wrong_states), "wrong_copies": len(result.wrong_copies),
        "unaccounted": len(result.unaccounted), "holes": result.holes, "patients": result.patients, "cases": result.cases,
        "samples": result.samples, "sources": result.sources, "seconds": round(sum(result.seconds.values()), 1),
        "peak_mb": result.peak_mb, "failures": result.failures,
    }  # fmt: skip


def _table(result: Result) -> None:
    edges = ", ".join(f"{count} {kind}" for kind, count in result.edges.items())
    rows = {
        "people": f"{result.patients}, {result.shared} of them published by 2 to 5 sources",
        "cases": f"{result.cases} of {result.sources} sources; {result.copies} hold a scan that another one holds, too",
        "pairs of one person": f"{result.pairs}, of which the graph joins {result.right}: recall {result.recall:.4f}",
        "pairs in one component": f"{result.found}, of which {result.right} are right: precision {result.precision:.5f}",
        "edges": edges,
        "samples": f"{result.samples}, and {result.holes} holes",
        "in more than one split": f"{len(result.split_leaks)} people or components",
        "states": f"{result.checked_states} compared, {len(result.wrong_states)} wrong",
        "scans without exactly their one sample": str(len(result.wrong_copies)),
        "cases not accounted for": str(len(result.unaccounted)),
        "seconds": ", ".join(f"{stage} {took:.0f}" for stage, took in result.seconds.items()),
        "memory": f"{result.peak_mb} MB, the largest process",
    }
    for name, text in rows.items():
        sys.stdout.write(f"{name:40} {text}\n")
    for wrong in (*result.split_leaks, *result.wrong_states, *result.wrong_copies, *result.unaccounted):
        sys.stdout.write(f"  wrong: {wrong}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
