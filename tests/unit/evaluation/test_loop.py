"""The loop against luck at equal pictures: how pictures are spent, and the table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from emofeedback.domain.affect import SCALE_MIDDLE
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import ModelInfo
from emofeedback_trainer.evaluation.course import Course
from emofeedback_trainer.evaluation.loop import Choice, Spender, Way
from emofeedback_trainer.evaluation.loop_table import markdown, standings
from emofeedback_trainer.nano.measure.panel import PANEL
from emofeedback_trainer.nano.task import FRESH_TASK, PANEL_TASK
from support.fakes import ScriptedGenerator, ScriptedJudge
from support.scripted_loop import SETTINGS


@dataclass(frozen=True)
class Impression:
    valence: float = SCALE_MIDDLE
    arousal: float = SCALE_MIDDLE
    subject: str = ""


class Looking:
    """An independent judge that sees the middle of the plane everywhere."""

    info = ModelInfo(name="middle", digest="")

    def look(self, images: Sequence[Image.Image]) -> list[Impression]:
        return [Impression() for _ in images]


def spender(**changes: Any) -> Spender:
    asked: dict[str, Any] = {
        "generator": ScriptedGenerator(),
        "judge": ScriptedJudge(),
        "independent": Looking(),
        "settings": SETTINGS,
        "policies": ("base",),
        "budgets": (8, 12),
    }
    return Spender(**{**asked, **changes})


async def test_every_way_spends_what_it_is_given_and_no_more(tmp_path: Path) -> None:
    generator = ScriptedGenerator()
    choices = await spender(generator=generator).measure(
        dict(enumerate(PANEL[:1])), tmp_path / "choices.jsonl", lambda choice: None
    )
    assert [(c.way, c.pictures) for c in choices] == [
        (Way.LUCK, 8),
        (Way.LUCK, 12),
        (Way.REWRITE, 8),
        (Way.REWRITE, 12),
        (Way.LOOP, 12),
    ]
    # the rewrite's floor is set by the eight first pictures of the prompt as it was asked for
    assert sum(len(request.seeds) for request in generator.requests) == 12 + (12 + 8) + 12
    assert all(c.judged >= 0 and (c.spread is not None) is (c.way is Way.LOOP) for c in choices)
    assert all((c.course is not None) is (c.way is Way.LOOP) for c in choices)


async def test_a_cut_measurement_goes_on_and_comes_to_the_same(tmp_path: Path) -> None:
    kept = tmp_path / "choices.jsonl"
    whole = await spender().measure(dict(enumerate(PANEL[:2])), kept, lambda choice: None)
    lines = kept.read_text().splitlines(keepends=True)
    kept.write_text("".join([*lines[:6], lines[6][:20]]))  # amid a line, and amid the budgets of a way
    made: list[Choice] = []
    again = await spender().measure(dict(enumerate(PANEL[:2])), kept, made.append)
    assert len(made) == len(whole) - 6
    assert [(c.task, c.way, c.pictures) for c in again] == [(c.task, c.way, c.pictures) for c in whole]
    assert again[:6] == whole[:6]
    assert len(kept.read_text().splitlines()) == len(lines)


async def test_further_runs_and_pictures_are_added_to_what_is_there_with_seeds_of_their_own(tmp_path: Path) -> None:
    kept, pairs = tmp_path / "choices.jsonl", dict(enumerate(PANEL[:1]))
    await spender(budgets=(12,)).measure(pairs, kept, lambda choice: None)
    generator, made = ScriptedGenerator(), list[Choice]()
    await spender(budgets=(12,), runs=2, generator=generator).measure(pairs, kept, made.append)
    assert [(c.run, c.way) for c in made] == [(1, way) for way in Way]
    assert min(seed for request in generator.requests for seed in request.seeds) >= 1_000_000

    generator, made = ScriptedGenerator(), []
    await spender(budgets=(12, 24), runs=2, generator=generator).measure(pairs, kept, made.append)
    assert [(c.run, c.way, c.pictures) for c in made] == [(run, way, 24) for run in (0, 1) for way in Way]
    # a loop of twelve is not run again for the sake of one of twenty-four
    assert sum(len(request.seeds) for request in generator.requests) == 2 * (24 + (24 + 8) + 24)


def choice(task: int, way: Way, pictures: int, independent: float, policy: str = "base", run: int = 0) -> Choice:
    return Choice(
        task=task,
        run=run,
        policy=policy,
        way=way,
        pictures=pictures,
        judged=0.5,
        independent=independent,
        judge_error=0.4,
    )


def test_runs_of_one_task_are_no_further_tasks() -> None:
    errors = [2.0, 1.0, 0.5, 1.5]
    once = [choice(task, Way.LUCK, 24, 2.0) for task in range(4)]
    once += [choice(task, Way.LOOP, 24, error) for task, error in enumerate(errors)]
    twice = once + [replace(each, run=1) for each in once]
    loop, again = standings(once)[1], standings(twice)[1]
    assert again.runs == 8 and again.independent == loop.independent
    assert (again.saved, again.saved_interval) == (loop.saved, loop.saved_interval)


def test_what_a_way_saves_is_told_against_luck_on_the_same_tasks() -> None:
    choices = [choice(task, Way.LUCK, 24, 1.0 + task) for task in range(10)]
    choices += [choice(task, Way.LOOP, 24, 0.5 * (1.0 + task)) for task in range(10)]
    luck, loop = standings(choices)
    assert (luck.saved, luck.saved_interval) == (0, (0, 0))
    assert (loop.saved, loop.saved_interval) == (0.5, (0.5, 0.5))
    assert "| base | the loop, three rounds | 24 | 2.75 | 0.50 | 0.40 | 50% (50% to 50%) |" in markdown([luck, loop])


def test_a_second_policy_is_compared_with_the_luck_of_the_first_too() -> None:
    choices = [choice(0, Way.LUCK, 24, 2.0, "plain"), choice(0, Way.LUCK, 24, 1.0), choice(0, Way.LOOP, 24, 0.5)]
    cells = standings(choices)
    assert [(cell.policy, cell.saved, cell.saved_of_first) for cell in cells] == [
        ("plain", 0, 0),
        ("base", 0, 0.5),
        ("base", 0.5, 0.75),
    ]
    assert "against that of plain" in markdown(cells) and "| 50% (50% to 50%) | 75% (75% to 75%) |" in markdown(cells)


def test_the_rounds_of_all_runs_are_told_in_the_mean() -> None:
    went = Course(overshot=0.5, one_axis=1.0, repeated=0.0, hopeless=0.5, regret=0.25)
    runs = [replace(choice(0, Way.LOOP, 24, 1.0), course=went)]
    runs.append(replace(choice(1, Way.LOOP, 24, 1.0), course=replace(went, overshot=0.0, regret=0.75)))
    [cell] = standings(runs)
    assert cell.course == replace(went, overshot=0.25, regret=0.5)
    assert "| base | 24 | 25% | 100% | 0% | 50% | 0.50 |" in markdown([cell])


def test_without_luck_to_compare_with_nothing_is_said_to_be_saved() -> None:
    [cell] = standings([replace(choice(0, Way.LOOP, 24, 1.0), spread=0.9, later=True)])
    assert cell.saved != cell.saved
    assert cell.spread == pytest.approx(0.9) and cell.later == 1


def test_fresh_pairs_share_no_seed_with_the_panels() -> None:
    assert len(FRESH_TASK.evaluation) == 48
    assert FRESH_TASK.first >= PANEL_TASK.first + len(PANEL_TASK.evaluation)


async def test_choices_of_something_else_are_refused_by_their_file(tmp_path: Path) -> None:
    kept = tmp_path / "choices.jsonl"
    kept.write_text('{"task": 3, "way": "a way that nobody knows"}\n')
    with pytest.raises(FailedPrecondition, match=r"choices\.jsonl can't be read"):
        await spender().measure({}, kept, lambda choice: None)
