"""`python -m examples.phantom OUT`: write a phantom bucket and its truth."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examples.phantom.bucket import SOURCES, write_bucket
from examples.phantom.scale import SCALES
from mdfp.errors import UsageError


def main(argv: list[str] | None = None) -> int:
    """Write OUT/<source>/… and OUT.truth.json. Returns the exit code: 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m examples.phantom", description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the bucket; new or empty")
    parser.add_argument("--scale", choices=list(SCALES), default="demo", help="bodies of true size, or dolls for tests")
    parser.add_argument("--patients", type=int, default=None, help="people with ordinary scans, beside what is planted")
    options = parser.parse_args(argv)
    try:
        truth = write_bucket(options.out, scale=options.scale, patients=options.patients)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    path = options.out.with_name(options.out.name + ".truth.json")
    truth.write(path)
    for source in SOURCES:
        cases = [c for c in truth.cases if c.source == source]
        size = sum(p.stat().st_size for p in (options.out / source).rglob("*") if p.is_file())
        print(f"{source:24} {len(cases):3} cases  {size / 1e6:7.1f} MB")
    print(f"{len(truth.cases)} cases, {len(truth.faults)} planted faults; the truth about them is in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
