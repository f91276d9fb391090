"""What free-text answers choose, rank and rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.taxonomies import EKMAN
from emofeedback_trainer.evaluation.replies import (
    chosen_option,
    is_ambiguous,
    is_bare,
    named_candidate,
    named_emotions,
    stated_confidence,
)

YES_NO = {"A": "No.", "B": "Yes."}
PICTURES = {"A": "The first picture.", "B": "The second picture.", "C": "Both pictures.", "D": "Neither pictures."}
FIGURES = {"A": "Figure 1", "B": "Figure 2", "C": "Figure 1 and Figure 2"}
HEIGHTS = {"A": "About the same.", "B": "Much higher.", "C": "Much lower."}


@pytest.mark.parametrize(
    ("reply", "options", "letter"),
    [
        ("B", YES_NO, "B"),
        ("B:Yes.", YES_NO, "B"),
        ("**A: No.**\n\nBoth are gloomy.", YES_NO, "A"),
        ("(B) Yes", YES_NO, "B"),
        ("A dog is seen. The answer is:\n\n**B: Yes.**", YES_NO, "B"),
        ("Option B seems right.", YES_NO, "B"),
        ("<think>A: No? Hardly.</think><answer>B</answer>", YES_NO, "B"),
        # It weighs all of them before it concludes.
        ("- A: it is calm\n- B: no\n- D: they differ\n\nThe best choice is C: both.", PICTURES, "C"),
        ("**Option A** is off, option B as well; therefore the correct choice is **Option D**.", PICTURES, "D"),
        ("Answer: A: it is lower in A than in B.", HEIGHTS, "A"),
        # Any dress, and an explanation that names the other option.
        ("So \\boxed{\\text{b}}.", YES_NO, "B"),
        ("b) Yes", YES_NO, "B"),
        ("the answer is b", YES_NO, "B"),
        ('{"answer": "b"}', YES_NO, "B"),
        ("\uff22\uff1aYes", YES_NO, "B"),
        ("B because it glows", YES_NO, "B"),
        ("B) Yes, since option A does not fit", YES_NO, "B"),
        ("B\n\nExplanation: A: no would be wrong", YES_NO, "B"),
        ("<reasoning>A: No?</reasoning>b", YES_NO, "B"),
        ("<think>Perhaps A: No", YES_NO, None),
        ("The answer is a bit unclear", YES_NO, None),
        # No letter: the option it begins with, else the last it mentions.
        ("The second image has more control than the first one.", PICTURES, "B"),
        ("The design of Figure 1 and Figure 2 is alike.", FIGURES, "C"),
        ('Figure 2 dominates at a "much higher" level.', HEIGHTS, "B"),
        ("The mood is not much lower, it is much higher.", HEIGHTS, "B"),
        # An article is no letter, nor is a letter that is no option.
        ("A dog and a cat.", YES_NO, None),
        ("E: something else", YES_NO, None),
        ("I can't tell.", YES_NO, None),
        ("", YES_NO, None),
    ],
)
def test_a_reply_chooses_by_letter_and_then_by_text(reply: str, options: dict[str, str], letter: str | None) -> None:
    assert chosen_option(reply, options) == letter


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error(reply: str) -> None:
    assert chosen_option(reply, PICTURES) in {*PICTURES, None}
    assert set(named_emotions(reply, EKMAN)) <= set(EKMAN)


@given(
    st.sampled_from("ABCD"),
    st.sampled_from(
        [
            "{}",
            "{}.",
            "({})",
            "{}:",
            "**{}**",
            "\\boxed{{{}}}",
            "[{}]",
            "Answer: {}",
            "the answer is {}.",
            "option {}",
            "'{}'",
        ]
    ),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "<think>A: No? D)</think>", "<thinking>C</thinking>"]),
)
def test_a_dressed_letter_is_itself(letter: str, dress: str, small: bool, wide: bool, thought: str) -> None:
    said = dress.format(letter.lower() if small else letter)
    reply = said.translate({code: code + 0xFEE0 for code in b"ABCDabcd:.()"}) if wide and "option" not in said else said
    assert chosen_option(thought + reply, PICTURES) == letter


def test_options_that_read_the_same_have_no_one_right_answer() -> None:
    assert is_ambiguous({"A": "Both pictures.", "B": "The first picture.", "C": "both images"})
    assert not is_ambiguous(FIGURES)


@pytest.mark.parametrize(
    ("reply", "ranking"),
    [
        ("[joy, neutral, surprise]", ("joy", "neutral", "surprise")),
        ("Not fear. I would say [Sadness, Fear, Neutral].", ("sadness", "fear", "neutral")),
        ("<think>joy?</think><answer>Emotion ranking: fear,anger,disgust</answer>", ("fear", "anger", "disgust")),
        ("1. joy\n2. surprise\n3. joy", ("joy", "surprise")),
        ("nothing at all", ()),
    ],
)
def test_a_ranking_is_the_emotions_in_their_order(reply: str, ranking: tuple[str, ...]) -> None:
    assert named_emotions(reply, EKMAN) == ranking


@pytest.mark.parametrize(
    ("reply", "bare"),
    [
        ("B", True),
        ("b.", True),
        ("B: Yes.", True),
        ("yes", True),
        ("**No**", True),
        ("B: Yes.</s>", True),
        ("Yes, both.", False),
        ("", False),
    ],
)
def test_a_bare_reply_is_an_option_and_nothing_else(reply: str, bare: bool) -> None:
    assert is_bare(reply, YES_NO) is bare


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        ("<think>fear?</think><answer>Anger</answer><confidence>0.7</confidence>", "anger"),
        ("People would feel sadness here.", "sad"),
        ("There is danger.", None),
        ("joyful, if not angry", "joy"),
        ("", None),
    ],
)
def test_a_named_candidate_begins_a_word_of_the_answer(reply: str, word: str | None) -> None:
    assert named_candidate(reply, ["anger", "fear", "joy", "sad"]) == word


@pytest.mark.parametrize(
    ("reply", "confidence"),
    [
        ("<answer>joy</answer><confidence>0.85</confidence>", 0.85),
        ("<confidence>{0.4}</confidence>", 0.4),
        ("<confidence> 85 % </confidence>", 0.85),
        ("<confidence>.5</confidence>, or rather <confidence>1.2</confidence>", 1.0),
        ("<confidence>high</confidence>", None),
        ("0.9", None),
    ],
)
def test_confidence_is_what_stands_between_its_tags(reply: str, confidence: float | None) -> None:
    assert stated_confidence(reply) == confidence
