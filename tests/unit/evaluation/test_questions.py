"""Closed questions about pictures: what our judge is asked, what is kept, and what answers come to."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emofeedback.domain.affect import Emotion
from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.cli import main
from emofeedback_trainer.data.reading import read
from emofeedback_trainer.evaluation.language_model import Remembering
from emofeedback_trainer.evaluation.questions import ask, read_answered
from support import published_layouts as layouts
from support.fakes import ScriptedJudge


def line(task: str, truth: str, said: str, confidence: float | None = None) -> dict[str, Any]:
    """A line as EmoCaliber's results have it."""
    stated = "" if confidence is None else f"<confidence>{confidence}</confidence>"
    candidates = ["positive", "negative"] if task.endswith("-2") else ["awe", "fear", "joy"]
    response = f"<think>Perhaps.</think><answer>{said}</answer>{stated}"
    return {"task": task, "ground_truth": truth, "candidates": candidates, "response": response}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["evaluate", "questions", *words, "--json"]) == 0
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def judged_by(judge: ScriptedJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "emofeedback_trainer.evaluation.questions_cli.engines_of",
        lambda _: SimpleNamespace(judge=lambda: nullcontext(judge)),
    )


def test_results_on_vecbench_are_scored_by_task_and_their_confidence_by_group(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        line("FI-2", "positive", "positive", 0.9),
        line("WebEmo-2", "negative", "positive", 0.5),
        line("WebEmo-2", "negative", "negative", 0.5),
        line("FI-8", "awe", "awe"),
        line("FI-8", "fear", "neither"),
    ]
    found = printed(["--responses", str(written(tmp_path / "merged.jsonl", rows))], capsys)
    assert {topic: one["accuracy"]["value"] for topic, one in found["by_topic"].items()} == {
        "FI-2": 100,
        "FI-8": 50,
        "WebEmo-2": 50,
    }
    assert list(found["by_group"]) == ["ID VSA", "ID VER"] and list(found["confidence"]) == ["ID VSA"]
    believed = found["confidence"]["ID VSA"]
    assert believed["ece"]["value"] == pytest.approx(100 * 0.1 / 3) and believed["ece"]["n"] == 3
    assert believed["brier"]["value"] == pytest.approx(100 * (0.01 + 0.25 + 0.25) / 3)
    assert believed["roc_auc"]["value"] == pytest.approx(75)
    assert (found["unparsed"], found["unconfident"]) == (1, 2)


async def test_a_judge_is_asked_about_each_picture_and_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    layouts.vecbench(tmp_path)
    samples = read("vecbench", tmp_path).samples
    said = ["<answer>positive</answer><confidence>0.8</confidence>", "awe", "joy"]
    judge = ScriptedJudge(analyses=said)
    kept = tmp_path / "ours.replies.jsonl"
    assert await ask(Remembering(judge, kept), samples, tmp_path / "ours.jsonl") == 3
    (message,) = judge.conversations[0]
    assert message.parts[0] == (tmp_path / "FI" / "1.jpg").read_bytes()
    assert "positive, negative" in str(message.parts[1])
    answers = read_answered(tmp_path / "ours.jsonl")
    assert [one.chosen == one.truth for one in answers] == [True, True, True]
    assert [one.confidence for one in answers] == [0.8, None, None]
    # Killed in the middle of a line: that reply alone is asked for again.
    kept.write_bytes(kept.read_bytes()[:-5])
    again = ScriptedJudge(analyses=["fear"])
    await ask(Remembering(again, kept), samples, tmp_path / "ours.jsonl")
    assert len(again.conversations) == 1 and read_answered(tmp_path / "ours.jsonl")[0] == answers[0]


async def test_of_several_replies_most_decide_and_their_share_is_the_confidence(tmp_path: Path) -> None:
    layouts.vecbench(tmp_path)
    samples = read("vecbench", tmp_path).samples[:1]
    judge = ScriptedJudge(analyses=["negative", "positive", "negative", "I can't say"])
    await ask(judge, samples, tmp_path / "ours.jsonl", replies=4)
    (found,) = read_answered(tmp_path / "ours.jsonl")
    assert (found.response, found.confidence) == ("negative", 0.5)
    assert [decoding.seed for decoding in judge.decodings] == [0, 1, 2, 3]


def test_questions_with_options_are_asked_by_letter_and_prose_is_read_by_a_model_beside_the_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts.uniaa(tmp_path)
    judge = ScriptedJudge(analyses=["It is hardly tame, I think", "B: Yes"], rewrites=["B"])
    judged_by(judge, monkeypatch)
    responses = tmp_path / "ours.jsonl"
    found = printed(["--source", "uniaa", str(tmp_path), "--responses", str(responses), "--by", "judge"], capsys)
    (sentiment,) = found["by_topic"].values()
    assert (sentiment["accuracy"]["value"], sentiment["by_language_model"]["value"]) == (50, 100)
    assert (found["unparsed"], found["matched_unparsed"], found["asked"]) == (1, 0, 1)
    assert "B: It is wild." in str(judge.conversations[0][0].parts[1])
    assert [model["role"] for model in found["provenance"]["models"]] == ["judge", "language model"]


def test_answers_that_only_the_authors_can_score_are_kept_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts.aesbench(tmp_path)
    judge = ScriptedJudge(analyses=["A", "B"])
    judged_by(judge, monkeypatch)
    responses = tmp_path / "ours.jsonl"
    words = ["evaluate", "questions", "--source", "aesbench", str(tmp_path), "--topic", "AesE"]
    assert main([*words, "--responses", str(responses)]) == 2
    assert "holds no question whose right answer is known" in capsys.readouterr().err
    assert [one.response for one in read_answered(responses)] == ["A", "B"]


def test_several_sources_make_one_table_and_a_picture_without_questions_is_asked_for_its_emotion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("artemis", "artphoto", "uniaa", "aesbench"):
        layouts.LAYOUTS[name](tmp_path / name)
    # The options of the first question of AesBench are cut off, and nobody says what answers the second.
    layouts.replaced(tmp_path / "aesbench" / "AesBench_evaluation.json", "B)Unrest", "Unrest")
    # A painting (people differ about the other), the first two photographs, and UNIAA's questions.
    judge = ScriptedJudge(analyses=["<answer>awe</answer>", "amusement", "fear", "B", "A", "C"])
    judged_by(judge, monkeypatch)
    sources = [
        word
        for name in ("artemis", "artphoto", "uniaa", "aesbench")
        for word in ("--source", name, str(tmp_path / name))
    ]
    topics = ["--topic", "artemis", "artphoto", "sentiment", "AesE"]
    words = [*sources, *topics, "--limit", "2", "--responses", str(tmp_path / "ours.jsonl")]
    assert main(["evaluate", "questions", *words]) == 2
    assert "--skip-bad leaves such rows out" in capsys.readouterr().err
    assert main(["evaluate", "questions", *words, "--skip-bad", "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert {topic: (one["accuracy"]["value"], one["accuracy"]["n"]) for topic, one in found["by_topic"].items()} == {
        "artemis": (100, 1),
        "artphoto": (50, 2),
        "sentiment": (50, 2),
    }
    assert found["without_key"] == 1 and "left out: aesbench AesBench_evaluation.json row 1" in said.err
    assert ", ".join(Emotion) in str(judge.conversations[0])


def test_a_topic_that_a_source_does_not_ask_about_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layouts.uniaa(tmp_path)
    words = ["--source", "uniaa", str(tmp_path), "--topic", "Sentiment", "--responses", str(tmp_path / "ours.jsonl")]
    assert main(["evaluate", "questions", *words]) == 2
    assert "source uniaa: asks no closed question about Sentiment" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"task": "FI-2"}, "line 2: is no answer, it must have task, candidates, ground_truth and response"),
        ({**line("FI-2", "positive", "x"), "candidates": ["a"]}, "column candidates: must be a list of 2 to 26 texts"),
        (line("FI-2", "awe", "x"), "column ground_truth: is 'awe', none of the candidates"),
        ({**line("FI-2", "positive", "x"), "confidence": "high"}, "column confidence: is 'high'"),
    ],
)
def test_a_line_that_is_no_answer_is_named(
    row: dict[str, Any], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "bad.jsonl", [line("FI-2", "positive", "positive"), row])
    assert main(["evaluate", "questions", "--responses", str(path)]) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--source", "wikiart", "here"], "name: 'wikiart' is not one of emoset, emotic"),
        (["--source", "uniaa", "here", "--limit", "0"], "limit: is 0, it must be 1 or more"),
        (["--replies", "0"], "replies: is 0, it must be 1 or more"),
        (["--by", "nowhere"], "by: is 'nowhere'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "fine.jsonl", [line("FI-2", "positive", "positive")])
    assert main(["evaluate", "questions", *words, "--responses", str(path)]) == 2
    assert problem in capsys.readouterr().err


async def test_data_without_questions_is_refused(tmp_path: Path) -> None:
    layouts.oasis(tmp_path)
    with pytest.raises(InvalidRequest, match="asks no closed question"):
        await ask(ScriptedJudge(), read("oasis", tmp_path).samples, tmp_path / "ours.jsonl")
