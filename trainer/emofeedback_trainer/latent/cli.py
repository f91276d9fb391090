"""`emofeedback-train judge-latent`: teaches a judge reasoning tokens."""

from __future__ import annotations

import argparse
from pathlib import Path

from emofeedback.domain.errors import EmoFeedbackError
from emofeedback.in_process import silence_libraries
from emofeedback.observability.console import say
from emofeedback.profiles.overrides import parse_changes
from emofeedback_trainer.core.run_files import CONFIG
from emofeedback_trainer.core.signals import stop_on_signals
from emofeedback_trainer.latent.config import CONFIGS, load_config

_EXAMPLES = """examples:
  emofeedback-train judge-latent --config nano --out runs/latent
                                      the embedded judge; run it again to go on where it was cut
  emofeedback-train judge-latent --config qwen2.5-vl-7b --set lessons=data/emoset --out runs/latent-7b
                                      a full-size judge on a data folder whose samples have comments

OUT/judge is the trained judge, whole: name it in a profile, judge.checkpoint = "OUT/judge".
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train judge-latent`."""
    parser.description = "Teach a judge to reason in tokens of its own, about pictures and about imagined ones."
    parser.epilog = _EXAMPLES
    parser.add_argument("--config", default="nano", help=f"{', '.join(CONFIGS)} or a .toml file; default: nano")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; one that was cut goes on")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one key of the configuration"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Trains to the end, or until Ctrl-C.

    Raises:
        InvalidRequest: the configuration, its lessons or the folder is refused.
        EmoFeedbackError: the run stopped; its last checkpoint is intact.
        KeyboardInterrupt: as well.
    """
    stop_on_signals()
    config = load_config(arguments.config, parse_changes(arguments.set))
    silence_libraries()
    from emofeedback_trainer.latent.run import train

    try:
        result = train(config, arguments.out)
    except (EmoFeedbackError, KeyboardInterrupt):
        if not (arguments.out / CONFIG).exists():
            raise
        say(f"The run is kept in {arguments.out}; the same command goes on from its last checkpoint.")
        raise
    say(f"Judge with {config.tokens} reasoning tokens: {result.checkpoint} ({result.digest})")
