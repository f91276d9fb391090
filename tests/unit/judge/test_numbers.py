"""The number that a reply means, or a refusal: what people's models really write, and made-up siblings of it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import Assessment
from emofeedback.domain.replies import plain, without_thoughts
from emofeedback.judge.engines.completion import Completion
from emofeedback.judge.numbers import stated_number
from emofeedback.judge.parsing import parse_rating, parse_reasoning

Read = tuple[float, float, str] | None
RIGHT = (6.4, 3.1, "awe")
OBJECT = '{"valence": 6.4, "arousal": 3.1, "emotion": "awe"}'
DRAFT = '{"valence": 2, "arousal": 8, "emotion": "fear"}'
THOUGHT = "<think>A calm lake.</think>"


def wide(text: str) -> str:
    """In the full-width characters of a Chinese keyboard, but for letters."""
    return text.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F) if not chr(code).isalpha()})


def read(reply: str, *, aloud: bool = True, finished: bool = True) -> Read:
    """What is read out of a reply whose engine told no alternatives."""
    outcome = (parse_reasoning if aloud else parse_rating)(Completion(reply, (), finished))
    return (outcome.valence, outcome.arousal, str(outcome.emotion)) if isinstance(outcome, Assessment) else None


@pytest.mark.parametrize("reply", ["7/9 3/9 awe", "7 / 9, 3 / 9, awe", "7 out of 9, 3 out of 9, awe", wide("7 3 awe")])
def test_a_short_rating_may_be_a_share_of_the_scale(reply: str) -> None:
    assert read(reply, aloud=False) == (7, 3, "awe")


@pytest.mark.parametrize(
    "reply",
    ["7/10 3/10 awe", "7,5 3,2 awe", "7.5 3 2 awe", "6-7 3 awe", "6 or 7, 3 awe", "7/9 awe", "7% 3 awe", "-7 3 awe"],
)
def test_a_short_reply_with_other_numbers_is_refused(reply: str) -> None:
    assert read(reply, aloud=False) is None


def test_the_last_short_rating_counts() -> None:
    assert read("2 8 fear\n7 3 awe", aloud=False) == (7, 3, "awe")
    assert read("7 3 awe\n2 8 hunger", aloud=False) is None
    assert read("<think>2 8 fear", aloud=False) is None


@pytest.mark.parametrize(
    "answer",
    [
        OBJECT.replace("6.4", "6,4").replace("3.1", "3,1"),
        OBJECT.replace('"', "“"),
        "{“valence”: 6.4, “arousal”: 3.1, “emotion”: “awe”}",
        "valence: 6.4; arousal: 3.1; emotion: awe.",
        wide(OBJECT),
        '{"valence": "6.4/9", "arousal": "3.1 out of 9", "emotion": "awe"}',
        '{"valence": [6.4], "arousal": np.float64(3.1), "emotion": "awe"}',
        "**Valence**: **6.4**/9\n**Arousal:** 3.1 points (on a scale of 1 to 9)\n**Emotion:** *awe*",
        "Valence: 6.4 (1-9), arousal: ~3.1, emotion: awe",
        f"{DRAFT} No, wait: {OBJECT}",
        f"{OBJECT} As to valence: high, since it glows.",
        f'{OBJECT}</answer><answer>{{"valence": 2, "aro',
    ],
)
def test_an_answer_in_any_dress_is_the_numbers_that_were_meant(answer: str) -> None:
    assert read(f"{THOUGHT}<answer>{answer}</answer>" if "<answer>" not in answer else f"<answer>{answer}") == RIGHT


@pytest.mark.parametrize(
    "reply",
    [
        f"<think>A first guess: {DRAFT}? No, it is calmer. So",
        "<think>It could be valence: 7, arousal: 2, emotion: contentment, but the storm",
        f"<thinking>Perhaps {DRAFT}, but",
        f"<reasoning>{DRAFT}</reasoning> I can't say.",
        f"[THINK]{DRAFT}",
        f"◁think▷{DRAFT}",
        f"<|channel|>analysis<|message|>{DRAFT}",
        f"{DRAFT} is a draft</think> I can't say.",
        f"<think>a <think>b</think> {DRAFT}",
        f'{THOUGHT}<answer>{{"valence": 6.4}} {{"arousal": 3.1, "emotion": "awe"}}</answer>',
        f'{THOUGHT}<answer>{{"left": {{"valence": 2}}, "right": {{"arousal": 3.1, "emotion": "awe"}}}}</answer>',
        f"{THOUGHT}<answer>valence: 6.4</answer><answer>arousal: 3.1, emotion: awe</answer>",
        f'{THOUGHT}<answer>{OBJECT} No: {{"valence": 3}}</answer>',
        f"{THOUGHT}<answer>{OBJECT.replace('awe', 'awe or fear')}</answer>",
        f"{THOUGHT}{OBJECT[:-6]}",
    ],
)
def test_drafts_and_halves_are_no_answer(reply: str) -> None:
    assert read(reply) is None


def test_a_thought_without_tags_that_was_cut_off_is_no_answer() -> None:
    assert read(f"Perhaps {DRAFT}, but the storm", finished=False) is None
    assert read(f"{THOUGHT}<answer>{OBJECT} The storm", finished=False) == RIGHT


ratings = st.integers(10, 90).map(lambda tenths: tenths / 10)
DRESSES = [
    "{}",
    "{}/9",
    "{} / 9",
    "{} out of 9",
    "{}/9.0",
    "{} points",
    '"{}"',
    "[{}]",
    "**{}**",
    "{}.",
    "~{}",
    "{} (1-9)",
]
OTHERS = [
    "{}/10",
    "{}%",
    "{}-9.55",
    "{} to 8.77",
    "{} or 7.77",
    "<{}",
    "at least {}",
    "not {}",
    "{}½",
    "{} ± 0.3",
    "[{} 1.23]",
]


@given(ratings, ratings, st.sampled_from(DRESSES), st.sampled_from(".,"), st.booleans())
def test_a_dressed_rating_is_itself(valence: float, arousal: float, dress: str, point: str, widened: bool) -> None:
    said = [dress.format(f"{one:.1f}".replace(".", point)) for one in (valence, arousal)]
    answer = f"valence: {said[0]}; arousal: {said[1]}; emotion: awe"
    assert read(f"{THOUGHT}<answer>{wide(answer) if widened else answer}</answer>") == (valence, arousal, "awe")
    assert stated_number(said[0], "dominance") == stated_number(f"Dominance: {said[0]}", "dominance") == valence


@given(ratings, st.sampled_from(OTHERS))
def test_a_number_that_may_mean_another_is_refused(rating: float, dress: str) -> None:
    said = dress.format(rating)
    assert read(f"{THOUGHT}<answer>valence: {said}, arousal: 3, emotion: awe</answer>") is None
    assert stated_number(said, "dominance") is None


@given(
    st.sampled_from(
        ["think", "Thinking", "thought", "reasoning", "scratchpad", "analysis", "reflection", "seed:think"]
    ),
    ratings,
    ratings,
    st.booleans(),
)
def test_no_number_comes_out_of_a_thought(tag: str, draft: float, meant: float, ended: bool) -> None:
    thought = f"<{tag}>Perhaps {OBJECT.replace('6.4', str(draft))} dominance: {draft}?"
    reply = f"{thought}</{tag}>{OBJECT.replace('6.4', str(meant))}" if ended else thought
    assert read(reply) == ((meant, 3.1, "awe") if ended else None)
    said = f"{thought}</{tag}>{meant}" if ended else thought
    assert stated_number(said, "dominance") == (meant if ended else None)


@given(
    st.lists(st.tuples(ratings, ratings, st.sampled_from(Emotion)), min_size=1, max_size=4),
    st.sampled_from(["", "</answer><answer>", " No, wait: ", "\n"]),
)
def test_of_several_answers_the_last_one_counts_as_a_whole(
    answers: list[tuple[float, float, Emotion]], between: str
) -> None:
    objects = [f'{{"valence": {v}, "arousal": {a}, "emotion": "{e}"}}' for v, a, e in answers]
    assert read(f"{THOUGHT}<answer>{between.join(objects)}</answer>") == answers[-1]


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("From 1 to 9 it is 4.5", 4.5),
        ("<answer>Valence: 0.6254</answer>", 0.6254),
        ("4.5\n\nThe picture shows 2 people.", 4.5),
        ("Valence: 0.6, dominance: 0.2", 0.2),
        ("\\boxed{4.5}", 4.5),
        ("array([0.6254], dtype=float32)", 0.6254),
        ("-0.3", -0.3),
        ("1e-05", 1e-05),
        ("much", None),
        ("2 people, 4.5", None),
        ("between 4 and 5", None),
        (".85", None),
        ("6 and a half", None),
        ("nan", None),
    ],
)
def test_a_number_asked_for_on_its_own_is_the_only_one_that_is_stated(reply: str, number: float | None) -> None:
    assert stated_number(reply.replace("Valence: 0.6254", "Dominance: 0.6254"), "dominance") == number


@given(st.text(max_size=300))
def test_plain_words_and_blanked_thoughts_keep_their_places(text: str) -> None:
    assert len(plain(text)) == len(without_thoughts(text)) == len(text)
    stated_number(text, "dominance")


@pytest.mark.parametrize(
    "unit", ["{", "}", "[", "<", "<think>", "<answer>", '"', "valence:", "7/", "7,", "\uff1c", "<a", " "]
)
def test_degenerate_replies_are_read_at_once(unit: str) -> None:
    reply = unit * (20_000 // len(unit))

    def seconds() -> float:
        begun = time.process_time()
        read(reply), read(reply, aloud=False), stated_number(reply, "dominance")
        return time.process_time() - begun

    assert min(seconds() for _ in range(3)) < 0.15, "three readings, 50 ms each"
