"""What the measurements' commands have in common: options, and how figures are shown and kept."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from emofeedback.backends import Engines, connect
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import TOKEN_VARIABLE
from emofeedback.observability.console import say
from emofeedback.storage.files import write_json, write_whole


def add_judge_options(parser: argparse.ArgumentParser) -> None:
    """Which judge is asked."""
    parser.add_argument("--profile", help="a built-in profile or a .toml file (default: nano)")
    parser.add_argument("--address", help="HOST:PORT of running services, instead of engines in this process")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """How many units, drawn how, shown where."""
    parser.add_argument("--limit", type=int, help="measure only so many")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn, the intervals too (default: 0)")
    parser.add_argument("--out", type=Path, help="folder for table.md and figures.json")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def engines_of(arguments: argparse.Namespace) -> Engines:
    """The engines that the options name; nothing heavy happens yet.

    Raises:
        InvalidRequest: as `connect`, or the limit is below 1.
    """
    if arguments.limit is not None and arguments.limit < 1:
        raise InvalidRequest.of("limit", f"is {arguments.limit}, it must be 1 or more")
    return connect(arguments.profile, arguments.address, os.environ.get(TOKEN_VARIABLE, ""))


def present(arguments: argparse.Namespace, *, content: dict[str, Any], table: str) -> None:
    """Prints the figures, as JSON where that is asked for, and keeps both forms where there is a folder."""
    if arguments.out:
        write_whole(arguments.out / "table.md", f"{table}\n".encode(errors="backslashreplace"))
        write_json(arguments.out / "figures.json", content)
    say(json.dumps(content, indent=2) if arguments.json else table)
