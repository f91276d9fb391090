"""`emofeedback-train nano judge-domain`: the judge learns to tell the pictures of its world from all others.

Of its world are drawn scenes in several sizes, and what the generator paints, by the base weights and
by the default policy, for prompts of all kinds, those that it doesn't understand too. Not of it are the pictures of
`foreign_pictures`. A logistic regression of the signs in `emofeedback.judge.domain` tells the two apart; its threshold
is set on pictures of the world that it wasn't fitted on.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression

from emofeedback.domain.affect import AffectPoint, target_phrase
from emofeedback.domain.assessment import Assessment, Judge
from emofeedback.domain.generation import GeneratedImage, GenerationRequest, Generator
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.generator.local import LocalGenerator
from emofeedback.judge.domain import Domain, World
from emofeedback.judge.engines.base import prepare
from emofeedback.judge.engines.qwen import Qwen
from emofeedback.judge.prompts import rating_conversation
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback_trainer.nano.measure.judge import judged, png
from emofeedback_trainer.nano.world.album import RENDERED_SIZE, weathered
from emofeedback_trainer.nano.world.captions import emotional_caption, neutral_caption
from emofeedback_trainer.nano.world.foreign_pictures import KINDS, made, photographs
from emofeedback_trainer.nano.world.invention import invented_prompt
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.rendering import PICTURE_SIZE, render

_SEEDS = {"calibration": 1, "test": 2}
_DRAWN, _PAINTED, _MADE = 2500, 1600, 150
"""Pictures to fit on; of `_MADE` so many of each kind."""
_FIRST = {"calibration": ("judge", 40_000), "test": ("evaluation", 40_000)}
"""The scenes of a split: in `datasets`, from this number on; no model has learned from them."""
_AXES = 280
_STRENGTH = 0.03
"""Inverse of the penalty on the weights (scikit-learn's `C`)."""
_FLAGGED = 0.002
"""Share of the held-out pictures of the world that may lie beyond all others; of painted ones, the hardest, more do."""
_MARGIN = 0.25
"""From there to the nearest foreign picture, so much of the way is left to the world. Not half: other foreign pictures
than those that it was fitted on lie nearer."""
_KEPT = 0.25
"""Share of the pictures of the world that set the threshold."""
_SIZES = (PICTURE_SIZE, PICTURE_SIZE, 128, 112, 224, 512)
_TOGETHER = 32


def fit_domain(folder: Path, destination: Path) -> None:
    """Fits the exported judge's domain and writes it beside its weights; painted pictures are kept in `folder`."""
    qwen = Qwen.load(replace(NANO_PROFILE.judge, checkpoint=str(destination)))
    own = [*drawn("calibration", _DRAWN), *asyncio.run(_painted_once(folder))]
    others = [*photographs("calibration"), *(picture for kind in KINDS for picture in made(kind, "calibration", _MADE))]
    domain = fitted(seen(qwen, own), seen(qwen, others))
    domain.save(destination)


def fitted(own: NDArray[np.floating], others: NDArray[np.floating]) -> Domain:
    """The domain from the layers' means of pictures of the world, and of others, each of shape (pictures, values).

    Neither its axes nor its weights know the pictures that set the threshold.
    """
    kept = threshold_pictures(len(own))
    world = World.fitted(own[~kept], _AXES)
    signs = world.signs(np.concatenate([own[~kept], others]))
    foreign = np.arange(len(signs)) >= np.sum(~kept)
    model = LogisticRegression(C=_STRENGTH, max_iter=2000, class_weight="balanced").fit(signs, foreign)
    weights = model.coef_[0]
    farthest = float(np.quantile(world.signs(own[kept]) @ weights, 1 - _FLAGGED))
    nearest = float(np.min(world.signs(others) @ weights))
    return Domain(world=world, weights=weights, offset=-(farthest + _MARGIN * max(0.0, nearest - farthest)))


def threshold_pictures(count: int) -> NDArray[np.bool_]:
    """Which of so many pictures of the world set the threshold; drawn by lot, so that every kind is on both sides."""
    return np.random.default_rng(0).random(count) < _KEPT


def seen(qwen: Qwen, pictures: Iterable[Image.Image]) -> NDArray[np.float32]:
    """What the judge's vision tower makes of pictures, shape (pictures, values); each on its own."""

    def look(picture: Image.Image) -> NDArray[np.float32]:
        chat = prepare(rating_conversation(png(picture)), ["picture"], NANO_PROFILE.judge.max_pixels)
        return qwen.look([qwen.encode(chat)])

    return np.concatenate([look(picture) for picture in pictures])


async def domain_figures(judge: Judge, generator: Generator, n: int) -> dict[str, tuple[int, float]]:
    """On pictures that the domain wasn't fitted on: how many there are, and the share told to be foreign or not read at
    all; "others" is all that are foreign.

    Args:
        n: pictures of a kind at most; photographs and their crops are as many as there are.
    """
    kinds = {
        "drawn": list(drawn("test", n)),
        "worn": list(worn("test", n)),
        "painted": await painted(generator, "test", n),
        "photographs": list(photographs("test")),
        **{kind: list(made(kind, "test", min(n, _MADE))) for kind in KINDS},
    }
    shares = {kind: (len(pictures), await _flagged(judge, pictures)) for kind, pictures in kinds.items()}
    others = [shares[kind] for kind in ("photographs", *KINDS)]
    count = sum(number for number, _ in others)
    shares["others"] = count, sum(number * share for number, share in others) / count
    return shares


async def _flagged(judge: Judge, pictures: Sequence[Image.Image]) -> float:
    outcomes = await judged(judge, [png(picture) for picture in pictures])
    return float(np.mean([not isinstance(outcome, Assessment) or outcome.in_domain is False for outcome in outcomes]))


# --- pictures of the world ---------------------------------------------------------------------------------------


def drawn(split: str, count: int) -> Iterator[Image.Image]:
    """Scenes in several sizes, every fifth compressed as photographs are on the web."""
    name, first = _FIRST[split]
    for index in range(count):
        picture, side = render(scene_at(name, first + index)), _SIZES[index % len(_SIZES)]
        how = Image.Resampling.LANCZOS if index % 2 else Image.Resampling.BICUBIC
        picture = picture if side == picture.width else picture.resize((side, side), how)
        yield _compressed(picture, 60 + index % 36) if index % 5 == 0 else picture


def worn(split: str, count: int) -> Iterator[Image.Image]:
    """Scenes with the flaws that the judge's vision tower has seen (`album.weathered`)."""
    name, first = _FIRST[split]
    rng = np.random.default_rng(_SEEDS[split])
    for index in range(count):
        yield weathered(render(scene_at(name, first + 10_000 + index), RENDERED_SIZE), rng)


async def painted(generator: Generator, split: str, count: int) -> list[Image.Image]:
    """Pictures of the generator: captions whole, in part and bare, and invented prompts, most with a target, by the
    base weights, with guidance from none to strong, and by the default policy in its own way."""

    async def paint(request: GenerationRequest) -> Image.Image:
        (data,) = [event.data async for event in generator.generate(request) if isinstance(event, GeneratedImage)]
        return Image.open(io.BytesIO(data)).convert("RGB")

    requests = list(_requests(split, count))
    pictures: list[Image.Image] = []
    for start in range(0, count, _TOGETHER):
        pictures += await asyncio.gather(*map(paint, requests[start : start + _TOGETHER]))
    return pictures


def _requests(split: str, count: int) -> Iterator[GenerationRequest]:
    name, first = _FIRST[split]
    seed = _SEEDS[split]
    rng = np.random.default_rng(seed)
    for index in range(count):
        scene = scene_at(name, first + index)
        match index % 4:
            case 0:
                prompt = emotional_caption(scene, rng)
            case 1:
                prompt = emotional_caption(scene, rng, share=0.5)
            case 2:
                prompt = neutral_caption(scene, rng)
            case _:
                prompt = invented_prompt(rng, scene.subject)
        if rng.random() < 0.6:
            prompt += ", " + target_phrase(AffectPoint(*rng.uniform(1, 9, 2)))
        base, guidance = index // 4 % 2, float(rng.choice((1.0, 2.5, 2.5, 2.5, 4.0)))
        yield GenerationRequest(
            prompt=prompt,
            seeds=(100_000 * seed + index,),
            policy=BASE_POLICY if base else NANO_PROFILE.generator.policy,
            guidance=guidance if base else None,
        )


async def _painted_once(folder: Path) -> list[Image.Image]:
    """The painted pictures to fit on, from `folder` where they lie there already."""
    path = folder / f"painted-{_PAINTED}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        generator = LocalGenerator.load(NANO_PROFILE.generator)
        try:
            pictures = await painted(generator, "calibration", _PAINTED)
        finally:
            generator.close()
        partial = path.with_suffix(".partial.npy")
        np.save(partial, np.stack([np.asarray(picture) for picture in pictures]))
        partial.rename(path)
    return [Image.fromarray(pixels) for pixels in np.load(path, allow_pickle=False)]


def _compressed(picture: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")
