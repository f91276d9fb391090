"""The command `emofeedback-train`.

Exit codes: 0 done, 1 failed, 2 bad input, 130 Ctrl-C, 141 nobody reads any more.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from emofeedback.cli.parsing import parse_with, suggesting
from emofeedback.domain.errors import EmoFeedbackError, InvalidRequest
from emofeedback.observability.console import ending_with_its_reader, escape_what_has_no_code, say, shown
from emofeedback.storage.files import UNWRITABLE, explained

COMMANDS = {
    "nano": ("emofeedback_trainer.nano.cli", "the nano world: its embedded models, and data sets of its scenes"),
    "data": ("emofeedback_trainer.data.cli", "read, check and build data sets of pictures and feelings"),
    "judge-sft": ("emofeedback_trainer.judge.sft_cli", "fine-tune the judge on a data folder"),
    "judge-grpo": ("emofeedback_trainer.judge.grpo_cli", "train the judge by GRPO on a data folder"),
    "judge-compare": ("emofeedback_trainer.judge.comparison_cli", "what each part of the judge's training is worth"),
    "judge-latent": ("emofeedback_trainer.latent.cli", "teach the judge to reason in tokens of its own"),
    "flow-grpo": ("emofeedback_trainer.flow_grpo.cli", "teach the generator to make what a target asks for"),
    "distill-steps": (
        "emofeedback_trainer.distillation.cli",
        "make a policy that paints in a few steps what another paints in many",
    ),
    "fuse": ("emofeedback_trainer.fusion.cli", "make a policy that paints from a judge's emotion tokens"),
    "fuse-evaluate": ("emofeedback_trainer.fusion.evaluation_cli", "measure what a fused policy's tokens are worth"),
    "memory": ("emofeedback_trainer.emotional_memory.cli", "painted pictures for the judge to learn from"),
    "symbiosis": (
        "emofeedback_trainer.emotional_memory.symbiosis_cli",
        "do understanding and painting make each other better? rounds with controls",
    ),
    "evaluate": ("emofeedback_trainer.evaluation.cli", "measure policies, generators and judges"),
    "schema": ("emofeedback_trainer.schema_cli", "the JSON Schema of configuration files, for an editor"),
    "serve": ("emofeedback_trainer.service.server", "the trainer service, until Ctrl-C"),
    "runs": ("emofeedback_trainer.service.client_cli", "start, list, watch and cancel runs of a trainer service"),
}
"""By name: the module whose `add_arguments(parser)` declares the options and the function `run`, and what it is for.
Only the module of the command that is asked for is imported: a client of the service needs no PyTorch."""

RENAMED = {
    ("flow-grpo-evaluate",): "`evaluate policy`, and its --ablation `evaluate generation`",
    ("data", "from-scenes"): "`nano dataset`",
}
"""Commands of earlier versions: what they are called now."""


class _Parser(argparse.ArgumentParser):
    """Repeats the command line without letting it steer the terminal, and says what may have been meant."""

    def error(self, message: str) -> NoReturn:
        super().error(shown(suggesting(message)))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    escape_what_has_no_code()
    return ending_with_its_reader(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> int:
    for old, new in RENAMED.items():
        if tuple(argv[: len(old)]) == old:
            say(f"emofeedback-train: `{' '.join(old)}` is now {new}", sys.stderr)
            return 2
    asked = next((argument for argument in argv if not argument.startswith("-")), "")
    parser = _Parser(prog="emofeedback-train", description="Train and measure EmoFeedback's models.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    warnings.formatwarning = lambda message, *_: f"emofeedback-train: {message}\n"
    try:
        for name, (module, purpose) in COMMANDS.items():
            command = commands.add_parser(name, help=purpose, formatter_class=argparse.RawDescriptionHelpFormatter)
            if name == asked:
                import_module(module).add_arguments(command)
        arguments = parse_with(parser, commands.choices, argv)
        arguments.run(arguments)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("emofeedback"):
            raise
        missing = f"{error.name.partition('.')[0]} is missing"
        said = f"{asked} needs the trainer's packages ({missing}): pip install emofeedback-trainer"
        say(f"emofeedback-train: {said}", sys.stderr)
        return 1
    except InvalidRequest as error:
        say(f"emofeedback-train: {error}", sys.stderr)
        return 2
    except EmoFeedbackError as error:
        say(f"emofeedback-train: {error}", sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        say(f"emofeedback-train: {explained(error, Path(error.filename or 'a file'))}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("emofeedback-train: interrupted", sys.stderr)
        return 130
    return 0
