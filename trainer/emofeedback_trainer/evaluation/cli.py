"""`emofeedback-train evaluate`: how good are policies, generators and judges, on which data, by which models?"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType

from emofeedback.storage.files import held
from emofeedback_trainer.evaluation import (
    eemo_bench_cli,
    generation_cli,
    judge_cli,
    loop_cli,
    policy_cli,
    questions_cli,
)

MEASUREMENTS: dict[str, tuple[ModuleType, str]] = {
    "policy": (policy_cli, "a policy beside its base, on a task's held-out pairs"),
    "generation": (generation_cli, "a generator: base, reward feedback, textual feedback, both"),
    "loop": (loop_cli, "the loop against luck at equal pictures"),
    "judge": (judge_cli, "a judge on a data set: errors, correlations, accuracy, ranking, confidence"),
    "eemo-bench": (eemo_bench_cli, "a model's answers to EEmo-Bench"),
    "questions": (questions_cli, "closed questions on pictures, sets in one table: ArtEmis, UNIAA, AesBench, VECBench"),
}
"""By name: the module whose `add_arguments(parser)` declares the options and the function `run`, and what it is for."""

_EXAMPLES = """examples:
  emofeedback-train evaluate policy                            each of these has --help with examples of its own
  emofeedback-train evaluate judge runs/scenes --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the subcommands of `emofeedback-train evaluate`."""
    parser.description = "Measure models; every table says which models, data, seed and command made it."
    parser.epilog = _EXAMPLES
    commands = parser.add_subparsers(dest="measurement", required=True, metavar="COMMAND")
    for name, (module, purpose) in MEASUREMENTS.items():
        command = commands.add_parser(name, help=purpose, formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(command)
        command.set_defaults(run=_holding(command.get_default("run")))


def _holding(run: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], None]:
    """The command, alone in its folder: of two that measure into one, each would take the other's parts for its own."""

    def hold_and_run(arguments: argparse.Namespace) -> None:
        with held(arguments.out) if arguments.out else nullcontext():
            run(arguments)

    return hold_and_run
