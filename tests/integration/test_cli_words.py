"""What the command says of words it does not know, how fast it helps, and how it ends when nobody reads any more."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from emofeedback.cli.main import main
from emofeedback.domain.affect import LEXICON, Emotion
from emofeedback_trainer.cli import main as train
from support.pictures import encoded, red

ROOT = Path(__file__).parents[2]
PACKAGES = os.pathsep.join(str(ROOT / part) for part in ("services", "trainer"))


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("creat", "a boat"), "'create'"),
        (("Assess", "a.png"), "'assess'"),
        (("create", "a boat", "--emotoin", "awe"), "'--emotion'"),
        (("create", "a boat", "--emotion", "contentmant"), "'contentment'"),
        (("create", "a boat", "--emotion", "awe", "--profile", "nanno"), "'nano'"),
        (("create", "a boat", "--emotion", "awe", "--profile", "sd35-medum"), "'sd35-medium'"),
        (("sweep", "a boat", "--gird=3"), "'--grid'"),
        (("completion", "bsh"), "'bash'"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest_one(
    run: Callable[..., int], words: tuple[str, ...], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    assert f"did you mean {meant}?" in said


def test_nothing_is_suggested_where_nothing_is_near(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("xyzzy") == 2
    assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "emotion"),
    [("Awe", Emotion.AWE), (" FEAR ", Emotion.FEAR), ("joy", Emotion.EXCITEMENT), ("Sad", "sadness")],
)
def test_emotions_are_known_in_capitals_and_by_near_words(
    run: Callable[..., int], tmp_path: Path, said: str, emotion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("create", "a boat", "--emotion", said, "--rounds", "1", "--images", "1", "--out", "OUT") == 0
    target = json.loads((tmp_path / "run/result.json").read_text())["request"]["target"]
    point = LEXICON[Emotion(emotion)].point
    assert (target["valence"], target["arousal"]) == (point.valence, point.arousal)
    notes = capsys.readouterr().err
    is_one = said.strip().casefold() == emotion
    assert notes == (
        "" if is_one else f"note: {said} is not one of the eight emotions, the nearest is taken: {emotion}\n"
    )


def test_help_comes_at_once() -> None:
    environment = {**os.environ, "PYTHONPATH": PACKAGES}
    imported = "import sys; from emofeedback.cli.main import main\ntry: main(['--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", imported], env=environment, capture_output=True, text=True, check=True)
    heavy = {"rich", "pydantic", "jinja2", "asyncio", "grpc", "numpy", "PIL", "torch"}
    assert heavy.isdisjoint(done.stdout.split())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [sys.executable, "-m", "emofeedback", "--help"]
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert took < 0.3, "of the processor: how long people wait depends on what else is running"


@pytest.mark.parametrize(
    "command", ["create", "assess", "calibrate", "sweep", "serve", "profile", "deploy", "completion"]
)
def test_every_command_helps_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"examples:\n  emofeedback {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve"], "Run the three services until Ctrl-C; SIGTERM lets calls finish."),
        (["studio"], "Open all of it in the browser, until Ctrl-C."),
        (["deploy", "doctor"], "Say what a cluster lacks; fails where something is missing."),
    ],
)
def test_help_says_what_a_command_is_for_in_its_own_capitals(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    assert said in capsys.readouterr().out


def test_a_command_without_words_names_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().err == "error: COMMAND: is missing, `emofeedback --help` says more\n"


@pytest.mark.parametrize(
    ("command", "example"),
    [
        ("nano eyes", "emofeedback-train nano eyes"),
        ("nano generator", "torchrun --nproc-per-node 2 --no-python emofeedback-train nano generator"),
        ("nano judge", "emofeedback-train nano judge\n"),
        ("runs create", "emofeedback-train runs create calm --config"),
        ("runs show", "emofeedback-train runs show calm"),
    ],
)
def test_commands_of_the_trainers_commands_help_with_their_own_examples(
    command: str, example: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train([*command.split(), "--help"])
    _, _, examples = capsys.readouterr().out.partition("examples:\n")
    assert example in examples
    assert all(f"{command}" in line for line in examples.splitlines())


def test_help_says_what_an_address_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["create"], ["assess"]):
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        said = " ".join(capsys.readouterr().out.split())
        assert "HOST:PORT" in said and "https://HOST" in said


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_learns_commands_options_and_their_files(shell: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "emofeedback", "completion", shell],
        env={**os.environ, "PYTHONPATH": PACKAGES},
        capture_output=True,
        text=True,
        check=True,
    )
    for word in ("create", "assess", "--emotion", "--prompts", "--resume"):
        assert word in done.stdout
    if shell == "bash":
        script = tmp_path / "emofeedback"
        script.write_text(done.stdout)
        asked = (
            f'source "{script}"; COMP_WORDS=(emofeedback cre); COMP_CWORD=1; '
            '_shtab_emofeedback emofeedback cre; echo "${COMPREPLY[@]}"'
        )
        answer = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
        assert answer.stdout.split() == ["create"]


@pytest.mark.parametrize(
    "words",
    [
        ["emofeedback", "profile", "--schema"],
        ["emofeedback", "completion", "bash"],
        ["emofeedback_trainer", "schema", "flow-grpo"],
    ],
)
def test_whoever_stops_reading_ends_the_command_without_a_word(words: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        env={**os.environ, "PYTHONPATH": PACKAGES},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert (process.wait(timeout=300), process.stderr.read()) == (141, b"")


@pytest.mark.parametrize(
    ("package", "imported"),
    [("emofeedback", "emofeedback.cli.main"), ("emofeedback_trainer", "emofeedback_trainer.cli")],
)
def test_ctrl_c_while_a_command_is_imported_is_no_traceback(package: str, imported: str) -> None:
    interrupted = f"""
import sys
class CtrlC:
    def find_spec(self, name, *_):
        if name == {imported!r}: raise KeyboardInterrupt
sys.meta_path.insert(0, CtrlC())
from {package}.__main__ import main
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", interrupted], env={**os.environ, "PYTHONPATH": PACKAGES}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (130, "")
    scripts = [
        tomllib.loads((ROOT / part / "pyproject.toml").read_text())["project"]["scripts"] for part in ("", "trainer")
    ]
    assert f"{package}.__main__:main" in {script for each in scripts for script in each.values()}


def test_results_of_pictures_are_piped_into_head(tmp_path: Path) -> None:
    for index in range(8):
        (tmp_path / f"{index}.png").write_bytes(encoded(red(size=(64, 64))))
    words = f"{shlex.quote(sys.executable)} -m emofeedback assess {tmp_path} --json | head -n 1"
    done = subprocess.run(
        ["bash", "-c", words], env={**os.environ, "PYTHONPATH": PACKAGES}, capture_output=True, text=True, timeout=300
    )
    assert json.loads(done.stdout)["path"].endswith("0.png")
    assert done.stderr == f"note: {tmp_path}: 8 pictures\n"


def test_what_a_message_tells_to_install_there_is() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    sources = [path for part in ("services", "trainer") for path in (ROOT / part).rglob("*.py")]
    named = {
        name for path in sources for name in re.findall(r"pip install 'emofeedback\[([^\]]*)\]'", path.read_text())
    }
    assert named and {each for names in named for each in names.split(",")} <= extras.keys()


def test_the_trainer_says_in_a_sentence_what_is_not_installed() -> None:
    without = "import sys\nfor name in ('sklearn', 'scipy', 'numpy', 'torch', 'rich'): sys.modules[name] = None\n"
    asked = "from emofeedback_trainer.cli import main; sys.exit(main(['evaluate', '--help']))"
    done = subprocess.run(
        [sys.executable, "-c", without + asked],
        env={**os.environ, "PYTHONPATH": PACKAGES},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    said = r"emofeedback-train: evaluate needs the trainer's packages \(\w+ is missing\): "
    assert re.fullmatch(said + r"pip install emofeedback-trainer\n", done.stderr)


@pytest.mark.parametrize(
    ("words", "meant"), [(["flow-gppo"], "'flow-grpo'"), (["schema", "flow-gprpo"], "'flow-grpo'")]
)
def test_the_trainer_names_the_nearest_word_too(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train(words)
    assert f"did you mean {meant}?" in capsys.readouterr().err
