"""The paper's data set (EmoFeedback^2, section 4.1), built from EmoSet: pictures with captions, valence and arousal.

1. From each split of EmoSet a seeded choice of pictures.
2. Valence and arousal of each drawn from the Gaussians of its emotion's word in a lexicon.
3. A neutral and an emotional caption by the judge's vision-language model; in the test split only the neutral one.

The same settings, source, lexicon and judge give the same bytes, also where the build was cut and gone on with.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from emofeedback.backends import Engines
from emofeedback.domain.affect import Emotion, LexiconStatistics
from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.core.tables import table
from emofeedback_trainer.data.captioning import Task, caption_all
from emofeedback_trainer.data.captions import Captions
from emofeedback_trainer.data.card import Card, Show, begin, finish, is_finished
from emofeedback_trainer.data.draws import Outside, draw_affect
from emofeedback_trainer.data.records import BadRow, Sample
from emofeedback_trainer.data.storage import SPLITS, write_split

_CAPTIONS = ".captions"


@dataclass(frozen=True, kw_only=True)
class EmosetBuild:
    """What to make of EmoSet."""

    train: int = 14_563
    """Pictures to learn from; the paper's number. 0: no such split."""
    val: int = 0
    """Pictures to choose settings by; the paper has none."""
    test: int = 1_000
    """Pictures to measure on; the paper's number."""
    seed: int = 0
    """Seed of the choice and of the draws."""
    outside: Outside = "truncate"
    """What becomes of draws beyond the scale."""
    judges: int = 1
    """Vision-language models that caption at a time."""
    gpus: float = 0.0
    """GPUs of each of them."""
    skip_bad: bool = False
    """Leave out pictures that get no captions, and say which, instead of stopping."""


def build_emoset(
    samples: Sequence[Sample],
    folder: Path,
    build: EmosetBuild,
    *,
    statistics: Mapping[Emotion, LexiconStatistics],
    engines: Engines,
    made_by: str,
    show: Show,
) -> list[BadRow]:
    """Builds the data set, or goes on with a build that was cut.

    Args:
        samples: EmoSet's, with emotion and split, in their order.
        engines: gives each captioning worker its judge.
        made_by: the command, for the card.

    Returns:
        The pictures that were left out: bad files, and those that the judge gave no caption of.

    Raises:
        InvalidRequest: a split has fewer pictures than wanted, or, without `skip_bad`, a picture has no captions.
        FailedPrecondition: the folder holds another data set, or captions of another judge.
        EmoFeedbackError: the judge failed; what was captioned is kept.
    """
    chosen = choose(samples, build)
    drawn = [
        sample
        for number, split in enumerate(SPLITS)
        for sample in _with_affect(chosen[split], statistics, np.random.default_rng((build.seed, number, 1)), build)
    ]
    card = _card(build, drawn, statistics, made_by)
    begin(folder, card)
    if is_finished(folder):
        shutil.rmtree(folder / _CAPTIONS, ignore_errors=True)
        return []
    tasks = [Task(image=_image(sample), emotion=None if sample.split == "test" else sample.emotion) for sample in drawn]
    captions, model = caption_all(tasks, engines, folder / _CAPTIONS, judges=build.judges, gpus=build.gpus, show=show)
    good, bad = _with_captions(drawn, captions)
    if bad and not build.skip_bad:
        raise InvalidRequest.of(bad[0].place, f"{bad[0].problem} (--skip-bad leaves such pictures out and counts them)")
    for split in SPLITS:
        if chosen[split] and not (folder / split).exists():
            write_split(folder, split, (sample for sample in good if sample.split == split))
    left_out = (
        (f"{len(bad)} pictures of the choice are left out, for want of a readable file or a caption.",) if bad else ()
    )
    card = replace(card, facts={**card.facts, "captions": f"{model.name} {model.digest}"}, notes=card.notes + left_out)
    finish(folder, card)
    shutil.rmtree(folder / _CAPTIONS)
    return bad


def choose(samples: Sequence[Sample], build: EmosetBuild) -> dict[str, list[Sample]]:
    """A seeded choice without repetition from each split, in the source's order.

    Raises:
        InvalidRequest: a number is negative, a split has fewer pictures, or nothing is wanted at all.
    """
    chosen = {}
    for number, split in enumerate(SPLITS):
        there, wanted = [sample for sample in samples if sample.split == split], getattr(build, split)
        if not 0 <= wanted <= len(there):
            raise InvalidRequest.of(
                split, f"is {wanted}, the source's {split} split has {len(there)} pictures: ask for 0 to {len(there)}"
            )
        rng = np.random.default_rng((build.seed, number, 0))
        chosen[split] = [there[place] for place in sorted(rng.permutation(len(there))[:wanted])]
    if not any(chosen.values()):
        raise InvalidRequest.of("train", "is 0 as the other splits are, at least one must have pictures")
    return chosen


def _with_affect(
    samples: Sequence[Sample],
    statistics: Mapping[Emotion, LexiconStatistics],
    rng: np.random.Generator,
    build: EmosetBuild,
) -> list[Sample]:
    emotions = [_emotion(sample) for sample in samples]
    points = draw_affect(emotions, statistics, rng, build.outside)
    return [
        replace(sample, valence=float(valence), arousal=float(arousal))
        for sample, (valence, arousal) in zip(samples, points, strict=True)
    ]


def _with_captions(samples: Sequence[Sample], captions: Sequence[Captions]) -> tuple[list[Sample], list[BadRow]]:
    good: list[Sample] = []
    bad: list[BadRow] = []
    for sample, one in zip(samples, captions, strict=True):
        if one.problem:
            bad.append(BadRow(file=sample.split, row=0, column=sample.id, problem=one.problem))
        else:
            good.append(replace(sample, neutral_prompt=one.neutral, emotional_prompt=one.emotional))
    return good, bad


def _emotion(sample: Sample) -> Emotion:
    if sample.emotion is None:
        raise InvalidRequest.of(f"{sample.split}.{sample.id}.emotion", "is missing, it is what valence is drawn by")
    return sample.emotion


def _image(sample: Sample) -> Path:
    if not isinstance(sample.image, Path):
        raise InvalidRequest.of(f"{sample.split}.{sample.id}.image", "is no file, captions are made of files")
    return sample.image


def _card(
    build: EmosetBuild, samples: Sequence[Sample], statistics: Mapping[Emotion, LexiconStatistics], made_by: str
) -> Card:
    choice = hashlib.sha256("\n".join(f"{s.split} {s.id} {s.emotion}" for s in samples).encode())
    beyond = {"truncate": "truncated to the scale", "clip": "clipped to the scale's ends"}[build.outside]
    rows = [
        (emotion, f"{w.valence_mean:.2f} ± {w.valence_sd:.2f}", f"{w.arousal_mean:.2f} ± {w.arousal_sd:.2f}")
        for emotion, w in statistics.items()
    ]
    return Card(
        title="EmoSet with captions, valence and arousal",
        about="Pictures of EmoSet with captions by a vision-language model. Nobody rated these pictures: valence and "
        "arousal are draws from what people feel at the emotion's word, so they are right on average and noisy for "
        "any one picture.",
        made_by=made_by,
        facts={"choice of pictures": f"sha256:{choice.hexdigest()}"},
        notes=(
            f"Valence and arousal are drawn apart from these Gaussians, {beyond}:",
            table(("emotion", "valence", "arousal"), rows),
            "Pictures of the test split have a neutral caption only.",
        ),
    )
