"""The SDK needs gRPC and nothing else: no torch, no Ray, no numpy, no Pillow."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

ROOT = Path(__file__).parents[3]
HEAVY = ["torch", "ray", "numpy", "PIL", "transformers", "diffusers", "safetensors", "pydantic", "vllm", "peft"]

ALONE = """
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if {condition}:
            raise ModuleNotFoundError(f"{{name}} is not installed", name=name)

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, {services!r})
from emofeedback import AffectPoint, AsyncClient, Client, Creation, Deadlines, Emotion, Keepalive, RetryPolicy
from emofeedback.domain.errors import InvalidRequest, Unavailable
from emofeedback.domain.generation import GenerationRequest
with Client("127.0.0.1:1", retry=RetryPolicy(attempts=1)) as client:
    try:
        client.create("a park bench", emotion=Emotion.AWE)
    except Unavailable:
        print("works")
"""


def _alone(condition: str) -> subprocess.CompletedProcess[str]:
    code = ALONE.format(condition=condition, services=str(ROOT / "services"))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)


def test_the_sdk_works_without_anything_heavy() -> None:
    run = _alone(f"top in {HEAVY!r}")
    assert run.stdout.strip() == "works", run.stderr


def test_the_sdk_works_with_its_declared_dependencies_alone() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    distributions = {re.split(r"[^\w-]", requirement)[0] for requirement in declared}
    for name in list(distributions):
        distributions |= {re.split(r"[^\w-]", r)[0] for r in requires(name) or () if "extra ==" not in r}
    modules = sorted(_modules(distributions) | {"emofeedback"})
    run = _alone(f"top not in sys.stdlib_module_names and top not in {modules!r}")
    assert run.stdout.strip() == "works", run.stderr


def _modules(distributions: set[str]) -> set[str]:
    """Top-level modules that the distributions bring, by what they have installed."""
    from importlib.metadata import packages_distributions

    canonical = {re.sub(r"[-_.]+", "-", name).lower() for name in distributions}
    return {
        module
        for module, sources in packages_distributions().items()
        if any(re.sub(r"[-_.]+", "-", source).lower() in canonical for source in sources)
    }
