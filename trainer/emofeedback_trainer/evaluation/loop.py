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
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
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
from emofeedback_trainer.core.jsonl import add_line, drop_cut_line, read_lines
from emofeedback_trainer.core.pairs import Pair
from emofeedback_trainer.core.tables import table
from emofeedback_trainer.core.task import IndependentJudge
from emofeedback_trainer.evaluation.metrics import bootstrap
from emofeedback_trainer.evaluation.runs import ROUNDS, SEEDS_A_RUN

BUDGETS = (8, 12, 16, 24, 48, 96)
"""Pictures spent; the loop has three equal rounds, so it is measured at 12, 24, 48 and 96."""
REFERENCE = 24
"""The budget at which the ways are compared."""
_FIRST = 8
"""Pictures that say what "on the subject" looks like, as the loop's first round does."""
_CHUNK = 32


class Way(StrEnum):
    """How pictures are spent."""

    LUCK = "best of n, the prompt as asked for"
    REWRITE = "best of n, one rewrite before any picture"
    LOOP = "the loop, three rounds"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What one way came to for one task and budget."""

    task: int
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

    async def measure(self, pairs: Mapping[int, Pair], kept: Path, done: Callable[[Choice], None]) -> list[Choice]:
        """The choices of all ways, policies and budgets; those in the JSON lines of `kept` are not made again.

        Args:
            pairs: by number, from which their seeds follow.
        """
        drop_cut_line(kept)
        choices = [Choice(**{**line, "way": Way(line["way"])}) for line in read_lines(kept, "task")]
        have = {(choice.task, choice.policy, choice.way, choice.pictures) for choice in choices}
        for number, pair in pairs.items():
            for policy in self.policies:
                for way in Way:
                    wanted = {(number, policy, way, budget) for budget in self._budgets(way)}
                    for choice in await self._choices(number, pair, policy, way) if wanted - have else ():
                        if (number, policy, way, choice.pictures) not in have:
                            add_line(kept, asdict(choice))
                            choices.append(choice)
                            done(choice)
        return choices

    def _budgets(self, way: Way) -> list[int]:
        """Those that a way is measured at."""
        return [budget for budget in self.budgets if way is not Way.LOOP or budget % ROUNDS == 0]

    async def _choices(self, number: int, pair: Pair, policy: str, way: Way) -> list[Choice]:
        if way is Way.LOOP:
            return [await self._loop(number, pair, policy, budget) for budget in self._budgets(way)]
        prompt = pair.prompt if way is Way.LUCK else await self._rewrite(pair)
        candidates, images = await self._generate(number, pair, policy, prompt, max(self.budgets))
        first = candidates if way is Way.LUCK else (await self._generate(number, pair, policy, pair.prompt, _FIRST))[0]
        candidates = list(mark_drift(candidates, drift_floor(first[:_FIRST], self.settings)))
        found = []
        for budget in self.budgets:
            best = best_of([candidates[:budget]])
            if best is not None:
                found.append(
                    self._choice(number, pair, policy, way, budget, candidates[best.index], images[best.index])
                )
        return found

    async def _generate(
        self, number: int, pair: Pair, policy: str, prompt: str, count: int
    ) -> tuple[list[Candidate], list[bytes]]:
        """The first `count` pictures of a prompt, judged."""
        request = OptimizationRequest(prompt=pair.prompt, target=pair.target, policy=policy)
        suffix = f", {target_phrase(pair.target)}" if self.settings.numeric_target else ""
        candidates: dict[int, Candidate] = {}
        images: dict[int, bytes] = {}
        for start in range(0, count, _CHUNK):
            seeds = range(SEEDS_A_RUN * number + start, SEEDS_A_RUN * number + min(start + _CHUNK, count))
            async with aclosing(
                generate_and_judge(
                    [prompt],
                    seeds,
                    request,
                    suffix=suffix,
                    imagine=policy in self.imagining,
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

    async def _loop(self, number: int, pair: Pair, policy: str, budget: int) -> Choice:
        request = OptimizationRequest(
            prompt=pair.prompt,
            target=pair.target,
            rounds=ROUNDS,
            images=budget // ROUNDS,
            seed=SEEDS_A_RUN * number,
            policy=policy,
            imagine=policy in self.imagining,
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
        choice = self._choice(number, pair, policy, Way.LOOP, budget, candidate, images[answer.round, answer.index])
        spread = fmean(map(_spread, rounds[1:])) / _spread(rounds[0]) if len(rounds) > 1 else None
        return replace(choice, spread=spread, later=answer.round > 0)

    def _choice(
        self, number: int, pair: Pair, policy: str, way: Way, pictures: int, chosen: Candidate, image: bytes
    ) -> Choice:
        [look] = self.independent.look([Image.open(io.BytesIO(image)).convert("RGB")])
        seen = AffectPoint(look.valence, look.arousal)
        assert isinstance(chosen.outcome, Assessment)  # only a picture that could be judged is ever chosen
        return Choice(
            task=number,
            policy=policy,
            way=way,
            pictures=pictures,
            judged=distance(chosen.outcome.point, pair.target),
            independent=distance(seen, pair.target),
            judge_error=distance(chosen.outcome.point, seen),
        )


def _spread(candidates: Sequence[Candidate]) -> float:
    points = [candidate.outcome.point for candidate in candidates if isinstance(candidate.outcome, Assessment)]
    return stdev(p.valence for p in points) + stdev(p.arousal for p in points) if len(points) > 1 else 0.0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One cell of the table: a way with a policy at a budget."""

    policy: str
    way: Way
    pictures: int
    runs: int
    independent: float
    judged: float
    judge_error: float
    saved: float
    """Share of the error of luck at `REFERENCE` pictures with the same policy that is saved; negative: it is more."""
    saved_interval: tuple[float, float]
    """95 %, paired bootstrap over the tasks."""
    spread: float | None
    later: float | None


def standings(choices: Sequence[Choice], seed: int = 0) -> list[Standing]:
    """The table's cells, in the order of policies, ways and budgets."""
    groups: dict[tuple[str, Way, int], dict[int, Choice]] = {}
    for choice in choices:
        groups.setdefault((choice.policy, choice.way, choice.pictures), {})[choice.task] = choice
    found = []
    for (policy, way, pictures), made in groups.items():
        reference = groups.get((policy, Way.LUCK, REFERENCE), {})
        tasks = [task for task in made if task in reference]
        ours = np.array([made[task].independent for task in tasks])
        theirs = np.array([reference[task].independent for task in tasks])
        spreads = [choice.spread for choice in made.values() if choice.spread is not None]
        later = [choice.later for choice in made.values() if choice.later is not None]
        found.append(
            Standing(
                policy=policy,
                way=way,
                pictures=pictures,
                runs=len(made),
                independent=fmean(choice.independent for choice in made.values()),
                judged=fmean(choice.judged for choice in made.values()),
                judge_error=fmean(choice.judge_error for choice in made.values()),
                saved=_saved(ours, theirs),
                saved_interval=_interval(ours, theirs, seed),
                spread=fmean(spreads) if spreads else None,
                later=fmean(later) if later else None,
            )
        )
    order = list(Way)
    return sorted(found, key=lambda cell: (cell.policy, order.index(cell.way), cell.pictures))


def _saved(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    return 1 - float(ours.mean() / theirs.mean()) if len(ours) else float("nan")


def _interval(ours: NDArray[np.float64], theirs: NDArray[np.float64], seed: int) -> tuple[float, float]:
    if not len(ours):
        return float("nan"), float("nan")
    return bootstrap(lambda drawn: _saved(ours[drawn], theirs[drawn]), len(ours), seed=seed)


def markdown(cells: Sequence[Standing]) -> str:
    """The table, one row a cell."""
    header = [
        *("policy", "way", "pictures", "error, independent", "by the judge", "judge's own error"),
        *(f"saved against the best of {REFERENCE}, 95 %", "spread", "from a later round"),
    ]
    rows = [
        (
            *(c.policy, c.way, str(c.pictures), f"{c.independent:.2f}", f"{c.judged:.2f}", f"{c.judge_error:.2f}"),
            "{:.0%} ({:.0%} to {:.0%})".format(c.saved, *c.saved_interval),
            *(_share(c.spread), _share(c.later)),
        )
        for c in cells
    ]
    return f"{table(header, rows)}\n\n{max(c.runs for c in cells)} runs a row." if cells else "No runs."


def draw(cells: Sequence[Standing]) -> bytes:
    """A PNG of the independent judge's error against pictures spent, a line for each way and policy."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for policy, style in zip(dict.fromkeys(cell.policy for cell in cells), ("-", "--", ":"), strict=False):
        for way, color in zip(Way, ("tab:gray", "tab:orange", "tab:blue"), strict=True):
            points = [(c.pictures, c.independent) for c in cells if (c.policy, c.way) == (policy, way)]
            if points:
                axes.plot(*zip(*points, strict=True), style, color=color, marker="o", label=f"{way}, {policy}")
    axes.set(xscale="log", xlabel="pictures", ylabel="error of the choice, independent")
    axes.set_xticks(BUDGETS, [str(budget) for budget in BUDGETS], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    file = io.BytesIO()
    figure.savefig(file, dpi=100)
    return file.getvalue()


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
