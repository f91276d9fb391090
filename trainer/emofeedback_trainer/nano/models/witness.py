"""The nano world's witness: who confirms what the emotional memory keeps, besides the judge that learns from it.

A network of its own: another shape than the critic's (coarse patches, no batch statistics, a pooling that attends),
other scenes, another seed, other flaws. The critic, by which tables are made, then stays out of what a judge
learns from.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from emofeedback.domain.affect import AffectPoint, clip_to_scale
from emofeedback.domain.generation import ModelInfo
from emofeedback.storage.checkpoints import digest
from emofeedback_trainer.core.training_state import TrainingState, averaged_weights, cosine, set_rates
from emofeedback_trainer.evaluation.metrics import correlation, mae
from emofeedback_trainer.nano.world.album import RENDERED_SIZE, SEEN_SIZE, mirrored, pictures, seen
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.parts import OUTPUTS, naming_losses, parts_of
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import affect

_FOLDER = Path(__file__).with_name("witness_weights")
_SPLIT = "witness"
_WORN = 0.35
_WIDTHS = (40, 80, 144)
_DEPTHS = (2, 2, 2)
_PLACES = 4
"""What the pooling attends to at once."""
_LOSS_WEIGHTS = (0.2, 0.2, 4.0)
"""Of choices, extras and the point: it is asked for the point, the parts teach it to look."""
_HOLE = 14
"""Pixels a side of what is smeared."""
_TOGETHER = 64


@dataclass(frozen=True, kw_only=True)
class WitnessRecipe:
    """How the witness is trained."""

    steps: int = 1500
    batch: int = 64
    pictures: int = 24_000
    learning_rate: float = 2.5e-3
    seed: int = 71
    save_every: int = 200


class WitnessNetwork(nn.Module):
    """Pictures (N, 3, 112, 112) in [-1, 1] to a head's output (N, OUTPUTS), as `parts.naming_losses` reads it; about
    0.7 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, _WIDTHS[0], 6, stride=4, padding=1)]
        for before, after, depth in zip((_WIDTHS[0], *_WIDTHS), _WIDTHS, _DEPTHS, strict=False):
            if before != after:
                layers += [nn.GroupNorm(1, before), nn.Conv2d(before, after, 2, stride=2)]
            layers += [_Block(after) for _ in range(depth)]
        self.layers = nn.Sequential(*layers, nn.GroupNorm(1, _WIDTHS[-1]))
        self.attend = nn.Conv2d(_WIDTHS[-1], _PLACES, 1)
        self.head = nn.Linear(_PLACES * _WIDTHS[-1], OUTPUTS)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.layers(images)
        where = self.attend(maps).flatten(2).softmax(dim=-1)
        features = torch.einsum("nhp,ncp->nhc", where, maps.flatten(2)).flatten(1)
        output: Tensor = self.head(features)
        return output


class _Block(nn.Module):
    """Normalises, looks around, mixes; what it finds is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(1, width),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.layers(x)
        return output


class NanoWitness:
    """Reads pictures."""

    def __init__(self, network: WitnessNetwork, info: ModelInfo) -> None:
        self.info = info
        self._network = network.eval()

    @torch.no_grad()
    def look(self, images: Sequence[Image.Image]) -> list[AffectPoint]:
        """Valence and arousal of each picture, in order; other sizes are scaled to 112 x 112."""
        points: list[AffectPoint] = []
        for first in range(0, len(images), _TOGETHER):
            pixels = np.stack([seen(image.convert("RGB")) for image in images[first : first + _TOGETHER]])
            found = 5.0 + 2.0 * self._network(_to_tensor(pixels))[:, -2:]
            points += [
                AffectPoint(clip_to_scale(valence), clip_to_scale(arousal)) for valence, arousal in found.tolist()
            ]
        return points


def load_witness(folder: Path = _FOLDER) -> NanoWitness:
    """The trained witness of the package, or of another folder."""
    network = WitnessNetwork()
    network.load_state_dict({key: value.float() for key, value in load_file(folder / "model.safetensors").items()})
    return NanoWitness(network, ModelInfo(name="nano witness", digest=digest(folder)))


def train_witness(folder: Path, recipe: WitnessRecipe, device: torch.device) -> None:
    """Trains, or goes on training, in `folder`; logs the errors on held-out scenes with every checkpoint."""
    torch.manual_seed(recipe.seed)
    album = pictures(folder, _SPLIT, recipe.pictures, worn=_WORN)
    truth = parts_of([scene_at(_SPLIT, index) for index in range(recipe.pictures)])
    model = WitnessNetwork().to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    state = TrainingState(folder, {"witness": model}, {"adamw": optimizer}, ema_decay=0.995)
    for step in range(state.resume(), recipe.steps):
        set_rates([optimizer], cosine(step, recipe.steps, peak=1.0, floor=0.01, warmup=100))
        rng = np.random.default_rng((recipe.seed, step))
        chosen = np.sort(rng.choice(recipe.pictures, recipe.batch, replace=False))
        images = _flawed(_to_tensor(mirrored(album[chosen], rng)), rng)
        # In single precision: in half, these convolutions are slower on a CPU.
        losses = naming_losses(
            model(images.to(device, memory_format=torch.channels_last)), truth.select(chosen).to(device)
        )
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward((losses * losses.new_tensor(_LOSS_WEIGHTS)).sum())
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        state.average()
        if state.step % 20 == 0:
            choices, extras, points = losses.tolist()
            state.log(choices=choices, extras=extras, points=points)
        if state.step % recipe.save_every == 0 or state.step == recipe.steps:
            state.save()
            state.log(**measure_witness(_averaged(folder), scenes=300))


def measure_witness(witness: NanoWitness, *, scenes: int) -> dict[str, float]:
    """Mean absolute errors and correlations on clean scenes never trained on."""
    truth = [scene_at("evaluation", index) for index in range(scenes)]
    read = np.array([[p.valence, p.arousal] for p in witness.look([render(scene, RENDERED_SIZE) for scene in truth])])
    true = np.array([[p.valence, p.arousal] for p in map(affect, truth)])
    figures: dict[str, float] = {}
    for axis, name in enumerate(("valence", "arousal")):
        figures[f"{name}_mae"] = mae(true[:, axis], read[:, axis])
        figures[f"{name}_r"] = correlation(true[:, axis], read[:, axis])
    return {name: round(value, 4) for name, value in figures.items()}


def export_witness(folder: Path, target: Path = _FOLDER) -> None:
    """Writes the running average as fp16 safetensors beside a config.json that names its shape."""
    target.mkdir(parents=True, exist_ok=True)
    weights = {key: value.half().contiguous() for key, value in averaged_weights(folder, "witness").items()}
    save_file(weights, target / "model.safetensors")
    config = {"architecture": "WitnessNetwork", "image_size": SEEN_SIZE, "widths": _WIDTHS, "depths": _DEPTHS}
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _averaged(folder: Path) -> NanoWitness:
    network = WitnessNetwork()
    network.load_state_dict(averaged_weights(folder, "witness"))
    return NanoWitness(network, ModelInfo(name="nano witness", digest=""))


def _to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels).float().div_(127.5).sub_(1.0)


def _flawed(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Pictures (N, 3, H, W) in [-1, 1] as a generator paints them: tinted, a third of them soft, and with holes."""
    tint = torch.from_numpy(rng.uniform(0.88, 1.12, (len(images), 3, 1, 1)).astype(np.float32))
    images = ((images + 1) * tint - 1).clamp(-1, 1)
    soft = torch.from_numpy(rng.random(len(images)) < 0.33)
    images[soft] = F.interpolate(F.avg_pool2d(images[soft], 2), scale_factor=2, mode="bilinear")
    for index in np.flatnonzero(rng.random(len(images)) < 0.25):
        x, y = rng.integers(0, SEEN_SIZE - _HOLE, 2)
        hole = images[index, :, y : y + _HOLE, x : x + _HOLE]
        hole[:] = hole.mean(dim=(1, 2), keepdim=True)
    return images
