"""Qwen2.5-VL by transformers: chats in, a batch of replies out.

The rows of a batch don't influence each other: each has a temperature and a seed of its own, so a reply doesn't
depend on which others it was decoded with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)

from emofeedback.domain.assessment import Decoding
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.judge.domain import Domain
from emofeedback.judge.engines.base import (
    PROCESSOR_ADVICE,
    Chat,
    Detokenizer,
    OwnTokens,
    encode,
    fetch_checkpoint,
)
from emofeedback.judge.engines.completion import TOP_TOKENS, Completion
from emofeedback.judge.engines.steps import recorded_steps
from emofeedback.judge.engines.vision import windows_at_once
from emofeedback.profiles.profile import JudgeSettings


@dataclass(frozen=True, eq=False)
class EncodedChat:
    """One chat as the model reads it."""

    ids: tuple[int, ...]
    """Its tokens, each image stretched to as many placeholders as it has visual tokens."""
    pixels: Tensor
    """All images' patches, (patches, channels * temporal patch * patch height * patch width)."""
    grids: Tensor
    """Frames, rows and columns of patches of each image, (images, 3)."""


class Qwen:
    """A Qwen2.5-VL checkpoint with its tokenizer and its image processor (Pillow's: no torchvision needed)."""

    def __init__(self, model: Any, tokenizer: Any, image_processor: Any, domain: Domain | None = None) -> None:
        self._domain = domain
        self._model = model.eval()
        self._on_gpu = model.device.type == "cuda"
        if self._on_gpu:
            windows_at_once(model.model.visual)
        self._tokenizer = tokenizer
        self._image_processor = image_processor
        self._detokenizer = Detokenizer(tokenizer)
        self.own = OwnTokens.of(tokenizer)
        # The pictures of a call come with the same words.
        self._ids = lru_cache(maxsize=32)(partial(_ids, tokenizer))
        self._image_token: int = model.config.image_token_id
        self._ends = _end_tokens(model, tokenizer)
        # Of the checkpoint's sampling defaults only the end stays; its repetition penalty would skew the ratings.
        model.generation_config = GenerationConfig(
            eos_token_id=sorted(self._ends), pad_token_id=tokenizer.pad_token_id, do_sample=False
        )

    @classmethod
    def load(cls, settings: JudgeSettings) -> Qwen:
        """The settings' checkpoint on their device.

        Raises:
            FailedPrecondition: it can't be had, or lacks its tokenizer or image processor.
        """
        folder = fetch_checkpoint(settings.checkpoint)
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            image_processor = Qwen2VLImageProcessorPil.from_pretrained(folder, max_pixels=settings.max_pixels)
        except (OSError, ValueError) as error:
            raise FailedPrecondition(
                f"{settings.checkpoint} lacks a tokenizer or an image processor: {PROCESSOR_ADVICE}"
            ) from error
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            folder, dtype=getattr(torch, settings.dtype), use_safetensors=True
        )
        return cls(model.to(settings.device), tokenizer, image_processor, Domain.load(folder))

    @property
    def context(self) -> int:
        """Tokens that a chat and its reply may have together."""
        length: int = self._model.config.text_config.max_position_embeddings
        return length

    def encode(self, chat: Chat) -> EncodedChat:
        """The model's inputs for one chat.

        Raises:
            InvalidRequest: it leaves no room for a reply.
        """
        if chat.images:
            images = self._image_processor(images=list(chat.images), return_tensors="pt")
            pixels, grids = images["pixel_values"], images["image_grid_thw"]
        else:
            pixels, grids = torch.empty(0, 0), torch.empty(0, 3, dtype=torch.long)
        sizes = iter((grids.prod(dim=1) // self._image_processor.merge_size**2).tolist())
        ids: list[int] = []
        for id in self._ids(json.dumps(chat.messages)):
            ids.extend([id] * next(sizes) if id == self._image_token else [id])
        if len(ids) >= self.context:
            raise InvalidRequest.of(
                "conversations", f"one is {len(ids)} tokens long, the model reads at most {self.context - 1}"
            )
        return EncodedChat(tuple(ids), pixels, grids)

    @torch.inference_mode()
    def generate(
        self,
        chats: Sequence[EncodedChat],
        decodings: Sequence[Decoding],
        *,
        top_logprobs: bool = False,
        wanted: Callable[[int], bool] = lambda row: True,
    ) -> list[Completion]:
        """One reply to each chat, decoded together.

        Args:
            decodings: how each row is sampled; all with the same `max_new_tokens`.
            top_logprobs: fill `Completion.tokens`.
            wanted: asked after each token; a row that nobody wants any more ends there.
        """
        inputs = self._inputs(chats)
        start = inputs["input_ids"].shape[1]
        choice = NextToken(decodings, keep=TOP_TOKENS if top_logprobs else 0, never=self.own.all)
        device = self._model.device
        grids = [chat.grids for chat in chats]
        looking: AbstractContextManager[list[Tensor]] = nullcontext([])
        if self._domain is not None:
            looking = layer_means(self._model.model.visual, grids)
        tokens = min(decodings[0].max_new_tokens, self.context - start)
        stepping: AbstractContextManager[dict[str, Any]] = nullcontext({})
        if self._on_gpu:
            stepping = recorded_steps(self._model, start + tokens)
        with looking as means, _attention(device), stepping as steps:
            sequences = self._model.generate(
                **inputs,
                **steps,
                max_new_tokens=tokens,
                logits_processor=[choice],
                stopping_criteria=[
                    lambda ids, scores: torch.tensor([not wanted(row) for row in range(len(ids))], device=device)
                ],
            )
        surprises = self._surprises(chats, means)
        replies = zip(chats, sequences[:, start:].tolist(), choice.finite(), surprises, strict=True)
        return [
            replace(self._completion(chat, ids, choice.tops(row), finite), surprise=surprise)
            for row, (chat, ids, finite, surprise) in enumerate(replies)
        ]

    @torch.inference_mode()
    def look(self, chats: Sequence[EncodedChat]) -> NDArray[np.float32]:
        """What the vision tower makes of the chats' pictures: the means of its layers, shape (pictures, values)."""
        inputs = self._inputs(chats)
        with layer_means(self._model.model.visual, [chat.grids for chat in chats]) as means:
            self._model.model.visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"])
        return _joined(means)

    @property
    def reasons(self) -> int:
        """Reasoning tokens that the checkpoint has; 0: it hasn't learned any."""
        return len(self.own.reasons)

    @property
    def variations(self) -> int:
        """Imaginations of one feeling that it has learned to tell apart."""
        return len(self.own.variations)

    @torch.inference_mode()
    def states(self, chats: Sequence[EncodedChat]) -> Tensor:
        """What the model has in mind at its reasoning tokens: the last layer but one, float32 on the CPU, shape
        (chats, tokens, width). Every chat ends its user's turn with all of them."""
        inputs = self._inputs(chats)
        with _attention(self._model.device):
            hidden = self._model.model(**inputs, output_hidden_states=True).hidden_states[-2]
        places = torch.isin(inputs["input_ids"], torch.tensor(self.own.reasons, device=hidden.device))
        states: Tensor = hidden[places].reshape(len(chats), self.reasons, -1).float().cpu()
        return states

    def _surprises(self, chats: Sequence[EncodedChat], means: Sequence[Tensor]) -> list[float | None]:
        """The largest of each chat at its pictures; None without one, or without a domain to compare them with."""
        if self._domain is None or not means:
            return [None] * len(chats)
        surprises = iter(self._domain.surprise(_joined(means)).tolist())
        return [max((next(surprises) for _ in chat.grids), default=None) for chat in chats]

    def _inputs(self, chats: Sequence[EncodedChat]) -> Mapping[str, Tensor]:
        """A batch, padded on the left: replies begin at the same place."""
        padded = self._tokenizer.pad(
            {"input_ids": [list(chat.ids) for chat in chats]}, padding_side="left", return_tensors="pt"
        )
        inputs = {
            "input_ids": padded["input_ids"],
            "attention_mask": padded["attention_mask"],
            "mm_token_type_ids": (padded["input_ids"] == self._image_token).int(),
        }
        pictured = [chat for chat in chats if len(chat.grids)]
        if pictured:
            inputs["pixel_values"] = torch.cat([chat.pixels for chat in pictured]).to(self._model.dtype)
            inputs["image_grid_thw"] = torch.cat([chat.grids for chat in pictured])
        return {name: tensor.to(self._model.device) for name, tensor in inputs.items()}

    def _completion(
        self, chat: EncodedChat, ids: list[int], tops: Sequence[Mapping[int, float]], finite: bool
    ) -> Completion:
        end = next((position for position, id in enumerate(ids) if id in self._ends), len(ids))
        finished, read = end < len(ids), len(chat.ids)
        return self._detokenizer.completion(ids[:end], tops, finished=finished, read=read, finite=finite)


@contextmanager
def layer_means(tower: Any, grids: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Fills the list, while a Qwen2.5-VL vision tower reads a batch, with the mean of each block's values over each
    picture's patches, shape (pictures, width), and of its visual tokens at last.

    Args:
        grids: of each chat's pictures, as in `EncodedChat`.
    """
    patches = torch.cat([grid.prod(dim=1) for grid in grids])
    means: list[Tensor] = []

    def keep(layer: Any, inputs: Any, values: Tensor) -> None:
        # patches are shuffled within a picture, whose mean doesn't mind; a visual token stands for several of them
        rows = (patches * len(values) // patches.sum()).tolist()
        means.append(torch.stack([part.float().mean(dim=0) for part in torch.split(values, rows)]))

    hooks = [layer.register_forward_hook(keep) for layer in (*tower.blocks, tower.merger)]
    try:
        yield means
    finally:
        for hook in hooks:
            hook.remove()


def _joined(means: Sequence[Tensor]) -> NDArray[np.float32]:
    joined: NDArray[np.float32] = torch.cat(list(means), dim=1).cpu().numpy()
    return joined


def _ids(tokenizer: Any, messages: str) -> tuple[int, ...]:
    """Token ids of a chat's messages, which come as JSON."""
    return tuple(encode(tokenizer, Chat(tuple(json.loads(messages)), ())))


def _attention(device: torch.device) -> AbstractContextManager[Any]:
    """On a GPU without cuDNN's: it plans anew for every length of the cache, on an H200 some 40 ms a token."""
    others = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    return sdpa_kernel(others) if device.type == "cuda" else nullcontext()


class NextToken:
    """A logits processor that samples each row by its own decoding and remembers what else was likely.

    `generate` takes the largest score. The largest of logits / temperature plus Gumbel noise is a sample of
    their softmax (the Gumbel-max trick), so greedy decoding does for both.
    """

    def __init__(self, decodings: Sequence[Decoding], *, keep: int, never: Sequence[int] = ()) -> None:
        """`keep`: how many of the likeliest tokens to remember; `never`: ids that no row may take."""
        self._temperatures = [decoding.temperature for decoding in decodings]
        self._generators = [torch.Generator().manual_seed(decoding.seed) for decoding in decodings]
        self._keep = keep
        self._never = list(never)
        self._steps: list[tuple[list[list[int]], list[list[float]]]] = []
        self._largest: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._never:
            scores[:, self._never] = -torch.inf
        self._largest.append(scores.amax(dim=-1))
        if self._keep:
            top = scores.log_softmax(dim=-1).topk(min(self._keep, scores.shape[-1]))
            self._steps.append((top.indices.tolist(), top.values.tolist()))
        for row, (temperature, generator) in enumerate(zip(self._temperatures, self._generators, strict=True)):
            if temperature > 0:
                noise = torch.empty(scores.shape[-1]).exponential_(generator=generator).log().neg()
                scores[row] = scores[row] / temperature + noise.to(scores.device)
        return scores

    def finite(self) -> list[bool]:
        """Whether the scores of each row were numbers at every step: the largest of scores with a NaN is NaN."""
        finite: list[bool] = torch.stack(self._largest).isfinite().all(dim=0).tolist()
        return finite

    def tops(self, row: int) -> list[dict[int, float]]:
        """Log-probabilities of the likeliest tokens of a row, step by step."""
        return [dict(zip(ids[row], values[row], strict=True)) for ids, values in self._steps]


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a reply: the checkpoint's, which may be several, or the tokenizer's."""
    ends = model.generation_config.eos_token_id
    if ends is None:
        ends = tokenizer.eos_token_id
    return frozenset([ends] if isinstance(ends, int) else ends)
