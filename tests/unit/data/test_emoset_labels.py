"""What `build-emoset` labels with: draws from Gaussians of a lexicon, a choice by seed, captions read leniently."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, truncnorm

from emofeedback.domain.affect import LEXICON, Emotion
from emofeedback.domain.assessment import Conversation, Judge
from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.cli import main
from emofeedback_trainer.data import captions
from emofeedback_trainer.data.build_emoset import EmosetBuild, choose
from emofeedback_trainer.data.captions import Wanted, caption, read_caption
from emofeedback_trainer.data.draws import Outside, draw_affect
from emofeedback_trainer.data.lexicon import comment_affect, emotion_statistics, read_lexicon
from emofeedback_trainer.data.records import Sample
from support.fakes import paint

HEADER = ",Word,V.Mean.Sum,V.SD.Sum,V.Rat.Sum,A.Mean.Sum,A.SD.Sum,A.Rat.Sum,D.Mean.Sum,D.SD.Sum,D.Rat.Sum\n"


def lexicon_file(folder: Path, *rows: str) -> Path:
    path = folder / "lexicon.csv"
    path.write_text(HEADER + "".join(f"{number},{row}\n" for number, row in enumerate(rows, 1)))
    return path


def eight_words() -> list[str]:
    return [f"{emotion},5.5,1.5,20,{4 + place / 10},2,20,5.1,2,20" for place, emotion in enumerate(Emotion)]


@given(seed=st.integers(0, 2**32), emotions=st.lists(st.sampled_from(Emotion), max_size=30))
@pytest.mark.parametrize("outside", ["truncate", "clip"])
def test_draws_stay_on_the_scale_and_follow_the_seed(outside: Outside, seed: int, emotions: list[Emotion]) -> None:
    drawn = draw_affect(emotions, LEXICON, np.random.default_rng(seed), outside)
    assert drawn.shape == (len(emotions), 2)
    assert ((drawn >= 1) & (drawn <= 9)).all()
    assert (drawn == draw_affect(emotions, LEXICON, np.random.default_rng(seed), outside)).all()


def test_truncated_draws_have_the_truncated_gaussians_moments() -> None:
    word = LEXICON[Emotion.AWE]
    drawn = draw_affect([Emotion.AWE] * 20_000, LEXICON, np.random.default_rng(0))
    valence, arousal = drawn.T
    for axis, (mean, sd) in enumerate(((word.valence_mean, word.valence_sd), (word.arousal_mean, word.arousal_sd))):
        truth = truncnorm((1 - mean) / sd, (9 - mean) / sd, mean, sd)
        assert drawn[:, axis].mean() == pytest.approx(truth.mean(), abs=0.05)
        assert drawn[:, axis].std() == pytest.approx(truth.std(), abs=0.05)
    assert abs(pearsonr(valence, arousal).statistic) < 0.03


def test_clipping_piles_up_the_share_that_leaves_the_scale() -> None:
    emotions = list(Emotion) * 4000
    drawn = draw_affect(emotions, LEXICON, np.random.default_rng(0), "clip")
    on_an_end = ((drawn == 1) | (drawn == 9)).any(axis=1)
    assert on_an_end.mean() == pytest.approx(0.28, abs=0.02)  # notes on the paper: 28 % of independent draws
    assert not np.isin(draw_affect(emotions, LEXICON, np.random.default_rng(0)), (1, 9)).any()


def test_a_lexicon_gives_the_eight_words_their_figures(tmp_path: Path) -> None:
    statistics = emotion_statistics(read_lexicon(lexicon_file(tmp_path, *eight_words())))
    assert [statistics[emotion].arousal_mean for emotion in Emotion] == [4 + place / 10 for place in range(8)]
    assert emotion_statistics(None) is LEXICON


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (["awe,nan,1,9,5,1,9,5,1,9"], "lexicon.csv row 2 column V.Mean.Sum: is NaN"),
        (["awe,11,1,9,5,1,9,5,1,9"], r"lexicon.csv row 2 column V.Mean.Sum: is 11, it must lie in \[1, 9\]"),
        (["awe,5,1,9,5,0,9,5,1,9"], "lexicon.csv row 2 column A.SD.Sum: is 0"),
        (["awe,5,1,9,5,1,9,5,1,9", "Awe,5,1,9,5,1,9,5,1,9"], "row 3 column Word: 'awe' was an earlier row's"),
        ([], "has no rows"),
    ],
)
def test_a_bad_lexicon_is_refused_by_row_and_column(tmp_path: Path, rows: list[str], complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        read_lexicon(lexicon_file(tmp_path, *rows))


def test_a_lexicon_without_one_of_the_eight_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="has no row for 'sadness'"):
        emotion_statistics(read_lexicon(lexicon_file(tmp_path, *eight_words()[:-1])))


def test_comments_are_the_mean_of_the_words_that_the_lexicon_knows(tmp_path: Path) -> None:
    lexicon = read_lexicon(lexicon_file(tmp_path, "calm,7,1,9,2,1,9,6,1,9", "storm,3,1,9,8,1,9,4,1,9"))
    spoken = comment_affect(["Calm before the storm,", "so CALM!"], lexicon)
    assert spoken == pytest.approx(((7 + 3 + 7) / 3, (2 + 8 + 2) / 3, (6 + 4 + 6) / 3))
    assert comment_affect(["calmly stormy"], lexicon) is None


def pictures(**counts: int) -> list[Sample]:
    return [
        Sample(id=f"{split}{number}", source="emoset", license="", emotion=Emotion.AWE, split=split)
        for split, count in counts.items()
        for number in range(count)
    ]


def test_the_choice_follows_the_seed_and_keeps_the_sources_order() -> None:
    there = pictures(train=50, val=5, test=20)
    chosen = choose(there, EmosetBuild(train=10, test=5))
    assert {split: len(many) for split, many in chosen.items()} == {"train": 10, "val": 0, "test": 5}
    places = [there.index(sample) for sample in chosen["train"]]
    assert places == sorted(set(places))
    assert chosen == choose(there, EmosetBuild(train=10, test=5))
    assert chosen["train"] != choose(there, EmosetBuild(train=10, test=5, seed=1))["train"]


def test_more_pictures_than_there_are_is_refused_with_their_number() -> None:
    with pytest.raises(InvalidRequest, match="train: is 14563, the source's train split has 50 pictures"):
        choose(pictures(train=50, test=2000), EmosetBuild())


@pytest.mark.parametrize(
    ("reply", "caption"),
    [
        ("A dog in a meadow.", "A dog in a meadow"),
        (' "Caption: a dog\nin a meadow" ', "Caption: a dog in a meadow"),
        ("Neutral caption: a dog in a meadow", "a dog in a meadow"),
        ("<prompt>a dog in a meadow</prompt>", "a dog in a meadow"),
        ("  \n ", ""),
        ("dog " * 600, ""),
    ],
)
def test_captions_lose_their_wrapping(reply: str, caption: str) -> None:
    assert read_caption(reply) == caption


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--judges", "0"), "judges: is 0"),
        (("--seed", "-1"), "seed: is -1"),
        (("--address", "nowhere"), "'nowhere' is not HOST:PORT"),
        ((), "is not a folder"),
    ],
)
def test_bad_words_to_the_command_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], complaint: str
) -> None:
    assert main(["data", "build-emoset", str(tmp_path / "none"), str(tmp_path / "out"), *words]) == 2
    assert complaint in capsys.readouterr().err


async def test_pictures_travel_in_calls_that_a_service_can_take(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[bytes]] = []

    class Listener:
        async def converse(self, conversations: list[Conversation], decoding: object) -> list[str]:
            first = [conversation[0].parts[0] for conversation in conversations]
            calls.append([part for part in first if isinstance(part, bytes)])
            return [f"a picture of {len(image)} bytes" for image in calls[-1]]

    monkeypatch.setattr(captions, "_CALL_BYTES", 1000)
    small, large = paint("a dog", 1), paint("a dog", 2, size=256)
    assert 2 * len(small) < 1000 < 2 * len(large) < 2000
    wanted = [Wanted(image=image, emotion=None) for image in (small, small, large, b"nothing", large, small)]
    said = await caption(cast(Judge, Listener()), wanted)
    assert [one.neutral for one in said if not one.problem] == [
        f"a picture of {len(image)} bytes" for image in (small, small, large, large, small)
    ]
    assert "not a readable" in said[3].problem
    assert len(calls) > 1
    assert all(sum(map(len, call)) <= 1000 for call in calls)
