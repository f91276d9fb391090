"""A policy that isn't there is refused in one sentence before the libraries that would load it are imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from emofeedback.generator.policy_store import PolicyStore
from emofeedback.profiles.builtin import NANO_PROFILE

STORE = NANO_PROFILE.generator.policies
COMMANDS = [
    ["evaluate", "policy", "--policy", "nosuch"],
    ["evaluate", "generation", "--policy", "nosuch", "--out", "out"],
    ["evaluate", "loop", "--policy", "nano-final", "--policy", "nosuch", "--out", "out"],
    ["fuse-evaluate", "--policy", "nosuch"],
    ["fuse-evaluate", "--released", "nosuch"],
    ["fuse-evaluate", "--run", "out", "--released", "nosuch"],
    ["memory", "fill", "out/memory", "--data", "scenes", "--policy", "base", "--policy", "nosuch"],
    ["symbiosis", "--data", "scenes", "--policy", "nosuch", "--unseen", "nano-fast", "--out", "out"],
    ["symbiosis", "--data", "scenes", "--policy", "nano-fast", "--unseen", "nosuch", "--out", "out"],
    ["distill-steps", "--set", "policy=nosuch", "--out", "out"],
    ["fuse", "--set", "policy=nosuch", "--out", "out"],
    ["flow-grpo", "--set", f"start={STORE}/nosuch", "--out", "out"],
]

RUN = """
import sys
sys.modules |= dict.fromkeys(("torch", "diffusers", "transformers"))
from emofeedback_trainer.cli import main
for words in {commands!r}:
    print(main(words), file=sys.stderr)
"""


def test_every_command_names_the_known_ones(tmp_path: Path) -> None:
    code = RUN.format(commands=COMMANDS)
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    said = f"emofeedback-train: policy 'nosuch' is unknown, known are: {', '.join(PolicyStore(STORE).names())}\n1\n"
    assert run.stderr == said * len(COMMANDS)
    assert [file.name for file in tmp_path.rglob("*") if file.name not in ("out", ".lock")] == []
