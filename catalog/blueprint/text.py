"""A blueprint as Markdown, for people, and as files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from catalog.blueprint.estimate import Range
from catalog.blueprint.group import UNKNOWN, Total
from catalog.blueprint.plan import Blueprint
from catalog.blueprint.query import BlueprintQuery, load
from catalog.blueprint.told import stated_by
from mdfp.errors import UsageError

FILES = ("query.yaml", "blueprint.json", "blueprint.md", "recipe.yaml")
"""What is written; the recipe only where a source can go into one."""

WIDE = 24
"""Data sets that a matrix in the page shows; a larger one stands in blueprint.json."""

ISSUES_SHOWN = 40
"""Rows of one table of the page; the rest is in blueprint.json."""


def files(made: Blueprint) -> dict[str, str]:
    """File name -> content."""
    found = {
        "query.yaml": yaml.safe_dump(made.query.asked(), sort_keys=False, allow_unicode=True),
        "blueprint.json": json.dumps(made.as_dict(), indent=1, sort_keys=True, ensure_ascii=False) + "\n",
        "blueprint.md": markdown(made),
    }
    if made.draft.content is not None:
        found["recipe.yaml"] = made.draft.text(
            f"Drafted from the blueprint {made.query.name}; look it over, then run it."
        )
    return found


def write(made: Blueprint, folder: Path, *, force: bool = False) -> tuple[Path, ...]:
    """Write `FILES` into a folder; returns them. A `query.yaml` that asks the same stays as somebody wrote it.

    Raises:
        UsageError: one of them is there already, and not `force`.
    """
    if not force:
        check(folder, made.query)
    folder.mkdir(parents=True, exist_ok=True)
    content = files(made)
    for name in FILES:
        if name not in content:
            (folder / name).unlink(missing_ok=True)  # of an earlier query: it would not belong to this page
    for name, text in content.items():
        if not (name == FILES[0] and _asks(folder / name, made.query)):
            (folder / name).write_text(text, encoding="utf-8")
    return tuple(folder / name for name in content)


def check(folder: Path, query: BlueprintQuery) -> None:
    """Refuse a folder that holds another query, or a blueprint.

    Raises:
        UsageError: one of `FILES` is there.
    """
    there = [folder / name for name in FILES if (folder / name).exists()]
    if there and _asks(there[0], query):
        there.pop(0)
    if there:
        raise UsageError(f"{there[0]} is there already; --force replaces it")


def _asks(file: Path, query: BlueprintQuery) -> bool:
    """Whether a file is a query that asks the same."""
    try:
        return file.name == FILES[0] and load(file) == query
    except UsageError:
        return False


def markdown(made: Blueprint) -> str:
    """The page."""
    parts = [
        f"# Blueprint {made.query.name}\n",
        "Made by `python -m pipelines blueprint` from facts that nobody checked against the data (docs/blueprint.md).\n",
        _section("Rules", "```yaml\n" + yaml.safe_dump(made.query.asked(), sort_keys=False) + "```\n"),
        _section("Totals", _totals(made)),
        _section("Groups", _groups(made)),
        _section("Label space", _labels(made)),
        *([_section("What is stated of pictures", _told(made))] if made.told else []),
        _section("Not covered", _gaps(made)),
        _section("Conflicts", _conflicts(made)),
        _section("Duplicates expected", _duplicates(made)),
        _section("Recipe", _recipe(made)),
        _section("Checklist", _checklist(made)),
        _section("Left out", _left_out(made)),
    ]
    return "\n".join(parts)


def sentence(total: Total, shared: int) -> str:
    """Totals in a line."""
    n = total.items
    counts = [f"{v:,} {k}" for k, v in (("images", n.images), ("volumes", n.volumes), ("videos", n.videos)) if v]
    unknown = f" ({n.unknown} without a count)" if n.unknown else ""
    twice = f", at least {shared:,} of them twice" if shared else ""
    makers = f"{total.organizations} organisations" + (f" ({total.anonymous} state none)" if total.anonymous else "")
    return f"{n.datasets} data sets{unknown} of {makers}: {', '.join(counts) or 'no items'}{twice}"


def span(size: Range) -> str:
    """`6.5 TB (2.6 to 12 TB)`: bytes with their range."""
    return f"{_bytes(size.middle)} ({_bytes(size.low)} to {_bytes(size.high)})"


def _bytes(size: float) -> str:
    if not size:
        return UNKNOWN
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], shown: int = ISSUES_SHOWN) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    each = [[str(c).replace("|", "\\|").replace("\n", " ") for c in row] for row in rows]
    lines += [f"| {' | '.join(row)} |" for row in each[:shown]]
    more = f"\n… and {len(each) - shown} more, in blueprint.json\n" if len(each) > shown else ""
    return "\n".join(lines) + "\n" + more


def _totals(made: Blueprint) -> str:
    total = made.total
    measured = f"{total.measured} of the data sets" if total.measured else "none of the data sets"
    lines = [
        f"{sentence(total, made.shared)}.\n",
        f"- as published: about {span(total.raw)}{_uncounted(total)}",
        f"- in shards: about {span(total.fused)}",
        f"- bytes an item were measured for {measured}, and are assumed for the others",
    ]
    if made.named:
        lines.append(
            f"- taken by name, and no rows of the catalog, which has no count of them: {', '.join(made.named)}"
        )
    if made.query.volumes_as_2d:
        s = total.slices
        lines.append(f"- 2-D slices of the volumes: about {s.middle:,.0f} ({s.low:,.0f} to {s.high:,.0f})")
    return "\n".join(lines) + "\n"


def _uncounted(total: Total) -> str:
    n = total.items.unknown
    return f", without the {n} that state{'s' if n == 1 else ''} no count" if n else ""


def _groups(made: Blueprint) -> str:
    rows = [
        (g.modality, g.task, g.anatomy, len(g.datasets), *_counts(g.total), g.total.organizations,
         _bytes(g.total.raw.middle), _bytes(g.total.fused.middle))
        for g in made.groups
    ]  # fmt: skip
    head = ("modality", "task", "anatomy", "data sets", "images", "volumes", "videos", "organisations", "raw", "fused")
    first = f"A data set stands in every group that it fits; only the totals above count it once. {UNKNOWN}: not stated.\n\n"
    return first + _table(head, rows)


def _counts(total: Total) -> tuple[str, str, str]:
    """Images, volumes, videos; `?` where no data set of the group states a count."""
    n = total.items
    if n.unknown == n.datasets:
        return (UNKNOWN,) * 3
    return f"{n.images:,}", f"{n.volumes:,}", f"{n.videos:,}"


def _told(made: Blueprint) -> str:
    by = stated_by(made.told)
    rows = [(f, len(d), ", ".join(d)) for f, d in by.items()]
    text = _table(("finding", "data sets", "stated by"), rows, shown=len(rows)) + "\n" if rows else ""
    each = [
        (i, len(t.findings) or "-", ", ".join(t.states) or "-", ", ".join(t.classes) or "-", len(t.boxes) or "-",
         ", ".join(t.texts) or "-", ", ".join(t.origins) or "not stated")
        for i, t in made.told.items()
    ]  # fmt: skip
    head = ("data set", "findings", "states that they may have", "classes", "findings with boxes", "texts", "made by")
    return text + _table(head, each, shown=len(each))


def _labels(made: Blueprint) -> str:
    if made.query.image_only:
        return "Labels are not read (`image_only`).\n"
    found, by = made.labels, made.labels.labelled_by()
    if not by:
        return f"No data set is known to have masks of a structure; {len(found.unknown)} labelled data sets.\n"
    text = _table(("structure", "data sets", "labelled by"), [(s, len(d), ", ".join(d)) for s, d in by.items()])
    names = list(found.structures)
    if len(names) <= WIDE:
        keys = [str(n) for n in range(1, len(names) + 1)]
        rows = [(k, a, *found.matrix()[a].values()) for k, a in zip(keys, names, strict=True)]
        text += "\nStructures that two data sets both label:\n\n" + _table(("", "", *keys), rows)
    if found.unknown:
        text += (
            f"\nOf {len(found.unknown)} labelled data sets the structures are not known: {', '.join(found.unknown)}.\n"
        )
    return text


def _gaps(made: Blueprint) -> str:
    if made.query.image_only:
        return "Labels are not read (`image_only`).\n"
    if not made.coverage and not made.silent:
        return "No structures or anatomies were asked for.\n"
    if not made.labels.structures:
        return "No data set is known to have masks, so no structure is covered.\n"
    gaps = [c for c in made.coverage if c.status != "labelled"]
    text = _table(("asked for", "found", "labelled instead", "by"), [
        (c.asked, c.status, ", ".join(c.by) or "-", ", ".join(c.datasets) or "no data set") for c in gaps
    ]) if gaps else "Everything that was asked for is labelled by a data set whose structures are known.\n"  # fmt: skip
    if made.silent:
        text += f"\nThe vocabulary does not say what structures these are made of: {', '.join(made.silent)}.\n"
    return text


def _conflicts(made: Blueprint) -> str:
    rows = [(c.kind, c.what, "; ".join(f"{k}: {', '.join(v)}" for k, v in c.parties.items())) for c in made.conflicts]
    return (
        "Nothing here is settled by the tool.\n\n" + _table(("kind", "about", "who"), rows) if rows else "None found.\n"
    )


def _duplicates(made: Blueprint) -> str:
    if not made.duplicates:
        return "No known links among the data sets.\n"
    rows = [(", ".join(c.datasets), f"{c.items:,}", f"{c.shared:,}", f"{c.distinct:,}", c.uncounted)
            for c in made.duplicates]  # fmt: skip
    head = ("data sets joined by known links", "items", "known shared", "different at most", "links without a number")
    return (
        _table(head, rows)
        + "\nOf equal voxels one is built. Copies that were written another way are found before that by "
        "`python -m pipelines fingerprint` (docs/identity.md).\n"
    )


def _recipe(made: Blueprint) -> str:
    draft = made.draft
    if draft.content is None:
        return "No selected data set has a manifest whose terms can be accepted.\n"
    return f"`recipe.yaml` takes {len(draft.sources)} sources: {', '.join(draft.sources.values())}.\n"


def _checklist(made: Blueprint) -> str:
    rows = [
        (e.id, e.source or "no", "; ".join(e.steps), " ".join(e.urls[:2]) or "-", ", ".join(e.doubts) or "-")
        for e in made.checklist
    ]
    return _table(("data set", "in the recipe", "to do", "pages", "doubts"), rows, shown=len(rows))


def _left_out(made: Blueprint) -> str:
    rows = [(e.id, "; ".join(f"{f.rule}: {f.reason}" for f in e.failures)) for e in made.unknown()]
    text = f"{len(rows)} only because a fact is missing:\n\n{_table(('data set', 'missing'), rows)}\n" if rows else ""
    near = [(e.id, "; ".join(f"{f.rule}: {f.reason}" for f in e.failures)) for e in made.near()]
    text += f"{len(near)} by a known fact:\n\n{_table(('data set', 'why'), near)}\n" if near else ""
    rest = len(made.selection.excluded) - len(rows) - len(near)
    return text + f"{rest} are of another dimension, modality, task or anatomy.\n"
