"""What stands for options that were not given: environment variables, then the user's file, then what is built in.

The file is `~/.config/emofeedback/config.toml` (`$XDG_CONFIG_HOME` where it is set), or the one that
`EMOFEEDBACK_CONFIG` names; a variable is the key in capitals behind `EMOFEEDBACK_`:

    address = "gpu-box:9000"     # or profile = "sd35-medium"
    token = "secret"
    out = "~/pictures"           # in which runs without --out get a folder

A place to work at is chosen as a whole: whoever names `--profile` works in process, whatever address the file has.
"""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from emofeedback.domain.errors import FieldViolation, InvalidRequest
from emofeedback.domain.text import did_you_mean
from emofeedback.storage.texts import read_text

FILE_VARIABLE = "EMOFEEDBACK_CONFIG"
KEYS = ("profile", "address", "token", "policies", "calibrations", "policy", "user", "out")
_PREFIX = "EMOFEEDBACK_"
_PATHS = ("policies", "calibrations", "out")
"""Keys whose `~` is the user's home."""
_STORES = {"policies", "calibrations"}
_IN_PROCESS = _STORES | {"profile", "set"}
"""Options without effect beside an address."""


def fill(options: argparse.Namespace) -> None:
    """Gives every option that the command has and that was not given the value that stands for it.

    `out`, which is the folder around runs, is left in `out_root`.

    Raises:
        InvalidRequest: the file can't be read, has a key that there is not, or a value that is no text; all are named.
    """
    options.out_root = "runs"
    rooted = False
    for layer in _layers():
        chosen = _chosen_apart(options)
        for key in KEYS:  # the address before the stores, which it has of its own
            value = layer.get(key)
            if not value or key in chosen or (key in _STORES and key in _chosen_apart(options)):
                continue
            if key == "out":
                options.out_root, rooted = (options.out_root if rooted else value), True
            elif getattr(options, key, value) in (None, ""):
                setattr(options, key, value)


def _layers() -> Iterator[Mapping[str, str]]:
    """What stands for options, the nearest first."""
    yield _expanded({key: found for key in KEYS if (found := os.environ.get(_PREFIX + key.upper()))})
    yield _expanded(_file())


def _chosen_apart(options: argparse.Namespace) -> set[str]:
    """Keys that would contradict what is chosen already."""
    # `calibrate` needs to know where to keep what it finds, address or not.
    in_process = _IN_PROCESS - ({"calibrations"} if options.command == "calibrate" else set())
    if getattr(options, "address", None):
        return in_process
    return {"address"} if any(getattr(options, key, None) for key in in_process) else set()


def _file() -> dict[str, str]:
    named = os.environ.get(FILE_VARIABLE, "")
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    path = Path(named or f"{folder}/emofeedback/config.toml")
    try:
        path = path.expanduser()
        content = tomllib.loads(read_text(path))
    except (FileNotFoundError, NotADirectoryError, RuntimeError) as error:  # RuntimeError: there is no home
        if named:
            raise InvalidRequest.of(FILE_VARIABLE, f"{named} can't be read: {error}") from error
        return {}
    except OSError as error:
        raise InvalidRequest.of(str(path), f"can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest.of(str(path), f"is not TOML: {error}") from error
    if wrong := list(_problems(path, content)):
        raise InvalidRequest(*wrong)
    return content


def _problems(path: Path, content: Mapping[str, object]) -> Iterator[FieldViolation]:
    for key, value in content.items():
        if key not in KEYS:
            known = f"is not one of {', '.join(KEYS)}{did_you_mean(key, KEYS)}"
            yield FieldViolation(f"{path} {key}", known)
        elif not isinstance(value, str):
            yield FieldViolation(f"{path} {key}", f"is {value!r}, it must be a text in quotes")
    if content.get("address") and content.get("profile"):
        yield FieldViolation(f"{path} profile", "has no effect beside address: keep one of the two")


def _expanded(layer: Mapping[str, str]) -> dict[str, str]:
    # Not by `Path`, which would take the second slash from a URI.
    return {key: os.path.expanduser(value) if key in _PATHS else value for key, value in layer.items()}  # noqa: PTH111
