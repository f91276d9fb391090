"""The example `plain_grpc.py` speaks to the real services from an environment that lacks this project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emofeedback.domain.recipe import read_recipe
from support.running_services import TOKEN, Services

pytestmark = pytest.mark.xdist_group("services")

EXAMPLE = Path(__file__).parents[2] / "examples" / "plain_grpc.py"
ELSEWHERE = """
import runpy, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "emofeedback":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def test_reflection_is_all_that_a_foreign_client_needs(services: Services, tmp_path: Path) -> None:
    picture = tmp_path / "boat.png"
    words = (services.address, "a boat on the beach", str(picture))
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(EXAMPLE), *words],
        env={**os.environ, "EMOFEEDBACK_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    recipe = read_recipe(picture.read_bytes())
    assert recipe is not None and recipe.prompt == "a boat on the beach"
    assert "valence:" in done.stdout and "arousal:" in done.stdout
