"""What the examples render to is kept, so that a change of it shows in review.

After a change that is meant: `make helm-golden`, and read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from support.chart_releases import NAMES, Release

pytestmark = pytest.mark.helm

GOLDEN = Path(__file__).parent / "golden"
REWRITE_VARIABLE = "REWRITE_GOLDEN"


class _Readable(yaml.SafeDumper):
    """Long texts (the Serve configuration, a job, a dashboard) as blocks."""


_Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_renders_to_what_was_reviewed(examples: Mapping[str, Release], name: str) -> None:
    release = examples[name]
    # A dashboard's panels are kept once, in the chart.
    objects = [item for item in release.objects if "-dashboard-" not in item["metadata"]["name"]]
    objects += release.hooks
    objects.sort(key=lambda item: (item["kind"], item["metadata"]["name"]))
    rendered = yaml.dump_all(objects, Dumper=_Readable, width=120, sort_keys=True)
    assert rendered == kept(f"{name}.yaml", rendered)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_deploys_the_replicas_that_were_reviewed(
    examples: Mapping[str, Release], name: str, tmp_path: Path
) -> None:
    options = examples[name].options(tmp_path)
    text = kept(f"{name}-options.yaml", yaml.safe_dump(options))
    assert options == yaml.safe_load(text)


def kept(name: str, rendered: str) -> str:
    """What was kept under that name; with `make helm-golden` it is this from now on."""
    path = GOLDEN / name
    if os.environ.get(REWRITE_VARIABLE):
        path.write_text(rendered)
    return path.read_text()
