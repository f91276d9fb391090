"""The folder of one training run: what is written while it goes on, and cut back to the checkpoint on a resume.

config.toml     the effective configuration
curve.jsonl     a line an iteration
panel.jsonl     a line a measurement of the held-out panel
status.json     where the run stands, replaced as a whole
checkpoint/     see `checkpoint`
policies/       the adapters, where the configuration names no other address
result.json     the final policy
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from emofeedback.domain.errors import InvalidRequest
from emofeedback.profiles.overrides import to_toml
from emofeedback.storage.files import write_json, write_whole
from emofeedback_trainer.core.jsonl import add_line, cut_back, whole_lines
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig, load_config

State = Literal["running", "paused", "finished", "failed", "canceled"]

_CONFIG, _CURVE, _PANEL = "config.toml", "curve.jsonl", "panel.jsonl"


@dataclass(frozen=True)
class RunFolder:
    """The files of a run."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoint"

    @property
    def panel(self) -> Path:
        return self.path / "panel"

    @property
    def policies(self) -> str:
        """The default store of adapters."""
        return str((self.path / "policies").resolve())

    def require_free(self, *, resume: bool) -> None:
        """A folder holds one run.

        Raises:
            InvalidRequest: there is one in it and `resume` is off, or there is none to resume.
        """
        holds_run = (self.path / _CURVE).exists() or self.checkpoints.exists()
        if holds_run and not resume:
            raise InvalidRequest.of("out", f"{self.path} holds a run: name another folder, or --resume the run in it")
        if resume and not holds_run:
            raise InvalidRequest.of("out", f"{self.path} holds no run to resume")

    def keep_config(self, config: FlowGrpoConfig) -> None:
        """Writes `config.toml`; raises as `rundir.write_whole`."""
        write_whole(self.path / _CONFIG, to_toml(config).encode())

    def config(self) -> FlowGrpoConfig:
        """What the run in the folder was started with; raises as `load_config`."""
        return load_config(str(self.path / _CONFIG))

    def add_iteration(self, figures: Mapping[str, float | str]) -> None:
        """Adds a line to the curve; raises as `rundir.write_whole`."""
        add_line(self.path / _CURVE, figures)

    def add_measurement(self, figures: Mapping[str, float | str]) -> None:
        """Adds a line to the panel's curve; raises as `rundir.write_whole`."""
        add_line(self.path / _PANEL, figures)

    def iterations(self) -> list[dict[str, Any]]:
        """The lines of the curve."""
        return whole_lines(self.path / _CURVE)

    def measurements(self) -> list[dict[str, Any]]:
        """The lines of the panel's curve."""
        return whole_lines(self.path / _PANEL)

    def cut_back(self, iteration: int) -> None:
        """Drops the lines of what comes after so many finished iterations: it is done anew."""
        for name in (_CURVE, _PANEL):
            cut_back(self.path / name, "iteration", iteration)

    def tell(self, state: State, iteration: int, iterations: int, message: str = "") -> None:
        """Replaces `status.json`; raises as `rundir.write_whole`."""
        status = {
            "state": state,
            "iteration": iteration,
            "iterations": iterations,
            "message": message,
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json(self.path / "status.json", status)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Writes `result.json`; raises as `rundir.write_whole`."""
        write_json(self.path / "result.json", dict(result))
