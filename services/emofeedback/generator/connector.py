"""The connector of a fused policy: from a judge's emotion tokens to what the transformer reads beside the prompt.

Rows = null + scale * change, so that a scale of 0 is the null rows, which a fused policy has learned to read as no
emotion at all. A fresh connector changes nothing but for the null rows.
"""

from __future__ import annotations

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn


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
