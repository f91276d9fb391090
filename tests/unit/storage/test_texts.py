"""Texts and names that people hand in: read under any byte order mark, by lines that are lines, within their folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emofeedback.cli.deploy.command import _text as manifests
from emofeedback.domain.errors import InvalidRequest
from emofeedback.profiles.overrides import load_profile
from emofeedback.storage.texts import file_within, parse_json, read_lines, read_text
from emofeedback_trainer.core.task import load_task
from emofeedback_trainer.data.eemodb.question_files import read_questions, write_questions
from emofeedback_trainer.data.eemodb.questions import Question
from emofeedback_trainer.evaluation.eemo_bench_answers import read_rows
from emofeedback_trainer.flow_grpo.config import load_config
from emofeedback_trainer.service.backends.kubernetes import load_template
from emofeedback_trainer.service.client_cli import configuration

ANY_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
QUESTION = Question(
    id="1",
    images=("1",),
    task="perception",
    kind="Yes-or-No",
    dimension="emotion",
    question="Is it\u2028calm?",
    options=("Yes", "No"),
    answer="A",
)
HANDED_IN: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "profile.toml": (
        'extends = "nano"\n[generator]\nsteps = 8\n',
        lambda path: load_profile(str(path)).generator.steps,
    ),
    "config.toml": ('extends = "nano"\niterations = 7\n', lambda path: load_config(str(path)).iterations),
    "sent.toml": ("iterations = 7\n", lambda path: configuration(str(path), [])),
    "rows.json": ('[{"a": "é"}]', lambda path: [row for _, row in read_rows(path)]),
    "prompts.jsonl": ('{"prompt": "a boat"}\n{"prompt": "a cat"}\n', lambda path: load_task(str(path))),
    "manifests.yaml": ("kind: RayService\n", lambda path: manifests(str(path))),
}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", HANDED_IN)
def test_a_byte_order_mark_changes_nothing(name: str, encoding: str, tmp_path: Path) -> None:
    text, read = HANDED_IN[name]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    plain = read(path)
    path.write_text(text, encoding=encoding)
    assert read(path) == plain


def test_questions_hold_any_separator_and_may_have_a_mark(tmp_path: Path) -> None:
    write_questions(tmp_path, "train", [QUESTION, QUESTION])
    path = tmp_path / "questions/train.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8-sig")
    assert read_questions(tmp_path, "train") == [QUESTION, QUESTION]


def test_a_job_template_may_have_a_mark(tmp_path: Path) -> None:
    template = tmp_path / "job.yaml"
    template.write_text("kind: Pod\napiVersion: v1\n", encoding="utf-8-sig")
    with pytest.raises(InvalidRequest, match="is a Pod, not a RayJob"):
        load_template(template)


@ANY_FOLDER
@given(
    prompts=st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=4, unique=True),
    end=st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    ascii=st.booleans(),
    mark=st.sampled_from(["", "\ufeff"]),
)
def test_every_prompt_of_a_file_is_read_as_it_stands(
    tmp_path: Path, prompts: list[str], end: str, ascii: bool, mark: str
) -> None:
    path = tmp_path / "prompts.jsonl"
    lines = [json.dumps({"prompt": prompt}, ensure_ascii=ascii) for prompt in prompts]
    path.write_bytes((mark + end.join(lines)).encode())
    task = load_task(str(path))
    trained, held_out = [one.prompt for one in task.training], {pair.prompt for pair in task.evaluation}
    assert trained == [prompt for prompt in prompts if prompt not in held_out]
    assert {*trained, *held_out} == set(prompts)


def test_lines_keep_their_numbers_where_some_are_empty(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_bytes("\ufeffa\r\n\r\nb\u2028b\x0bb".encode())
    assert list(read_lines(tmp_path / "lines.txt")) == [(1, "a\n"), (3, "b\u2028b\x0bb")]


@ANY_FOLDER
@given(st.text(st.characters(exclude_categories=()), max_size=300) | st.sampled_from(["a" * 5000, "b/../../c", "//x"]))
def test_no_name_is_opened_that_leads_out_of_the_folder_and_none_ends_in_a_traceback(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inside"
    folder.mkdir(exist_ok=True)
    (folder / "a").write_text("a")
    (tmp_path / "c").write_text("c")
    try:
        found = file_within(folder, name)
    except ValueError as error:
        assert str(error).startswith("names ") and len(str(error)) < 1200
    else:
        assert found.resolve() == folder / "a"


def test_a_profile_by_an_over_long_name_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="profile: "):
        load_profile("a" * 5000 + ".toml")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "{", "1" * 5000, b"\xff"])
def test_what_is_no_json_of_a_sane_depth_is_one_kind_of_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)
    assert parse_json('{"a": [1]}') == {"a": [1]}


def test_another_encoding_is_an_error_that_callers_know(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("é".encode("latin-1"))
    with pytest.raises(UnicodeDecodeError):
        read_text(tmp_path / "text")
