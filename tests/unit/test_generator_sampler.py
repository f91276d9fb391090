"""The sampler against diffusers' own pipeline, and against itself in other company."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from numpy.typing import NDArray

from emofeedback.generator.models import Models, load_models
from emofeedback.generator.sampler import Sample, advance, recipe, start
from emofeedback.settings import SD35_MEDIUM_PROFILE, GeneratorSettings
from tiny_checkpoints import T5_WIDTH, save_tiny_sd3

CHECKPOINTS: dict[str, dict[str, Any]] = {
    "with T5": {},
    "T5 left out": {"with_t5": False, "joint_width": T5_WIDTH},
    "never had a T5": {"with_t5": False},
    "tiny autoencoder": {"with_t5": False, "tiny_autoencoder": True},
}


def settings_for(folder: Path) -> GeneratorSettings:
    return replace(
        SD35_MEDIUM_PROFILE.generator,
        checkpoint=str(folder),
        width=32,
        height=48,
        device="cpu",
        dtype="float32",
        max_text_tokens=24,
        minimum_gpu_memory_gib=0.0,
    )


@pytest.fixture(scope="module", params=CHECKPOINTS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, save_tiny_sd3(tmp_path_factory.mktemp("tiny"), **CHECKPOINTS[request.param])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return load_models(settings_for(save_tiny_sd3(tmp_path_factory.mktemp("tiny"))))


def paint(models: Models, *samples: Sample) -> list[NDArray[np.uint8]]:
    while rest := [sample for sample in samples if not sample.finished]:
        advance(models, rest)
    return [models.decode(sample.latent).numpy() for sample in samples]


@pytest.mark.parametrize("guidance", [1.0, 4.5])
def test_pixels_are_those_of_diffusers(checkpoint: tuple[str, Path], guidance: float) -> None:
    kind, folder = checkpoint
    models = load_models(settings_for(folder))
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
    prompts = {
        text: recipe(models, prompt=text, negative_prompt="", steps=steps, guidance=guidance)
        for text, steps, guidance in [("a cat", 5, 4.0), ("two birds", 9, 1.0), ("rain", 3, 7.5)]
    }
    [alone] = paint(models, start(models, prompts["a cat"], seed=1))
    for company in (
        [start(models, prompts["a cat"], seed=seed) for seed in range(2, 9)],
        [start(models, prompts[text], seed=seed) for text in prompts for seed in (3, 4)],
        [start(models, prompts["two birds"], seed=5)],
    ):
        advance(models, company[-1:])
        [joined, *_] = paint(models, start(models, prompts["a cat"], seed=1), *company)
        np.testing.assert_array_equal(joined, alone)


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


def test_latents_stay_float32_where_the_model_computes_in_bfloat16(tmp_path: Path) -> None:
    models = load_models(replace(settings_for(save_tiny_sd3(tmp_path)), dtype="bfloat16"))
    assert {parameter.dtype for parameter in models.transformer.parameters()} == {torch.bfloat16}
    sample = start(models, recipe(models, prompt="a cat", negative_prompt="", steps=3, guidance=4.0), seed=0)
    [picture] = paint(models, sample)
    assert sample.latent.dtype == torch.float32
    assert picture.shape == (48, 32, 3) and picture.std() > 10
