"""`emofeedback-train nano tokens`: what are the judge's reasoning tokens worth, and what do they hold?

Measured on scenes that nobody was trained on: the rating behind the tokens against the short one, both asked through
the services' own engine; the tokens hidden from the reply, exchanged for another picture's, and read as text; and the
same of pictures that are only imagined.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from transformers import AutoTokenizer

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import Judge
from emofeedback.domain.reasoning import Imagination, Reasoning
from emofeedback.judge.local import LocalJudge
from emofeedback.judge.prompts import reason_token, variation_token
from emofeedback.observability.console import say
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback_trainer.core.tables import table
from emofeedback_trainer.latent.reading import Reader, Sees, Thought
from emofeedback_trainer.nano.measure.judge import errors, judged, png
from emofeedback_trainer.nano.world.album import RENDERED_SIZE
from emofeedback_trainer.nano.world.language import core, imagined_scene
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.reading import in_the_mood, named_parts, parts_present
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import PLACES, SUBJECTS, Scene, affect

_CALL = 50
"""Questions that are read at once."""
_SEED = 16


_SCENES = 1000
_ROWS: tuple[tuple[str, str, str], ...] = (
    ("short_valence_mae", "short rating: valence MAE", ""),
    ("short_arousal_mae", "short rating: arousal MAE", ""),
    ("short_class_accuracy", "short rating: emotion right", ""),
    ("latent_valence_mae", "behind the tokens: valence MAE", "at most 0.36"),
    ("latent_arousal_mae", "behind the tokens: arousal MAE", "at most 0.42"),
    ("latent_class_accuracy", "behind the tokens: emotion right", "at least 0.765"),
    ("latent_time", "behind the tokens: time, by that of the short rating", "at most 1.15"),
    ("tokens_valence_mae", "from the tokens alone: valence MAE", ""),
    ("tokens_arousal_mae", "from the tokens alone: arousal MAE", ""),
    ("hidden_cost", "the tokens hidden from the reply: error grows by", "at least 0.05"),
    ("swapped_slope", "another picture's tokens: slope with which they pull the rating", "at least 0.2"),
    ("look_text_right", "text read from the tokens: what it names is there", "at least 0.85"),
    ("look_text_whole", "  of what is there it names", ""),
    ("look_text_subject", "  subject and place right", ""),
    ("imagined_target_mae", "imagined, from the tokens alone: the target's numbers, MAE", ""),
    ("imagined_error", "imagined, as text: distance of the scene from the target, V and A summed", ""),
    ("imagined_best", "  of the scenes that it learned from", ""),
    ("imagined_text_right", "imagined: what the text names is of that scene", ""),
    ("imagined_text_subject", "  subject and place right", ""),
    ("imagined_different", "imagined: different scenes in {variations} variations", ""),
)


def run(arguments: argparse.Namespace) -> None:
    """Measures the embedded judge on at most `arguments.limit` scenes, and prints, as JSON where `arguments.json`."""
    count = min(arguments.limit or _SCENES, _SCENES)
    scenes = [scene_at("evaluation", index) for index in range(count)]
    settings = NANO_PROFILE.judge
    judge = LocalJudge.load(settings)
    try:
        metrics = asyncio.run(_engine_metrics(judge, scenes))
    finally:
        judge.close()
    folder = Path(settings.checkpoint)
    vocabulary = AutoTokenizer.from_pretrained(folder).get_added_vocab()
    reasons, variations = (
        next(number for number in itertools.count() if name(number) not in vocabulary)
        for name in (reason_token, variation_token)
    )
    metrics |= token_metrics(folder, scenes, reasons=reasons, variations=variations)
    if arguments.json:
        say(json.dumps({"n": count, **metrics}))
    else:
        rows = [(what.format(variations=variations), f"{metrics[key]:.3f}", aim) for key, what, aim in _ROWS]
        say(table((f"{count:,} scenes", "value", "aim"), rows))


async def _engine_metrics(judge: Judge, scenes: Sequence[Scene]) -> dict[str, float]:
    """Both ratings through the engine; time is that of all its threads, so that other work doesn't count."""
    images = [png(render(scene)) for scene in scenes]
    metrics: dict[str, float] = {}
    seconds: dict[str, float] = {}
    ways: tuple[tuple[str, Reasoning], ...] = (("short", "none"), ("latent", "latent"))
    for name, reasoning in ways:
        began = time.process_time()
        outcomes = await judged(judge, images, reasoning=reasoning)
        seconds[name] = time.process_time() - began
        metrics |= {f"{name}_{key}": one.value for key, one in errors(outcomes, scenes).items()}
    return {**metrics, "latent_time": seconds["latent"] / seconds["short"]}


def token_metrics(checkpoint: Path, scenes: Sequence[Scene], *, reasons: int, variations: int) -> dict[str, float]:
    """What a checkpoint's reasoning tokens hold of scenes, and of as many imaginations as a fifth of them.

    `*_hidden_cost`: by how much the error grows when the reply doesn't see the tokens, as a share of it. `swapped_*`:
    the slope of the reply's rating on that of another picture whose tokens stand in the place of its own.
    """
    reader = Reader(checkpoint, reasons=reasons, variations=variations)
    return {**_looks(reader, scenes), **_imaginations(reader, scenes[: max(1, len(scenes) // 5)], variations)}


def _looks(reader: Reader, scenes: Sequence[Scene]) -> dict[str, float]:
    true = np.array([(point.valence, point.arousal) for point in map(affect, scenes)])
    thoughts = [reader.look(pictures) for pictures in _pictures(scenes)]
    ways: tuple[Sees, ...] = ("all", "tokens", "question")
    read = {sees: np.concatenate([reader.ratings(thought, sees) for thought in thoughts]) for sees in ways}
    mae = {sees: np.abs(ratings - true).mean(axis=0) for sees, ratings in read.items()}
    swapped = np.concatenate([reader.ratings(_turned(reader, thought)) for thought in thoughts])
    others = np.concatenate([np.roll(part, -1, axis=0) for part in _parts(read["all"])])
    slopes = [
        float(np.polyfit((others - read["all"])[:, axis], (swapped - read["all"])[:, axis], 1)[0]) for axis in (0, 1)
    ]
    texts = [text for thought in thoughts for text in reader.texts(thought)]
    return {
        "tokens_valence_mae": float(mae["tokens"][0]),
        "tokens_arousal_mae": float(mae["tokens"][1]),
        "hidden_cost": float((mae["question"] / mae["all"]).mean() - 1),
        "swapped_slope": float(np.mean(slopes)),
        **_agreement("look", texts, [(core(scene), parts_present(scene)) for scene in scenes]),
    }


def _imaginations(reader: Reader, scenes: Sequence[Scene], variations: int) -> dict[str, float]:
    """Held-out prompts with targets anywhere but at the edge of the plane."""
    rng = np.random.default_rng(_SEED)
    asked: list[tuple[str, str, AffectPoint]] = []
    for _ in scenes:
        valence, arousal = (round(float(value), 1) for value in rng.uniform(1.5, 8.5, 2))
        subject, place = (names[int(rng.integers(len(names)))] for names in (SUBJECTS, PLACES))
        asked.append((subject, place, AffectPoint(valence, arousal)))
    bare = [_bare(subject, place) for subject, place, _ in asked]
    imagined = [
        Imagination(prompt=core(scene), target=target) for scene, (_, _, target) in zip(bare, asked, strict=True)
    ]
    texts: list[list[str]] = []
    errors: list[NDArray[np.float64]] = []
    target = np.array([(point.valence, point.arousal) for _, _, point in asked])
    for variation in range(variations):
        thoughts = [reader.imagine(imagined[at : at + _CALL], variation) for at in range(0, len(asked), _CALL)]
        texts.append([text for thought in thoughts for text in reader.texts(thought)])
        errors.append(np.abs(np.concatenate([reader.ratings(one, "tokens") for one in thoughts]) - target))
    meant = [[imagined_scene(target, s, p, way) for s, p, target in asked] for way in range(variations)]
    told = [in_the_mood(scene, text) for way in texts for scene, text in zip(bare, way, strict=True)]
    felt = np.array([(point.valence, point.arousal) for point in map(affect, told)])
    best = np.array([(p.valence, p.arousal) for way in meant for p in map(affect, way)])
    away = np.tile(target, (variations, 1))
    different = [len({frozenset(named_parts(text)) for text in row}) for row in zip(*texts, strict=True)]
    wanted = [(core(scene), parts_present(scene)) for way in meant for scene in way]
    return {
        "imagined_target_mae": float(np.mean(errors)),
        "imagined_error": float(np.abs(felt - away).sum(axis=1).mean()),
        "imagined_best": float(np.abs(best - away).sum(axis=1).mean()),
        "imagined_different": float(np.mean(different)),
        **_agreement("imagined", [text for way in texts for text in way], wanted),
    }


def _agreement(name: str, texts: Sequence[str], wanted: Sequence[tuple[str, set[tuple[str, str]]]]) -> dict[str, float]:
    """How much of what texts name is right, how much of what is right they name, and how often the subject is."""
    said = [named_parts(text) for text in texts]
    right = sum(len(one & parts) for one, (_, parts) in zip(said, wanted, strict=True))
    kept = [_without_mood(text, kept) for text, (kept, _) in zip(texts, wanted, strict=True)]
    return {
        f"{name}_text_right": right / max(1, sum(map(len, said))),
        f"{name}_text_whole": right / max(1, sum(len(parts) for _, parts in wanted)),
        f"{name}_text_subject": float(np.mean(kept)),
    }


def _without_mood(text: str, kept: str) -> bool:
    """Whether a text is about the subject and the place."""
    words = kept.split()
    return words[1] in text and words[-1] in text


def _turned(reader: Reader, thought: Thought) -> Thought:
    count = len(thought.read)
    return reader.swapped(thought, [(index + 1) % count for index in range(count)])


def _parts(rows: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return [rows[at : at + _CALL] for at in range(0, len(rows), _CALL)]


def _pictures(scenes: Sequence[Scene]) -> list[list[Image]]:
    drawn = [render(scene, 2 * RENDERED_SIZE) for scene in scenes]
    return [drawn[at : at + _CALL] for at in range(0, len(drawn), _CALL)]


def _bare(subject: str, place: str) -> Scene:
    return Scene(subject=subject, place=place, expression="", weather="", extras=(), light="", layout=0)
