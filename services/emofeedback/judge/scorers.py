"""How well pictures and texts fit each other: the cosine of CLIP embeddings. PickScore is such a model.

Cosines, not PickScore's scaled logits: they compare between models, and the drift guard has floors on them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

from emofeedback.domain.errors import FailedPrecondition, NotFinite
from emofeedback.domain.generation import ModelInfo
from emofeedback.judge.decoding import read_in_turn
from emofeedback.judge.images import read_image
from emofeedback.profiles.profile import JudgeSettings
from emofeedback.storage.checkpoints import digest, fetch, model_name

T = TypeVar("T")


class ClipScorer:
    """A checkpoint in the CLIP format; its work runs in one thread of its own."""

    def __init__(self, model: Any, tokenizer: Any, image_processor: Any, *, info: ModelInfo, max_batch: int) -> None:
        self.info = info
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._image_processor = image_processor
        self._max_batch = max_batch
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")

    @classmethod
    def load(cls, settings: JudgeSettings) -> ClipScorer:
        """The settings' scorer on their device.

        Raises:
            FailedPrecondition: it, or its processor, can't be had or is none.
        """
        folder = fetch(settings.scorer, "config.json", ["*.safetensors"], "clip")
        processor = fetch(settings.scorer_processor, "tokenizer_config.json", ["*.json", "*.txt"])
        try:
            tokenizer = AutoTokenizer.from_pretrained(processor)
            image_processor = CLIPImageProcessorPil.from_pretrained(processor)
        except (OSError, ValueError) as error:
            raise FailedPrecondition(
                f"{settings.scorer_processor} lacks a tokenizer or a CLIP image processor: judge.scorer_processor "
                "names the checkpoint that has them"
            ) from error
        model = CLIPModel.from_pretrained(folder, dtype=getattr(torch, settings.dtype), use_safetensors=True)
        return cls(
            model.to(settings.device),
            tokenizer,
            image_processor,
            info=ModelInfo(name=model_name(settings.scorer), digest=digest(folder)),
            max_batch=settings.max_batch,
        )

    async def score(self, images: Sequence[bytes], prompt: str) -> list[float]:
        """Cosine of each picture with the prompt, in [-1, 1].

        Raises:
            InvalidRequest: an image is not a good one; the field is `images[3]`.
            NotFinite: the model gives NaN or infinity; `compare_texts` too.
        """

        squares = [
            await read_in_turn(data, field=f"images[{i}]", max_pixels=None, then=self._square)
            for i, data in enumerate(images)
        ]

        def work() -> list[float]:
            return _cosines(self.embed_texts([prompt]), self._embed_squares(squares))

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def compare_texts(self, text: str, candidates: Sequence[str]) -> list[float]:
        """Cosine of each candidate with the text, in [-1, 1]."""

        def work() -> list[float]:
            embedded = self.embed_texts([text, *candidates])
            return _cosines(embedded[:1], embedded[1:])

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """Ends the thread after the work in hand."""
        self._thread.shutdown(cancel_futures=True)

    @property
    def logit_scale(self) -> float:
        """What the model multiplies its cosines by, where it compares texts for one picture: 100 for the CLIPs."""
        return float(self._model.logit_scale.detach().exp())

    def embed_images(self, images: Sequence[bytes]) -> Tensor:
        """Unit vectors, float32, (images, dimensions).

        Raises:
            InvalidRequest: an image is not a good one; the field is `images[3]`.
        """
        read = (read_image(data, field=f"images[{i}]") for i, data in enumerate(images))
        return self._embed_squares([self._square(image) for image in read])

    def _square(self, image: Image) -> Tensor:
        """A picture as the model sees it, (1, 3, side, side)."""
        pixels: Tensor = self._image_processor(images=image, return_tensors="pt")["pixel_values"]
        return pixels

    def _embed_squares(self, squares: Sequence[Tensor]) -> Tensor:
        model = self._model
        return self._embed(
            model.get_image_features(pixel_values=torch.cat(list(batch)).to(model.device, model.dtype))
            for batch in _chunks(squares, self._max_batch)
        )

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors, float32, (texts, dimensions); what is over the model's context counts for nothing."""
        context = self._model.config.text_config.max_position_embeddings
        return self._embed(
            self._model.get_text_features(
                **self._tokenizer(
                    list(batch), padding=True, truncation=True, max_length=context, return_tensors="pt"
                ).to(self._model.device)
            )
            for batch in _chunks(texts, self._max_batch)
        )

    @torch.inference_mode()
    def _embed(self, batches: Iterator[Any]) -> Tensor:
        # Since transformers 5 the features come inside an output, in the place of what they were projected from.
        embedded = torch.cat([normalize(batch.pooler_output.float(), dim=-1) for batch in batches])
        if not embedded.isfinite().all():
            raise NotFinite.of(f"scorer {self.info.name!r}", str(self._model.dtype).removeprefix("torch."))
        return embedded


def _cosines(one: Tensor, many: Tensor) -> list[float]:
    """Cosine of a unit vector, (1, dimensions), with each of many, (n, dimensions)."""
    cosines: list[float] = (many @ one[0]).clamp(-1, 1).tolist()
    return cosines


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
