"""The measurements that take long, made short: scripted models, few pictures, a wait wherever one works."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import Judge
from emofeedback.domain.generation import Generator, ModelInfo
from emofeedback.domain.reasoning import Imagination
from emofeedback.profiles.profile import JudgeSettings, Profile
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.storage import write_split
from emofeedback_trainer.nano.task import TASK
from support.fakes import ScriptedGenerator, paint
from support.forked_command import Command
from support.steady_judge import SteadyJudge
from support.tiny_checkpoints import save_tiny_policy, save_tiny_sd3, tiny_fused

NAMES = (
    "evaluate judge",
    "evaluate policy",
    "evaluate generation",
    "evaluate loop",
    "evaluate questions",
    "evaluate eemo-bench",
    "fuse-evaluate",
)
TOKENS = ModelInfo(name="tokens", digest="sha256:" + "7" * 64)


@dataclass(frozen=True)
class Seen:
    """What is seen in one picture."""

    valence: float
    arousal: float
    subject: str


class Colors:
    """An independent judge to whom red is valence and green is arousal."""

    info = ModelInfo(name="colors", digest="sha256:" + "6" * 64)

    def look(self, images: Sequence[Image.Image]) -> list[Seen]:
        means = [np.asarray(image, np.float64)[..., :2].mean(axis=(0, 1)) / 32 + 1 for image in images]
        return [Seen(float(red), float(green), TASK.evaluation[0].subject) for red, green in means]


class Reasoner:
    """A judge whose tokens are numbers that follow from what it is asked about."""

    info = TOKENS
    variations = 4
    shape = (2, 4)

    def look(self, pictures: Sequence[Image.Image]) -> Tensor:
        return torch.stack([self._states(np.asarray(picture).sum()) for picture in pictures])

    def imagine(self, imaginations: Sequence[tuple[Imagination, int]]) -> Tensor:
        return torch.stack([self._states(len(one.prompt) + 10 * number) for one, number in imaginations])

    def _states(self, seed: float) -> Tensor:
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(int(seed)))


class Painter(ScriptedGenerator):
    """A scripted generator as one of this process."""

    @classmethod
    def load(cls, _: object) -> Painter:
        return cls(delay=0.002, known_policies=("warm", "fused"), fused={"": TOKENS})

    def close(self) -> None:
        pass


class NoScores:
    """What a measurement has where there is no checkpoint of a score."""

    models = ()

    @classmethod
    def load(cls, *_: object) -> NoScores:
        return cls()

    def measure(self, images: Sequence[bytes], prompts: Sequence[str]) -> dict[str, list[float]]:
        return {}

    def close(self) -> None:
        pass


def judge() -> SteadyJudge:
    return SteadyJudge(delay=0.002)


@asynccontextmanager
async def _judging() -> AsyncIterator[Judge]:
    yield judge()


def _with_engines(_: Profile, work: Callable[[Generator, Judge], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        return await work(Painter.load(None), judge())

    return asyncio.run(run())


@contextmanager
def scripted_models() -> Iterator[None]:
    """All models that a measurement loads are scripted ones, and its pairs are the nano world's first four."""
    from emofeedback_trainer.evaluation import generation_cli, generation_run, loop_cli, output, policy_cli
    from emofeedback_trainer.fusion import evaluation_cli, evaluation_run, states

    def load_reasoner(_: JudgeSettings) -> Reasoner:
        return Reasoner()

    task = replace(TASK, evaluation=TASK.evaluation[:4], generator="", independent_judge=Colors)
    with ExitStack() as stack:
        for module, name, scripted in (
            *((module, "load_task", lambda _: task) for module in (generation_cli, loop_cli, policy_cli)),
            *((module, "with_engines", _with_engines) for module in (generation_run, loop_cli, policy_cli)),
            (output, "connect", lambda *_: SimpleNamespace(judge=_judging)),
            (generation_run, "ImageScores", NoScores),
            (evaluation_cli, "load_task", lambda _: task),
            (evaluation_run, "LocalGenerator", Painter),
            (states, "JudgeReasoner", load_reasoner),
        ):
            stack.enter_context(patch.object(module, name, scripted))
        yield


def measure(words: Sequence[str]) -> int:
    """`emofeedback-train WORDS`."""
    from emofeedback_trainer.cli import main

    with scripted_models():
        return main(words)


def answer(words: Sequence[str]) -> int:
    """`emofeedback-train WORDS`, whose last two are a file of answers and the folder in which it is to lie."""
    *asked, answers, folder = words
    return measure([*asked, "--responses", str(Path(folder) / answers), "--out", folder])


def evaluations(folder: Path) -> Mapping[str, Command]:
    """By name, with all that they read in the folder."""
    again: tuple[str, ...] = ()
    folder.mkdir()
    for split, start, count in (("test", 0, 100), ("val", 100, 40)):
        write_split(folder / "data", split, [_sample(start + number) for number in range(count)])
    _write_questions(folder)
    checkpoint = save_tiny_sd3(folder / "tiny-sd3")
    save_tiny_policy(folder / "policies" / "warm", checkpoint)
    save_tiny_policy(folder / "policies" / "fused", checkpoint, fused=tiny_fused(checkpoint))
    profile = folder / "tiny.toml"
    profile.write_text(
        f"""[generator]
policies = {json.dumps(str(folder / "policies"))}
policy = "warm"
[optimizer]
imagine = false
"""
    )
    of_profile = ("--profile", str(profile))
    words = {
        "evaluate judge": ("judge", str(folder / "data"), "--validation", "val"),
        "evaluate policy": ("policy", *of_profile),
        "evaluate generation": ("generation", *of_profile, "--limit", "2"),
        "evaluate loop": ("loop", *of_profile, "--limit", "2", "--policy", "warm"),
        "evaluate questions": ("questions", "--source", "uniaa", str(folder), "answers.jsonl"),
        "evaluate eemo-bench": (
            *("eemo-bench", "--questions", str(folder / "pairs.json"), "--images", str(folder), "answers.json"),
        ),
        "fuse-evaluate": (*of_profile, "--policy", "fused", "--released", "warm"),
    }
    return {
        name: Command(run=answer, words=("evaluate", *asked), out=again, resume=again)
        if name in ("evaluate questions", "evaluate eemo-bench")
        else Command(run=measure, words=(name.split()[0], *asked), resume=again)
        for name, asked in words.items()
    }


def _write_questions(folder: Path) -> None:
    """Forty of UNIAA's and forty of EEmo-Bench's, each on a picture of its own."""
    for number in range(40):
        (folder / f"{number}.png").write_bytes(paint("a dog", number))
    uniaa = [
        {
            "img_path": f"{number}.png",
            "question": f"Is it pleasant? ({number})",
            "candidates": ["No", "Yes"],
            "correct_ans": "Yes",
            "dimension": "sentiment",
            "category": "positive",
            "type": "yes_no",
        }
        for number in range(40)
    ]
    (folder / "UNIAA_QA.json").write_text(json.dumps(uniaa))
    pairs = [
        {
            "image_url": f"{number}.png",
            "question_type": "Yes-or-No",
            "perceptual_dimension": "Valence perception",
            "question": f"Is it pleasant? ({number})",
            "options": {"A": "No.", "B": "Yes."},
            "correct_answer": "B",
        }
        for number in range(40)
    ]
    (folder / "pairs.json").write_text(json.dumps(pairs))


def _sample(number: int) -> Sample:
    return Sample(
        id=f"{number:03}",
        source="made-up",
        license="none",
        image=paint("a dog", number),
        valence=1 + number % 8,
        arousal=5.0 + number % 3,
        emotion=list(Emotion)[number % 8],
    )
