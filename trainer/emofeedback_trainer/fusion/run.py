"""One fusion in a folder: the judge reasons, the teacher paints, the student learns, the policy is published.

DIR/config.toml      the configuration
DIR/states/          what the judge has in mind of the lessons
DIR/teacher/         its policy, where the student begins with it
DIR/trajectories/    what the teacher painted of them
DIR/words/           the connector as it begins, which knows the text encoders' rows
DIR/student/         the last checkpoint, and a line of the curve for each
DIR/policies/NAME/   the policy, its connector in it
DIR/numbers/         with `states = "numbers"`: the network that stands in the judge's place
DIR/samples.png      the teacher from words, the student from tokens, and without them, from the same noise
DIR/result.json      what came of it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.limits import LIMITS
from emofeedback.generator.connector import EmotionConnector, Fused
from emofeedback.generator.flow import level_schedule
from emofeedback.generator.pipeline import Models, load_models
from emofeedback.generator.policy_store import PolicyStore, Sampling
from emofeedback.observability.console import say
from emofeedback.profiles.overrides import load_profile, to_toml
from emofeedback.profiles.profile import JudgeSettings, Profile
from emofeedback.storage.files import held, write_json, write_whole
from emofeedback_trainer.core.publish import publish
from emofeedback_trainer.core.run_files import CONFIG, RESULT, require_free, require_unchanged
from emofeedback_trainer.distillation.shards import read_shards
from emofeedback_trainer.distillation.teacher import HELD_OUT, Asked, collect, save_rows, teaching
from emofeedback_trainer.flow_grpo.lora import AdaptedTransformer
from emofeedback_trainer.fusion.adapter import begun, fresh
from emofeedback_trainer.fusion.config import MAY_CHANGE, FusionConfig, load_config
from emofeedback_trainer.fusion.lessons import Lesson, load_lessons
from emofeedback_trainer.fusion.states import (
    JudgeReasoner,
    NumberStates,
    Reasoner,
    States,
    collect_states,
    read_states,
    save_numbers,
)
from emofeedback_trainer.fusion.student import Student
from emofeedback_trainer.fusion.turns import Curriculum
from emofeedback_trainer.fusion.words import learn_words

_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class FusionResult:
    """What came of a fusion."""

    policy: str
    digest: str
    teacher: str
    """The policy that painted what was learned from, `base` for none."""
    judge: str
    """Digest of the judge whose tokens it reads; of the network of numbers, where that stands in its place."""
    updates: int
    error: float
    """How far the student's finished latents lie from the teacher's on held-out lessons, relative to their spread."""
    without_tokens: float
    """The same with the null rows in the tokens' place: what is to be gained by reading them."""


def prepare(config: FusionConfig, folder: Path, *, resume: bool) -> None:
    """Checks that the folder and the configuration go together.

    Raises:
        InvalidRequest: the folder holds a run and `resume` is off, holds none and it is on, or was begun with another
            value of a key that may not change.
    """
    is_begun = (folder / CONFIG).exists()
    require_free(folder, begun=is_begun, resume=resume)
    if is_begun:
        require_unchanged(load_config(str(folder / CONFIG)), config, MAY_CHANGE)


def fuse(
    config: FusionConfig, folder: Path, *, load_judge: Callable[[JudgeSettings], Reasoner] = JudgeReasoner
) -> FusionResult:
    """Runs to the end, from wherever the folder stands.

    Args:
        load_judge: whose tokens are learned from, by the profile's settings.

    Raises:
        FailedPrecondition: the profile's models can't be had, its judge has no reasoning tokens, the folder holds those
            of another judge, or another process works in it.
        InvalidRequest: the lessons can't be had, or the transformer has no layers of the configuration's names.
        NameTakenError: another policy has the name.
    """
    source = load_lessons(config.lessons)
    profile = load_profile(config.profile)
    with held(folder):
        write_whole(folder / CONFIG, to_toml(config).encode())
        lessons = [source(number) for number in range(config.count + HELD_OUT)]
        states, judge, variations = _states(config, profile, lessons, folder / "states", load_judge)
        models = load_models(profile.generator)
        painted = lessons[: HELD_OUT + (config.painted if config.updates else 0)]
        teacher, transformer = _taught(config, profile, models, painted, folder)
        latents = read_shards(folder / "trajectories").latents
        numbers = None
        if states is None:
            torch.manual_seed(config.seed)
            numbers = NumberStates(tokens=config.tokens, width=config.connector.width, variations=variations)
        shape = states.looked.shape[1:] if states else (config.tokens, config.connector.width)
        connector = _fresh_connector(models, config, *shape)
        if numbers is not None:
            numbers.to(models.device)
        curriculum = Curriculum(lessons, states, config)
        learn_words(connector, numbers, models.prompts, lessons, curriculum, config, folder / "words")
        student = Student(
            transformer,
            connector,
            numbers,
            models.prompts,
            curriculum,
            latents,
            config,
            level_schedule(config.levels, models.shift),
            folder / "student",
        )
        for error in student.learn():
            say(f"{student.updates} of {config.updates} updates, error {error:.3f} on held-out lessons")
        connector.load_state_dict(student.averaged("connector"))
        if numbers is not None:
            numbers.load_state_dict(student.averaged("numbers"))
            judge = ModelInfo(name="numbers", digest=save_numbers(numbers, folder / "numbers"))
        assert judge is not None
        published = publish(
            str(folder / "policies"),
            config.name,
            student.adapter(),
            rank=transformer.rank,
            alpha=transformer.alpha,
            base=models.info,
            run=config.name,
            step=student.updates,
            sampling=Sampling(levels=config.levels, guidance=1.0),
            fused=Fused(connector=deepcopy(connector).half(), judge=judge, variations=variations),
        )
        _draw(models, student, curriculum, latents, folder / "samples.png")
        result = FusionResult(
            policy=published.name,
            digest=published.digest,
            teacher=teacher or "base",
            judge=judge.digest,
            updates=student.updates,
            error=round(student.error(), 4),
            without_tokens=round(student.error(with_tokens=False), 4),
        )
        write_json(folder / RESULT, asdict(result))
        return result


def _states(
    config: FusionConfig,
    profile: Profile,
    lessons: Sequence[Lesson],
    folder: Path,
    load_judge: Callable[[JudgeSettings], Reasoner],
) -> tuple[States | None, ModelInfo | None, int]:
    """The judge's tokens, whose they are, and its variations; of numbers none, nobody's, and those of the lessons."""
    if config.states == "numbers":
        return None, None, 1 + max((max(lesson.variations, default=0) for lesson in lessons), default=0)
    reasoner = load_judge(profile.judge)
    collect_states(reasoner, lessons, folder)
    return read_states(folder), reasoner.info, reasoner.variations


def _taught(
    config: FusionConfig, profile: Profile, models: Models, lessons: Sequence[Lesson], folder: Path
) -> tuple[str, AdaptedTransformer]:
    """Has the teacher paint the lessons; its name, and the adapter that the student begins with."""
    settings = profile.generator
    with teaching(models, settings, config.policy) as teacher:
        wanted = [Asked(caption=lesson.told, seed=_seed(config, number)) for number, lesson in enumerate(lessons)]
        collect(models, wanted, config, folder / "trajectories")
    if not (config.begin_with_it and teacher):
        return teacher, fresh(models, config)
    PolicyStore(settings.policies).fetch(teacher, folder / "teacher")
    return teacher, begun(models, config, folder / "teacher")


def _seed(config: FusionConfig, number: int) -> int:
    return int(np.random.default_rng((config.seed, number)).integers(LIMITS.seed))


def _fresh_connector(models: Models, config: FusionConfig, tokens: int, width: int) -> EmotionConnector:
    """One that changes nothing, but for null rows that are as the mean row of an empty prompt."""
    torch.manual_seed(config.seed)
    connector: EmotionConnector = EmotionConnector(
        tokens=tokens,
        judge_width=width,
        context_width=models.transformer.config.joint_attention_dim,
        pooled_width=models.transformer.config.pooled_projection_dim,
        width=config.connector.width,
        heads=config.connector.heads,
        layers=config.connector.layers,
    ).to(models.device)
    with torch.no_grad():
        connector.null.copy_(models.prompts.encode("").tokens.mean(dim=0).float())
    return connector


def _draw(models: Models, student: Student, curriculum: Curriculum, latents: Tensor, path: Path) -> None:
    """Three rows: the teacher from words, the student from tokens, and with the null rows in their place."""
    felt = [index for index in range(HELD_OUT) if curriculum.plain_turn(index).feels][:_SHOWN]
    turns = [curriculum.plain_turn(index) for index in felt]
    of_felt = latents[felt].float()
    rows = (
        of_felt[:, -1],
        student.paint(turns, of_felt[:, 0]),
        student.paint([replace(turn, feels=False) for turn in turns], of_felt[:, 0]),
    )
    save_rows(models, rows, path)
