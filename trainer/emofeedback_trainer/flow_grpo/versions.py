"""The versions of a run's policy: published under names that never change, the newest few kept."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from emofeedback.domain.generation import ModelInfo
from emofeedback.generator.policy_store import PolicyStore
from emofeedback_trainer.core.publish import NameTakenError, publish
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig
from emofeedback_trainer.flow_grpo.start import Start


@dataclass(frozen=True, kw_only=True)
class PolicyVersion:
    """One immutable version of the policy."""

    base: ModelInfo
    name: str
    digest: str
    """Of the adapter's file."""
    fused: bool = False
    """Whether it reads emotion tokens."""


@dataclass(frozen=True, kw_only=True)
class Versions:
    """Publishes a run's adapters in its store."""

    config: FlowGrpoConfig
    store: str
    """fsspec URI."""
    base: ModelInfo
    start: Start | None = None
    """What the run began with; None: the base weights."""

    def publish(self, iteration: int, adapter: Mapping[str, Tensor]) -> PolicyVersion:
        """The policy after so many iterations; raises as `policies.publish`."""
        return self._publish(f"{self.config.name}-{iteration:06d}", iteration, adapter, strength=1.0)

    def publish_final(self, iteration: int, adapter: Mapping[str, Tensor]) -> PolicyVersion:
        """What the run leaves behind, at the configuration's `final_strength`; raises as `policies.publish`.

        It is called `<name>-final`. Where an earlier end of the run has that name, its iterations stand behind it
        (`<name>-final-000240`), and where that is taken as well, its strength too (`<name>-final-000240-0.5`).
        """
        strength, final = self.config.final_strength, f"{self.config.name}-final"
        for name in (final, f"{final}-{iteration:06d}"):
            with contextlib.suppress(NameTakenError):
                return self._publish(name, iteration, adapter, strength=strength)
        return self._publish(f"{final}-{iteration:06d}-{strength:g}", iteration, adapter, strength=strength)

    def forget(self, iteration: int) -> None:
        """Deletes the run's policies that are not among the newest after so many iterations, nor on the panel's record.

        Raises:
            Unavailable, FailedPrecondition: the store can't be reached or used.
        """
        ours = re.compile(rf"{re.escape(self.config.name)}-(\d{{6}})")
        store = PolicyStore(self.store)
        for name in store.names():
            match = ours.fullmatch(name)
            if match is None:
                continue
            age = int(match[1])
            if age <= iteration - self.config.keep_policies and age % self.config.panel.every:
                with store.opened() as (files, root):
                    files.rm(f"{root}/{name}", recursive=True)

    def _publish(self, name: str, iteration: int, adapter: Mapping[str, Tensor], *, strength: float) -> PolicyVersion:
        learner, start = self.config.learner, self.start
        rank, alpha = learner.rank, learner.lora_alpha * strength
        if start is not None:
            adapter = start.with_learned(adapter, alpha / rank)
            rank, alpha = start.rank + rank, start.rank + rank
        fused = start.fused if start is not None else None
        published = publish(
            self.store,
            name,
            adapter,
            rank=rank,
            alpha=alpha,
            base=self.base,
            run=self.config.name,
            step=iteration,
            fused=fused,
        )
        return PolicyVersion(base=self.base, name=name, digest=published.digest, fused=fused is not None)
