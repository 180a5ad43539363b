"""The survey's published example, computed again from the facts: pictures of CT, MR and fundus, 57 data sets, 2,135,301 images.

    python -m catalog.blueprint.case_study      # writes docs/case-study.md

The survey names neither its rules nor its rows. What is tried here starts from the rules that its page fills in by default
(github.com/tchenglv520/medical-dataset-browser, index.html, commit 5469481) and changes one at a time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from catalog import datasets
from catalog.blueprint.query import BlueprintQuery
from catalog.blueprint.select import Candidate, Selection, select
from catalog.datasets import Catalog
from schemas.dataset import DataSet

PUBLISHED_SETS, PUBLISHED_IMAGES = 57, 2_135_301

PAGE = Path(__file__).parents[2] / "docs" / "case-study.md"

DEFAULTS = BlueprintQuery(
    name="case-study",
    dimension="2d",
    modalities=("CT", "MR", "OP"),
    tasks=("classification", "segmentation", "detection", "regression"),
    minimum_images=100,
    prefer_labeled=True,
)
"""What the survey's page fills in. It also has the numbers 2 for the least data sets and organisations of a modality, not in force."""

CHANGES: tuple[tuple[str, dict[str, object]], ...] = (
    ("the rules that the page fills in", {}),
    ("data sets that also have volumes are left out", {"mixed_dimensions": "exclude"}),
    ("data sets of several modalities are left out", {"mixed_modalities": "exclude"}),
    ("localization counts as detection", {"tasks": (*DEFAULTS.tasks, "localization")}),
)
"""Each on top of those before."""

UNITS = {"": 1, "k": 1000, "m": 1_000_000}


@dataclass(frozen=True)
class Step:
    """One set of rules and what it selects.

    Attributes:
        what: the change to the step before.
        selection: data sets, and why the others are not.
        gone: ids that the step before had.
        new: ids that it had not.
    """

    what: str
    selection: Selection
    gone: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def images(self) -> int:
        """Sum of the counts that rows state."""
        return sum(c.count.items or 0 for c in self.selection.taken)


@dataclass(frozen=True)
class Images:
    """How many images a row has.

    Attributes:
        number: exact, or the middle of what rounds to the stated text.
        doubt: half the unit to which the text is rounded; 0: exact.
    """

    number: int
    doubt: float


def steps(catalog: Catalog | None = None) -> tuple[Step, ...]:
    """The selections, one rule changed at a time."""
    found: list[Step] = []
    query, before = DEFAULTS, frozenset[str]()
    for what, change in CHANGES:
        query = query.model_copy(update=change)
        selection = select(query, catalog or datasets.load())
        ids = frozenset(c.id for c in selection.taken)
        gone, new = (tuple(sorted(s)) if found else () for s in (before - ids, ids - before))
        found.append(Step(what, selection, gone, new))
        before = ids
    return tuple(found)


def exact(row: DataSet) -> Images:
    """The images of a row: its splits' number where that rounds to what the survey's table says, else the rounded one."""
    stated = row.n_images or 0
    doubt = max((_half_unit(n.value) for n in row.n_raw), default=0.0) if row.n_approx else 0.0
    s = row.splits
    if doubt and s:
        for number in (s.total, (s.train or 0) + (s.val or 0) + (s.test or 0)):
            if number and abs(number - stated) <= doubt:
                return Images(number, 0)
    return Images(stated, doubt)


def one_too_many(taken: Sequence[Candidate]) -> tuple[str, ...]:
    """Ids of rows without which the sum would be the published one, as far as rounding lets one tell."""
    each = {c.id: exact(c.row) for c in taken}
    total, doubt = sum(i.number for i in each.values()), sum(i.doubt for i in each.values())
    left = {k: (abs(total - i.number - PUBLISHED_IMAGES), doubt - i.doubt) for k, i in sorted(each.items())}
    return tuple(k for k, (difference, allowed) in left.items() if difference <= allowed)


def _half_unit(text: str) -> float:
    """50 for `12.5k`, 500 for `673k`; 0 for what is not rounded."""
    found = re.fullmatch(r"(\d+)(?:\.(\d+))?([km]?)", text.strip().lower().replace(",", ""))
    if not found or not found[3]:
        return 0.0
    return 0.5 * UNITS[found[3]] / 10 ** len(found[2] or "")


def page(catalog: Catalog | None = None) -> str:
    """The page docs/case-study.md."""
    catalog = catalog or datasets.load()
    done = steps(catalog)
    last = done[-1]
    each = {c.id: exact(c.row) for c in last.selection.taken}
    number, doubt = sum(i.number for i in each.values()), sum(i.doubt for i in each.values())
    total = len(each)
    candidates = one_too_many(last.selection.taken)
    by_total = [s for c in done[0].selection.taken if (s := c.row.splits and c.row.splits.total)]
    lines = [
        "# The survey's example, computed again",
        "",
        "Made from the facts by `python -m catalog.blueprint.case_study`; a test keeps it true.",
        "",
        f"The survey (arXiv 2603.27460) reports a group of 2D CT, MR and fundus: {PUBLISHED_SETS} data sets, {PUBLISHED_IMAGES:,} images.",
        "Neither the rules nor the names of the data sets are in the facts. The rules that its page fills in are known: 2D; CT, MR,",
        "fundus; classification, segmentation, detection, regression; 100 images or more; unlabelled ones included.",
        "Below, one rule is changed at a time.",
        "",
        "| rules | data sets | images | to the published: data sets | images |",
        "| --- | --- | --- | --- | --- |",
    ]
    for n, step in enumerate(done, start=1):
        sets = len(step.selection.taken)
        lines.append(
            f"| {n}. {step.what} | {sets} | {step.images:,} | {sets - PUBLISHED_SETS:+} | {step.images - PUBLISHED_IMAGES:+,} |"
        )
    lines += [
        "",
        f"Step 3 has the published number of data sets and lacks {PUBLISHED_IMAGES - done[2].images:,} images; step 4 adds one data set",
        f"and comes within {abs(last.images - PUBLISHED_IMAGES) / PUBLISHED_IMAGES:.2%} of the published images.",
        "",
        "## Row by row",
        "",
        "| step | data set | images | |",
        "| --- | --- | --- | --- |",
    ]
    for n, (before, step) in enumerate(pairwise(done), start=2):
        why = {e.id: "; ".join(f.reason for f in e.failures) for e in step.selection.excluded}
        was = {c.id: c for c in (*before.selection.taken, *step.selection.taken)}
        lines += [f"| {n} | {i} | {-(was[i].count.items or 0):+,} | {why[i]} |" for i in step.gone]
        lines += [
            f"| {n} | {i} | {was[i].count.items or 0:+,} | its task is {', '.join(was[i].row.tasks)} |"
            for i in step.new
        ]
    lines += [
        "",
        f"## The {total} data sets of step 4",
        "",
        "The survey's table rounds (`88.7k`). Where a data set's own splits add up to a number that rounds to the same, that number is",
        "taken as exact; elsewhere half the last digit is in doubt.",
        "",
        "| data set | modality | stated | images | in doubt |",
        "| --- | --- | --- | --- | --- |",
    ]
    for c in last.selection.taken:
        stated = ", ".join(n.value for n in c.row.n_raw)
        i = each[c.id]
        lines.append(
            f"| {c.id} | {c.modalities[0]} | {stated} | {i.number:,} | {f'± {i.doubt:,.0f}' if i.doubt else ''} |"
        )
    lines += [
        f"| **{total}** | | | **{number:,}** | ± {doubt:,.0f} |",
        "",
        "## What is left",
        "",
        f"{total - PUBLISHED_SETS:+} data set and {number - PUBLISHED_IMAGES:+,} images (± {doubt:,.0f}).",
        "If the survey's group is this one without one row, that row is one of:",
        f"{', '.join(f'{i} ({each[i].number:,})' for i in candidates)}.",
        "The facts cannot tell which, nor whether it is one row.",
        "",
        "What would be needed and is not in the facts:",
        "",
        f"- the list of the {PUBLISHED_SETS} data sets, and the rules that led to it;",
        "- the count of each to the last digit: the table of the survey has them rounded;",
        "- the revision of the table that was counted.",
        "",
        "The survey's page does not compare the images of its table with the least number, but a field for the size of the whole.",
        f"The facts have it for {len(by_total)} of the {len(done[0].selection.taken)} data sets of step 1, together {sum(by_total):,}:",
        "the published number is no sum of that.",
        "",
        "The same with the command, for step 4:",
        "",
        "    python -m pipelines blueprint --dimension 2d --mixed-dimensions exclude --modality CT --modality MR --modality OP \\",
        "        --mixed-modalities exclude --task classification --task segmentation --task detection --task regression \\",
        "        --task localization --min-images 100",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
