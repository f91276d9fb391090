"""The lessons beside real pictures, of a student that can do nothing but paint brighter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from emofeedback_trainer.distillation.config import DistillationConfig, FinishConfig
from emofeedback_trainer.distillation.finishing import Finishing
from emofeedback_trainer.distillation.shards import CaptionedLatents
from emofeedback_trainer.distillation.student import Student
from emofeedback_trainer.distillation.teacher import HELD_OUT

COUNT = HELD_OUT + 16
FINISH = FinishConfig(updates=60, head_start=20, batch=8, kept=4, learning_rate=2e-2, discriminator_rate=2e-3)


class Brightness:
    """Lays one learned number on the noise."""

    def __init__(self) -> None:
        self.weights = nn.ParameterList([nn.Parameter(torch.zeros(()))])
        self.sigmas = torch.tensor([1.0, 0.0])

    def path(self, noise: Tensor, captions: Sequence[str]) -> list[Tensor]:
        assert len(captions) == len(noise)
        return [noise, noise + self.weights[0]]

    def error(self, trajectories: CaptionedLatents) -> float:
        assert len(trajectories.captions) == COUNT
        return float(self.weights[0].detach())


def normal(seed: int) -> Tensor:
    return torch.randn(COUNT, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def finishing(folder: Path, *, brighter: float, realism: float) -> tuple[Brightness, Finishing]:
    """Of a student whose teacher paints the noise, beside pictures that are so much brighter."""
    captions = tuple(f"picture {number}" for number in range(COUNT))
    trajectories = CaptionedLatents(captions=captions, latents=normal(0)[:, None].repeat(1, 2, 1, 1, 1).half())
    pictures = CaptionedLatents(captions=captions, latents=(normal(1) + brighter).half())
    config = DistillationConfig(finish=FinishConfig(**{**vars(FINISH), "realism": realism}), save_every=10)
    student = Brightness()
    return student, Finishing(cast(Student, student), trajectories, pictures, config, folder)


def learned(folder: Path, **how: Any) -> float:
    student, lessons = finishing(folder, **how)
    *_, last = lessons.learn()
    assert last == student.error(CaptionedLatents(captions=("",) * COUNT, latents=torch.empty(0)))
    return last


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How much brighter the student paints beside pictures that are 0.5 brighter, the discriminator's word in full."""
    return learned(tmp_path_factory.mktemp("free"), brighter=0.5, realism=1.0)


def test_the_student_comes_to_paint_as_real_pictures_are(free: float, tmp_path: Path) -> None:
    assert 0.2 < free < 0.6
    assert abs(learned(tmp_path, brighter=0.0, realism=1.0)) < 0.1


def test_what_its_teacher_painted_holds_it_the_more_the_less_realism_counts(free: float, tmp_path: Path) -> None:
    assert abs(learned(tmp_path, brighter=0.5, realism=0.03)) < free / 2


def test_before_the_discriminator_can_tell_the_student_learns_nothing(tmp_path: Path) -> None:
    student, lessons = finishing(tmp_path, brighter=0.5, realism=1.0)
    errors = [error for _, error in zip(range(FINISH.head_start // 10), lessons.learn(), strict=False)]
    assert errors == [0.0] * 2 and student.weights[0].item() == 0


def test_cut_lessons_go_on_to_the_same_student(free: float, tmp_path: Path) -> None:
    _, cut = finishing(tmp_path, brighter=0.5, realism=1.0)
    for _ in zip(range(3), cut.learn(), strict=False):
        pass
    assert learned(tmp_path, brighter=0.5, realism=1.0) == pytest.approx(free, abs=1e-6)
