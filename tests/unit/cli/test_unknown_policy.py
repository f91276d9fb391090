"""A policy that isn't there is refused in one sentence before the libraries that would paint with it are imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emofeedback.backends import AtAddress
from emofeedback.domain.generation import GenerationRequest, ModelInfo
from emofeedback.domain.recipe import with_recipe
from emofeedback.generator.policy_store import PolicyStore
from emofeedback.profiles.builtin import NANO_PROFILE
from support.fakes import paint, scripted_recipe

KNOWN = ", ".join(PolicyStore(NANO_PROFILE.generator.policies).names())
PLACE = ["--valence", "7", "--arousal", "3"]
OWN = ["--set", "generator.policy=nosuch"]
COMMANDS = [
    ["create", "a boat", *PLACE, "--policy", "nosuch"],
    ["create", "--prompts", "wishes.csv", *PLACE, "--policy", "nosuch"],
    ["create", "a boat", "--feel-like", "boat.png", "--policy", "nosuch"],
    ["reproduce", "boat.png"],
    ["create", "a boat", *PLACE, *OWN],
    ["sweep", "a boat", *OWN],
]
RUN = """
import sys
sys.modules |= dict.fromkeys(("torch", "diffusers", "transformers"))
from emofeedback.cli.main import main
for words in {commands!r}:
    print(main(words), file=sys.stderr)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of prompts, and a picture that a policy painted which is gone."""
    (tmp_path / "wishes.csv").write_text("prompt\na boat\n")
    by = ModelInfo(name="nano", digest="sha256:1", policy="nosuch")
    picture = paint("a boat", 3)
    recipe = scripted_recipe(GenerationRequest(prompt="a boat", seeds=(3,), policy="nosuch"), 3, picture, by)
    (tmp_path / "boat.png").write_bytes(with_recipe(picture, recipe))
    return tmp_path


def test_every_command_names_the_known_ones(folder: Path) -> None:
    code = RUN.format(commands=COMMANDS)
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert run.stderr == f"error: policy 'nosuch' is unknown, known are: {KNOWN}\n1\n" * len(COMMANDS)
    assert {file.name for file in folder.iterdir()} == {"wishes.csv", "boat.png"}


def test_services_say_it_themselves() -> None:
    AtAddress("127.0.0.1:1", "").check_policy("nosuch")
