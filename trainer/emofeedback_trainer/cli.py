"""The command `emofeedback-train`."""

import argparse
import sys
from collections.abc import Sequence

from emofeedback.errors import EmoFeedbackError


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    from emofeedback_trainer.nano import cli as nano

    parser = argparse.ArgumentParser(prog="emofeedback-train", description="Train and measure EmoFeedback's models.")
    commands = parser.add_subparsers(dest="command", required=True)
    nano.add_arguments(commands.add_parser("nano", help="the embedded models of the nano world"))
    arguments = parser.parse_args(words)
    try:
        arguments.run(arguments)
    except EmoFeedbackError as error:
        print(f"emofeedback-train: {error}", file=sys.stderr)
        return 1
    return 0
