"""The held-out panel: what a policy does on pairs that it never trained on, in the eyes of an independent judge.

That judge never rewards, so that reward hacking shows (EmoFeedback^2, section 4 and Figure 7): the reward rises
while the independent judge sees no gain, or while pictures lose their subject, light, color, edges or variety.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import Generator
from emofeedback.storage.files import write_json, write_whole
from emofeedback_trainer.core.pairs import Pair
from emofeedback_trainer.core.rewards import RewardConfig, RewardedImage, rewards
from emofeedback_trainer.core.task import IndependentJudge
from emofeedback_trainer.evaluation.metrics import line
from emofeedback_trainer.evaluation.observations import Observation, look_at
from emofeedback_trainer.evaluation.picture_statistics import brightness, diversity, edges, saturation, to_array

_FIRST_SEED = 500_000
_LEAST_PAIRS = 3
"""Two points always lie on a line."""


@dataclass(frozen=True, kw_only=True)
class PanelMetrics:
    """One measurement; feelings are the independent judge's where there is one, else the judge's."""

    valence_error: float
    """Mean |V - V*|, in points of the 1-9 scale."""
    arousal_error: float
    error: float
    """The sum of both."""
    valence_correlation: float | None
    """Pearson's r of result with target, over all pictures; None where they are of fewer than three pairs."""
    arousal_correlation: float | None
    valence_slope: float
    """Slope of result against target; 1 is obedience, 0 indifference."""
    arousal_slope: float
    subject_accuracy: float | None
    """Share of pictures in which the independent judge sees the prompt's subject; None without an independent judge."""
    alignment: float
    """Mean cosine with the neutral prompt, by the scorer."""
    brightness: float
    """Mean over all pictures, see `picture_statistics`."""
    saturation: float
    """Mean over all pictures."""
    edges: float
    """Mean over all pictures."""
    diversity: float | None
    """Mean over the groups; None where a group has one picture only."""
    judge_reward: float
    """What the run would have rewarded: the weighted sum of the rewards before their normalization, mean."""

    def to_line(self) -> dict[str, float]:
        """The metrics of a line of `panel.jsonl`; what was not measured is not in it."""
        return {name: round(value, 4) for name, value in asdict(self).items() if value is not None}


def measured_by(line: Mapping[str, Any]) -> str:
    """Whose the feelings of a kept measurement are: without an independent judge, that of the rewards'."""
    return "independent judge" if "subject_accuracy" in line else "rewarding judge"  # only the former sees subjects


class Panel:
    """Measures policies, always on the same pairs at the same seeds."""

    def __init__(
        self, *, pairs: Sequence[Pair], images: int, rewards: RewardConfig, independent: IndependentJudge | None
    ) -> None:
        """`images` pictures a pair. `independent` is None where nobody else knows the pictures."""
        self._pairs = pairs
        self._images = images
        self._rewards = rewards
        self._independent = independent

    async def measure(
        self, generator: Generator, judge: Judge, policy: str, *, imagine: bool = False, folder: Path | None = None
    ) -> PanelMetrics:
        """Generates and looks; with `folder`, leaves the pictures and `pairs.json` there.

        Args:
            imagine: paint from what the judge imagines, by a policy that was fused with it.

        Raises:
            FailedPrecondition: without an independent judge, and the judge could read none of the pictures.
            ResourceExhausted: the disk is full.
            EmoFeedbackError: whatever generator or judge raised.
        """
        groups = await look_at(
            self._pairs,
            images=self._images,
            first_seed=_FIRST_SEED,
            policy=policy,
            imagine=imagine,
            generator=generator,
            judge=judge,
            independent=self._independent,
        )
        if folder is not None:
            keep(folder, policy, self._pairs, groups)
        return panel_metrics(self._pairs, groups, self._rewards)


def panel_metrics(pairs: Sequence[Pair], groups: Sequence[Sequence[Observation]], config: RewardConfig) -> PanelMetrics:
    """The metrics of groups of pictures, one group a pair.

    Raises:
        FailedPrecondition: nobody could read any of the pictures.
    """
    seen = [(pair, observation) for pair, group in zip(pairs, groups, strict=True) for observation in group]
    felt = [(pair.target, observation.point) for pair, observation in seen if observation.point is not None]
    if not felt:
        raise FailedPrecondition("the judge could read none of the panel's pictures")
    targets, results = (np.array([(p.valence, p.arousal) for p in points]).T for points in zip(*felt, strict=True))
    valence_error, arousal_error = np.abs(results - targets).mean(axis=1).tolist()
    valence, arousal = line(targets[0], results[0]), line(targets[1], results[1])
    correlates = len(pairs) >= _LEAST_PAIRS
    subjects = [
        observation.independent.subject == pair.subject for pair, observation in seen if observation.independent
    ]
    pictures = [to_array(observation.picture) for _, observation in seen]
    varied = [diversity([observation.picture for observation in group]) for group in groups if len(group) > 1]
    rewarded = [
        _reward(
            RewardedImage(
                image=observation.image,
                prompt=pair.prompt,
                target=pair.target,
                assessment=observation.judged,
                alignment=observation.alignment,
            ),
            config,
        )
        for pair, observation in seen
        if observation.judged
    ]
    return PanelMetrics(
        valence_error=valence_error,
        arousal_error=arousal_error,
        error=valence_error + arousal_error,
        valence_correlation=valence[0] if correlates else None,
        arousal_correlation=arousal[0] if correlates else None,
        valence_slope=valence[1],
        arousal_slope=arousal[1],
        subject_accuracy=float(np.mean(subjects)) if subjects else None,
        alignment=float(np.mean([observation.alignment for _, observation in seen])),
        brightness=float(np.mean([brightness(picture) for picture in pictures])),
        saturation=float(np.mean([saturation(picture) for picture in pictures])),
        edges=float(np.mean([edges(picture) for picture in pictures])),
        diversity=float(np.mean(varied)) if varied else None,
        judge_reward=float(np.mean(rewarded)) if rewarded else 0.0,
    )


def keep(folder: Path, policy: str, pairs: Sequence[Pair], groups: Sequence[Sequence[Observation]]) -> None:
    """Leaves `<pair:02d>-<image>.png` and `pairs.json` in a folder; raises as `write_whole`."""
    for number, group in enumerate(groups):
        for image, observation in enumerate(group):
            write_whole(folder / f"{number:02d}-{image}.png", observation.image)
    record = [
        {
            "prompt": pair.prompt,
            "target": _point(pair.target),
            "images": [_record(one) for one in group],
        }
        for pair, group in zip(pairs, groups, strict=True)
    ]
    write_json(folder / "pairs.json", {"policy": policy, "pairs": record})


def _record(observation: Observation) -> dict[str, Any]:
    return {
        "seed": observation.seed,
        "judged": observation.judged and _point(observation.judged.point),
        "critic": observation.independent
        and {**_point(observation.independent), "subject": observation.independent.subject},
        "alignment": round(observation.alignment, 4),
    }


def _point(seen: Any) -> dict[str, float]:
    return {"valence": round(seen.valence, 3), "arousal": round(seen.arousal, 3)}


def _reward(seen: RewardedImage, config: RewardConfig) -> float:
    earned = rewards(seen, config)
    return sum(weight * earned[name] for name, weight in config.weights.items())
