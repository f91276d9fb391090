"""From a prompt to what the transformer reads: two CLIP text encoders and, where the checkpoint has one, a T5.

The same numbers as diffusers' StableDiffusion3Pipeline.encode_prompt, with two decisions of our own:

1. Diffusers cuts a long prompt after the last token that fits, in the middle of a word if need be. Here each encoder
   reads the prompt up to the last phrase or word that fits, and the engine tells its caller. A numeric target behind
   the prompt (`affect.target_phrase`) is always read.
2. Where the transformer's context is as wide as the two CLIPs together, the model never had a T5 and gets no T5
   tokens. Where it is wider and the T5 was left out, the T5's tokens are zero, as in diffusers.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import (
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerBase,
    T5EncoderModel,
    T5TokenizerFast,
)

from emofeedback.domain.affect import split_target
from emofeedback.domain.text import shorten

_KEPT = 32
"""Encoded prompts that are kept: those of the calls in hand."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Embedding:
    """One encoded prompt."""

    tokens: Tensor
    """Shape (tokens, context width)."""
    pooled: Tensor
    """Shape (both CLIP projections together,)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PromptEncoder:
    """The text encoders of a checkpoint."""

    clips: tuple[tuple[CLIPTokenizer, CLIPTextModelWithProjection], tuple[CLIPTokenizer, CLIPTextModelWithProjection]]
    t5: tuple[T5TokenizerFast, T5EncoderModel] | None
    context_width: int
    """What the transformer reads a token as (`joint_attention_dim`)."""
    max_t5_tokens: int
    _tokenizing: Lock = field(default_factory=Lock)
    """A tokenizer keeps truncation and padding as state, so two threads must not use it at once."""
    _encoded: OrderedDict[str, Embedding] = field(default_factory=OrderedDict)
    """The last prompts, the latest one at the end; gone with the encoder."""

    @property
    def _clip_limit(self) -> int:
        # Diffusers takes the first tokenizer's limit for both.
        return int(self.clips[0][0].model_max_length)

    def shortened(self, prompt: str) -> str:
        """The part of a prompt that the longest-reading encoder reads; the prompt itself where all of it fits."""
        parts = [self._fitting(prompt, tokenizer, self._clip_limit) for tokenizer, _ in self.clips]
        if self.t5:
            parts.append(self._fitting(prompt, self.t5[0], self.max_t5_tokens))
        return max(parts, key=len)

    def encode(self, prompt: str) -> Embedding:
        """Encode one prompt; from one thread only. Always one at a time, so that a prompt's numbers never depend on its
        company."""
        if prompt not in self._encoded:
            self._encoded[prompt] = self._encode(prompt)
            if len(self._encoded) > _KEPT:
                self._encoded.popitem(last=False)
        self._encoded.move_to_end(prompt)
        return self._encoded[prompt]

    def _encode(self, prompt: str) -> Embedding:
        with torch.inference_mode():
            read = [self._read_clip(prompt, *clip) for clip in self.clips]
            tokens = torch.cat([hidden for hidden, _ in read], dim=-1)
            tokens = pad(tokens, (0, self.context_width - tokens.shape[-1]))
            tokens = torch.cat([tokens, self._read_t5(prompt, like=tokens)], dim=0)
            return Embedding(tokens=tokens, pooled=torch.cat([pooled for _, pooled in read], dim=-1))

    def _read_clip(
        self, prompt: str, tokenizer: CLIPTokenizer, model: CLIPTextModelWithProjection
    ) -> tuple[Tensor, Tensor]:
        """The last but one layer's tokens and the projected summary."""
        ids = self._token_ids(prompt, tokenizer, self._clip_limit)
        output = model(ids.to(model.device), output_hidden_states=True)
        return output.hidden_states[-2][0], output.text_embeds[0]

    def _read_t5(self, prompt: str, *, like: Tensor) -> Tensor:
        if self.t5:
            tokenizer, model = self.t5
            ids = self._token_ids(prompt, tokenizer, self.max_t5_tokens)
            tokens: Tensor = model(ids.to(like.device))[0][0]  # its weights may lie elsewhere
            return tokens
        clip_width = sum(model.config.hidden_size for _, model in self.clips)
        length = 0 if self.context_width == clip_width else self.max_t5_tokens
        return like.new_zeros(length, self.context_width)

    def _fitting(self, prompt: str, tokenizer: PreTrainedTokenizerBase, limit: int) -> str:
        words, target = split_target(prompt)

        def fits(text: str) -> bool:
            return len(tokenizer(text, verbose=False).input_ids) <= limit

        with self._tokenizing:
            fitting = shorten(words, lambda text: fits(text + target)) + target
            # An encoder that has no room for the target and a word reads what it can.
            return fitting if fits(fitting) else shorten(prompt, fits)

    def _token_ids(self, prompt: str, tokenizer: PreTrainedTokenizerBase, limit: int) -> Tensor:
        """Shape (1, limit): the part of the prompt that fits, padded."""
        text = self._fitting(prompt, tokenizer, limit)
        with self._tokenizing:
            ids: Tensor = tokenizer(
                text, padding="max_length", max_length=limit, truncation=True, return_tensors="pt"
            ).input_ids
        return ids
