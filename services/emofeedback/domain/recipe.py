"""How a picture was made, written into the picture itself (docs/recipe.schema.json).

The generator writes what it knows; whoever keeps the picture of a run adds what was wished for and what the judge read.
A picture without a recipe never gets one on the way: whoever paints decides (`generator.recipes` of the profile). One
that its generator signed stays as it was signed (`manifests`). There is nothing in it of the machine, the person or the
time, so the same work gives the same file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback.domain.assessment import Assessment, Distribution
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.optimization import OptimizationRequest
from emofeedback.domain.png import SYNTHETIC, is_signed, read_text, with_texts

KEYWORD = "emofeedback"
"""Of the PNG's text."""
FORMAT = "emofeedback.recipe/1"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the person asked for."""

    prompt: str
    target: AffectPoint
    dominance: float | None = None
    """As `OptimizationRequest.dominance`."""

    @classmethod
    def of(cls, request: OptimizationRequest) -> Wish:
        """What a run of the loop was asked for."""
        return cls(prompt=request.prompt, target=request.target, dominance=request.dominance)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a judge read in the picture, and how sure it was."""

    judge: ModelInfo
    valence: float
    arousal: float
    emotion: Emotion
    confidence: float
    """Probability of `emotion`, in [0, 1]."""
    domain_score: float | None
    """As `Assessment.domain_score`, in bits."""
    valence_interval: tuple[float, float] | None
    """As `Distribution.low` and `high` of the valence; None where the judge gives none."""
    arousal_interval: tuple[float, float] | None
    dominance: float | None = None
    """None where the judge didn't say it."""
    dominance_interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, assessment: Assessment, judge: ModelInfo) -> Reading:
        """An assessment and whose it is, to three places: what is behind them depends on what was judged together."""
        score = assessment.domain_score
        return cls(
            judge=judge,
            valence=round(assessment.valence, 3),
            arousal=round(assessment.arousal, 3),
            emotion=assessment.emotion,
            confidence=round(assessment.confidence, 3),
            domain_score=None if score is None else round(score, 3),
            valence_interval=_interval(assessment.valence_distribution),
            arousal_interval=_interval(assessment.arousal_distribution),
            dominance=None if assessment.dominance is None else round(assessment.dominance, 3),
            dominance_interval=_interval(assessment.dominance_distribution),
        )


@dataclass(frozen=True, kw_only=True)
class ReadEmotion:
    """The emotion tokens that a fused policy read beside the prompt: too many numbers for a recipe, but a judge that
    imagines the wish again has the same."""

    judge: ModelInfo
    """Whose they were."""
    digest: str
    """`EmotionTokens.digest` of the one variation that the picture was painted from."""
    scale: float
    """How much they counted, in [0, 2]."""


@dataclass(frozen=True, kw_only=True)
class PictureRecipe:
    """All that the same pixels need again, and what is known of them."""

    prompt: str
    """What the generator painted."""
    negative_prompt: str
    seed: int
    steps: int
    guidance: float
    width: int
    height: int
    generator: ModelInfo
    """The base model and the policy's name."""
    policy_digest: str
    """`sha256:` and 64 hex digits over the adapter's file; empty for the base weights."""
    pixels: str
    """`sha256:` and 64 hex digits over the pixels, 8-bit RGB, row by row."""
    version: str
    """Of EmoFeedback."""
    emotion: ReadEmotion | None = None
    """None for a picture that was painted without emotion tokens."""
    wish: Wish | None = None
    """None for a picture that is of no run of the loop."""
    reading: Reading | None = None
    """None where no judge was asked, or its reply could not be read."""


def with_recipe(png: bytes, recipe: PictureRecipe) -> bytes:
    """The picture with its recipe, and marked as synthetic.

    Raises:
        ValueError: it is no PNG.
    """
    content = {"format": FORMAT, **dataclasses.asdict(recipe)}
    return with_texts(png, {KEYWORD: json.dumps(content, ensure_ascii=False, allow_nan=False), **SYNTHETIC})


def read_recipe(png: bytes, *, field: str = "image") -> PictureRecipe | None:
    """The recipe that a picture carries; None where it has none.

    Raises:
        InvalidRequest: what it carries is no recipe of this version; `field` is the picture's name.
    """
    text = read_text(png, KEYWORD)
    if text is None:
        return None
    try:
        return _from_json(json.loads(text))
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest.of(field, f"carries a recipe that can't be read: {error!r}") from error


def with_whole_recipe(png: bytes, wish: Wish, reading: Reading | None) -> bytes:
    """A picture of a run with its whole recipe; one that carries none, or is signed, stays as it is."""
    recipe = read_recipe(png)
    return (
        png
        if recipe is None or is_signed(png)
        else with_recipe(png, dataclasses.replace(recipe, wish=wish, reading=reading))
    )


def _from_json(content: Mapping[str, Any]) -> PictureRecipe:
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']!r}, this version reads {FORMAT!r}")
    wish, reading = content["wish"], content["reading"]
    emotion = content.get("emotion")  # earlier recipes have none
    plain: dict[str, type] = {
        **dict.fromkeys(("prompt", "negative_prompt", "policy_digest", "pixels", "version"), str),
        **dict.fromkeys(("seed", "steps", "width", "height"), int),
        "guidance": float,
    }
    return PictureRecipe(
        **{name: kind(content[name]) for name, kind in plain.items()},
        generator=_model(content["generator"]),
        emotion=emotion
        and ReadEmotion(judge=_model(emotion["judge"]), digest=str(emotion["digest"]), scale=float(emotion["scale"])),
        wish=wish
        and Wish(
            prompt=str(wish["prompt"]),
            target=AffectPoint(**wish["target"]),
            dominance=wish.get("dominance"),  # earlier recipes have none, here and below
        ),
        reading=reading
        and Reading(
            judge=_model(reading["judge"]),
            emotion=Emotion(reading["emotion"]),
            domain_score=reading["domain_score"],
            valence_interval=_pair(reading["valence_interval"]),
            arousal_interval=_pair(reading["arousal_interval"]),
            dominance=reading.get("dominance"),
            dominance_interval=_pair(reading.get("dominance_interval")),
            **{name: float(reading[name]) for name in ("valence", "arousal", "confidence")},
        ),
    )


def _interval(distribution: Distribution | None) -> tuple[float, float] | None:
    return None if distribution is None else (round(distribution.low, 3), round(distribution.high, 3))


def _pair(content: Sequence[float] | None) -> tuple[float, float] | None:
    if content is None:
        return None
    low, high = content
    return float(low), float(high)


def _model(content: Mapping[str, Any]) -> ModelInfo:
    return ModelInfo(name=str(content["name"]), digest=str(content["digest"]), policy=str(content["policy"]))
