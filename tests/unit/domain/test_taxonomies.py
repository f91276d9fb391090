"""What people feel, by other names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import Assessment, EmotionShare
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.taxonomies import EKMAN, EKMAN_OF, TAXONOMIES, told_in

shares = st.dictionaries(st.sampled_from(Emotion), st.floats(0, 1), min_size=1)


def test_each_of_the_eight_is_one_of_ekmans() -> None:
    assert {emotion.value: EKMAN_OF[emotion] for emotion in Emotion} == {
        "amusement": "joy",
        "awe": "surprise",
        "contentment": "joy",
        "excitement": "joy",
        "anger": "anger",
        "disgust": "disgust",
        "fear": "fear",
        "sadness": "sadness",
    }


def test_shares_of_the_same_name_add_up_and_the_largest_comes_first() -> None:
    felt = {Emotion.AMUSEMENT: 0.3, Emotion.AWE: 0.35, Emotion.CONTENTMENT: 0.25, Emotion.FEAR: 0.1}
    told = told_in("ekman", felt)
    assert list(told)[:3] == ["joy", "surprise", "fear"]
    assert list(told.values())[:3] == pytest.approx([0.55, 0.35, 0.1])
    assert list(told_in("mikels", felt))[:4] == ["awe", "amusement", "contentment", "fear"]


@given(shares, st.sampled_from(TAXONOMIES))
def test_no_taxonomy_gains_or_loses_any_share(felt: dict[Emotion, float], taxonomy: str) -> None:
    told = told_in(taxonomy, felt)
    assert set(told) == set(EKMAN if taxonomy == "ekman" else Emotion)
    assert sum(told.values()) == pytest.approx(sum(felt.values()))
    assert list(told.values()) == sorted(told.values(), reverse=True)


def test_an_assessment_ranks_its_emotions_in_either() -> None:
    felt = (EmotionShare(emotion=Emotion.FEAR, share=0.6), EmotionShare(emotion=Emotion.ANGER, share=0.4))
    seen = Assessment(valence=2, arousal=7, emotion=Emotion.FEAR, confidence=0.6, emotions=felt)
    assert seen.ranking()["fear"] == seen.ranking("ekman")["fear"] == 0.6
    assert seen.ranking("ekman")["neutral"] == 0
    assert Assessment(valence=2, arousal=7, emotion=Emotion.FEAR, confidence=0.6).ranking("ekman") == {}


def test_an_unknown_taxonomy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="taxonomy: is 'plutchik', it must be one of mikels, ekman"):
        told_in("plutchik", {})
