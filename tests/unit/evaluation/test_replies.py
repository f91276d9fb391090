"""What free-text answers choose, rank and rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback_trainer.data.taxonomies import EKMAN
from emofeedback_trainer.evaluation.replies import chosen_option, is_ambiguous, last_number, named_emotions

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
    last_number(reply)


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


def test_the_last_number_is_the_rating() -> None:
    assert last_number("From 1 to 9 it is 4.5") == 4.5
    assert last_number("<answer>Valence: 0.6254</answer>") == 0.6254
    assert last_number("much") is None
