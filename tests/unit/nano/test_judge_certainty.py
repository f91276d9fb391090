"""What is fitted to a judge that is surer of itself than it is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import INTERVAL, Assessment
from emofeedback.judge.answers import Chosen
from emofeedback.judge.certainty import distribution, ranked, tempered
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.nano.models.judge_certainty import Answered, choice_figures, figures, fitted, fitted_choices

TEMPERATURE = 2.0


def sure(count: int, seed: int) -> tuple[list[Assessment], list[Sample]]:
    """Outcomes of a judge that makes the truth's shares surer by `TEMPERATURE`, and strays further than it says."""
    rng = np.random.default_rng(seed)
    outcomes, samples = [], []
    for index in range(count):
        truth = dict(zip(Emotion, rng.dirichlet([0.4] * len(Emotion)).tolist(), strict=True))
        said = tempered(truth, 1 / TEMPERATURE)
        emotion = max(said, key=lambda name: said[name])
        valence = float(rng.uniform(3, 7))
        over = distribution({valence: 1.0}, valence)
        outcomes.append(
            Assessment(
                valence=valence,
                arousal=5.0,
                emotion=emotion,
                confidence=said[emotion],
                emotions=ranked(said),
                valence_distribution=over,
                arousal_distribution=distribution({5.0: 1.0}, 5.0),
                dominance=valence,
                dominance_distribution=over,
            )
        )
        samples.append(
            Sample(
                id=str(index),
                source="made",
                license="none",
                valence=float(np.clip(rng.normal(valence, 0.9), 1, 9)),
                arousal=5.0 + float(rng.uniform(-0.2, 0.2)),
                dominance=float(np.clip(rng.normal(valence, 0.9), 1, 9)) if index % 2 else None,
                emotion=Emotion(rng.choice(list(truth), p=np.array(list(truth.values())))),
            )
        )
    return outcomes, samples


def test_an_overconfident_judge_is_believed_less_and_then_as_much_as_it_is_right() -> None:
    certainty = fitted(*sure(1500, 0))
    assert certainty.temperature == pytest.approx(TEMPERATURE, rel=0.15)
    assert certainty.valence_width > 1.5 and certainty.arousal_width < 1 and certainty.dominance_width > 1.5
    outcomes, samples = sure(1500, 1)
    before = figures(outcomes, samples)
    after = figures([one for one in map(certainty.apply, outcomes) if isinstance(one, Assessment)], samples)
    assert after.ece < 0.05 < before.ece
    assert after.accuracy == before.accuracy
    assert after.confidence == pytest.approx(after.accuracy, abs=0.04)
    assert after.valence_held == pytest.approx(INTERVAL, abs=0.04) and before.valence_held < 0.6
    assert after.arousal_held == pytest.approx(INTERVAL, abs=0.04) and before.arousal_held == 1
    assert after.dominance_held == pytest.approx(INTERVAL, abs=0.05)


def sure_of_options(count: int, seed: int) -> list[Answered]:
    """Answers of a judge that makes the options' shares surer by `TEMPERATURE`, and the index of the right one."""
    rng = np.random.default_rng(seed)
    answers = []
    for _ in range(count):
        truth = rng.dirichlet([0.7] * int(rng.integers(2, 5)))
        said = tempered(dict(enumerate(truth.tolist())), 1 / TEMPERATURE)
        right = int(rng.choice(len(truth), p=truth))
        answers.append((Chosen(int(truth.argmax()), tuple(said.values())), right))
    return answers


def test_the_temperature_of_choices_is_found_and_makes_the_confidence_worth_what_it_says() -> None:
    temperature = fitted_choices(sure_of_options(1500, 0))
    assert temperature == pytest.approx(TEMPERATURE, rel=0.15)
    answers = sure_of_options(1500, 1)
    before, after = choice_figures(answers, 1.0), choice_figures(answers, temperature)
    assert after.ece < 0.05 < before.ece
    assert (after.accuracy, after.n) == (before.accuracy, 1500)
    assert after.confidence == pytest.approx(after.accuracy, abs=0.04)


def test_an_answer_without_probabilities_fits_and_counts_nothing() -> None:
    answers = sure_of_options(60, 2)
    more = [*answers, (Chosen(0, None), 1)]
    assert fitted_choices(more) == fitted_choices(answers)
    assert choice_figures(more, 1.5) == choice_figures(answers, 1.5)


def test_a_judge_without_dominance_has_no_interval_of_it() -> None:
    outcomes, samples = sure(60, 2)
    silent = [replace(one, dominance=None, dominance_distribution=None) for one in outcomes]
    assert fitted(silent, samples) == replace(fitted(outcomes, samples), dominance_width=1.0)
    found = figures(silent, samples)
    assert found.n == 60 and found.dominance_held is None and found.dominance_length is None
