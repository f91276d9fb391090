"""GRPO for the judge by TRL: several replies to one question, rewarded by the truth (EmoFeedback^2, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from trl import GRPOConfig, GRPOTrainer

from emofeedback.domain.affect import Emotion
from emofeedback.judge.numbers import stated_number
from emofeedback_trainer.data.records import AXES, Sample
from emofeedback_trainer.evaluation.replies import named_emotions
from emofeedback_trainer.judge.checkpoints import PlainCheckpoints
from emofeedback_trainer.judge.config import GrpoConfig, RewardWeights
from emofeedback_trainer.judge.datasets import grpo_rows
from emofeedback_trainer.judge.eemo_rewards import dominance_reward, ranking_reward, similarity_reward, vad_reward
from emofeedback_trainer.judge.folder import TrainedJudge
from emofeedback_trainer.judge.rewards import (
    Axis,
    axis_reward,
    emotion_reward,
    format_reward,
    written_answer,
    written_assessment,
)
from emofeedback_trainer.judge.tasks import TaskName, taxonomy
from emofeedback_trainer.judge.training import adapter, arguments, trained

RewardFunction = Callable[..., list[float | None]]


class PlainGrpoTrainer(PlainCheckpoints, GRPOTrainer):  # type: ignore[misc, unused-ignore]
    """TRL's trainer with checkpoints in plain files."""


def train_grpo(
    config: GrpoConfig,
    folder: Path,
    *,
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    resume: bool = False,
    console: Console,
) -> TrainedJudge:
    """Trains to the end in the folder; raises as `training.trained`."""
    functions, weights = reward_functions(config.rewards, config.tasks, taxonomy(train))

    def build(model: Any, processor: Any) -> PlainGrpoTrainer:
        server = {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": config.vllm_server}
        return PlainGrpoTrainer(
            model=model,
            reward_funcs=functions,
            args=GRPOConfig(
                **arguments(config, folder),
                num_generations=config.num_generations,
                max_completion_length=config.max_new_tokens,
                temperature=config.temperature,
                beta=config.beta,
                loss_type="grpo",
                reward_weights=weights,
                multi_objective_aggregation=config.rewards.multi_objective_aggregation,
                **(server if config.vllm_server else {}),
            ),
            train_dataset=grpo_rows(train, config.tasks),
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


def reward_functions(
    weights: RewardWeights, tasks: Sequence[TaskName], emotions: Sequence[str]
) -> tuple[list[RewardFunction], list[float]]:
    """The rewards of the tasks as TRL calls them, and their weights; those that weigh nothing are left out.

    Each is given the replies and the columns of `datasets.grpo_rows`, and says None where a sample's task is
    another's: so one gate of a sample is open. EEmo-Logic's count only in the right form.

    Args:
        emotions: those that a ranking may name.
    """

    def axis(completions: Any, task: Any, name: Axis, truth: Any) -> list[float | None]:
        return [
            axis_reward(written_assessment(reply), name, true, weights.shape, weights.threshold)
            if one == "assessment"
            else None
            for reply, one, true in zip(map(text, completions), task, truth, strict=True)
        ]

    def valence(completions: Any, task: Any, valence: Any, **_: Any) -> list[float | None]:
        return axis(completions, task, "valence", valence)

    def arousal(completions: Any, task: Any, arousal: Any, **_: Any) -> list[float | None]:
        return axis(completions, task, "arousal", arousal)

    def emotion(completions: Any, task: Any, mikels: Any, **_: Any) -> list[float | None]:
        return [
            emotion_reward(written_assessment(reply), Emotion(true) if true else None) if one == "assessment" else None
            for reply, one, true in zip(map(text, completions), task, mikels, strict=True)
        ]

    def ranking(completions: Any, task: Any, ranking: Any, **_: Any) -> list[float | None]:
        return [
            format_reward(reply) * ranking_reward(true, named_emotions(reply, emotions)) if one == "ranking" else None
            for reply, one, true in zip(map(text, completions), task, ranking, strict=True)
        ]

    def vad(completions: Any, task: Any, valence: Any, arousal: Any, dominance: Any, **_: Any) -> list[float | None]:
        def said(reply: str) -> list[float | None] | None:
            written = written_assessment(reply)
            return None if written is None else [getattr(written, axis) for axis in AXES]

        return [
            format_reward(reply) * vad_reward(said(reply), true) if one == "vad" else None
            for reply, one, *true in zip(map(text, completions), task, valence, arousal, dominance, strict=True)
        ]

    def dominance(completions: Any, task: Any, dominance: Any, **_: Any) -> list[float | None]:
        return [
            format_reward(reply) * dominance_reward(stated_number(reply, "dominance"), true)
            if one == "dominance"
            else None
            for reply, one, true in zip(map(text, completions), task, dominance, strict=True)
        ]

    def similarity(completions: Any, task: Any, label: Any, **_: Any) -> list[float | None]:
        return [
            format_reward(reply) * similarity_reward(true, (written_answer(reply) or "").lower().strip(" ."))
            if one == "emotion"
            else None
            for reply, one, true in zip(map(text, completions), task, label, strict=True)
        ]

    def format(completions: Any, **_: Any) -> list[float | None]:
        return [format_reward(text(completion)) for completion in completions]

    asked: list[tuple[str, RewardFunction, float]] = [
        ("assessment", valence, weights.rating / 2),
        ("assessment", arousal, weights.rating / 2),
        ("assessment", emotion, weights.emotion),
        ("ranking", ranking, weights.ranking),
        ("vad", vad, weights.vad),
        ("dominance", dominance, weights.dominance),
        ("emotion", similarity, weights.similarity),
    ]
    used = [(format, weights.format), *((function, weight) for task, function, weight in asked if task in tasks)]
    used = [(function, weight) for function, weight in used if weight > 0]
    return [function for function, _ in used], [weight for _, weight in used]


def text(completion: Any) -> str:
    """A reply as TRL hands it over: the messages of one turn."""
    (message,) = completion
    content: str = message["content"]
    return content
