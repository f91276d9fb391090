"""Where EMOTIC's categories lie in valence, arousal and dominance, and which of Ekman's emotions is near enough.

A linear regression from the categories that a person was given to that person's valence, arousal and dominance: the
intercept and a category's weight together are the place of the category alone. Fitted on every training part of a
repeated k-fold, which gives the place, how far it moves between fits, and how much the categories explain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN
from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.data.eemodb.ekman import affect_distance, ekman_anchors

Point = tuple[float, float, float]
"""Valence, arousal and dominance, on 1-9."""


@dataclass(frozen=True, kw_only=True)
class ClusteringSettings:
    """How categories become places and places become emotions. EEmo-Logic publishes no numbers; these are ours."""

    folds: int = 5
    repeats: int = 10
    radius: float = 2.0
    """Farthest that a category may lie from an emotion's word, in points of the 1-9 scale (`affect_distance`)."""
    seed: int = 0
    """Seed of the folds."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One category."""

    point: Point
    spread: float
    """Standard deviation of the place between fits, the largest of the three axes."""
    nearest: str
    """The nearest of `taxonomies.EKMAN`."""
    distance: float
    """To the nearest one's anchor."""


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """All categories."""

    clusters: Mapping[str, Cluster]
    explained: Point
    """R^2 on the parts left out, by axis."""
    radius: float

    @property
    def labels(self) -> dict[str, str]:
        """The emotion of each category that lies within the radius of one."""
        return {name: one.nearest for name, one in self.clusters.items() if one.distance <= self.radius}


def cluster_categories(
    categories: Sequence[Sequence[str]], points: NDArray[np.float64], settings: ClusteringSettings
) -> Clustering:
    """Fits and names every category that occurs.

    Args:
        categories: of each annotated person.
        points: that person's valence, arousal and dominance on 1-9, shape (n, 3).

    Raises:
        InvalidRequest: fewer people than folds.
    """
    if len(categories) < 2 * settings.folds:
        raise InvalidRequest.of(
            "clustering",
            f"needs at least {2 * settings.folds} people with categories and ratings, {len(categories)} are there",
        )
    # Here, since it takes long to import, and every `data` command reads this module's defaults.
    from sklearn.linear_model import LinearRegression
    from sklearn.metrics import r2_score
    from sklearn.model_selection import RepeatedKFold
    from sklearn.preprocessing import MultiLabelBinarizer

    binarizer = MultiLabelBinarizer()
    given = binarizer.fit_transform(categories)
    places, explained = [], []
    for train, test in RepeatedKFold(
        n_splits=settings.folds, n_repeats=settings.repeats, random_state=settings.seed
    ).split(given):
        fitted = LinearRegression().fit(given[train], points[train])
        places.append(fitted.intercept_ + fitted.coef_.T)
        explained.append(r2_score(points[test], fitted.predict(given[test]), multioutput="raw_values"))
    means = np.clip(np.mean(places, axis=0), SCALE_MIN, SCALE_MAX)
    spreads = np.std(places, axis=0).max(axis=1)
    anchors = ekman_anchors()
    names = list(anchors)
    away = affect_distance(means[:, None], np.array(list(anchors.values()))[None])
    return Clustering(
        clusters={
            str(category): Cluster(
                point=_point(mean),
                spread=float(spread),
                nearest=names[int(distances.argmin())],
                distance=float(distances.min()),
            )
            for category, mean, spread, distances in zip(binarizer.classes_, means, spreads, away, strict=True)
        },
        explained=_point(np.mean(explained, axis=0)),
        radius=settings.radius,
    )


def _point(values: NDArray[np.float64]) -> Point:
    valence, arousal, dominance = (float(value) for value in values)
    return valence, arousal, dominance
