"""What a judge's reasoning tokens hold, read from the tokens alone, or with them hidden or another picture's.

The question is read once, its keys and values are kept; a reply is then decoded that sees all of them, the tokens only,
or all but the tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor
from transformers import AutoTokenizer, DynamicCache, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessorPil

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN
from emofeedback.domain.reasoning import Imagination
from emofeedback_trainer.latent.collation import Collator

Sees = Literal["all", "tokens", "question"]
_LONGEST = 64
"""Tokens of a text that is read."""


@dataclass(frozen=True, eq=False)
class Thought:
    """The keys and values of B questions that end with their reasoning tokens."""

    cache: DynamicCache
    read: Tensor
    """int64 [B, L]: 1 where a question has a token, 0 where it is filled up on the left."""
    position: Tensor
    """int64 [B]: of the next token."""
    opening: tuple[int, ...]
    """The end of the turn and the assistant's header."""


class Reader:
    """A judge with reasoning tokens, on the CPU.

    Args:
        folder: the checkpoint.
        reasons: its reasoning tokens.
        variations: its variation tokens.
    """

    def __init__(self, folder: Path, *, reasons: int, variations: int) -> None:
        self._model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True
        ).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._reasons = reasons
        self._collate = Collator(
            self._tokenizer,
            Qwen2VLImageProcessorPil.from_pretrained(folder),
            reasons=reasons,
            variations=variations,
        )
        self._scale = np.arange(SCALE_MIN, SCALE_MAX + 1)
        self._blank: int = self._tokenizer(" ")["input_ids"][0]

    def look(self, pictures: Sequence[Image]) -> Thought:
        """Pictures of one size."""
        return self._read([self._collate.asked_to_look(picture) for picture in pictures], pictures)

    def imagine(self, imaginations: Sequence[Imagination], variation: int) -> Thought:
        """Pictures that aren't there yet, all in one variation."""
        return self._read([self._collate.asked_to_imagine(one, variation) for one in imaginations], ())

    def swapped(self, thought: Thought, order: Sequence[int]) -> Thought:
        """The same questions, each with the reasoning tokens of the one that `order` names.

        Only for questions of the same length, as those about pictures of one size are.
        """
        cache = deepcopy(thought.cache)
        for layer in cache.layers:
            for kept in (layer.keys, layer.values):
                kept[:, :, -self._reasons :] = kept[list(order), :, -self._reasons :].clone()
        return replace(thought, cache=cache)

    @torch.inference_mode()
    def ratings(self, thought: Thought, sees: Sees = "all") -> NDArray[np.float64]:
        """Valence and arousal as the service reads them, expected values over the nine ratings, [B, 2]."""
        decoding = _Decoding(self._model, thought, self._mask(thought, sees))
        valence = self._expected(decoding.step(_repeated(thought.opening, len(thought.read))))
        written = self._digit(decoding.last)
        decoding.step(written[:, None])
        arousal = self._expected(decoding.step(torch.full_like(written, self._blank)[:, None]))
        return np.stack([valence, arousal], axis=1)

    @torch.inference_mode()
    def texts(self, thought: Thought) -> list[str]:
        """What the tokens alone say, word by word the likeliest."""
        decoding = _Decoding(self._model, thought, self._mask(thought, "tokens"))
        opening = self._collate.thinking(thought.opening)
        logits = decoding.step(_repeated(opening, len(thought.read)))
        written: list[Tensor] = []
        ended = torch.zeros(len(thought.read), dtype=torch.bool)
        while not ended.all() and len(written) < _LONGEST:
            token = logits.argmax(dim=-1).masked_fill(ended, self._tokenizer.pad_token_id)
            ended |= token == self._tokenizer.eos_token_id
            written.append(token)
            logits = decoding.step(token[:, None])
        said: list[str] = self._tokenizer.batch_decode(torch.stack(written, dim=1), skip_special_tokens=True)
        return said

    @torch.inference_mode()
    def _read(self, questions: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], pictures: Sequence[Image]) -> Thought:
        """Questions as tokens up to the last reasoning one, and what comes behind it."""
        longest = max(len(ids) for ids, _ in questions)
        fill = self._tokenizer.pad_token_id
        ids = torch.tensor([[fill] * (longest - len(one)) + list(one) for one, _ in questions])
        read = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one, _ in questions])
        seen = self._collate.seen(pictures)
        kinds = (ids == self._model.config.image_token_id).int()
        positions, _ = self._model.model.get_rope_index(
            ids, mm_token_type_ids=kinds, image_grid_thw=seen[1] if seen else None, attention_mask=read
        )
        shown = {"pixel_values": seen[0], "image_grid_thw": seen[1]} if seen else {}
        cache = self._model.model(
            input_ids=ids, attention_mask=read, position_ids=positions, use_cache=True, **shown
        ).past_key_values
        return Thought(cache, read, positions.amax(dim=(0, 2)) + 1, questions[0][1])

    def _mask(self, thought: Thought, sees: Sees) -> Tensor:
        own = torch.zeros_like(thought.read)
        own[:, -self._reasons :] = 1
        return {"all": thought.read, "tokens": own, "question": thought.read - own}[sees]

    def _expected(self, logits: Tensor) -> NDArray[np.float64]:
        shares = logits[:, self._collate.digits].double().softmax(dim=-1).numpy()
        expected: NDArray[np.float64] = shares @ self._scale
        return expected

    def _digit(self, logits: Tensor) -> Tensor:
        return torch.tensor(self._collate.digits)[logits[:, self._collate.digits].argmax(dim=-1)]


class _Decoding:
    """Tokens added to thoughts, of which a mask hides a part."""

    def __init__(self, model: Any, thought: Thought, mask: Tensor) -> None:
        self._model = model
        self._cache = deepcopy(thought.cache)
        self._mask = mask
        self._position = thought.position

    def step(self, ids: Tensor) -> Tensor:
        """The scores after the last of further tokens [B, N], float [B, vocabulary]."""
        count = ids.shape[1]
        self._mask = torch.cat([self._mask, torch.ones_like(ids)], dim=1)
        positions = (self._position[:, None] + torch.arange(count)).expand(3, -1, -1)
        self._position = self._position + count
        hidden = self._model.model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        scores: Tensor = self._model.lm_head(hidden[:, -1]).float()
        self.last = scores
        return scores


def _repeated(ids: Sequence[int], count: int) -> Tensor:
    return torch.tensor([list(ids)] * count)
