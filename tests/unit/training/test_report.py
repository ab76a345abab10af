"""report.html: one file, nothing loaded, nothing from data taken as markup."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np

from training.report import binary_charts, metrics_table, page, section, table
from training.report.charts import nice_limit

RANDOM = np.random.default_rng(0)
PROBABILITY = RANDOM.random(500)
LABELS = (RANDOM.random(500) < PROBABILITY).astype(float)


def test_everything_from_data_is_escaped() -> None:
    nasty = "<script>alert('&')</script>"
    html = page(
        nasty, nasty, [nasty], [section(nasty, table([nasty], [[nasty]]), nasty), metrics_table(nasty, {nasty: 1.0}, {})]
    )
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 10  # the title twice


def test_intervals_stand_below_the_model_and_differences_beside_the_baselines() -> None:
    sure = {"test": {"auc": (0.7, 0.8), "f1": None}, "ahead_of": {"base_rate": {"auc": (0.2, 0.31), "log_loss": None}}}
    html = metrics_table("this model", {"auc": 0.75, "f1": 0.5}, {"base_rate": {"auc": 0.5, "f1": 0.4}}, sure)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in html.split("</tr>")]
    assert ["this model", "0.7500", "0.5000"] in cells
    assert ["95 %, from", "0.7000", "–"] in cells
    assert ["to", "0.8000", "–"] in cells
    assert ["base rate", "0.5000", "0.4000"] in cells
    assert ["base rate", "+0.2000 to +0.3100", "–"] in cells


def test_nothing_is_loaded_from_elsewhere() -> None:
    html = page("t", "l", [], [binary_charts(LABELS, PROBABILITY, ("other", 1 - PROBABILITY))])
    assert not re.findall(r"(?:src|href)=|@import|url\(", html)


def test_charts_are_well_formed_and_inside_their_frame() -> None:
    html = binary_charts(LABELS, PROBABILITY, ("other", PROBABILITY**2))
    figures = ElementTree.fromstring(html)  # noqa: S314 – made by ourselves
    charts = figures.findall("figure/svg")
    assert len(charts) == 3
    for chart in charts:
        _, _, width, height = map(float, chart.attrib["viewBox"].split())
        for line in chart.findall("polyline"):
            places = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
            assert all(0 <= x <= width and 0 <= y <= height for x, y in places)


def test_the_roc_curve_has_the_area_that_the_metric_says() -> None:
    from sklearn.metrics import roc_auc_score

    figures = ElementTree.fromstring(binary_charts(LABELS, PROBABILITY))  # noqa: S314 – made by ourselves
    lines = figures.findall("figure/svg")[1].findall("polyline")
    diagonal, curve = ([tuple(map(float, p.split(","))) for p in line.attrib["points"].split()] for line in lines)
    (left, bottom), (right, top) = diagonal[0], diagonal[-1]
    x = np.array([(px - left) / (right - left) for px, _ in curve])
    y = np.array([(bottom - py) / (bottom - top) for _, py in curve])
    assert abs(np.trapezoid(y, x) - roc_auc_score(LABELS, PROBABILITY)) < 0.01


def test_one_class_has_no_curve() -> None:
    assert "one class only" in binary_charts(np.ones(5), np.full(5, 0.5))


def test_limits_are_round_numbers_above() -> None:
    assert [nice_limit(value) for value in (0.0, 0.9, 1.0, 1.2, 3.0, 17.0)] == [1.0, 1.0, 1.0, 1.5, 5.0, 20.0]
