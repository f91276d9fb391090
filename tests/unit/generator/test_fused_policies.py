"""A fused policy paints from a judge's emotion tokens, and without them as any other."""

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
from safetensors.torch import load_file, save, save_file

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.generation import (
    GeneratedImage,
    GenerationRequest,
    GroupStarted,
    ModelInfo,
    NoiseWindow,
    TrajectoryRequest,
)
from emofeedback.domain.reasoning import EmotionTokens
from emofeedback.domain.tensors import from_torch, to_torch
from emofeedback.generator.connector import EmotionConnector
from emofeedback.generator.local import LocalGenerator
from emofeedback.generator.policy_store import (
    CONNECTOR_CONFIG,
    CONNECTOR_WEIGHTS,
    MANIFEST,
    PolicyStore,
    weights_digest,
)
from support.tiny_checkpoints import (
    TINY_JUDGE,
    TOKENS,
    save_tiny_policy,
    tiny_emotion,
    tiny_fused,
    tiny_sd3_settings,
)

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def policies(tiny_sd3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`felt`, and `unfelt` that has the same adapter and no connector."""
    folder = tmp_path_factory.mktemp("policies")
    save_tiny_policy(folder / "felt", tiny_sd3, fused=tiny_fused(tiny_sd3))
    save_tiny_policy(folder / "unfelt", tiny_sd3)
    return folder


@pytest.fixture(scope="module")
def engine(tiny_sd3: Path, policies: Path) -> Iterator[LocalGenerator]:
    settings = tiny_sd3_settings(tiny_sd3, steps=4, guidance=3.0, max_batch=4, threads=1, policies=str(policies))
    engine = LocalGenerator.load(settings)
    yield engine
    engine.close()


def ask(seeds: tuple[int, ...] = (3,), policy: str = "felt", **fields: Any) -> GenerationRequest:
    return GenerationRequest(prompt="a dog", seeds=seeds, policy=policy, **fields)


async def painted(engine: LocalGenerator, request: GenerationRequest) -> dict[int, Pixels]:
    """Pixels by index."""
    images = [event async for event in engine.generate(request) if isinstance(event, GeneratedImage)]
    return {image.index: np.asarray(Image.open(io.BytesIO(image.data))) for image in images}


async def picture(engine: LocalGenerator, **fields: Any) -> Pixels:
    return (await painted(engine, ask(**fields)))[0]


def variation(emotion: EmotionTokens, number: int) -> EmotionTokens:
    """One of them alone."""
    return EmotionTokens(states=from_torch(to_torch(emotion.states)[number, None]), judge=emotion.judge)


async def test_without_emotion_tokens_a_fused_policy_is_its_adapter(engine: LocalGenerator) -> None:
    assert np.array_equal(await picture(engine), await picture(engine, policy="unfelt"))


async def test_emotion_tokens_change_the_picture_by_how_much_they_count(engine: LocalGenerator) -> None:
    emotion = tiny_emotion()
    plain, none, half, full, other = [
        (await picture(engine, **fields)).astype(int)
        for fields in (
            {},
            {"emotion": emotion, "emotion_scale": 0.0},
            {"emotion": emotion, "emotion_scale": 0.5},
            {"emotion": emotion},
            {"emotion": tiny_emotion(seed=2), "emotion_scale": 0.0},
        )
    ]
    assert np.array_equal(none, other), "at 0 nothing is left of them"
    assert all(np.abs(one - two).max() > 10 for one, two in ((plain, full), (none, half), (half, full)))


async def test_each_image_is_painted_with_its_variation(engine: LocalGenerator) -> None:
    emotion = tiny_emotion(variations=2)
    together = await painted(engine, ask(seeds=(7, 7, 8), emotion=emotion))
    for index, (seed, number) in enumerate([(7, 0), (7, 1), (8, 0)]):
        alone = await picture(engine, seeds=(seed,), emotion=variation(emotion, number))
        assert np.array_equal(together[index], alone)
    assert not np.array_equal(together[0], together[1])


async def test_company_of_either_kind_changes_no_pixel(engine: LocalGenerator) -> None:
    felt = ask(seeds=(1, 2, 3), steps=6, emotion=tiny_emotion())
    unfelt = ask(seeds=(1, 2, 3), steps=6)
    alone = [await painted(engine, request) for request in (felt, unfelt)]
    others = [ask(seeds=(9, 8), emotion=tiny_emotion(seed=n), steps=3 + n) for n in range(2)]
    others += [ask(seeds=(9, 8), policy=policy) for policy in ("felt", "unfelt", "base")]
    joined = await asyncio.gather(*(painted(engine, request) for request in [*others, felt, unfelt]))
    for before, after in zip(alone, joined[-2:], strict=True):
        assert all(np.array_equal(before[index], after[index]) for index in before)


@pytest.mark.parametrize(
    ("policy", "emotion", "error", "words"),
    [
        ("unfelt", tiny_emotion(), FailedPrecondition, "'unfelt' was not fused with a judge .*emofeedback-train fuse"),
        ("base", tiny_emotion(), FailedPrecondition, "'base' was not fused with a judge"),
        (
            "felt",
            tiny_emotion(judge=ModelInfo(name="stranger", digest="sha256:" + "6" * 64)),
            FailedPrecondition,
            "'felt' reads the emotion tokens of tiny-judge .sha256:5{64}., these are of stranger .sha256:6{64}",
        ),
        (
            "felt",
            EmotionTokens(states=from_torch(torch.zeros(1, TOKENS, 7)), judge=TINY_JUDGE),
            InvalidRequest,
            "emotion.states.shape: is of 3 tokens of width 7, policy 'felt' reads 3 of 24",
        ),
    ],
)
async def test_tokens_that_a_policy_cant_read_are_refused_before_anything_is_painted(
    engine: LocalGenerator, policy: str, emotion: EmotionTokens, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        await anext(engine.generate(ask(policy=policy, emotion=emotion)))


async def test_a_learner_of_trajectories_is_sent_what_the_policy_read(engine: LocalGenerator, policies: Path) -> None:
    emotion = tiny_emotion(variations=1)
    window = NoiseWindow(first=1, length=1)
    fields: dict[str, Any] = {"prompt": "a dog", "seeds": (1, 2), "window": window, "steps": 3, "policy": "felt"}

    async def started(**more: Any) -> GroupStarted:
        events = engine.sample_trajectories(TrajectoryRequest(**fields, **more))
        [group] = [event async for event in events if isinstance(event, GroupStarted)]
        return group

    felt, unfelt = await started(emotion=emotion, guidance=2.0), await started(guidance=2.0)
    connector = EmotionConnector.from_pretrained(policies / "felt" / "connector")
    rows, pooled = connector(to_torch(emotion.states))
    assert felt.negative is not None and unfelt.negative is not None
    assert torch.equal(to_torch(felt.conditioning.tokens)[:-TOKENS], to_torch(unfelt.conditioning.tokens))
    torch.testing.assert_close(to_torch(felt.conditioning.tokens)[-TOKENS:], rows[0])
    torch.testing.assert_close(to_torch(felt.conditioning.pooled), to_torch(unfelt.conditioning.pooled) + pooled[0])
    assert torch.equal(to_torch(felt.negative.tokens)[-TOKENS:], connector.null)
    assert torch.equal(to_torch(felt.negative.pooled), to_torch(unfelt.negative.pooled))


async def test_stock_diffusers_paints_the_same_pixels(engine: LocalGenerator, tiny_sd3: Path, policies: Path) -> None:
    emotion = tiny_emotion(variations=1)
    ours = await picture(engine, negative_prompt="fog", emotion=emotion, emotion_scale=0.7)

    pipeline = StableDiffusion3Pipeline.from_pretrained(tiny_sd3)
    pipeline.load_lora_weights(policies / "felt")
    connector = EmotionConnector.from_pretrained(policies / "felt" / "connector")
    with torch.inference_mode():
        prompt, negative, pooled, negative_pooled = pipeline.encode_prompt(
            "a dog", None, None, negative_prompt="fog", max_sequence_length=24
        )
        rows, change = connector(to_torch(emotion.states), 0.7)
        theirs = pipeline(
            prompt_embeds=torch.cat([prompt, rows], dim=1),
            negative_prompt_embeds=torch.cat([negative, connector.null[None]], dim=1),
            pooled_prompt_embeds=pooled + change,
            negative_pooled_prompt_embeds=negative_pooled,
            latents=torch.randn(1, 4, 12, 8, generator=torch.Generator().manual_seed(3)),
            num_inference_steps=4,
            guidance_scale=3.0,
            width=32,
            height=48,
            output_type="np",
        ).images[0]
    np.testing.assert_array_equal(ours, (theirs * 255).round())


def test_the_manifest_says_whose_tokens_it_reads(policies: Path) -> None:
    content = json.loads((policies / "felt" / MANIFEST).read_text())
    assert content["fusion"] == {
        "connector": weights_digest(policies / "felt" / CONNECTOR_WEIGHTS),
        "judge": {"name": TINY_JUDGE.name, "digest": TINY_JUDGE.digest},
        "tokens": TOKENS,
        "variations": 4,
        "width": 24,
    }
    store = PolicyStore(str(policies))
    fusion = store.manifest("felt").fusion
    assert fusion is not None and fusion.judge == TINY_JUDGE
    assert store.manifest("unfelt").fusion is None


def test_publishing_it_again_changes_nothing(tiny_sd3: Path, tmp_path: Path) -> None:
    folder = save_tiny_policy(tmp_path / "felt", tiny_sd3, fused=tiny_fused(tiny_sd3))
    before = {file: file.read_bytes() for file in folder.rglob("*.*") if file.is_file()}
    (folder / CONNECTOR_WEIGHTS).unlink()  # as if it had been cut
    save_tiny_policy(folder, tiny_sd3, fused=tiny_fused(tiny_sd3))
    assert {file: file.read_bytes() for file in folder.rglob("*.*") if file.is_file()} == before
    with pytest.raises(FailedPrecondition, match="published already"):
        save_tiny_policy(folder, tiny_sd3, fused=tiny_fused(tiny_sd3, seed=2))


def test_a_connector_of_no_numbers_is_not_published(tiny_sd3: Path, tmp_path: Path) -> None:
    fused = tiny_fused(tiny_sd3)
    torch.nn.init.constant_(fused.connector.null, torch.nan)
    with pytest.raises(InvalidRequest, match=r"connector\.null: has NaN or infinity"):
        save_tiny_policy(tmp_path / "felt", tiny_sd3, fused=fused)
    assert not (tmp_path / "felt").exists()


def _cut(folder: Path) -> None:
    (folder / CONNECTOR_WEIGHTS).unlink()


def _bent(folder: Path) -> None:
    weights = load_file(folder / CONNECTOR_WEIGHTS)
    save_file(weights | {"null": weights["null"] + 1}, folder / CONNECTOR_WEIGHTS)


def _other(change: dict[str, Any]) -> Any:
    def put(folder: Path) -> None:
        """Weights whose digest the manifest says, but of another kind."""
        weights = {**load_file(folder / CONNECTOR_WEIGHTS), **change}
        content = save({name: weight for name, weight in weights.items() if weight is not None})
        (folder / CONNECTOR_WEIGHTS).write_bytes(content)
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["fusion"]["connector"] = weights_digest(folder / CONNECTOR_WEIGHTS)
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return put


def _narrower(folder: Path) -> None:
    config = json.loads((folder / CONNECTOR_CONFIG).read_text())
    (folder / CONNECTOR_CONFIG).write_text(json.dumps({**config, "context_width": 4}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_cut, "is damaged: it lacks its connector/diffusion_pytorch_model.safetensors"),
        (_bent, "is damaged: its connector has the digest"),
        (_other({"null": torch.full((TOKENS, 48), torch.nan)}), "has NaN or infinity in null"),
        (_other({"null": None}), "can't be used: .*null"),
        (_narrower, "can't be used: context_width is 4, it must be 48"),
    ],
)
async def test_a_damaged_connector_is_told_and_ends_its_own_call_only(
    tiny_sd3: Path, tmp_path: Path, damage: Any, words: str
) -> None:
    damage(save_tiny_policy(tmp_path / "felt", tiny_sd3, fused=tiny_fused(tiny_sd3)))
    engine = LocalGenerator.load(tiny_sd3_settings(tiny_sd3, steps=2, threads=1, policies=str(tmp_path)))
    try:
        with pytest.raises(FailedPrecondition, match=f"(?s){words}"):
            await picture(engine, emotion=tiny_emotion())
        assert len(await painted(engine, ask(policy="base"))) == 1
    finally:
        engine.close()
