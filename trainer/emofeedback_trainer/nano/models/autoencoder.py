"""The generator's autoencoder: 128 x 128 pixels to 16 x 16 latents of 16 channels and back.

A diffusers `AutoencoderTiny`. Its encoder is not trained but computed: it has no blocks, so it is linear, and projects
every patch of 8 x 8 pixels onto its 16 principal components, with their spread evened out by the square root. That
keeps 96 % of the variance, at once, where a learned encoder of this size needs hours to come near. The decoder is
trained, with a little noise on the latents, so that it forgives what the diffusion model gets slightly wrong. It is
convolutional, so it trains on small crops: many cheap steps.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from PIL import Image
from torch import Tensor, nn

from emofeedback_trainer.nano.models.checkpoints import TrainingState, averaged_weights, cosine, set_rates
from emofeedback_trainer.nano.world.numbered import pixels, scene_at

_CHANNELS = 16
_RAW_SCALE = 0.4  # of the encoder's latents: the decoder squashes what is far beyond 3


@dataclass(frozen=True, kw_only=True)
class AutoencoderRecipe:
    """How the autoencoder is trained."""

    steps: int = 6500
    renders: int = 8  # scenes in a step
    crops: int = 16  # cut from them
    crop_size: int = 64
    muon_rate: float = 1.2e-3
    adam_rate: float = 1e-3
    latent_noise: float = 0.1  # standard deviation, relative to that of the latents
    edge_weight: float = 1.0
    coarse_weight: float = 2.0  # on the mean color of blocks of 8 x 8 pixels
    seed: int = 0
    save_every: int = 200


def new_autoencoder(width: int = 48) -> AutoencoderTiny:
    """Untrained, about 0.58 million parameters."""
    model = AutoencoderTiny(
        encoder_block_out_channels=(width,) * 4,
        decoder_block_out_channels=(width,) * 4,
        latent_channels=_CHANNELS,
        num_encoder_blocks=(0, 0, 0, 0),
        num_decoder_blocks=(3, 3, 1, 0),
    )
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, AutoencoderTinyBlock):  # nearly straight through at first, so that signals live
            with torch.no_grad():
                module.conv[-1].weight.mul_(0.2)
    return model


@torch.no_grad()
def fit_encoder(model: AutoencoderTiny, images: Tensor) -> None:
    """Sets the encoder to the principal components of the images' 8 x 8 patches, and the model's scaling factor.

    The stride-2 convolutions collect 2 x 2 neighbors into channels (3 to 12 to 48), the third one takes the components
    of what would be 192 channels, the last one centers them.
    """
    patches = nn.functional.unfold(images, 8, stride=8).transpose(1, 2).reshape(-1, 192)
    mean = patches.mean(0)
    variances, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    spread = variances.flip(0)[:_CHANNELS].sqrt()
    basis = vectors.flip(1)[:, :_CHANNELS] * (_RAW_SCALE / spread.sqrt())  # (192, channels), on inputs in [-1, 1]
    first, *halving, last = [m for m in model.encoder.layers if isinstance(m, nn.Conv2d)]
    assert first.bias is not None and last.bias is not None
    for convolution in (first, *halving, last):
        convolution.weight.zero_()
    first.weight[range(3), range(3), 1, 1] = 2.0  # the model maps [-1, 1] to [0, 1] first; undo it, with the bias
    first.bias.copy_(torch.tensor([-1.0] * 3 + [0.0] * (len(first.bias) - 3)))
    for channels, convolution in zip((3, 12), halving[:2], strict=True):
        for y in (0, 1):
            for x in (0, 1):
                place = torch.arange(channels) * 4 + 2 * y + x
                convolution.weight[place, torch.arange(channels), 1 + y, 1 + x] = 1.0
    for row in range(8):
        for column in range(8):
            for color in range(3):
                channel = (color * 4 + 2 * (row // 1 % 2) + column % 2) * 4 + 2 * (row // 2 % 2) + column // 2 % 2
                weights = basis[color * 64 + row * 8 + column]
                halving[2].weight[:_CHANNELS, channel, 1 + row // 4, 1 + column // 4] = weights
    last.weight[range(_CHANNELS), range(_CHANNELS), 1, 1] = 1.0
    last.bias.copy_(-(mean @ basis))
    overall = float((basis.T @ (patches - mean).T).std())
    model.register_to_config(shift_factor=0.0, scaling_factor=round(1.0 / overall, 4))


def to_tensor(images: list[np.ndarray]) -> Tensor:
    """uint8 pictures (H, W, 3) to one float tensor (N, 3, H, W) in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    return stacked.div_(127.5).sub_(1.0)


def to_images(decoded: Tensor) -> list[Image.Image]:
    """The inverse of `to_tensor`, for looking at."""
    array = decoded.float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(picture) for picture in array]


def train_autoencoder(folder: Path, recipe: AutoencoderRecipe, device: torch.device) -> None:
    """Trains, or goes on training, in `folder`; writes `samples.png` (originals above reconstructions)."""
    torch.manual_seed(recipe.seed)
    model = new_autoencoder()
    fit_encoder(model, to_tensor([pixels(scene_at("autoencoder", 10**6 + i)) for i in range(400)]))
    scale = {"scaling_factor": model.config["scaling_factor"]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scale.json").write_text(json.dumps(scale), encoding="utf-8")
    model.encoder.requires_grad_(False)
    model.to(device)
    kernels = [p for p in model.decoder.parameters() if p.ndim == 4]
    matrices = [nn.Parameter(p.data.view(len(p), -1)) for p in kernels]  # Muon takes matrices: views of the kernels
    biases = [p for p in model.decoder.parameters() if p.ndim != 4]
    optimizers: dict[str, torch.optim.Optimizer] = {
        "muon": torch.optim.Muon(matrices, lr=recipe.muon_rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
        "adamw": torch.optim.AdamW(biases, lr=recipe.adam_rate, betas=(0.9, 0.97), weight_decay=0.0),
    }
    state = TrainingState(folder, {"vae": model}, optimizers, ema_decay=0.99)
    for step in range(state.resume(), recipe.steps):
        set_rates(optimizers.values(), cosine(step, recipe.steps, peak=1.0, floor=0.02, warmup=30))
        losses = _losses(model, _crops(step, recipe).to(device, memory_format=torch.channels_last), recipe)
        loss = losses["l1"] + recipe.coarse_weight * losses["coarse"]
        loss = loss + recipe.edge_weight * losses["edge"]
        model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for kernel, matrix in zip(kernels, matrices, strict=True):
            assert kernel.grad is not None
            matrix.grad = kernel.grad.contiguous().view(len(kernel), -1)
        for optimizer in optimizers.values():
            optimizer.step()
        state.average()
        if state.step % 20 == 0:
            state.log(**{name: round(value.item(), 5) for name, value in losses.items()})
        if state.step % recipe.save_every == 0 or state.step == recipe.steps:
            state.save()
            _draw_samples(folder, device)


def load_autoencoder(folder: Path, device: torch.device) -> AutoencoderTiny:
    """The autoencoder of a training folder (running average), with the scale of its latents in its configuration."""
    model = new_autoencoder()
    model.load_state_dict(averaged_weights(folder, "vae"))
    scale = json.loads((folder / "scale.json").read_text(encoding="utf-8"))
    model.register_to_config(shift_factor=0.0, scaling_factor=scale["scaling_factor"])
    return model.eval().to(device, memory_format=torch.channels_last)


def _crops(step: int, recipe: AutoencoderRecipe) -> Tensor:
    """Crops of the scenes of one step, (crops, 3, crop size, crop size)."""
    scenes = range(step * recipe.renders, (step + 1) * recipe.renders)
    images = to_tensor([pixels(scene_at("autoencoder", i)) for i in scenes])
    corners = np.random.default_rng((recipe.seed, step)).integers(129 - recipe.crop_size, size=(recipe.crops, 2))
    return torch.stack(
        [
            images[i % recipe.renders, :, y : y + recipe.crop_size, x : x + recipe.crop_size]
            for i, (y, x) in enumerate(corners)
        ]
    )


def _losses(model: AutoencoderTiny, images: Tensor, recipe: AutoencoderRecipe) -> dict[str, Tensor]:
    with torch.no_grad():
        latents = model.encode(images).latents
        noise = recipe.latent_noise / model.config["scaling_factor"]
        latents = latents + noise * torch.randn_like(latents)
    with torch.autocast(images.device.type, torch.bfloat16):
        decoded = model.decode(latents).sample.float()
    error = decoded - images
    edges = (error[..., 1:, :] - error[..., :-1, :]).abs().mean() + (error[..., 1:] - error[..., :-1]).abs().mean()
    coarse = nn.functional.avg_pool2d(error, 8).abs().mean()
    return {"l1": error.abs().mean(), "coarse": coarse, "edge": edges}


@torch.no_grad()
def _draw_samples(folder: Path, device: torch.device) -> None:
    model = load_autoencoder(folder, device)
    originals = to_tensor([pixels(scene_at("evaluation", i)) for i in range(8)]).to(device)
    decoded = model.decode(model.encode(originals).latents).sample
    sheet = Image.new("RGB", (8 * 128, 2 * 128))
    for row, pictures in enumerate((originals, decoded)):
        for column, picture in enumerate(to_images(pictures)):
            sheet.paste(picture, (column * 128, row * 128))
    sheet.save(folder / "samples.png")
