"""Supervised fine-tuning of the judge by TRL: it learns the replies of somebody who knows the labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from trl import SFTConfig as TrlSftConfig
from trl import SFTTrainer

from emofeedback_trainer.data.eemodb.questions import Question
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.judge.checkpoints import PlainCheckpoints
from emofeedback_trainer.judge.config import SftConfig
from emofeedback_trainer.judge.datasets import sft_rows
from emofeedback_trainer.judge.folder import TrainedJudge
from emofeedback_trainer.judge.training import adapter, arguments, trained


class PlainSftTrainer(PlainCheckpoints, SFTTrainer):  # type: ignore[misc, unused-ignore]
    """TRL's trainer with checkpoints in plain files."""

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint is not None:  # TRL would count what was learned from anew
            self._total_train_tokens = self.state.log_history[-1]["num_tokens"]


def train_sft(
    config: SftConfig,
    folder: Path,
    *,
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    questions: Sequence[Question] = (),
    resume: bool = False,
    console: Console,
) -> TrainedJudge:
    """Trains to the end in the folder.

    Args:
        questions: to be learned besides the tasks, where the configuration asks for them.

    Raises:
        EmoFeedbackError: as `training.trained` and `sft_rows`.
    """

    def build(model: Any, processor: Any) -> PlainSftTrainer:
        return PlainSftTrainer(
            model=model,
            args=TrlSftConfig(**arguments(config, folder), max_length=None),
            train_dataset=sft_rows(train, config.tasks, questions),
            processing_class=processor,
            peft_config=adapter(config.model),
        )

    return trained(
        config,
        folder,
        build,
        held_out=held_out,
        max_new_tokens=config.max_new_tokens,
        resume=resume,
        console=console,
    )
