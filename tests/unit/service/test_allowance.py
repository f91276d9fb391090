"""A run's configuration is a client's text: it gets of the service's machine what the service allows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.training import RunRequest
from emofeedback_trainer.flow_grpo.config import CONFIGS
from emofeedback_trainer.service.allowance import ITS_OWN, Allowance, read_allowance
from emofeedback_trainer.service.supervisor import checked


def refused(config: str, allowance: Allowance = ITS_OWN) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as error:
        checked(RunRequest(name="calm", config=config), allowance)
    return {violation.field: violation.problem for violation in error.value.violations}


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ('address = "collector.example:80"\npolicies = "p"', "config.address"),
        ('policies = "file:///etc"', "config.policies"),
        ('policies = "https://collector.example/"', "config.policies"),
        ('policies = "runs/other/policies"', "config.policies"),
        ('prompts = "/dev/zero"', "config.prompts"),
        ('rewards.own = 0.1\nrewards.function = "os:abort"', "config.rewards.function"),
        ('profile = "/etc/profile.toml"', "config.profile"),
        ("iterations = 1_000_000", "config.iterations"),
        ("groups = 1000", "config.groups"),
        ("groups = 64\nnum_generations = 64", "config.num_generations"),
        ("workers = 500", "config.workers"),
    ],
)
def test_what_is_not_the_services_own_is_refused_by_its_key(config: str, field: str) -> None:
    assert field in refused(config)


def test_everything_that_is_not_allowed_is_told_at_once() -> None:
    assert refused('address = "a:1"\npolicies = "file:///x"\nworkers = 99').keys() == {
        "config.address",
        "config.policies",
        "config.workers",
    }


def test_nothing_is_opened_before_it_is_allowed(tmp_path: Path) -> None:
    pipe = tmp_path / "profile.toml"
    os.mkfifo(pipe)  # whoever opened it would wait for ever
    assert refused(f'profile = "{pipe}"')["config.profile"].startswith(f"'{pipe}' is not allowed by this service")


def test_what_the_built_in_configurations_ask_for_is_allowed() -> None:
    for name in CONFIGS:
        config, policies = checked(RunRequest(name="calm", config=f'extends = "{name}"\n'))
        assert config.startswith('name = "calm"\n') and policies == ""


def test_what_the_service_names_is_allowed_and_stores_with_what_lies_below() -> None:
    allowance = read_allowance(
        ['addresses=["feel:9000"]', 'policies=["s3://shelf/policies"]', "iterations=50", 'prompts=["/data/p.jsonl"]']
    )
    for store in ("s3://shelf/policies", "s3://shelf/policies/calm"):
        config = f'address = "feel:9000"\npolicies = "{store}"\nprompts = "/data/p.jsonl"\niterations = 50'
        assert checked(RunRequest(name="calm", config=config), allowance)[1] == store
    for store in ("s3://shelf/policies-of-others", "s3://shelf/policies/../others", "s3://shelf"):
        assert "config.policies" in refused(f'policies = "{store}"\niterations = 50', allowance)
    assert refused("iterations = 51", allowance) == {"config.iterations": "is 51, this service allows 50"}


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("addresses", "--allow: 'addresses'"),
        ("colour=1", "colour: unknown key"),
        ("groups=x", "groups: is 'x'"),
    ],
)
def test_an_option_that_cant_be_read_is_named(word: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        read_allowance([word])
