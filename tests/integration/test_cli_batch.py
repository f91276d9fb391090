"""`create --prompts`: every row a run, all on one page, and a cut batch goes on. And results for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from emofeedback.domain.affect import LEXICON, Emotion
from emofeedback.domain.errors import Unavailable
from support.scripted_services import ScriptedEngines

ROWS = """prompt;valence;arousal;emotion;seed
a boat, far out;7,5;3;;
Ein Häuschen am See;;;Fear;11
a dog;;;;
"""
SMALL = ("--images", "2", "--rounds", "1", "--out", "OUT")
DEFAULT = ("--emotion", "awe", "--seed", "4")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "wishes.csv"
    path.write_text(ROWS, encoding="utf-8")
    return path


class Page(HTMLParser):
    """The links and pictures of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.pictures: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if tag == "a":
            self.links.append(str(found["href"]))
        if tag == "img":
            self.pictures.append(str(found["src"]))


def test_each_row_is_a_run_and_one_page_shows_all(
    run: Callable[..., int], tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("create", "--prompts", str(table), *DEFAULT, *SMALL) == 0
    out = tmp_path / "run"
    assert f"Index: {out / 'index.html'}" in capsys.readouterr().out.splitlines()
    folders = ["001-a-boat-far-out", "002-ein-häuschen-am-see", "003-a-dog"]
    requests = [json.loads((out / name / "result.json").read_text(encoding="utf-8"))["request"] for name in folders]
    points = [(request["target"]["valence"], request["target"]["arousal"]) for request in requests]
    fear, awe = (LEXICON[emotion].point for emotion in (Emotion.FEAR, Emotion.AWE))
    assert points == [(7.5, 3), (fear.valence, fear.arousal), (awe.valence, awe.arousal)]
    assert [request["seed"] for request in requests] == [4, 11, 4]
    text = (out / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert [unquote(link) for link in page.links] == [f"{name}/report.html" for name in folders]
    assert all((out / unquote(link)).is_file() for link in page.links)
    assert len(page.pictures) == 3 and all(src.startswith("data:image/png;base64,") for src in page.pictures)
    for said in ("a boat, far out", "Ein Häuschen am See", "target V 7.5 · A 3.0", "3 of 3 runs"):
        assert said in text


def test_lines_of_json_are_rows_as_well(run: Callable[..., int], tmp_path: Path) -> None:
    path = tmp_path / "wishes.jsonl"
    path.write_text(
        '{"prompt": "a boat", "valence": 7, "arousal": 3, "seed": 2}\n\n{"prompt": "a dog", "emotion": "awe"}\n'
    )
    assert run("create", "--prompts", str(path), *SMALL) == 0
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"001-a-boat", "002-a-dog", "index.html", "result.json"}


def test_a_cut_batch_goes_on_with_what_is_missing(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("create", "--prompts", str(table), *DEFAULT, *SMALL)
    engines.generator.failures = {(1, 1): Unavailable("the generator is gone")}
    assert run(*asked) == 1
    assert "1 of 3 runs are kept" in capsys.readouterr().err
    assert "1 of 3 runs" in (tmp_path / "run/index.html").read_text(encoding="utf-8")
    engines.generator.failures = {}
    assert run(*asked) == 2, "without --resume nothing is painted over"
    assert run(*asked, "--resume") == 0
    assert [r.prompt for r in engines.generator.requests].count("a boat, far out") == 1
    table.write_text(ROWS.replace("a dog", "a cat").replace("7,5", "7,4"))
    assert run(*asked, "--resume") == 2
    assert "was started with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "messages"),
    [
        (
            "a.csv",
            "prompt,valence,arousal,emotion,seed\na,9.5,3,,\nb,x,3,,\nc,3,,,\nd,,,feer,\ne,,,awe,1.5\n,,,awe,\n",
            (
                "a.csv row 2 valence: is 9.5, it must lie in [1, 9]",
                "a.csv row 3 valence: is 'x', it must be a number",
                "a.csv row 4 arousal: is missing",
                "a.csv row 5 emotion: 'feer' is not one of",
                "a.csv row 6 seed: is '1.5', it must be a whole number",
                "a.csv row 7 prompt: is empty",
            ),
        ),
        ("a.csv", "prompt,emotion,dominance\na,awe,12\n", ("a.csv row 2 dominance: is 12, it must lie in [1, 9]",)),
        ("a.csv", "prompt,moood\na,awe\n", ("a.csv row 2 moood: is not one of prompt",)),
        ("a.csv", "text\na\n", ("column prompt: is missing",)),
        ("a.csv", "prompt\n", ("a.csv: holds no prompts",)),
        ("a.csv", "prompt,emotion\na,awe,more\n", ("a.csv row 2", "more cells")),
        ("a.jsonl", "{\n[1]\n", ("a.jsonl line 1", "is not JSON", "a.jsonl line 2", "is not a JSON object")),
        ("a.jsonl", '{"prompt": 3, "emotion": "awe"}', ("a.jsonl line 1 prompt: is 3, it must be a text",)),
        ("a.jsonl", '{"prompt": "a", "valence": true, "arousal": 3}', ("valence: is True, it must be a number",)),
    ],
)
def test_every_wrong_row_is_named_before_anything_is_loaded(
    engines: ScriptedEngines,
    run: Callable[..., int],
    tmp_path: Path,
    name: str,
    content: str,
    messages: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / name).write_text(content)
    assert run("create", "--prompts", str(tmp_path / name), *SMALL) == 2
    said = capsys.readouterr().err
    assert all(message in said for message in messages) and said.count("\n") == 1
    assert engines.opened == 0 and not (tmp_path / "run").exists()


def test_a_prompt_beside_a_file_of_prompts_is_refused(
    run: Callable[..., int], table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("create", "a boat", "--prompts", str(table), *DEFAULT, *SMALL) == 2
    assert "--prompts: has no effect beside PROMPT" in capsys.readouterr().err
    assert run("create", "--prompts", str(table.with_name("none.csv")), *SMALL) == 2
    assert "none.csv: can't be read" in capsys.readouterr().err


# --- --json ------------------------------------------------------------------------------------------------------


def test_create_tells_programs_the_whole_result_and_people_the_rest(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines.generator.unknown_words = frozenset({"boat"})
    assert run("create", "a boat", "--emotion", "awe", *SMALL, "--json") == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    kept = json.loads((tmp_path / "run/result.json").read_text())
    assert result == {"folder": str(tmp_path / "run"), "report": str(tmp_path / "run/report.html"), **kept}
    assert said.err == "note: the nano profile doesn't know: boat\n"


def test_sweep_and_batch_tell_programs_too(
    run: Callable[..., int], tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("sweep", "a boat", "--grid", "2", "--images", "2", "--rounds", "1", "--out", "OUT", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["cells"]) == 4 and Path(result["picture"]).is_file()
    small = ("--images", "2", "--rounds", "1", "--out", str(tmp_path / "batch"))
    assert run("create", "--prompts", str(table), *DEFAULT, *small, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert [each["run"] for each in result["runs"]][2] == "003-a-dog" and Path(result["index"]).is_file()
