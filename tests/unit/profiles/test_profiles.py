"""Profiles by name, from files, the environment and `KEY=VALUE`: every key has its range, and a refusal names it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.cli.main import main
from emofeedback.domain.errors import InvalidRequest
from emofeedback.profiles.builtin import NANO_PROFILE, PROFILES, SD35_MEDIUM_PROFILE
from emofeedback.profiles.overrides import changed, flat, load_profile, schema, to_toml
from emofeedback.profiles.profile import Profile

BAD = [0, -1, math.nan, math.inf, -math.inf, "nonsense", "", True, [], {}, None, 10**400, 1.5]


def written(folder: Path, content: str | bytes) -> str:
    file = folder / "mine.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(file)


def refused(source: str, changes: list[str] | None = None) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        load_profile(source, changes or [])
    return {violation.field: violation.problem for violation in caught.value.violations}


@pytest.mark.parametrize(
    ("table", "line", "key", "problem"),
    [
        ("generator", 'dtype = "fp16"', "generator.dtype", "it must be 'float32', 'bfloat16' or 'float16'"),
        ("generator", "guidance = nan", "generator.guidance", "is nan, it must be a finite number"),
        ("generator", "max_batch = 0", "generator.max_batch", "is 0, it must be at least 1"),
        ("judge", "max_pixels = 0", "judge.max_pixels", "is 0, it must be at least 784"),
        ("generator", 'max_batch = "4"', "generator.max_batch", "is '4', it must be a whole number"),
        ("serving.judge", "min_replicas = 2", "serving.judge.max_replicas", "is 1, it must be at least 2"),
        ("judge", 'reasoner = "cpu"', "judge.reasoner", "is cpu, it must be empty"),
        (
            "generator",
            "max_btach = 1",
            "generator.max_btach",
            "vocabulary, width; did you mean 'max_batch'?",
        ),
        ("generator", "max_batch.size = 1", "generator.max_batch", "it must be a whole number"),
    ],
)
def test_a_key_that_is_wrong_is_named_with_what_it_may_be(
    table: str, line: str, key: str, problem: str, tmp_path: Path
) -> None:
    [(field, told)] = refused(written(tmp_path, f'extends = "nano"\n[{table}]\n{line}\n')).items()
    assert field == key and problem in told


def test_the_command_refuses_a_profile_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "[generator]\nmax_batch = 0\n")
    words = ["create", "a cat", "--emotion", "awe", "--profile", file, "--out", str(tmp_path / "out")]
    assert main([*words, "--set", "judge.device=tpu"]) == 2
    expected = "generator.max_batch: is 0, it must be at least 1; judge.device: is 'tpu', it must be 'cpu' or 'cuda'"
    assert capsys.readouterr().err == f"error: {expected}\n"
    assert not (tmp_path / "out").exists()


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, "colour = 1\ngenerator.steps = 0\nserving.judge.cpus = -1\njudge = 3\n")
    assert refused(file).keys() == {"colour", "generator.steps", "serving.judge.cpus", "judge"}


@given(key=st.sampled_from(sorted(flat(NANO_PROFILE))), value=st.sampled_from(BAD))
def test_any_value_of_any_key_gives_a_profile_or_a_refusal_that_names_the_key(key: str, value: Any) -> None:
    try:
        profile = changed(NANO_PROFILE, {key: value})
    except InvalidRequest as error:
        of_the_pair = {key, key.replace("min_replicas", "max_replicas")}
        assert error.violations and {violation.field for violation in error.violations} <= of_the_pair
    else:
        kept = flat(profile)[key]
        assert kept == value and type(kept) is type(flat(NANO_PROFILE)[key])
        assert not isinstance(kept, float) or math.isfinite(kept)


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_a_command_line_says_is_read_or_refused(key: str, value: str) -> None:
    try:
        assert isinstance(load_profile("nano", [f"{key}={value}"]), Profile)
    except InvalidRequest as error:
        assert error.violations


def test_a_byte_order_mark_changes_nothing(tmp_path: Path) -> None:
    profile = load_profile(written(tmp_path, b'\xef\xbb\xbfextends = "nano"\r\n[generator]\r\nsteps = 8\r\n'))
    assert (profile.name, profile.generator.steps) == ("mine", 8)


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, "generator.steps = 8\ngenerator.guidance = 3\njudge.max_batch = 2\n")
    monkeypatch.setenv("EMOFEEDBACK_PROFILE__GENERATOR__STEPS", "9")
    monkeypatch.setenv("EMOFEEDBACK_PROFILE__GENERATOR__GUIDANCE", "4")
    profile = load_profile(file, ["generator.guidance=5.5", "judge.checkpoint=C:\\new"])
    assert (profile.generator.steps, profile.generator.guidance, profile.judge.max_batch) == (9, 5.5, 2)
    assert profile.judge.checkpoint == "C:\\new"
    monkeypatch.setenv("EMOFEEDBACK_PROFILE__GENERATOR__STEPS", "many")
    assert refused("nano") == {"generator.steps": "is 'many', it must be a whole number"}


@pytest.mark.parametrize("source", ["giga", "no.toml", "a" * 5000 + ".toml", "nul\0.toml", ""])
def test_what_is_no_profile_is_refused_with_those_there_are(source: str) -> None:
    assert "neither one of nano, sd35-medium, sd35-medium-24gb nor an existing .toml file" in refused(source)["profile"]


@pytest.mark.parametrize("content", [b"[generator", b"\xc3(", b"a = 1" + b"0" * 5000, b"a = " + b"[" * 5000])
def test_what_is_no_toml_is_refused(content: bytes, tmp_path: Path) -> None:
    assert "is not TOML" in refused(written(tmp_path, content))["profile"]


def test_toml_of_any_depth_is_refused_in_words(tmp_path: Path) -> None:
    assert "is nested too deeply" in refused(written(tmp_path, b"a." * 6000 + b"b = 1"))["profile"]


@pytest.mark.parametrize("word", ["generator.steps", "=3", ""])
def test_a_change_has_a_key_and_a_value(word: str) -> None:
    assert "is not of the form KEY=VALUE" in refused("nano", [word])["--set"]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_profile_that_was_shown_is_read_back_as_it_was(profile: Profile, tmp_path: Path) -> None:
    assert load_profile(written(tmp_path, to_toml(profile))) == profile


def test_a_profile_is_shown_with_its_changes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "sd35-medium", "--set", "generator.steps=7"]) == 0
    assert "generator.steps = 7\n" in capsys.readouterr().out


def test_the_schema_says_what_a_file_may_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--schema"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads(json.dumps(schema(PROFILES)))
    jsonschema.validate({"extends": "sd35-medium", "generator": {"steps": 3}}, shown)
    for wrong in ({"extends": "giga"}, {"generator": {"steps": 0}}, {"judge": {"engine": "sglang"}}, {"colour": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, shown)
    steps = shown["$defs"]["GeneratorSettings"]["properties"]["steps"]
    assert steps["description"] == "Default sampling steps of a call."


def test_the_commands_name_every_built_in_profile(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["create", "--help"])
    told = capsys.readouterr().out
    assert all(name in told for name in PROFILES)


def test_built_in_profiles_differ_by_their_names() -> None:
    assert load_profile("sd35-medium") == SD35_MEDIUM_PROFILE != NANO_PROFILE == load_profile("nano")


def test_the_client_needs_nothing_that_only_the_engines_need(tmp_path: Path) -> None:
    script = f"""
import sys
sys.modules |= dict.fromkeys(("numpy", "torch", "fsspec", "PIL", "ray"))
from emofeedback.client import AsyncClient, Client
from emofeedback.cli.main import main
words = ["create", "a cat", "--emotion", "awe", "--out", {str(tmp_path / "out")!r}]
sys.exit(main(words) * 10 + main(["profile"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 10 and done.stderr.count("pip install 'emofeedback[nano]'") == 1
