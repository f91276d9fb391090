"""Image scores by published checkpoints: CLIP-Score, CLIP-IQA, the LAION aesthetic score, PickScore.

Each is measured where its checkpoint is named. Numbers of other checkpoints than the usual ones don't compare with the
literature; that is why every table names them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from safetensors.torch import load_file
from torch import Tensor

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import ModelInfo
from emofeedback.judge.scorers import ClipScorer
from emofeedback.profiles.profile import JudgeSettings
from emofeedback.storage.checkpoints import digest, fetch, model_name
from emofeedback_trainer.evaluation.provenance import Model

_PERCENT = 100.0
_QUALITY = ("Good photo.", "Bad photo.")
"""CLIP-IQA's pair of prompts for quality (Wang et al. 2023)."""
_IQA_SCALE = 100.0
"""CLIP's logit scale at the end of its training; torchmetrics takes it as well."""
_PICK_SCALE = 26.0
"""Brings PickScore near 1, as the trainings by it do."""
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.weight$")


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Hub ids or folders; a score whose checkpoint is empty is not measured."""

    clip: str = "openai/clip-vit-large-patch14"
    """CLIP-Score; CLIP-IQA and the aesthetic score, where they are measured, look through it too."""
    quality: bool = True
    """Whether CLIP-IQA is measured: its words mean something to a CLIP with an open vocabulary only."""
    aesthetic: str = "shunk031/aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE"
    """The LAION head, linear layers `layers.N`, on the embedding of CLIP-L/14."""
    pick: str = "yuvalkirstain/PickScore_v1"
    pick_processor: str = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"


class ImageScores:
    """Scores pictures; the models stay loaded until `close`."""

    def __init__(
        self, *, clip: ClipScorer | None, quality: bool, head: AestheticHead | None, pick: ClipScorer | None
    ) -> None:
        self._clip = clip
        self._quality = quality
        self._head = head
        self._pick = pick
        named = (("CLIP-Score", clip), ("aesthetic score", head), ("PickScore", pick))
        self.models = tuple(Model.of(role, model.info) for role, model in named if model)

    @classmethod
    def load(cls, checkpoints: Checkpoints, settings: JudgeSettings) -> ImageScores:
        """The checkpoints, on the device and in the batches of a judge's settings.

        Raises:
            FailedPrecondition: one of them can't be had, or the head does not fit the CLIP.
        """

        def scorer(model: str, processor: str) -> ClipScorer | None:
            return ClipScorer.load(replace(settings, scorer=model, scorer_processor=processor)) if model else None

        return cls(
            clip=scorer(checkpoints.clip, checkpoints.clip),
            quality=checkpoints.quality,
            head=AestheticHead.load(checkpoints.aesthetic) if checkpoints.aesthetic and checkpoints.clip else None,
            pick=scorer(checkpoints.pick, checkpoints.pick_processor),
        )

    def measure(self, images: Sequence[bytes], prompts: Sequence[str]) -> dict[str, list[float]]:
        """By the score's name, one value for each picture and its prompt.

        `clip_score` is 100 cos, at least 0; `clip_iqa` lies in [0, 1]; `aesthetic` is on the head's scale of about 1 to
        10; `pick_score` is exp(logit scale) cos / 26.

        Raises:
            InvalidRequest: an image is not a good one.
        """
        scores: dict[str, Tensor] = {}
        if self._clip:
            seen = self._clip.embed_images(images)
            scores["clip_score"] = _PERCENT * _cosines(seen, self._clip.embed_texts(prompts)).clamp(min=0)
            if self._quality:
                quality = _IQA_SCALE * seen @ self._clip.embed_texts(_QUALITY).T
                scores["clip_iqa"] = quality.softmax(dim=-1)[:, 0]
            if self._head:
                scores["aesthetic"] = self._head(seen)
        if self._pick:
            cosines = _cosines(self._pick.embed_images(images), self._pick.embed_texts(prompts))
            scores["pick_score"] = self._pick.logit_scale * cosines / _PICK_SCALE
        return {name: values.tolist() for name, values in scores.items()}

    def close(self) -> None:
        """Frees the models."""
        for scorer in (self._clip, self._pick):
            if scorer:
                scorer.close()


class AestheticHead:
    """LAION's aesthetic predictor, version 2: linear layers with nothing between them but what training dropped."""

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]], info: ModelInfo) -> None:
        self.info = info
        self._layers = layers

    @classmethod
    def load(cls, checkpoint: str) -> AestheticHead:
        """The `layers.N.weight` and `layers.N.bias` of a checkpoint's safetensors; the rest of it is left alone.

        Raises:
            FailedPrecondition: it can't be had, or has no such layers.
        """
        folder = fetch(checkpoint, "config.json", ["*.safetensors"])
        weights = {
            name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()
        }
        # The vision model's own layers are called `encoder.layers.N.…`, with more behind the number.
        named = sorted((int(match[1]), name) for name in weights if (match := _LAYER.search(name)))
        if not named:
            raise FailedPrecondition(f"{checkpoint} has no weights layers.N.weight: it is no LAION aesthetic predictor")
        layers = [(weights[name].float(), weights[name.removesuffix("weight") + "bias"].float()) for _, name in named]
        return cls(layers, ModelInfo(name=model_name(checkpoint), digest=digest(folder)))

    @torch.inference_mode()
    def __call__(self, embeddings: Tensor) -> Tensor:
        """Scores of unit embeddings, (images, dimensions) to (images,).

        Raises:
            FailedPrecondition: they are of another CLIP than the head was trained on.
        """
        values = embeddings.cpu()
        for weight, bias in self._layers:
            if weight.shape[1] != values.shape[1]:
                raise FailedPrecondition(
                    f"the aesthetic predictor reads embeddings of {weight.shape[1]} numbers, the CLIP gives "
                    f"{values.shape[1]}: name the CLIP that it was trained on"
                )
            values = values @ weight.T + bias
        return values[:, 0]


def _cosines(some: Tensor, others: Tensor) -> Tensor:
    """Row by row, of unit vectors."""
    return (some * others).sum(dim=-1)
