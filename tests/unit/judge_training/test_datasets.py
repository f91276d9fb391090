"""What a judge in training is asked and taught, and how a run of it is set up."""

import errno
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from emofeedback.domain.affect import Emotion
from emofeedback.domain.errors import InvalidRequest, NotFound, ResourceExhausted
from emofeedback.domain.taxonomies import EKMAN
from emofeedback.judge.prompts import description_conversation, question_conversation, reasoning_conversation
from emofeedback.profiles.overrides import flat, to_toml
from emofeedback.storage.files import held
from emofeedback_trainer.core.config import RenamedKey
from emofeedback_trainer.data.eemodb.question_files import read_questions, write_questions
from emofeedback_trainer.data.eemodb.questions import Question
from emofeedback_trainer.data.records import RankedEmotion, Sample
from emofeedback_trainer.judge.config import GRPO_CONFIGS, SFT_CONFIGS, load_config
from emofeedback_trainer.judge.datasets import grpo_rows, sft_rows
from emofeedback_trainer.judge.folder import JudgeRunFolder
from emofeedback_trainer.judge.rewards import format_reward, written_answer, written_assessment
from emofeedback_trainer.judge.tasks import TASKS, TaskName, question, reply, taxonomy
from support.pictures import encoded, red

KNOWN = Sample(
    id="one",
    source="made up",
    license="none",
    image=encoded(red()),
    emotional_prompt="a smiling dog under a sunny sky",
    valence=7.25,
    arousal=4.0,
    dominance=5.5,
    emotion=Emotion.AMUSEMENT,
    label="joy",
    ranking=tuple(RankedEmotion(label=name, weight=1.0) for name in ("joy", "surprise", "neutral", "fear")),
)
UNKNOWN = Sample(id="two", source="made up", license="none", image=encoded(red()), emotion=Emotion.AWE)


@pytest.mark.parametrize("task", TASKS)
def test_a_taught_reply_has_the_form_that_is_rewarded(task: TaskName) -> None:
    taught = reply(task, KNOWN)
    assert taught is not None
    assert format_reward(taught) == 1.0
    assert "It shows a smiling dog under a sunny sky." in taught


def test_taught_answers_say_what_the_labels_say() -> None:
    taught = {task: reply(task, KNOWN) or "" for task in TASKS}
    assessment = written_assessment(taught["assessment"])
    assert assessment is not None
    assert (assessment.valence, assessment.arousal, assessment.emotion) == (7.2, 4.0, Emotion.AMUSEMENT)
    assert written_answer(taught["ranking"]) == "[joy, surprise, neutral]"
    assert written_answer(taught["dominance"]) == "5.5"
    assert written_answer(taught["emotion"]) == "joy"


def test_what_people_said_about_a_picture_is_the_thought() -> None:
    commented = Sample(**{**vars(KNOWN), "comments": ("The dog is glad.", "So am I.")})
    assert (reply("dominance", commented) or "").startswith("<think>The dog is glad.</think>")


def test_the_judge_is_asked_word_for_word_as_the_service_asks() -> None:
    (message,) = reasoning_conversation(b"")
    assert question("assessment", EKMAN) == message.parts[1]


def test_each_sample_is_asked_what_its_labels_answer() -> None:
    rows = grpo_rows([KNOWN, UNKNOWN], ("assessment", "ranking"))
    assert rows["task"] == ["assessment", "ranking"]
    assert rows["ranking"][0] == ["joy", "surprise", "neutral"]
    assert rows[0]["image"].size == red().size
    assert rows[0]["prompt"][0]["role"] == "user"
    (taught,) = sft_rows([KNOWN, UNKNOWN], ("emotion",))
    assert taught["completion"][0]["content"] == reply("emotion", KNOWN)


def test_ratings_without_an_emotion_are_rewarded_though_no_reply_can_be_written_for_them() -> None:
    rated = replace(KNOWN, emotion=None)
    assert grpo_rows([rated], ("vad",))["dominance"] == [5.5]
    with pytest.raises(InvalidRequest, match=r"tasks: no sample has the labels of 'vad'"):
        sft_rows([rated], ("vad",))
    with pytest.raises(InvalidRequest, match=r"tasks: no sample has the labels of 'vad'"):
        grpo_rows([replace(KNOWN, dominance=None)], ("vad",))


def test_a_task_that_no_sample_can_answer_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"tasks: no sample has the labels of 'dominance'"):
        grpo_rows([UNKNOWN], ("dominance",))


def test_a_ranking_is_among_the_emotions_that_the_data_names() -> None:
    scene = Sample(id="s", source="s", license="", ranking=(RankedEmotion(label="awe", weight=1.0),))
    assert taxonomy([KNOWN]) == EKMAN
    assert taxonomy([KNOWN, scene]) == tuple(Emotion)
    assert "surprise" in question("ranking", EKMAN)


@pytest.mark.parametrize("name", GRPO_CONFIGS)
def test_the_papers_constants_are_the_built_in_ones(name: str) -> None:
    config = GRPO_CONFIGS[name]
    assert (config.beta, config.num_generations, config.rewards.threshold) == (1e-3, 8, 0.70)
    assert config.model.rank == config.model.lora_alpha == SFT_CONFIGS[name].model.rank == 64


def test_a_configuration_file_changes_some_keys(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "nano"\nschedule.steps = 7\nrewards.shape = "hybrid"\ntasks = ["ranking"]\n')
    config = load_config(str(file), GRPO_CONFIGS, {"schedule": {"batch": 32}})
    assert (config.schedule.steps, config.schedule.batch, config.rewards.shape) == (7, 32, "hybrid")
    assert config.tasks == ("ranking",)
    assert config.model == GRPO_CONFIGS["nano"].model


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schedule": {"steps": 0}}, "schedule.steps: is 0, it must be at least 1"),
        ({"schedule": {"batch": 20}}, "num_generations: is 8, it must divide the 20 replies of a step"),
        ({"rewards": {"shape": "round"}}, "rewards.shape: is 'round'"),
        (
            {"tasks": ["assessment", "chess"]},
            "tasks: is 'chess', it must be 'assessment', 'ranking', 'vad', 'dominance' or 'emotion'",
        ),
        ({"beta": -1.0}, "beta: is -1.0"),
        ({"vllm_server": "http://127.0.0.1:8000"}, "vllm_server: needs model.device 'cuda'"),
        ({"model": {"rank": "large"}}, "model.rank: is 'large', it must be a whole number"),
        ({"speed": 3}, "speed: unknown key"),
    ],
)
def test_a_bad_key_is_named_with_its_limit(changes: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        load_config("nano", GRPO_CONFIGS, changes)
    assert told in str(refused.value)


def test_keys_by_their_old_names_are_read_and_a_run_that_has_them_goes_on(tmp_path: Path) -> None:
    old = {"model.alpha": 8, "model.modules": ".*q_proj", "generations": 4, "rewards.form": "hybrid"}
    with pytest.warns(RenamedKey, match=r"rewards\.normalized is now called rewards\.multi_objective_aggregation"):
        config = load_config("nano", GRPO_CONFIGS, old | {"rewards.normalized": "sum"})
    assert (config.model.lora_alpha, config.model.target_modules, config.num_generations) == (8, ".*q_proj", 4)
    assert (config.rewards.shape, config.rewards.multi_objective_aggregation) == ("hybrid", "sum_then_normalize")
    files = JudgeRunFolder(tmp_path)
    text = to_toml(config).replace("num_generations", "generations").replace("lora_alpha", "alpha")
    text = text.replace("multi_objective_aggregation", "normalized").replace("sum_then_normalize", "sum")
    files.config.write_text(f"{text}rewards.two_shared = {2 / 3}\n")
    with pytest.warns(RenamedKey):
        files.require_started_with(config)
    with pytest.raises(InvalidRequest, match="two_shared"):
        load_config("nano", GRPO_CONFIGS, {"rewards.two_shared": 0.5})


@pytest.mark.parametrize("built_in", [SFT_CONFIGS, GRPO_CONFIGS])
@given(value=st.sampled_from([0, -1, math.nan, math.inf, "nonsense", "", True, [], {}, None, 1.5]), data=st.data())
def test_any_value_of_any_key_gives_a_configuration_or_a_refusal_that_names_the_key(
    built_in: Mapping[str, Any], value: Any, data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(flat(built_in["nano"]))))
    try:
        config = load_config("nano", built_in, {key: value})
    except InvalidRequest as error:
        together = {"schedule.batch": "num_generations", "schedule.accumulation": "num_generations"}
        assert error.violations and {each.field for each in error.violations} <= {key, together.get(key)}
    else:
        assert flat(config)[key] == value


def test_no_such_configuration_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidRequest, match=r"config: 'mini' is neither one of nano, qwen2.5-vl-7b"):
        load_config("mini", SFT_CONFIGS, {})


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    files, config = JudgeRunFolder(tmp_path / "run"), SFT_CONFIGS["nano"]
    with pytest.raises(InvalidRequest, match="holds no run to resume"):
        files.open(config, resume=True)
    assert files.open(config, resume=False) is None
    with pytest.raises(InvalidRequest, match="holds a run: name another folder, or --resume"):
        files.open(config, resume=False)
    other = load_config("nano", SFT_CONFIGS, {"schedule": {"steps": 5}})
    with pytest.raises(InvalidRequest, match=r"schedule.steps = 5 is new"):
        files.open(other, resume=True)


def test_a_run_that_was_cut_before_its_first_checkpoint_begins_anew(tmp_path: Path) -> None:
    files, config = JudgeRunFolder(tmp_path / "run"), SFT_CONFIGS["nano"]
    with held(files.path):  # as a command that was killed while it loaded its models
        assert files.open(config, resume=True) is None
    files.add("metrics", {"step": 1, "loss": 1.0})
    assert files.open(config, resume=True) is None
    assert files.lines("metrics") == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_clear_error_whoever_met_it(error: Exception, tmp_path: Path) -> None:
    from emofeedback_trainer.core.training_state import told_of_the_disk

    with (
        pytest.raises(ResourceExhausted, match=r"the disk is full, .* was finished before is kept"),
        told_of_the_disk(tmp_path),
    ):
        raise error


def test_what_came_after_the_checkpoint_is_written_anew(tmp_path: Path) -> None:
    files, config = JudgeRunFolder(tmp_path / "run"), SFT_CONFIGS["nano"]
    files.open(config, resume=False)
    for step in (1, 2, 3):
        files.add("metrics", {"step": step, "loss": 1.0})
    for step, state in ((1, "{}"), (2, "{}"), (3, '{"global_st')):
        (files.checkpoints / f"checkpoint-{step}").mkdir(parents=True)
        (files.checkpoints / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    (files.checkpoints / "checkpoint-4").mkdir()
    assert files.open(config, resume=True) == files.checkpoints / "checkpoint-2"
    assert [line["step"] for line in files.lines("metrics")] == [1, 2]


PAIR = Question(
    id="pair-1",
    images=("one", "two"),
    task="pair",
    kind="What/How",
    dimension="valence",
    question="Which of the two pictures is more pleasant to look at?",
    options=("The second", "The first"),
    answer="B",
)


def test_questions_about_one_picture_or_two_are_taught_too(tmp_path: Path) -> None:
    open_one = replace(PAIR, id="description-1", images=("one",), task="description", options=(), answer="It is glad.")
    write_questions(tmp_path, "train", [PAIR, open_one])
    first, second, third = sft_rows([KNOWN, UNKNOWN], ("emotion",), read_questions(tmp_path, "train"))
    assert [len(row["images"]) for row in (first, second, third)] == [1, 2, 1]
    (asked,) = question_conversation([b"", b""], PAIR.question, PAIR.options)
    assert second["prompt"][0]["content"] == asked.parts[2]
    assert second["completion"][0]["content"] == (
        "<think>The first: It shows a smiling dog under a sunny sky. The second: </think><answer> The first</answer>"
    )
    (described,) = description_conversation([b""])
    assert third["prompt"][0]["content"] == described.parts[1]
    assert third["completion"][0]["content"] == "It is glad."
    with pytest.raises(InvalidRequest, match=r"questions.pair-1: is about 'two'"):
        sft_rows([KNOWN], ("emotion",), [PAIR])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"images": ("one",)}, "is about 1 pictures, pair is about 2"),
        ({"task": "perception"}, "is about 2 pictures, perception is about 1"),
        ({"options": ()}, "has 0 options, pair needs 2 to 4"),
        ({"task": "riddle"}, "its task is 'riddle', it must be one of perception, pair, ranking, description"),
        ({"answer": "C"}, "its answer is 'C', which is the letter of none of its options"),
    ],
)
def test_a_question_with_other_pictures_or_options_than_its_task_has_is_refused(
    change: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    write_questions(tmp_path, "train", [PAIR, replace(PAIR, **change)])
    with pytest.raises(InvalidRequest, match=rf"train.jsonl line 2: {problem}"):
        read_questions(tmp_path, "train")


def test_a_line_that_is_no_question_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"questions/train.jsonl is made by"):
        read_questions(tmp_path, "train")
    tmp_path.joinpath("questions").mkdir()
    (tmp_path / "questions" / "train.jsonl").write_text('{"id": "x"}\n')
    with pytest.raises(InvalidRequest, match=r"train.jsonl line 1: is no question"):
        read_questions(tmp_path, "train")
