"""The decoder's training: what it computes, what it leaves alone, and that it goes on where it was cut."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny
from torch import nn

from emofeedback_trainer.core.training_state import TrainingState, checkpoint_step
from emofeedback_trainer.nano.models import decoder
from emofeedback_trainer.nano.models.autoencoder import decode, keep_scale, load_autoencoder, new_autoencoder
from emofeedback_trainer.nano.models.decoder import DecoderRecipe, finish_decoder
from emofeedback_trainer.nano.models.generator_parts import load_tokenizer, new_models

_CPU = torch.device("cpu")
_RECIPE = DecoderRecipe(painted_latents=32, steps=2, drawn=2, painted=1, latent_crop=4, save_every=1)


def _saved(folder: Path, models: dict[str, nn.Module]) -> None:
    TrainingState(folder, models, {}, ema_decay=0.9).save()


def test_what_it_trains_on_is_what_diffusers_decodes() -> None:
    model, latents = new_autoencoder().eval(), torch.randn(2, 16, 3, 5)
    with torch.no_grad():
        torch.testing.assert_close(decode(model, latents), model.decode(latents).sample, rtol=1e-4, atol=1e-5)


def test_a_cut_run_goes_on_and_leaves_the_encoder_and_what_nobody_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(decoder, "_HEAD_START", 1)
    folders = tmp_path / "autoencoder", tmp_path / "generator"
    begun: AutoencoderTiny = new_autoencoder()
    begun.register_to_config(scaling_factor=2.5)
    keep_scale(folders[0], begun)
    _saved(folders[0], {"vae": begun})
    _saved(folders[1], new_models(load_tokenizer(folders[1])))
    monkeypatch.setattr(
        decoder, "paint", lambda _models, _tokenizer, prompts, seed: torch.randn(len(prompts), 16, 16, 16)
    )
    for steps in (1, 2):
        finish_decoder(tmp_path / "run", *folders, replace(_RECIPE, steps=steps), _CPU)
    assert checkpoint_step(tmp_path / "run") == 2
    finished = load_autoencoder(tmp_path / "run", _CPU)
    assert finished.config["scaling_factor"] == 2.5
    assert all(
        torch.equal(a, b) for a, b in zip(finished.encoder.parameters(), begun.encoder.parameters(), strict=True)
    )
    before, after = begun.decoder.layers[-2].weight, finished.decoder.layers[-2].weight
    assert not torch.equal(before, after) and not after[24:].any()
