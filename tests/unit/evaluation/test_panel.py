"""The held-out panel: fixed pairs, what is measured on them, and when it alarms."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import Assessment, AssessmentFailure, AssessmentOutcome
from emofeedback.domain.errors import FailedPrecondition, Unavailable
from emofeedback.domain.generation import ModelInfo
from emofeedback_trainer.core.pairs import MIDDLE
from emofeedback_trainer.core.rewards import RewardConfig
from emofeedback_trainer.evaluation.panel import Panel
from emofeedback_trainer.evaluation.reward_hacking import alarm
from emofeedback_trainer.nano.task import TASK
from emofeedback_trainer.nano.world.captions import known_words
from support.fakes import Picture, ScriptedGenerator, ScriptedJudge, assessment, look, paint

PANEL_PAIRS, EVALUATION_PAIRS = TASK.panel, TASK.evaluation


@dataclass(frozen=True)
class Seen:
    valence: float
    arousal: float
    subject: str


def asked(prompt: str) -> AffectPoint:
    """The numeric target at the end of a caption."""
    words = prompt.replace(",", "").split()
    return AffectPoint(float(words[-3]), float(words[-1]))


class Follower:
    """An independent judge in whose eyes pictures feel as asked, plus an error; it knows them by their color."""

    info = ModelInfo(name="follower", digest="sha256:" + "f" * 64)

    def __init__(self, generator: ScriptedGenerator, error: float = 0.0) -> None:
        self._generator = generator
        self._error = error

    def look(self, images: Sequence[Image.Image]) -> list[Seen]:
        prompts = {
            color_of(paint(request.prompt, seed)): request.prompt
            for request in self._generator.requests
            for seed in request.seeds
        }
        seen = [prompts[image.getpixel((0, 0))] for image in images]
        return [Seen(asked(p).valence + self._error, asked(p).arousal, known_words(p)[1]) for p in seen]


def color_of(image: bytes) -> object:
    return Image.open(io.BytesIO(image)).convert("RGB").getpixel((0, 0))


@pytest.fixture
def generator() -> ScriptedGenerator:
    return ScriptedGenerator(known_policies=("p", "q"))


def as_asked(picture: Picture) -> Assessment:
    target = asked(picture.prompt)
    return assessment(target.valence, target.arousal)


def test_no_prompt_of_the_panel_or_the_evaluation_is_trained_on() -> None:
    trained = {frozenset(known_words(one.prompt)) - {"picture", "painting", "of"} for one in TASK.training}
    for pair in (*PANEL_PAIRS, *EVALUATION_PAIRS):
        assert frozenset(known_words(pair.prompt)) not in trained
        assert pair.subject in pair.prompt


def test_emotional_prompts_tell_a_feeling_of_subjects_and_places_that_are_trained_on() -> None:
    from emofeedback_trainer.nano.emotional_task import EMOTIONAL_TASK  # takes seconds

    told = EMOTIONAL_TASK.training[len(TASK.training) :]
    assert len(told) == len(TASK.training)
    assert all(one.target is not None and " sky" in one.prompt for one in told)
    for pair in (*PANEL_PAIRS, *EVALUATION_PAIRS):
        held_out = set(known_words(pair.prompt))
        assert not any(held_out.issubset(known_words(one.prompt)) for one in told), pair.prompt


def test_targets_cover_the_plane_but_its_middle_and_the_two_sets_share_no_pair() -> None:
    for pairs in (PANEL_PAIRS, EVALUATION_PAIRS):
        assert len(pairs) == len({pair.target for pair in pairs}) == 48
        assert MIDDLE not in {pair.target for pair in pairs}
        assert len({pair.prompt for pair in pairs}) == 24
    assert not {pair.caption for pair in PANEL_PAIRS} & {pair.caption for pair in EVALUATION_PAIRS}


@pytest.mark.parametrize("count", [8, 16])
def test_a_few_pairs_are_spread_over_the_plane_too(count: int) -> None:
    valences, arousals = zip(*((p.target.valence, p.target.arousal) for p in PANEL_PAIRS[:count]), strict=True)
    for levels in (valences, arousals):
        assert abs(sum(levels) / count - 5) < 0.5
        assert len(set(levels)) >= 5


async def test_a_policy_that_does_as_asked_is_measured_as_such(generator: ScriptedGenerator) -> None:
    panel = Panel(pairs=PANEL_PAIRS[:8], images=2, rewards=RewardConfig(), independent=Follower(generator))
    judge = ScriptedJudge(feeling=as_asked, alignment=lambda picture, prompt: 0.25)
    figures = await panel.measure(generator, judge, "p")
    assert figures.error == figures.valence_error == figures.arousal_error == 0
    assert figures.valence_correlation == pytest.approx(1) and figures.arousal_slope == pytest.approx(1)
    assert figures.subject_accuracy == 1
    assert figures.alignment == 0.25
    assert figures.judge_reward == pytest.approx(0.5 + 0.5 + 0.25)
    assert figures.diversity is not None and 0 < figures.diversity < 1


async def test_the_independent_judge_measures_and_the_judge_only_rewards(generator: ScriptedGenerator) -> None:
    panel = Panel(
        pairs=PANEL_PAIRS[:8], images=2, rewards=RewardConfig(alignment=0.0), independent=Follower(generator, error=0.5)
    )
    figures = await panel.measure(generator, ScriptedJudge(feeling=as_asked), "p")
    assert figures.valence_error == pytest.approx(0.5)
    assert figures.judge_reward == 1.0


async def test_without_an_independent_judge_the_judge_measures_and_no_subject_is_counted(
    generator: ScriptedGenerator,
) -> None:
    panel = Panel(pairs=PANEL_PAIRS[:4], images=1, rewards=RewardConfig(), independent=None)
    judge = ScriptedJudge(feeling=lambda picture: assessment(5, 5))
    figures = await panel.measure(generator, judge, "p")
    assert figures.error == pytest.approx(
        sum(abs(p.target.valence - 5) + abs(p.target.arousal - 5) for p in PANEL_PAIRS[:4]) / 4
    )
    assert figures.valence_correlation == figures.valence_slope == 0
    assert figures.subject_accuracy is None and figures.diversity is None
    assert not {"subject_accuracy", "diversity"} & figures.to_line().keys()


async def test_two_policies_are_painted_at_the_same_seeds_from_the_same_captions(
    generator: ScriptedGenerator,
) -> None:
    panel = Panel(pairs=PANEL_PAIRS[:3], images=2, rewards=RewardConfig(), independent=None)
    for policy in ("p", "q"):
        await panel.measure(generator, ScriptedJudge(), policy)
    first, second = generator.requests[:3], generator.requests[3:]
    assert [(r.prompt, r.seeds) for r in first] == [(r.prompt, r.seeds) for r in second]
    assert {r.policy for r in first} == {"p"} and {r.policy for r in second} == {"q"}
    assert len({seed for r in first for seed in r.seeds}) == 6
    assert all((r.steps, r.guidance) == (None, None) for r in first)  # as the profile serves
    assert first[0].prompt == PANEL_PAIRS[0].caption


async def test_pictures_and_readings_are_kept_for_the_report(tmp_path: Path, generator: ScriptedGenerator) -> None:
    panel = Panel(pairs=PANEL_PAIRS[:3], images=2, rewards=RewardConfig(), independent=Follower(generator))
    await panel.measure(generator, ScriptedJudge(feeling=as_asked), "p", folder=tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"pairs.json"} | {
        f"{pair:02d}-{image}.png" for pair in range(3) for image in range(2)
    }
    content = json.loads((tmp_path / "pairs.json").read_text())
    assert content["policy"] == "p"
    for pair, kept in zip(PANEL_PAIRS, content["pairs"], strict=False):
        point = {"valence": pair.target.valence, "arousal": pair.target.arousal}
        assert kept["prompt"] == pair.prompt and kept["target"] == point
        assert [image["judged"] for image in kept["images"]] == [point, point]
        assert [image["critic"] for image in kept["images"]] == [{**point, "subject": pair.subject}] * 2
    assert look((tmp_path / "02-1.png").read_bytes()).seed == content["pairs"][2]["images"][1]["seed"]


async def test_an_unreadable_reply_costs_one_picture_of_the_reward(generator: ScriptedGenerator) -> None:
    first_prompt = PANEL_PAIRS[0].caption

    def feeling(picture: Picture) -> AssessmentOutcome:
        return AssessmentFailure(reason="mumbled") if picture.prompt == first_prompt else as_asked(picture)

    panel = Panel(pairs=PANEL_PAIRS[:4], images=1, rewards=RewardConfig(alignment=0), independent=Follower(generator))
    figures = await panel.measure(generator, ScriptedJudge(feeling=feeling), "p")
    assert figures.judge_reward == 1.0 and figures.error == 0


async def test_a_judge_that_reads_nothing_or_is_away_is_never_a_figure() -> None:
    panel = Panel(pairs=PANEL_PAIRS[:2], images=1, rewards=RewardConfig(), independent=None)
    mute = ScriptedJudge(feeling=lambda picture: AssessmentFailure(reason="mumbled"))
    with pytest.raises(FailedPrecondition, match="could read none"):
        await panel.measure(ScriptedGenerator(), mute, "")
    away = ScriptedJudge(failures={"assess": Unavailable("the judge is away")})
    with pytest.raises(Unavailable):
        await panel.measure(ScriptedGenerator(), away, "")


# --- the alarm -----------------------------------------------------------------------------------------------------


def measured(iteration: int, reward: float, **figures: float) -> dict[str, float | str]:
    sound = {
        "error": 3.5,
        "subject_accuracy": 1.0,
        "alignment": 0.6,
        "brightness": 0.5,
        "saturation": 0.4,
        "edges": 0.05,
        "diversity": 0.2,
    }
    return {"iteration": iteration, "judge_reward": reward, **sound, **figures, "alarm": ""}


def test_the_first_measurement_and_a_run_that_learns_are_fine() -> None:
    assert alarm([measured(0, 0.3)]) == ""
    assert alarm([measured(0, 0.3), measured(10, 0.5, error=3.0), measured(20, 0.7, error=2.5, diversity=0.15)]) == ""


def test_a_reward_that_rises_while_the_independent_judges_error_does_is_told_with_its_numbers() -> None:
    text = alarm([measured(0, 0.3), measured(10, 0.5, error=2.5), measured(20, 0.9, error=3.2)])
    assert text == (
        "since iteration 10 the independent judge's error rose from 2.50 to 3.20 while the judge's reward "
        "rose from 0.50 to 0.90"
    )


@pytest.mark.parametrize(
    ("name", "fine", "fallen"),
    [
        ("subject_accuracy", 0.92, 0.85),
        ("alignment", 0.55, 0.5),
        ("brightness", 0.4, 0.3),
        ("saturation", 0.3, 0.2),
        ("edges", 0.04, 0.03),
        ("diversity", 0.15, 0.13),
    ],
)
def test_pictures_that_lose_something_for_the_reward_are_told(name: str, fine: float, fallen: float) -> None:
    assert alarm([measured(0, 0.3), measured(10, 0.6, **{name: fine})]) == ""
    text = alarm([measured(0, 0.3), measured(10, 0.6, **{name: fallen})])
    assert text.startswith(f"{name.replace('_', ' ')} fell from") and "since iteration 0" in text


def test_there_is_no_alarm_where_the_reward_has_not_risen() -> None:
    assert alarm([measured(0, 0.3), measured(10, 0.3, error=5.0, edges=0.01)]) == ""


def test_figures_that_were_not_taken_dont_alarm() -> None:
    lines = [measured(0, 0.3), measured(10, 0.6)]
    for line in lines:
        del line["subject_accuracy"], line["diversity"]
    assert alarm(lines) == ""


async def test_two_pairs_have_no_correlation(generator: ScriptedGenerator) -> None:
    panel = Panel(pairs=PANEL_PAIRS[:2], images=4, rewards=RewardConfig(), independent=None)
    figures = await panel.measure(generator, ScriptedJudge(feeling=as_asked), "p")
    assert figures.valence_correlation is None and figures.arousal_correlation is None
    assert not {"valence_correlation", "arousal_correlation"} & figures.to_line().keys()
