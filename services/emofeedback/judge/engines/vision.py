"""The vision tower's attention in few calls: all windows of one size at once.

A Qwen2.5-VL looks at a picture in windows of up to 64 patches, and transformers asks for each window's attention by
itself where there is no flash attention: 5,632 calls for 8 pictures of 512 pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VLVisionAttention,
    apply_rotary_pos_emb_vision,
)


class WindowsAtOnce(Qwen2_5_VLVisionAttention):  # type: ignore[misc]
    """Attention within the windows of a batch of pictures, for inference."""

    def forward(
        self,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        **unused: Any,
    ) -> Tensor:
        """As in transformers.

        Args:
            hidden_states: the patches of all windows one after another, shape (patches, width).
            cu_seqlens: where the windows begin, and the end of the last, shape (windows + 1,).
            position_embeddings: cosines and sines of the patches' places, shape (patches, width of a head) each.
        """
        count = len(hidden_states)
        query, key, value = self.qkv(hidden_states).reshape(count, 3, self.num_heads, -1).unbind(1)
        query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)
        starts, sizes = cu_seqlens[:-1], cu_seqlens.diff()
        attended = torch.empty_like(value)
        for size in set(sizes.tolist()):
            patches = starts[sizes == size, None] + torch.arange(size, device=starts.device)
            q, k, v = (of_all[patches].transpose(1, 2) for of_all in (query, key, value))
            attended[patches] = F.scaled_dot_product_attention(q, k, v, scale=self.scaling).transpose(1, 2)
        projected: Tensor = self.proj(attended.reshape(count, -1))
        return projected


def windows_at_once(tower: Any) -> None:
    """Makes every attention of a Qwen2.5-VL vision tower compute its windows together."""
    for block in tower.blocks:
        block.attn.__class__ = WindowsAtOnce
