"""The chart's Grafana dashboards ask for metrics that exist, and all that we measure can be seen."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import pytest

from emofeedback.observability.metrics import METRICS
from support.telemetry import DASHBOARDS, panels, queried_names, queries

RAYS_OWN = {"ray_serve_deployment_replica_healthy"}
SCRAPED_FROM_RAY = {"serving": True, "training": False}
"""Replicas are scraped through Ray's agent, the trainer service has a page of its own."""
FILES = sorted(DASHBOARDS.glob("*.json"))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def dashboard(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_there_is_a_dashboard_for_serving_and_one_for_training() -> None:
    assert [path.stem for path in FILES] == sorted(SCRAPED_FROM_RAY)


def test_every_query_asks_for_series_that_are_exported(dashboard: Path) -> None:
    ray = SCRAPED_FROM_RAY[dashboard.stem]
    exported = {name for metric in METRICS for name in metric.series(ray=ray)} | (RAYS_OWN if ray else set())
    assert queried_names(dashboard) - exported == set()


def test_every_metric_is_on_a_dashboard() -> None:
    shown = set().union(*map(queried_names, FILES))
    unseen = [m.name for m in METRICS if shown.isdisjoint(m.series(ray=True) + m.series(ray=False))]
    assert unseen == []


def test_queries_select_and_group_by_labels_that_the_metrics_have(dashboard: Path) -> None:
    of_scraping = {"namespace", "application", "deployment", "replica", "le"}
    known = of_scraping.union(*(metric.labels for metric in METRICS))
    for query in queries(dashboard):
        grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
        selected = set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", query))
        assert grouped | selected <= known, query
        assert 'namespace=~"$namespace"' in query or "namespace)" in query, query


def test_no_mean_is_made_of_a_histogram_whose_sum_ray_only_estimates() -> None:
    assert not [name for name in queried_names(DASHBOARDS / "serving.json") if name.endswith("_sum")]


def test_panels_say_what_they_show_in_which_unit_and_do_not_overlap(dashboard: Path) -> None:
    shown = panels(dashboard)
    assert len({panel["id"] for panel in json.loads(dashboard.read_text())["panels"]}) > len(shown)
    for panel in shown:
        assert panel["title"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
    for one, other in combinations([panel["gridPos"] for panel in shown], 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart and one["x"] + one["w"] <= 24
