"""`emofeedback create` from its options to its exit code, with a scripted generator and judge behind the real loop."""

from __future__ import annotations

import dataclasses
import errno
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emofeedback.domain.affect import LEXICON, Emotion
from emofeedback.domain.assessment import AssessmentOutcome
from emofeedback.domain.errors import Unavailable
from emofeedback.judge.calibration_store import CalibrationStore
from support.fakes import JUDGE_MODEL, UNREADABLE, Picture, arbitrary_feeling, assessment, known_of, look, paint
from support.scripted_services import ScriptedEngines

CREATE = ("create", "a boat on the lake", "--valence", "7.5", "--arousal", "3", "--out", "OUT")


# --- create ------------------------------------------------------------------------------------------------------


def test_create_leaves_images_result_and_report_and_says_where(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*CREATE, "--images", "4", "--seed", "11") == 0
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert [len(r["candidates"]) for r in result["rounds"]] == [4, 4, 4]
    assert [image["seed"] for image in result["rounds"][0]["candidates"]] == [11, 12, 13, 14]
    assert look((tmp_path / "run" / result["best"]["path"]).read_bytes()).seed in range(11, 15)
    assert result["stopped_because"] == "rounds"
    said = capsys.readouterr()
    assert f"Report: {tmp_path / 'run/report.html'}" in said.out.splitlines()
    assert f"Answer: {tmp_path / 'run' / result['best']['path']}" in said.out.splitlines()
    for name in ("round", "valence", "arousal", "error", "prompt", "a boat on the lake"):
        assert name in said.out
    assert "\x1b" not in said.out and said.err == ""


def test_an_emotion_is_its_place_in_the_lexicon(run: Callable[..., int], tmp_path: Path) -> None:
    assert run("create", "a boat", "--emotion", "fear", "--rounds", "1", "--images", "1", "--out", "OUT") == 0
    target = json.loads((tmp_path / "run/result.json").read_text())["request"]["target"]
    fear = LEXICON[Emotion.FEAR].point
    assert (target["valence"], target["arousal"]) == (fear.valence, fear.arousal)


def test_what_a_picture_feels_like_is_said_and_aimed_at(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(paint("a photograph", 1))

    def first_unfamiliar(picture: Picture) -> AssessmentOutcome:
        score = 4.0 if picture.prompt == "a photograph" else 0.1
        return dataclasses.replace(assessment(6.4321, 3.2), domain_score=score)

    engines.scripted_judge.feeling = first_unfamiliar
    assert run("create", "a boat", "--feel-like", str(photo), "--rounds", "1", "--images", "1", "--out", "OUT") == 0
    target = json.loads((tmp_path / "run/result.json").read_text())["request"]["target"]
    assert target == {"valence": 6.43, "arousal": 3.2}
    assert capsys.readouterr().err.splitlines() == [
        f"note: {photo} feels like valence 6.43, arousal 3.20 (awe)",
        f"note: {photo}: not a picture of this judge's world: its reading means little",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--emotion", "awe"), "--feel-like: is a feeling already: leave out valence, arousal and emotion"),
        (("--arousal", "3"), "--feel-like: is a feeling already: leave out valence, arousal and emotion"),
        ((), "gives no feeling: the reply holds no rating"),
    ],
)
def test_a_picture_that_gives_no_target_of_its_own_is_refused_before_anything_is_painted(
    engines: ScriptedEngines,
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    words: str,
) -> None:
    engines.scripted_judge.feeling = lambda picture: UNREADABLE
    photo = tmp_path / "photo.png"
    photo.write_bytes(paint("a photograph", 1))
    assert run("create", "a boat", "--feel-like", str(photo), *options, "--out", "OUT") == 2
    assert words in capsys.readouterr().err
    assert engines.generator.requests == []


@pytest.mark.parametrize(("option", "imagined"), [("--imagine", True), ("--no-imagine", False)])
def test_create_imagines_where_it_is_told_to(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, option: str, imagined: bool
) -> None:
    engines.generator.known_policies, engines.generator.fused = ("felt",), {"felt": JUDGE_MODEL}
    assert run(*CREATE, "--images", "2", "--rounds", "1", "--policy", "felt", option) == 0
    assert bool(engines.scripted_judge.subjects) == imagined
    assert json.loads((tmp_path / "run/result.json").read_text())["request"]["imagine"] is imagined


def test_create_chooses_by_dominance_as_well_and_says_so_where_the_judge_says_none(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (*CREATE, "--images", "2", "--rounds", "1", "--dominance")
    assert run(*asked, "10") == 2
    assert "--dominance: is 10, it must lie in [1, 9]" in capsys.readouterr().err
    assert run(*asked, "7") == 1
    assert "the judge says it of no picture" in capsys.readouterr().err
    engines.scripted_judge.feeling = lambda seen: dataclasses.replace(
        assessment(7.5, 3.0), dominance=6.5 + seen.seed % 2
    )
    assert run(*asked, "7.5", "--resume") == 2  # the run in the folder was started with another
    assert "--dominance: the run in" in capsys.readouterr().err
    assert run(*asked, "7", "--resume", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["request"]["dominance"], result["best"]["loss"]) == (7, 0.5)
    assert "D 6.5" in (tmp_path / "run/report.html").read_text()


def test_it_says_once_which_words_the_profile_does_not_know(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines.generator.unknown_words = frozenset({"boat", "harbor,"})
    assert run(*CREATE, "--images", "2") == 0
    notes = capsys.readouterr().err.splitlines()
    assert notes == ["note: the nano profile doesn't know: boat", "note: the nano profile doesn't know: harbor,"]
    assert json.loads((tmp_path / "run/result.json").read_text())["unknown_words"] == ["boat", "harbor,"]


def test_a_subject_that_the_model_does_not_know_is_said_with_what_it_can_paint(
    engines: ScriptedEngines, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    engines.generator.unknown_words, engines.generator.subjects = frozenset({"boat"}), "a dog or a cat"
    assert run(*CREATE, "--images", "2", "--rounds", "1") == 0
    assert capsys.readouterr().err == "note: the nano profile doesn't know: boat; it can paint a dog or a cat\n"


def test_a_strict_run_refuses_it_before_it_paints_and_leaves_the_folder_free(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines.generator.unknown_words, engines.generator.subjects = frozenset({"boat"}), "a dog or a cat"
    assert run(*CREATE, "--strict") == 2
    assert "PROMPT: the nano profile doesn't know: boat; it can paint a dog or a cat" in capsys.readouterr().err
    assert engines.generator.images_done == 0
    assert list((tmp_path / "run").iterdir()) == []
    engines.generator.unknown_words = frozenset()
    assert run(*CREATE, "--strict", "--images", "1", "--rounds", "1") == 0


def test_what_can_not_be_left_out_is_said(
    engines: ScriptedEngines, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    engines.generator.unknown_words = frozenset({"without", "no", "trees"})
    asked = ("create", "a house without trees and no lake", *CREATE[2:], "--rounds", "1", "--images", "1")
    assert run(*asked) == 0
    assert capsys.readouterr().err.splitlines() == [
        "note: the nano profile doesn't know: without, trees, no",
        "note: the nano profile paints all that is named, also after: without, no",
    ]


def test_the_table_marks_what_lost_the_subject_and_cuts_long_prompts(
    engines: ScriptedEngines, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    long = "a boat, " + ", ".join(f"light number {i}" for i in range(40))
    engines.scripted_judge.rewrites = ()
    engines.scripted_judge.alignment = lambda picture, prompt: 0.9 if picture.seed else 0.1
    engines.scripted_judge.feeling = lambda picture: UNREADABLE if picture.seed else arbitrary_feeling(picture)
    assert run("create", long, *CREATE[2:], "--rounds", "1", "--images", "2") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "light number 5" in shown and "number 30" not in shown
    assert "\N{HORIZONTAL ELLIPSIS} (off subject)" in shown


def test_a_cut_run_resumes_to_what_it_would_have_been(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines.generator.failures = {(1, 2): Unavailable("the generator is gone")}
    assert run(*CREATE, "--images", "4") == 1
    said = capsys.readouterr().err
    assert "error: the generator is gone" in said
    assert "6 images and 1 finished round are kept" in said and "--resume" in said
    assert (tmp_path / "run/report.html").exists()
    engines.generator.failures = {}
    assert run(*CREATE, "--images", "4", "--resume") == 0
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert [r["index"] for r in result["rounds"]] == [0, 1, 2]
    assert len([r for r in engines.generator.requests if r.prompt == "a boat on the lake"]) == 1


def test_a_run_for_a_person_is_seen_with_their_eyes_and_resumed_for_them_only(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines.scripted_judge.calibrations = CalibrationStore(str(tmp_path))
    engines.scripted_judge.calibrations.write(known_of("ada", JUDGE_MODEL))
    engines.generator.failures = {(1, 1): Unavailable("the generator is gone")}
    asked = (*CREATE, "--images", "2", "--rounds", "2")
    assert run(*asked, "--user", "ada") == 1
    engines.generator.failures = {}
    capsys.readouterr()
    assert run(*asked, "--resume") == 2
    assert "error: --user: the run in" in capsys.readouterr().err
    assert run(*asked, "--resume", "--user", "ada") == 0
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["request"]["user"] == "ada"
    assert all(3 <= image["outcome"]["valence"] <= 5 for painted in result["rounds"] for image in painted["candidates"])
    assert set(engines.scripted_judge.users) == {"ada"}


def test_ctrl_c_keeps_what_is_painted_and_says_how_to_go_on(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines.generator.delay = 0.05

    def interrupt() -> None:
        while not list((tmp_path / "run").glob("round-1/image-*.png")):
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert run(*CREATE, "--rounds", "20", "--images", "64") == 130
    assert "the same command with --resume goes on from there" in capsys.readouterr().err
    assert list((tmp_path / "run").glob("round-1/image-*.png"))
    assert engines.generator.closed_early == 1


def test_a_full_disk_ends_the_run_and_keeps_the_images_before(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def full_at_the_sixth_image(part: Path, target: Path) -> Path:
        if target.name == "image-6.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(part, target)

    monkeypatch.setattr(Path, "replace", full_at_the_sixth_image)
    assert run(*CREATE) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "run/round-1").iterdir()) == [f"image-{i}.png" for i in range(1, 6)]


def test_a_judge_that_reads_nothing_still_leaves_a_run(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines.scripted_judge.feeling = lambda picture: UNREADABLE
    assert run(*CREATE, "--images", "2", "--rounds", "2") == 0
    assert "No answer" in capsys.readouterr().out
    assert json.loads((tmp_path / "run/result.json").read_text())["best"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("create", "", "--emotion", "awe"), "PROMPT: is empty"),
        (("create", "  \n ", "--emotion", "awe"), "PROMPT: is only white space"),
        (("create", "a" * 2001, "--emotion", "awe"), "PROMPT: has 2001 characters, at most 2000 are allowed"),
        (("create", "x", "--valence", "0.9", "--arousal", "3"), "--valence: is 0.9, it must lie in [1, 9]"),
        (("create", "x", "--valence", "3", "--arousal", "9.1"), "--arousal: is 9.1, it must lie in [1, 9]"),
        (("create", "x", "--valence", "nan", "--arousal", "inf"), "--valence: is nan"),
        (("create", "x", "--valence", "abc", "--arousal", "3"), "--valence: is 'abc', it must be a number"),
        (("create", "x", "--valence", "3"), "--arousal: is missing"),
        (("create", "x", "--emotion", "awe", "--rounds", "two"), "--rounds: is 'two', it must be a whole number"),
        (
            ("create", "--emotion", "awe"),
            'PROMPT: is missing, say what the picture shows: create "a boat"',
        ),
        (("create",), "PROMPT: is missing"),
        (("sweep",), "PROMPT: is missing, `emofeedback sweep --help` says more"),
        (("create", "x"), "feeling: is missing, say what it should feel like: --emotion awe, or --valence 7"),
        (
            ("create", "x", "--valence", "3", "--arousal", "3", "--emotion", "awe"),
            "--emotion, or --feel-like: has a point and an emotion",
        ),
        (("create", "x", "--emotion", "fera"), "--emotion: 'fera' is not one of amusement, awe, contentment"),
        (("create", "x", "--emotion", "fera"), "did you mean 'fear'?"),
        (("create", "x", "--emotion", "awe", "--profile", "sd15"), "--profile: 'sd15' is neither one of nano"),
        (("create", "x", "--emotion", "awe", "--rounds", "0"), "--rounds: is 0, it must lie in [1, 20]"),
        (("create", "x", "--emotion", "awe", "--rounds", "21"), "--rounds: is 21, it must lie in [1, 20]"),
        (("create", "x", "--emotion", "awe", "--images", "-1"), "--images: is -1, it must lie in [1, 64]"),
        (("create", "x", "--emotion", "awe", "--images", "65"), "--images: is 65, it must lie in [1, 64]"),
        (("create", "x", "--emotion", "awe", "--seed", "-1"), "--seed: is -1"),
        (("create", "x", "--emotion", "awe", "--user", "../ada"), "--user: is '../ada', it must be 1 to 200 letters"),
        (("create", "x", "--emotion", "awe", "--tolerance", "nan"), "--tolerance: is nan"),
        (("create", "x", "--emotion", "awe", "--time-budget", "-1"), "--time-budget: is -1"),
        (("create", "x", "--emotion", "awe", "--profile", "nano", "--address", "h:1"), "--profile: has no effect"),
        (("create", "x", "--emotion", "awe", "--address", "localhost"), "--address: 'localhost' is not HOST:PORT"),
        (("create", "x", "--emotion", "awe", "--address", ":9000"), "--address: ':9000' is not HOST:PORT"),
        (("sweep", "x", "--grid", "1"), "--grid: is 1, it must lie in [2, 9]"),
        (("sweep", "x", "--grid", "10"), "--grid: is 10, it must lie in [2, 9]"),
        (("sweep", "", "--grid", "2"), "PROMPT: is empty"),
    ],
)
def test_bad_input_is_one_line_that_names_the_option_and_loads_nothing(
    engines: ScriptedEngines,
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: tuple[str, ...],
    message: str,
) -> None:
    assert run(*changes, "--out", "OUT") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ") and message in said.err and said.err.count("\n") == 1
    assert engines.opened == 0 and not (tmp_path / "run").exists()


def test_a_folder_with_something_in_it_is_refused(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.tex").write_text("years of work")
    assert run(*CREATE) == 2
    assert f"error: --out: {tmp_path / 'run'} is not empty" in capsys.readouterr().err
    assert engines.opened == 0


def test_a_file_in_the_place_of_the_folder_is_refused(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").write_text("a file")
    assert run(*CREATE) == 2
    assert capsys.readouterr().err == f"error: --out: {tmp_path / 'run'} is a file: name a folder\n"
    assert engines.opened == 0


def test_a_run_that_is_not_there_is_begun_and_said_to_be(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = f"note: there is no run in {tmp_path / 'run'} to go on with: one begins there\n"
    assert run(*CREATE, "--resume") == 0
    assert capsys.readouterr().err == said
    assert run(*CREATE, "--resume") == 0
    assert capsys.readouterr().err == ""


def test_a_store_of_policies_beside_an_address_is_refused(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*CREATE, "--address", "127.0.0.1:9000", "--policies", "shelf") == 2
    assert "error: --policies: has no effect beside --address" in capsys.readouterr().err


def test_a_person_that_nothing_is_known_of_is_named_with_what_to_do(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines.scripted_judge.calibrations = CalibrationStore(str(tmp_path))
    assert run(*CREATE, "--user", "ada") == 1
    assert "error: there is no calibration for user 'ada'" in (said := capsys.readouterr().err)
    assert "`emofeedback calibrate` fits one" in said
    assert run(*CREATE, "--address", "127.0.0.1:9000", "--user", "ada", "--calibrations", "people") == 2
    assert "error: --calibrations: has no effect beside --address" in capsys.readouterr().err


def test_an_unknown_policy_is_named(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*CREATE, "--policy", "happier") == 1
    assert "error: there is no policy 'happier'" in capsys.readouterr().err


# --- the rest ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["create", "assess", "sweep", "serve"])
def test_every_command_helps_with_examples(
    run: Callable[..., int], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, "--help") == 0
    assert f"  emofeedback {command}" in capsys.readouterr().out


def test_serve_refuses_what_is_no_port(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("serve", "--port", "70000") == 2
    assert "error: --port: is 70000, it must lie in [1, 65535]" in capsys.readouterr().err
