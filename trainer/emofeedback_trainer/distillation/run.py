"""One distillation in a folder: the teacher paints, the student learns, the policy is published, a picture shows both.

DIR/config.toml      the configuration
DIR/trajectories/    what the teacher painted
DIR/student/         the last checkpoint, and a line of the curve for each
DIR/pictures/        with `finish.updates`: the latents of the real pictures
DIR/finish/          likewise: the last checkpoint of the lessons from them, and its curve
DIR/policies/NAME/   the policy
DIR/samples.png      the teacher, the teacher in as few steps as the student, and the student, from the same noise
DIR/result.json      what came of it
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor

from emofeedback.generator.flow import level_schedule
from emofeedback.generator.pipeline import Models, load_models
from emofeedback.generator.policy_store import Sampling
from emofeedback.observability.console import say
from emofeedback.profiles.overrides import load_profile, to_toml
from emofeedback.storage.files import held, write_json, write_whole
from emofeedback_trainer.core.publish import publish
from emofeedback_trainer.core.run_files import CONFIG, RESULT, require_free, require_unchanged
from emofeedback_trainer.core.task import load_task
from emofeedback_trainer.distillation.config import MAY_CHANGE, DistillationConfig, load_config
from emofeedback_trainer.distillation.finishing import Finishing
from emofeedback_trainer.distillation.objective import relative_error
from emofeedback_trainer.distillation.pictures import encode_pictures, load_pictures
from emofeedback_trainer.distillation.shards import CaptionedLatents, read_shards
from emofeedback_trainer.distillation.student import Student
from emofeedback_trainer.distillation.teacher import HELD_OUT, Asked, asked, collect, paint, save_rows, teaching
from emofeedback_trainer.distillation.windows import WindowLessons
from emofeedback_trainer.flow_grpo.lora import AdaptedTransformer

_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class DistillationResult:
    """What came of a distillation."""

    policy: str
    digest: str
    teacher: str
    """The policy that painted what was learned from, `base` for none."""
    updates: int
    error: float
    """How far the student's finished latents lie from the teacher's on held-out prompts, relative to their spread."""
    teacher_in_as_many_steps: float
    """The same of the teacher, were it simply asked for as few steps."""


def prepare(config: DistillationConfig, folder: Path, *, resume: bool) -> None:
    """Checks that the folder and the configuration go together.

    Raises:
        InvalidRequest: the folder holds a run and `resume` is off, holds none and it is on, or was begun with another
            value of a key that may not change.
    """
    begun = (folder / CONFIG).exists()
    require_free(folder, begun=begun, resume=resume)
    if begun:
        require_unchanged(load_config(str(folder / CONFIG)), config, MAY_CHANGE)


def distill(config: DistillationConfig, folder: Path) -> DistillationResult:
    """Runs to the end, from wherever the folder stands.

    Raises:
        FailedPrecondition: the profile's generator can't be had, or another process works in the folder.
        InvalidRequest: the task or the real pictures can't be had, or the transformer has no layers of the
            configuration's names.
        NameTakenError: another policy has the name.
    """
    task = load_task(config.prompts)
    pictures = load_pictures(config.finish.pictures) if config.finish.updates else None
    settings = load_profile(config.profile).generator
    with held(folder):
        write_whole(folder / CONFIG, to_toml(config).encode())
        models = load_models(settings)
        with teaching(models, settings, config.policy) as teacher:
            wanted = [asked(task.training, config, index) for index in range(config.trajectories + HELD_OUT)]
            collect(models, wanted, config, folder / "trajectories")
            hasty = _paint_hastily(models, wanted[:HELD_OUT], config)
        trajectories = read_shards(folder / "trajectories")
        student = Student(_adapted(models, config), models.prompts, level_schedule(config.levels, models.shift))
        lessons = WindowLessons(student, trajectories, config, folder / "student")
        for error in lessons.learn():
            say(f"{lessons.updates} of {config.updates} updates, error {error:.3f} on held-out prompts")
        if pictures:
            size = settings.width, settings.height
            encode_pictures(models, pictures, config.finish.count, size, folder / "pictures")
            real = read_shards(folder / "pictures")
            finishing = Finishing(student, trajectories, real, config, folder / "finish")
            for error in finishing.learn():
                done = f"{finishing.updates} of {config.finish.updates} updates beside real pictures"
                say(f"{done}, error {error:.3f} on held-out prompts")
        published = publish(
            str(folder / "policies"),
            config.name,
            student.adapter(),
            rank=config.rank,
            alpha=config.lora_alpha,
            base=models.info,
            run=config.name,
            step=config.updates + config.finish.updates,
            sampling=Sampling(levels=config.levels, guidance=1.0),
        )
        _draw(models, trajectories, hasty, student, folder / "samples.png")
        result = DistillationResult(
            policy=published.name,
            digest=published.digest,
            teacher=teacher or "base",
            updates=config.updates + config.finish.updates,
            error=round(student.error(trajectories), 4),
            teacher_in_as_many_steps=round(relative_error(hasty, trajectories.latents[:HELD_OUT, -1].float()), 4),
        )
        write_json(folder / RESULT, asdict(result))
        return result


def _adapted(models: Models, config: DistillationConfig) -> AdaptedTransformer:
    """The base transformer with a fresh adapter."""
    return AdaptedTransformer(
        models.transformer,
        rank=config.rank,
        alpha=config.lora_alpha,
        modules=config.target_modules,
        seed=config.seed,
        device=models.device,
        dtype=models.dtype,
    )


def _paint_hastily(models: Models, wanted: list[Asked], config: DistillationConfig) -> Tensor:
    """What the teacher makes of pictures in the student's number of steps, finished latents on the CPU."""
    return paint(models, wanted, replace(config, teacher_steps=config.steps))[:, -1].cpu()


def _draw(models: Models, trajectories: CaptionedLatents, hasty: Tensor, student: Student, path: Path) -> None:
    """Three rows: the teacher, the teacher in a hurry, the student."""
    captions, latents = trajectories.captions[:_SHOWN], trajectories.latents[:_SHOWN].float()
    rows = (latents[:, -1], hasty[:_SHOWN], student.paint(captions, latents[:, 0]))
    save_rows(models, rows, path)
