"""The command `emofeedback-train`.

Exit codes: 0 done, 1 failed, 2 bad input, 130 Ctrl-C.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from emofeedback.domain.errors import EmoFeedbackError, InvalidRequest
from emofeedback.observability.console import escape_what_has_no_code, say, shown

COMMANDS = {
    "nano": ("emofeedback_trainer.nano.cli", "the embedded models of the nano world"),
    "data": ("emofeedback_trainer.data.cli", "read, check and build data sets of pictures and feelings"),
    "judge-sft": ("emofeedback_trainer.judge.sft_cli", "fine-tune the judge on a data folder"),
    "judge-grpo": ("emofeedback_trainer.judge.grpo_cli", "train the judge by GRPO on a data folder"),
    "judge-compare": ("emofeedback_trainer.judge.comparison_cli", "what each part of the judge's training is worth"),
    "flow-grpo": ("emofeedback_trainer.flow_grpo.cli", "teach the generator to paint what a target asks for"),
    "flow-grpo-evaluate": ("emofeedback_trainer.evaluation.policy", "measure a policy on pairs it never trained on"),
    "evaluate": ("emofeedback_trainer.evaluation.cli", "measure judges and generators"),
    "schema": ("emofeedback_trainer.schema_cli", "the JSON Schema of configuration files, for an editor"),
    "serve": ("emofeedback_trainer.service.server", "the trainer service, until Ctrl-C"),
    "runs": ("emofeedback_trainer.service.client_cli", "start, list, watch and cancel runs of a trainer service"),
}
"""By name: the module whose `add_arguments(parser)` declares the options and the function `run`, and what it is for.
Only the module of the command that is asked for is imported: a client of the service needs no PyTorch."""


class _Parser(argparse.ArgumentParser):
    """Repeats words of the command line without letting them steer the terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(shown(message))


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    escape_what_has_no_code()
    words = sys.argv[1:] if words is None else words
    asked = next((word for word in words if not word.startswith("-")), "")
    parser = _Parser(prog="emofeedback-train", description="Train and measure EmoFeedback's models.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, purpose) in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == asked:
            import_module(module).add_arguments(command)
    arguments = parser.parse_args(words)
    warnings.formatwarning = lambda message, *_: f"emofeedback-train: {message}\n"
    try:
        arguments.run(arguments)
    except InvalidRequest as error:
        say(f"emofeedback-train: {error}", sys.stderr)
        return 2
    except EmoFeedbackError as error:
        say(f"emofeedback-train: {error}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("emofeedback-train: interrupted", sys.stderr)
        return 130
    return 0
