"""The sampler against diffusers' own pipeline, and against itself in other company."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from numpy.typing import NDArray

from emofeedback.generator.pipeline import Models, load_models
from emofeedback.generator.rows import fewest_samples, keep_rows_steady
from emofeedback.generator.sampler import Sample, advance, recipe, start
from support.tiny_checkpoints import T5_WIDTH, save_tiny_sd3, tiny_sd3_settings

CHECKPOINTS: dict[str, dict[str, Any]] = {
    "with T5": {},
    "T5 left out": {"with_t5": False, "joint_width": T5_WIDTH},
    "never had a T5": {"with_t5": False},
    "tiny autoencoder": {"with_t5": False, "tiny_autoencoder": True},
}


@pytest.fixture(scope="module", params=CHECKPOINTS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, save_tiny_sd3(tmp_path_factory.mktemp("tiny"), **CHECKPOINTS[request.param])


@pytest.fixture(scope="module")
def models(tiny_sd3: Path) -> Models:
    return load_models(tiny_sd3_settings(tiny_sd3))


def paint(models: Models, *samples: Sample) -> list[NDArray[np.uint8]]:
    while rest := [sample for sample in samples if not sample.finished]:
        advance(models, rest)
    return [models.decode([sample.latent]).picture(0).numpy() for sample in samples]


@pytest.mark.parametrize("guidance", [1.0, 4.5])
def test_pixels_are_those_of_diffusers(checkpoint: tuple[str, Path], guidance: float) -> None:
    kind, folder = checkpoint
    models = load_models(tiny_sd3_settings(folder))
    sample = start(
        models, recipe(models, prompt="a red dog", negative_prompt="blurred", steps=4, guidance=guidance), seed=11
    )
    absent = {} if kind == "with T5" else {"text_encoder_3": None, "tokenizer_3": None}
    pipeline = StableDiffusion3Pipeline.from_pretrained(folder, **absent)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        "a red dog",
        negative_prompt="blurred",
        width=32,
        height=48,
        num_inference_steps=4,
        guidance_scale=guidance,
        latents=sample.latent[None].clone(),
        max_sequence_length=24 if models.prompts.context_width == T5_WIDTH else 0,
    ).images[0]
    [ours] = paint(models, sample)
    assert ours.std() > 10  # a picture, not one color
    np.testing.assert_array_equal(ours, np.asarray(theirs))


def test_a_picture_does_not_depend_on_its_company(models: Models) -> None:
    """Bit for bit on a CPU: alone, with its own request's others, and among strangers at other steps."""
    # As wide as the embedded model: the tiny one is too narrow for matrix kernels to differ by batch size.
    width = {"num_attention_heads": 6, "attention_head_dim": 32, "caption_projection_dim": 192}
    torch.manual_seed(3)
    wide = SD3Transformer2DModel.from_config({**models.transformer.config, **width}).eval()
    keep_rows_steady(wide)
    models = replace(models, transformer=wide, fewest_samples=fewest_samples(wide, models.latent_shape))
    prompts = {
        text: recipe(models, prompt=text, negative_prompt="", steps=steps, guidance=guidance)
        for text, steps, guidance in [("a cat", 5, 4.0), ("two birds", 9, 1.0), ("rain", 3, 7.5)]
    }
    alone = start(models, prompts["a cat"], seed=1)
    paint(models, alone)
    for company in (
        [start(models, prompts["a cat"], seed=seed) for seed in range(2, 9)],
        [start(models, prompts[text], seed=seed) for text in prompts for seed in (3, 4)],
        [start(models, prompts["two birds"], seed=5)],
    ):
        advance(models, company[-1:])
        joined = start(models, prompts["a cat"], seed=1)
        paint(models, joined, *company)
        assert torch.equal(joined.latent, alone.latent)


def test_each_seed_has_its_own_noise_and_always_the_same(models: Models) -> None:
    words = recipe(models, prompt="a cat", negative_prompt="", steps=1, guidance=1.0)
    first, again, other, last = (start(models, words, seed).latent for seed in (0, 0, 1, 2**63 - 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other) and not torch.equal(other, last)


def test_guidance_of_one_computes_no_unconditional_half(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    forward = models.transformer.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        rows.append(len(kwargs["hidden_states"]))
        return forward(*args, **kwargs)

    monkeypatch.setattr(models.transformer, "forward", counted)
    for guidance in (1.0, 3.0):
        words = recipe(models, prompt="a cat", negative_prompt="", steps=1, guidance=guidance)
        advance(models, [start(models, words, seed) for seed in range(5)])
    assert rows == [5, 10]


def test_latents_stay_float32_where_the_model_computes_in_bfloat16(tiny_sd3: Path) -> None:
    models = load_models(tiny_sd3_settings(tiny_sd3, dtype="bfloat16"))
    assert {parameter.dtype for parameter in models.transformer.parameters()} == {torch.bfloat16}
    sample = start(models, recipe(models, prompt="a cat", negative_prompt="", steps=3, guidance=4.0), seed=0)
    [picture] = paint(models, sample)
    assert sample.latent.dtype == torch.float32
    assert picture.shape == (48, 32, 3) and picture.std() > 10
