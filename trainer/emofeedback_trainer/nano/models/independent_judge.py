"""The independent judge: an independent second opinion on nano pictures, for tables and never for rewards.

A small residual convolutional network of its own, trained on scenes that no other model saw, with noise, blur and JPEG
traces, so that it reads generated pictures as well as rendered ones. It tells valence, arousal and what is to be seen.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from emofeedback.domain.generation import ModelInfo
from emofeedback.storage.checkpoints import digest
from emofeedback_trainer.core.training_state import TrainingState, averaged_weights, cosine, set_rates
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import EXPRESSIONS, EXTRAS, LIGHTS, PLACES, SUBJECTS, WEATHERS, Scene, affect

_CHOICES = {
    "subject": SUBJECTS,
    "place": PLACES,
    "weather": WEATHERS,
    "expression": ("", *EXPRESSIONS),
    "light": ("", *LIGHTS),
}
_FOLDER = Path(__file__).with_name("independent_judge_weights")
_SIDE = 128
"""Pixels a side that pictures are scaled to."""
_WIDTHS = (24, 48, 96, 160)


@dataclass(frozen=True, kw_only=True)
class IndependentJudgeRecipe:
    """How the independent judge is trained."""

    steps: int = 1600
    batch: int = 32
    learning_rate: float = 2e-3
    seed: int = 0
    save_every: int = 200


@dataclass(frozen=True, kw_only=True)
class IndependentReading:
    """What the independent judge sees in one picture; valence and arousal on the 1-9 scale."""

    valence: float
    arousal: float
    subject: str
    place: str
    weather: str
    extras: tuple[str, ...]
    expression: str
    light: str


class IndependentJudgeNetwork(nn.Module):
    """Pictures (N, 3, 128, 128) in [-1, 1] to the logits of every head; about 0.96 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, _WIDTHS[0], 5, stride=2, padding=2)
        stages: list[nn.Module] = []
        for before, after in zip((_WIDTHS[0], *_WIDTHS), _WIDTHS, strict=False):
            stages += [_Down(before, after), _Residual(after)]
        self.stages = nn.Sequential(*stages)
        features = 2 * _WIDTHS[-1]
        self.heads = nn.ModuleDict({name: nn.Linear(features, len(names)) for name, names in _CHOICES.items()})
        self.heads["extras"] = nn.Linear(features, len(EXTRAS))
        self.heads["affect"] = nn.Sequential(nn.Linear(features, 192), nn.GELU(), nn.Linear(192, 2))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.stages(self.stem(images))
        features = torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)
        return {name: head(features) for name, head in self.heads.items()}


class _Down(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.layers(x))


class IndependentJudge:
    """Reads pictures."""

    def __init__(self, network: IndependentJudgeNetwork, info: ModelInfo) -> None:
        self.info = info
        self._network = network.eval()

    @torch.no_grad()
    def look(self, images: Sequence[Image.Image]) -> list[IndependentReading]:
        """One reading per picture, in order; other sizes are scaled to 128 x 128."""
        readings: list[IndependentReading] = []
        for first in range(0, len(images), 64):
            replies = self._network(_to_tensor(images[first : first + 64]))
            points = _to_scale(replies["affect"]).clamp(1.0, 9.0).tolist()
            named = {name: [names[i] for i in replies[name].argmax(1).tolist()] for name, names in _CHOICES.items()}
            present = (replies["extras"] > 0).tolist()
            readings += [
                IndependentReading(
                    valence=valence,
                    arousal=arousal,
                    extras=tuple(extra for extra, seen in zip(EXTRAS, present[i], strict=True) if seen),
                    **{name: names[i] for name, names in named.items()},
                )
                for i, (valence, arousal) in enumerate(points)
            ]
        return readings


def load_independent_judge(folder: Path = _FOLDER) -> IndependentJudge:
    """The trained independent judge of the package, or of another folder."""
    network = IndependentJudgeNetwork()
    network.load_state_dict({key: value.float() for key, value in load_file(folder / "model.safetensors").items()})
    return IndependentJudge(network, ModelInfo(name="nano critic", digest=digest(folder)))


def train_independent_judge(folder: Path, recipe: IndependentJudgeRecipe, device: torch.device) -> None:
    """Trains, or goes on training, in `folder`; logs the errors on held-out scenes with every checkpoint."""
    torch.manual_seed(recipe.seed)
    model = IndependentJudgeNetwork().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.02)
    state = TrainingState(folder, {"critic": model}, {"adamw": optimizer}, ema_decay=0.99)
    for step in range(state.resume(), recipe.steps):
        set_rates([optimizer], cosine(step, recipe.steps, peak=1.0, floor=0.01, warmup=50))
        rng = np.random.default_rng((recipe.seed, step))
        scenes = [scene_at("critic", step * recipe.batch + i) for i in range(recipe.batch)]
        images = _to_tensor([degraded(render(scene, _SIDE), rng) for scene in scenes])
        loss = _loss(model, images.to(device, memory_format=torch.channels_last), scenes)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        state.average()
        if state.step % 20 == 0:
            state.log(loss=round(loss.item(), 4))
        if state.step % recipe.save_every == 0 or state.step == recipe.steps:
            state.save()
            state.log(**measure_independent_judge(_averaged(folder), scenes=200))


def measure_independent_judge(independent: IndependentJudge, *, scenes: int) -> dict[str, float]:
    """Mean absolute errors and accuracies on clean scenes never trained on."""
    truth = [scene_at("evaluation", i) for i in range(scenes)]
    readings = independent.look([render(scene, _SIDE) for scene in truth])
    points = [affect(scene) for scene in truth]
    pairs = list(zip(readings, truth, strict=True))
    metrics = {
        "valence_mae": np.mean([abs(r.valence - p.valence) for r, p in zip(readings, points, strict=True)]),
        "arousal_mae": np.mean([abs(r.arousal - p.arousal) for r, p in zip(readings, points, strict=True)]),
        "extras": np.mean([set(r.extras) == set(s.extras) for r, s in pairs]),
    } | {name: np.mean([getattr(r, name) == getattr(s, name) for r, s in pairs]) for name in _CHOICES}
    return {name: round(float(value), 4) for name, value in metrics.items()}


def export_independent_judge(folder: Path, target: Path = _FOLDER) -> None:
    """Writes the running average as fp16 safetensors beside a config.json that names the heads."""
    target.mkdir(parents=True, exist_ok=True)
    weights = averaged_weights(folder, "critic")
    halves = {key: value.half() if value.is_floating_point() else value for key, value in weights.items()}
    save_file({key: value.contiguous() for key, value in halves.items()}, target / "model.safetensors")
    config = {
        "architecture": "IndependentJudgeNetwork",
        "image_size": _SIDE,
        "widths": _WIDTHS,
        "extras": EXTRAS,
        **_CHOICES,
    }
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def degraded(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture as a generator or a wire might spoil it: blur, JPEG traces, noise, a shift of brightness."""
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.6)))
    if rng.random() < 0.3:
        small = int(rng.integers(56, 112))
        image = image.resize((small, small), Image.Resampling.BILINEAR).resize(image.size, Image.Resampling.BICUBIC)
    if rng.random() < 0.3:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(30, 90)))
        image = Image.open(buffer).convert("RGB")
    array = np.asarray(image, np.float32) * rng.uniform(0.94, 1.06)
    if rng.random() < 0.5:
        noise = rng.normal(0.0, rng.uniform(2, 16), (32, 32, 3) if rng.random() < 0.4 else array.shape)
        array = array + (noise if noise.shape == array.shape else noise.repeat(4, 0).repeat(4, 1))
    return Image.fromarray(np.clip(array, 0, 255).astype(np.uint8))


def _averaged(folder: Path) -> IndependentJudge:
    network = IndependentJudgeNetwork()
    network.load_state_dict(averaged_weights(folder, "critic"))
    return IndependentJudge(network, ModelInfo(name="nano critic", digest=""))


def _to_tensor(images: Sequence[Image.Image]) -> Tensor:
    resized = [image if image.size == (_SIDE, _SIDE) else image.resize((_SIDE, _SIDE)) for image in images]
    array = np.stack([np.asarray(image.convert("RGB")) for image in resized])
    return torch.from_numpy(array).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def _to_scale(raw: Tensor) -> Tensor:
    """From about standard numbers to points of the 1-9 scale."""
    return 5.0 + 2.0 * raw


def _loss(model: IndependentJudgeNetwork, images: Tensor, scenes: list[Scene]) -> Tensor:
    device = images.device
    with torch.autocast(device.type, torch.bfloat16):
        replies = {name: reply.float() for name, reply in model(images).items()}
    points = [affect(scene) for scene in scenes]
    wanted = torch.tensor([[point.valence, point.arousal] for point in points], device=device)
    loss = F.smooth_l1_loss(_to_scale(replies["affect"]), wanted, beta=0.5)
    present = torch.tensor([[float(extra in scene.extras) for extra in EXTRAS] for scene in scenes], device=device)
    loss = loss + 2.0 * F.binary_cross_entropy_with_logits(replies["extras"], present)
    for name, names in _CHOICES.items():
        labels = torch.tensor([names.index(getattr(scene, name)) for scene in scenes], device=device)
        loss = loss + 0.3 * F.cross_entropy(replies[name], labels)
    return loss
