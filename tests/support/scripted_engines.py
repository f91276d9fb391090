"""Engines for the command whose models follow a script, behind the real loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from emofeedback.backends import Optimize, connect
from emofeedback.domain.assessment import Judge
from emofeedback.optimizer.loop import optimize
from emofeedback.profiles.builtin import NANO_PROFILE
from support.fakes import ScriptedGenerator, ScriptedJudge


@dataclass
class ScriptedEngines:
    """`opened` counts how often models were loaded."""

    generator: ScriptedGenerator = field(default_factory=ScriptedGenerator)
    scripted_judge: ScriptedJudge = field(default_factory=ScriptedJudge)
    profile: str | None = "nano"
    opened: int = 0

    def connect(
        self, profile: str | None, address: str | None, token: str, policies: str, calibrations: str
    ) -> ScriptedEngines:
        connect(profile, address, token, policies, calibrations)
        return self

    def judge(self) -> AbstractAsyncContextManager[Judge]:
        self.opened += 1
        return self._give_judge()

    def optimizer(self) -> AbstractAsyncContextManager[Optimize]:
        self.opened += 1
        return self._give_optimizer()

    @asynccontextmanager
    async def _give_judge(self) -> AsyncIterator[Judge]:
        yield self.scripted_judge

    @asynccontextmanager
    async def _give_optimizer(self) -> AsyncIterator[Optimize]:
        # As `scripted_services`: without the numbers that a trained policy reads behind every prompt, and any word may
        # be painted.
        settings = replace(NANO_PROFILE.optimizer, numeric_target=False, vocabulary="")
        yield partial(optimize, generator=self.generator, judge=self.scripted_judge, settings=settings)
