"""Small charts as inline SVG. They stretch to the width they are given; numbers and names stand beside them as text.

Colours come from the page's style sheet by class, so that the charts follow its dark and light schemes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

Numbers = Sequence[float] | npt.NDArray[np.float64]

WIDTH, HEIGHT = 1000, 100
"""Units of a chart's coordinates; the page decides its size."""

BINS = 32


@dataclass(frozen=True)
class Row:
    """One line of a chart: a name, the drawing, and its numbers in words."""

    name: str
    svg: Markup
    text: str


@dataclass(frozen=True)
class Chart:
    """Lines drawn against one axis; no lines where every value is the same (`low` equals `high`)."""

    title: str
    unit: str
    low: str
    high: str
    rows: tuple[Row, ...]


def number(value: float) -> str:
    """At most four digits that mean something: 0.8, 512, 1.25e+06."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if abs(value) >= 1000 and abs(value) < 1e6:
        return f"{value:,.0f}".replace(",", "\u2009")
    return f"{value:.3g}"


def histogram(title: str, unit: str, values: Mapping[str, Numbers]) -> Chart | None:
    """How values are distributed, a line for each name, all against one axis.

    Each line's bars are shares of its own count, so that a small source is seen beside a large one. None without values.
    """
    arrays = {name: np.asarray(those, dtype=np.float64) for name, those in values.items()}
    finite = {name: np.sort(those[np.isfinite(those)]) for name, those in arrays.items()}
    finite = {name: those for name, those in finite.items() if len(those)}
    if not finite:
        return None
    low, high = (float(x) for x in (min(v[0] for v in finite.values()), max(v[-1] for v in finite.values())))
    if low == high:
        return Chart(title, unit, number(low), number(high), ())
    rows = []
    for name, those in sorted(finite.items()):
        bins = np.minimum(BINS - 1, ((those - low) / (high - low) * BINS).astype(np.int64))
        counts = [int(n) for n in np.bincount(bins, minlength=BINS)]
        middle = float(those[len(those) // 2])
        spread = (
            number(middle)
            if those[0] == those[-1]
            else f"{number(float(those[0]))} to {number(float(those[-1]))}, median {number(middle)}"
        )
        text = f"{spread} (n = {len(those)})"
        rows.append(Row(name, _bars(counts, f"{title}, {name}: {text}"), text))
    return Chart(title, unit, number(low), number(high), tuple(rows))


def _bars(counts: Sequence[int], label: str) -> Markup:
    top, width = max(counts), WIDTH / len(counts)
    bars = Markup("").join(
        Markup('<rect class="bar" x="{}" y="{}" width="{}" height="{}"/>').format(
            _c(i * width + 1), _c(HEIGHT - max(6.0, HEIGHT * n / top)), _c(width - 2), _c(max(6.0, HEIGHT * n / top))
        )
        for i, n in enumerate(counts)
        if n
    )
    return _svg(bars, label)


@dataclass(frozen=True)
class Fan:
    """Percentiles of one image's intensities."""

    lowest: float
    low: float
    middle: float
    high: float
    highest: float


def fans(title: str, unit: str, values: Mapping[str, Sequence[Fan] | npt.NDArray[np.float64]]) -> Chart | None:
    """Where intensities lie: for each name the middle of its images' percentiles, and a tick for each image's median.

    The light bar goes from the lowest to the highest percentile, the dark one from the low to the high one. None
    without values.
    """
    tables = {name: _fan_table(those) for name, those in values.items() if len(those)}
    if not tables:
        return None
    low = min(float(those[:, 0].min()) for those in tables.values())
    high = max(float(those[:, 4].max()) for those in tables.values())
    rows = []
    for name, those in sorted(tables.items()):
        middle = Fan(*(float(x) for x in np.sort(those, axis=0)[len(those) // 2]))
        text = (
            f"{number(middle.lowest)} to {number(middle.highest)}, half between {number(middle.low)} and "
            f"{number(middle.high)} (n = {len(those)})"
        )
        shapes = Markup('<rect class="whisker" x="{}" y="38" width="{}" height="24"/>').format(
            *_span(middle.lowest, middle.highest, low, high)
        )
        shapes += Markup('<rect class="box" x="{}" y="24" width="{}" height="52"/>').format(
            *_span(middle.low, middle.high, low, high)
        )
        medians = np.sort(those[:, 2]).tolist()
        shown = medians if len(medians) <= 200 else [medians[i * len(medians) // 200] for i in range(200)]
        for value in dict.fromkeys(_span(v, v, low, high)[0] for v in shown):
            shapes += Markup('<rect class="tick" x="{}" y="8" width="2" height="84"/>').format(value)
        rows.append(Row(name, _svg(shapes, f"{title}, {name}: {text}"), text))
    return Chart(title, unit, number(low), number(high), tuple(rows))


def _fan_table(fans: Sequence[Fan] | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A row for each image: lowest, low, middle, high, highest."""
    if isinstance(fans, np.ndarray):
        return fans
    return np.array([(f.lowest, f.low, f.middle, f.high, f.highest) for f in fans])


def _span(start: float, end: float, low: float, high: float) -> tuple[str, str]:
    scale = WIDTH / (high - low) if high > low else 0.0
    return _c((start - low) * scale), _c(max(3.0, (end - start) * scale))


def stacked(parts: Sequence[tuple[str, int]], label: str) -> Markup:
    """One bar cut in shares; each part is (class, count)."""
    total, x, shapes = sum(n for _, n in parts) or 1, 0.0, Markup("")
    for name, count in parts:
        if count:
            width = WIDTH * count / total
            shapes += Markup('<rect class="{}" x="{}" y="0" width="{}" height="{}"/>').format(
                name, _c(x), _c(width), HEIGHT
            )
            x += width
    return _svg(shapes, label)


def _svg(shapes: Markup, label: str) -> Markup:
    return Markup(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}"><title>{}</title>{}</svg>'
    ).format(WIDTH, HEIGHT, label, label, shapes)


def _c(coordinate: float) -> str:
    """A coordinate, short."""
    return f"{coordinate:.1f}".rstrip("0").rstrip(".")
