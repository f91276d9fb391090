"""What each part of the judge's training is worth, on pictures that none of it saw (EmoFeedback^2, tables 4 and 5;
`stages` has EEmo-Logic's).

Every variant is a training run of its own, from the same start where it can be. What a variant says of each test
picture is kept, so the table is made of files, and a comparison that is begun again goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import Assessment, AssessmentOutcome
from emofeedback.judge.engines.base import CHECKPOINT_MARKER, fetch_checkpoint
from emofeedback.judge.engines.qwen import Qwen
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.storage.checkpoints import digest
from emofeedback.storage.files import write_json
from emofeedback_trainer.data.eemodb.questions import Question
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.evaluation.provenance import Model
from emofeedback_trainer.judge.config import GrpoConfig, SftConfig
from emofeedback_trainer.judge.folder import JudgeRunFolder
from emofeedback_trainer.judge.grpo import train_grpo
from emofeedback_trainer.judge.judging import aloud, short
from emofeedback_trainer.judge.sft import train_sft
from emofeedback_trainer.judge.shallower import write_shallower
from emofeedback_trainer.judge.tasks import TaskName

Way = Literal["written", "read", "short"]
"""How an answer was had: the reasoned reply as written, the same as the service reads it, the short rating."""
WAYS: tuple[Way, ...] = ("written", "read", "short")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to train a judge."""

    name: str
    what: str
    start: str
    """The variant that it begins with; `base` and `small` are the judges before any training."""
    rewards: Mapping[str, Any] | None = None
    """For GRPO, what differs from the configuration's rewards; None: supervised fine-tuning."""
    tasks: tuple[TaskName, ...] = ()
    """What is asked; none: the configuration's."""


BASE = "base"
"""The name of the judge before any training."""
VARIANTS = (
    Variant(name="sft", what="supervised fine-tuning (SFT)", start="base"),
    Variant(name="sft-longer", what="SFT, then SFT on as many pictures as GRPO sees", start="sft"),
    Variant(name="joint", what="SFT, then GRPO: both tasks, step reward", start="sft", rewards={}),
    Variant(name="regression", what="the same for valence and arousal alone", start="sft", rewards={"emotion": 0.0}),
    Variant(name="classification", what="the same for the emotion alone", start="sft", rewards={"rating": 0.0}),
    Variant(name="continuous", what="both tasks, continuous reward", start="sft", rewards={"shape": "continuous"}),
    Variant(name="small-sft", what="smaller judge, SFT", start="small"),
    Variant(name="small-joint", what="smaller judge, SFT, then GRPO", start="small-sft", rewards={}),
)
"""In the order in which they are trained: each after what it begins with."""


_STEPS_TO_SPEAK, _RATE_TO_SPEAK = 15, 3.0
"""How many times the steps and the rate of fine-tuning a judge gets that has lost half of its layers and must learn to
speak again."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a comparison is made of."""

    folder: Path
    fine_tuned: str
    """Hub id or folder of a judge that is fine-tuned already and is then the variant `sft`; empty: one is trained."""
    sft: SftConfig
    grpo: GrpoConfig
    small: str
    """Hub id or folder of the smaller judge; empty: the larger one with half of its text layers."""
    variants: Sequence[Variant] = VARIANTS
    """All that can be compared, each after what it begins with."""
    train: Sequence[Sample]
    questions: Sequence[Question] = ()
    """What fine-tuning learns besides, about `train`."""
    held_out: Sequence[Sample]
    test: Sequence[Sample]
    console: Console


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a trained variant says of the test pictures."""

    variant: Variant
    model: Model
    outcomes: Mapping[Way, Sequence[Assessment | None]]
    """In the order of the test pictures; None where a reply can't be read."""


def compare(plan: Plan, names: Sequence[str]) -> list[Measured]:
    """Trains and measures the named variants, and those that they begin with.

    Raises:
        EmoFeedbackError: as the trainings do; what was finished is kept.
    """
    return [_measured(plan, variant) for variant in trained_variants(plan, names)]


def trained_variants(plan: Plan, names: Sequence[str]) -> list[Variant]:
    """Trains the named variants and those that they begin with; raises as `compare`."""
    wanted = with_their_starts(names, plan.variants)
    for variant in wanted:
        _train(plan, variant)
    return wanted


def with_their_starts(names: Sequence[str], variants: Sequence[Variant]) -> list[Variant]:
    """The named variants and all that they begin with, in the order in which they are trained."""
    wanted = set(names)
    for variant in reversed(variants):
        if variant.name in wanted:
            wanted.add(variant.start)
    return [variant for variant in variants if variant.name in wanted]


def _train(plan: Plan, variant: Variant) -> None:
    """Trains the variant unless it is given or done; goes on with it where it was cut."""
    if variant.name == BASE or (variant.name == "sft" and plan.fine_tuned):
        return
    files, config = JudgeRunFolder(plan.folder / variant.name), _config(plan, variant)
    if files.result():
        files.require_started_with(config)
        return
    plan.console.print(f"{variant.name}: {variant.what}")
    how: dict[str, Any] = {
        "train": plan.train,
        "held_out": plan.held_out,
        "resume": files.config.exists(),
        "console": plan.console,
    }
    if isinstance(config, SftConfig):
        train_sft(config, files.path, questions=plan.questions, **how)
    else:
        train_grpo(config, files.path, **how)


def _config(plan: Plan, variant: Variant) -> SftConfig | GrpoConfig:
    checkpoint = _checkpoint(plan, variant.start)
    if variant.rewards is not None:
        return replace(
            plan.grpo,
            model=replace(plan.grpo.model, checkpoint=checkpoint),
            rewards=replace(plan.grpo.rewards, **variant.rewards),
            tasks=variant.tasks or plan.grpo.tasks,
        )
    sft = replace(
        plan.sft,
        model=replace(plan.sft.model, checkpoint=checkpoint),
        tasks=variant.tasks or plan.sft.tasks,
        questions=bool(plan.questions),
    )
    if variant.start == BASE:
        return sft
    if variant.start == "small":
        return sft if plan.small else _taught_to_speak(sft)
    return replace(sft, schedule=replace(sft.schedule, steps=_as_many_pictures(plan)), seed=sft.seed + 1)


def _taught_to_speak(sft: SftConfig) -> SftConfig:
    schedule = sft.schedule
    steps, rate = schedule.steps * _STEPS_TO_SPEAK, schedule.learning_rate * _RATE_TO_SPEAK
    return replace(sft, schedule=replace(schedule, steps=steps, learning_rate=rate, measure_every=steps))


def _as_many_pictures(plan: Plan) -> int:
    """Steps of fine-tuning that show as many pictures as the run of GRPO."""
    grpo, sft = plan.grpo.schedule, plan.sft.schedule
    pictures = grpo.steps * grpo.batch * grpo.accumulation // plan.grpo.num_generations
    return max(1, pictures // (sft.batch * sft.accumulation))


def _checkpoint(plan: Plan, name: str) -> str:
    """The checkpoint of a variant, or of what the first ones begin with."""
    match name:
        case "base":  # BASE, which a pattern would take for a name to bind
            return plan.sft.model.checkpoint
        case "small":
            return plan.small or _shallower(plan)
        case "sft" if plan.fine_tuned:
            return plan.fine_tuned
        case _:
            return str(JudgeRunFolder(plan.folder / name).judge)


def _shallower(plan: Plan) -> str:
    folder = plan.folder / "half"
    if not (folder / CHECKPOINT_MARKER).exists():
        write_shallower(fetch_checkpoint(plan.sft.model.checkpoint), folder)
    return str(folder)


def answers_of(
    plan: Plan, variant: Variant, ids: Sequence[str], ask: Callable[[Qwen], Mapping[str, Any]]
) -> tuple[Model, Mapping[str, Any]]:
    """Asks the trained variant, or reads what it said before.

    Args:
        ids: of all that is asked; answers to other questions don't count.
        ask: gives the answers as JSON has them.
    """
    checkpoint = _checkpoint(plan, variant.name)
    weights = digest(fetch_checkpoint(checkpoint))
    path = plan.folder / variant.name / "test.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if (kept.get("judge"), kept.get("ids")) != (weights, list(ids)):
        plan.console.print(f"{variant.name}: {len(plan.test):,} test pictures")
        kept = {"judge": weights, "ids": list(ids), **ask(_loaded(plan, checkpoint))}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, kept)
    return Model(role=variant.name, name=checkpoint, digest=weights), kept


def _loaded(plan: Plan, checkpoint: str) -> Qwen:
    config = plan.grpo.model
    return Qwen.load(
        replace(
            NANO_PROFILE.judge,
            checkpoint=checkpoint,
            max_pixels=config.max_pixels,
            device=config.device,
            dtype=config.dtype,
        )
    )


def _measured(plan: Plan, variant: Variant) -> Measured:
    model, kept = answers_of(plan, variant, [sample.id for sample in plan.test], lambda qwen: _said(plan, qwen))
    return Measured(
        variant=variant, model=model, outcomes={way: [_outcome(said) for said in kept[way]] for way in WAYS}
    )


def _said(plan: Plan, qwen: Qwen) -> dict[str, Any]:
    max_pixels = plan.grpo.model.max_pixels
    replies = aloud(qwen, plan.test, max_pixels=max_pixels, max_new_tokens=plan.grpo.max_new_tokens)
    return {
        "written": [_record(reply.written) for reply in replies],
        "read": [_record(reply.read) for reply in replies],
        "short": [_record(outcome) for outcome in short(qwen, plan.test, max_pixels=max_pixels)],
    }


def _record(outcome: AssessmentOutcome) -> list[Any] | None:
    if not isinstance(outcome, Assessment):
        return None
    return [outcome.valence, outcome.arousal, outcome.emotion.value, outcome.confidence]


def _outcome(said: Sequence[Any] | None) -> Assessment | None:
    if said is None:
        return None
    valence, arousal, emotion, confidence = said
    return Assessment(valence=valence, arousal=arousal, emotion=Emotion(emotion), confidence=confidence)
