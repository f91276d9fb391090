"""Paints what `evaluation` compares: every way the same pairs from the same seeds, as for a user and in one pass."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import GeneratedImage, GenerationRequest, Generator, ModelInfo
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.domain.reasoning import EmotionTokens, Imagination
from emofeedback.domain.tensors import from_torch
from emofeedback.generator.local import LocalGenerator
from emofeedback.generator.policy_store import Fusion, PolicyStore
from emofeedback.observability.console import say
from emofeedback.profiles.profile import JudgeSettings, Profile
from emofeedback_trainer.core.pairs import Pair
from emofeedback_trainer.core.run_files import read_result
from emofeedback_trainer.evaluation.going_on import NOT_KEPT, KeptPictures
from emofeedback_trainer.evaluation.observations import seeds_of
from emofeedback_trainer.fusion import evaluation
from emofeedback_trainer.fusion.states import NumberStates, Reasoner, load_numbers

IMAGES = 4
"""Pictures a pair."""
_FIRST_SEED = 900_000
_OTHER = 17
"""Pairs from one to the one whose tokens it gets when they are shuffled."""
_TOGETHER = 6
"""Pairs that are under way at once."""

T = TypeVar("T")
Groups = list[list[bytes]]
"""PNGs, a list for each pair."""
Words = Callable[[Pair, int], str]
"""The prompt of a pair's picture, by the picture's number."""


@dataclass(frozen=True, kw_only=True)
class FusedPolicy:
    """A fused policy in its store."""

    policies: str
    """URI of the store."""
    name: str
    fusion: Fusion
    digest: str

    @classmethod
    def found(cls, policies: str, name: str) -> FusedPolicy:
        """Raises FailedPrecondition: there is no such policy, or it reads no emotion tokens."""
        manifest = PolicyStore(policies).manifest(name)
        if manifest.fusion is None:
            raise FailedPrecondition(
                f"policy {name!r} reads no emotion tokens: make one that does with `emofeedback-train fuse`"
            )
        return cls(policies=policies, name=name, fusion=manifest.fusion, digest=manifest.digest)

    @classmethod
    def of_run(cls, folder: Path) -> FusedPolicy:
        """What a fusion has published. Raises FailedPrecondition: it hasn't finished."""
        result = read_result(folder)
        if "policy" not in result:
            raise FailedPrecondition(
                f"{folder} holds no finished fusion: `emofeedback-train fuse --resume` finishes it"
            )
        return cls.found(str(folder / "policies"), str(result["policy"]))

    def profile(self, profile: Profile) -> Profile:
        """The profile with this policy as its own."""
        return replace(profile, generator=replace(profile.generator, policies=self.policies, policy=self.name))


def paint_all(
    pairs: Sequence[Pair],
    profile: Profile,
    fused: FusedPolicy,
    *,
    released: str,
    tell: Words | None,
    numbers: Path | None,
    load_judge: Callable[[JudgeSettings], Reasoner],
    kept: KeptPictures = NOT_KEPT,
) -> dict[str, Groups]:
    """What every way paints, by its name in `evaluation`.

    Args:
        released: name of the policy in the profile's store that the fused one has to beat.
        tell: the imagination in words; None: nobody knows it, and the ways that need it are left out.
        numbers: folder of a fusion with the network of numbers; None: that way is left out.
        kept: where the pictures lie, so that those that are there are not painted again.

    Raises:
        FailedPrecondition: a policy or the judge can't be had, or they do not fit, or a picture can't be written.
        ResourceExhausted: the disk is full; what was painted before is kept.
    """
    paint = partial(_paint, pairs=pairs, kept=kept)

    async def by_words(generator: Generator) -> dict[str, Groups]:
        found = {}
        for name, policy in ((evaluation.BASE, BASE_POLICY), (evaluation.RELEASED, released)):
            found[name] = await paint(name, generator, words=lambda pair, _: pair.caption, policy=policy)
        if tell is not None:
            found[evaluation.WORDS] = await paint(evaluation.WORDS, generator, words=tell, policy=released)
        return found

    painted = _with_generator(profile, by_words)
    reasoner = load_judge(profile.judge)
    tokens = {evaluation.IMAGINED: imagined(reasoner, pairs)}
    if tell is not None:
        tokens[evaluation.LOOKED] = _looked(reasoner, painted[evaluation.WORDS])
    mine = tokens[evaluation.IMAGINED]
    tokens[evaluation.SHUFFLED] = [mine[(place + _OTHER) % len(mine)] for place in range(len(mine))]
    tokens[evaluation.NULL] = mine

    async def by_tokens(generator: Generator) -> dict[str, Groups]:
        found = {
            name: await paint(
                name, generator, words=_bare, emotions=emotions, scale=0.0 if name == evaluation.NULL else 1.0
            )
            for name, emotions in tokens.items()
        }
        name = evaluation.WITHOUT
        return {**found, name: await paint(name, generator, words=lambda pair, _: pair.caption)}

    painted |= _with_generator(fused.profile(profile), by_tokens)
    if numbers is not None:
        painted[evaluation.NUMBERS] = paint_numbers(pairs, profile, numbers, kept)
    return painted


def paint_numbers(pairs: Sequence[Pair], profile: Profile, folder: Path, kept: KeptPictures = NOT_KEPT) -> Groups:
    """What the fusion without a judge paints."""
    policy = FusedPolicy.of_run(folder)
    network, digest = load_numbers(folder / "numbers")
    emotions = [_of_numbers(network, pair, ModelInfo(name="numbers", digest=digest)) for pair in pairs]
    return _with_generator(
        policy.profile(profile),
        lambda generator: _paint(evaluation.NUMBERS, generator, pairs=pairs, words=_bare, emotions=emotions, kept=kept),
    )


def imagined(reasoner: Reasoner, pairs: Sequence[Pair]) -> list[EmotionTokens]:
    """What the judge imagines of each pair, in all its variations."""
    count = reasoner.variations
    asked = [
        (Imagination(prompt=pair.prompt, target=pair.target), variation) for pair in pairs for variation in range(count)
    ]
    return _each(reasoner.imagine(asked), len(pairs), reasoner.info)


def _looked(reasoner: Reasoner, groups: Groups) -> list[EmotionTokens]:
    """What the judge sees in each picture; variation i is that of picture i."""
    pictures = [Image.open(io.BytesIO(png)).convert("RGB") for group in groups for png in group]
    return _each(reasoner.look(pictures), len(groups), reasoner.info)


def _each(states: Tensor, pairs: int, judge: ModelInfo) -> list[EmotionTokens]:
    """The states of so many pairs, one after another, each pair's as its variations."""
    of_pairs = states.reshape(pairs, -1, *states.shape[1:])
    return [EmotionTokens(states=from_torch(one), judge=judge) for one in of_pairs]


@torch.no_grad()
def _of_numbers(network: NumberStates, pair: Pair, info: ModelInfo) -> EmotionTokens:
    count = network.shape["variations"]
    point = torch.tensor([[pair.target.valence, pair.target.arousal]]).expand(count, 2)
    return EmotionTokens(states=from_torch(network(point, torch.arange(count))), judge=info)


def _with_generator(profile: Profile, work: Callable[[Generator], Coroutine[None, None, T]]) -> T:
    """What `work` makes with a profile's generator in this process."""
    generator = LocalGenerator.load(profile.generator)
    try:
        return asyncio.run(work(generator))
    finally:
        generator.close()


def _bare(pair: Pair, picture: int) -> str:
    return pair.prompt


async def _paint(
    name: str,
    generator: Generator,
    *,
    pairs: Sequence[Pair],
    words: Words,
    kept: KeptPictures,
    policy: str = "",
    emotions: Sequence[EmotionTokens] | None = None,
    scale: float = 1.0,
) -> Groups:
    say(f"painting {len(pairs)} pairs: {name}", sys.stderr)
    room = asyncio.Semaphore(_TOGETHER)

    async def pictures(request: GenerationRequest) -> list[bytes]:
        done = [event async for event in generator.generate(request) if isinstance(event, GeneratedImage)]
        return [image.data for image in sorted(done, key=lambda image: image.index)]

    async def painted(number: int, pair: Pair) -> list[bytes]:
        emotion = emotions[number] if emotions else None
        seeds = seeds_of(number, IMAGES, _FIRST_SEED)
        prompts = [words(pair, picture) for picture in range(IMAGES)]

        def request(prompt: str, seeds: tuple[int, ...]) -> GenerationRequest:
            return GenerationRequest(prompt=prompt, seeds=seeds, policy=policy, emotion=emotion, emotion_scale=scale)

        if len(set(prompts)) == 1:
            return await pictures(request(prompts[0], seeds))
        return [
            png for prompt, seed in zip(prompts, seeds, strict=True) for png in await pictures(request(prompt, (seed,)))
        ]

    async def group(number: int, pair: Pair) -> list[bytes]:
        async with room:
            return await kept.of_pair(name, number, IMAGES, lambda: painted(number, pair))

    return list(await asyncio.gather(*(group(number, pair) for number, pair in enumerate(pairs))))
