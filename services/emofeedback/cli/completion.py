"""`emofeedback completion`: the script by which a shell completes commands, options, files and folders."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import shtab


def completion(parser: argparse.ArgumentParser, commands: Iterable[argparse.ArgumentParser], shell: str) -> str:
    """The script for `bash` or `zsh`."""
    for command in commands:
        for action in command._actions:  # which argparse does not give otherwise
            if action.type is Path:
                action.complete = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE  # type: ignore[attr-defined]
    script: str = shtab.complete(parser, shell)
    return script.rstrip()
