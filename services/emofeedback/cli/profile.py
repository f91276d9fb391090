"""`emofeedback profile`: what a profile comes to, and what a profile file may say."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emofeedback.observability.consoles import Consoles

EXAMPLES = """examples:
  emofeedback profile                                   the nano profile, a key a line
  emofeedback profile mine.toml --set generator.steps=28
  EMOFEEDBACK_PROFILE__GENERATOR__STEPS=28 emofeedback profile mine.toml
  emofeedback profile --schema > profile.schema.json    for an editor that checks TOML

A profile file starts from a built-in one and changes some keys:
  extends = "sd35-medium"
  [generator]
  checkpoint = "/models/my-sd3-finetune"
"""


PROFILES = "nano (the default), sd35-medium, sd35-medium-24gb, or a .toml file"
"""What may be named, for help: it must not load the profiles themselves."""


def add_changes(group: argparse._ActionsContainer) -> None:
    """Declares `--set`."""
    group.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the profile: judge.max_batch=8"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback profile`."""
    parser.add_argument("profile", nargs="?", default="nano", metavar="PROFILE", help=PROFILES)
    add_changes(parser)
    parser.add_argument("--schema", action="store_true", help="the JSON Schema of profile files instead")


def run(options: argparse.Namespace, consoles: Consoles) -> bool:
    """Prints the profile as TOML, or the schema.

    Raises:
        InvalidRequest: the profile is refused; every key that is wrong is named.
    """
    from emofeedback.profiles.builtin import PROFILES
    from emofeedback.profiles.overrides import load_profile, schema, to_toml

    profile = load_profile(options.profile, options.set)
    consoles.say((json.dumps(schema(PROFILES), indent=2) if options.schema else to_toml(profile)).rstrip())
    return True
