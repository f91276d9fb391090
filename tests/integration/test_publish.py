"""What the trainer publishes is what diffusers loads, and what the generator paints with."""

import errno
import io
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from moto.server import ThreadedMotoServer
from peft import LoraConfig, get_peft_model_state_dict
from PIL import Image

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, NotFound, ResourceExhausted, Unavailable
from emofeedback.domain.generation import GeneratedImage, GenerationRequest, ModelInfo
from emofeedback.generator.local import LocalGenerator
from emofeedback.generator.policies import Policies
from emofeedback.generator.policy_store import MANIFEST, WEIGHTS, PolicyStore
from emofeedback.generator.preflight import WEIGHTED
from emofeedback.profiles.builtin import NANO, NANO_PROFILE
from emofeedback.storage.checkpoints import digest
from emofeedback_trainer.core.publish import Published, publish
from support.publishing import publish_at_once
from support.tiny_checkpoints import tiny_sd3_settings

RANK, ALPHA = 4, 8
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]


@pytest.fixture(scope="module")
def model(tiny_sd3: Path) -> ModelInfo:
    return ModelInfo(name=tiny_sd3.name, digest=digest(tiny_sd3, WEIGHTED))


@cache
def learned(base: Path, seed: int = 1) -> dict[str, torch.Tensor]:
    """The weights of an adapter on the layers that training adapts, as PEFT names them."""
    transformer = SD3Transformer2DModel.from_pretrained(base / "transformer")
    transformer.add_adapter(LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS))
    generator = torch.Generator().manual_seed(seed)
    weights = get_peft_model_state_dict(transformer)
    return {name: 0.5 * torch.randn(weight.shape, generator=generator) for name, weight in weights.items()}


def published(uri: str | Path, base: Path, model: ModelInfo, name: str = "calm-000010", seed: int = 1) -> Published:
    return publish(str(uri), name, learned(base, seed), rank=RANK, alpha=ALPHA, base=model, run="calm", step=10)


def levels(image: GeneratedImage) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image.data)), int)


async def painted(engine: LocalGenerator, policy: str) -> GeneratedImage:
    request = GenerationRequest(prompt="a quiet harbor", seeds=(3,), steps=4, guidance=1.0, policy=policy)
    (image,) = [event async for event in engine.generate(request) if isinstance(event, GeneratedImage)]
    return image


async def test_diffusers_paints_the_same_pixels_with_a_published_policy(
    tiny_sd3: Path, model: ModelInfo, tmp_path: Path
) -> None:
    policy = published(tmp_path, tiny_sd3, model)
    settings = tiny_sd3_settings(tiny_sd3, policies=str(tmp_path), threads=1, width=32, height=32)
    engine = LocalGenerator.load(settings)
    try:
        ours, base = await painted(engine, policy.name), await painted(engine, "base")
    finally:
        engine.close()
    assert ours.model == replace(model, policy="calm-000010")

    pipeline = StableDiffusion3Pipeline.from_pretrained(tiny_sd3)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(tmp_path / policy.name)
    theirs = pipeline(
        "a quiet harbor",
        latents=torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(3))[None],
        num_inference_steps=4,
        guidance_scale=1.0,
        width=32,
        height=32,
        max_sequence_length=settings.max_text_tokens,
        output_type="np",
    ).images[0]
    np.testing.assert_array_equal(levels(ours), (theirs * 255).round())
    assert abs(levels(base) - levels(ours)).max() > 10


async def test_diffusers_paints_the_shipped_policy_as_documented() -> None:
    """As in docs/training.md; half precision weights and another decoder's rounding cost at most one level."""
    prompt = "a cat in a forest, valence 3, arousal 6"
    engine = LocalGenerator.load(replace(NANO_PROFILE.generator, decoder_dtype="float32"))
    try:
        request = GenerationRequest(prompt=prompt, seeds=(1,), policy="nano-fast")
        [ours] = [levels(event) async for event in engine.generate(request) if isinstance(event, GeneratedImage)]
    finally:
        engine.close()
    pipeline = StableDiffusion3Pipeline.from_pretrained(
        NANO / "generator", dtype=torch.float32, text_encoder_3=None, tokenizer_3=None
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(NANO / "policies" / "nano-fast")
    theirs = pipeline(
        prompt,
        latents=torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(1))[None],
        sigmas=[1, 0.75, 0.5, 0.25],
        guidance_scale=1,
        max_sequence_length=0,
    ).images[0]
    assert abs(ours - np.asarray(theirs, int)).max() <= 1


def test_the_manifest_says_what_it_is(tiny_sd3: Path, model: ModelInfo, tmp_path: Path) -> None:
    policy = published(tmp_path, tiny_sd3, model)
    content = json.loads((tmp_path / policy.name / MANIFEST).read_text())
    created = content.pop("created")
    assert created.endswith("+00:00")
    assert content == {
        "name": "calm-000010",
        "digest": policy.digest,
        "base": {"name": model.name, "digest": model.digest},
        "rank": RANK,
        "modules": len(learned(tiny_sd3)) // 2,
        "run": "calm",
        "step": 10,
    }


def test_publishing_the_same_again_changes_nothing(tiny_sd3: Path, model: ModelInfo, tmp_path: Path) -> None:
    first = published(tmp_path, tiny_sd3, model)
    before = {file.name: file.read_bytes() for file in (tmp_path / first.name).iterdir()}
    assert published(tmp_path, tiny_sd3, model) == first
    assert {file.name: file.read_bytes() for file in (tmp_path / first.name).iterdir()} == before
    assert set(before) == {MANIFEST, WEIGHTS}


def test_the_same_weights_always_have_the_same_digest(tiny_sd3: Path, model: ModelInfo, tmp_path: Path) -> None:
    """safetensors' header has no fixed order where it holds more than one note."""
    assert len({published(tmp_path / str(store), tiny_sd3, model).digest for store in range(8)}) == 1


def test_a_name_is_never_given_to_other_weights(tiny_sd3: Path, model: ModelInfo, tmp_path: Path) -> None:
    first = published(tmp_path, tiny_sd3, model)
    with pytest.raises(FailedPrecondition, match=f"'calm-000010' is published already with other .*{first.digest}"):
        published(tmp_path, tiny_sd3, model, seed=2)
    assert PolicyStore(str(tmp_path)).manifest("calm-000010").digest == first.digest


def test_a_policy_of_which_only_the_manifest_was_written_is_not_there_yet_and_keeps_its_name(
    tiny_sd3: Path, model: ModelInfo, tmp_path: Path
) -> None:
    policy = published(tmp_path, tiny_sd3, model)
    (tmp_path / policy.name / WEIGHTS).unlink()
    store = PolicyStore(str(tmp_path))
    assert store.names() == []
    with pytest.raises(NotFound, match="known are: none"):
        store.fetch(policy.name, tmp_path / "fetched")
    with pytest.raises(FailedPrecondition, match=r"with other weights .* by the run 'calm'"):
        published(tmp_path, tiny_sd3, model, seed=2)
    assert published(tmp_path, tiny_sd3, model) == policy
    assert store.fetch(policy.name, tmp_path / "fetched").digest == policy.digest


def check_that_each_name_is_of_one(store: str, publications: int, folder: Path, processes: int = 3) -> None:
    names = [f"calm-{number:06d}" for number in range(publications // processes)]
    kept = publish_at_once(store, names, processes)
    shelf = PolicyStore(store)
    assert shelf.names() == names
    for name in names:
        (winner,) = [digests[name] for digests in kept if name in digests]
        assert shelf.fetch(name, folder / "fetched").digest == winner


def test_of_many_who_publish_under_one_name_at_once_one_has_it_and_the_others_are_told(tmp_path: Path) -> None:
    check_that_each_name_is_of_one(str(tmp_path / "store"), 60, tmp_path)
    assert not [
        path for path in (tmp_path / "store").rglob("*") if path.name not in (MANIFEST, WEIGHTS) and path.is_file()
    ]


@pytest.mark.parametrize("name", ["", "../up", ".hidden", "base", "a" * 129, "a b"])
def test_what_is_no_name_is_refused(name: str, model: ModelInfo, tmp_path: Path) -> None:
    weights = {"x.lora_A.weight": torch.zeros(2, 3), "x.lora_B.weight": torch.zeros(3, 2)}
    with pytest.raises(InvalidRequest, match=r"^policy: .* can't be a policy's name"):
        publish(str(tmp_path), name, weights, rank=2, alpha=2, base=model, run="r", step=0)


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ({}, "^adapter: holds something else"),
        ({"x.weight": torch.zeros(2, 2)}, "^adapter: holds something else"),
        ({"x.lora_A.weight": torch.zeros(2, 3)}, "^adapter: holds something else"),
        (
            {"x.lora_A.weight": torch.zeros(3, 3), "x.lora_B.weight": torch.zeros(3, 2)},
            r"^adapter.x: has rank \[2, 3\]",
        ),
        (
            {"x.lora_A.weight": torch.zeros(2, 3), "x.lora_B.weight": torch.full((3, 2), torch.nan)},
            "^adapter.x: has NaN or infinity in it",
        ),
        (
            {"x.lora_A.weight": torch.full((2, 3), -torch.inf), "x.lora_B.weight": torch.zeros(3, 2)},
            "^adapter.x: has NaN or infinity in it",
        ),
    ],
)
def test_what_is_no_adapter_is_refused(
    weights: dict[str, torch.Tensor], problem: str, model: ModelInfo, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        publish(str(tmp_path), "p", weights, rank=2, alpha=2, base=model, run="r", step=0)


def test_a_full_disk_is_said_and_leaves_no_half_policy(
    tiny_sd3: Path, model: ModelInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceExhausted, match="the disk is full"):
        published(tmp_path, tiny_sd3, model)
    assert PolicyStore(str(tmp_path)).names() == []


# --- S3 ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket of a local S3."""
    import s3fs

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_MAX_ATTEMPTS", "1"),
    ):
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem.retries, retries = 1, s3fs.S3FileSystem.retries
    name = f"shelf-{uuid.uuid4()}"  # the emulator's buckets outlive its server
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}/policies"
    server.stop()
    s3fs.S3FileSystem.retries = retries
    s3fs.S3FileSystem.clear_instance_cache()


def test_policies_live_in_a_bucket_as_in_a_folder(
    tiny_sd3: Path, model: ModelInfo, tmp_path: Path, bucket: str
) -> None:
    transformer = SD3Transformer2DModel.from_pretrained(tiny_sd3 / "transformer")
    policies = Policies(bucket, transformer, model)
    assert policies.names() == []
    first = published(bucket, tiny_sd3, model)
    assert policies.names() == ["calm-000010"]
    published(bucket, tiny_sd3, model, "calm-000020", seed=2)
    assert policies.names() == ["calm-000010", "calm-000020"]  # no listing is kept

    assert published(bucket, tiny_sd3, model) == first == published(tmp_path, tiny_sd3, model)
    policies.fetch("calm-000010")
    policies.use("calm-000010")
    assert policies.digest("calm-000010") == first.digest
    with pytest.raises(NotFound, match="'warm' is unknown, known are: calm-000010, calm-000020"):
        policies.fetch("warm")
    with pytest.raises(FailedPrecondition, match="published already with other weights"):
        published(bucket, tiny_sd3, model, seed=3)


def test_of_many_who_publish_into_a_bucket_under_one_name_one_has_it(bucket: str, tmp_path: Path) -> None:
    check_that_each_name_is_of_one(bucket, 24, tmp_path)


def test_a_bucket_that_is_not_there_cant_be_written(tiny_sd3: Path, model: ModelInfo, bucket: str) -> None:
    with pytest.raises(FailedPrecondition, match=r"s3://elsewhere/policies can't be written: .*bucket"):
        published("s3://elsewhere/policies", tiny_sd3, model)


def test_a_store_that_cant_be_reached_is_said(
    tiny_sd3: Path, model: ModelInfo, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    s3fs.S3FileSystem.clear_instance_cache()
    transformer = SD3Transformer2DModel.from_pretrained(tiny_sd3 / "transformer")
    with pytest.raises(Unavailable, match=r"the policies at s3://shelf-.* can't be reached"):
        published(bucket, tiny_sd3, model)
    with pytest.raises(Unavailable, match=r"the policies at s3://shelf-.* can't be reached"):
        Policies(bucket, transformer, model).fetch("calm-000010")
