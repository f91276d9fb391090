"""The connector of a fused policy: from a judge's emotion tokens to what the transformer reads beside the prompt.

Rows = null + scale * change, so that a scale of 0 is the null rows, which a fused policy has learned to read as no
emotion at all. A fresh connector changes nothing but for the null rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from safetensors.torch import load_file, save
from torch import Tensor, nn

from emofeedback.domain.generation import ModelInfo
from emofeedback.generator.policy_store import CONNECTOR_CONFIG, CONNECTOR_WEIGHTS
from emofeedback.generator.prompts import Embedding


class EmotionConnector(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Reads the states of a judge's reasoning tokens (after EmoSym, ACM MM 2025)."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        tokens: int,
        judge_width: int,
        context_width: int,
        pooled_width: int,
        width: int,
        heads: int,
        layers: int,
    ) -> None:
        """A fresh one.

        Args:
            tokens: reasoning tokens of the judge, K.
            judge_width: width of their states.
            context_width: of the transformer's context (`joint_attention_dim`).
            pooled_width: of the transformer's pooled projection.
            width: inside.
        """
        super().__init__()
        self.norm = nn.LayerNorm(judge_width)
        self.enter = nn.Linear(judge_width, width)
        self.places = nn.Parameter(torch.randn(tokens, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.leave = nn.Linear(width, context_width)
        self.pool = nn.Linear(width, pooled_width)
        for last in (self.leave, self.pool):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.null = nn.Parameter(torch.zeros(tokens, context_width))

    def forward(self, states: Tensor, scale: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """The rows that follow a prompt's own, and what is added to its pooled projection.

        Args:
            states: shape (batch, tokens, judge width).
            scale: how much they count, one number or shape (batch,); 0: the null rows and zeros.

        Returns:
            Shapes (batch, tokens, context width) and (batch, pooled width).
        """
        thought = self.encoder(self.enter(self.norm(states)) + self.places)
        scales = torch.as_tensor(scale, device=states.device, dtype=states.dtype).expand(len(states))
        rows = self.null + scales[:, None, None] * self.leave(thought)
        return rows, scales[:, None] * self.pool(thought.mean(dim=1))


@dataclass(frozen=True, eq=False, kw_only=True)
class EmotionRows:
    """What one variation of a judge's emotion tokens says to the transformer, beside a prompt."""

    rows: Tensor
    """Shape (tokens, context width)."""
    pooled: Tensor
    """Shape (pooled width,)."""
    null: Tensor
    """What says nothing, shape (tokens, context width)."""

    def behind(self, prompt: Embedding) -> Embedding:
        """The prompt and what is felt."""
        return Embedding(
            tokens=torch.cat([prompt.tokens, self.rows.to(prompt.tokens)]),
            pooled=prompt.pooled + self.pooled.to(prompt.pooled),
        )

    def nothing_behind(self, prompt: Embedding) -> Embedding:
        """A negative prompt of as many rows, without a feeling."""
        return Embedding(tokens=torch.cat([prompt.tokens, self.null.to(prompt.tokens)]), pooled=prompt.pooled)


@dataclass(frozen=True, eq=False, kw_only=True)
class Fused:
    """A connector, and whose tokens it has learned to read."""

    connector: EmotionConnector
    """In float32."""
    judge: ModelInfo
    variations: int
    """Imaginations that the judge has learned."""

    @torch.inference_mode()
    def read(self, states: Tensor, scale: float) -> EmotionRows:
        """One variation, always alone: on a CPU its numbers must not depend on company.

        Args:
            states: shape (tokens, judge width).
            scale: how much they count; 0: not at all.
        """
        rows, pooled = self.connector(states[None].to(self.connector.null), scale)
        return EmotionRows(rows=rows[0], pooled=pooled[0], null=self.connector.null.detach())


def connector_files(connector: EmotionConnector) -> dict[str, bytes]:
    """A connector as the files of its policy, by their names in it; the same weights give the same bytes."""
    weights = {name: weight.detach().cpu().contiguous() for name, weight in connector.state_dict().items()}
    return {
        CONNECTOR_CONFIG: connector.to_json_string().encode(),
        CONNECTOR_WEIGHTS: save(weights, {"format": "pt"}),
    }


def read_connector(folder: Path, expected: Mapping[str, int]) -> EmotionConnector:
    """The connector among the files of a policy, in float32 on the CPU.

    Args:
        expected: numbers of its configuration, that its policy or the transformer asks for.

    Raises:
        KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError: it is none, or not such a one, or holds
            NaN or infinity.
    """
    connector = EmotionConnector.from_config(json.loads((folder / CONNECTOR_CONFIG).read_text(encoding="utf-8")))
    for name, number in expected.items():
        if (found := connector.config[name]) != number:
            raise ValueError(f"{name} is {found}, it must be {number}")
    connector.load_state_dict(load_file(folder / CONNECTOR_WEIGHTS))
    damaged = [name for name, weight in connector.state_dict().items() if not weight.isfinite().all()]
    if damaged:
        raise ValueError(f"has NaN or infinity in {damaged[0]}")
    return connector.eval().requires_grad_(False)  # type: ignore[no-any-return]
