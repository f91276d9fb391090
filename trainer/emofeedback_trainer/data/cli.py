"""`emofeedback-train data`: check published data sets, and build new ones."""

from __future__ import annotations

import argparse

from emofeedback_trainer.data import check
from emofeedback_trainer.data.build_cli import add_builders

_EXAMPLES = """examples:
  emofeedback-train data check oasis downloads/oasis           each of these has --help with examples of its own
  emofeedback-train data build-emoset --help
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the subcommands of `emofeedback-train data`."""
    parser.description = "Check published data sets, and build the ones that judges are trained and measured on."
    parser.epilog = _EXAMPLES
    commands = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")
    check.add_arguments(
        commands.add_parser(
            "check",
            help="can a published data set be read, and what is in it?",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    add_builders(commands)
