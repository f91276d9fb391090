"""Emotion6 (Peng et al., CVPR 2015): valence and arousal on 1-9, and how likely each of seven emotions is felt.

ground_truth.txt                tab-separated: [image_filename] [valence] [arousal] [prob. anger] ... [prob. neutral]
images/<keyword>/<number>.jpg
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN
from emofeedback.domain.taxonomies import EKMAN
from emofeedback_trainer.data.records import RankedEmotion, Sample
from emofeedback_trainer.data.rows import Row, table
from emofeedback_trainer.data.taxonomies import mikels

SOURCE = "emotion6"
LICENSE = "Emotion6: research use, cite Peng et al. (2015); pictures belong to their photographers"
SPLITS = ()

_NAME, _VALENCE, _AROUSAL = "[image_filename]", "[valence]", "[arousal]"
_PROBABILITIES = {emotion: f"[prob. {emotion}]" for emotion in EKMAN}
_ROUNDING = 0.01
"""By how much seven probabilities of six digits may miss a sum of 1."""


def rows(folder: Path) -> Iterator[Row]:
    """One row per picture."""
    return table(folder, "ground_truth.txt", (_NAME, _VALENCE, _AROUSAL, *_PROBABILITIES.values()))


def sample(row: Row) -> Sample:
    """One picture, its emotions ranked by probability; those that nobody felt are left out."""
    name = row.text(_NAME)
    felt = {emotion: row.number_in(column, 0, 1) for emotion, column in _PROBABILITIES.items()}
    total = sum(felt.values())
    if abs(total - 1) > _ROUNDING:
        raise row.bad("[prob. anger] to [prob. neutral]", f"sum to {total:g}, it must be 1")
    ranking = tuple(
        RankedEmotion(label=emotion, weight=weight)
        for emotion, weight in sorted(felt.items(), key=lambda item: -item[1])
        if weight > 0
    )
    return Sample(
        id=name,
        source=SOURCE,
        license=LICENSE,
        image=row.path(_NAME, f"images/{name}"),
        valence=row.rating(_VALENCE, SCALE_MIN, SCALE_MAX),
        arousal=row.rating(_AROUSAL, SCALE_MIN, SCALE_MAX),
        emotion=mikels(ranking[0].label),
        label=ranking[0].label,
        ranking=ranking,
    )
