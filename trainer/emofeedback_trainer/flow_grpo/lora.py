"""The transformer whose LoRA adapter learns: velocities with it and without, guided where the rollout was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from diffusers import SD3Transformer2DModel
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.tensors import from_torch
from emofeedback.generator.flow import TRAIN_STEPS, guided
from emofeedback.generator.norms import norms_in_one_kernel
from emofeedback.generator.rows import keep_rows_steady
from emofeedback_trainer.core.cpu_attention import PlainAttention
from emofeedback_trainer.core.cpu_linear import products_by_onednn
from emofeedback_trainer.flow_grpo.batches import Inputs

_NAME = "default"


class AdaptedTransformer:
    """A frozen transformer and the adapter on it, which changes nothing yet: its second factor starts at 0.

    Args:
        transformer: moved to `device` and converted to `dtype`, in which it computes.
        modules: endings of the names of the linear layers that the adapter changes.
        seed: of the first factor's random weights.
        gradient_checkpointing: keep only what goes in and out of the blocks, and compute the rest again backwards.

    Raises:
        InvalidRequest: the transformer has no layer of one of the names.
        FailedPrecondition: the adapter was not bound to every layer of these names.
    """

    def __init__(
        self,
        transformer: SD3Transformer2DModel,
        *,
        rank: int,
        alpha: int,
        modules: Sequence[str],
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        gradient_checkpointing: bool = False,
    ) -> None:
        self._transformer = transformer.to(device).eval()
        if device.type == "cpu":
            keep_rows_steady(transformer)  # as the generator's, so that both round alike
        else:
            norms_in_one_kernel(transformer)  # likewise
        if transformer.dtype != dtype:
            transformer.to(dtype)
        self._device, self._dtype = device, dtype
        if device.type == "cpu" and not self._low:
            products_by_onednn(transformer)
        self.rank, self.alpha = rank, alpha
        if gradient_checkpointing:
            transformer.enable_gradient_checkpointing(self._checkpointed)
        self.weights: dict[str, nn.Parameter] = _bind(transformer, rank, alpha, modules, seed)
        """float32, by PEFT's names without the adapter's: `transformer_blocks.0.attn.to_q.lora_A.weight`."""

    @property
    def device(self) -> torch.device:
        """Where the transformer computes."""
        return self._device

    @property
    def modules(self) -> int:
        """Linear layers that the adapter changes."""
        return len(_bound_layers(self.weights))

    def digest(self) -> str:
        """`sha256:` and 64 hex digits over the adapter's names, shapes and values."""
        digest = hashlib.sha256()
        for name in sorted(self.weights):
            digest.update(f"{name} {tuple(self.weights[name].shape)} ".encode())
            digest.update(from_torch(self.weights[name]).data)
        return f"sha256:{digest.hexdigest()}"

    def velocities(self, inputs: Inputs) -> Tensor:
        """The policy's velocities for every row, float32, shape of the latents.

        Where there is guidance no gradient flows into the unconditional half, as in Flow-GRPO's own code: what is
        learned is how to follow a prompt, and half of the way back need not be computed or remembered.
        """
        conditional = self._forward(inputs.latents, inputs.sigmas, inputs.prompt)
        if inputs.negative is None:
            return conditional
        with torch.no_grad():
            unconditional = self._forward(inputs.latents, inputs.sigmas, inputs.negative)
        return guided(unconditional, conditional, inputs.guidance)

    def bytes_a_row(self, inputs: Inputs) -> int:
        """What a forward keeps for its way back, for each row of it. With checkpointing, without what a single block
        computes again.

        Args:
            inputs: one row.
        """
        return self._kept(inputs.repeated(2)) - self._kept(inputs)  # weights are kept once

    def _kept(self, inputs: Inputs) -> int:
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            velocities = self.velocities(inputs)
        del velocities  # held until now, or memory would be counted that others have already
        return sum(kept.values())

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Without the adapter, for as long as the context lasts."""
        self._transformer.disable_adapters()
        try:
            yield
        finally:
            self._transformer.enable_adapters()

    @torch.no_grad()
    def probe(self) -> Tensor:
        """The velocity for four latents and prompts that never change: it moves when the adapter does.

        Returns:
            float32, shape (4, channels, 4 patches, 4 patches).
        """
        config, random = self._transformer.config, torch.Generator().manual_seed(0)
        side = 4 * config.patch_size

        def drawn(*shape: int) -> Tensor:
            return torch.randn(4, *shape, generator=random).to(self._device)

        sigmas = torch.tensor([0.9, 0.7, 0.5, 0.3], device=self._device)
        prompt = drawn(8, config.joint_attention_dim), drawn(config.pooled_projection_dim)
        return self._forward(drawn(config.in_channels, side, side), sigmas, prompt)

    @property
    def _low(self) -> bool:
        return self._dtype != torch.float32

    def _attention(self) -> AbstractContextManager[Any]:
        return PlainAttention() if self._low and self._device.type == "cpu" else nullcontext()

    def _checkpointed(self, block: nn.Module, *inputs: Any) -> Any:
        # What is computed again must be computed in the same way.
        return checkpoint(block, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), self._attention()))

    def _forward(self, latents: Tensor, sigmas: Tensor, prompt: tuple[Tensor, ...]) -> Tensor:
        tokens, pooled = prompt
        with torch.autocast(self._device.type, self._dtype, enabled=self._low), self._attention():
            velocities: Tensor = self._transformer(
                hidden_states=latents.to(self._dtype),
                timestep=sigmas * TRAIN_STEPS,
                encoder_hidden_states=tokens.to(self._dtype),
                pooled_projections=pooled.to(self._dtype),
                return_dict=False,
            )[0]
        return velocities.float()


def _bind(
    transformer: SD3Transformer2DModel, rank: int, alpha: int, modules: Sequence[str], seed: int
) -> dict[str, nn.Parameter]:
    layers = [name for name, module in transformer.named_modules() if isinstance(module, nn.Linear)]
    expected: set[str] = set()
    for module in modules:
        meant = {name for name in layers if f".{name}".endswith(f".{module}")}
        if not meant:
            raise InvalidRequest.of("learner.target_modules", f"the transformer has no linear layer {module!r}")
        expected |= meant
    transformer.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(modules), init_lora_weights="gaussian")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        transformer.add_adapter(config, adapter_name=_NAME)
    weights: dict[str, nn.Parameter] = {}
    for name, parameter in transformer.named_parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
            weights[name.replace(f".{_NAME}.", ".")] = parameter
    for module in transformer.modules():
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = False  # to the factors' float32, whence autocast would bring it back
    bound = _bound_layers(weights)
    if bound != expected:
        raise FailedPrecondition(f"the adapter is bound to {len(bound)} layers of the transformer, not {len(expected)}")
    return weights


def _bound_layers(weights: Mapping[str, Tensor]) -> set[str]:
    return {name.rsplit(".lora_", 1)[0] for name in weights}
