"""Reasoning tokens measured on scenes that nobody was trained on: what they are worth, and what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.reasoning import Imagination
from emofeedback_trainer.latent.reading import Reader, Sees, Thought
from emofeedback_trainer.nano.world.album import RENDERED_SIZE
from emofeedback_trainer.nano.world.language import core, imagined_scene
from emofeedback_trainer.nano.world.reading import in_the_mood, named_parts, parts_present
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import PLACES, SUBJECTS, Scene, affect

_CALL = 50
"""Questions that are read at once."""
_SEED = 16


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
        "latent_valence_mae": float(mae["all"][0]),
        "latent_arousal_mae": float(mae["all"][1]),
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
