"""The scorer: cosines of a CLIP checkpoint."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import CLIPModel

from emofeedback.domain.errors import InvalidRequest, NotFinite
from emofeedback.judge.images import read_image
from emofeedback.judge.scorers import ClipScorer
from support import tiny_judges as tiny

COLORS = ("red", "teal", "gold", "navy", "white", "black")


@pytest.fixture(scope="module")
def scorer(tiny_judges: Path) -> Iterator[ClipScorer]:
    scorer = ClipScorer.load(tiny.settings(tiny_judges))
    yield scorer
    scorer.close()


async def test_the_score_is_clip_s_own_similarity(scorer: ClipScorer, tiny_judges: Path) -> None:
    images = [tiny.png(color, (32, 32)) for color in COLORS]
    scores = await scorer.score(images, "a fox")

    model = CLIPModel.from_pretrained(tiny_judges / "scorer").eval()
    pixels = scorer._image_processor(images=[read_image(image, field="image") for image in images], return_tensors="pt")
    with torch.inference_mode():
        output = model(**scorer._tokenizer("a fox", return_tensors="pt"), **pixels)
        expected = output.logits_per_image[:, 0] / model.logit_scale.exp()
    assert scores == pytest.approx(expected.tolist(), abs=1e-5)
    assert len(set(scores)) == len(COLORS)


async def test_texts_are_nearest_to_themselves(scorer: ClipScorer) -> None:
    same, other = await scorer.compare_texts("a fox", ["a fox", "the sea at night"])
    assert same == pytest.approx(1, abs=1e-5)
    assert -1 <= other < same


async def test_a_text_over_the_context_counts_by_its_beginning(scorer: ClipScorer) -> None:
    beginning = "x" * 200
    (similarity,) = await scorer.compare_texts(beginning + "a", [beginning + "b"])
    assert similarity == pytest.approx(1, abs=1e-5)


async def test_a_bad_image_is_named(scorer: ClipScorer) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await scorer.score([tiny.png(), b"no picture"], "a fox")
    assert [violation.field for violation in refusal.value.violations] == ["images[1]"]


async def test_a_damaged_scorer_is_named_and_scores_nothing(tiny_judges: Path) -> None:
    scorer = ClipScorer.load(tiny.settings(tiny_judges))
    for projection in (scorer._model.visual_projection, scorer._model.text_projection):
        projection.weight.data[0, 0] = math.nan
    try:
        for call in (scorer.score([tiny.png()], "a fox"), scorer.compare_texts("a fox", ["a hen"])):
            with pytest.raises(NotFinite, match=r"^scorer 'scorer' gives NaN or infinity: .* overflow in float32"):
                await call
    finally:
        scorer.close()


async def test_the_scorer_says_which_it_is(scorer: ClipScorer) -> None:
    assert scorer.info.name == "scorer"
    assert scorer.info.digest.startswith("sha256:")
