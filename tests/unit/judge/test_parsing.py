"""The judge's replies, as models really write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, Emotion
from emofeedback.domain.assessment import Assessment, AssessmentFailure
from emofeedback.judge.engines.completion import Completion, TokenChoice
from emofeedback.judge.parsing import digit_shares, emotion_shares, parse_rating, parse_reasoning
from emofeedback.judge.prompts import rating_conversation, reasoning_conversation


def certain(text: str, *, finished: bool = True) -> Completion:
    """A reply of one token a character, each without an alternative."""
    return Completion(text, tuple(TokenChoice(character, {character: 0.0}) for character in text), finished)


def log(shares: dict[str, float]) -> dict[str, float]:
    return {text: math.log(share) for text, share in shares.items()}


def rating(valence: dict[str, float], arousal: dict[str, float], emotion: dict[str, float]) -> Completion:
    """A short reply whose tokens have the given alternatives, the first of each being the written one."""
    places = [(next(iter(top)), top) for top in (valence, {" ": 1.0}, arousal, emotion)]
    tokens = tuple(TokenChoice(text, log(top)) for text, top in places)
    return Completion("".join(token.text for token in tokens), tokens, True)


def test_the_rating_is_the_expected_value_over_the_digits() -> None:
    outcome = parse_rating(
        rating({"7": 0.5, "6": 0.25, "8": 0.25}, {"3": 0.6, "4": 0.3, "the": 0.1}, {" awe": 0.8, " fear": 0.2})
    )
    assert isinstance(outcome, Assessment)
    assert outcome.valence == pytest.approx(7.0)
    assert outcome.arousal == pytest.approx((3 * 0.6 + 4 * 0.3) / 0.9)
    assert outcome.emotion is Emotion.AWE
    assert outcome.confidence == pytest.approx(0.8)


def test_a_label_in_several_tokens_is_known_by_its_first() -> None:
    reply = Completion(
        "2 8 disgust",
        tuple(
            TokenChoice(text, log(top))
            for text, top in [
                ("2", {"2": 1.0}),
                (" ", {" ": 1.0}),
                ("8", {"8": 1.0}),
                (" dis", {" dis": 0.7, " fe": 0.3}),
                ("gust", {"gust": 1.0}),
            ]
        ),
        True,
    )
    outcome = parse_rating(reply)
    assert isinstance(outcome, Assessment)
    assert outcome.emotion is Emotion.DISGUST
    assert outcome.confidence == pytest.approx(0.7)


def test_a_token_that_begins_several_labels_is_shared_among_them() -> None:
    shares = emotion_shares(log({" a": 0.6, " fear": 0.4}))
    assert shares[Emotion.AWE] == shares[Emotion.ANGER] == shares[Emotion.AMUSEMENT] == pytest.approx(0.2)
    assert shares[Emotion.FEAR] == pytest.approx(0.4)


def test_a_place_without_any_digit_has_no_rating() -> None:
    with pytest.raises(ValueError, match="no rating"):
        digit_shares(log({"the": 1.0}))


@pytest.mark.parametrize("reply", ["7 3 awe", " 7 3 awe\n", "7, 3, awe", "```\n7 3 Awe\n```", "Sure: 7 3 awe."])
def test_the_form_of_the_short_reply_is_forgiven(reply: str) -> None:
    outcome = parse_rating(certain(reply))
    assert isinstance(outcome, Assessment)
    assert (outcome.valence, outcome.arousal, outcome.emotion) == (7, 3, Emotion.AWE)


@pytest.mark.parametrize(
    "reply",
    ["", "  ", "7", "7 3", "awe 7 3", "0 3 awe", "10 3 awe", "7 12 awe", "7.5 3 awe", "7 3 joy", "I can't."],
)
def test_a_short_reply_without_its_content_is_a_failure(reply: str) -> None:
    assert isinstance(parse_rating(certain(reply)), AssessmentFailure)


WELL_FORMED = '<think>A calm lake.</think><answer>{"valence": 6.4, "arousal": 3.1, "emotion": "awe"}</answer>'


@pytest.mark.parametrize(
    "reply",
    [
        WELL_FORMED,
        WELL_FORMED.replace("</answer>", ""),
        WELL_FORMED.replace(">{", ">\n```json\n{").replace("}<", "}\n```\n<"),
        WELL_FORMED.replace("<answer>", "").replace("</answer>", ""),
        '<think>A calm lake.</think>The answer: {"emotion": "Awe", "arousal": "3.1", "valence": "6.4"} Good?',
        "<think>A calm lake.</think> <answer> {'valence' : 6.4 , 'arousal':3.1,\n'emotion':'awe'} </answer>",
        "A calm lake.\n<answer>valence: 6.4, arousal: 3.1, emotion: awe</answer>",
    ],
)
def test_the_form_of_the_reasoned_reply_is_forgiven(reply: str) -> None:
    outcome = parse_reasoning(certain(reply))
    assert isinstance(outcome, Assessment)
    assert (outcome.valence, outcome.arousal, outcome.emotion) == (6.4, 3.1, Emotion.AWE)
    assert outcome.reasoning.startswith("A calm lake.")
    assert "<" not in outcome.reasoning


def test_numbers_in_the_thoughts_are_not_the_answer() -> None:
    outcome = parse_reasoning(certain('<think>"valence": 2? No.</think>' + WELL_FORMED[WELL_FORMED.index("<a") :]))
    assert isinstance(outcome, Assessment)
    assert outcome.valence == 6.4


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "no reply"),
        ("I can't help with that.", "no valence and no arousal and no emotion"),
        (WELL_FORMED.replace("6.4", "64"), "valence '64'"),
        (WELL_FORMED.replace("3.1", "NaN"), "arousal 'NaN'"),
        (WELL_FORMED.replace("3.1", "high"), "arousal 'high'"),
        (WELL_FORMED.replace("awe", "joy"), "'joy' is not one of the eight emotions"),
        (WELL_FORMED[:-30], "no emotion"),
    ],
)
def test_a_reasoned_reply_without_its_content_says_what_is_wrong(reply: str, reason: str) -> None:
    outcome = parse_reasoning(certain(reply, finished=False))
    assert isinstance(outcome, AssessmentFailure)
    assert reason in outcome.reason


def test_the_confidence_of_a_reasoned_reply_is_its_emotion_tokens_share() -> None:
    before, after = WELL_FORMED.split("awe")
    tokens = (
        TokenChoice(before, {before: 0.0}),
        TokenChoice("awe", log({"awe": 0.6, "sad": 0.2, "the": 0.2})),
        TokenChoice(after, {after: 0.0}),
    )
    outcome = parse_reasoning(Completion(WELL_FORMED, tokens, True))
    assert isinstance(outcome, Assessment)
    assert outcome.confidence == pytest.approx(0.75)


def reasoned(valence: dict[str, float], tenths: dict[str, float]) -> Completion:
    """A reasoned reply whose valence has alternatives, the first of each being the written one."""
    (whole, *_), (tenth, *_) = valence, tenths
    text = WELL_FORMED.replace("6.4", f"{whole}.{tenth}")
    before, after = text.split(f"{whole}.{tenth}")
    tokens = (
        TokenChoice(before, {before: 0.0}),
        TokenChoice(whole, log(valence)),
        TokenChoice(".", {".": 0.0}),
        TokenChoice(tenth, log(tenths)),
        TokenChoice(after, {after: 0.0}),
    )
    return Completion(text, tokens, True)


def test_a_reasoned_rating_that_hesitates_lies_between_what_it_could_have_written() -> None:
    outcome = parse_reasoning(reasoned({"7": 0.5, "5": 0.4, "the": 0.1}, {"0": 0.5, "8": 0.5}))
    assert isinstance(outcome, Assessment)
    assert outcome.valence == pytest.approx((7 * 0.5 + 5 * 0.4) / 0.9 + 0.4)
    assert outcome.arousal == 3.1


def test_a_reasoned_rating_never_leaves_the_scale() -> None:
    outcome = parse_reasoning(reasoned({"9": 0.9, "8": 0.1}, {"0": 0.2, "9": 0.8}))
    assert isinstance(outcome, Assessment)
    assert outcome.valence == 9


@given(st.text(max_size=200), st.booleans())
def test_any_text_gives_an_outcome(text: str, finished: bool) -> None:
    for outcome in (parse_rating(certain(text, finished=finished)), parse_reasoning(certain(text))):
        assert isinstance(outcome, Assessment | AssessmentFailure)


@given(
    st.floats(1, 9),
    st.floats(1, 9),
    st.sampled_from(Emotion),
    st.permutations(["valence", "arousal", "emotion"]),
    st.text(alphabet=st.characters(exclude_characters="<>{}"), max_size=60),
)
def test_every_assessment_that_is_written_is_read_back(
    valence: float, arousal: float, emotion: Emotion, order: list[str], chatter: str
) -> None:
    written = {"valence": f"{valence:.3f}", "arousal": f"{arousal:.3f}", "emotion": f'"{emotion}"'}
    answer = ", ".join(f'"{name}": {written[name]}' for name in order)
    outcome = parse_reasoning(certain(f"<think>{chatter}</think>{chatter}<answer>{{{answer}}}</answer>{chatter}"))
    assert isinstance(outcome, Assessment)
    assert outcome.valence == pytest.approx(valence, abs=1e-3)
    assert outcome.arousal == pytest.approx(arousal, abs=1e-3)
    assert outcome.emotion is emotion


@given(st.dictionaries(st.sampled_from("123456789"), st.floats(-20, 0), min_size=1))
def test_a_rating_lies_between_its_alternatives_and_within_its_interval(top: dict[str, float]) -> None:
    outcome = parse_rating(rating({text: math.exp(odds) for text, odds in top.items()}, {"3": 1.0}, {" awe": 1.0}))
    assert isinstance(outcome, Assessment) and outcome.valence_distribution is not None
    digits, said = [int(digit) for digit in top], outcome.valence_distribution
    assert min(digits) - 1e-9 <= outcome.valence <= max(digits) + 1e-9
    assert SCALE_MIN <= said.low <= outcome.valence <= said.high <= SCALE_MAX
    assert sum(said.shares) == pytest.approx(1)
    assert sum(place * share for place, share in enumerate(said.shares, 1)) == pytest.approx(outcome.valence)


def test_the_probabilities_behind_a_rating_are_its_distributions_and_its_emotions() -> None:
    outcome = parse_rating(rating({"7": 0.5, "6": 0.25, "8": 0.25}, {"3": 1.0}, {" awe": 0.7, " fear": 0.2, "x": 0.1}))
    assert isinstance(outcome, Assessment)
    assert outcome.valence_distribution is not None and outcome.arousal_distribution is not None
    assert outcome.valence_distribution.shares == pytest.approx((0, 0, 0, 0, 0, 0.25, 0.5, 0.25, 0))
    assert (outcome.valence_distribution.low, outcome.valence_distribution.high) == pytest.approx((5.9, 8.1))
    assert (outcome.arousal_distribution.low, outcome.arousal_distribution.high) == pytest.approx((2.6, 3.4))
    first, second, *rest = outcome.emotions
    assert (first.emotion, second.emotion) == (Emotion.AWE, Emotion.FEAR)
    assert (first.share, second.share) == pytest.approx((7 / 9, 2 / 9)) and outcome.confidence == first.share
    assert len(rest) == 6 and all(felt.share == 0 for felt in rest)


def test_a_reasoned_rating_has_a_distribution_of_the_same_mean() -> None:
    outcome = parse_reasoning(reasoned({"6": 0.75, "4": 0.25}, {"4": 1.0}))
    assert isinstance(outcome, Assessment) and outcome.valence_distribution is not None
    shares = outcome.valence_distribution.shares
    assert shares == pytest.approx((0, 0, 0, 0.15, 0.1, 0.45, 0.3, 0, 0))
    assert sum(place * share for place, share in enumerate(shares, 1)) == pytest.approx(outcome.valence)


def test_where_the_engine_says_no_probabilities_there_are_none() -> None:
    outcome = parse_reasoning(Completion(WELL_FORMED, (), True))
    assert isinstance(outcome, Assessment)
    assert outcome.valence_distribution is None and outcome.arousal_distribution is None
    assert outcome.emotions == () and outcome.ranking() == {} and outcome.confidence == 1


@pytest.mark.parametrize(
    ("answer", "dominance"),
    [
        ('{"valence": 6.4, "arousal": 3.1, "dominance": 7.2, "emotion": "awe"}', 7.2),
        ('{"valence": 6.4, "arousal": 3.1, "emotion": "awe", "dominance": 2}', 2.0),
        ("valence: 6.4, arousal: 3.1, emotion: awe, dominance: 5 out of 9", 5.0),
        ('{"valence": 6.4, "arousal": 3.1, "emotion": "awe", "dominance": 12}', None),
        ('{"valence": 6.4, "arousal": 3.1, "emotion": "awe", "dominance": "high"}', None),
        ('{"valence": 6.4, "arousal": 3.1, "emotion": "awe"}', None),
    ],
)
def test_dominance_is_read_where_the_answer_has_it(answer: str, dominance: float | None) -> None:
    outcome = parse_reasoning(certain(f"<think>A calm lake.</think><answer>{answer}</answer>"))
    assert isinstance(outcome, Assessment)
    assert (outcome.valence, outcome.arousal, outcome.emotion) == (6.4, 3.1, Emotion.AWE)
    assert outcome.dominance == dominance
    assert (outcome.dominance_distribution is None) == (dominance is None)


@pytest.mark.parametrize(
    ("behind", "dominance"),
    [
        (" 5", 5.0),
        (", 5/9.", 5.0),
        ("\n5\n", 5.0),
        (" 5\nThe picture shows 3 boats.", 5.0),
        ("", None),
        (" 10", None),
        (" 0", None),
        (" 5.5", None),
        (" 5-6", None),
        (" 5 6", None),
        (" 5%", None),
        (" five", None),
        (" 3 boats lie there", None),
    ],
)
def test_dominance_is_the_one_digit_that_ends_a_short_reply(behind: str, dominance: float | None) -> None:
    outcome = parse_rating(certain(f"7 3 awe{behind}"))
    assert isinstance(outcome, Assessment)
    assert (outcome.valence, outcome.arousal, outcome.emotion) == (7, 3, Emotion.AWE)
    assert outcome.dominance == dominance
    assert (outcome.dominance_distribution is None) == (dominance is None)


@pytest.mark.parametrize("reply", ["2 8 fear 3\n7 3 awe 5", "2 8 fear 7 3 awe 5", "2\n8\nfear\n7\n3\nawe\n5"])
def test_of_several_short_replies_the_last_counts_with_its_own_dominance(reply: str) -> None:
    outcome = parse_rating(certain(reply))
    assert isinstance(outcome, Assessment)
    assert (outcome.valence, outcome.arousal, outcome.emotion, outcome.dominance) == (7, 3, Emotion.AWE, 5)


def test_dominance_is_scored_by_its_probabilities_as_the_others() -> None:
    tokens = ("7", " ", "3", " awe", " ")
    digits = {"4": 0.5, "5": 0.25, "2": 0.25}
    reply = Completion(
        "7 3 awe 4", (*(TokenChoice(text, {text: 0.0}) for text in tokens), TokenChoice("4", log(digits))), True
    )
    outcome = parse_rating(reply)
    assert isinstance(outcome, Assessment) and outcome.dominance_distribution is not None
    assert outcome.dominance == pytest.approx(3.75)
    assert outcome.dominance_distribution.shares == pytest.approx((0, 0.25, 0, 0.5, 0.25, 0, 0, 0, 0))


@given(st.dictionaries(st.text(max_size=6), st.floats(-20, 0)))
def test_emotion_shares_sum_to_one_or_are_none(top: dict[str, float]) -> None:
    shares = emotion_shares(top)
    assert not shares or sum(shares.values()) == pytest.approx(1)


def test_both_questions_show_the_image_first_and_name_every_emotion() -> None:
    for conversation in (rating_conversation(b"png"), reasoning_conversation(b"png")):
        (message,) = conversation
        image, text = message.parts
        assert image == b"png"
        assert isinstance(text, str)
        assert all(emotion in text for emotion in Emotion)
