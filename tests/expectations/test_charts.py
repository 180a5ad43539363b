"""Charts are well-formed, comparable between sources, and never fail on odd numbers."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from expectations import charts
from expectations.charts import Fan


def shapes(svg: str, kind: str) -> list[dict[str, float]]:
    root = ElementTree.fromstring(svg)
    return [
        {k: float(v) for k, v in node.attrib.items() if k != "class"}
        for node in root
        if node.attrib.get("class") == kind
    ]


def test_all_lines_share_one_axis() -> None:
    chart = charts.histogram("Spacing", "mm", {"b": [1.0, 1.0], "a": [3.0, 5.0]})
    assert chart is not None
    assert (chart.low, chart.high) == ("1", "5")
    assert [row.name for row in chart.rows] == ["a", "b"]
    first, last = shapes(chart.rows[0].svg, "bar")
    assert first["x"] == pytest.approx(charts.WIDTH / 2 + 1)
    assert last["x"] + last["width"] == pytest.approx(charts.WIDTH - 1)
    assert shapes(chart.rows[1].svg, "bar")[0]["x"] == pytest.approx(1)
    assert chart.rows[1].text == "1 (n = 2)"


def test_bars_of_a_small_source_are_as_tall_as_those_of_a_large_one() -> None:
    chart = charts.histogram("x", "", {"large": [0.0] * 1000 + [9.0], "small": [0.0, 0.0, 9.0]})
    assert chart is not None
    assert max(b["height"] for b in shapes(chart.rows[0].svg, "bar")) == charts.HEIGHT
    assert max(b["height"] for b in shapes(chart.rows[1].svg, "bar")) == charts.HEIGHT
    assert min(b["height"] for b in shapes(chart.rows[0].svg, "bar")) >= 6  # one in a thousand is still seen


def test_equal_values_need_no_drawing_and_none_no_chart() -> None:
    chart = charts.histogram("x", "mm", {"a": [1.5, 1.5]})
    assert chart is not None
    assert (chart.low, chart.high, chart.rows) == ("1.5", "1.5", ())
    assert charts.histogram("x", "mm", {"a": [], "b": [math.nan, math.inf]}) is None
    assert charts.fans("x", "HU", {"a": []}) is None


def test_fans_lie_within_the_axis_and_show_every_median() -> None:
    fans = [Fan(-1000, -800, n / 10, 100, 400) for n in range(500)]
    chart = charts.fans("CT", "HU", {"a": fans, "b": [Fan(-50, 0, 10, 20, 30)]})
    assert chart is not None
    for row in chart.rows:
        for kind in ("whisker", "box", "tick"):
            for s in shapes(row.svg, kind):
                assert -0.1 <= s["x"] <= charts.WIDTH
    assert len(shapes(chart.rows[0].svg, "tick")) <= 200
    assert "half between -800 and 100" in chart.rows[0].text


def test_flat_images_make_a_fan_too() -> None:
    chart = charts.fans("CT", "HU", {"a": [Fan(0, 0, 0, 0, 0)]})
    assert chart is not None
    assert len(chart.rows) == 1


def test_stacked_shares_fill_the_bar() -> None:
    svg = charts.stacked([("present", 3), ("absent", 0), ("unknown", 1)], "liver")
    [present], [unknown] = shapes(svg, "present"), shapes(svg, "unknown")
    assert present["width"] == 750
    assert (unknown["x"], unknown["width"]) == (750, 250)
    assert shapes(svg, "absent") == []


def test_names_are_escaped() -> None:
    chart = charts.histogram("x", "mm", {'<script>"&': [1.0, 2.0]})
    assert chart is not None
    assert "<script>" not in chart.rows[0].svg
    ElementTree.fromstring(chart.rows[0].svg)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.8, "0.8"), (1331.0, "1\u2009331"), (2.5e6, "2.5e+06"), (-1024.0, "-1\u2009024"), (math.inf, "inf")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert charts.number(value) == text


def test_coordinates_are_short() -> None:
    assert not re.search(r"\.\d{2,}", charts.stacked([("present", 1), ("absent", 2)], ""))
