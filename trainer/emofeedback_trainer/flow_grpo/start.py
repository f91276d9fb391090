"""The policy that a run begins with, in place of the base weights.

Its adapter becomes part of the learner's frozen weights, so what a run learns starts at nothing and is held near to
that policy. What is published has both changes in one adapter: their factors side by side, rank + rank wide, which add
up to the same. The connector of a fused policy stays as it is and goes along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from safetensors import SafetensorError
from torch import Tensor

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import ModelInfo
from emofeedback.generator.connector import Fused, read_connector
from emofeedback.generator.policy_store import WEIGHTS
from emofeedback_trainer.flow_grpo.config import start_place

_PART = "transformer."


@dataclass(frozen=True, eq=False, kw_only=True)
class Start:
    """A published policy, read."""

    base: ModelInfo
    """What it was made for."""
    rank: int
    adapter: Mapping[str, Tensor]
    """PEFT's state at scale 1, float32: `<module>.lora_A.weight` (rank, in), `<module>.lora_B.weight` (out, rank)."""
    fused: Fused | None
    """None: it reads no emotion tokens."""

    @torch.no_grad()
    def merge_into(self, transformer: SD3Transformer2DModel) -> None:
        """Adds what it changes to the weights of its base model.

        Raises:
            FailedPrecondition: the transformer has no such layers.
        """
        for module in _modules(self.adapter):
            down, up = self.adapter[f"{module}.lora_A.weight"], self.adapter[f"{module}.lora_B.weight"]
            try:
                weight = transformer.get_submodule(module).weight
                weight += (up @ down).to(weight)
            except (AttributeError, RuntimeError) as error:
                raise FailedPrecondition(f"start: the policy does not fit the model: {error}") from error

    def with_learned(self, learned: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
        """Its adapter and a learned one as one of both ranks together, to be published at scale 1.

        Args:
            learned: PEFT's state, as `adapter`, of any rank.
            scale: what the learned one's change is multiplied by.
        """
        rank = next(iter(learned.values())).shape[0 if next(iter(learned)).endswith("lora_A.weight") else 1]
        joined = {}
        for module in sorted(_modules(self.adapter) | _modules(learned)):
            for side, axis, factor in (("A", 0, 1.0), ("B", 1, scale)):
                key = f"{module}.lora_{side}.weight"
                other = self.adapter.get(key, learned.get(key))
                assert other is not None
                parts = []
                for found, width in ((self.adapter.get(key), self.rank), (learned.get(key), rank)):
                    size = list(other.shape)
                    size[axis] = width
                    parts.append(other.new_zeros(size) if found is None else found)
                joined[key] = torch.cat([parts[0], parts[1] * factor], dim=axis)
        return joined


def read_start(uri: str) -> Start:
    """The policy in a folder of a store, at any fsspec address.

    Raises:
        InvalidRequest: as `start_place`.
        NotFound: there is none; the message names those that are beside it.
        FailedPrecondition: it is damaged, or no plain adapter.
        Unavailable: the store can't be read.
    """
    store, name = start_place(uri)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        manifest = store.fetch(name, folder)
        try:
            weights, metadata = StableDiffusion3Pipeline.lora_state_dict(
                str(folder / WEIGHTS), use_safetensors=True, return_lora_metadata=True
            )
            scale = (metadata or {}).get(f"{_PART}lora_alpha", manifest.rank) / manifest.rank
            adapter = {
                key.removeprefix(_PART): weight.float() * (scale if key.endswith("lora_B.weight") else 1.0)
                for key, weight in weights.items()
            }
            if 2 * len(_modules(adapter)) != len(adapter) or len(_modules(adapter)) != manifest.modules:
                raise ValueError("holds something else than pairs of lora_A.weight and lora_B.weight")
            fused = None
            if (fusion := manifest.fusion) is not None:
                connector = read_connector(folder, {"tokens": fusion.tokens, "judge_width": fusion.width})
                fused = Fused(connector=connector, judge=fusion.judge, variations=fusion.variations)
        except (KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
            raise FailedPrecondition(f"start: policy {name!r} can't be gone on from: {error}") from error
    return Start(
        base=ModelInfo(name=manifest.base_name, digest=manifest.base_digest),
        rank=manifest.rank,
        adapter=adapter,
        fused=fused,
    )


def _modules(adapter: Mapping[str, Tensor]) -> set[str]:
    return {key.rsplit(".lora_", 1)[0] for key in adapter}
