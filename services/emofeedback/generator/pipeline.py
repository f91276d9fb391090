"""Loads an SD3-family checkpoint from its parts: a diffusers StableDiffusion3Pipeline's layout, safetensors only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from accelerate import cpu_offload
from diffusers import AutoencoderKL, AutoencoderTiny, SD3Transformer2DModel
from torch import Tensor
from transformers import CLIPTextModelWithProjection, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import ModelInfo
from emofeedback.generator.compiled import CompiledBlocks
from emofeedback.generator.norms import norms_in_one_kernel
from emofeedback.generator.preflight import INDEX, KINDS, WEIGHTED, check_folder
from emofeedback.generator.prompts import PromptEncoder
from emofeedback.generator.rows import fewest_samples, keep_rows_steady
from emofeedback.generator.upsampling import double_in_one
from emofeedback.profiles.cards import require_card
from emofeedback.profiles.profile import GeneratorSettings
from emofeedback.storage.checkpoints import digest, fetch, model_name


@dataclass(frozen=True, eq=False, kw_only=True)
class Models:
    """The parts of a checkpoint, on their device, and the numbers that the sampler needs of it."""

    info: ModelInfo
    prompts: PromptEncoder
    transformer: SD3Transformer2DModel
    autoencoder: AutoencoderKL | AutoencoderTiny
    shift: float
    """How far the noise schedule is shifted towards its noisy end; 1 is not at all."""
    latent_shape: tuple[int, int, int]
    """Channels, height and width of one image's latent."""
    device: torch.device
    dtype: torch.dtype
    fewest_samples: int
    """Samples of the smallest forward; fewer are filled up with copies (`generator.rows`)."""

    decode_batch: int
    """Latents that are decoded together."""
    blocks: CompiledBlocks | None = None
    """The transformer's, where they are compiled."""

    def velocities(self, **inputs: Tensor) -> Tensor:
        """What the transformer says of its inputs, by compiled blocks where there are any."""
        if self.blocks is not None:
            return self.blocks.forward(**inputs)
        velocities: Tensor = self.transformer(**inputs, return_dict=False)[0]
        return velocities

    @torch.inference_mode()
    def decode(self, latents: Sequence[Tensor]) -> Decoded:
        """The pictures of finished latents; on a GPU it returns before they are there.

        Args:
            latents: float32, shape `latent_shape` each.
        """
        config, stacked = self.autoencoder.config, torch.stack(list(latents))
        scaled = stacked / config.scaling_factor + (config.shift_factor or 0.0)
        images: Tensor = self.autoencoder.decode(scaled.to(self.autoencoder.dtype), return_dict=False)[0].float()
        # Both: an AutoencoderTiny squashes an infinite latent, a KL in half precision may overflow by itself.
        finite = _all_finite(stacked) & _all_finite(images)
        levels = (images / 2 + 0.5).clamp(0, 1) * 255
        pixels = levels.round().to(torch.uint8).permute(0, 2, 3, 1)
        if self.device.type == "cpu":
            return Decoded(pixels=pixels, finite=finite, arrived=None)
        # Into pinned memory, where the copy goes on while the next step is launched.
        arriving = [torch.empty(one.shape, dtype=one.dtype, pin_memory=True) for one in (pixels, finite)]
        for place, one in zip(arriving, (pixels, finite), strict=True):
            place.copy_(one, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        return Decoded(pixels=arriving[0], finite=arriving[1], arrived=arrived)


def _all_finite(rows: Tensor) -> Tensor:
    return rows.isfinite().flatten(1).all(dim=1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Decoded:
    """Pictures that were decoded together, which may still be on their way from a GPU."""

    pixels: Tensor
    """uint8 RGB on the CPU, shape (pictures, height, width, 3)."""
    finite: Tensor
    """Whether latent and picture are, shape (pictures,)."""
    arrived: torch.cuda.Event | None

    def picture(self, place: int) -> Tensor:
        """One of them, shape (height, width, 3), once it is there.

        Raises:
            FloatingPointError: NaN or infinity in the latent or in the picture, which would be black there.
        """
        if self.arrived is not None:
            self.arrived.synchronize()
        if not self.finite[place]:
            raise FloatingPointError("a picture of NaN or infinity")
        return self.pixels[place]


def load_models(settings: GeneratorSettings) -> Models:
    """Load a checkpoint by hub id or folder.

    Raises:
        FailedPrecondition: whatever `preflight` finds, weights that don't fit their configuration, or a download that
            broke off.
    """
    require_card(settings.device, settings.minimum_gpu_memory_gib, "generator.device")
    folder = fetch(settings.checkpoint, INDEX, _wanted_files())
    layout = check_folder(folder, settings)
    device, dtype = torch.device(settings.device), getattr(torch, settings.dtype)

    def model(kind: Any, part: str, dtype: torch.dtype = dtype) -> Any:
        try:
            loaded = kind.from_pretrained(folder / part, dtype=dtype, use_safetensors=True, local_files_only=True)
        except (OSError, RuntimeError, ValueError) as error:  # files of other names, or of another shape than it says
            raise FailedPrecondition(f"the {part} of {folder} can't be loaded: {error}") from error
        loaded.eval().requires_grad_(False)
        if part == "text_encoder_3" and settings.offload_t5:
            return cpu_offload(loaded, execution_device=device)
        return loaded.to(device)

    def clip(number: str) -> tuple[CLIPTokenizer, CLIPTextModelWithProjection]:
        tokenizer = CLIPTokenizer.from_pretrained(folder / f"tokenizer{number}", local_files_only=True)
        return tokenizer, model(CLIPTextModelWithProjection, f"text_encoder{number}")

    transformer = model(SD3Transformer2DModel, "transformer")
    latent_shape = (transformer.config.in_channels, settings.height // layout.scale, settings.width // layout.scale)
    autoencoder = model(
        AutoencoderTiny if layout.autoencoder == "AutoencoderTiny" else AutoencoderKL, "vae", _decoder_dtype(settings)
    )
    samples = 1
    if device.type == "cpu":
        if isinstance(autoencoder, AutoencoderTiny):
            double_in_one(autoencoder)
        keep_rows_steady(transformer)
        samples = fewest_samples(transformer, latent_shape)
    else:
        norms_in_one_kernel(transformer)
    t5 = None
    if layout.has_t5:
        tokenizer = T5TokenizerFast.from_pretrained(folder / "tokenizer_3", local_files_only=True)
        t5 = (tokenizer, model(T5EncoderModel, "text_encoder_3"))
    prompts = PromptEncoder(
        clips=(clip(""), clip("_2")),
        t5=t5,
        context_width=transformer.config.joint_attention_dim,
        max_t5_tokens=settings.max_text_tokens,
    )
    blocks = None
    if settings.compile_blocks in ("always", device.type):
        # A row alone is compiled apart from all other numbers of rows.
        sizes = (1, 2, 2 * settings.max_batch)
        blocks = CompiledBlocks(transformer, partial(_try_out, transformer, prompts, latent_shape, sizes))
    return Models(
        info=ModelInfo(name=model_name(settings.checkpoint), digest=digest(folder, WEIGHTED)),
        prompts=prompts,
        transformer=transformer,
        autoencoder=autoencoder,
        shift=layout.shift,
        latent_shape=latent_shape,
        device=device,
        dtype=dtype,
        fewest_samples=samples,
        # One by one on a CPU, where a picture's bits must not depend on its company.
        decode_batch=1 if device.type == "cpu" else settings.decode_batch,
        blocks=blocks,
    )


def _decoder_dtype(settings: GeneratorSettings) -> torch.dtype:
    if settings.decoder_dtype != "auto":
        name = settings.decoder_dtype
    elif torch.device(settings.device).type == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16"):
        name = "bfloat16"
    else:
        name = settings.dtype
    dtype: torch.dtype = getattr(torch, name)
    return dtype


@torch.inference_mode()
def _try_out(
    transformer: SD3Transformer2DModel,
    prompts: PromptEncoder,
    latent_shape: tuple[int, int, int],
    sizes: Sequence[int],
) -> None:
    """A forward of each number of rows."""
    prompt = prompts.encode("")
    for rows in sizes:
        transformer(
            hidden_states=prompt.tokens.new_zeros(rows, *latent_shape),
            timestep=torch.full((rows,), 500.0, device=prompt.tokens.device),
            encoder_hidden_states=torch.stack([prompt.tokens] * rows),
            pooled_projections=torch.stack([prompt.pooled] * rows),
            return_dict=False,
        )


def _wanted_files() -> list[str]:
    """Patterns for the hub: its repositories also carry .bin, fp16 and single-file copies of the same weights."""
    small = [f"{part}/{name}" for part in KINDS for name in ("*.json", "*.txt", "*.model")]
    names = ("model.safetensors", "model-0*.safetensors", "diffusion_pytorch_model*.safetensors")
    return small + [f"{part}/{name}" for part in WEIGHTED for name in names]
