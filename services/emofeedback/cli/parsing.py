"""How both commands read their options and how they end: every error is one line, with the nearest word that is known.

Exit codes: 0 done, 1 failed, 2 bad input, 130 Ctrl-C, 141 nobody reads any more.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from emofeedback.domain.errors import EmoFeedbackError, InvalidRequest
from emofeedback.domain.text import did_you_mean
from emofeedback.observability.console import ending_with_its_reader, shown
from emofeedback.storage.files import UNWRITABLE, explained

if TYPE_CHECKING:
    from emofeedback.observability.consoles import Consoles

ADDRESSES = "HOST:PORT, as `emofeedback serve` says, or https://HOST where a gateway speaks TLS"
"""What an `--address` may be, as help says it."""

_INVALID_CHOICE = re.compile(r"invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)

_NO_NUMBER = re.compile(r"invalid (float|int) value: (.*)", re.DOTALL)
_MISSING = re.compile(r"the following arguments are required: (.*)", re.DOTALL)

_FIELD_OPTIONS = {
    "prompt": "PROMPT",
    "picture": "PICTURE",
    "question.text": "QUESTION",
    "question.options": "--option",
    "target": "--valence and --arousal, --emotion, or --feel-like",
    "feel_like": "--feel-like",
    "target.valence": "--valence",
    "target.arousal": "--arousal",
    "target.emotion": "--emotion",
    "time_budget_seconds": "--time-budget",
    "http_port": "--http-port",
    **{
        name: f"--{name}"
        for name in ("address", "dominance", "grid", "images", "manifests", "out", "port", "profile", "prompts")
    },
    **{
        name: f"--{name}"
        for name in ("calibrations", "policies", "policy", "rounds", "seed", "taxonomy", "tolerance", "user")
    },
}
"""What a field of a request is called on the command line."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the options the way all other errors are said, and what may have been meant."""

    def error(self, message: str) -> NoReturn:
        if found := _MISSING.fullmatch(message):
            message = f"{found[1]}: is missing, `{self.prog} --help` says more"
        self.exit(2, f"error: {' '.join(shown(suggesting(message.removeprefix('argument '))).split())}\n")


def typed(text: str) -> str:
    """What a person wrote, which may be UTF-8 in a locale of fewer letters: Python gives halves of surrogate pairs.

    Raises:
        ArgumentTypeError: it is not UTF-8 either.
    """
    if not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    try:
        return os.fsencode(text).decode()
    except UnicodeError as error:
        raise argparse.ArgumentTypeError("is neither UTF-8 nor what this locale writes: set a UTF-8 locale") from error


def suggesting(message: str) -> str:
    """A message of argparse, with the nearest of the choices that it lists, and what a number must be."""
    if number := _NO_NUMBER.search(message):
        kind = "a number" if number[1] == "float" else "a whole number"
        return f"{message[: number.start()]}is {number[2]}, it must be {kind}"
    found = _INVALID_CHOICE.search(message)
    return message + did_you_mean(found[1], re.findall(r"[\w.-]+", found[2])) if found else message


def sentence(purpose: str) -> str:
    """What a command is for, as the sentence above its help."""
    return f"{purpose[0].upper()}{purpose[1:]}."


def examples_of(command: str, examples: str) -> str:
    """What help shows below a command of a command: its lines of its parent's examples; it alone where there are none.

    Args:
        command: with the names of its parents, such as "emofeedback-train nano judge".
    """
    name = command.partition(" ")[2]
    lines = [line for line in examples.splitlines() if re.search(rf"\b{re.escape(name)}(?:\s|$)", line)]
    return "\n".join(["examples:", *(lines or [f"  {command}"])]) + "\n"


def parse_with(
    parser: argparse.ArgumentParser,
    commands: Mapping[str, argparse.ArgumentParser],
    arguments: Sequence[str] | None,
) -> argparse.Namespace:
    """The options; one that the command (`options.command`) doesn't have is refused, and its nearest named."""
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = re.findall(r"--[a-z][a-z-]+", commands[options.command].format_help())
        wrong = next((word for word in unknown if word.startswith("-")), unknown[0])
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(wrong.partition('=')[0], known)}")
    return options


def reported(command: Callable[[], bool], consoles: Consoles) -> int:
    """Runs a command, says its error, and returns its exit code; False is the code 1."""

    def run() -> int:
        try:
            return 0 if command() else 1
        except InvalidRequest as error:
            consoles.error("; ".join(f"{_FIELD_OPTIONS.get(v.field, v.field)}: {v.problem}" for v in error.violations))
            return 2
        except EmoFeedbackError as error:
            consoles.error(str(error))
            return 1
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            consoles.error(str(explained(error, Path(error.filename or "a file"))))
            return 1
        except KeyboardInterrupt:
            consoles.error("interrupted")
            return 130

    return ending_with_its_reader(run)
