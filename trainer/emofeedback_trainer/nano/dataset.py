"""A data set of drawn scenes: the nano world's pictures on the record that photographs come on, with feelings known.

Every scene is made from the seed, its split and its number alone, so the same settings give the same bytes.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from emofeedback.domain.errors import InvalidRequest
from emofeedback.storage.files import held
from emofeedback_trainer.data.build_cli import Subcommands, add_builder, add_counts, report, shown_progress
from emofeedback_trainer.data.card import Card, Show, begin, finish
from emofeedback_trainer.data.records import RankedEmotion, Sample
from emofeedback_trainer.data.storage import SPLITS, write_split
from emofeedback_trainer.nano.world.album import RENDERED_SIZE, WORN, weathered
from emofeedback_trainer.nano.world.captions import emotional_caption, neutral_caption
from emofeedback_trainer.nano.world.language import thoughts
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import Scene, affect, dominance, emotion, sample_scene, shares

_EXAMPLES = """examples:
  emofeedback-train nano dataset runs/scenes
  emofeedback-train nano dataset runs/few --train 200 --val 50 --test 50 --seed 3 --worn 0
"""
SOURCE = "scenes"
_LICENSE = "Apache-2.0"
_STREAM = 7
"""Keeps these scenes apart from those of `numbered.scene_at`, on which the embedded models were trained."""


@dataclass(frozen=True, kw_only=True)
class SceneData:
    """How many scenes to draw, and which."""

    train: int = 4000
    """Scenes to learn from; 0: no such split."""
    val: int = 500
    """Scenes to choose settings by."""
    test: int = 1000
    """Scenes to measure on."""
    seed: int = 0
    """Another seed, other scenes."""
    worn: float = WORN
    """Share of the pictures that are softened, noisy and compressed, in [0, 1], as generated ones are."""


def build_scenes(folder: Path, data: SceneData, progress: Show) -> None:
    """Draws every split that the folder doesn't have yet, and writes its card.

    Args:
        progress: is called with each split's scenes.

    Raises:
        InvalidRequest: a setting is out of its range.
        FailedPrecondition: the folder holds another data set.
    """
    _check(data)
    card = Card(
        title="Drawn scenes",
        about="Pictures of the nano world, drawn by a program that knows what each part of a scene does to the "
        "feeling: valence, arousal, dominance and emotion are exact, captions and reasons follow from the scene. "
        "It is no photograph and says nothing about people.",
        made_by=f"emofeedback-train nano dataset OUT --train {data.train} --val {data.val} --test {data.test} "
        f"--seed {data.seed} --worn {data.worn:g}",
    )
    begin(folder, card)
    for split in SPLITS:
        count = getattr(data, split)
        if count and not (folder / split).exists():
            write_split(folder, split, _drawn(data, split, count, progress))
    finish(folder, card)


def _check(data: SceneData) -> None:
    for field in (*SPLITS, "seed"):
        if getattr(data, field) < 0:
            raise InvalidRequest.of(field, f"is {getattr(data, field)}, it must be 0 or more")
    if not any(getattr(data, split) for split in SPLITS):
        raise InvalidRequest.of("train", "is 0 as the other splits are, at least one must have scenes")
    if not 0 <= data.worn <= 1:
        raise InvalidRequest.of("worn", f"is {data.worn:g}, it must lie in [0, 1]")


def scene_sample(scene: Scene, rng: np.random.Generator, *, id: str, split: str, worn: bool) -> Sample:
    """One scene as a sample: its picture a PNG, its reasons the first comment."""
    picture = render(scene, RENDERED_SIZE)
    if worn:
        picture = weathered(picture, rng)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return replace(described(scene, rng, id=id, split=split), image=stream.getvalue())


def described(scene: Scene, rng: np.random.Generator, *, id: str, split: str) -> Sample:
    """What is known of a scene, without its picture."""
    return replace(
        labeled(scene, id=id, split=split),
        neutral_prompt=neutral_caption(scene, rng),
        emotional_prompt=emotional_caption(scene, rng),
    )


def labeled(scene: Scene, *, id: str, split: str) -> Sample:
    """A scene's labels and reasons, without picture and captions."""
    point = affect(scene)
    return Sample(
        id=id,
        valence=round(point.valence, 4),
        arousal=round(point.arousal, 4),
        dominance=round(dominance(scene), 4),
        emotion=emotion(scene),
        label=emotion(scene).value,
        ranking=ranking(scene),
        comments=(thoughts(scene),),
        split=split,
        source=SOURCE,
        license=_LICENSE,
    )


def ranking(scene: Scene) -> tuple[RankedEmotion, ...]:
    """All eight emotions by their shares, most felt first, so that another taxonomy can sum them; six digits, for the
    last of them is a millionth and still has its place."""
    felt = sorted(shares(scene).items(), key=lambda item: -item[1])
    return tuple(RankedEmotion(label=name.value, weight=float(f"{share:.6g}")) for name, share in felt)


def _drawn(data: SceneData, split: str, count: int, progress: Show) -> Iterator[Sample]:
    for index in range(count):
        rng = np.random.default_rng((_STREAM, data.seed, SPLITS.index(split), index))
        scene = sample_scene(rng)
        worn = bool(rng.random() < data.worn)
        yield scene_sample(scene, rng, id=f"{SOURCE}-{data.seed}-{split}-{index:06d}", split=split, worn=worn)
        progress(split, index + 1, count)


def add_dataset(commands: Subcommands) -> None:
    """Declares `emofeedback-train nano dataset`."""
    defaults = SceneData()
    purpose = "draw a data set of the nano world, whose feelings are known"
    parser = add_builder(commands, "dataset", purpose, _EXAMPLES)
    add_counts(parser, defaults, "scenes")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="another seed, other scenes")
    parser.add_argument(
        "--worn",
        type=float,
        default=defaults.worn,
        help=f"share of pictures with the flaws of generated ones (default {defaults.worn:g})",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    data = SceneData(
        train=arguments.train, val=arguments.val, test=arguments.test, seed=arguments.seed, worn=arguments.worn
    )
    with held(arguments.out), shown_progress() as show:
        build_scenes(arguments.out, data, show)
    report(arguments.out)
