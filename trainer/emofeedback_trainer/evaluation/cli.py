"""`emofeedback-train evaluate`: how good are judges and generators, on which data, by which models?"""

from __future__ import annotations

import argparse

from emofeedback_trainer.evaluation import eemo_bench_cli, generation_cli, judge_cli


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the subcommands of `emofeedback-train evaluate`."""
    parser.description = "Measure models; every table says which models, data, seed and command made it."
    commands = parser.add_subparsers(dest="measurement", required=True, metavar="COMMAND")
    for name, module, purpose in (
        ("judge", judge_cli, "a judge on a data set: errors, correlations, accuracy, ranking, confidence"),
        ("eemo-bench", eemo_bench_cli, "a model's answers to EEmo-Bench"),
        ("generation", generation_cli, "a generator: base, reward feedback, textual feedback, both"),
    ):
        module.add_arguments(
            commands.add_parser(name, help=purpose, formatter_class=argparse.RawDescriptionHelpFormatter)
        )
