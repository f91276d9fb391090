"""`emofeedback-train judge-latent` on judges of random weights: what is trained is what an engine serves."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Qwen2VLImageProcessorPil

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.reasoning import Imagination
from emofeedback.judge.engines.base import chat
from emofeedback.judge.engines.qwen import Qwen
from emofeedback.judge.prompts import look_conversation
from emofeedback_trainer.cli import main
from emofeedback_trainer.core.jsonl import read_lines
from emofeedback_trainer.latent.collation import Collator
from emofeedback_trainer.latent.config import load_config
from emofeedback_trainer.latent.lessons import Imagine, Look, Rating, Way
from emofeedback_trainer.latent.reading import Reader
from emofeedback_trainer.latent.run import Learner, train
from emofeedback_trainer.latent.sequences import Sequences
from support.reasoning_judge import untrained_reasoning_judge
from support.tiny_judges import MAX_PIXELS, png, save_tiny_qwen25vl, settings

REASONS = 16
RATING = Rating(reply="7 3 awe", point=AffectPoint(6.6, 3.2))
PICTURE = Image.open(io.BytesIO(png())).convert("RGB")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "judge"
    save_tiny_qwen25vl(folder)
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    assert main(["nano", "dataset", str(folder), "--train", "12", "--val", "2", "--test", "0"]) == 0
    return folder


def changes(judge: Path, scenes: Path, **more: object) -> dict[str, object]:
    small = {"looks": 2, "imaginations": 1, "known": 2, "save_every": 1, "steps": 2, "warmup": 1, "tokens": REASONS}
    model = {"model.checkpoint": str(judge), "model.max_pixels": MAX_PIXELS, "lessons": str(scenes), "variations": 2}
    return {**small, **model, **more}


def collator(judge: Path) -> Collator:
    tokenizer = Qwen.load(settings(judge.parent))._tokenizer
    processor = Qwen2VLImageProcessorPil.from_pretrained(judge, max_pixels=MAX_PIXELS)
    return Collator(tokenizer, processor, reasons=REASONS, variations=2)


@pytest.fixture(scope="module")
def learner(plain: Path, scenes: Path) -> Learner:
    return Learner(load_config("nano", changes(plain, scenes)), plain)


def logits_of(learner: Learner, row: Sequences) -> torch.Tensor:
    with torch.no_grad():
        return learner.read([row])[1]


def test_a_reply_among_others_is_read_as_it_would_be_alone(learner: Learner) -> None:
    ways = tuple(Way(rating=RATING, thought=text) for text in ("A lake at night.", "Fire."))
    together = learner.collate.imagine(
        Imagine(imagination=Imagination(prompt="a dog", target=AffectPoint(6.6, 3.2)), ways=ways)
    )
    among = logits_of(learner, together)
    start = 0
    for branch in together.branches:
        assert branch.group is not None
        alone = Sequences(
            trunk=together.trunk,
            groups=(together.groups[branch.group],),
            branches=(type(branch)(opening=branch.opening, reply=branch.reply, group=0, hidden=branch.hidden),),
        )
        end = start + len(branch.reply)
        torch.testing.assert_close(among[start:end], logits_of(learner, alone), rtol=1e-3, atol=1e-3)
        start = end


def test_the_rating_is_learned_from_what_an_engine_reads(plain: Path, learner: Learner, tmp_path: Path) -> None:
    judge = untrained_reasoning_judge(tmp_path / "judge", of=plain, reasons=REASONS, variations=2)
    qwen = Qwen.load(settings(tmp_path))
    same = Learner(load_config("nano", changes(judge, tmp_path)), judge)
    lesson = Look(picture=PICTURE, rating=RATING, thought="Teal.")
    logits = logits_of(same, same.collate.look(lesson, hidden=False))
    encoded = qwen.encode(chat(look_conversation(png(), REASONS), [PICTURE]))
    inputs = qwen._inputs([encoded])
    with torch.no_grad():
        served = qwen._model(**inputs).logits[0, -1]
    torch.testing.assert_close(logits[0], served, rtol=1e-3, atol=1e-3)


def test_a_hidden_rating_does_not_depend_on_the_words_of_the_question_but_through_the_tokens(learner: Learner) -> None:
    lesson = Look(picture=PICTURE, rating=RATING, thought="Teal.")
    hidden, shown = (learner.collate.look(lesson, hidden=flag) for flag in (True, False))
    assert not torch.allclose(logits_of(learner, hidden)[0], logits_of(learner, shown)[0], atol=1e-3)


def test_a_run_that_was_cut_goes_on_to_the_same_judge(plain: Path, scenes: Path, tmp_path: Path) -> None:
    straight = train(load_config("nano", changes(plain, scenes)), tmp_path / "straight")
    cut = tmp_path / "cut"
    interrupted = Learner.backward
    calls = []

    def once(self: Learner, *arguments: object) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return interrupted(self, *arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "backward", once)
        with pytest.raises(KeyboardInterrupt):
            train(load_config("nano", changes(plain, scenes)), cut)
    assert train(load_config("nano", changes(plain, scenes)), cut).digest == straight.digest


def test_the_trained_judge_serves_its_tokens(plain: Path, scenes: Path, tmp_path: Path) -> None:
    command = [f"{key}={value}" for key, value in changes(plain, scenes, steps=1).items()]
    out = tmp_path / "run"
    sets = [word for change in command for word in ("--set", change)]
    assert main(["judge-latent", "--out", str(out), *sets]) == 0
    qwen = Qwen.load(settings(out))
    assert (qwen.reasons, qwen.variations) == (REASONS, 2)
    states = qwen.states([qwen.encode(chat(look_conversation(png(), REASONS), [PICTURE]))])
    assert states.shape[:2] == (1, REASONS)
    assert np.isfinite(states.numpy()).all()
    (line,) = read_lines(out / "training" / "curve.jsonl", "step")
    assert line["imagine_thought"] > 0


def test_a_run_goes_on_as_what_it_was_begun_as(plain: Path, scenes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(load_config("nano", changes(plain, scenes, steps=1)), run)
    (run / "result.json").unlink()
    with pytest.raises(InvalidRequest, match=r"thought.*is 2\.0, the run was begun with 0\.5"):
        train(load_config("nano", changes(plain, scenes, thought=2.0)), run)
    assert train(load_config("nano", changes(plain, scenes, steps=2)), run).steps == 2


def test_a_run_is_not_put_on_another_judge(plain: Path, scenes: Path, tmp_path: Path) -> None:
    judge, run = tmp_path / "judge", tmp_path / "run"
    shutil.copytree(plain, judge)
    train(load_config("nano", changes(judge, scenes, steps=1)), run)
    (run / "result.json").unlink()
    shutil.rmtree(judge)
    untrained_reasoning_judge(judge, of=plain, reasons=REASONS, variations=2)
    with pytest.raises(FailedPrecondition, match="was begun with the checkpoint sha256:"):
        train(load_config("nano", changes(judge, scenes)), run)


def test_a_reward_asks_for_tokens_that_are_trained(plain: Path, scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="needs a judge that has learned the tokens"):
        train(load_config("nano", changes(plain, scenes, reward=0.5)), tmp_path / "early")
    judge = untrained_reasoning_judge(tmp_path / "judge", of=plain, reasons=REASONS, variations=2)
    trained = train(load_config("nano", changes(judge, scenes, reward=0.5)), tmp_path / "run")
    assert trained.steps == 2
    assert np.isfinite(read_lines(tmp_path / "run" / "training" / "curve.jsonl", "step")[0]["reward"])


def test_a_source_of_lessons_that_is_none_is_refused_by_name(plain: Path, scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"lessons.*no\.such:thing"):
        train(load_config("nano", changes(plain, scenes, lessons="no.such:thing")), tmp_path / "run")


def test_a_text_is_read_from_the_tokens_alone(plain: Path, tmp_path: Path) -> None:
    """With another picture's tokens in the place of its own, a reply that sees only tokens is the other's."""
    judge = untrained_reasoning_judge(tmp_path / "judge", of=plain, reasons=REASONS, variations=2)
    reader = Reader(judge, reasons=REASONS, variations=2)
    other = Image.open(io.BytesIO(png("red"))).convert("RGB")
    own = reader.look([PICTURE, other])
    turned = reader.swapped(own, [1, 0])
    np.testing.assert_allclose(reader.ratings(turned, "tokens"), reader.ratings(own, "tokens")[::-1], rtol=1e-5)
    assert reader.texts(turned) == reader.texts(own)[::-1]
    assert not np.allclose(reader.ratings(turned), reader.ratings(own)[::-1], rtol=1e-5)
