"""The generator with and without each feedback: metrics, image scores by tiny checkpoints, pictures, the command."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import ModelInfo
from emofeedback.judge.scorers import ClipScorer
from emofeedback.profiles.builtin import NANO_PROFILE, SD35_MEDIUM_PROFILE
from emofeedback_trainer.cli import main
from emofeedback_trainer.evaluation.ablation import Delivered
from emofeedback_trainer.evaluation.generation import Impression, Witnessed, to_json, to_markdown, way, witnessed
from emofeedback_trainer.evaluation.plane_errors import draw_error_maps, error_map
from emofeedback_trainer.evaluation.provenance import Data, Model, Provenance
from emofeedback_trainer.evaluation.scorers import AestheticHead, Checkpoints, ImageScores
from emofeedback_trainer.nano.task import TASK
from support.fakes import look, paint
from support.tiny_judges import png, save_tiny_clip, settings

PROVENANCE = Provenance(
    command="emofeedback-train evaluate generation",
    seed=0,
    models=(Model.of("generator", ModelInfo(name="tiny", digest="sha256:" + "0" * 64, policy="calm")),),
    data=(Data(name="pairs", digest="sha256:" + "1" * 64, n=4),),
)


def picture(valence: float, arousal: float, *, off: float = 0.0, **scores: float) -> Witnessed:
    """The judge is content, the witness sees the valence `off` the target."""
    target = AffectPoint(valence, arousal)
    seen = AffectPoint(valence + off, arousal)
    return Witnessed(prompt="a dog", target=target, judged=target, seen=seen, unchosen_error=2.0, scores=scores)


GOOD = [picture(2, 2), picture(8, 3, off=-0.5), picture(4, 7), picture(6, 8, off=0.5)]


# --- metrics -------------------------------------------------------------------------------------------------------


def test_the_judge_and_the_witness_are_measured_apart() -> None:
    metrics = way("both", GOOD, pairs=4).metrics
    assert metrics["judge_valence_error"].value == 0
    assert metrics["valence_error"].value == 0.25 and metrics["arousal_error"].value == 0
    assert metrics["arousal_correlation"].value == pytest.approx(1)
    assert metrics["error"].value == 0.25
    assert metrics["unchosen_error"].value == 2
    assert "subject_accuracy" not in metrics
    assert metrics["middle_error"].value == pytest.approx((6 + 5 + 3 + 4) / 4)


def test_the_table_has_a_column_for_each_way_and_names_what_was_not_measured() -> None:
    ways = [way("base", [picture(2, 2, off=3, clip_score=20.0), picture(7, 8, clip_score=30.0)], pairs=3)]
    ways.append(way("both", [picture(2, 2, clip_score=28.0), picture(7, 8, clip_score=28.0)], pairs=2))
    table = to_markdown(ways, PROVENANCE)
    assert table.splitlines()[0] == "| | base | both |"
    assert "| CLIP-Score | 25.000 [20.000, 30.000] | 28.000 [28.000, 28.000] |" in table
    assert "Not measured, for want of a checkpoint: CLIP-IQA, aesthetic, PickScore." in table
    assert "could read no picture: 1 by base." in table
    assert "- generator: tiny (sha256:000000000000) with policy calm" in table
    content = json.loads(json.dumps(to_json(ways, PROVENANCE)))
    assert content["ways"]["base"]["valence_error"]["value"] == 1.5 and content["ways"]["base"]["unseen"] == 1


def test_a_way_of_which_nothing_can_be_seen_is_said() -> None:
    with pytest.raises(FailedPrecondition, match="base: judge or witness could read none of 4 pictures"):
        way("base", [], pairs=4)


async def test_the_witness_sees_the_choice_and_what_else_was_made(tmp_path: Path) -> None:
    pair = TASK.evaluation[0]
    for seed in range(3):
        (tmp_path / f"{seed}.png").write_bytes(paint("a dog", seed))
    (tmp_path / "unreadable.png").write_bytes(paint("a dog", 99))

    async def witness(images: Sequence[bytes]) -> list[Impression | None]:
        seeds = [look(image).seed for image in images]
        points = [AffectPoint(pair.target.valence, min(1.0 + seed, 9.0)) for seed in seeds]
        subjects = [pair.subject if seed == 1 else "zebra" for seed in seeds]
        return [
            None if seed == 99 else Impression(point=point, subject=subject)
            for seed, point, subject in zip(seeds, points, subjects, strict=True)
        ]

    def delivered(chosen: str) -> Delivered:
        last = tuple(tmp_path / f"{seed}.png" for seed in range(3))
        return Delivered(pair=pair, last=last, chosen=tmp_path / chosen, judged=pair.target)

    scored: list[Sequence[str]] = []

    def scores(images: Sequence[bytes], prompts: Sequence[str]) -> dict[str, list[float]]:
        scored.append(prompts)
        return {"clip_score": [31.0]}

    kept, some = tmp_path / "base.jsonl", [delivered("1.png"), delivered("unreadable.png")]
    found = await witnessed(some, witness, scores, kept=kept)
    kept.write_text(kept.read_text() + '{"pict')
    assert await witnessed([*some, delivered("1.png")], witness, scores, kept=kept) == [*found, *found]
    assert len(scored) == 2
    (one,) = found
    assert one.seen.arousal == 2 and one.scores == {"clip_score": 31.0} and one.prompt == pair.prompt
    assert one.subject_seen is True and way("both", found, pairs=1).metrics["subject_accuracy"].value == 1
    assert one.unchosen_error == pytest.approx(np.mean([abs(pair.target.arousal - a) for a in (1, 2, 3)]))


# --- image scores --------------------------------------------------------------------------------------------------

IMAGES = [png("teal"), png("orange"), png("black", (64, 20))]
PROMPTS = ["a calm sea", "fire", "night over the ruins"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    save_tiny_clip(folder / "scorer")
    head = folder / "head"
    head.mkdir()
    torch.manual_seed(1)
    layers = {f"layers.{n}": torch.nn.Linear(*sizes) for n, sizes in ((0, (24, 8)), (2, (8, 4)), (7, (4, 1)))}
    weights = {f"{name}.{part}": value for name, one in layers.items() for part, value in one.state_dict().items()}
    save_file(
        {**weights, "vision_model.encoder.layers.0.mlp.fc1.weight": torch.zeros(2, 2)}, head / "model.safetensors"
    )
    (head / "config.json").write_text("{}")
    return folder


def scores(clip: Path, /, **changes: Any) -> ImageScores:
    scorer = str(clip / "scorer")
    named = {"clip": scorer, "aesthetic": str(clip / "head"), "pick": scorer, "pick_processor": scorer, **changes}
    return ImageScores.load(Checkpoints(**named), settings(clip))


def test_scores_are_what_their_formulas_say(clip: Path) -> None:
    both = scores(clip)
    found = both.measure(IMAGES, PROMPTS)
    scorer = ClipScorer.load(settings(clip))
    seen, told = scorer.embed_images(IMAGES), scorer.embed_texts(PROMPTS)
    cosines = torch.nn.functional.cosine_similarity(seen, told)
    good, bad = (seen @ scorer.embed_texts([text])[0] for text in ("Good photo.", "Bad photo."))
    assert found["clip_score"] == pytest.approx((100 * cosines).clamp(min=0).tolist(), abs=1e-4)
    assert found["clip_iqa"] == pytest.approx(torch.sigmoid(100 * (good - bad)).tolist(), abs=1e-4)
    assert found["pick_score"] == pytest.approx((scorer.logit_scale * cosines / 26).tolist(), abs=1e-4)
    assert [model.role for model in both.models] == ["CLIP-Score", "aesthetic score", "PickScore"]
    assert all(model.digest.startswith("sha256:") for model in both.models)


def test_the_aesthetic_head_is_its_layers_one_after_another(clip: Path) -> None:
    head = AestheticHead.load(str(clip / "head"))
    unit = torch.nn.functional.normalize(torch.randn(5, 24), dim=-1)
    torch.manual_seed(1)
    expected = torch.nn.Sequential(torch.nn.Linear(24, 8), torch.nn.Linear(8, 4), torch.nn.Linear(4, 1))(unit)[:, 0]
    assert head(unit).tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    with pytest.raises(FailedPrecondition, match="reads embeddings of 24 numbers, the CLIP gives 32"):
        head(torch.randn(1, 32))
    with pytest.raises(FailedPrecondition, match="is no LAION aesthetic predictor"):
        AestheticHead.load(str(clip / "scorer"))


def test_a_score_without_a_checkpoint_is_not_measured(clip: Path) -> None:
    some = scores(clip, aesthetic="", pick="", quality=False)
    assert set(some.measure(IMAGES, PROMPTS)) == {"clip_score"}
    assert scores(clip, clip="", pick="").measure(IMAGES, PROMPTS) == {}


# --- the plane -----------------------------------------------------------------------------------------------------


def test_the_map_holds_each_targets_mean_error_at_its_place() -> None:
    found = error_map([picture(2, 7, off=1), picture(2.2, 6.8, off=2), picture(9, 1)])
    assert found[6, 1] == pytest.approx(1.5) and found[0, 8] == 0
    assert np.isnan(found).sum() == 81 - 2


def test_the_maps_of_all_ways_are_one_picture() -> None:
    drawn = draw_error_maps({"base": [picture(2, 2, off=3)], "both": [picture(2, 2)]})
    image = np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB"), int)
    left, right = image[:, : image.shape[1] // 2], image[:, image.shape[1] // 2 : -150]
    assert (left.sum(axis=2) < 60).sum() > (right.sum(axis=2) < 60).sum()  # dark where the error is large


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "out: is missing: the runs are kept there"),
        (["--out", "OUT", "--limit", "1"], "limit: is 1, it must be 2 or more"),
        (["--out", "OUT", "--policy", "calm"], "policies: is missing"),
        (
            ["--out", "OUT", "--profile", "sd35-medium"],
            "independent: is missing: nano has no judge of",
        ),
        (["--out", "OUT", "--data", "OUT"], "is no data folder"),
    ],
)
def test_bad_input_is_said_before_any_model_is_loaded(
    words: list[str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = replace(NANO_PROFILE, generator=replace(NANO_PROFILE.generator, policies="", policy=""))
    monkeypatch.setattr("emofeedback.profiles.overrides.PROFILES", {"nano": bare, "sd35-medium": SD35_MEDIUM_PROFILE})
    assert main(["evaluate", "generation", *(str(tmp_path) if word == "OUT" else word for word in words)]) != 0
    assert problem in capsys.readouterr().err
