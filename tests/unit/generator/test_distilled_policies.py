"""A policy that says how it wants to be painted with is painted so, wherever a request says nothing else."""

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from numpy.typing import NDArray
from PIL import Image

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.generation import GeneratedImage, GenerationRequest, GenerationStep
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.generator.local import LocalGenerator
from emofeedback.generator.policy_store import MANIFEST, PolicyStore, Sampling
from support.tiny_checkpoints import save_tiny_policy, tiny_sd3_settings

LEVELS = (1.0, 0.7, 0.4)


@pytest.fixture(scope="module")
def policies(tiny_sd3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies")
    save_tiny_policy(folder / "fast", tiny_sd3, sampling=Sampling(levels=LEVELS, guidance=1.0))
    save_tiny_policy(folder / "slow", tiny_sd3)
    return folder


@pytest.fixture(scope="module")
def engine(tiny_sd3: Path, policies: Path) -> Iterator[LocalGenerator]:
    engine = LocalGenerator.load(tiny_sd3_settings(tiny_sd3, steps=5, guidance=3.0, policies=str(policies)))
    yield engine
    engine.close()


def painted(engine: LocalGenerator, **fields: Any) -> tuple[NDArray[np.uint8], set[int]]:
    """The picture, and the numbers of steps that were told on the way."""

    async def events() -> list[Any]:
        return [event async for event in engine.generate(GenerationRequest(prompt="a dog", seeds=(3,), **fields))]

    told = asyncio.run(events())
    (image,) = [event for event in told if isinstance(event, GeneratedImage)]
    steps = {event.steps for event in told if isinstance(event, GenerationStep)}
    return np.asarray(Image.open(io.BytesIO(image.data))), steps


def test_it_is_painted_as_diffusers_paints_with_its_levels(
    engine: LocalGenerator, tiny_sd3: Path, policies: Path
) -> None:
    pipeline = StableDiffusion3Pipeline.from_pretrained(tiny_sd3)
    pipeline.load_lora_weights(policies / "fast")
    theirs = pipeline(
        "a dog",
        sigmas=list(LEVELS),
        guidance_scale=1.0,
        width=32,
        height=48,
        max_sequence_length=24,
        latents=torch.randn(1, 4, 12, 8, generator=torch.Generator().manual_seed(3)),
        output_type="np",
    ).images[0]
    ours, steps = painted(engine, policy="fast")
    assert np.abs(ours - theirs * 255).max() <= 1
    assert steps <= {len(LEVELS)}


@pytest.mark.parametrize("policy", ["fast", "slow", BASE_POLICY])
def test_what_a_request_names_counts(engine: LocalGenerator, policy: str) -> None:
    named, steps = painted(engine, policy=policy, steps=5, guidance=3.0)
    assert steps <= {5}
    usual, _ = painted(engine, policy=policy)
    assert np.array_equal(named, usual) == (policy != "fast")


def test_a_negative_prompt_that_nothing_would_heed_is_refused(engine: LocalGenerator) -> None:
    with pytest.raises(InvalidRequest, match="negative_prompt: policy 'fast' paints without guidance"):
        painted(engine, policy="fast", negative_prompt="fog")
    heeded, _ = painted(engine, policy="fast", negative_prompt="fog", guidance=2.0)
    assert not np.array_equal(heeded, painted(engine, policy="fast", guidance=2.0)[0])


def test_the_manifest_keeps_it(policies: Path) -> None:
    store = PolicyStore(str(policies))
    assert store.manifest("fast").sampling == Sampling(levels=LEVELS, guidance=1.0)
    assert store.manifest("slow").sampling is None


@pytest.mark.parametrize(
    "sampling",
    [
        {"levels": [], "guidance": 1},
        {"levels": [0.9, 0.5], "guidance": 1},
        {"levels": [1, 0.5, 0.5], "guidance": 1},
        {"levels": [1, 0], "guidance": 1},
        {"levels": [1, float("nan")], "guidance": 1},
        {"levels": [1], "guidance": 0.5},
        {"levels": [1]},
        {"levels": "1", "guidance": None},
        7,
    ],
)
def test_a_damaged_one_is_refused_by_name(tiny_sd3: Path, tmp_path: Path, sampling: object) -> None:
    folder = save_tiny_policy(tmp_path / "odd", tiny_sd3)
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**content, "sampling": sampling}))
    with pytest.raises(FailedPrecondition, match=r"policy\.json of policy 'odd' can't be read"):
        PolicyStore(str(tmp_path)).manifest("odd")
