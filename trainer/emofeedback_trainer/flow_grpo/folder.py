"""The folder of one training run, as its process writes it: `core.run_files`, and beside those

checkpoint/     see `checkpoint`
panel/          pictures of the held-out panel, a folder a measurement
policies/       the adapters, where the configuration names no other address
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from emofeedback.domain.training import RunState
from emofeedback.profiles.overrides import to_toml
from emofeedback.storage.files import write_json, write_whole
from emofeedback_trainer.core.jsonl import add_line, cut_back, read_lines
from emofeedback_trainer.core.run_files import (
    CHECKPOINT,
    CONFIG,
    EVAL,
    METRICS,
    RESULT,
    STATUS,
    lines_path,
    rename_earlier,
    require_free,
)
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig, load_config


@dataclass(frozen=True)
class RunFolder:
    """The files of a run."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINT

    @property
    def panel(self) -> Path:
        return self.path / "panel"

    @property
    def policies(self) -> str:
        """The default store of adapters."""
        return str((self.path / "policies").resolve())

    def require_free(self, *, resume: bool) -> None:
        """As `run_files.require_free`: a run has begun with its first iteration or checkpoint."""
        begun = lines_path(self.path, METRICS).exists() or self.checkpoints.exists()
        require_free(self.path, begun=begun, resume=resume)

    def keep_config(self, config: FlowGrpoConfig) -> None:
        """Writes the configuration; raises as `storage.files.write_whole`."""
        write_whole(self.path / CONFIG, to_toml(config).encode())

    def config(self) -> FlowGrpoConfig:
        """What the run in the folder was started with; raises as `load_config`."""
        return load_config(str(self.path / CONFIG))

    def add_iteration(self, metrics: Mapping[str, float | str]) -> None:
        """Adds a line to the metrics; raises as `storage.files.write_whole`."""
        add_line(self.path / METRICS, metrics)

    def add_measurement(self, metrics: Mapping[str, float | str]) -> None:
        """Adds a measurement of the panel; raises as `storage.files.write_whole`."""
        add_line(self.path / EVAL, metrics)

    def measurements(self) -> list[dict[str, Any]]:
        """The measurements of the panel so far; raises as `read_lines`."""
        return read_lines(self.path / EVAL)

    def cut_back(self, iteration: int) -> None:
        """Drops the lines of what comes after so many finished iterations: it is done anew."""
        rename_earlier(self.path)
        for name in (METRICS, EVAL):
            cut_back(self.path / name, "iteration", iteration)

    def set_status(self, state: RunState, iteration: int, iterations: int, message: str = "") -> None:
        """Replaces the status; raises as `storage.files.write_whole`."""
        status = {
            "state": state,
            "iteration": iteration,
            "iterations": iterations,
            "message": message,
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json(self.path / STATUS, status)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Writes what came of the run; raises as `storage.files.write_whole`."""
        write_json(self.path / RESULT, dict(result))
