"""The table of findings holds every one of them once, and the report counts them."""

from __future__ import annotations

import ast
import random
from dataclasses import replace
from pathlib import Path

import transforms
from expectations.found import Found
from expectations.report import ReportData, render
from mdfp import arrow
from mdfp.sample import Finding, Sample
from schemas.case import Reject
from schemas.findings import FINDINGS
from schemas.reasons import Reason

TILT = Finding("tilted", "ct", "14.0° about x, slices shifted by up to 5.0 mm")
TWICE = Finding("duplicates", "ct", "2 of 30 slices are there twice with the same pixels")


def with_findings(samples: list[Sample]) -> list[Sample]:
    return [replace(s, findings=(TILT, TWICE)[: i % 3]) for i, s in enumerate(samples)]


def test_every_finding_is_a_row_and_every_reject_of_reading_too(samples: list[Sample]) -> None:
    made = with_findings(samples)
    found = Found()
    for part in (made[:7], [], made[7:]):
        found.add(arrow.to_table(Sample, part))
    rejects = [
        Reject("inventory", "a", "a-1", Reason.MISSING_SLICES, "gap of 2 slices", None),
        Reject("plan", "a", "a-2", Reason.NOT_SELECTED, "outside --only", None),
        Reject("build", "a", "a-3", Reason.CORRUPT_GZIP, "cut short", "x.nii.gz"),
    ]
    rows = found.table(rejects).to_pylist()
    told = [(r["case_id"], r["where"], r["code"], r["detail"]) for r in rows if r["outcome"] == "sample"]
    assert sorted(told) == sorted((s.case_id, f.where, f.code, f.detail) for s in made for f in s.findings)
    left = {(r["code"], r["case_id"], r["meaning"], r["path"]) for r in rows if r["outcome"] == "left out"}
    assert left == {
        ("missing_slices", "a-1", Reason.MISSING_SLICES.meaning, None),
        ("corrupt_gzip", "a-3", Reason.CORRUPT_GZIP.meaning, "x.nii.gz"),
    }


def test_the_table_does_not_depend_on_the_order_of_samples(samples: list[Sample]) -> None:
    made = with_findings(samples)
    mixed = random.Random(1).sample(made, len(made))
    tables = []
    for order in (made, mixed):
        found = Found()
        found.add(arrow.to_table(Sample, order))
        tables.append(found.table())
    assert tables[0].equals(tables[1])


def test_the_report_counts_findings_and_shows_their_numbers(manifest, samples: list[Sample]) -> None:
    made = with_findings(samples)
    html = render(ReportData(manifest, made))
    lines = {line.code: line for line in _lines(made)}
    assert lines["tilted"].count == sum(TILT in s.findings for s in made) > 0
    assert FINDINGS["tilted"] in html
    assert TILT.detail in html
    assert "Nothing out of the ordinary" in render(ReportData(manifest, [replace(s, findings=()) for s in made]))


def _lines(samples: list[Sample]):
    found = Found()
    found.add(arrow.to_table(Sample, samples))
    return found.lines()


def test_every_finding_that_is_written_down_in_the_code_is_in_the_closed_list() -> None:
    """Literal codes of `Finding(...)`; the verdicts of a stack are checked where they are made."""
    codes = set()
    for path in Path(transforms.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "Finding"
                and node.args
            ):
                first = node.args[0]
                codes |= {n.value for n in ast.walk(first) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    assert codes
    assert codes <= set(FINDINGS)
