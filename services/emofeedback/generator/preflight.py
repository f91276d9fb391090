"""Whether the generator can use a checkpoint, said in one sentence before anything heavy starts. No torch needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.generator.policy_store import PolicyStore, resolved
from emofeedback.manifests import Signer
from emofeedback.profiles.cards import require_card
from emofeedback.profiles.profile import GeneratorSettings
from emofeedback.storage.checkpoints import check_available
from emofeedback.storage.parts import check_weights, read_object
from emofeedback.storage.vocabulary import Vocabulary

INDEX = "model_index.json"

KINDS: dict[str, tuple[str, ...]] = {
    "transformer": ("SD3Transformer2DModel",),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
    "text_encoder": ("CLIPTextModelWithProjection",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "text_encoder_3": ("T5EncoderModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "tokenizer_3": ("T5Tokenizer", "T5TokenizerFast"),
    "scheduler": ("FlowMatchEulerDiscreteScheduler",),
}
"""The folders of a StableDiffusion3Pipeline and the classes that may lie in them."""

WEIGHTED = ("transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
"""The folders that hold weights."""

_T5 = ("text_encoder_3", "tokenizer_3")
_OTHER_SCHEDULES = (
    "use_dynamic_shifting",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "invert_sigmas",
    "shift_terminal",
    "stochastic_sampling",
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a checkpoint's small files say about it."""

    autoencoder: str
    """Class of the autoencoder."""
    has_t5: bool
    shift: float
    """How far the noise schedule is shifted towards its noisy end; 1 is not at all."""
    scale: int
    """Pixels a side that one latent stands for."""


def preflight(settings: GeneratorSettings) -> None:
    """Everything that can be known within a second about a checkpoint and this machine.

    Raises:
        FailedPrecondition: no CUDA or too little of its memory; no such folder, no hub, no token; a folder that is
            no StableDiffusion3Pipeline, with the part that is missing, cut off or unfit for the others; a picture size
            that it can't generate; no file of its vocabulary; a certificate and a key that don't sign.
    """
    require_card(settings.device, settings.minimum_gpu_memory_gib, "generator.device")
    check_available(settings.checkpoint, INDEX)
    if (folder := Path(settings.checkpoint)).is_dir():
        check_folder(folder, settings)
    Vocabulary.read(settings.vocabulary)
    if settings.c2pa_key:
        Signer(settings.c2pa_certificate, settings.c2pa_key)


def check_policies(settings: GeneratorSettings, names: Iterable[str]) -> None:
    """That the policies which requests will name are in the store; an empty name is the settings' own policy.

    Raises:
        NotFound: one is not; the message names the known ones.
        FailedPrecondition, Unavailable: as `PolicyStore`.
    """
    for name in names:
        if policy := resolved(name, settings.policy):
            PolicyStore(settings.policies).require(policy)


def check_folder(folder: Path, settings: GeneratorSettings) -> Layout:
    """The layout of a StableDiffusion3Pipeline folder, once it is sure that all its parts are there.

    Raises:
        FailedPrecondition: a part is missing, of another class, cut off or unfit for the others, or the picture size
            does not fit.
    """
    index = read_object(folder / INDEX)
    found = {part: (index.get(part) or [None, None])[1] for part in KINDS}
    for part, kinds in KINDS.items():
        if found[part] is None and part in _T5:
            continue
        if found[part] not in kinds:
            raise FailedPrecondition(
                f"{folder} ({index.get('_class_name')}) can't be used as a StableDiffusion3Pipeline: its {part} is "
                f"{found[part] or 'missing'}, it must be {' or '.join(kinds)}"
            )
        if not (folder / part).is_dir():
            raise FailedPrecondition(f"{folder} is not complete: the folder {part} is missing")
        if part in WEIGHTED:
            kind = "diffusion_pytorch_model" if part in ("transformer", "vae") else "model"
            check_weights(folder, f"{kind}.safetensors", part)
    scheduler = read_object(folder / "scheduler" / "scheduler_config.json")
    if strange := [key for key in _OTHER_SCHEDULES if scheduler.get(key)]:
        raise FailedPrecondition(f"{folder} wants another noise schedule than SD3's: scheduler.{strange[0]}")
    has_t5 = all(found[part] for part in _T5)
    configs = {
        part: read_object(folder / part / "config.json") for part in WEIGHTED if part != "text_encoder_3" or has_t5
    }
    try:
        _check_shapes(folder, configs)
        transformer = configs["transformer"]
        scale = 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
        patch_pixels, most_patches = scale * int(transformer["patch_size"]), int(transformer["pos_embed_max_size"])
    except KeyError as missing:
        raise FailedPrecondition(f"{folder} is not complete: its configuration lacks {missing}") from missing
    _check_size(settings, patch_pixels, most_patches)
    return Layout(
        autoencoder=str(found["vae"]),
        has_t5=has_t5,
        shift=float(scheduler.get("shift", 1.0)),
        scale=scale,
    )


def _check_shapes(folder: Path, configs: Mapping[str, dict[str, Any]]) -> None:
    """That the parts fit each other, which diffusers finds out only in a forward, or never: it cuts wider text."""
    transformer, clips = configs["transformer"], (configs["text_encoder"], configs["text_encoder_2"])
    text_width, t5 = transformer["joint_attention_dim"], configs.get("text_encoder_3")
    of_clips = sum(clip["hidden_size"] for clip in clips)
    of_t5 = t5["d_model"] if t5 else text_width
    for fit, problem in (
        (
            configs["vae"]["latent_channels"] == transformer["in_channels"],
            f"latents of {transformer['in_channels']} channels, its vae reads {configs['vae']['latent_channels']}",
        ),
        (
            sum(clip["projection_dim"] for clip in clips) == transformer["pooled_projection_dim"],
            f"pooled text of {transformer['pooled_projection_dim']} numbers (pooled_projection_dim), its two CLIPs "
            f"give {sum(clip['projection_dim'] for clip in clips)}",
        ),
        (
            of_clips <= text_width,
            f"tokens of {text_width} numbers (joint_attention_dim), its two CLIPs give {of_clips}",
        ),
        (of_t5 == text_width, f"tokens of {text_width} numbers (joint_attention_dim), its T5 gives {of_t5}"),
    ):
        if not fit:
            raise FailedPrecondition(f"the parts of {folder} don't fit each other: its transformer takes {problem}")


def _check_size(settings: GeneratorSettings, patch_pixels: int, most_patches: int) -> None:
    for side, pixels in (("width", settings.width), ("height", settings.height)):
        if pixels % patch_pixels or pixels > patch_pixels * most_patches:
            raise FailedPrecondition(
                f"generator.{side} is {pixels}, this model paints multiples of {patch_pixels} "
                f"up to {patch_pixels * most_patches} pixels"
            )
