"""The decoder's last lessons: edges as they are drawn, also where the latents are painted and not exactly true.

It goes on from the autoencoder's own training, against a discriminator that sees drawn crops on one side and on the
other what the decoder makes of drawn scenes' latents and of those that the base generator paints. Only the former have
a picture that they should be, so only they are compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from emofeedback.observability.console import say
from emofeedback.storage.files import write_whole
from emofeedback_trainer.core.training_state import TrainingState, cosine, set_rates
from emofeedback_trainer.nano.models.autoencoder import (
    DecoderOptimizers,
    crops,
    decode,
    difference_loss,
    differences,
    keep_scale,
    load_autoencoder,
    noisy_latents,
    step_made,
)
from emofeedback_trainer.nano.models.discriminator import Discriminator, discriminator_loss, realism_losses
from emofeedback_trainer.nano.models.generator_parts import load_models, load_tokenizer, paint
from emofeedback_trainer.nano.world.captions import emotional_caption
from emofeedback_trainer.nano.world.numbered import scene_at

_TOGETHER = 32  # latents painted at a time
_HEAD_START = 200  # steps in which the discriminator learns before the decoder hears of it
_FIRST_SCENE, _PAINTED_SCENE = 200_000, 300_000


@dataclass(frozen=True, kw_only=True)
class DecoderRecipe:
    """How the decoder is finished."""

    painted_latents: int = 1600

    steps: int = 4200
    drawn: int = 6  # crops of drawn scenes in a step, each of a scene of its own
    painted: int = 2  # crops of painted latents
    latent_crop: int = 12  # side of a crop, of 16
    muon_rate: float = 8e-4
    adam_rate: float = 8e-4
    latent_noise: float = 0.15  # at most; standard deviation, relative to that of the latents
    adversarial_weight: float = 0.02
    gentle_from: int = 3600  # the step from which it is a fifth: fine ripples beside edges go, the edges stay
    feature_weight: float = 0.2
    discriminator_rate: float = 4e-4
    seed: int = 0
    save_every: int = 200


def finish_decoder(
    folder: Path, autoencoder_folder: Path, generator_folder: Path, recipe: DecoderRecipe, device: torch.device
) -> None:
    """Trains, or goes on training, in `folder`; writes `samples.png` (originals above reconstructions).

    Args:
        autoencoder_folder: of the training that it goes on from.
        generator_folder: of the base generator that paints latents.
    """
    autoencoder = load_autoencoder(autoencoder_folder, device)
    painted = _painted(folder, generator_folder, recipe, device)
    torch.manual_seed(recipe.seed)
    keep_scale(folder, autoencoder)
    discriminator = Discriminator().to(device)
    learning = DecoderOptimizers(autoencoder, muon_rate=recipe.muon_rate, adam_rate=recipe.adam_rate, device=device)
    telling = torch.optim.Adam(discriminator.parameters(), lr=recipe.discriminator_rate, betas=(0.0, 0.99))
    models = {"vae": autoencoder, "discriminator": discriminator}
    state = TrainingState(folder, models, {**learning.optimizers, "discriminator": telling}, ema_decay=0.997)
    count = recipe.drawn + recipe.painted
    for step in range(state.resume(), recipe.steps):
        set_rates(learning.optimizers.values(), cosine(step, recipe.steps, peak=1.0, floor=0.02, warmup=30))
        rng = np.random.default_rng((recipe.seed, step))
        drawn = crops(_FIRST_SCENE + step * count, count, count, 16 * recipe.latent_crop)
        drawn = drawn.to(device, memory_format=torch.channels_last)
        wanted = drawn[: recipe.drawn]
        latents = noisy_latents(autoencoder, wanted, recipe.latent_noise * rng.random())
        chosen = _painted_crops(painted, recipe, rng).to(device) / autoencoder.config["scaling_factor"]
        with torch.autocast(device.type, torch.bfloat16):
            decoded = decode(autoencoder, torch.cat([latents, chosen])).float()
            losses = differences(decoded[: recipe.drawn], wanted)
            loss = difference_loss(losses)
            if step >= _HEAD_START:
                discriminator.requires_grad_(False)
                realism = realism_losses(discriminator, wanted, decoded)
                discriminator.requires_grad_(True)
                losses |= realism._asdict()
                weight = recipe.adversarial_weight * (1.0 if step < recipe.gentle_from else 0.2)
                loss = loss + weight * realism.adversarial + recipe.feature_weight * realism.features
        learning.step(loss)
        discriminator.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            losses["discriminator"] = discriminator_loss(discriminator, drawn, decoded)
        torch.autograd.backward(losses["discriminator"])
        telling.step()
        step_made(state, losses, last=recipe.steps, save_every=recipe.save_every, device=device)


def _painted(folder: Path, generator_folder: Path, recipe: DecoderRecipe, device: torch.device) -> Tensor:
    """What the base paints of scenes' captions, float16, (N, 16, 16, 16); from the folder where it is there already."""
    path = folder / "painted.safetensors"
    if not path.exists():
        tokenizer = load_tokenizer(generator_folder)
        models = load_models(generator_folder, tokenizer, device)
        rng = np.random.default_rng(recipe.seed)
        parts = []
        for first in range(0, recipe.painted_latents, _TOGETHER):
            scenes = [scene_at("autoencoder", _PAINTED_SCENE + first + i) for i in range(_TOGETHER)]
            captions = [emotional_caption(scene, rng) for scene in scenes]
            parts.append(paint(models, tokenizer, captions, seed=first).half().cpu())
            say(f"{first + _TOGETHER} of {recipe.painted_latents} latents painted")
        write_whole(path, save({"latents": torch.cat(parts)}))
    latents: Tensor = load_file(path)["latents"]
    return latents


def _painted_crops(painted: Tensor, recipe: DecoderRecipe, rng: np.random.Generator) -> Tensor:
    """Crops of painted latents, (crops, 16, side, side), scaled as the sampler has them."""
    side = recipe.latent_crop
    corners = rng.integers(painted.shape[-1] + 1 - side, size=(recipe.painted, 2))
    rows = rng.integers(len(painted), size=recipe.painted)
    return torch.stack(
        [painted[i, :, y : y + side, x : x + side].float() for i, (y, x) in zip(rows, corners, strict=True)]
    )
