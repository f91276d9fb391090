"""Tasks: what is trained on, what is held out, and how a task is named."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import InvalidRequest
from emofeedback.profiles.builtin import NANO_PROFILE, SD35_MEDIUM_PROFILE
from emofeedback_trainer.core.pairs import MOST_PAIRS, grid, spread_pairs
from emofeedback_trainer.core.task import Task, TrainingPrompt, load_task
from emofeedback_trainer.flow_grpo.components import load_panel
from emofeedback_trainer.flow_grpo.config import CONFIGS, with_changes
from emofeedback_trainer.nano.task import TASK, is_held_out, plain_prompt
from emofeedback_trainer.nano.world.scenes import PLACES, SUBJECTS
from support.fakes import ScriptedGenerator, ScriptedJudge


def written(path: Path, *lines: object) -> str:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return str(path)


def numbered(count: int) -> list[dict[str, object]]:
    return [{"prompt": f"prompt {number}"} for number in range(count)]


# --- names ---------------------------------------------------------------------------------------------------------


def test_a_task_is_found_by_its_short_name_and_by_where_it_stands() -> None:
    assert load_task("nano") is load_task("emofeedback_trainer.nano.task:TASK") is TASK


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("no_such_package.task:TASK", "No module named 'no_such_package' .a folder of yours goes into PYTHONPATH."),
        ("emofeedback_trainer.nano.task:TUSK", "can't be imported: .* no attribute 'TUSK'"),
        ("emofeedback_trainer.nano.task:is_held_out", "is no Task but a function"),
        (
            "nowhere.jsonl",
            "'nowhere.jsonl' is neither 'nano', .* nor module:attribute nor a readable file",
        ),
    ],
)
def test_what_is_no_task_is_refused_by_name(name: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem) as caught:
        load_task(name)
    assert caught.value.violations[0].field == "prompts"


# --- a file of prompts ---------------------------------------------------------------------------------------------


def test_an_eighth_of_a_files_prompts_is_held_out_whatever_their_order(tmp_path: Path) -> None:
    lines = numbered(20)
    task = load_task(written(tmp_path / "a.jsonl", *lines))
    turned = load_task(written(tmp_path / "b.jsonl", *reversed(lines), lines[3]))
    held_out = {pair.prompt for pair in task.panel}
    assert len(held_out) == 3 and held_out == {pair.prompt for pair in task.evaluation}
    assert held_out.isdisjoint(one.prompt for one in task.training) and len(task.training) == 17
    assert held_out == {pair.prompt for pair in turned.panel}
    assert task.independent_judge is None


def test_held_out_prompts_without_a_target_are_asked_for_all_over_the_plane(tmp_path: Path) -> None:
    task = load_task(written(tmp_path / "prompts.jsonl", *numbered(20)))
    for pairs in (task.panel, task.evaluation):
        assert {pair.target for pair in pairs} == set(grid()) and len(pairs) == MOST_PAIRS
    assert not {pair.caption for pair in task.panel} & {pair.caption for pair in task.evaluation}


def test_prompts_with_targets_of_their_own_keep_them(tmp_path: Path) -> None:
    lines = [{"prompt": f"prompt {number}", "valence": 7, "arousal": 3.5} for number in range(9)]
    task = load_task(written(tmp_path / "prompts.jsonl", *lines))
    assert len(task.panel) == 2 and {pair.target for pair in task.panel} == {AffectPoint(7.0, 3.5)}
    assert {one.target for one in task.training} == {AffectPoint(7.0, 3.5)}


def test_blank_lines_and_mixed_targets_are_read(tmp_path: Path) -> None:
    task = load_task(written(tmp_path / "p.jsonl", {"prompt": "a dog", "valence": 7, "arousal": 3.5}, "", *numbered(3)))
    assert len(task.training) == 3
    assert TrainingPrompt(prompt="a dog", target=AffectPoint(7.0, 3.5)) in task.training or task.panel[0].target == (
        AffectPoint(7.0, 3.5)
    )


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("a dog", "prompts[1]"),
        ('["a dog"]', "prompts[1].prompt"),
        ('{"prompt": " "}', "prompts[1].prompt"),
        ('{"prompt": "a dog", "valence": 7}', "prompts[1].arousal"),
        ('{"prompt": "a dog", "valence": 7, "arousal": true}', "prompts[1].arousal"),
        ('{"prompt": "a dog", "valence": 7, "arousal": 12}', "prompts[1]"),
    ],
)
def test_a_bad_line_is_named(line: str, field: str, tmp_path: Path) -> None:
    file = written(tmp_path / "prompts.jsonl", {"prompt": "a cat"}, line)
    with pytest.raises(InvalidRequest) as caught:
        load_task(file)
    assert caught.value.violations[0].field == field


def test_a_file_that_leaves_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    for name, lines in (("empty.jsonl", [""]), ("one.jsonl", [{"prompt": "a cat"}] * 3)):
        with pytest.raises(InvalidRequest, match=f"{name} needs two different prompts"):
            load_task(written(tmp_path / name, *lines))


async def test_a_run_on_ones_own_prompts_is_watched_on_those(tmp_path: Path) -> None:
    file = written(tmp_path / "prompts.jsonl", *numbered(20))
    panel = load_panel(with_changes(CONFIGS["sd35-medium"], {"prompts": file, "panel": {"pairs": 4, "images": 1}}))
    generator = ScriptedGenerator()
    measured = await panel.measure(generator, ScriptedJudge(), "")
    assert [request.prompt for request in generator.requests] == [p.caption for p in load_task(file).panel[:4]]
    assert measured.subject_accuracy is None


# --- the nano world ------------------------------------------------------------------------------------------------


def test_a_quarter_of_the_nano_world_is_never_trained_on() -> None:
    held_out = [(subject, place) for subject in SUBJECTS for place in PLACES if is_held_out(subject, place)]
    assert len(held_out) == len(SUBJECTS) * len(PLACES) // 4
    assert {subject for subject, _ in held_out} == set(SUBJECTS)
    assert {place for _, place in held_out} == set(PLACES)
    prompts = [one.prompt for one in TASK.training]
    named = {(subject, place): plain_prompt(subject, place) for subject in SUBJECTS for place in PLACES}
    trained = [pair for pair, text in named.items() if any(prompt.endswith(text) for prompt in prompts)]
    assert len(trained) == 72
    assert not set(trained) & set(held_out)


def test_the_nano_worlds_independent_judge_looks_at_pictures_of_its_own_generator_only() -> None:
    assert TASK.independent(SD35_MEDIUM_PROFILE.generator.checkpoint) is None
    assert TASK.independent(NANO_PROFILE.generator.checkpoint) is not None
    assert Task(name="bare", training=(), panel=(), evaluation=()).independent("any") is None


# --- pairs ---------------------------------------------------------------------------------------------------------


@given(st.integers(1, 100), st.integers(0, 50))
def test_every_target_comes_once_and_prompts_equally_often(count: int, turn: int) -> None:
    pairs = spread_pairs([("", str(number)) for number in range(count)], turn=turn)
    assert {pair.target for pair in pairs} == set(grid())
    often = [sum(pair.prompt == str(number) for pair in pairs) for number in range(count)]
    assert max(often) - min(often) <= 1
