"""Which figures of a run belong together, and what they are called: for the curves and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Source = Literal["metrics", "eval"]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A few figures over the iterations, on one axis."""

    title: str
    note: str
    """What they are and in which unit."""
    series: Mapping[str, tuple[Source, str]]
    """By label: the file of the run and the key in its lines."""
    first_color: int = 0
    """Color of the first series, the others follow: valence is 1 and arousal 2 wherever they are."""
    relative: bool = False
    """Drawn as multiples of their first value: they have units of their own."""

    @property
    def tag(self) -> str:
        """The title as TensorBoard takes it."""
        return "".join(letter if letter.isalnum() else "_" for letter in self.title.lower())


CHARTS = (
    Chart(
        title="Reward",
        note="mean over a rollout, before it is normalized in its group",
        series={
            "sum": ("metrics", "reward"),
            "valence": ("metrics", "reward_valence"),
            "arousal": ("metrics", "reward_arousal"),
            "alignment": ("metrics", "reward_alignment"),
        },
    ),
    Chart(
        title="Panel's error",
        note="held-out panel, mean |result - target|, points of the 1-9 scale",
        series={
            "sum": ("eval", "error"),
            "valence": ("eval", "valence_error"),
            "arousal": ("eval", "arousal_error"),
        },
    ),
    Chart(
        title="Judge's error",
        note="rollout, mean |result - target|, points of the 1-9 scale",
        series={"valence": ("metrics", "judge_valence_error"), "arousal": ("metrics", "judge_arousal_error")},
        first_color=1,
    ),
    Chart(
        title="Obedience of the panel",
        note="held-out panel, correlation of result with target",
        series={"valence": ("eval", "valence_correlation"), "arousal": ("eval", "arousal_correlation")},
        first_color=1,
    ),
    Chart(
        title="Slope of the panel",
        note="held-out panel, result against target: 1 follows it all the way, 0 not at all",
        series={"valence": ("eval", "valence_slope"), "arousal": ("eval", "arousal_slope")},
        first_color=1,
    ),
    Chart(
        title="Obedience by the judge",
        note="rollout, correlation of result with target",
        series={
            "valence": ("metrics", "judge_valence_correlation"),
            "arousal": ("metrics", "judge_arousal_correlation"),
        },
        first_color=1,
    ),
    Chart(
        title="Pictures against the first",
        note="held-out panel, multiples of what they were before training; reward hacking shows here",
        series={
            "brightness": ("eval", "brightness"),
            "saturation": ("eval", "saturation"),
            "edges": ("eval", "edges"),
            "diversity": ("eval", "diversity"),
        },
        relative=True,
    ),
    Chart(
        title="Subject and alignment",
        note="held-out panel, share of pictures with their subject; cosine with the neutral prompt",
        series={"subject kept": ("eval", "subject_accuracy"), "alignment": ("eval", "alignment")},
    ),
    Chart(
        title="Spread within a group",
        note="rollout, standard deviation of the judged points, points of the 1-9 scale",
        series={"valence": ("metrics", "spread_valence"), "arousal": ("metrics", "spread_arousal")},
        first_color=1,
    ),
    Chart(title="KL", note="divergence from the base", series={"KL": ("metrics", "kl")}),
    Chart(
        title="Clipped", note="share of the ratios that were clipped", series={"clipped": ("metrics", "clip_fraction")}
    ),
    Chart(
        title="Honesty",
        note="first inner step: largest |ratio - 1|; mean |log p by the learner - log p by the generator|",
        series={"ratio": ("metrics", "ratio_deviation"), "log p": ("metrics", "log_probability_drift")},
    ),
    Chart(title="Gradient", note="norm before it is clipped", series={"norm": ("metrics", "gradient_norm")}),
    Chart(title="Loss", note="of the objective", series={"loss": ("metrics", "loss")}),
    Chart(title="Dropped groups", note="failed, or without spread", series={"dropped": ("metrics", "groups_dropped")}),
    Chart(title="Speed", note="images of a rollout a second", series={"images/s": ("metrics", "images_per_second")}),
)
