"""The plan of a corpus from an archive, as a page for people and as values for machines. No table has a row for each series."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import yaml

from pipelines.console import duration

if TYPE_CHECKING:
    from catalog.idc import Count
    from pipelines.archive import Made

SHOWN = 15
"""Rows of the table of collections; the rest is one row."""

CITED = 5
"""Works named in the page; all are in the manifests, and go into ATTRIBUTION.md of the corpus."""


def summary(made: Made) -> dict[str, Any]:
    """The plan for machines."""
    return {
        "query": made.query.asked(),
        "release": made.selected.archive.version,
        "facts": dataclasses.asdict(made.selected.facts()),
        "splits": _splits(made),
        "sources": _sources(made),
        "left_out": made.plan.table.num_rows - made.plan.planned,
        "works_to_cite": len(made.selected.citations()),
        "cost": dataclasses.asdict(made.costs),
    }


def markdown(made: Made) -> str:
    """The page."""
    parts = [
        f"# Blueprint {made.query.name}\n",
        _head(made),
        _section("Rules", f"```yaml\n{yaml.safe_dump(made.query.asked(), sort_keys=False)}```\n"),
        _section("Series", _series(made)),
        *([_section("What the rule leaves", _left(made))] if made.query.fit_3d else []),
        _section("Terms", _terms(made)),
        _section("Collections", _collections(made)),
        _section("Plan", _plan(made)),
        _section("Cost", _cost(made)),
        _section("What is not known", _unknown(made)),
    ]
    return "\n".join(parts)


def _head(made: Made) -> str:
    return (
        "Made by `python -m pipelines archive` from the table of series of NCI's Imaging Data Commons, release "
        f"{made.selected.archive.version} (docs/datasets.md). No header and no pixel was read.\n"
    )


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)]) + "\n"


def _series(made: Made) -> str:
    f = made.selected.facts()
    return (
        f"**{f.series:,} series** of {f.patients:,} patients, in {f.studies:,} studies of {f.collections} collections: {f.instances:,} "
        f"instances, {_size(f.bytes)}.\n"
    )


def _left(made: Made) -> str:
    steps = made.selected.archive.steps(*([made.query.min_instances] if made.query.min_instances else []))
    rows = [(what, f"{n:,}") for what, n in steps]
    selected = made.selected.series.num_rows
    if selected != steps[-1][1]:
        rows.append(("under the licences and conditions of this query", f"{selected:,}"))
    return _table(("rule, each on top of those above", "series left"), rows)


def _terms(made: Made) -> str:
    facts = made.selected.facts()
    works = made.selected.citations()
    first = _table(
        ("licence", "series", "patients", "bytes"), [_row(c) for c in facts.licenses]
    )  # fmt: skip
    cited = _table(("work", "series"), [(f"https://doi.org/{c.doi}", f"{c.series:,}") for c in works[:CITED]])
    twice = sum(c.patients for c in facts.licenses) > facts.patients
    some = "Some patients have series under two of them. " if twice else ""
    return (
        f"{first}\n{some}{len(works)} works are to be cited; each manifest has those of its series, and the corpus's ATTRIBUTION.md "
        f"will. The {min(CITED, len(works))} with most series:\n\n{cited}"
    )


def _collections(made: Made) -> str:
    counts = made.selected.collections()
    rows = [_row(c) for c in counts[:SHOWN]]
    if rest := counts[SHOWN:]:
        size = sum(c.bytes for c in rest)
        rows.append((f"{len(rest)} others", f"{sum(c.series for c in rest):,}", "", _size(size)))
    return _table(("collection", "series", "patients", "bytes"), rows)


def _row(count: Count) -> tuple[str, str, str, str]:
    return count.value, f"{count.series:,}", f"{count.patients:,}", _size(count.bytes)


def _splits(made: Made) -> list[dict[str, Any]]:
    """Series, patients and shards of each split."""
    placed = made.plan.placed
    found = []
    for split in ("train", "val", "test"):
        mine = placed.filter(pc.equal(placed["split"], split))
        shards = [s for s in made.plan.shards if s.split == split]
        found.append(
            {
                "split": split,
                "series": mine.num_rows,
                "patients": len(pc.unique(mine["group"])),
                "shards": len(shards),
                "bytes": sum(s.estimated_bytes for s in shards),
            }
        )
    return found


def _sources(made: Made) -> list[dict[str, Any]]:
    """Series and shards of each source."""
    counted = made.plan.placed.group_by("source").aggregate([([], "count_all")])
    counts = dict(zip(counted["source"].to_pylist(), counted["count_all"].to_pylist(), strict=True))
    return [
        {
            "source": name,
            "license": content["terms"]["license"],
            "series": counts.get(name, 0),
            "shards": sum(s.source == name for s in made.plan.shards),
        }
        for name, content in made.plan.sources.items()
    ]


def _plan(made: Made) -> str:
    t = made.costs.totals
    splits = _table(
        ("split", "series", "patients", "shards", "bytes"),
        [
            (s["split"], f"{s['series']:,}", f"{s['patients']:,}", f"{s['shards']:,}", _size(s["bytes"]))
            for s in _splits(made)
        ],
    )
    sources = _table(
        ("source", "licence", "series", "shards"),
        [(s["source"], s["license"], f"{s['series']:,}", f"{s['shards']:,}") for s in _sources(made)],
    )
    left = made.plan.table.num_rows - made.plan.planned
    return (
        f"{t.cases:,} series in **{t.shards:,} shards**, about {_size(t.bytes_out)}; {left:,} left out. Patients are drawn with the "
        "key of their pseudonyms: with another key other patients are in val and test, about as many.\n\n"
        f"{splits}\nA source for each bucket and licence:\n\n{sources}"
    )


def _cost(made: Made) -> str:
    c, money = made.costs, made.costs.currency
    compute = _table(
        ("engine", "vCPU hours", "vCPUs", "wall time", "limited by", money),
        [(f"{e.id} ({e.region})", f"{e.vcpu_hours:,.1f}", e.workers, duration(e.wall_seconds), e.limited_by, f"{e.amount:,.2f}")
         for e in c.compute],
    )  # fmt: skip
    stores = _table(
        ("store", f"requests {money}", f"a month {money}", f"egress in {money}", f"egress an epoch {money}"),
        [(f"{s.id} ({s.region})", f"{s.requests_amount:,.2f}", f"{s.storage_month:,.2f}", f"{s.egress_in:,.2f}",
          f"{s.egress_epoch:,.2f}") for s in c.stores],
    )  # fmt: skip
    return (
        f"Prices of {c.date}. {c.note} The estimate is good to about a factor of two.\n\n{compute}\n{stores}\n"
        f"Reads {_size(c.totals.bytes_in)} in {c.totals.objects:,} objects. Egress is paid only where workers or readers are elsewhere "
        "than the store. The archive's own buckets charge nobody for it.\n"
    )


def _unknown(made: Made) -> str:
    return (
        "- Whether the slices of a series make a regular volume: the build reads the headers, and what is no volume becomes a hole "
        "with its reason. Allow for holes (`--max-holes`).\n"
        "- Spacing: time and bytes suppose one for each modality; the build reads the true one.\n"
        "- Which series are the same scan again: patients share one namespace across collections, equal voxels are found while "
        "building, and `python -m pipelines fingerprint` finds re-written copies before.\n"
        "- Faces: scans of the head may show one. The table does not say which do, and nothing is defaced.\n"
    )


def _size(size: float) -> str:
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"
