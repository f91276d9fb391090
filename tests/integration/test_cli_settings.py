"""Options that are not given: the environment's, then the user's file's, then the built-in ones."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emofeedback.cli import settings
from emofeedback.domain.errors import InvalidRequest, Unavailable
from support.scripted_services import ScriptedEngines


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, empty, in a home of its own."""
    for key in settings.KEYS:
        monkeypatch.delenv(f"EMOFEEDBACK_{key.upper()}", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = tmp_path / "home/.config/emofeedback/config.toml"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def filled(**given: Any) -> argparse.Namespace:
    nothing: dict[str, Any] = {
        "profile": None,
        "address": None,
        "token": "",
        "policies": "",
        "calibrations": "",
        "set": [],
        "user": "",
    }
    options = argparse.Namespace(**{"command": "create", **nothing, **given})
    settings.fill(options)
    return options


def test_an_option_goes_before_the_environment_before_the_file_before_what_is_built_in(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (filled().token, filled().out_root) == ("", "runs")
    file.write_text('token = "of the file"\nout = "~/pictures"\nuser = "ada"')
    assert filled().token == "of the file"
    assert filled().out_root == os.path.expanduser("~/pictures")  # noqa: PTH111
    monkeypatch.setenv("EMOFEEDBACK_TOKEN", "of the environment")
    monkeypatch.setenv("EMOFEEDBACK_OUT", "elsewhere")
    assert (filled().token, filled().out_root, filled().user) == ("of the environment", "elsewhere", "ada")
    assert filled(token="given").token == "given"


def test_where_the_work_is_done_is_chosen_as_a_whole(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('address = "gpu:9000"\npolicies = "s3://bucket/policies"')
    assert (filled().address, filled().policies) == ("gpu:9000", "")
    assert (filled(profile="nano").address, filled(profile="nano").policies) == (None, "s3://bucket/policies")
    for given in ({"profile": "nano"}, {"set": ["judge.max_batch=8"]}, {"policies": "shelf"}):
        assert filled(**given).address is None
    file.write_text('profile = "sd35-medium"')
    assert filled(address="gpu:9000").profile is None
    monkeypatch.setenv("EMOFEEDBACK_ADDRESS", "other:9000")
    assert (filled().address, filled().profile) == ("other:9000", None)
    assert filled(command="calibrate", calibrations="").address == "other:9000"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("adress = 'a:1'", "adress: is not one of profile, address"),
        ("adress = 'a:1'", "did you mean 'address'?"),
        ("token = 3", "token: is 3, it must be a text in quotes"),
        ("token = ", "is not TOML"),
        ("address = 'a:1'\nprofile = 'nano'", "profile: has no effect beside address"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(file: Path, content: str, problem: str) -> None:
    file.write_text(content)
    with pytest.raises(InvalidRequest) as raised:
        filled()
    assert problem in str(raised.value) and str(file) in str(raised.value)


def test_a_file_may_be_named_and_then_must_be_there(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "möglich weit weg.toml"
    monkeypatch.setenv("EMOFEEDBACK_CONFIG", str(other))
    with pytest.raises(InvalidRequest, match="EMOFEEDBACK_CONFIG"):
        filled()
    other.write_text('user = "ada"')
    assert filled().user == "ada"


def test_without_a_file_or_a_home_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    assert filled().out_root == "runs"


def test_the_command_takes_the_users_defaults(
    run: Callable[..., int], file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f'out = "{tmp_path / "pictures"}"')
    create = ("create", "A boat, far out!", "--emotion", "awe", "--images", "1", "--rounds", "1")
    for _ in range(2):
        assert run(*create) == 0
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"a-boat-far-out", "a-boat-far-out-2"}
    result = json.loads((tmp_path / "pictures/a-boat-far-out-2/result.json").read_text())
    assert result["request"]["prompt"] == "A boat, far out!"
    file.write_text('address = "nonsense"')
    assert run(*create) == 2
    assert "--address: 'nonsense' is not HOST:PORT" in capsys.readouterr().err


def test_a_cut_run_whose_folder_nobody_named_goes_on_by_the_same_command_with_resume(
    engines: ScriptedEngines, run: Callable[..., int], file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f'out = "{tmp_path / "pictures"}"')
    create = ("create", "a boat", "--emotion", "awe", "--images", "2", "--rounds", "2")
    assert run(*create, "--resume") == 2
    assert "--out: is missing, and there is no run in" in capsys.readouterr().err
    assert run(*create) == 0
    engines.generator.failures = {(3, 1): Unavailable("the generator is gone")}
    assert run(*create) == 1
    assert "the same command with --resume goes on from there" in capsys.readouterr().err
    engines.generator.failures = {}
    assert run(*create, "--resume") == 0
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"a-boat", "a-boat-2"}
    assert json.loads((tmp_path / "pictures/a-boat-2/result.json").read_text())["stopped_because"] == "rounds"
