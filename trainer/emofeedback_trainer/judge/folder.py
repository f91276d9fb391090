"""The folder of one training run of the judge.

config.toml        the effective configuration
metrics.jsonl      a line a step: loss or rewards, KL, entropy, lengths
eval.jsonl         a line a measurement on held-out pictures
samples.jsonl      a few replies of each measurement, with the truth
curves.png         the first two as pictures
checkpoints/       see `plain_checkpoints`; the newest two
judge/             the trained judge, whole: a checkpoint that a profile can name
result.json        what came of it
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from emofeedback.domain.errors import InvalidRequest
from emofeedback.profiles.overrides import to_toml
from emofeedback.storage.files import write_json, write_whole
from emofeedback.storage.texts import parse_json
from emofeedback_trainer.core.jsonl import add_line, cut_back, read_lines
from emofeedback_trainer.core.run_files import CONFIG, RESULT, lines_path, read_result, rename_earlier, require_free
from emofeedback_trainer.judge.config import present_keys

Lines = Literal["metrics", "eval", "samples"]
_LINES: tuple[Lines, ...] = ("metrics", "eval", "samples")


@dataclass(frozen=True, kw_only=True)
class TrainedJudge:
    """What a run leaves."""

    checkpoint: Path
    """A whole judge, adapter merged in."""
    digest: str
    steps: int
    seconds: float
    """Of this start of the run."""


@dataclass(frozen=True)
class JudgeRunFolder:
    """The files of a run."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def judge(self) -> Path:
        return self.path / "judge"

    @property
    def config(self) -> Path:
        return self.path / CONFIG

    def require_free(self, *, resume: bool) -> None:
        """As `run_files.require_free`: a run has begun with its configuration."""
        require_free(self.path, begun=self.config.exists(), resume=resume)

    def open(self, config: Any, *, resume: bool) -> Path | None:
        """Takes the folder for a run.

        Returns:
            The checkpoint to go on from, None for a fresh start.

        Raises:
            InvalidRequest: as `require_free`, or the run was started with another configuration.
        """
        self.require_free(resume=resume)
        if self.config.exists():
            self.require_started_with(config)
        write_whole(self.config, to_toml(config).encode())
        checkpoint = self.checkpoint()
        rename_earlier(self.path)
        for name in _LINES:
            cut_back(self._file(name), "step", _step(checkpoint) if checkpoint else -1)
        return checkpoint

    def require_started_with(self, config: Any) -> None:
        """A run is only continued, or counted as done, as what it was started as.

        Raises:
            InvalidRequest: it was started with another configuration; the first key that differs is named.
        """
        kept, wanted = self.config.read_text(encoding="utf-8"), to_toml(config)
        before, now = (present_keys(tomllib.loads(text)) for text in (kept, wanted))
        for key, value in now.items():
            if before.get(key) != value:
                problem = f"the run in {self.path} was started with another one: {key} = {value!r} is new"
                raise InvalidRequest.of("config", problem)

    def checkpoint(self) -> Path | None:
        """The newest whole checkpoint (`plain_checkpoints`), None where there is none."""
        whole = [path for path in self.checkpoints.glob("checkpoint-*") if _is_json(path / "trainer_state.json")]
        return max(whole, key=_step, default=None)

    def add(self, name: Lines, line: Mapping[str, Any]) -> None:
        """Adds a line; raises as `storage.files.write_whole`."""
        add_line(self._file(name), line)

    def lines(self, name: Lines) -> list[dict[str, Any]]:
        """All whole lines so far; raises as `read_lines`."""
        return read_lines(self._file(name), "step")

    def finish(self, result: Mapping[str, Any]) -> None:
        """Writes what came of the run."""
        write_json(self.path / RESULT, dict(result))

    def result(self) -> dict[str, Any]:
        """What came of the run, empty where it isn't over; raises as `read_result`."""
        return read_result(self.path)

    def _file(self, name: Lines) -> Path:
        file = f"{name}.jsonl"
        return self.path / file if name == "samples" else lines_path(self.path, file)


def _is_json(path: Path) -> bool:
    """Whether a file is there and not half of one."""
    try:
        parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.partition("-")[2])
