"""What is written while a judge trains: curves, held-out errors, sample replies, and a line a step for people."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from transformers import TrainerCallback

from emofeedback.judge.engines.qwen import Qwen
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.judge.config import ModelConfig, Schedule
from emofeedback_trainer.judge.folder import JudgeRunFolder
from emofeedback_trainer.judge.judging import aloud, errors
from emofeedback_trainer.judge.processor import JudgeProcessor
from emofeedback_trainer.judge.tasks import answer

_SHOWN = 3
"""Replies that are kept of each measurement."""
_TOLD = {
    "loss": "loss",
    "reward": "reward",
    "rewards/valence/mean": "valence",
    "rewards/arousal/mean": "arousal",
    "rewards/emotion/mean": "emotion",
    "kl": "KL",
    "entropy": "entropy",
    "completions/mean_length": "tokens",
}
"""What a line for people says of a step."""


class MetricsCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Writes into the run's folder, and measures the judge on held-out pictures."""

    def __init__(
        self,
        folder: JudgeRunFolder,
        held_out: Sequence[Sample],
        *,
        model: ModelConfig,
        schedule: Schedule,
        processor: JudgeProcessor,
        max_new_tokens: int,
        console: Console,
    ) -> None:
        self._folder = folder
        self._held_out = held_out[: schedule.measured]
        self._every = schedule.measure_every
        self._steps = schedule.steps
        self._max_pixels = model.max_pixels
        self._max_new_tokens = max_new_tokens
        self._processor = processor
        self._console = console
        self._began, self._first = time.monotonic(), 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        """Measures the judge that the run begins with."""
        self._began, self._first = time.monotonic(), state.global_step
        if state.global_step == 0:
            self._measure(0, parts["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        """Measures every so many steps, and at the end."""
        if state.global_step % self._every == 0 or state.global_step == self._steps:
            self._measure(state.global_step, parts["model"])

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **parts: Any) -> None:
        """Adds the step to the curve."""
        figures = {name: value for name, value in (logs or {}).items() if isinstance(value, int | float)}
        if "train_runtime" in figures:  # the library's summary of the whole run, not of a step
            return
        self._folder.add("metrics", {"step": state.global_step, **figures})
        told = "  ".join(f"{label} {figures[name]:.3g}" for name, label in _TOLD.items() if name in figures)
        self._say(f"{state.global_step:>4}/{self._steps}  {told}  {self._left(state.global_step)}")

    def _measure(self, step: int, model: Any) -> None:
        training, generation = model.training, model.generation_config
        qwen = Qwen(model, self._processor.tokenizer, self._processor.image_processor)
        replies = aloud(qwen, self._held_out, max_pixels=self._max_pixels, max_new_tokens=self._max_new_tokens)
        model.generation_config = generation
        model.train(training)
        written = errors([reply.written for reply in replies], self._held_out)
        read = errors([reply.read for reply in replies], self._held_out)
        self._folder.add("eval", {"step": step, **written, **{f"read_{name}": v for name, v in read.items()}})
        for reply, sample in list(zip(replies, self._held_out, strict=True))[:_SHOWN]:
            line = {"step": step, "id": sample.id, "reply": reply.text, "truth": answer("assessment", sample)}
            self._folder.add("samples", line)
        self._say("held out   " + "  ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in written.items()))

    def _left(self, step: int) -> str:
        """How long the rest takes at the pace of this start of the run."""
        if step == self._first:
            return ""
        left = (time.monotonic() - self._began) / (step - self._first) * (self._steps - step)
        return f"{left:.0f} s left" if left < 100 else f"{left / 60:.0f} min left"

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)
