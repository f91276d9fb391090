"""What is wrong with a checkpoint or a machine is one sentence, before anything is loaded."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.generator.pipeline import load_models
from emofeedback.generator.preflight import check_folder, preflight
from emofeedback.profiles.builtin import SD35_MEDIUM_PROFILE
from support.damages import cut, edit, sharded_with_one_lost
from support.tiny_checkpoints import tiny_sd3_settings

WEIGHTS = "diffusion_pytorch_model.safetensors"


def without_weights(folder: Path) -> None:
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").rename(folder / "transformer" / "model.bin")


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no index": (lambda f: (f / "model_index.json").unlink(), r"model_index\.json is missing"),
    "index is no JSON": (lambda f: (f / "model_index.json").write_text("{"), r"can't be read as JSON"),
    "another pipeline": (
        lambda f: edit(f / "model_index.json", transformer=["diffusers", "FluxTransformer2DModel"]),
        "its transformer is FluxTransformer2DModel, it must be SD3Transformer2DModel",
    ),
    "an SDXL": (
        lambda f: edit(f / "model_index.json", _class_name="StableDiffusionXLPipeline", transformer=[None, None]),
        r"\(StableDiffusionXLPipeline\) can't be used as a StableDiffusion3Pipeline: its transformer is missing",
    ),
    "no autoencoder": (lambda f: edit(f / "model_index.json", vae=[None, None]), "its vae is missing"),
    "a folder is missing": (lambda f: shutil.rmtree(f / "tokenizer_2"), "the folder tokenizer_2 is missing"),
    "pickled weights only": (without_weights, "transformer holds no weights in safetensors"),
    "empty configuration": (
        lambda f: (f / "vae" / "config.json").write_text("{}"),
        "its configuration lacks 'latent_channels'",
    ),
    "a variant only": (
        lambda f: (f / "vae" / WEIGHTS).rename(f / "vae" / "diffusion_pytorch_model.fp16.safetensors"),
        "vae/diffusion_pytorch_model.safetensors is missing",
    ),
    "a shard is missing": (
        lambda f: sharded_with_one_lost(f / "text_encoder_3"),
        "text_encoder_3/model-00002-of-00002.safetensors is missing",
    ),
    "a download that broke off": (
        lambda f: cut(f / "transformer" / WEIGHTS),
        "transformer/diffusion_pytorch_model.safetensors is no whole safetensors file, fetch it again",
    ),
    "a pointer of git-lfs": (
        lambda f: (f / "transformer" / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1"),
        "is no whole safetensors file",
    ),
    "another model's autoencoder": (
        lambda f: edit(f / "vae" / "config.json", latent_channels=16),
        "its transformer takes latents of 4 channels, its vae reads 16",
    ),
    "another model's CLIP": (
        lambda f: edit(f / "text_encoder_2" / "config.json", projection_dim=20),
        r"takes pooled text of 32 numbers \(pooled_projection_dim\), its two CLIPs give 36",
    ),
    "CLIPs that are too wide": (
        lambda f: edit(f / "text_encoder" / "config.json", hidden_size=64),
        r"takes tokens of 48 numbers \(joint_attention_dim\), its two CLIPs give 80",
    ),
    "another model's T5": (
        lambda f: edit(f / "text_encoder_3" / "config.json", d_model=64),
        r"takes tokens of 48 numbers \(joint_attention_dim\), its T5 gives 64",
    ),
    "another schedule": (
        lambda f: edit(f / "scheduler" / "scheduler_config.json", use_dynamic_shifting=True),
        r"scheduler\.use_dynamic_shifting",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_says_which_part(tiny_sd3: Path, tmp_path: Path, damage: str) -> None:
    folder = shutil.copytree(tiny_sd3, tmp_path / "copy")
    harm, sentence = DAMAGES[damage]
    harm(folder)
    with pytest.raises(FailedPrecondition, match=sentence):
        preflight(tiny_sd3_settings(folder))


@pytest.mark.parametrize(("part", "key"), [("transformer", "num_layers"), ("text_encoder", "intermediate_size")])
def test_weights_of_another_shape_than_their_configuration_are_one_sentence(
    tiny_sd3: Path, tmp_path: Path, part: str, key: str
) -> None:
    folder = shutil.copytree(tiny_sd3, tmp_path / "copy")
    edit(folder / part / "config.json", **{key: 3})
    with pytest.raises(FailedPrecondition, match=rf"^the {part} of .* can't be loaded: "):
        load_models(tiny_sd3_settings(folder))


@pytest.mark.parametrize(("width", "sentence"), [(30, "multiples of 8 up to 128"), (256, "up to 128")])
def test_a_size_that_the_model_cannot_paint_names_the_field(tiny_sd3: Path, width: int, sentence: str) -> None:
    with pytest.raises(FailedPrecondition, match=rf"generator\.width .*{sentence}"):
        preflight(tiny_sd3_settings(tiny_sd3, width=width))


def test_a_whole_folder_is_read_from_its_small_files(tiny_sd3: Path) -> None:
    layout = check_folder(tiny_sd3, tiny_sd3_settings(tiny_sd3))
    assert (layout.autoencoder, layout.has_t5, layout.shift, layout.scale) == ("AutoencoderKL", True, 3.0, 4)


def test_the_papers_profile_asks_for_cuda_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FailedPrecondition, match=r"^generator\.device is cuda and no CUDA device is here"):
        preflight(SD35_MEDIUM_PROFILE.generator)


def test_the_papers_profile_asks_for_enough_gpu_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**33, 2**33))
    with pytest.raises(FailedPrecondition, match=r"needs 20 GiB of GPU memory, 8\.0 of 8\.0 GiB are free"):
        preflight(SD35_MEDIUM_PROFILE.generator)


def test_the_papers_profile_asks_for_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**35, 2**35))
    with pytest.raises(FailedPrecondition, match=r"stable-diffusion-3\.5-medium is not in the hub cache"):
        preflight(SD35_MEDIUM_PROFILE.generator)
