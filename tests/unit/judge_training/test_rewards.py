"""What a reply of a judge in training earns."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emofeedback.domain.affect import Emotion
from emofeedback.domain.taxonomies import EKMAN
from emofeedback_trainer.evaluation.metrics import ranking_score
from emofeedback_trainer.judge.config import RewardWeights
from emofeedback_trainer.judge.eemo_rewards import hybrid_reward, ranking_reward, similarity_reward, similarity_rewards
from emofeedback_trainer.judge.grpo import reward_functions
from emofeedback_trainer.judge.rewards import (
    Axis,
    Form,
    axis_reward,
    emotion_reward,
    format_reward,
    number_reward,
    written_assessment,
)

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "eemo_similarity_reward.json").read_text())
FORMS: tuple[Form, ...] = get_args(Form)


def reply(valence: float = 6.0, arousal: float = 3.0, emotion: str = "awe") -> str:
    answer = json.dumps({"valence": valence, "arousal": arousal, "emotion": emotion})
    return f"<think>It glows.</think><answer>{answer}</answer>"


@pytest.mark.parametrize(
    "text",
    [
        reply(),
        f"  \n{reply()}\n",
        "<think>a\nb</think>\n\n<answer>\n```json\n{}\n```\n</answer>",
        "<THINK></THINK><Answer>[joy, anger, fear]</Answer>",
    ],
)
def test_thoughts_and_an_answer_are_the_right_form_whatever_the_white_space(text: str) -> None:
    assert format_reward(text) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "6.0",
        "<answer>6.0</answer>",
        "<think>a</think>",
        "<answer>6.0</answer><think>a</think>",
        "<think>a</think><answer> </answer>",
        "<think>a<think>b</think></think><answer>6</answer>",
        "<think>a</think><answer>6</answer><answer>7</answer>",
        "<think>a</think><answer>6</answer> and more",
    ],
)
def test_anything_else_is_not(text: str) -> None:
    assert format_reward(text) == 0.0


@pytest.mark.parametrize(("axis", "truth"), [("valence", 6.0), ("arousal", 3.0)])
@pytest.mark.parametrize(("error", "earned"), [(0.0, 1.0), (0.7, 1.0), (-0.7, 1.0), (0.71, 0.0), (-0.8, 0.0)])
def test_each_axis_is_rewarded_within_the_threshold(axis: Axis, truth: float, error: float, earned: float) -> None:
    rating = round(truth + error, 2)
    said = written_assessment(reply(valence=rating) if axis == "valence" else reply(arousal=rating))
    assert axis_reward(said, axis, truth, "step", 0.70) == earned


def test_keys_may_come_in_any_order_and_in_a_code_fence() -> None:
    text = '<think>a</think><answer>```json\n{"emotion": "awe", "arousal": "3.0", "valence": 6}\n```</answer>'
    said = written_assessment(text)
    assert axis_reward(said, "arousal", 3.0, "step", 0.7) == 1.0
    assert emotion_reward(said, Emotion.AWE) == 1.0


@pytest.mark.parametrize("text", ["", "no idea", reply(9.5), reply(emotion="hunger")])
def test_an_unreadable_reply_earns_nothing(text: str) -> None:
    assert axis_reward(written_assessment(text), "valence", 6.0, "continuous", 0.7) == 0.0
    assert emotion_reward(written_assessment(text), Emotion.AWE) == 0.0


def test_what_the_data_does_not_know_is_no_reward_at_all() -> None:
    said = written_assessment(reply())
    assert axis_reward(said, "valence", None, "step", 0.7) is None
    assert emotion_reward(said, None) is None


@settings(max_examples=40)
@given(
    st.sampled_from(FORMS), st.floats(-8, 8, allow_nan=False), st.floats(0.01, 8, allow_nan=False), st.floats(0.1, 1)
)
def test_no_form_rewards_a_larger_error_more(form: Form, error: float, threshold: float, share: float) -> None:
    near, far = number_reward(share * error, form, threshold), number_reward(error, form, threshold)
    assert 0.0 <= far <= near <= 1.0
    assert number_reward(-error, form, threshold) == far
    assert number_reward(0.0, form, threshold) == 1.0


def test_the_hybrid_reward_is_a_line_far_out_and_a_bell_near_by() -> None:
    assert hybrid_reward(4.0) == pytest.approx(0.25, abs=1e-5)
    assert hybrid_reward(0.8) == pytest.approx(0.5 * 0.9 + 0.5 * np.exp(-0.5))
    assert hybrid_reward(8.0, far=1.0, reach=0.5) == 0.0


def test_similar_emotions_earn_what_the_reference_says() -> None:
    labels, expected = REFERENCE["labels"], np.array(REFERENCE["reward"])
    ours = [[similarity_reward(true, said) for said in labels] for true in labels]
    assert set(labels) == set(EKMAN)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9)


@settings(max_examples=40)
@given(st.integers(2, 6), st.integers(0, 1000))
def test_the_right_emotion_earns_most(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rewards = similarity_rewards(rng.uniform(1, 9, (count, 3)), rng.uniform(-0.2, 1, (count, count)))
    assert np.all(rewards >= 0)
    assert np.all(rewards <= 1)
    np.testing.assert_allclose(np.diag(rewards), 1.0)


def test_words_outside_the_taxonomy_earn_nothing_and_are_no_truth() -> None:
    assert similarity_reward("joy", "hunger") == 0.0
    with pytest.raises(ValueError, match="hunger"):
        similarity_reward("hunger", "joy")


@settings(max_examples=40)
@given(st.permutations(EKMAN), st.permutations(EKMAN))
def test_the_ranking_reward_is_the_benchmarks_score_squared(truth: list[str], said: list[str]) -> None:
    assert ranking_reward(truth[:3], said[:3]) == pytest.approx((ranking_score(truth[:3], said[:3]) / 100) ** 2)
    assert ranking_reward(truth[:3], truth[:3]) == 1.0


def columns(*tasks: str) -> dict[str, list[object]]:
    """Columns of a batch in which each sample has every label."""
    n = len(tasks)
    return {
        "task": list(tasks),
        "valence": [6.0] * n,
        "arousal": [3.0] * n,
        "dominance": [5.0] * n,
        "mikels": ["awe"] * n,
        "label": ["joy"] * n,
        "ranking": [["joy", "surprise", "neutral"]] * n,
    }


def earned(replies: list[str], *tasks: str, weights: RewardWeights | None = None) -> dict[str, list[float | None]]:
    functions, _ = reward_functions(
        weights or RewardWeights(), ("assessment", "ranking", "vad", "dominance", "emotion"), EKMAN
    )
    completions = [[{"role": "assistant", "content": text}] for text in replies]
    return {one.__name__: one(completions=completions, **columns(*tasks)) for one in functions}


def test_each_sample_opens_the_gate_of_its_own_task() -> None:
    right = [
        reply(),
        "<think>a</think><answer>[joy, surprise, neutral]</answer>",
        reply(),
        "<think>a</think><answer>5.0</answer>",
        "<think>a</think><answer>Joy.</answer>",
    ]
    two_axes = pytest.approx(2 / 3)  # the reply says nothing of dominance
    assert earned(right, "assessment", "ranking", "vad", "dominance", "emotion") == {
        "format": [1.0] * 5,
        "valence": [1.0, None, None, None, None],
        "arousal": [1.0, None, None, None, None],
        "emotion": [1.0, None, None, None, None],
        "ranking": [None, 1.0, None, None, None],
        "vad": [None, None, two_axes, None, None],
        "dominance": [None, None, None, 1.0, None],
        "similarity": [None, None, None, None, 1.0],
    }


def test_valence_arousal_and_dominance_are_rewarded_together() -> None:
    said = '<answer>{"valence": 6.0, "arousal": 3.0, "emotion": "awe", "dominance": 5.0}</answer>'
    thought = f"<think>a</think>{said}"
    replies = [thought, thought.replace('"dominance": 5.0', '"dominance": 1.0'), said, "<think>a</think>"]
    far = (2 + hybrid_reward(4.0)) / 3
    assert earned(replies, *["vad"] * 4)["vad"] == pytest.approx([1.0, far, 0.0, 0.0])


def test_eemo_logics_rewards_count_in_the_right_form_only() -> None:
    bare = ["[joy, surprise, neutral]", "5.0", "joy"]
    rewards = earned(bare, "ranking", "dominance", "emotion")
    assert rewards["ranking"][0] == rewards["dominance"][1] == rewards["similarity"][2] == 0.0


@pytest.mark.parametrize(
    ("said", "reward"), [("5.0/9", 1.0), ("5,0 out of 9", 1.0), ("5/10", 0.0), ("4-5", 0.0), ("50", 0.0), ("9.5", 0.0)]
)
def test_dominance_is_rewarded_for_the_number_that_was_meant(said: str, reward: float) -> None:
    assert earned([f"<think>a</think><answer>{said}</answer>"], "dominance")["dominance"] == [reward]


def test_a_draft_in_a_thought_earns_nothing() -> None:
    draft = f"<think>Perhaps {reply()[len('<think>It glows.</think><answer>') : -len('</answer>')]}, but"
    assert axis_reward(written_assessment(draft), "valence", 6.0, "continuous", 0.7) == 0.0


def test_a_reward_without_weight_is_left_out() -> None:
    functions, weights = reward_functions(RewardWeights(emotion=0.0, format=0.5), ("assessment",), EKMAN)
    assert [one.__name__ for one in functions] == ["format", "valence", "arousal"]
    assert weights == [0.5, 0.375, 0.375]
