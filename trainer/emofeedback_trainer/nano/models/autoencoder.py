"""The generator's autoencoder: 256 x 256 pixels to 16 x 16 latents of 16 channels and back.

A diffusers `AutoencoderTiny`. Its encoder is not trained but computed: it has no blocks, so it is linear. It halves the
picture and projects every patch of 8 x 8 pixels of that onto its 16 principal components, with their spread evened out
by the square root. That keeps 96 % of the half-sized picture's variance, at once, where a learned encoder of this size
needs hours to come near. The decoder is trained, with a little noise on the latents, so that it forgives what the
diffusion model gets slightly wrong. It is convolutional, so it trains on crops: many cheap steps. Absolute differences
alone leave edges soft wherever the latents don't say where exactly an edge runs; `decoder.py` makes it decide.
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

from emofeedback_trainer.core.training_state import Optimizers, TrainingState, averaged_weights, cosine, set_rates
from emofeedback_trainer.nano.world.numbered import pixels, scene_at
from emofeedback_trainer.nano.world.rendering import PICTURE_SIZE

_CHANNELS = 16
_WIDTH = 64
_LAST_WIDTH = 24
"""Channels of the last doubling that the last convolution reads; computing all would take as long as all else."""
_RAW_SCALE = 0.4  # of the encoder's latents: the decoder squashes what is far beyond 3


@dataclass(frozen=True, kw_only=True)
class AutoencoderRecipe:
    """How the autoencoder is trained."""

    steps: int = 4000
    renders: int = 4  # scenes in a step
    crops: int = 8  # cut from them
    crop_size: int = 128
    muon_rate: float = 1.2e-3
    adam_rate: float = 1e-3
    latent_noise: float = 0.1  # standard deviation, relative to that of the latents
    seed: int = 0
    save_every: int = 200


def new_autoencoder() -> AutoencoderTiny:
    """Untrained, about 1.25 million parameters; the encoder's 48 channels hold 4 x 4 pixels of three colors."""
    model = AutoencoderTiny(
        encoder_block_out_channels=(48,) * 5,
        decoder_block_out_channels=(_WIDTH,) * 5,
        latent_channels=_CHANNELS,
        num_encoder_blocks=(0,) * 5,
        num_decoder_blocks=(3, 3, 2, 1, 0),
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
    with torch.no_grad():  # and stay so: of a weight that is zero on both sides nobody learns
        model.decoder.layers[-2].weight[_LAST_WIDTH:] = 0.0
        model.decoder.layers[-1].weight[:, _LAST_WIDTH:] = 0.0
    return model


def decode(model: AutoencoderTiny, latents: Tensor) -> Tensor:
    """As `model.decode`, without the channels before the last convolution that it has no weights for.

    Args:
        latents: (N, 16, H / 16, W / 16), as the encoder gives them.

    Returns:
        Pictures (N, 3, H, W), about in [-1, 1].
    """
    *layers, doubling, before_last, last = model.decoder.layers
    hidden = torch.tanh(latents / 3) * 3
    for layer in layers:
        hidden = layer(hidden)
    hidden = nn.functional.conv2d(doubling(hidden), before_last.weight[:_LAST_WIDTH], padding=1)
    return nn.functional.conv2d(hidden, last.weight[:, :_LAST_WIDTH], last.bias, padding=1) * 2 - 1


@torch.no_grad()
def fit_encoder(model: AutoencoderTiny, images: Tensor) -> None:
    """Sets the encoder to the principal components of 8 x 8 patches, and the model's scaling factor.

    The first stride-2 convolution halves the picture, the next two collect 2 x 2 neighbors into channels (3 to 12 to
    48), the fourth takes the components of what would be 192 channels, the last convolution centers them.

    Args:
        images: (N, 3, H, W) in [-1, 1], of half the size of the pictures that the model is for.
    """
    patches = nn.functional.unfold(images, 8, stride=8).transpose(1, 2).reshape(-1, 192)
    mean = patches.mean(0)
    variances, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    spread = variances.flip(0)[:_CHANNELS].sqrt()
    basis = vectors.flip(1)[:, :_CHANNELS] * (_RAW_SCALE / spread.sqrt())  # (192, channels), on inputs in [-1, 1]
    first, mean_of_four, *halving, last = [m for m in model.encoder.layers if isinstance(m, nn.Conv2d)]
    assert first.bias is not None and last.bias is not None
    for convolution in (first, mean_of_four, *halving, last):
        convolution.weight.zero_()
    first.weight[range(3), range(3), 1, 1] = 2.0  # the model maps [-1, 1] to [0, 1] first; undo it, with the bias
    first.bias.copy_(torch.tensor([-1.0] * 3 + [0.0] * (len(first.bias) - 3)))
    mean_of_four.weight[range(3), range(3), 1:, 1:] = 0.25
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
    halves = [pixels(scene_at("autoencoder", 10**6 + i), PICTURE_SIZE // 2) for i in range(400)]
    fit_encoder(model, to_tensor(halves))
    keep_scale(folder, model)
    learning = DecoderOptimizers(model, muon_rate=recipe.muon_rate, adam_rate=recipe.adam_rate, device=device)
    state = TrainingState(folder, {"vae": model}, learning.optimizers, ema_decay=0.995)
    for step in range(state.resume(), recipe.steps):
        set_rates(learning.optimizers.values(), cosine(step, recipe.steps, peak=1.0, floor=0.02, warmup=30))
        drawn = crops(step * recipe.renders, recipe.renders, recipe.crops, recipe.crop_size)
        drawn = drawn.to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            decoded = decode(model, noisy_latents(model, drawn, recipe.latent_noise))
        losses = differences(decoded.float(), drawn)
        learning.step(difference_loss(losses))
        step_made(state, losses, last=recipe.steps, save_every=recipe.save_every, device=device)


class DecoderOptimizers:
    """Muon for a decoder's kernels, AdamW for its biases; the encoder stays as it was computed."""

    def __init__(self, model: AutoencoderTiny, *, muon_rate: float, adam_rate: float, device: torch.device) -> None:
        model.encoder.requires_grad_(False)
        model.to(device, memory_format=torch.channels_last)
        self._decoder = model.decoder
        self._kernels = [p for p in model.decoder.parameters() if p.ndim == 4]
        # Muon takes matrices: views of the kernels.
        self._matrices = [nn.Parameter(p.data.permute(0, 2, 3, 1).reshape(len(p), -1)) for p in self._kernels]
        biases = [p for p in model.decoder.parameters() if p.ndim != 4]
        self.optimizers: Optimizers = {
            "muon": torch.optim.Muon(self._matrices, lr=muon_rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            "adamw": torch.optim.AdamW(biases, lr=adam_rate, betas=(0.9, 0.97), weight_decay=0.0),
        }

    def step(self, loss: Tensor) -> None:
        """One update of the decoder down the loss's gradient."""
        self._decoder.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
            assert kernel.grad is not None
            matrix.grad = kernel.grad.permute(0, 2, 3, 1).reshape(len(kernel), -1)
        for optimizer in self.optimizers.values():
            optimizer.step()


def step_made(
    state: TrainingState, losses: dict[str, Tensor], *, last: int, save_every: int, device: torch.device
) -> None:
    """Behind each step of a decoder's training: averages it in, and at times logs its losses, or saves and draws.

    Args:
        last: the step with which the training ends, behind which it saves in any case.
    """
    state.average()
    if state.step % 20 == 0:
        state.log(**{name: round(value.item(), 5) for name, value in losses.items()})
    if state.step % save_every == 0 or state.step == last:
        state.save()
        _draw_samples(state.folder, device)


def keep_scale(folder: Path, model: AutoencoderTiny) -> None:
    """Writes down what `load_autoencoder` has to know beside the weights of a training folder."""
    folder.mkdir(parents=True, exist_ok=True)
    scale = {"scaling_factor": model.config["scaling_factor"]}
    (folder / "scale.json").write_text(json.dumps(scale), encoding="utf-8")


def load_autoencoder(folder: Path, device: torch.device) -> AutoencoderTiny:
    """The autoencoder of a training folder (running average), with the scale of its latents in its configuration."""
    model = new_autoencoder()
    model.load_state_dict(averaged_weights(folder, "vae"))
    scale = json.loads((folder / "scale.json").read_text(encoding="utf-8"))
    model.register_to_config(shift_factor=0.0, scaling_factor=scale["scaling_factor"])
    return model.eval().to(device, memory_format=torch.channels_last)


def crops(first: int, renders: int, count: int, size: int) -> Tensor:
    """`count` crops of the `renders` scenes from number `first` on, (count, 3, size, size) in [-1, 1]."""
    images = to_tensor([pixels(scene_at("autoencoder", i)) for i in range(first, first + renders)])
    corners = np.random.default_rng(first).integers(PICTURE_SIZE + 1 - size, size=(count, 2))
    return torch.stack([images[i % renders, :, y : y + size, x : x + size] for i, (y, x) in enumerate(corners)])


@torch.no_grad()
def noisy_latents(model: AutoencoderTiny, drawn: Tensor, noise: float) -> Tensor:
    """The latents of drawn crops with noise of a standard deviation relative to theirs, (N, 16, H / 16, W / 16)."""
    latents: Tensor = model.encode(drawn).latents
    latents += noise / model.config["scaling_factor"] * torch.randn_like(latents)
    return latents


def differences(decoded: Tensor, drawn: Tensor) -> dict[str, Tensor]:
    """Mean absolute differences of crops (N, 3, H, W): of pixels, of neighboring pixels' steps, and of the mean color
    of blocks of 16 x 16 pixels."""
    error = decoded - drawn
    edges = (error[..., 1:, :] - error[..., :-1, :]).abs().mean() + (error[..., 1:] - error[..., :-1]).abs().mean()
    coarse = nn.functional.avg_pool2d(error, 16).abs().mean()
    return {"l1": error.abs().mean(), "coarse": coarse, "edge": edges}


def difference_loss(losses: dict[str, Tensor]) -> Tensor:
    """What the decoder is trained on, of `differences`."""
    return losses["l1"] + losses["edge"] + 2.0 * losses["coarse"]


@torch.no_grad()
def _draw_samples(folder: Path, device: torch.device) -> None:
    """Writes `samples.png`: eight scenes never trained on, and below what the decoder of the folder makes of them."""
    model = load_autoencoder(folder, device)
    originals = to_tensor([pixels(scene_at("evaluation", i)) for i in range(8)]).to(device)
    decoded = model.decode(model.encode(originals).latents).sample
    sheet = Image.new("RGB", (8 * PICTURE_SIZE, 2 * PICTURE_SIZE))
    for row, pictures in enumerate((originals, decoded)):
        for column, picture in enumerate(to_images(pictures)):
            sheet.paste(picture, (column * PICTURE_SIZE, row * PICTURE_SIZE))
    sheet.save(folder / "samples.png")
