"""Attention for training on CPUs: plain matrix products, several times faster backwards on short sequences in bf16."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class PlainAttention(TorchFunctionMode):
    """While active, `scaled_dot_product_attention` is two matrix products and a softmax.

    Measured with 32 sequences of 100 tokens, 5 heads of 32, bf16, one core: 19 ms forward and backward instead of
    134 ms with torch 2.13's fused kernel. On long sequences or other devices the fused kernel is the better one.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if dropout_p or enable_gqa:
        raise NotImplementedError("plain attention has neither dropout nor grouped queries")
    logits = (query * (scale or 1.0 / math.sqrt(query.shape[-1]))) @ key.transpose(-1, -2)
    if is_causal:
        attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        logits = logits.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        logits = logits + attn_mask.to(logits.dtype)
    return torch.softmax(logits, dim=-1).to(value.dtype) @ value
