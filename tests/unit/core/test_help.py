"""Help comes at once: what the options are declared with imports nothing that takes seconds."""

from __future__ import annotations

import subprocess
import sys

from emofeedback_trainer.nano.cli import PURPOSES
from emofeedback_trainer.nano.stages import MEASUREMENTS, STAGES

HEAVY = ["torch", "transformers", "diffusers", "trl", "peft", "accelerate", "ray", "scipy", "sklearn", "matplotlib"]

DECLARE = """
import argparse, sys
from importlib import import_module
from emofeedback_trainer.cli import COMMANDS

for name, (module, _) in COMMANDS.items():
    before = set(sys.modules)
    import_module(module).add_arguments(argparse.ArgumentParser())
    heavy = sorted({heavy!r} & sys.modules.keys() - before)
    print(name, "imports", ", ".join(heavy) or "nothing heavy")
"""


def test_no_command_s_options_need_anything_heavy() -> None:
    code = DECLARE.format(heavy=set(HEAVY))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines and [line for line in lines if "nothing heavy" not in line] == []


def test_nano_s_help_names_the_stages_in_their_order_and_the_measurements() -> None:
    assert list(PURPOSES) == [*STAGES, "all", *MEASUREMENTS]
