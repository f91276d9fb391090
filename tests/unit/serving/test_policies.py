"""Services that paint with the policies of a named store."""

from pathlib import Path
from typing import Any

import pytest

from emofeedback.cli.main import main
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.serving import apps as serving
from emofeedback.serving import local as local_services


def replica_profile(args: serving.AppArgs, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The profile that a replica of the generator would be started with."""
    monkeypatch.setattr(serving, "_bound", lambda servicer, options, profile: profile)
    return serving.generator_app(args)


def test_replicas_take_their_policies_from_the_named_store(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = replica_profile(serving.AppArgs(policies="s3://shelf/policies"), monkeypatch)
    assert profile.generator.policies == "s3://shelf/policies"
    assert profile.generator.policy == ""  # the profile's own default is not in there


def test_without_a_store_the_profiles_own_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert replica_profile(serving.AppArgs(), monkeypatch) == NANO_PROFILE


@pytest.mark.parametrize(
    ("given", "found"), [("runs/policies", "{here}/runs/policies"), ("s3://shelf/x", "s3://shelf/x"), ("", "")]
)
def test_a_folder_means_the_same_in_every_process(
    given: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    started: list[str] = []
    monkeypatch.setattr(local_services, "serve_until_stopped", lambda *_, policies, **__: started.append(policies))
    assert main(["serve", "--policies", given]) == 0
    assert started == [found.format(here=tmp_path)]
