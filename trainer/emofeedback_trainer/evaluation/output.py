"""What the measurements' commands have in common: options, models, and how metrics are shown and kept."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from emofeedback.backends import Engines, connect
from emofeedback.cli.parsing import ADDRESSES
from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import Generator
from emofeedback.domain.limits import BASE_POLICY, TOKEN_VARIABLE
from emofeedback.generator.policy_store import resolved
from emofeedback.generator.preflight import check_policies
from emofeedback.in_process import local
from emofeedback.observability.console import say
from emofeedback.profiles.overrides import load_profile
from emofeedback.profiles.profile import Profile
from emofeedback.storage.files import json_bytes, write_keeping
from emofeedback_trainer.evaluation.language_model import LANGUAGE_MODEL_TOKEN, ChatModel, Converses, Remembering

T = TypeVar("T")

OUR_JUDGE = "judge"
"""As a language model's address: our own judge."""


def add_judge_options(parser: argparse.ArgumentParser) -> None:
    """Which judge is asked."""
    parser.add_argument("--profile", help="a built-in profile or a .toml file (default: nano)")
    parser.add_argument("--address", help=f"running services, instead of engines in this process: {ADDRESSES}")


def add_language_model_options(parser: argparse.ArgumentParser) -> None:
    """Which language model gives its opinion of answers in prose."""
    parser.add_argument(
        "--by",
        help=f"who reads answers in prose: the address of an OpenAI-compatible endpoint, such as "
        f"http://127.0.0.1:8000/v1 (its token is read from {LANGUAGE_MODEL_TOKEN}), or {OUR_JUDGE!r}",
    )
    parser.add_argument("--by-model", default="", help="name of the model at that address")
    parser.add_argument(
        "--opinions", type=Path, help="file that keeps what it said (default: beside --responses, .opinions.jsonl)"
    )


def language_model(arguments: argparse.Namespace, judge: Judge | None) -> Converses | None:
    """The language model that the options name, which is asked nothing twice; None where they name none.

    Args:
        judge: ours, which is to be had where `arguments.by` is `OUR_JUDGE`.

    Raises:
        InvalidRequest: what is no address, or no name of a model; or the file of opinions is none.
    """
    if arguments.by is None:
        return None
    if arguments.by == OUR_JUDGE:
        assert judge is not None
        asked: Converses = judge
    else:
        token = os.environ.get(LANGUAGE_MODEL_TOKEN, "")
        asked = ChatModel(address=arguments.by, name=arguments.by_model, token=token)
    return Remembering(asked, arguments.opinions or arguments.responses.with_suffix(".opinions.jsonl"))


def add_policy_options(parser: argparse.ArgumentParser) -> None:
    """Which generator works with which policy, and on what it is measured."""
    parser.add_argument("--profile", default="nano", help="a built-in profile or a .toml file (default: nano)")
    parser.add_argument(
        "--policy", help=f"name of the policy; default: the profile's own; {BASE_POLICY!r}: without one"
    )
    parser.add_argument("--policies", help="folder or fsspec URI of the store that holds it; default: the profile's")
    parser.add_argument(
        "--task",
        default="nano",
        help="whose held-out pairs are asked for: as `prompts` of a training configuration (default: nano)",
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """How many units, drawn how, shown where."""
    parser.add_argument("--limit", type=int, help="measure only so many")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn, the intervals too (default: 0)")
    parser.add_argument("--out", type=Path, help="folder for table.md and metrics.json")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def policy_profile(arguments: argparse.Namespace) -> Profile:
    """The profile with the policy that the options name as its default; with none where that is the base.

    Raises:
        InvalidRequest: no such profile, or a policy without a store that could hold it.
        NotFound: the store has no such policy.
    """
    if arguments.limit is not None and arguments.limit < 2:
        raise InvalidRequest.of("limit", f"is {arguments.limit}, it must be 2 or more")
    profile = load_profile(arguments.profile)
    store = arguments.policies or profile.generator.policies
    policy = resolved(arguments.policy or "", "" if arguments.policies else profile.generator.policy)
    if policy and not store:
        raise InvalidRequest.of("policies", f"is missing, and the profile has no store that holds {policy!r}")
    profile = replace(profile, generator=replace(profile.generator, policies=store, policy=policy))
    check_policies(profile.generator, [""])
    return profile


def with_engines(profile: Profile, work: Callable[[Generator, Judge], Awaitable[T]]) -> T:
    """What `work` makes with a profile's generator and judge in this process.

    Raises:
        FailedPrecondition: their models can't be had, or don't run here.
    """
    opened = local(profile)

    async def run() -> T:
        async with opened as engines:
            return await work(engines.generator, engines.judge)

    return asyncio.run(run())


def engines_of(arguments: argparse.Namespace) -> Engines:
    """The engines that the options name; nothing heavy happens yet.

    Raises:
        InvalidRequest: as `connect`, or the limit is below 1.
    """
    if arguments.limit is not None and arguments.limit < 1:
        raise InvalidRequest.of("limit", f"is {arguments.limit}, it must be 1 or more")
    return connect(arguments.profile, arguments.address, os.environ.get(TOKEN_VARIABLE, ""))


def present(arguments: argparse.Namespace, *, content: dict[str, Any], table: str) -> None:
    """Prints the metrics, as JSON where that is asked for, and keeps both forms where there is a folder; those of an
    earlier measurement stay beside them, as `table-1.md`."""
    if arguments.out:
        write_keeping(arguments.out / "table.md", f"{table}\n".encode(errors="backslashreplace"))
        write_keeping(arguments.out / "metrics.json", json_bytes(content))
    say(json.dumps(content, indent=2) if arguments.json else table)
