"""The survey's published example, recomputed: the steps, what each row contributes, and what cannot be told."""

from __future__ import annotations

from itertools import pairwise

import pytest

from catalog import datasets
from catalog.blueprint import case_study
from catalog.blueprint.case_study import PUBLISHED_IMAGES, PUBLISHED_SETS, exact, one_too_many, page, steps
from schemas.dataset import DataSet, SectionCount, SplitCounts

CATALOG = datasets.load()
DONE = steps()


def test_the_steps_count_what_plain_python_counts():
    tasks = {"classification", "segmentation", "detection", "regression"}
    rows = [
        d
        for d in CATALOG.datasets
        if "2d" in d.dimensions and {"CT", "MR", "OP"} & set(d.modalities) and (d.n_images or 0) >= 100
    ]
    only = [d for d in rows if d.dimensions == ("2d",)]
    single = [d for d in only if len(d.modalities) == 1]
    wanted = [
        *([d for d in some if tasks & set(d.tasks)] for some in (rows, only, single)),
        [d for d in single if {*tasks, "localization"} & set(d.tasks)],
    ]
    assert [(len(s.selection.taken), s.images) for s in DONE] == [(len(w), sum(d.n_images for d in w)) for w in wanted]
    assert [(len(w), sum(d.n_images for d in w)) for w in wanted] == [
        (69, 1_429_896), (62, 1_400_496), (57, 1_268_810), (58, 2_142_810),
    ]  # fmt: skip


def test_the_rows_of_each_step_add_up():
    for before, step in pairwise(DONE):
        change = sum(CATALOG[i].n_images for i in step.new) - sum(CATALOG[i].n_images for i in step.gone)
        assert step.images - before.images == change
        assert len(step.selection.taken) - len(before.selection.taken) == len(step.new) - len(step.gone)


def test_the_last_step_comes_within_a_row_of_what_was_published():
    last = DONE[-1]
    assert len(last.selection.taken) - PUBLISHED_SETS == 1
    assert abs(last.images - PUBLISHED_IMAGES) < 0.004 * PUBLISHED_IMAGES


@pytest.mark.parametrize(
    ("text", "n", "splits", "found"),
    [
        ("88.7k", 88_700, SplitCounts(total=88_702), (88_702, 0)),
        ("88.7k", 88_700, SplitCounts(train=80_000, test=8_702), (88_702, 0)),
        ("88.7k", 88_700, SplitCounts(total=90_000), (88_700, 50)),
        ("673k", 673_000, None, (673_000, 500)),
        ("2.45M", 2_450_000, None, (2_450_000, 5_000)),
        ("475", 475, SplitCounts(total=100), (475, 0)),
    ],
)
def test_rounded_counts(text, n, splits, found):
    row = DataSet(
        id="x", name="x", n_images=n, n_approx=not text.isdigit(), n_raw=(SectionCount("CT Datasets", text),), splits=splits,
        label="labeled", access="open", access_basis="host-rule", license_status="unknown",
    )  # fmt: skip
    assert (exact(row).number, exact(row).doubt) == found


def test_candidates_are_the_rows_without_which_the_sum_may_be_the_published_one():
    taken = DONE[-1].selection.taken
    assert one_too_many(taken) == ("dhrf", "oculard", "odir")
    for c in taken:
        others = [exact(d.row) for d in taken if d.id != c.id]
        low, high = (sum(i.number + s * i.doubt for i in others) for s in (-1, 1))
        assert (low <= PUBLISHED_IMAGES <= high) == (c.id in one_too_many(taken))


def test_the_page_is_what_the_tool_says():
    written = case_study.PAGE.read_text(encoding="utf-8")
    assert written == page(), "write it anew: python -m catalog.blueprint.case_study"
    assert "| 4. localization counts as detection | 58 | 2,142,810 | +1 | +7,509 |" in written
