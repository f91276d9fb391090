"""`emofeedback-train judge-sft`: supervised fine-tuning of the judge in a folder."""

from __future__ import annotations

import argparse

from rich.console import Console

from emofeedback_trainer.data.eemodb.question_files import read_questions
from emofeedback_trainer.judge.command import add_options, config_of, run_training, samples_of
from emofeedback_trainer.judge.config import SFT_CONFIGS
from emofeedback_trainer.judge.folder import TrainedJudge

_EXAMPLES = """examples:
  emofeedback-train nano dataset runs/scenes
  emofeedback-train judge-sft --data runs/scenes --out runs/sft
                                        the embedded judge learns from drawn scenes, on this CPU
  emofeedback-train judge-sft --data runs/scenes --out runs/sft --resume
                                        go on where it was cut
  emofeedback-train judge-sft --config qwen2.5-vl-7b --data runs/emoset --out runs/large --set schedule.steps=2000
  emofeedback-train judge-sft --config qwen2.5-vl-7b --data runs/eemodb --out runs/eemo \\
      --set 'tasks=["ranking", "dominance", "emotion"]' --set questions=true
                                        EEmo-Logic's first stage: its tasks, and the questions of data build-eemodb
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train judge-sft`."""
    parser.description = "Fine-tune the judge on a data folder: it learns to reply as somebody who knows the labels."
    parser.epilog = _EXAMPLES
    add_options(parser, SFT_CONFIGS)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Trains; configuration, data and folder are checked before any model is loaded.

    Raises:
        InvalidRequest: as `config_of` and `samples_of`.
        EmoFeedbackError, KeyboardInterrupt: as `run_training`.
    """
    config = config_of(arguments, SFT_CONFIGS)
    train, held_out = samples_of(arguments.data)
    questions = read_questions(arguments.data, "train") if config.questions else ()

    def training(console: Console) -> TrainedJudge:
        from emofeedback_trainer.judge.sft import train_sft

        return train_sft(
            config,
            arguments.out,
            train=train,
            held_out=held_out,
            questions=questions,
            resume=arguments.resume,
            console=console,
        )

    run_training(arguments, "judge-sft", training)
