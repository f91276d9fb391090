"""EEmo-Bench: answer files of both layouts, the published figures, and our own judge on made-up pictures."""

import json
import os
import random
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emofeedback.domain.assessment import AssessmentFailure
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.taxonomies import EKMAN
from emofeedback_trainer.cli import main
from emofeedback_trainer.evaluation.answering import answer
from emofeedback_trainer.evaluation.eemo_bench import score
from emofeedback_trainer.evaluation.eemo_bench_answers import read_answers
from support.fakes import ScriptedJudge, assessment, paint

REFERENCE = os.environ.get("EEMO_REFERENCE", "")
needs_reference = pytest.mark.skipif(not REFERENCE, reason="EEMO_REFERENCE names no folder with EEmo-Bench's files")

PAIR: dict[str, Any] = {
    "id": 0,
    "question_type": "Yes-or-No",
    "perceptual_dimension": "Valence perception",
    "options": "{'A': 'No.', 'B': 'Yes.'}",
    "correct_answer": "B",
    "response": "B: Yes.",
}
IMAGE: dict[str, Any] = {
    "image_name": "1.png",
    "emotion_list": [["joy", 39], ["neutral", 37], ["surprise", 33]],
    "Valence": [6.0, 0.8, 1.0],
    "Arousal": [4.2, 1.1, 1.8],
    "Dominance": [6.4, 0.7, 1.4],
    "judge_Q": "Is surprise one of the three main emotions?",
    "judge_A": {"A": "No", "B": "Yes"},
    "judge_answer": "B",
    "choose_Q": "How much dominance?",
    "choose_A": {"A": "Strong", "B": "Moderate", "C": "Weak"},
    "choose_answer": "A",
}


def written(path: Path, rows: Any) -> Path:
    path.write_text(json.dumps(rows))
    return path


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["evaluate", "eemo-bench", *words, "--json"]) == 0
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


# --- the published figures -----------------------------------------------------------------------------------------


@needs_reference
@pytest.mark.parametrize(
    ("model", "yes_no", "what_how", "unparsed"), [("gpt-4o", 64.41, 61.49, 1), ("qwen2-7b", 54.97, 54.43, 5)]
)
def test_published_answers_score_as_published(
    model: str, yes_no: float, what_how: float, unparsed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    content = printed(["--responses", f"{REFERENCE}/eemo_bench_pair_{model}.json"], capsys)
    perception = content["perception"]
    assert perception["Yes-or-No"] == pytest.approx(yes_no, abs=0.3)
    assert perception["What/How"] == pytest.approx(what_how, abs=0.3)
    assert perception["unparsed"] == unparsed and perception["ambiguous"] == 1
    assert {name: found["n"] for name, found in perception["figures"]["by_dimension"].items()} == {
        "Emotion perception": 917,
        "Valence perception": 348,
        "Arousal perception": 294,
        "Dominance perception": 291,
    }
    assert content["provenance"]["data"][0]["n"] == 2012


@needs_reference
def test_the_truth_as_an_answer_is_perfect_and_a_random_one_is_not(tmp_path: Path) -> None:
    truth = Path(REFERENCE) / "eemo_bench_single_400.json"
    rows = json.loads(truth.read_text())
    draw = random.Random(0)
    perfect = [
        {
            "image_name": row["image_name"],
            "predict_emotion_list": [emotion for emotion, _ in row["emotion_list"]],
            **{f"{axis.lower()}_predict": row[axis][0] / 10 for axis in ("Valence", "Arousal", "Dominance")},
        }
        for row in rows
    ]
    guessed = [{"image_name": row["image_name"], "predict_emotion_list": draw.sample(EKMAN, 3)} for row in rows]
    best, worst = (score(read_answers(written(tmp_path / "p.json", given), truth)) for given in (perfect, guessed))
    assert best.ranking and best.ranking.value == pytest.approx(100)
    assert {round(found.value, 9) for both in best.ratings.values() for found in both.values()} == {1.0}
    assert worst.ranking and worst.ranking.value == pytest.approx(28, abs=3)  # 25.48 with a third for two shared


# --- layouts -------------------------------------------------------------------------------------------------------


def test_accuracy_is_in_percent_by_type_and_by_dimension(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        PAIR,
        {**PAIR, "response": "A: No.", "perceptual_dimension": None},
        {**PAIR, "question_type": "What/How", "options": {"A": "Joy", "B": "Fear"}, "response": "It is fear."},
        {**PAIR, "question_type": "What/How", "options": {"A": "Joy", "B": "Fear"}, "response": "Who knows?"},
    ]
    content = printed(["--responses", str(written(tmp_path / "mine.json", rows))], capsys)
    perception = content["perception"]
    assert (perception["Yes-or-No"], perception["What/How"], perception["unparsed"]) == (50, 50, 1)
    assert perception["by_dimension"] == {"Valence perception": 66.67}
    figure = perception["figures"]["Yes-or-No"]
    assert figure["low"] <= figure["value"] <= figure["high"] and figure["n"] == 2
    (model,) = content["provenance"]["models"]
    assert (model["role"], model["name"], model["digest"]) == ("answers", "mine", "")
    assert content["provenance"]["data"][0]["digest"].startswith("sha256:")


def test_single_images_are_scored_with_the_truth_beside_them_or_in_another_file(tmp_path: Path) -> None:
    said = {"predict_emotion_list": "joy,neutral,surprise", "valence_predict": "Valence: 0.61", "judge_response": "B"}
    other = {**IMAGE, "image_name": "2.png", "Valence": [3.0], "emotion_list": [["fear", 9], ["anger", 5], ["joy", 1]]}
    answers = [{**IMAGE, **said}, {**other, **said, "valence_predict": 0.2, "predict_emotion_list": None}]
    whole = read_answers(written(tmp_path / "whole.json", answers))
    bare = [{"image_name": one["image_name"], **{name: one[name] for name in said}} for one in answers]
    truth = written(tmp_path / "truth.json", [IMAGE, other])
    assert read_answers(written(tmp_path / "bare.json", bare), truth) == whole
    found = score(whole)
    assert found.ranking and (found.ranking.value, found.unparsed_rankings) == (50, 1)
    assert found.ratings["valence"]["srcc"].value == pytest.approx(1) and list(found.ratings) == ["valence"]
    assert found.perception and found.perception.by_kind["Yes-or-No"].value == 100


@pytest.mark.parametrize("nothing", [None, float("nan"), ""])
def test_an_answer_that_never_came_is_wrong_and_told(
    nothing: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(written(tmp_path / "mine.json", [PAIR, {**PAIR, "response": nothing}]))
    perception = printed(["--responses", path], capsys)["perception"]
    assert (perception["Yes-or-No"], perception["unparsed"]) == (50, 1)
    main(["evaluate", "eemo-bench", "--responses", path])
    assert "could not be read, counted as wrong: 1." in capsys.readouterr().out


def test_an_answer_that_only_one_row_lacks_is_counted(tmp_path: Path) -> None:
    said = {"predict_emotion_list": "joy,neutral,surprise", "valence_predict": 6.1, "judge_response": "B"}
    found = score(
        read_answers(written(tmp_path / "mine.json", [{**IMAGE, **said}, {**IMAGE, "valence_predict": None}]))
    )
    assert found.perception and (found.perception.by_kind["Yes-or-No"].value, found.perception.unparsed) == (50, 1)
    assert (found.unparsed_rankings, found.unparsed_ratings) == (1, 1)


@pytest.mark.parametrize("dress", ["{}/9", "{} out of 9", "{} points", "[{}]", "{}"])
def test_ratings_of_nine_are_the_numbers_before_the_nine(dress: str, tmp_path: Path) -> None:
    means = (1.5, 3.0, 4.5, 6.0, 7.5)
    rows = [
        {"image_name": f"{n}.jpg", "Valence": [mean, 0.4], "valence_predict": dress.format(mean)}
        for n, mean in enumerate(means, 1)
    ]
    found = score(read_answers(written(tmp_path / "mine.json", rows)))
    assert {name: one.value for name, one in found.ratings["valence"].items()} == pytest.approx({"srcc": 1, "plcc": 1})


def test_ratings_of_another_scale_are_told_as_unread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"image_name": "1.jpg", "Valence": [4.5], "valence_predict": said} for said in ("5/10", "50%", "4-5", True)]
    path = str(written(tmp_path / "mine.json", rows))
    assert printed(["--responses", path], capsys)["ratings"] == {"unparsed": 4}
    main(["evaluate", "eemo-bench", "--responses", path])
    assert "Ratings that could not be read, left out: 4." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ({}, "must be a JSON list of at least one row"),
        ([], "must be a JSON list of at least one row"),
        ([3], "row 1: must be an object"),
        ([PAIR, {"id": 1}], "row 2: has neither question_type nor image_name"),
        ([{**PAIR, "correct_answer": None}], "row 1 column correct_answer: must be a text, it is None"),
        ([{name: PAIR[name] for name in PAIR if name != "response"}], "row 1 column response: is missing"),
        ([{**IMAGE, "valence_predict": 3, "Valence": "6.5"}], "row 1 column Valence: must be a list"),
        ([{**IMAGE, "valence_predict": 3, "Valence": [float("nan")]}], "row 1 column Valence: must be a list"),
        ([{**PAIR, "options": "__import__('os')"}], "row 1 column options: must be two options or more"),
        ([{**PAIR, "correct_answer": "C"}], "row 1: its right answer 'C' is none of the options A, B"),
        ([{**IMAGE, "valence_predict": 3, "Valence": None}], "row 1 column Valence: must be a list"),
        ([{**IMAGE, "predict_emotion_list": "joy", "emotion_list": 3}], "row 1 column emotion_list: must be a list"),
        ([IMAGE], "holds no answers"),
    ],
)
def test_a_bad_file_is_refused_by_row_and_column(
    rows: Any, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "eemo-bench", "--responses", str(written(tmp_path / "bad.json", rows))]) == 2
    message = capsys.readouterr().err
    assert problem in message and "bad.json" in message


# --- answers in prose, read by a language model -------------------------------------------------------------------


PROSE: dict[str, Any] = {**PAIR, "response": "One might say that the two have it in common, as both show joy."}
OPEN: dict[str, Any] = {
    "question_type": "Open_ended",
    "describing_dimension": "Valence comparison",
    "question": "Which is sadder?",
    "correct_answer": "The second.",
    "response(a-model)": "The second one, I think.",
}


def asked_of_our_judge(replies: list[str], monkeypatch: pytest.MonkeyPatch) -> ScriptedJudge:
    """The judge that `--by judge` gets."""
    judge = ScriptedJudge(rewrites=replies)
    monkeypatch.setattr(
        "emofeedback_trainer.evaluation.eemo_bench_cli.engines_of",
        lambda _: SimpleNamespace(judge=lambda: nullcontext(judge)),
    )
    return judge


def test_what_a_rule_and_what_a_model_reads_is_told_side_by_side_and_nothing_is_asked_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "prose.json", [PAIR, PROSE, {**PROSE, "response": "I'd rather not say."}])
    judge = asked_of_our_judge(["B", "none"], monkeypatch)
    perception = printed(["--responses", str(path), "--by", "judge"], capsys)["perception"]
    assert (perception["Yes-or-No"], perception["unparsed"]) == (pytest.approx(33.33), 2)
    by_model = perception["by_language_model"]
    assert (by_model["Yes-or-No"], by_model["unparsed"], by_model["asked"]) == (pytest.approx(66.67), 1, 2)
    again = printed(["--responses", str(path), "--by", "judge"], capsys)["perception"]
    assert again == perception and len(judge.conversations) == 2


def test_descriptions_are_marked_in_rounds_whose_agreement_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "open.json", [OPEN, {**OPEN, "response(a-model)": None}])
    marks = '{"completeness": 2, "precision": 2, "relevance": 1, "conciseness": 0, "overall": %d}'
    judge = asked_of_our_judge([marks % 2, marks % 2, marks % 1, "I can't tell."], monkeypatch)
    found = printed(["--responses", str(path), "--by", "judge", "--rounds", "4"], capsys)["description"]
    assert found["score"]["value"] == pytest.approx(100 * (5 / 6 + 0) / 2)
    assert found["by_mark"]["conciseness"]["value"] == 0 and found["by_mark"]["relevance"]["value"] == 25
    assert found["agreement"]["value"] == pytest.approx(100 / 3)
    assert (found["unread_rounds"], found["left_out"], found["unanswered"]) == (1, 0, 1)
    assert [decoding.seed for decoding in judge.decodings] == [0, 1, 2, 3]
    assert "Which is sadder?" in str(judge.conversations[0]) and "The second." in str(judge.conversations[0])


def test_marks_that_a_published_file_holds_score_as_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**OPEN, "eval_result(a-model)": ["2", "2", "1", "2", "2"]}, {**OPEN, "eval_result(a-model)": [0] * 5}]
    found = printed(["--responses", str(written(tmp_path / "open.json", rows))], capsys)["description"]
    assert found["score"]["value"] == found["by_dimension"]["Valence comparison"]["value"] == 45
    assert found["agreement"]["value"] == pytest.approx(100 * (0.6 + 1) / 2)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--by", "localhost:8000"], "by: is 'localhost:8000', it must be an address"),
        (["--by", "http://127.0.0.1:9/v1"], "by_model: is missing"),
        (["--rounds", "0"], "rounds: is 0, it must be 1 or more"),
    ],
)
def test_a_language_model_that_cannot_be_asked_is_refused(
    words: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "prose.json", [PROSE])
    assert main(["evaluate", "eemo-bench", "--responses", str(path), *words]) == 2
    assert problem in capsys.readouterr().err


# --- our own judge -------------------------------------------------------------------------------------------------


async def test_our_judge_answers_a_file_of_single_images_and_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    questions = written(tmp_path / "single.json", [{**IMAGE, "image_name": f"{n}.png"} for n in range(12)])
    for n in range(12):
        (tmp_path / f"{n}.png").write_bytes(paint("a dog", n))
    judge = ScriptedJudge(
        feeling=lambda picture: (
            assessment(2 + picture.seed / 2, 5) if picture.seed else AssessmentFailure(reason="dark")
        ),
        analyses=["B", "Strong", "[joy, surprise, neutral]", "7.5"] * 12,
    )
    responses = tmp_path / "ours.json"
    assert await answer(judge, questions, tmp_path, responses, limit=8) == 8
    asked = len(judge.conversations)
    assert await answer(judge, questions, tmp_path, responses) == 12
    assert len(judge.conversations) == asked * 12 // 8
    found = score(read_answers(responses))
    assert found.perception and {k: v.value for k, v in found.perception.by_kind.items()} == {
        "Yes-or-No": 100,
        "What/How": 100,
    }
    assert found.ranking and found.ranking.value == pytest.approx(50 + 25 * (1 / 3 + 1))
    assert found.unparsed_ratings == 2  # valence and arousal of the picture that it could not read


async def test_our_judge_answers_closed_and_open_questions_on_pairs(tmp_path: Path) -> None:
    asked = {**PAIR, "question": "Are both calm?", "image1_url": "1.png", "image2_url": "2.png"}
    del asked["response"]
    opened = {
        **asked,
        "question_type": "Open_ended",
        "question": "How do they differ?",
        "correct_answer": "One is calm.",
    }
    questions = written(tmp_path / "pair.json", [asked, opened])
    for n in (1, 2):
        (tmp_path / f"{n}.png").write_bytes(paint("a dog", n))
    judge = ScriptedJudge(analyses=["A: No.", "The first is calmer."])
    assert await answer(judge, questions, tmp_path, tmp_path / "ours.json") == 2
    for conversation, question in zip(judge.conversations, ("Are both calm?", "How do they differ?"), strict=True):
        (message,) = conversation
        assert [type(part) for part in message.parts] == [bytes, bytes, str] and question in str(message.parts[2])
    assert json.loads((tmp_path / "ours.json").read_text()) == [
        {**asked, "response": "A: No."},
        {**opened, "response": "The first is calmer."},
    ]
    (description,) = read_answers(tmp_path / "ours.json").descriptions
    assert (description.truth, description.response) == ("One is calm.", "The first is calmer.")


async def test_a_judge_that_says_dominance_is_not_asked_for_it_and_describes_what_it_is_asked_about(
    tmp_path: Path,
) -> None:
    questions = written(tmp_path / "single.json", [{**IMAGE, "open_ended_Q": "Why does it feel so?"}])
    (tmp_path / "1.png").write_bytes(paint("a dog", 1))
    judge = ScriptedJudge(
        feeling=lambda _: replace(assessment(6, 4), dominance=6.25),
        analyses=["B", "Strong", "[joy, neutral, surprise]", "The dog looks happy."],
    )
    await answer(judge, questions, tmp_path, tmp_path / "ours.json")
    found = read_answers(tmp_path / "ours.json")
    assert [rating.predicted for rating in found.ratings] == [6, 4, 6.25]
    (description,) = found.descriptions
    assert description.response == "The dog looks happy."
    assert (
        "joy, neutral, surprise" in description.truth and "valence 6.0, arousal 4.2, dominance 6.4" in description.truth
    )


async def test_answers_to_other_questions_and_missing_pictures_are_refused(tmp_path: Path) -> None:
    questions = written(tmp_path / "single.json", [IMAGE])
    with pytest.raises(InvalidRequest, match=r"row 1: its picture can't be read"):
        await answer(ScriptedJudge(), questions, tmp_path, tmp_path / "ours.json")
    about_none = written(tmp_path / "none.json", [{**PAIR, "question": "Are both calm?"}])
    with pytest.raises(InvalidRequest, match=r"row 1: names 0 pictures, it must have image_url, or image1_url and"):
        await answer(ScriptedJudge(), about_none, tmp_path, tmp_path / "ours.json")
    for name in ("../secret.png", "a" * 5000, "a\0.png"):
        elsewhere = written(tmp_path / "elsewhere.json", [{**IMAGE, "image_name": name}])
        with pytest.raises(InvalidRequest, match=r"row 1: its picture can't be read: names "):
            await answer(ScriptedJudge(), elsewhere, tmp_path, tmp_path / "ours.json")
    written(tmp_path / "ours.json", [{**IMAGE, "image_name": "9.png"}])
    with pytest.raises(InvalidRequest, match="holds answers to other questions"):
        await answer(ScriptedJudge(), questions, tmp_path, tmp_path / "ours.json")
