"""EEmoDB's labels for the pictures of several sources, and questions about them.

1. Categories become Ekman's emotions or neutral: by synonym, else by the clustering of EMOTIC's categories.
2. Where annotators voted, emotions are ranked; a source's own ranking is kept, its categories mapped.
3. Valence, arousal or dominance that nobody rated is the mean over the words of the picture's comments in a lexicon.
4. Questions and answers are made of the labels: `questions/<split>.jsonl`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from emofeedback.domain.affect import clip_to_scale
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.taxonomies import EKMAN
from emofeedback_trainer.core.tables import table
from emofeedback_trainer.data.card import Card, Show, begin, finish, is_finished
from emofeedback_trainer.data.eemodb.clustering import Clustering, ClusteringSettings, cluster_categories
from emofeedback_trainer.data.eemodb.labels import to_ekman, votes_to_ekman
from emofeedback_trainer.data.eemodb.question_files import write_questions
from emofeedback_trainer.data.eemodb.questions import questions
from emofeedback_trainer.data.eemodb.ranking import PLACES, rank_emotions
from emofeedback_trainer.data.lexicon import Lexicon, comment_affect
from emofeedback_trainer.data.readers import emotic
from emofeedback_trainer.data.records import AXES, RankedEmotion, Sample
from emofeedback_trainer.data.storage import SPLITS, read_split, write_split


@dataclass(frozen=True, kw_only=True)
class EemodbBuild:
    """How the labels are made."""

    clustering: ClusteringSettings = field(default_factory=ClusteringSettings)
    test_share: float = 0.1
    """Share of pictures that goes to the test split, of sources that aren't split; in [0, 1]."""
    seed: int = 0
    """Seed of that choice and of the questions."""


def build_eemodb(
    samples: Sequence[Sample], folder: Path, build: EemodbBuild, *, lexicon: Lexicon | None, made_by: str, show: Show
) -> int:
    """Builds the data set, or goes on with a build that was cut.

    Args:
        samples: of all sources, as their readers give them.
        lexicon: None: comments say nothing about valence, arousal and dominance.

    Returns:
        How many samples are left out, because they have no picture, or neither an emotion nor a rating.

    Raises:
        InvalidRequest: no sample is left; the test share is off its range.
        FailedPrecondition: the folder holds another data set.
    """
    if not 0 <= build.test_share <= 1:
        raise InvalidRequest.of("test_share", f"is {build.test_share:g}, it must lie in [0, 1]")
    clustering = clustering_of(samples, build.clustering)
    labeled = [relabeled(sample, clustering.labels if clustering else {}, lexicon) for sample in samples]
    kept = [_in_a_split(sample, build) for sample in labeled if sample.image is not None and _says_something(sample)]
    if not kept:
        raise InvalidRequest.of("source", "no sample has both a picture and a label that could be used")
    left_out = len(samples) - len(kept)
    card = _card(kept, left_out, clustering, made_by)
    begin(folder, card)
    if is_finished(folder):
        return left_out
    for split in SPLITS:
        of_split = [sample for sample in kept if sample.split == split]
        if of_split and not (folder / split).exists():
            write_split(folder, split, _counted(of_split, split, show))
        if of_split:
            write_questions(folder, split, questions(read_split(folder, split), build.seed))
    finish(folder, card)
    return left_out


def clustering_of(samples: Iterable[Sample], settings: ClusteringSettings) -> Clustering | None:
    """The clustering of EMOTIC's categories, from whatever of EMOTIC is among the samples; None where nothing is."""
    people = [sample for sample in samples if sample.source == emotic.SOURCE and _rated(sample)]
    if not people:
        return None
    categories = [sorted({category for vote in person.votes for category in vote}) for person in people]
    points = np.array([[getattr(person, axis) for axis in AXES] for person in people])
    return cluster_categories(categories, points, settings)


def relabeled(sample: Sample, clusters: Mapping[str, str], lexicon: Lexicon | None) -> Sample:
    """The sample with EEmoDB's labels: Ekman's emotion, votes and ranking in Ekman's, missing ratings by its comments.

    Its id begins with its source's name, so that no two sources share one.
    """
    votes = votes_to_ekman(sample.votes, clusters)
    ranking = _ranking_to_ekman(sample.ranking, clusters) if sample.ranking else rank_emotions(votes)
    label = ranking[0].label if ranking else to_ekman(sample.label, clusters) or ""
    spoken = None if lexicon is None else comment_affect(sample.comments, lexicon)
    valence, arousal, dominance = (
        clip_to_scale(round(float(spoken[number]), 4)) if spoken is not None and rated is None else rated
        for number, rated in enumerate((sample.valence, sample.arousal, sample.dominance))
    )
    return replace(
        sample,
        id=f"{sample.source}/{sample.id}",
        valence=valence,
        arousal=arousal,
        dominance=dominance,
        label=label,
        votes=votes,
        ranking=ranking,
    )


def _ranking_to_ekman(ranking: Sequence[RankedEmotion], clusters: Mapping[str, str]) -> tuple[RankedEmotion, ...]:
    """A source's own ranking: the weights of categories that mean the same are summed; ties leave no ranking."""
    weights: dict[str, float] = {}
    for place in ranking:
        if (label := to_ekman(place.label, clusters)) is not None:
            weights[label] = weights.get(label, 0.0) + place.weight
    order = sorted(weights.items(), key=lambda item: item[1], reverse=True)
    if any(before[1] == after[1] for before, after in pairwise(order[: PLACES + 1])):
        return ()
    return tuple(RankedEmotion(label=label, weight=weight) for label, weight in order[:PLACES])


def _in_a_split(sample: Sample, build: EemodbBuild) -> Sample:
    """Pictures of sources that aren't split are told apart by a hash of their ids, whatever other sources there are."""
    if sample.split:
        return sample
    share = int.from_bytes(hashlib.sha256(f"{build.seed} {sample.id}".encode()).digest()[:8], "big") / 2**64
    return replace(sample, split="test" if share < build.test_share else "train")


def _counted(samples: Sequence[Sample], split: str, show: Show) -> Iterable[Sample]:
    for number, sample in enumerate(samples, 1):
        yield sample
        show(split, number, len(samples))


def _rated(sample: Sample) -> bool:
    return all(getattr(sample, axis) is not None for axis in AXES)


def _says_something(sample: Sample) -> bool:
    return sample.label in EKMAN or any(getattr(sample, axis) is not None for axis in AXES)


def _card(samples: Sequence[Sample], left_out: int, clustering: Clustering | None, made_by: str) -> Card:
    content = hashlib.sha256()
    for sample in samples:
        labels = (sample.label, sample.valence, sample.arousal, sample.dominance, sample.ranking)
        content.update(f"{sample.split} {sample.id} {labels}\n".encode())
    notes = [
        f"{left_out} samples of the sources are left out: they have no picture, or neither an emotion nor a rating.",
        "`questions/<split>.jsonl` holds questions and answers about the pictures, one JSON object a line; "
        "`images` are ids of this table.",
    ]
    if clustering is not None:
        explained = ", ".join(f"{axis} {value:.2f}" for axis, value in zip(AXES, clustering.explained, strict=True))
        rows = [
            (
                name,
                " / ".join(f"{value:.2f}" for value in one.point),
                f"{one.spread:.2f}",
                one.nearest,
                f"{one.distance:.2f}",
                to_ekman(name, clustering.labels) or "none",
            )
            for name, one in clustering.clusters.items()
        ]
        notes += [
            f"EMOTIC's categories, placed by linear regression (R² on the parts left out: {explained}). A category "
            f"with a synonym keeps it; another one becomes the nearest emotion within {clustering.radius:g} points:",
            table(("category", "V / A / D", "spread between fits", "nearest", "distance", "used as"), rows),
        ]
    return Card(
        title="Pictures and the emotions they evoke",
        about="Pictures of several data sets with their labels brought to one form, after EEmo-Logic's EEmoDB, and "
        "questions about them. The rules are the paper's as far as it states them; thresholds and wordings are ours.",
        made_by=made_by,
        facts={"choice of pictures and labels": f"sha256:{content.hexdigest()}"},
        notes=tuple(notes),
    )
