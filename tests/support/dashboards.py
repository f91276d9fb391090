"""The chart's Grafana dashboards, read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).parents[2] / "helm" / "emofeedback" / "dashboards"

_METRIC = re.compile(r"\b(?:ray_|emofeedback_)\w+")


def panels(dashboard: Path) -> list[dict[str, Any]]:
    """All panels but the rows' headings."""
    return [panel for panel in json.loads(dashboard.read_text())["panels"] if panel["type"] != "row"]


def queries(dashboard: Path) -> Iterator[str]:
    """The PromQL of its panels and of its variables."""
    for panel in panels(dashboard):
        yield from (target["expr"] for target in panel["targets"])
    for variable in json.loads(dashboard.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def queried_names(dashboard: Path) -> set[str]:
    """The names of series in its queries."""
    return {name for query in queries(dashboard) for name in _METRIC.findall(query)}
