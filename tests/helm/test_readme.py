"""Every value is documented where it stands, and the chart's README says the same."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import yaml

from support.chart_releases import CHART, NAMES
from support.values_table import undocumented, with_table

pytestmark = pytest.mark.helm

VALUES = (CHART / "values.yaml").read_text()
README = CHART / "README.md"


def test_every_value_has_a_comment() -> None:
    assert undocumented(VALUES) == set()


def test_the_readmes_table_is_the_values_comments() -> None:
    expected = with_table(README.read_text(), VALUES)
    if os.environ.get("REWRITE_GOLDEN"):
        README.write_text(expected)
    assert README.read_text() == expected, "values.yaml has changed: make helm-golden"


def test_the_readme_names_every_example() -> None:
    for name in NAMES:
        assert f"examples/{name}.yaml" in README.read_text()


def test_the_schema_knows_the_values_and_no_others() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def keys(part: Any) -> Any:
        while "$ref" in part:
            part = schema["definitions"][part["$ref"].rpartition("/")[2]]
        if part.get("additionalProperties") is not False or "properties" not in part:
            return None  # free
        return {name: keys(value) for name, value in part["properties"].items() if name != "global"}

    def same(known: Any, values: Any, where: str) -> None:
        if known is None or values == {}:  # the application's keys stand at the generator
            return
        assert known.keys() == values.keys(), where
        for name in known:
            same(known[name], values[name], f"{where}.{name}")

    same(keys(schema), yaml.safe_load(VALUES), "values")
