"""`emofeedback-train nano evaluate`: how good are the embedded models, on scenes that none of them was trained on?

Judge, agent, scorer and generator are asked through the services' own engines; the independent judge, which neither
rewards nor chooses, is the second opinion. Every row has its count and the value that the project aims at, those of the
judge a 95 % interval as well.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from emofeedback.domain.assessment import Judge
from emofeedback.domain.generation import Generator
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.observability.console import say
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.storage.vocabulary import Vocabulary
from emofeedback_trainer.core.tables import table
from emofeedback_trainer.evaluation.metrics import Estimate
from emofeedback_trainer.evaluation.output import with_engines
from emofeedback_trainer.nano.measure.agent import agent_metrics, rewritings
from emofeedback_trainer.nano.measure.generator import generate, generator_metrics, variety
from emofeedback_trainer.nano.measure.judge import baseline, judge_metrics, labels, scorer_metrics
from emofeedback_trainer.nano.measure.questions import answer_metrics, description_metrics
from emofeedback_trainer.nano.models.independent_judge import load_independent_judge, measure_independent_judge
from emofeedback_trainer.nano.models.judge_domain import domain_figures
from emofeedback_trainer.nano.world.foreign_pictures import KINDS
from emofeedback_trainer.nano.world.language import Album, situation
from emofeedback_trainer.nano.world.numbered import scene_at

_SEED = 6
_SCENES, _GENERATED, _ALOUD, _SITUATIONS, _GROUPS, _ASKED, _DESCRIBED = 1000, 500, 300, 500, 40, 600, 100
"""Pictures judged, generated, judged aloud, situations of the agent, groups of one caption, questions and descriptions,
where `--limit` doesn't ask for fewer."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One row."""

    what: str
    value: float
    aim: float | None
    """The value to reach, None where the row only informs."""
    at_most: bool = False
    """True where less is better."""
    n: int
    low: float | None = None
    """Where its 95 % bootstrap interval over the units begins; None of rows without one, which are not the judge's."""
    high: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the value is as good as its aim."""
        if self.aim is None:
            return None
        return self.value <= self.aim if self.at_most else self.value >= self.aim


_ROWS: tuple[tuple[str, str, float | None, bool], ...] = (
    ("judge.valence_mae", "judge, rendered scenes: valence MAE", 0.45, True),
    ("judge.arousal_mae", "judge, rendered scenes: arousal MAE", 0.45, True),
    ("judge.dominance_mae", "judge, rendered scenes: dominance MAE", 0.45, True),
    ("baseline.valence_mae", "  always the median: valence MAE", None, True),
    ("baseline.arousal_mae", "  always the median: arousal MAE", None, True),
    ("baseline.dominance_mae", "  always the median: dominance MAE", None, True),
    ("judge.class_accuracy", "judge, rendered scenes: emotion right", 0.80, False),
    ("judge.ranking_score", "judge, rendered scenes: ranking score of its first three emotions", 75.0, False),
    ("judge.ece", "judge, rendered scenes: ECE of its confidence", 0.05, True),
    ("judge.other_side", "judge: emotion on the other side of the middle from its valence", None, True),
    ("labels.other_side", "  the world's own table: the same", None, True),
    ("judge.parsable", "judge, rendered scenes: replies parsable", 0.995, False),
    ("aloud.aloud_parsable", "judge aloud: replies parsable", 0.995, False),
    ("aloud.aloud_valence_mae", "judge aloud: valence MAE", None, True),
    ("aloud.aloud_arousal_mae", "judge aloud: arousal MAE", None, True),
    ("aloud.ways_differ", "short way against aloud: difference of MAE", 0.05, True),
    ("aloud.ways_together", "short way against aloud: both numbers within 0.5", None, False),
    ("aloud.named_are_there", "judge aloud: attributes it names that are there", 0.90, False),
    ("asked.all", "judge asked: closed questions answered right", 0.85, False),
    ("asked.guessing", "  by guessing", None, False),
    ("asked.what", "  What/How, one picture", None, False),
    ("asked.yes_or_no", "  Yes-or-No, one picture", None, False),
    ("asked.pairs", "  two pictures", None, False),
    ("asked.ece", "  ECE of its confidence", 0.05, True),
    ("described.emotion", "judge's descriptions: name the scene's emotion", None, False),
    ("described.parts", "  attributes they name that are there", None, False),
    ("generated.judges_valence", "judge and independent judge on generated images: valence correlation", 0.85, False),
    ("generated.judges_arousal", "judge and independent judge on generated images: arousal correlation", 0.85, False),
    ("generated.subject", "generator: subject recognised", 0.85, False),
    ("generated.weather", "generator: weather recognised", 0.85, False),
    ("generated.extra", "generator: extras recognised", 0.80, False),
    ("generated.expression", "generator: expression recognised", None, False),
    ("generated.called_drawn", "generator: images that pass where 90 % of drawn ones do", 0.7, False),
    ("generated.edges", "generator: edges, share of drawn scenes'", None, False),
    ("varied.variety", "generator: variety within a caption, share of drawn scenes'", None, False),
    ("taught.subject", "default policy: subject recognised", None, False),
    ("taught.weather", "  weather recognised", None, False),
    ("taught.extra", "  extras recognised", None, False),
    ("taught.expression", "  expression recognised", None, False),
    ("taught.called_drawn", "  images that pass where 90 % of drawn ones do", 0.6, False),
    ("taught.edges", "  edges, share of drawn scenes'", None, False),
    ("taught_varied.variety", "  variety within a caption, share of drawn scenes'", None, False),
    ("scorer.prefers_the_right_caption", "scorer: prefers the right caption, one word changed", 0.95, False),
    ("scorer.text_kept_low", "scorer: rewrite that keeps the subject, cosine, 5th percentile", None, False),
    ("scorer.text_lost_high", "scorer: rewrite that lost it, cosine, 95th percentile", None, True),
    ("scorer.image_kept_median", "scorer: picture and its bare prompt, cosine, median", None, False),
    ("scorer.image_lost_median", "scorer: picture and another's, cosine, median", None, True),
    ("agent.direction_is_true", "agent: what its analyses say of more and less agrees with the numbers", 1.0, False),
    ("agent.names_what_was_seen", "agent: its analyses name nothing that was not seen or asked for", 1.0, False),
    ("agent.usable", "agent: a rewrite is used, the prompt being of its world", None, False),
    ("agent.usable_unknown", "agent: a rewrite is used, the prompt being from outside", None, False),
    (
        "agent.holds_only_known_words",
        "agent: rewrites hold only words of prompt and generator",
        1.0,
        False,
    ),
    ("agent.keeps_known_subject", "agent: rewritten prompt keeps a known subject and place", 0.98, False),
    ("agent.keeps_unknown_subject", "agent: rewritten prompt keeps one from outside the world", None, False),
    ("agent.on_targets_side", "agent: its cues lie on the target's side", 0.90, False),
    ("agent.nearer", "agent: its cues alone bring the scene nearer to the target", None, False),
    ("drawn.flagged", "domain: drawn scenes taken for foreign", 0.01, True),
    ("worn.flagged", "domain: worn scenes taken for foreign", None, True),
    ("painted_all.flagged", "domain: painted pictures of all kinds taken for foreign", 0.01, True),
    ("others.flagged", "domain: foreign pictures found", 0.99, False),
    ("photographs.flagged", "  photographs and their crops", None, False),
    *((f"{kind}.flagged", f"  {kind}", None, False) for kind in KINDS),
    ("critic.valence_mae", "independent judge, rendered scenes: valence MAE", 0.30, True),
    ("critic.arousal_mae", "independent judge, rendered scenes: arousal MAE", 0.30, True),
)


def run(arguments: argparse.Namespace) -> None:
    """Measures on at most `arguments.limit` pictures a row and prints, as JSON where `arguments.json`."""
    limit = arguments.limit or _SCENES
    metrics = with_engines(NANO_PROFILE, lambda generator, judge: evaluate(generator, judge, limit))
    if arguments.json:
        say(json.dumps({"seed": _SEED, "metrics": [{**asdict(one), "reached": one.reached} for one in metrics]}))
    else:
        say(markdown(metrics))


async def evaluate(generator: Generator, judge: Judge, n: int) -> list[Metric]:
    """Every metric, on at most `n` pictures each."""
    scenes = [scene_at("evaluation", index) for index in range(min(n, _SCENES))]
    independent = load_independent_judge()
    some = scenes[:_GENERATED]
    images = {policy: await generate(generator, some, _SEED, policy) for policy in (BASE_POLICY, "")}
    groups = scenes[: min(n, _GROUPS)]
    aloud = min(n, _ALOUD)
    judged = await judge_metrics(judge, scenes, aloud=aloud)
    rng = np.random.default_rng(_SEED)
    situations = [situation(Album(scenes), rng) for _ in range(min(n, _SITUATIONS))]
    rewritten = await rewritings(judge, situations, NANO_PROFILE.optimizer)
    asked, described = min(n, _ASKED), min(n, _DESCRIBED)
    vocabulary = Vocabulary.read(NANO_PROFILE.optimizer.vocabulary)
    measured: Mapping[str, tuple[int, Mapping[str, float | Estimate]]] = {
        "judge": (len(scenes), judged),
        "aloud": (aloud, judged),
        "baseline": (len(scenes), baseline(scenes)),
        "labels": (len(scenes), labels(scenes)),
        "asked": (asked, await answer_metrics(judge, scenes, asked, _SEED)),
        "described": (described, await description_metrics(judge, scenes[:described])),
        "generated": (
            len(some),
            await generator_metrics(images[BASE_POLICY], some, judge=judge, independent=independent, seed=_SEED),
        ),
        "varied": (len(groups), {"variety": await variety(generator, groups, _SEED)}),
        "taught": (
            len(some),
            await generator_metrics(images[""], some, judge=judge, independent=independent, seed=_SEED),
        ),
        "taught_varied": (len(groups), {"variety": await variety(generator, groups, _SEED, "")}),
        "scorer": (len(scenes), await scorer_metrics(judge, scenes, _SEED)),
        "agent": (
            len(situations),
            agent_metrics(rewritten, vocabulary),
        ),
        "critic": (len(scenes), measure_independent_judge(independent, scenes=len(scenes))),
        **{
            {"painted": "painted_all"}.get(kind, kind): (count, {"flagged": share})
            for kind, (count, share) in (await domain_figures(judge, generator, min(n, _SCENES))).items()
        },
    }
    return [
        Metric(what=what, aim=aim, at_most=at_most, **_figures(measured[part][1][name], measured[part][0]))
        for key, what, aim, at_most in _ROWS
        for part, name in [key.split(".")]
        if name in measured[part][1]  # a judge may not say dominance, and few questions may not be of every kind
    ]


def _figures(found: float | Estimate, n: int) -> dict[str, Any]:
    """Of a row; one with an interval knows how many units it is of."""
    return asdict(found) if isinstance(found, Estimate) else {"value": found, "n": n}


def markdown(metrics: list[Metric]) -> str:
    """The metrics as Markdown."""
    return table(
        ("what", "n", "value", "aim", "reached"),
        [
            (
                one.what,
                f"{one.n}",
                f"{one.value:.3f}" + ("" if one.low is None else f" [{one.low:.3f}, {one.high:.3f}]"),
                "" if one.aim is None else f"{'at most' if one.at_most else 'at least'} {one.aim:g}",
                {True: "yes", False: "no", None: ""}[one.reached],
            )
            for one in metrics
        ],
    )
