"""A teacher is gone when it has painted."""

from pathlib import Path

import torch

from emofeedback.generator.pipeline import load_models
from emofeedback.profiles.overrides import load_profile
from emofeedback_trainer.distillation.config import DistillationConfig
from emofeedback_trainer.distillation.teacher import Asked, paint, teaching
from support.small_trainings import tiny_profile


def test_the_student_begins_with_the_base_and_not_with_its_teacher(tiny_sd3: Path, tmp_path: Path) -> None:
    settings = load_profile(str(tiny_profile(tmp_path, tiny_sd3))).generator
    models, config = load_models(settings), DistillationConfig(teacher_steps=4)
    wanted = [Asked(caption="a dog", seed=1)]
    base = paint(models, wanted, config)
    with teaching(models, settings, "warm") as teacher:
        assert teacher == "warm"
        assert not torch.equal(paint(models, wanted, config), base)
    torch.testing.assert_close(paint(models, wanted, config), base, rtol=0, atol=0)
    assert not any("lora" in name for name, _ in models.transformer.named_parameters())
