"""The short way into a connector: what it should say beside a prompt is nearly what the text encoders say of the words
that the prompt lacks.

A transformer that reads text as SD3's, without positions, reads a few rows of another prompt's encoding behind its own
prompt as if their words stood there, and repeated ones as if they were said with emphasis. To regress on such rows
costs no forward of the transformer and needs no picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emofeedback.domain.affect import split_target
from emofeedback.generator.connector import EmotionConnector
from emofeedback.generator.prompts import PromptEncoder
from emofeedback.observability.console import say
from emofeedback_trainer.core.training_state import TrainingState
from emofeedback_trainer.distillation.learning import set_rate
from emofeedback_trainer.fusion.config import FusionConfig
from emofeedback_trainer.fusion.lessons import Lesson
from emofeedback_trainer.fusion.states import NumberStates
from emofeedback_trainer.fusion.turns import Curriculum, states_of

_BATCH = 64
_COMMON = 1 / 3
"""Share of the texts above which a token says nothing of one of them."""
_LEAST_SPREAD = 1e-6
_SAY_EVERY = 500


def learn_words(
    connector: EmotionConnector,
    numbers: NumberStates | None,
    prompts: PromptEncoder,
    lessons: Sequence[Lesson],
    curriculum: Curriculum,
    config: FusionConfig,
    folder: Path,
) -> None:
    """Teaches connector and numbers, in place, the rows of the words that the lessons' prompts lack.

    Goes on from the folder's checkpoint, and does nothing once it has finished.
    """
    parts: dict[str, nn.Module] = {"connector": connector, **({"numbers": numbers} if numbers is not None else {})}
    parameters = [parameter for part in parts.values() for parameter in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.0)
    state = TrainingState(folder, parts, {"adamw": optimizer}, ema_decay=config.ema_decay)
    if state.resume() < config.word_updates:
        learned = [index for index in curriculum.learned.tolist() if lessons[index].target]
        rows, pooled = _wanted(prompts, [lessons[index] for index in learned], connector)
        # None where no lesson has a word of its own.
        spreads = [one.std(dim=0).mean().square().clamp(min=_LEAST_SPREAD) for one in (rows, pooled)]
        for places, rng in _batches(len(learned), config, state.step):
            turns = [curriculum.turn(learned[place], rng) for place in places]
            set_rate(optimizer, state.step, config.word_updates)
            said = connector(states_of(turns, numbers, connector.null.device))
            losses = [
                F.mse_loss(mine, wanted[places]) / spread
                for mine, wanted, spread in zip(said, (rows, pooled), spreads, strict=True)
            ]
            optimizer.zero_grad()
            torch.autograd.backward(torch.stack(losses).sum())
            nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
            optimizer.step()
            state.average()
            if state.step % _SAY_EVERY == 0 or state.step == config.word_updates:
                state.log(rows=round(losses[0].item(), 4), pooled=round(losses[1].item(), 4))
                state.save()
                say(f"words: {state.step} of {config.word_updates} updates")
    for name, part in parts.items():
        part.load_state_dict(state.ema[name])


def _batches(count: int, config: FusionConfig, step: int) -> Iterator[tuple[Tensor, np.random.Generator]]:
    for update in range(step, config.word_updates):
        rng = np.random.default_rng((config.seed, update))
        yield torch.from_numpy(rng.integers(count, size=_BATCH)), rng


@torch.no_grad()
def _wanted(prompts: PromptEncoder, lessons: Sequence[Lesson], connector: EmotionConnector) -> tuple[Tensor, Tensor]:
    """What the connector should say of each lesson: rows, shape (lessons, tokens, context width), as few words as there
    may be again and again; and the change of the pooled projection, shape (lessons, pooled width)."""
    tokenizer = _Tokenizer(prompts)
    words = [split_target(lesson.told)[0] for lesson in lessons]
    told = [tokenizer.ids(text) for text in words]
    frequency = Counter(token for ids in told for token in set(ids))
    rare = {token: count for token, count in frequency.items() if count <= _COMMON * len(lessons)}
    rows, changes = [], []
    for lesson, text, ids in zip(lessons, words, told, strict=True):
        encoded, before = prompts.encode(text), prompts.encode(lesson.prompt)
        places = added_places(tokenizer.ids(lesson.prompt), ids, rare, connector.config.tokens)
        said = encoded.tokens[[tokenizer.first + place for place in places]] if places else connector.null.detach()
        rows.append(said[torch.arange(connector.config.tokens) % len(said)].float())
        changes.append((encoded.pooled - before.pooled).float())
    return torch.stack(rows), torch.stack(changes)


def added_places(prompt: Sequence[int], told: Sequence[int], rare: Mapping[int, int], most: int) -> list[int]:
    """Places in `told` of the tokens that `prompt` lacks; of too many the rarest, in their order.

    Args:
        rare: in how many texts a token stands; others are so common that they say nothing.
    """
    known = set(prompt)
    added = [place for place, token in enumerate(told) if token in rare and token not in known]
    return sorted(sorted(added, key=lambda place: rare[told[place]])[:most])


class _Tokenizer:
    """Tokens of a prompt by their rows in its encoding: T5's where there is one, since it reads the most."""

    def __init__(self, prompts: PromptEncoder) -> None:
        self._clip_limit = int(prompts.clips[0][0].model_max_length)
        self.first = self._clip_limit if prompts.t5 else 0
        """Row of the first token."""
        self._tokenizer = prompts.t5[0] if prompts.t5 else prompts.clips[0][0]
        self._limit = prompts.max_t5_tokens if prompts.t5 else self._clip_limit

    def ids(self, text: str) -> list[int]:
        """Token ids, one for each row."""
        ids: list[int] = self._tokenizer(
            text, padding="max_length", max_length=self._limit, truncation=True, verbose=False
        ).input_ids
        return ids
