"""What the SDK gives shows itself: short in a traceback, as a picture in a notebook, as a file on a disk."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from emofeedback import (
    AffectPoint,
    Assessment,
    Creation,
    Distribution,
    Emotion,
    EmotionShare,
    GeneratedImage,
    GradientRequest,
    InvalidRequest,
    Message,
    ModelInfo,
    Resume,
    StopReason,
    Tensor,
    Trajectory,
)

PNG = b"\x89PNG" + bytes(1_000_000)
MODEL = ModelInfo(name="m", digest="sha256:0")
CALM = Assessment(valence=7.204, arousal=3.1, emotion=Emotion.CONTENTMENT, confidence=0.9)
IMAGE = GeneratedImage(index=0, seed=3, data=PNG, width=8, height=8, model=MODEL)
CREATION = Creation(
    image=PNG, assessment=CALM, loss=0.31, prompt="a <dog>", seed=3, rounds=(), stopped_because=StopReason.ROUNDS,
    seconds=2.0, generator=MODEL, judge=MODEL,
)  # fmt: skip
TENSOR = Tensor(element_type="float32", shape=(500, 500), data=bytes(1_000_000))
SHARES = Distribution(shares=(1 / 9,) * 9, low=2.0123456789, high=8.0123456789)
KNOWN_WHOLE = replace(
    CALM, reasoning="It shows a dog in a meadow.", domain_score=0.01, dominance=5.0, valence_distribution=SHARES,
    arousal_distribution=SHARES, dominance_distribution=SHARES,
    emotions=tuple(EmotionShare(emotion=emotion, share=1 / 8) for emotion in Emotion),
)  # fmt: skip
HOLDING_BYTES = [
    KNOWN_WHOLE,
    IMAGE,
    CREATION,
    TENSOR,
    Trajectory(index=0, seed=3, latents=TENSOR, log_probabilities=TENSOR, final=TENSOR, image=PNG),
    Resume(rounds=(), best_image=PNG),
    GradientRequest(prompt="a", target=AffectPoint(5, 5), best_image=PNG, best=CALM, worst_image=PNG, worst=CALM),
    Message(role="user", parts=("why?", PNG)),
]


@pytest.mark.parametrize("record", HOLDING_BYTES, ids=lambda record: type(record).__name__)
def test_a_record_that_holds_a_picture_or_a_tensor_shows_itself_in_a_few_words(record: object) -> None:
    assert len(repr(record)) < 600
    assert repr(record).startswith(type(record).__name__)


def test_a_creation_says_what_was_made_and_how_it_feels() -> None:
    told = "Creation('a <dog>', seed 3: contentment, valence 7.20, arousal 3.10, loss 0.31 after 0 rounds)"
    assert repr(CREATION) == told


def test_a_message_shows_its_words_and_how_large_its_pictures_are() -> None:
    assert "'why?'" in repr(HOLDING_BYTES[-1]) and f"<image, {len(PNG)} bytes>" in repr(HOLDING_BYTES[-1])


@pytest.mark.parametrize("picture", [CREATION, IMAGE])
def test_a_picture_is_saved_as_it_is_and_the_path_comes_back(
    picture: Creation | GeneratedImage, tmp_path: Path
) -> None:
    assert picture.save(str(tmp_path / "dog.PNG")).read_bytes() == PNG
    with pytest.raises(InvalidRequest, match=r"path: 'dog\.jpg' must end in \.png"):
        picture.save(tmp_path / "dog.jpg")


def test_a_notebook_shows_the_picture_with_its_words_escaped() -> None:
    assert CREATION._repr_png_() == IMAGE._repr_png_() == PNG
    html = CREATION._repr_html_()
    assert base64.b64encode(PNG).decode() in html
    assert "a &lt;dog&gt;" in html and "contentment" in html
