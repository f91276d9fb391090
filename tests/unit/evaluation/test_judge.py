"""A judge measured on a data folder: metrics, labels that are missing, and the command."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import AssessmentFailure, AssessmentOutcome
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.judge.certainty import ranked
from emofeedback_trainer.cli import main
from emofeedback_trainer.data.records import RankedEmotion, Sample
from emofeedback_trainer.data.storage import write_split
from emofeedback_trainer.evaluation.confidence import Sampling
from emofeedback_trainer.evaluation.judge import Seen, image_of, judge_metrics, look
from emofeedback_trainer.evaluation.provenance import samples_digest
from support.fakes import Picture, ScriptedJudge, assessment, paint

RANKING = tuple(RankedEmotion(label=label, weight=w) for label, w in (("joy", 5), ("surprise", 3), ("fear", 1)))


def sample(index: int, **changes: Any) -> Sample:
    """Its picture's seed is its index, its valence a tenth of it above 1."""
    given = {
        "id": f"{index:03}",
        "source": "made-up",
        "license": "none",
        "image": paint("a dog", index),
        "valence": 1 + index / 10,
        "arousal": 5.0 + index % 3,
        "emotion": Emotion.AWE if index % 2 else Emotion.FEAR,
    }
    return Sample(**{**given, **changes})


def half_a_point_off(picture: Picture) -> AssessmentOutcome:
    if picture.seed == 7:
        return AssessmentFailure(reason="dark")
    outcome = assessment(1.5 + picture.seed / 10, 5.0 + picture.seed % 3)
    return replace(outcome, emotion=Emotion.AWE, confidence=0.75)


async def seen(samples: list[Sample], judge: ScriptedJudge | None = None, **options: Any) -> list[Seen]:
    return await look(judge or ScriptedJudge(feeling=half_a_point_off), samples, "short", Sampling(), **options)


async def test_figures_are_those_of_what_the_judge_could_read() -> None:
    found = judge_metrics(await seen([sample(index) for index in range(40)]))
    values = {name: figure.value for name, figure in found.metrics.items()}
    assert (found.samples, found.unreadable) == (40, 1)
    assert values["valence_mae"] == pytest.approx(0.5) and values["arousal_mae"] == 0
    assert values["valence_srcc"] == pytest.approx(1) and values["arousal_plcc"] == pytest.approx(1)
    assert values["valence_median_mae"] == pytest.approx(1.0, abs=0.1)
    assert values["accuracy"] == pytest.approx(19 / 39) and values["majority_accuracy"] == pytest.approx(20 / 39)
    assert values["f1"] == pytest.approx((2 * 19 / (19 + 39)) / 2)  # nothing of fear was found
    assert found.confidence and found.confidence.ece == pytest.approx(0.75 - 19 / 39)
    assert {figure.n for figure in found.metrics.values()} == {39}
    assert "ranking_score" not in values and found.temperature is None


async def test_labels_that_are_missing_are_left_out_and_none_at_all_is_said() -> None:
    bare = {"valence": None, "arousal": None, "emotion": None}
    some = [sample(0), sample(1, arousal=None), sample(2, emotion=None), sample(3, **bare)]
    counts = {name: figure.n for name, figure in judge_metrics(await seen(some)).metrics.items()}
    assert (counts["valence_mae"], counts["arousal_mae"], counts["accuracy"]) == (3, 2, 2)
    with pytest.raises(InvalidRequest, match="no valence, arousal, emotion or ranking"):
        judge_metrics(await seen([sample(3, **bare)]))


async def test_dominance_is_measured_where_the_data_and_the_judge_have_it() -> None:
    def strong(picture: Picture) -> AssessmentOutcome:
        felt = assessment(5.0, 5.0)
        return replace(felt, dominance=None if picture.seed == 2 else 4.0 + picture.seed % 2)

    judge = ScriptedJudge(feeling=strong)
    found = judge_metrics(await seen([sample(index, dominance=4.0 if index else None) for index in range(8)], judge))
    error = found.metrics["dominance_mae"]
    assert error.value == pytest.approx(4 / 6) and error.n == 6
    assert error.low < error.value < error.high
    assert "dominance_mae" not in judge_metrics(await seen([sample(index) for index in range(8)], judge)).metrics


async def test_the_emotions_shares_are_held_against_the_datas_ranking_in_its_own_words() -> None:
    shares = {Emotion.AWE: 0.5, Emotion.FEAR: 0.3, Emotion.SADNESS: 0.2}
    outcome = replace(assessment(5.0, 5.0), emotions=ranked(shares))
    judge = ScriptedJudge(feeling=lambda picture: outcome)

    def places(*labels: str) -> tuple[RankedEmotion, ...]:
        return tuple(RankedEmotion(label=label, weight=1) for label in labels)

    async def score(*labels: str) -> float | None:
        found = judge_metrics(await seen([sample(0, ranking=places(*labels))], judge)).metrics
        return found["shares_ranking_score"].value if "shares_ranking_score" in found else None

    assert await score("awe", "fear", "sadness") == 100
    assert await score("surprise", "fear", "sadness") == 100  # as Ekman calls it
    assert await score("awe", "anger", "disgust") == 25
    assert await score("awe", "boredom", "fear") is None


async def test_pictures_that_are_not_of_the_judges_world_are_counted_where_it_can_tell() -> None:
    def some_foreign(picture: Picture) -> AssessmentOutcome:
        return replace(assessment(5.0, 5.0), domain_score=float(picture.seed))

    samples = [sample(index) for index in range(4)]
    assert judge_metrics(await seen(samples, ScriptedJudge(feeling=some_foreign))).foreign == 2
    assert judge_metrics(await seen(samples)).foreign is None


async def test_a_temperature_is_fitted_on_other_samples() -> None:
    measured, others = [await seen([sample(i) for i in range(start, start + 30)]) for start in (0, 40)]
    found = judge_metrics(measured, validation=others)
    assert found.temperature and found.temperature > 1  # three quarters sure, half right
    assert found.confidence and found.tempered and found.tempered.ece < found.confidence.ece


async def test_rankings_are_asked_for_where_the_data_has_them() -> None:
    judge = ScriptedJudge(feeling=half_a_point_off, analyses=["[joy, surprise, fear]", "I can't say"])
    samples = [sample(0, ranking=RANKING), sample(1), sample(2, ranking=RANKING)]
    found = judge_metrics(await seen(samples, judge, with_ranking=True))
    assert found.metrics["ranking_score"].value == 50 and found.unreadable_rankings == 1
    assert len(judge.conversations) == 2
    assert "fear, joy, surprise" in str(judge.conversations[0][0].parts[1])
    assert {one.ranking for one in await seen(samples)} == {None}


async def test_a_cut_measurement_goes_on_with_the_call_that_was_cut(tmp_path: Path) -> None:
    samples, kept = (
        [sample(index, ranking=RANKING if index % 3 else ()) for index in range(70)],
        tmp_path / "seen.jsonl",
    )
    whole = await seen(samples, kept=kept, with_ranking=True)
    lines = kept.read_text().splitlines(keepends=True)
    kept.write_text("".join([*lines[:40], lines[40][:30]]))
    judge = ScriptedJudge(feeling=half_a_point_off)
    assert await seen(samples, judge, kept=kept, with_ranking=True) == whole
    assert judge.calls.count("assess") == 2  # of three
    assert kept.read_text().splitlines(keepends=True) == lines
    kept.write_text('{"sample": 0}\n' * 32)
    with pytest.raises(FailedPrecondition, match=r"seen\.jsonl can't be read"):
        await seen(samples, kept=kept)


def test_a_sample_without_a_readable_picture_is_named(tmp_path: Path) -> None:
    for image, problem in ((None, "has no picture"), (tmp_path / "gone.png", "can't be read")):
        with pytest.raises(InvalidRequest, match=f"sample 005: .*{problem}"):
            image_of(sample(5, image=image))


def test_the_digest_of_samples_changes_with_a_label_and_with_a_pixel() -> None:
    digests = {
        samples_digest(samples)
        for samples in ([sample(1)], [sample(1, valence=2.0)], [sample(1, image=paint("a dog", 2))], [sample(1)] * 2)
    }
    assert len(digests) == 4 and samples_digest([sample(1)]) in digests


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, start in (("test", 0), ("val", 50)):
        write_split(tmp_path / "data", split, [sample(start + index) for index in range(12)])
    return tmp_path / "data"


class Scripted:
    """Engines whose judge is a scripted one."""

    profile = "nano"

    def judge(self) -> Any:
        return self

    async def __aenter__(self) -> ScriptedJudge:
        return ScriptedJudge(feeling=half_a_point_off)

    async def __aexit__(self, *exception: object) -> None:
        pass


def test_the_command_says_models_data_seed_and_how_it_was_called(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("emofeedback_trainer.evaluation.output.connect", lambda *options: Scripted())
    words = ["evaluate", "judge", str(folder), "--validation", "val", "--seed", "3", "--out", str(tmp_path / "out")]
    assert main([*words, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["valence_mae"]["value"] == pytest.approx(0.5)
    assert content["arousal_srcc"]["low"] is not None and content["unreadable"] == 1
    provenance = content["provenance"]
    assert provenance["seed"] == 3 and provenance["models"][0]["digest"].startswith("sha256:")
    assert [(data["name"], data["n"]) for data in provenance["data"]] == [("data", 12), ("data (validation)", 12)]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == content
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| valence: MAE | 0.500 [0.500, 0.500] | 11 |" in table and "95 % bootstrap" in table
    assert np.isfinite(content["temperature"])


def test_a_folder_goes_on_with_its_own_settings_only(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("emofeedback_trainer.evaluation.output.connect", lambda *options: Scripted())
    words = ["evaluate", "judge", str(folder), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert main(words) == 0
    for other, problem in (
        (["--limit", "5"], "limit: is 5, the run was begun with None"),
        (["--way", "aloud"], "way: "),
    ):
        assert main([*words, *other]) == 2
        assert problem in capsys.readouterr().err
    shutil.rmtree(folder / "test")
    write_split(folder, "test", [sample(index, valence=3.0) for index in range(12)])
    assert main(words) == 2
    assert "data: is ['sha256:" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--replies", "1"], "replies: is 1, agreement needs 2 or more"),
        (["--limit", "0"], "limit: is 0, it must be 1 or more"),
        (["--validation", "test"], "validation: shares samples with the split that is measured on"),
        (["--layout", "oasis"], "is missing"),
        (["--profile", "none"], "profile: 'none' is neither"),
    ],
)
def test_bad_input_is_said_before_any_model_is_loaded(
    words: list[str], problem: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "judge", str(folder), *words]) == 2
    assert problem in capsys.readouterr().err


def test_a_folder_without_the_split_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "judge", str(tmp_path)]) != 0
    assert "is no data folder" in capsys.readouterr().err
