"""The files of a training run, whoever writes and whoever reads them.

    DIR/config.toml     the effective configuration
    DIR/status.json     state, finished iterations, message; replaced as a whole
    DIR/metrics.jsonl   a line an iteration (a step of the judge)
    DIR/eval.jsonl      a line a measurement on what was held out
    DIR/result.json     what came of the run, once it has finished

Runs of earlier versions have `curve.jsonl` for the metrics and `panel.jsonl` or `validation.jsonl` for the evaluation;
they are read, and renamed where such a run goes on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.training import RunState
from emofeedback.profiles.overrides import flat
from emofeedback.storage.files import LOCK
from emofeedback.storage.texts import parse_json

CONFIG, STATUS, METRICS, EVAL, RESULT = "config.toml", "status.json", "metrics.jsonl", "eval.jsonl", "result.json"
CHECKPOINT = "checkpoint"
"""The folder from which a Flow-GRPO run goes on."""
_EARLIER = {METRICS: ("curve.jsonl",), EVAL: ("panel.jsonl", "validation.jsonl")}


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a run sees itself."""

    state: RunState
    iteration: int
    """Finished iterations."""
    iterations: int
    message: str = ""
    updated: datetime | None = None
    """When it said so; earlier versions did not."""


def require_free(folder: Path, *, begun: bool, resume: bool) -> None:
    """Sees to it that a run is begun or gone on with as it was asked for; one that was cut before it had written
    anything to go on from begins anew, with `resume` too.

    Args:
        begun: whether the folder holds a run.

    Raises:
        InvalidRequest: it does and `resume` is off, or does not and it is on.
    """
    if begun and not resume:
        raise InvalidRequest.of("out", f"{folder} holds a run: name another folder, or --resume the run in it")
    if resume and not (begun or (folder / CONFIG).exists() or (folder / LOCK).exists()):
        raise InvalidRequest.of("out", f"{folder} holds no run to resume")


def require_unchanged(before: Any, now: Any, may_change: Collection[str]) -> None:
    """Sees to it that a run goes on with the configuration that it was begun with.

    Raises:
        InvalidRequest: a key that may not change has another value; the message names it.
    """
    old, new = flat(before), flat(now)
    if other := [key for key in new if new[key] != old[key] and key not in may_change]:
        begun = f"the run was begun with {old[other[0]]!r}: give it that, or another folder"
        raise InvalidRequest.of(other[0], f"is {new[other[0]]!r}, {begun}")


def lines_path(folder: Path, name: str) -> Path:
    """Where a run keeps `METRICS` or `EVAL`: under the present name, or under the one of an earlier version."""
    earlier = (folder / old for old in _EARLIER[name])
    return folder / name if (folder / name).exists() else next((p for p in earlier if p.exists()), folder / name)


def rename_earlier(folder: Path) -> None:
    """Gives the files of a run that an earlier version began their present names, before it goes on."""
    for name in _EARLIER:
        path = lines_path(folder, name)
        if path.exists():
            path.rename(folder / name)


def read_status(folder: Path) -> Status | None:
    """None where the run has not said anything yet.

    Raises:
        FailedPrecondition: the file can't be read.
    """
    path = folder / STATUS
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        return Status(
            state=RunState(content["state"]),
            iteration=int(content["iteration"]),
            iterations=int(content["iterations"]),
            message=str(content.get("message", "")),
            updated=datetime.fromisoformat(content["updated"]).astimezone() if "updated" in content else None,
        )
    except FileNotFoundError:
        return None
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise FailedPrecondition(f"{path} can't be read: {error!r}") from error


def read_result(folder: Path) -> dict[str, Any]:
    """What a finished run says of its models and of what came of it; empty before.

    Raises:
        FailedPrecondition: the file can't be read.
    """
    path = folder / RESULT
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not an object")
        return content
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise FailedPrecondition(f"{path} can't be read: {error!r}") from error


def numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a line, without its iteration and its texts."""
    return {
        name: float(value)
        for name, value in line.items()
        if name != "iteration" and isinstance(value, int | float) and not isinstance(value, bool)
    }
