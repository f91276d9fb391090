"""The learner: turns a rollout and its advantages into one update of a LoRA adapter.

It needs the transformer alone, since prompts arrive encoded. The reference policy is the same transformer with its
adapter switched off. The old policy is the adapter as it is when a rollout arrives: its velocities are computed here,
by the kernels and in the batches of the update itself, so that the first ratio is exactly 1. How far that is from what
the generator recorded is measured, not corrected. Rows of the first step take their own velocities for the old ones,
which they are; only its first micro-batch is computed twice, to show that they are. Where the generator's
log-probabilities are then seen to be those of the learner, later steps take them instead of computing them again.

Under `torch.distributed` every process learns from its share of the groups and gradients are summed, so N processes
take the same step as one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from diffusers import SD3Transformer2DModel
from torch import Tensor, nn

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback_trainer.flow_grpo.batches import (
    LearnableGroup,
    NoisedRows,
    StepRows,
    first_inputs,
    learnable_groups,
    noised_batches,
    step_batches,
)
from emofeedback_trainer.flow_grpo.learning import LearnerConfig, TrainingIntegrityError, UpdateMetrics
from emofeedback_trainer.flow_grpo.lora import AdaptedTransformer
from emofeedback_trainer.flow_grpo.terms import Before, Terms, diffusion_nft_terms, grpo_terms
from emofeedback_trainer.flow_grpo.types import Rollout

__all__ = ["Learner", "LearnerConfig", "TrainingIntegrityError", "UpdateMetrics"]

_MOMENTS = ("exp_avg", "exp_avg_sq")
"""Of AdamW, for every weight."""


class _StepFigures(NamedTuple):
    """What accumulating a step's gradients has shown, over all processes."""

    means: Tensor
    """Of loss, divergence and clipped rows, shape (3,) on the CPU."""
    drift: float
    """Mean; see `Terms`."""
    largest_deviation: float
    largest_drift: float


class Learner:
    """Owns the adapter, its average and the optimizer. Not thread-safe.

    Args:
        transformer: its weights are frozen, moved to `device` and converted to `dtype`, in which it computes; the
            adapter, latents and all that follows from velocities are float32.
        dtype: bfloat16 or float16 on a GPU, float32 on a CPU.

    Raises:
        As `AdaptedTransformer`.
    """

    def __init__(
        self,
        transformer: SD3Transformer2DModel,
        config: LearnerConfig,
        *,
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> None:
        self.config = config
        self._device, self._dtype = torch.device(device), dtype
        self._policy = AdaptedTransformer(
            transformer,
            rank=config.rank,
            alpha=config.lora_alpha,
            modules=config.target_modules,
            seed=config.seed,
            device=self._device,
            dtype=dtype,
            gradient_checkpointing=config.gradient_checkpointing,
        )
        self._weights = self._policy.weights
        self._averages = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._optimizer = torch.optim.AdamW(
            self._weights.values(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._rank, self._world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self._bytes_a_row: int | None = None
        self.steps = 0
        """Optimizer steps done."""

    @property
    def modules(self) -> int:
        """Linear layers that the adapter changes."""
        return self._policy.modules

    def digest(self) -> str:
        """Digest of the adapter as it is; see `AdaptedTransformer.digest`."""
        return self._policy.digest()

    def adapter(self, *, averaged: bool) -> dict[str, Tensor]:
        """A copy of the adapter's weights, or of their running average: float32 on the CPU, by PEFT's names (what
        diffusers' `save_lora_weights` takes as `transformer_lora_layers`)."""
        weights = self._averages if averaged else self._weights
        return {name: weight.detach().cpu().clone() for name, weight in weights.items()}

    def probe(self) -> Tensor:
        """See `AdaptedTransformer.probe`."""
        return self._policy.probe()

    def update(self, rollout: Rollout, advantages: Sequence[Sequence[float]]) -> UpdateMetrics:
        """Learn from one rollout; where no group teaches anything, nothing changes.

        Args:
            advantages: of every sample of every group, in the rollout's order.

        Raises:
            TrainingIntegrityError: the first ratio is not 1 or a loss is not finite (that step is then not taken), or
                the steps did not move the model.
            InvalidRequest: groups have fewer samples than there are optimizer steps, or no noisy steps; or see
                `learnable_groups`.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(self.config.threads or threads)
        try:
            return self._update(rollout, advantages)
        finally:
            torch.set_num_threads(threads)

    def _update(self, rollout: Rollout, advantages: Sequence[Sequence[float]]) -> UpdateMetrics:
        groups = learnable_groups(rollout, advantages)
        dropped = len(rollout.groups) - len(groups)
        if not groups:
            return UpdateMetrics(groups=0, groups_dropped=dropped)
        if min(len(group.group.samples) for group in groups) < self.config.optimizer_steps:
            raise InvalidRequest.of("learner.optimizer_steps", "a group must have at least one sample for each")
        count = sum(self._rows(group) for group in groups)
        if not count:
            raise InvalidRequest.of("learner.objective", "flow-grpo learns from noisy steps, and the rollout has none")
        weights, probe = [weight.detach().clone() for weight in self._weights.values()], self.probe()
        share = groups[self._rank :: self._world]
        batches = self._batches(share, rollout.iteration)
        before = self._before(batches)
        sums, norms, deviation, drift = torch.zeros(3), [], 0.0, 0.0
        for step in range(self.config.optimizer_steps * self.config.num_inner_epochs):
            part = step % self.config.optimizer_steps
            rows = sum(self._rows(group, part) for group in groups)
            of_step = self._accumulate(batches[part], before[part], rows, first=step == 0)
            if step == 0:
                deviation, drift = of_step.largest_deviation, of_step.drift
                self._require_ratio_one(deviation)
                if not self._trusted(of_step.largest_drift):
                    for later in range(1, self.config.optimizer_steps):
                        self._remember_old(batches[later], before[later])
            norms.append(self._step(of_step.means))
            sums += of_step.means * rows
        self._require_moved(weights, probe)
        loss, kl, clipped = (sums / (count * self.config.num_inner_epochs)).tolist()
        return UpdateMetrics(
            loss=loss,
            kl=kl,
            clip_fraction=clipped,
            ratio_deviation=deviation,
            log_probability_drift=drift,
            gradient_norm=sum(norms) / len(norms),
            groups=len(groups),
            groups_dropped=dropped,
        )

    def state(self) -> dict[str, Tensor]:
        """All that a resumed learner needs, as flat tensors on the CPU: adapter, average, optimizer, steps done."""
        tensors = {"steps": torch.tensor(self.steps)}
        for name, weight in self._weights.items():
            tensors[f"adapter.{name}"] = weight.detach().cpu().clone()
            tensors[f"average.{name}"] = self._averages[name].cpu().clone()
            for moment in _MOMENTS if self.steps else ():
                tensors[f"{moment}.{name}"] = self._optimizer.state[weight][moment].cpu().clone()
        return tensors

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state()`: on a CPU the next weights are those of an uninterrupted learner, to the bit.

        Raises:
            FailedPrecondition: it is the state of a learner of another shape.
        """
        own = {name: tensor.shape for name, tensor in self.state().items() if not name.startswith(_MOMENTS)}
        if any(name not in state or state[name].shape != shape for name, shape in own.items()):
            raise FailedPrecondition("the checkpoint is of an adapter with another rank or other modules")
        self.steps = int(state["steps"])
        self._optimizer.state.clear()
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state[f"adapter.{name}"])
                self._averages[name].copy_(state[f"average.{name}"])
                if self.steps:
                    moments = {moment: state[f"{moment}.{name}"].to(self._device).clone() for moment in _MOMENTS}
                    self._optimizer.state[weight] = {"step": torch.tensor(float(self.steps)), **moments}

    # --- one pass, one step ---------------------------------------------------------------------------------------

    def _rows(self, group: LearnableGroup, part: int | None = None) -> int:
        """Rows of a group in one part of a pass, or in all of them."""
        samples = len(group.group.samples)
        if part is not None:
            samples = len(range(part, samples, self.config.optimizer_steps))
        of_sample = group.group.window.length if self.config.objective == "flow-grpo" else self.config.nft_levels
        return samples * of_sample

    def _batches(self, groups: Sequence[LearnableGroup], iteration: int) -> Sequence[Sequence[StepRows | NoisedRows]]:
        """The micro-batches of every part of a pass; none where this process has no group."""
        parts = self.config.optimizer_steps
        if not groups:
            return [[]] * parts
        size = self._micro_batch(groups)
        if self.config.objective == "flow-grpo":
            return step_batches(groups, parts=parts, size=size, device=self._device)
        return noised_batches(
            groups,
            parts=parts,
            size=size,
            device=self._device,
            levels=self.config.nft_levels,
            seed=(self.config.seed, iteration),
        )

    def _micro_batch(self, groups: Sequence[LearnableGroup]) -> int:
        """Rows of a forward: `micro_batch`, or fewer that keep no more than `activation_gib`, and at least 1."""
        if not self.config.activation_gib:
            return self.config.micro_batch
        if self._bytes_a_row is None:  # rows are all alike
            self._bytes_a_row = self._policy.bytes_a_row(first_inputs(groups, self._device))
        fitting = int(self.config.activation_gib * 2**30 / self._bytes_a_row)
        return max(1, min(self.config.micro_batch, fitting))

    @torch.no_grad()
    def _before(self, batches: Sequence[Sequence[StepRows | NoisedRows]]) -> list[list[Before]]:
        """What must be known of every micro-batch of every part before the first step is tried."""
        before = [[Before(old=None, reference=None) for _ in of_part] for of_part in batches]
        self._remember_old(batches[0][:1], before[0][:1])
        if self.config.beta:
            with self._policy.reference():
                for of_part, known_of_part in zip(batches, before, strict=True):
                    for batch, known in zip(of_part, known_of_part, strict=True):
                        known.reference = self._policy.velocities(batch.inputs)
        return before

    @torch.no_grad()
    def _remember_old(self, batches: Sequence[StepRows | NoisedRows], before: Sequence[Before]) -> None:
        """Fills in what the policy, as it is, says of the micro-batches."""
        for batch, known in zip(batches, before, strict=True):
            known.old = self._policy.velocities(batch.inputs)

    def _trusted(self, largest_drift: float) -> bool:
        """Whether the log-probabilities that the generator recorded can stand for the old policy's own."""
        return not self.config.needs_old_means and largest_drift <= self.config.ratio_tolerance

    def _accumulate(
        self, batches: Sequence[StepRows | NoisedRows], before: Sequence[Before], rows: int, *, first: bool
    ) -> _StepFigures:
        """Gradients of one step, averaged over all `rows` of all processes; the `first` is that of the old policy."""
        sums, largest = torch.zeros(4, device=self._device), torch.zeros(2, device=self._device)
        self._optimizer.zero_grad(set_to_none=False)
        scale = 1.0
        for batch, known in zip(batches, before, strict=True):
            velocities = self._policy.velocities(batch.inputs)
            if first and known.old is None:
                known.old = velocities.detach()
            terms = self._terms(batch, velocities, known.old, known.reference)
            losses = terms.loss + self.config.beta * terms.kl
            if self._dtype == torch.float16:
                # Two means make a velocity's gradient tiny, too small for float16; without them it is about 1.
                scale = float(rows * velocities[0].numel())
            (losses.sum() / rows * scale).backward()  # type: ignore[no-untyped-call]
            metrics = (losses, terms.kl, terms.clipped, terms.drift)
            sums += torch.stack([metric.detach().sum() / rows for metric in metrics])
            largest = torch.maximum(largest, torch.stack([terms.deviation.max(), terms.drift.max()]))
        gradients = [self._gradient(weight) for weight in self._weights.values()]
        flat = self._over_all(torch.cat([gradient.flatten() for gradient in gradients]) / scale)
        for gradient, mean in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))
        *means, drift = self._over_all(sums).tolist()
        largest_deviation, largest_drift = self._over_all(largest, dist.ReduceOp.MAX).tolist()
        return _StepFigures(torch.tensor(means), drift, largest_deviation, largest_drift)

    def _step(self, means: Tensor) -> float:
        """One step of optimizer and average along the accumulated gradients; returns their norm."""
        norm = nn.utils.clip_grad_norm_(self._weights.values(), self.config.max_grad_norm).item()
        if not means.isfinite().all() or not math.isfinite(norm):
            raise TrainingIntegrityError(f"step {self.steps + 1}: the loss or its gradient is not finite")
        self._optimizer.step()
        self.steps += 1
        for name, weight in self._weights.items():
            self._averages[name].lerp_(weight.detach(), 1 - self.config.ema_decay)
        return norm

    def _terms(
        self, batch: StepRows | NoisedRows, velocities: Tensor, old: Tensor | None, reference: Tensor | None
    ) -> Terms:
        if isinstance(batch, NoisedRows):
            assert old is not None
            return diffusion_nft_terms(batch, velocities, old, reference, strength=self.config.nft_beta)
        return grpo_terms(
            batch,
            velocities,
            old,
            reference,
            clip_range=self.config.clip_range,
            ratio_normalization=self.config.ratio_normalization,
            kl_mask_threshold=self.config.kl_mask_threshold,
        )

    def _over_all(self, values: Tensor, operation: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> Tensor:
        """`values` of all processes together."""
        if self._world > 1:
            dist.all_reduce(values, operation)
        return values

    @staticmethod
    def _gradient(weight: nn.Parameter) -> Tensor:
        """Zeros where this process had no group to learn from."""
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        return weight.grad

    # --- honesty --------------------------------------------------------------------------------------------------

    def _require_ratio_one(self, deviation: float) -> None:
        if not deviation <= self.config.ratio_tolerance:
            raise TrainingIntegrityError(
                f"the first ratio is {deviation:.1e} away from 1, {self.config.ratio_tolerance:.1e} is allowed: "
                "the model does not say the same twice"
            )

    def _require_moved(self, weights: Sequence[Tensor], probe: Tensor) -> None:
        if all(map(torch.equal, weights, self._weights.values())):
            raise TrainingIntegrityError("the adapter is the same after an update as before it")
        if torch.equal(self.probe(), probe):
            raise TrainingIntegrityError("the adapter has changed and the model's velocities have not: it is not bound")
