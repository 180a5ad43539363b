"""`make formats`: every real test file against what independent tools measured, and one line at the end."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from tests.formats.walk import walk


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Print the table; 1 where a row is not as its manifest says."""
    logging.disable(logging.WARNING)
    place = os.environ.get("MDFP_TESTDATA")
    if not place or not (Path(place) / "MANIFEST.csv").is_file():
        _say("formats: MDFP_TESTDATA does not name the folder of real files with its MANIFEST.csv: nothing was checked")
        return 2
    rows = []
    for row in walk(Path(place)):
        rows.append(row)
        _say(f"{'ok   ' if not row.wrong else 'WRONG'} {row.kind:16} {row.path:62.62} {row.outcome}")
        for difference in row.wrong:
            _say(f"      {difference}")
    right = sum(not r.wrong for r in rows)
    _say(f"formats: {right} of {len(rows)} as the manifest says")
    return 0 if right == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
