"""Brings `datasets.jsonl` and `overlaps.jsonl` into their one form: `python -m catalog.tidy`.

Rows that are right are written in the order of their ids, with fields in order and defaults left out. Overlaps keep
their order: links of one family stand together.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from catalog import datasets
from schemas import jsonl_file
from schemas.dataset import DataSet, Overlap


def tidy(folder: Path) -> list[str]:
    """Rewrite both files; returns messages for lines that cannot be read, and then writes nothing."""
    files: dict[str, type[DataSet] | type[Overlap]] = {datasets.DATASETS: DataSet, datasets.OVERLAPS: Overlap}
    texts: dict[str, str] = {}
    faults: list[str] = []
    for name, record in files.items():
        found: tuple[tuple[jsonl_file.Row[Any], ...], tuple[str, ...]] = jsonl_file.read(record, folder / name)
        rows, wrong = found
        # A line that is only not in its form is among the rows all the same.
        kept = {r.line for r in rows}
        faults += [w for w in wrong if int(w.removeprefix(f"{folder / name}:").partition(":")[0]) not in kept]
        ordered = sorted(rows, key=lambda r: r.record.id) if record is DataSet else rows
        texts[name] = "".join(f"{jsonl_file.dumps(r.record)}\n" for r in ordered)
    if not faults:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    return faults


if __name__ == "__main__":
    sys.exit("\n".join(tidy(datasets.FOLDER)) or None)
