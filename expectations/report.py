"""The report: one HTML file that a person reads on a screen, a phone or paper, without network.

It is a function of the records alone: no clock, host or local path is in it, and equal records give equal bytes.
"""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from expectations import charts
from expectations.charts import Chart
from expectations.outcome import GATE, Outcome
from expectations.pictures import Picture
from expectations.summary import SourceFacts, Summary, summarise
from mdfp.fusion import Fusion
from mdfp.labels import State
from mdfp.manifest import Manifest
from mdfp.sample import Sample
from schemas.case import Reject
from schemas.reasons import Reason

EXAMPLES = 3
"""Examples shown for each reason that something was left out."""
STATES = (State.PRESENT, State.PARTIAL, State.MERGED, State.ABSENT, State.UNKNOWN)
"""States in the order of the bars."""


@dataclass(frozen=True)
class ReportData:
    """What a report is made of.

    Attributes:
        manifest: of the corpus, or a generation to be published.
        samples: all samples it names: counted, or as records.
        rejects: what was left out, at any stage, holes among them.
        outcomes: expectations of all suites, checked.
        cases_found: cases of the inventory per source; empty: not known.
        worst: pictures of samples worth looking at.
        contact_sheet: one picture of all sources.
    """

    manifest: Manifest
    samples: Summary | Sequence[Sample]
    rejects: Sequence[Reject] = ()
    outcomes: Sequence[Outcome] = ()
    cases_found: Mapping[str, int] = field(default_factory=dict)
    worst: Sequence[Picture] = ()
    contact_sheet: Picture | None = None


def render(report: ReportData) -> str:
    """The report as HTML."""
    found = report.samples if isinstance(report.samples, Summary) else summarise(report.samples)
    html = _template().render(
        manifest=report.manifest,
        tiles=_tiles(report, found),
        verdict=_verdict(report.outcomes),
        sources=_sources(report, found),
        splits=report.manifest.splits,
        reasons=_reasons(report.rejects),
        findings=found.found.lines(),
        holes=report.manifest.holes,
        failures=sorted((o for o in report.outcomes if not o.success), key=lambda o: o.severity != GATE),
        passed=_passed(report.outcomes),
        charts=_distributions(found),
        intensity=_intensity(found),
        structures=_structures(found),
        fusion=report.manifest.fusion,
        matrix=_matrix(report.manifest.fusion),
        structure_sources=sorted(found.sources),
        states=STATES,
        terms=report.manifest.terms,
        worst=report.worst,
        contact_sheet=report.contact_sheet,
        recipe=_pretty_recipe(report.manifest.recipe),
    )
    return html.rstrip() + "\n"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["size"] = size
    environment.filters["count"] = _count
    environment.filters["number"] = charts.number
    environment.filters["meaning"] = _meaning
    environment.filters["web_link"] = _web_link
    return environment.get_template("report.html.j2")


def size(number: float) -> str:
    """Bytes for a person: 171 MB."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            return f"{number:.0f} {unit}" if number >= 100 or unit == "bytes" else f"{number:.3g} {unit}"
        number /= 1000
    raise AssertionError("the last unit always fits")


def _count(number: int) -> str:
    return f"{number:,}".replace(",", "\u2009")


def _data_uri(png: bytes) -> Markup:
    return Markup("data:image/png;base64,{}").format(base64.b64encode(png).decode("ascii"))


def _meaning(reason: str) -> str:
    """What a reason code means; a code of another version speaks for itself."""
    return next((r.meaning for r in Reason if r == reason), "")


def _web_link(url: str | None) -> str | None:
    """`url` when it is one that a page may link to."""
    return url if url and url.startswith(("https://", "http://")) else None


def _tiles(report: ReportData, samples: Summary) -> list[tuple[str, str]]:
    """(number, what it counts), for the top of the page."""
    m = report.manifest
    found = sum(report.cases_found.values())
    tiles = [(_count(found), "cases found")] if report.cases_found else []
    tiles += [
        (_count(samples.samples), "samples"),
        (_count(samples.patients), "patients"),
        (_count(len(report.rejects)), "left out"),
        (_count(len(m.palette)), "structures"),
        (_count(len(m.shards)), "shards"),
        (size(sum(s.bytes for s in m.shards)), "in all"),
    ]
    return tiles


def _verdict(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    gates = [o for o in outcomes if o.severity == GATE]
    warns = [o for o in outcomes if o.severity != GATE]
    return {
        "gates": len(gates),
        "gates_failed": sum(not o.success for o in gates),
        "warns": len(warns),
        "warned": sum(not o.success for o in warns),
    }


@dataclass(frozen=True)
class _SourceLine:
    source: str
    title: str
    license: str
    found: int | None
    samples: int
    left_out: int
    patients: int
    splits: dict[str, int]
    modalities: str
    bytes: int


def _sources(report: ReportData, samples: Summary) -> list[_SourceLine]:
    terms = {t.source: t for t in report.manifest.terms}
    left_out = Counter(r.source for r in report.rejects)
    lines = []
    for source in sorted({*samples.sources, *left_out, *report.cases_found}):
        those = samples.sources.get(source, SourceFacts())
        lines.append(
            _SourceLine(
                source=source,
                title=terms[source].title if source in terms else "",
                license=" / ".join(sorted(those.licenses)),
                found=report.cases_found.get(source, 0) if report.cases_found else None,
                samples=those.samples,
                left_out=left_out[source],
                patients=len(those.patients),
                splits=dict(those.splits),
                modalities=", ".join(sorted(those.modalities)),
                bytes=those.bytes,
            )
        )
    return lines


@dataclass(frozen=True)
class _ReasonLine:
    reason: str
    count: int
    stages: str
    sources: list[tuple[str, int]]
    examples: list[tuple[str, str]]


def _reasons(rejects: Sequence[Reject]) -> list[_ReasonLine]:
    groups: dict[str, list[Reject]] = defaultdict(list)
    for r in rejects:
        groups[r.reason].append(r)
    lines = []
    for reason, those in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        ordered = sorted(those, key=lambda r: (r.source, r.case_id or "", r.path or "", r.detail))
        lines.append(
            _ReasonLine(
                reason=str(reason),
                count=len(those),
                stages=", ".join(sorted({r.stage for r in those})),
                sources=sorted(Counter(r.source for r in those).items()),
                examples=[(r.case_id or r.path or r.source, r.detail) for r in ordered[:EXAMPLES]],
            )
        )
    return lines


def _passed(outcomes: Sequence[Outcome]) -> list[tuple[str, list[Outcome]]]:
    """Expectations that hold, by suite."""
    suites: dict[str, list[Outcome]] = {}
    for o in outcomes:
        if o.success:
            suites.setdefault(o.suite, []).append(o)
    return list(suites.items())


def _distributions(samples: Summary) -> list[Chart]:
    """Spacing and shape, a line for each source and modality."""
    rows = {what: {n: np.concatenate(v) for n, v in by.items()} for what, by in samples.values.items()}
    rows = defaultdict(dict, rows)
    drawn = [
        charts.histogram("Native spacing, finest axis", "mm", rows["native smallest"]),
        charts.histogram("Native spacing, coarsest axis", "mm", rows["native largest"]),
        charts.histogram("Stored spacing, coarsest axis", "mm", rows["stored largest"]),
        charts.histogram("Stored shape, x (left to right)", "voxels", rows["stored x"]),
        charts.histogram("Stored shape, y (back to front)", "voxels", rows["stored y"]),
        charts.histogram("Stored shape, z (feet to head)", "voxels", rows["stored z"]),
        charts.histogram("Field of view, z (feet to head)", "mm", rows["extent z"]),
    ]
    return [c for c in drawn if c is not None]


def _intensity(samples: Summary) -> list[Chart]:
    """Intensities, a chart for each modality, a line for each source."""
    fans = {
        kind: {source: np.concatenate(parts) for source, parts in rows.items()}
        for kind, rows in samples.intensity.items()
    }
    drawn = [
        charts.fans(modality if unit else f"{modality}, no unit stated", unit, rows)
        for (modality, unit), rows in sorted(fans.items())
    ]
    return [c for c in drawn if c is not None]


@dataclass(frozen=True)
class _Cell:
    counts: dict[str, int]
    bar: Markup
    share: int


@dataclass(frozen=True)
class _StructureLine:
    structure: str
    cells: dict[str, _Cell]
    present: int
    vanished: int
    median_ml: float | None
    changed: int
    worst_ratio: float | None


def _structures(samples: Summary) -> list[_StructureLine]:
    volumes = samples.volumes
    cells: dict[str, dict[str, _Cell]] = defaultdict(dict)
    vanished: Counter[str] = Counter()
    for row in samples.coverage:
        counts = {str(state): int(getattr(row, state)) for state in STATES}
        words = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
        bar = charts.stacked(list(counts.items()), f"{row.structure} in {row.source}: {words}")
        total = sum(counts.values()) or 1
        cells[row.structure][row.source] = _Cell(counts, bar, round(100 * counts[State.PRESENT] / total))
        vanished[row.structure] += row.vanished
    lines = []
    for structure in sorted(samples.palette, key=lambda name: (samples.palette[name], name)):
        v, r = np.sort(volumes.get(structure, np.array([]))), samples.ratios[structure]
        lines.append(
            _StructureLine(
                structure=structure,
                cells=cells[structure],
                present=sum(c.counts[State.PRESENT] for c in cells[structure].values()),
                vanished=vanished[structure],
                median_ml=float(v[len(v) // 2]) / 1000 if len(v) else None,
                changed=r.outside,
                worst_ratio=r.worst,
            )
        )
    return lines


def _matrix(fusion: Fusion | None) -> list[tuple[str, list[str]]]:
    """(structure, how each source annotates it, in the order of the sources' names)."""
    if fusion is None:
        return []
    cells = {(a.structure, a.source): f"in {a.parent}" if a.parent else str(a.how) for a in fusion.annotations}
    sources = sorted({a.source for a in fusion.annotations})
    structures = sorted({a.structure for a in fusion.annotations} | set(fusion.space))
    return [(s, [cells.get((s, source), "never") for source in sources]) for s in structures]


def _pretty_recipe(recipe: str) -> str:
    try:
        return json.dumps(json.loads(recipe), indent=1, ensure_ascii=False, sort_keys=True)
    except ValueError:
        return recipe
