"""Training of the nano generator and independent judge: what the pieces promise, on a handful of samples."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTokenizer

from emofeedback_trainer.core.cpu_attention import PlainAttention
from emofeedback_trainer.core.jsonl import read_lines
from emofeedback_trainer.core.training_state import TrainingState, averaged_weights, checkpoint_step, cosine
from emofeedback_trainer.nano.models.autoencoder import fit_encoder, new_autoencoder, to_tensor
from emofeedback_trainer.nano.models.generator import GeneratorRecipe, training_caption
from emofeedback_trainer.nano.models.generator_parts import (
    encode_prompts,
    new_models,
    new_tokenizer,
    paint,
    to_pictures,
)
from emofeedback_trainer.nano.models.independent_judge import (
    degraded,
    load_independent_judge,
    measure_independent_judge,
)
from emofeedback_trainer.nano.world.captions import WORDS
from emofeedback_trainer.nano.world.numbered import pixels, scene_at
from emofeedback_trainer.nano.world.rendering import render


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    new_tokenizer(folder)
    return CLIPTokenizer.from_pretrained(folder)


def _train(folder: Path, until: int) -> nn.Linear:
    """A few steps of a tiny regression that depends on nothing but its step number."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    state = TrainingState(folder, {"line": model}, {"adamw": optimizer}, ema_decay=0.9)
    state.resume()
    while state.step < until:
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(state.step))
        optimizer.zero_grad()
        (model(x) - 1).square().mean().backward()
        optimizer.step()
        state.average()
    state.save()
    return model


def test_a_run_that_was_cut_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole", until=10)
    _train(tmp_path / "cut", until=4)
    assert checkpoint_step(tmp_path / "cut") == 4
    resumed = _train(tmp_path / "cut", until=10)
    assert torch.equal(whole.weight, resumed.weight)
    both = [averaged_weights(tmp_path / name, "line")["weight"] for name in ("whole", "cut")]
    assert torch.equal(*both)


def test_what_was_told_behind_the_checkpoint_is_told_anew(tmp_path: Path) -> None:
    def told(*steps: int) -> None:
        state = TrainingState(tmp_path, {}, {}, ema_decay=0.9)
        state.resume()
        for _ in range(state.step, steps[-1]):
            state.average()
            state.log()
            if state.step in steps[:-1]:
                state.save()

    told(2, 4)
    with (tmp_path / "curve.jsonl").open("a") as file:
        file.write('{"step": 5, "sec')
    told(6)
    assert [line["step"] for line in read_lines(tmp_path / "curve.jsonl", "step")] == [1, 2, 3, 4, 5, 6]


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [cosine(step, 100, peak=1.0, floor=0.1, warmup=10) for step in range(101)]
    assert rates[0] < rates[5] < rates[10] == pytest.approx(1.0)
    assert rates[10] > rates[50] > rates[100] == pytest.approx(0.1)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"attn_mask": torch.ones(9, 9).tril().bool()}])
def test_plain_attention_gives_what_the_fused_kernel_gives(options: dict[str, object]) -> None:
    query, key, value = torch.randn(3, 2, 4, 9, 8, generator=torch.Generator().manual_seed(0))
    fused = F.scaled_dot_product_attention(query, key, value, **options)  # type: ignore[arg-type]
    with PlainAttention():
        plain = F.scaled_dot_product_attention(query, key, value, **options)  # type: ignore[arg-type]
    torch.testing.assert_close(plain, fused)


def test_the_encoder_keeps_nearly_all_of_a_picture() -> None:
    pictures = to_tensor([pixels(scene_at("autoencoder", i)) for i in range(48)])
    images = F.avg_pool2d(pictures, 2)
    model = new_autoencoder()
    fit_encoder(model, images)
    with torch.no_grad():
        latents = model.encode(pictures).latents
    assert latents.shape == (48, 16, 16, 16)
    assert float((latents * model.config["scaling_factor"]).std()) == pytest.approx(1.0, abs=0.05)
    patches = F.unfold(images, 8, stride=8).transpose(1, 2).reshape(-1, 192)
    flat = torch.cat([latents.permute(0, 2, 3, 1).reshape(-1, 16), torch.ones(len(patches), 1)], dim=1)
    restored = flat @ torch.linalg.lstsq(flat, patches).solution
    assert float((restored - patches).square().mean() / patches.var()) < 0.06


def test_every_word_of_the_world_is_one_token_and_any_text_encodes(tokenizer: CLIPTokenizer) -> None:
    assert all(len(tokenizer.tokenize(word)) == 1 for word in WORDS)
    encoded = tokenizer("Ein Zebra, 漢字 & 🎈!", padding="max_length", truncation=True)["input_ids"]
    assert len(encoded) == tokenizer.model_max_length
    assert encoded[0] == tokenizer.bos_token_id and encoded[-1] == tokenizer.eos_token_id


def test_captions_of_the_base_carry_targets_near_the_truth_from_the_start(tokenizer: CLIPTokenizer) -> None:
    rng, recipe = np.random.default_rng(0), GeneratorRecipe()
    captions = [training_caption(scene_at("generator", i), rng, recipe) for i in range(600)]
    named = [caption for caption in captions if caption]
    targets = [caption for caption in named if "valence" in caption]
    assert 0.05 < captions.count("") / len(captions) < 0.16
    assert 0.28 < len(targets) / len(named) < 0.42
    assert max(len(tokenizer(caption)["input_ids"]) for caption in captions) <= tokenizer.model_max_length


def test_an_untrained_generator_paints_and_the_seed_decides(tokenizer: CLIPTokenizer) -> None:
    torch.manual_seed(0)
    models = new_models(tokenizer)
    embeddings, pooled = encode_prompts(models, tokenizer, ["a dog in a meadow"])
    assert embeddings.shape == (1, tokenizer.model_max_length, 160) and pooled.shape == (1, 160)
    pictures = [
        to_pictures(new_autoencoder().eval(), paint(models, tokenizer, ["a dog in a meadow"], seed=seed, steps=1))
        for seed in (1, 2)
    ]
    assert pictures[0].shape == (1, 3, 256, 256)
    assert not torch.equal(*pictures)


def test_spoiled_pictures_keep_their_size_and_differ() -> None:
    rng = np.random.default_rng(1)
    image = render(scene_at("critic", 1), 128)
    spoiled = [degraded(image, rng) for _ in range(20)]
    assert all(picture.size == image.size and picture.mode == "RGB" for picture in spoiled)
    assert len({picture.tobytes() for picture in spoiled}) > 10


def test_the_critic_reads_scenes_that_it_never_saw() -> None:
    independent = load_independent_judge()
    figures = measure_independent_judge(independent, scenes=60)
    assert figures["valence_mae"] < 0.5 and figures["arousal_mae"] < 0.5
    assert min(figures["subject"], figures["weather"], figures["extras"]) > 0.85
    larger = independent.look([render(scene_at("evaluation", 3), 256)])
    assert larger[0].subject == scene_at("evaluation", 3).subject
