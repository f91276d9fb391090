"""The three services as Ray Serve applications: separate, each with its own replicas and its own scaling.

The `*_app` builders are what a Serve configuration names as `import_path` (`serve_config`). Each gives its deployment
the options of the profile; Serve lets a configuration's own `deployments` go before them.
"""

# No `from __future__ import annotations`: Serve makes an `AppArgs` of a configuration's arguments only where the
# builder's annotation is the class itself.

import os
from typing import Any

from pydantic import BaseModel

from emofeedback.client import AsyncClient
from emofeedback.domain.limits import TOKEN_VARIABLE
from emofeedback.generator.servicer import GeneratorServicer
from emofeedback.judge.decoding import LARGE_NICENESS
from emofeedback.judge.servicer import JudgeServicer
from emofeedback.observability.replica import watch_replica
from emofeedback.optimizer.servicer import PromptOptimizerServicer
from emofeedback.profiles.overrides import load_profile
from emofeedback.profiles.profile import Profile, with_policies
from emofeedback.serving.autoscaling import IMAGE_STEPS, TOKENS
from emofeedback.serving.config import ADDRESS
from emofeedback.serving.options import Application, deployment_options

_MODELS_NICENESS = 19 - LARGE_NICENESS
"""Of the thread that a model is loaded in, and of those that it starts: they leave the CPUs to the proxy, and to
whatever else the machine does. 19 is the most there is, and who decodes large pictures leaves them to the models."""


class AppArgs(BaseModel, extra="forbid"):
    """Arguments of an application in a Serve configuration."""

    profile: str = "nano"
    policies: str = ""
    """fsspec URI of a store of policies that the generator takes instead of the profile's."""
    address: str = ADDRESS
    """Where the optimizer finds the other two."""
    pool: str = ""
    """Pool of nodes that the replicas run on; empty: wherever their resources are."""
    scaling: dict[str, int | float] = {}
    """Fields of the profile's `Scaling` for this application that are other than there."""


class GeneratorDeployment(GeneratorServicer):
    """A replica of the generator."""

    def __init__(self, profile: Profile) -> None:
        from emofeedback.generator.local import LocalGenerator

        os.nice(_MODELS_NICENESS)
        watch_replica("generator", device=profile.generator.device)
        self._engine = LocalGenerator.load(profile.generator)
        super().__init__(self._engine, _token())

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What Serve asks for, for `serving.autoscaling.WorkPolicy`."""
        return {IMAGE_STEPS: self._engine.pending_image_steps}


class JudgeDeployment(JudgeServicer):
    """A replica of the judge, with the scorer beside it."""

    def __init__(self, profile: Profile) -> None:
        from emofeedback.judge.local import LocalJudge

        os.nice(_MODELS_NICENESS)
        watch_replica("judge", device=profile.judge.device)
        self._local = LocalJudge.load(profile.judge)
        super().__init__(self._local, _token())

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """As the generator's."""
        return {TOKENS: self._local.pending_tokens}


class PromptOptimizerDeployment(PromptOptimizerServicer):
    """A replica of the agent: a gRPC client of the other two."""

    def __init__(self, profile: Profile, address: str) -> None:
        watch_replica("optimizer")
        client = AsyncClient(address, token=_token(), priority="interactive")
        super().__init__(client.generator, client.judge, profile.optimizer, _token())


def generator_app(args: AppArgs) -> Any:
    """The application "generator"."""
    profile = load_profile(args.profile)
    profile = with_policies(profile, args.policies) if args.policies else profile
    return _bound(GeneratorDeployment, _options(profile, "generator", args), profile)


def judge_app(args: AppArgs) -> Any:
    """The application "judge"."""
    profile = load_profile(args.profile)
    return _bound(JudgeDeployment, _options(profile, "judge", args), profile)


def optimizer_app(args: AppArgs) -> Any:
    """The application "optimizer"."""
    profile = load_profile(args.profile)
    return _bound(PromptOptimizerDeployment, _options(profile, "optimizer", args), profile, args.address)


def _options(profile: Profile, name: Application, args: AppArgs) -> dict[str, Any]:
    return deployment_options(profile, name, changes=args.scaling, pool=args.pool)


def _bound(servicer: type, options: dict[str, Any], *args: Any) -> Any:
    from ray import serve

    return serve.deployment(servicer).options(**options).bind(*args)


def _token() -> str:
    return os.environ.get(TOKEN_VARIABLE, "")
