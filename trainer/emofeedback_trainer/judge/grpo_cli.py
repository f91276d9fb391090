"""`emofeedback-train judge-grpo`: GRPO for the judge in a folder."""

from __future__ import annotations

import argparse

from rich.console import Console

from emofeedback_trainer.judge.command import add_options, config_of, run_training, samples_of
from emofeedback_trainer.judge.config import GRPO_CONFIGS
from emofeedback_trainer.judge.folder import TrainedJudge

_EXAMPLES = r"""examples:
  emofeedback-train judge-grpo --model runs/sft/judge --data runs/scenes --out runs/grpo
                                        go on from a fine-tuned judge; without --model, from the configuration's
  emofeedback-train judge-grpo --data runs/scenes --out runs/regression --set rewards.emotion=0
  emofeedback-train judge-grpo --data runs/scenes --out runs/ranking --set 'tasks=["assessment", "ranking"]'
  emofeedback-train judge-grpo --model runs/sft/judge --data runs/eemodb --out runs/stage2 \
      --set 'tasks=["ranking", "vad", "emotion"]'
                                        EEmo-Logic's second stage, on the data of data build-eemodb
  emofeedback-train judge-grpo --config qwen2.5-vl-7b --data runs/emoset --out runs/large \
      --set vllm_server=http://127.0.0.1:8000
                                        replies come from a running vLLM server

A configuration file starts from a built-in one and changes some keys:
  extends = "nano"
  schedule.steps = 300
  rewards.shape = "continuous"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train judge-grpo`."""
    parser.description = "Train the judge by GRPO on a data folder: replies that come near the truth become likelier."
    parser.epilog = _EXAMPLES
    add_options(parser, GRPO_CONFIGS)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Trains; configuration, data and folder are checked before any model is loaded.

    Raises:
        InvalidRequest: as `config_of` and `samples_of`.
        EmoFeedbackError, KeyboardInterrupt: as `run_training`.
    """
    config = config_of(arguments, GRPO_CONFIGS)
    train, held_out = samples_of(arguments.data)

    def training(console: Console) -> TrainedJudge:
        from emofeedback_trainer.judge.grpo import train_grpo

        return train_grpo(
            config, arguments.out, train=train, held_out=held_out, resume=arguments.resume, console=console
        )

    run_training(arguments, "judge-grpo", training)
