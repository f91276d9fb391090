"""Trains the embedded judge-and-agent: the Qwen2.5-VL architecture on lessons from the nano world.

Each step is one optimizer step over a batch of every kind of lesson; the loss is the cross-entropy of the replies
only. A rating's digits are learned against both neighboring whole numbers, weighted by how near they are: the
expected value over the digits, by which the service scores, then is the true one. Its emotion is learned half against
the label and half against how much each emotion is felt, which ranks the others. The answer after a reasoning counts
more than its words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer, GenerationConfig, Qwen2VLImageProcessorPil

from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import Conversation
from emofeedback.judge.engines.base import Chat, encode
from emofeedback_trainer.core.training_state import TrainingState, averaged_weights, cosine, set_rates
from emofeedback_trainer.nano.models.eyes import PICTURES
from emofeedback_trainer.nano.models.judge_model import VISUAL_TOKENS, build_model, grids, patches
from emofeedback_trainer.nano.models.vocabulary import train_tokenizer
from emofeedback_trainer.nano.question_lessons import Asker
from emofeedback_trainer.nano.world.album import SEEN_SIZE, WORN, mirrored, pictures
from emofeedback_trainer.nano.world.language import (
    Album,
    Lesson,
    caption_lesson,
    copy_lesson,
    gradient_lesson,
    rating_lesson,
    reasoning_lesson,
    situation,
    update_lesson,
)
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.scenes import Scene

STEPS = 2400
_SEED = 40
_RATE = 1.2e-3
_TOWER_SHARE = 0.3
"""The pre-trained tower learns at this share of the rate."""
_AT_AN_END = 0.15
"""Share of the reasonings that have a number at an end of the scale, where no decimals may follow a nine."""
_LABEL = 0.5
"""How much of a rating's emotion is learned against its label; the rest against all emotions' shares."""
_MOST = len(Emotion)
"""Tokens that may share a place."""
_ANSWER = "<answer>"
_ANSWER_WEIGHT = 8.0
"""Of each token from there on: two numbers would hardly count among eighty words of reasoning."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of lesson in the mixture."""

    name: str
    count: int
    """Lessons a step."""
    weight: float
    """How much its mean loss a token counts."""
    make: Callable[[Asker, np.random.Generator], Lesson]


KINDS = (
    Kind(name="rating", count=20, weight=1.0, make=lambda of, rng: rating_lesson(of.album.any(rng), rng)),
    Kind(name="reasoning", count=6, weight=1.0, make=lambda of, rng: reasoning_lesson(_told(of, rng))),
    Kind(name="gradient", count=6, weight=1.0, make=lambda of, rng: gradient_lesson(situation(of.album, rng))),
    Kind(name="update", count=8, weight=1.0, make=lambda of, rng: update_lesson(situation(of.album, rng))),
    Kind(name="caption", count=2, weight=0.3, make=lambda of, rng: caption_lesson(of.album.any(rng))),
    Kind(name="copy", count=16, weight=1.0, make=lambda of, rng: copy_lesson(rng)),
    Kind(name="ask", count=24, weight=1.0, make=lambda of, rng: of.ask(rng)),
    Kind(name="describe", count=4, weight=0.5, make=lambda of, rng: of.describe(rng)),
    Kind(name="task", count=4, weight=0.5, make=lambda of, rng: of.task(rng)),
)


def _told(of: Asker, rng: np.random.Generator) -> Scene:
    return of.album.at_an_end(rng) if rng.random() < _AT_AN_END else of.album.any(rng)


@dataclass(frozen=True)
class Batch:
    """Lessons as tensors [B, L], padded on the right."""

    ids: Tensor
    attention: Tensor
    tokens: Tensor
    """[B, L, 8]: the tokens that should come at each place of the reply."""
    shares: Tensor
    """[B, L, 8]: of how much of the probability; all 0 outside the reply."""
    weights: Tensor
    """How much each place counts in the mean."""
    pictures: Tensor
    """uint8 [N, 3, 112, 112], in the order of the lessons."""


def chat(conversation: Conversation) -> Chat:
    """A conversation as the services' engines encode it."""
    return Chat(
        messages=tuple(
            {
                "role": message.role,
                "content": [
                    {"type": "image"} if isinstance(part, bytes) else {"type": "text", "text": part}
                    for part in message.parts
                ],
            }
            for message in conversation
        ),
        images=(),
    )


class Collator:
    """Turns lessons into batches."""

    def __init__(self, tokenizer: Any, album: Album, pixels: NDArray[np.uint8]) -> None:
        self._tokenizer = tokenizer
        self._image_token = tokenizer.convert_tokens_to_ids("<|image_pad|>")
        self._digits = tokenizer.convert_tokens_to_ids([str(digit) for digit in range(10)])
        self._emotions: dict[Emotion, int] = {name: tokenizer(f" {name}")["input_ids"][0] for name in Emotion}
        self._pixels = pixels
        self._index: dict[Scene, int] = {scene: index for index, scene in enumerate(album.scenes)}

    def __call__(self, lessons: Sequence[Lesson], rng: np.random.Generator, device: str) -> Batch:
        rows = [self._row(lesson) for lesson in lessons]
        length = max(len(ids) for ids, *_ in rows)
        ids = torch.full((len(rows), length), self._tokenizer.pad_token_id)
        attention = torch.zeros_like(ids)
        tokens = torch.zeros((*ids.shape, _MOST), dtype=torch.long)
        shares, weights = torch.zeros(tokens.shape), torch.ones(ids.shape)
        for row, (said, start, answer, shared) in enumerate(rows):
            ids[row, : len(said)] = torch.tensor(said)
            attention[row, : len(said)] = 1
            tokens[row, start - 1 : len(said) - 1, 0] = torch.tensor(said[start:])
            shares[row, start - 1 : len(said) - 1, 0] = 1
            weights[row, answer - 1 :] = _ANSWER_WEIGHT
            for place, share in shared.items():
                tokens[row, start - 1 + place, : len(share)] = torch.tensor(list(share))
                shares[row, start - 1 + place, : len(share)] = torch.tensor(list(share.values()))
        seen = [self._index[scene] for lesson in lessons for scene in lesson.pictures]
        images = mirrored(self._pixels[seen], rng) if seen else np.empty((0, 3, SEEN_SIZE, SEEN_SIZE), np.uint8)
        parts = (ids, attention, tokens, shares, weights, torch.from_numpy(images))
        return Batch(*(part.to(device) for part in parts))

    def _row(self, lesson: Lesson) -> tuple[list[int], int, int, dict[int, dict[int, float]]]:
        """Tokens, where in them the reply and its answer begin, and by place in the reply the tokens that share it."""
        tokens: list[int] = []
        for token in encode(self._tokenizer, chat(lesson.conversation)):
            tokens += [token] * (VISUAL_TOKENS if token == self._image_token else 1)
        reply = [*self._tokenizer(lesson.reply)["input_ids"], self._tokenizer.eos_token_id]
        thoughts, mark, _ = lesson.reply.partition(_ANSWER)
        answer = len(tokens) + (len(self._tokenizer(thoughts)["input_ids"]) if mark else len(reply))
        shared: dict[int, dict[int, float]] = {}
        if lesson.ratings:
            places = [place for place, token in enumerate(reply) if token in self._digits]
            for place, true in zip(places, lesson.ratings, strict=True):
                written = self._digits.index(reply[place])
                beside = self._digits[written + (1 if true > written else -1)]
                away = abs(true - written)
                shared[place] = {reply[place]: 1 - away, beside: away}
        if lesson.felt:
            said = {token: place for place, token in enumerate(reply) if token in self._emotions.values()}
            ((label, place),) = said.items()
            shared[place] = {self._emotions[name]: (1 - _LABEL) * share for name, share in lesson.felt.items()}
            shared[place][label] += _LABEL
        return tokens + reply, len(tokens), answer, shared


def reply_loss(model: Any, batch: Batch, image_token: int) -> Tensor:
    """Weighted mean of the cross-entropy over the replies' tokens."""
    seen = {}
    if len(batch.pictures):
        seen = {
            "pixel_values": patches(batch.pictures),
            "image_grid_thw": grids(len(batch.pictures), batch.pictures.device),
        }
    hidden = model.model(
        input_ids=batch.ids,
        attention_mask=batch.attention,
        mm_token_type_ids=(batch.ids == image_token).int(),
        use_cache=False,
        **seen,
    ).last_hidden_state
    place = batch.shares.sum(-1) > 0
    scores = F.log_softmax(model.lm_head(hidden[place]).float(), dim=-1)
    said = (batch.shares[place] * scores.gather(1, batch.tokens[place])).sum(-1)
    weight = batch.weights[place]
    return -(weight * said).sum() / weight.sum()


def tokenizer_for(folder: Path, album: Album) -> Any:
    """The tokenizer of a training folder, learned from lessons the first time."""
    path = folder / "tokenizer"
    if not path.exists():
        rng = np.random.default_rng(_SEED)
        asker = Asker(album)
        lessons = [kind.make(asker, rng) for _ in range(1500) for kind in KINDS]
        train_tokenizer(text for lesson in lessons for text in _texts(lesson)).save_pretrained(path)
    return AutoTokenizer.from_pretrained(path)


def train_judge(folder: Path, *, steps: int, device: str) -> None:
    """Trains up to `steps`, going on from the checkpoint in `folder/language`; begins with the trained eyes."""
    torch.manual_seed(_SEED)
    album = Album([scene_at("judge", index) for index in range(PICTURES)])
    tokenizer = tokenizer_for(folder, album)
    asker = Asker(album)
    collate = Collator(tokenizer, album, pictures(folder, "judge", PICTURES, worn=WORN))
    model = build_model(tokenizer.get_vocab(), len(tokenizer)).to(device)
    tower = averaged_weights(folder / "eyes", "eyes")
    model.model.visual.load_state_dict(
        {key.removeprefix("tower."): value for key, value in tower.items() if key.startswith("tower.")}
    )
    optimizer = torch.optim.AdamW(_parameters(model), lr=_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    state = TrainingState(folder / "language", {"judge": model}, {"judge": optimizer}, ema_decay=0.99)
    for step in range(state.resume(), steps):
        set_rates([optimizer], cosine(step, steps, peak=1.0, floor=0.03, warmup=60))
        rng = np.random.default_rng((_SEED, step))
        losses = {}
        optimizer.zero_grad()
        for kind in KINDS:
            batch = collate([kind.make(asker, rng) for _ in range(kind.count)], rng, device)
            with torch.autocast(device, torch.bfloat16):
                loss = reply_loss(model, batch, model.config.image_token_id)
            torch.autograd.backward(kind.weight * loss)
            losses[kind.name] = loss.item()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        state.average()
        if step % 10 == 0:
            state.log(**losses)
        if step % 50 == 49 or step == steps - 1:
            state.save()


def export_judge(folder: Path, destination: Path) -> None:
    """Writes the averaged weights in half precision, with all that `from_pretrained` and vLLM read beside them."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    model = build_model(tokenizer.get_vocab(), len(tokenizer))
    model.load_state_dict(averaged_weights(folder / "language", "judge"))
    model.set_attn_implementation("sdpa")
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.pad_token_id,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.pad_token_id],
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )
    model.half().save_pretrained(destination)
    tokenizer.save_pretrained(destination)
    Qwen2VLImageProcessorPil(min_pixels=SEEN_SIZE**2, max_pixels=SEEN_SIZE**2).save_pretrained(destination)


def _parameters(model: nn.Module) -> list[dict[str, Any]]:
    """Two groups: the language model and, slower, the vision tower."""
    tower = [value for name, value in model.named_parameters() if ".visual." in name]
    rest = [value for name, value in model.named_parameters() if ".visual." not in name]
    return [{"params": rest}, {"params": tower, "lr": _RATE * _TOWER_SHARE}]


def _texts(lesson: Lesson) -> list[str]:
    """Everything in a lesson that has to be written with tokens."""
    said = [part for message in lesson.conversation for part in message.parts if isinstance(part, str)]
    return ["user", *said, "assistant", lesson.reply]
