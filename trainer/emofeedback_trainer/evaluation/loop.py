"""Does the loop earn its rounds? At equal pictures, against the luck of painting more of the same.

For every task three ways to spend n pictures: the best of n from the prompt as it was asked for; the best of n from one
rewrite of it, made before any picture is seen; the loop, three rounds of n / 3. The judge chooses in each, and the
independent judge says how far the chosen picture is from the target, |V - V*| + |A - A*|. What the judge believes of
its choice stands beside it: the difference is the judge's own error, which any choice by it selects for.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from PIL import Image

from emofeedback.domain.affect import SCALE_MIDDLE, AffectPoint, Emotion, distance, target_phrase
from emofeedback.domain.assessment import Assessment, Judge
from emofeedback.domain.generation import Generator
from emofeedback.domain.optimization import (
    Candidate,
    GradientRequest,
    ImageJudged,
    ImagePainted,
    OptimizationFinished,
    OptimizationRequest,
    RoundFinished,
    UpdateRequest,
)
from emofeedback.optimizer.candidates import generate_and_judge
from emofeedback.optimizer.loop import optimize
from emofeedback.optimizer.loss import best_of, drift_floor, mark_drift
from emofeedback.optimizer.steps import estimate_gradient, update_prompt
from emofeedback.profiles.profile import OptimizerSettings
from emofeedback_trainer.core.jsonl import add_line, read_kept
from emofeedback_trainer.core.pairs import Pair
from emofeedback_trainer.core.task import IndependentJudge
from emofeedback_trainer.evaluation.course import Course, Seen, course
from emofeedback_trainer.evaluation.runs import ROUNDS, SEEDS_A_RUN

BUDGETS = (8, 12, 16, 24, 48, 96)
"""Pictures spent; the loop has three equal rounds, so it is measured at 12, 24, 48 and 96."""
_FIRST = 8
"""Pictures that say what "on the subject" looks like, as the loop's first round does."""
_CHUNK = 32
_TASKS = 1000
"""More than are ever numbered, so that the runs of different tasks share no seed."""


class Way(StrEnum):
    """How pictures are spent."""

    LUCK = "best of n, the prompt as asked for"
    REWRITE = "best of n, one rewrite before any picture"
    LOOP = "the loop, three rounds"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What one way came to for one task and budget."""

    task: int
    run: int = 0
    """Which of the task's runs: each has seeds of its own."""
    policy: str
    way: Way
    pictures: int
    judged: float
    """Error of the chosen picture, in the eyes of the judge that chose it."""
    independent: float
    """The same picture's error in the independent judge's eyes."""
    judge_error: float
    """Between the two readings of that picture."""
    spread: float | None = None
    """Of the loop: standard deviation of V and A, summed, of a later round's pictures, as a share of round one's."""
    later: bool | None = None
    """Of the loop: whether the answer comes from a later round than the first."""
    course: Course | None = None
    """Of the loop: how its rounds went."""


@dataclass(frozen=True, kw_only=True)
class Spender:
    """Spends pictures on tasks, with the engines of one process."""

    generator: Generator
    judge: Judge
    independent: IndependentJudge
    settings: OptimizerSettings
    policies: tuple[str, ...]
    imagining: tuple[str, ...] = ()
    """Those of them whose pictures are painted from what the judge imagines."""
    budgets: tuple[int, ...]
    runs: int = 1
    """Of every task, policy and way."""

    async def measure(self, pairs: Mapping[int, Pair], kept: Path, done: Callable[[Choice], None]) -> list[Choice]:
        """The choices of all ways, policies and budgets; those in the JSON lines of `kept` are not made again.

        Args:
            pairs: by number; from it and the run their seeds follow.
        """
        choices = read_kept(kept, "task", _kept)
        have = set(map(_place, choices))
        for run, (number, pair), policy, way in product(range(self.runs), pairs.items(), self.policies, Way):
            missing = [b for b in self._budgets(way) if (number, run, policy, way, b) not in have]
            for choice in await self._choices(_Spend(pair, number, run, policy), way, missing) if missing else ():
                add_line(kept, asdict(choice))
                choices.append(choice)
                done(choice)
        return choices

    def _budgets(self, way: Way) -> list[int]:
        """Those that a way is measured at."""
        return [budget for budget in self.budgets if way is not Way.LOOP or budget % ROUNDS == 0]

    async def _choices(self, spend: _Spend, way: Way, budgets: Sequence[int]) -> list[Choice]:
        if way is Way.LOOP:
            return [await self._loop(spend, budget) for budget in budgets]
        asked = spend.pair.prompt
        prompt = asked if way is Way.LUCK else await self._rewrite(spend.pair)
        candidates, images = await self._generate(spend, prompt, max(budgets))
        first = candidates if way is Way.LUCK else (await self._generate(spend, asked, _FIRST))[0]
        candidates = list(mark_drift(candidates, drift_floor(first[:_FIRST], self.settings)))
        found = []
        for budget in budgets:
            best = best_of([candidates[:budget]])
            if best is not None:
                found.append(self._choice(spend, way, budget, candidates[best.index], images[best.index]))
        return found

    async def _generate(self, spend: _Spend, prompt: str, count: int) -> tuple[list[Candidate], list[bytes]]:
        """The first `count` pictures of a prompt, judged."""
        pair = spend.pair
        request = OptimizationRequest(prompt=pair.prompt, target=pair.target, policy=spend.policy)
        suffix = f", {target_phrase(pair.target)}" if self.settings.numeric_target else ""
        candidates: dict[int, Candidate] = {}
        images: dict[int, bytes] = {}
        for start in range(0, count, _CHUNK):
            seeds = range(spend.seed + start, spend.seed + min(start + _CHUNK, count))
            async with aclosing(
                generate_and_judge(
                    [prompt],
                    seeds,
                    request,
                    suffix=suffix,
                    imagine=spend.policy in self.imagining,
                    index=0,
                    floor=-1,
                    generator=self.generator,
                    judge=self.judge,
                )
            ) as events:
                async for event in events:
                    if isinstance(event, ImagePainted):
                        images[start + event.image.index] = event.image.data
                    elif isinstance(event, ImageJudged):
                        index = start + event.candidate.index
                        candidates[index] = replace(event.candidate, index=index)
        return [candidates[i] for i in range(count)], [images[i] for i in range(count)]

    async def _rewrite(self, pair: Pair) -> str:
        """The agent's rewrite for the target, with two plain gray pictures in place of painted ones."""
        plain = io.BytesIO()
        Image.new("RGB", (128, 128), (128, 128, 128)).save(plain, "PNG")
        nothing = Assessment(valence=SCALE_MIDDLE, arousal=SCALE_MIDDLE, emotion=Emotion.CONTENTMENT, confidence=0.0)
        comparison = GradientRequest(
            prompt=pair.prompt,
            target=pair.target,
            best_image=plain.getvalue(),
            best=nothing,
            worst_image=plain.getvalue(),
            worst=nothing,
        )
        gradient = await estimate_gradient(comparison, judge=self.judge, settings=self.settings)
        update = await update_prompt(
            UpdateRequest(
                original_prompt=pair.prompt, prompt=pair.prompt, analysis=gradient.analysis, target=pair.target
            ),
            judge=self.judge,
            settings=self.settings,
        )
        return update.prompt

    async def _loop(self, spend: _Spend, budget: int) -> Choice:
        pair = spend.pair
        request = OptimizationRequest(
            prompt=pair.prompt,
            target=pair.target,
            rounds=ROUNDS,
            images=budget // ROUNDS,
            seed=spend.seed,
            policy=spend.policy,
            imagine=spend.policy in self.imagining,
        )
        images: dict[tuple[int, int], bytes] = {}
        rounds: list[tuple[Candidate, ...]] = []
        async with aclosing(
            optimize(request, generator=self.generator, judge=self.judge, settings=self.settings)
        ) as events:
            async for event in events:
                if isinstance(event, ImagePainted):
                    images[event.round, event.image.index] = event.image.data
                elif isinstance(event, RoundFinished):
                    rounds.append(event.round.candidates)
                elif isinstance(event, OptimizationFinished) and event.answer:
                    answer = event.answer
        candidate = rounds[answer.round][answer.index]
        choice = self._choice(spend, Way.LOOP, budget, candidate, images[answer.round, answer.index])
        spread = fmean(map(_spread, rounds[1:])) / _spread(rounds[0]) if len(rounds) > 1 else None
        seen = [
            [Seen(prompt=each.prompt, point=self._look(images[index, each.index])) for each in candidates]
            for index, candidates in enumerate(rounds)
        ]
        went = course(seen, pair.target, seen[answer.round][answer.index].point)
        return replace(choice, spread=spread, later=answer.round > 0, course=went)

    def _look(self, image: bytes) -> AffectPoint:
        """Where the independent judge sees a picture."""
        [look] = self.independent.look([Image.open(io.BytesIO(image)).convert("RGB")])
        return AffectPoint(look.valence, look.arousal)

    def _choice(self, spend: _Spend, way: Way, pictures: int, chosen: Candidate, image: bytes) -> Choice:
        seen, target = self._look(image), spend.pair.target
        assert isinstance(chosen.outcome, Assessment)  # only a picture that could be judged is ever chosen
        return Choice(
            task=spend.number,
            run=spend.run,
            policy=spend.policy,
            way=way,
            pictures=pictures,
            judged=distance(chosen.outcome.point, target),
            independent=distance(seen, target),
            judge_error=distance(chosen.outcome.point, seen),
        )


@dataclass(frozen=True)
class _Spend:
    """What pictures are spent on: a task, one of its runs, a policy."""

    pair: Pair
    number: int
    run: int
    policy: str

    @property
    def seed(self) -> int:
        """Of its first picture; the others' follow."""
        return SEEDS_A_RUN * (self.number + _TASKS * self.run)


def _place(choice: Choice) -> tuple[int, int, str, Way, int]:
    """What a choice is of: no other has the same."""
    return choice.task, choice.run, choice.policy, choice.way, choice.pictures


def _kept(line: Mapping[str, Any]) -> Choice:
    went = line.get("course")
    return Choice(**{**line, "way": Way(line["way"]), "course": Course(**went) if went else None})


def _spread(candidates: Sequence[Candidate]) -> float:
    points = [candidate.outcome.point for candidate in candidates if isinstance(candidate.outcome, Assessment)]
    return stdev(p.valence for p in points) + stdev(p.arousal for p in points) if len(points) > 1 else 0.0
