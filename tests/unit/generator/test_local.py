import asyncio
import gc
import io
import math
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from emofeedback.domain.affect import AffectPoint, target_phrase
from emofeedback.domain.errors import (
    FailedPrecondition,
    InvalidRequest,
    NotFinite,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from emofeedback.domain.generation import (
    GeneratedImage,
    GenerationEvent,
    GenerationQueued,
    GenerationRequest,
    GenerationStep,
    NoiseWindow,
    Trajectory,
    TrajectoryRequest,
)
from emofeedback.domain.limits import BASE_POLICY, LIMITS
from emofeedback.generator import sampler_thread
from emofeedback.generator.local import LocalGenerator
from emofeedback.generator.pipeline import load_models
from emofeedback.generator.policy_store import WEIGHTS
from emofeedback.generator.sampler import Sample, advance
from support.tiny_checkpoints import save_policy_of, save_tiny_policy, save_tiny_sd3, tiny_sd3_settings


def ask(prompt: str = "a dog", seeds: int = 1, first: int = 0, **fields: Any) -> GenerationRequest:
    return GenerationRequest(prompt=prompt, seeds=tuple(range(first, first + seeds)), **fields)


async def events(engine: LocalGenerator, request: GenerationRequest) -> list[GenerationEvent]:
    return [event async for event in engine.generate(request)]


async def pictures(engine: LocalGenerator, request: GenerationRequest) -> dict[int, NDArray[np.uint8]]:
    """Pixels by index."""
    images = [event for event in await events(engine, request) if isinstance(event, GeneratedImage)]
    return {image.index: np.asarray(Image.open(io.BytesIO(image.data))) for image in images}


async def test_a_call_is_queued_and_then_brings_one_png_a_seed(engine: LocalGenerator) -> None:
    queued, *rest = await events(engine, GenerationRequest(prompt="a dog", seeds=(5, 3, 5)))
    assert queued == GenerationQueued(images_ahead=0)
    images = sorted((e for e in rest if isinstance(e, GeneratedImage)), key=lambda image: image.index)
    assert [(image.index, image.seed, image.width, image.height) for image in images] == [
        (0, 5, 32, 48),
        (1, 3, 32, 48),
        (2, 5, 32, 48),
    ]
    assert all(Image.open(io.BytesIO(image.data)).format == "PNG" for image in images)
    assert images[0].data == images[2].data != images[1].data
    assert images[0].model == await engine.model()
    assert images[0].model.name == "tiny-sd3" and images[0].model.digest.startswith("sha256:")


async def test_steps_are_told_as_they_are_done(engine: LocalGenerator, forwards: list[int]) -> None:
    told = [e for e in await events(engine, ask(seeds=2, steps=30)) if isinstance(e, GenerationStep)]
    for index in (0, 1):
        steps = [event.step for event in told if event.index == index]
        assert len(steps) > 3 and steps == sorted(set(steps))
    assert all(1 <= event.step < event.steps == 30 for event in told)


async def test_a_call_larger_than_the_batch_hands_out_its_first_images_early(
    engine: LocalGenerator, forwards: list[int]
) -> None:
    done_at = [
        (event.index, len(forwards))
        async for event in engine.generate(ask(seeds=6, steps=20))
        if isinstance(event, GeneratedImage)
    ]
    assert forwards == [4] * 20 + [2] * 20
    assert [index for index, _ in done_at] == [0, 1, 2, 3, 4, 5]
    assert done_at[0][1] < 40


async def test_a_call_joins_between_two_steps_of_another(engine: LocalGenerator, forwards: list[int]) -> None:
    long_one = asyncio.create_task(events(engine, ask(seeds=2, steps=50)))
    while len(forwards) < 3:
        await asyncio.sleep(0.005)
    queued, *_ = await events(engine, ask("a cat", steps=3, guidance=1.0))
    assert isinstance(queued, GenerationQueued) and queued.images_ahead == 2
    assert not long_one.done()
    await long_one
    assert 50 <= len(forwards) <= 53, "the long one waits while the other's only picture is behind"
    assert 3 in forwards


async def test_pixels_do_not_depend_on_who_else_is_served(engine: LocalGenerator) -> None:
    alone = await pictures(engine, ask(seeds=3, steps=6))
    busy = [asyncio.create_task(pictures(engine, ask(f"{n} cats", seeds=n, steps=2 + n))) for n in range(1, 5)]
    joined = await pictures(engine, ask(seeds=3, steps=6))
    await asyncio.gather(*busy)
    for index, picture in alone.items():
        np.testing.assert_array_equal(joined[index], picture)


async def test_the_prompt_is_encoded_once_a_request(engine: LocalGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = engine._models.prompts.clips[0][1]
    encoded: list[int] = []
    forward = encoder.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        encoded.append(1)
        return forward(*args, **kwargs)

    monkeypatch.setattr(encoder, "forward", counted)
    await events(engine, ask("a prompt never seen before", seeds=6, guidance=1.0))
    assert len(encoded) == 1


async def test_closing_the_iterator_stops_at_the_next_step(engine: LocalGenerator, forwards: list[int]) -> None:
    async with aclosing(engine.generate(ask(seeds=4, steps=200))) as stream:
        async for event in stream:
            if isinstance(event, GenerationStep):
                break
    done = len(forwards)
    await asyncio.sleep(0.2)
    assert len(forwards) <= done + 1
    assert [type(event) for event in await events(engine, ask(steps=1))][-1] is GeneratedImage


async def test_cancelling_the_task_stops_at_the_next_step(engine: LocalGenerator, forwards: list[int]) -> None:
    task = asyncio.create_task(events(engine, ask(seeds=4, steps=200)))
    other = asyncio.create_task(events(engine, ask("a cat", steps=3)))
    while not forwards:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance((await other)[-1], GeneratedImage)  # its place was free at once
    assert len(forwards) < 100 and forwards[-1] == 1


async def test_a_full_queue_refuses_and_says_when_to_come_back(
    engine: LocalGenerator, forwards: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_thread, "LIMITS", replace(LIMITS, queued_images=8))
    first = asyncio.create_task(events(engine, ask(seeds=8, steps=200)))
    while not forwards:
        await asyncio.sleep(0.005)
    with pytest.raises(ResourceExhausted, match="4 images wait to be painted, 8 may") as refused:
        await events(engine, ask(seeds=5))
    assert refused.value.retry_after is not None and refused.value.retry_after >= 1
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert len(await events(engine, ask(seeds=5))) > 5


async def test_words_past_the_encoders_limit_are_said(engine: LocalGenerator) -> None:
    prompt = "a red dog, " + ", ".join(f"cat number {n} of many" for n in range(12))
    queued = await anext(engine.generate(ask(prompt)))
    assert isinstance(queued, GenerationQueued)
    assert queued.shortened_prompt == "a red dog, cat number 0 of many"  # a token a letter, CLIP reads 40


async def test_a_numeric_target_is_never_what_is_cut(engine: LocalGenerator) -> None:
    prompt = "a red dog, " + ", ".join(f"cat number {n} of many" for n in range(12)) + ", valence 7, arousal 3"
    queued = await anext(engine.generate(ask(prompt)))
    assert isinstance(queued, GenerationQueued)
    assert queued.shortened_prompt == "a red dog, cat number 0 of, valence 7, arousal 3"


async def test_a_long_prompt_without_spaces_is_shortened_and_said_so(engine: LocalGenerator) -> None:
    prompt = "catdog" * 9  # a token a letter
    queued = await anext(engine.generate(ask(prompt)))
    assert isinstance(queued, GenerationQueued)
    assert queued.shortened_prompt and prompt.startswith(queued.shortened_prompt)


async def test_prompts_may_arrive_while_others_are_encoded(engine: LocalGenerator) -> None:
    """Tokenizers are used from the event loop and from the painter's thread."""
    asked = [ask(f"{'many words, ' * 30}{number}", steps=1, guidance=1.0) for number in range(40)]
    answered = await asyncio.gather(*(events(engine, request) for request in asked))
    assert all(isinstance(of_call[-1], GeneratedImage) for of_call in answered)


async def test_unknown_words_are_said(tiny_sd3: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a\ndog\n")
    engine = LocalGenerator.load(tiny_sd3_settings(tiny_sd3, vocabulary=str(tmp_path / "words.txt")))
    asked = {"A dog, a zebra!": ("zebra",), f"???, {target_phrase(AffectPoint(7, 3))}": ("???",)}
    try:
        queued = [await anext(engine.generate(ask(prompt, steps=1))) for prompt in asked]
    finally:
        engine.close()
    assert [each.unknown_words for each in queued if isinstance(each, GenerationQueued)] == list(asked.values())


async def test_an_unknown_policy_names_the_known_ones(engine: LocalGenerator) -> None:
    assert await engine.policies() == ["broken", "cold", "warm"]
    with pytest.raises(NotFound, match="'hot' is unknown, known are: broken, cold, warm"):
        await events(engine, ask(policy="hot"))


async def test_calls_with_different_policies_never_mix(engine: LocalGenerator) -> None:
    alone = {policy: (await pictures(engine, ask(policy=policy, steps=5)))[0] for policy in ("", "warm", "cold")}
    together = await asyncio.gather(*(pictures(engine, ask(policy=policy, steps=5)) for policy in alone))
    for (policy, picture), joined in zip(alone.items(), together, strict=True):
        np.testing.assert_array_equal(joined[0], picture, err_msg=policy)
    assert (alone[""] != alone["warm"]).any() and (alone["warm"] != alone["cold"]).any()
    image = (await events(engine, ask(policy="warm")))[-1]
    assert isinstance(image, GeneratedImage) and image.model.policy == "warm"


async def test_where_a_request_names_no_policy_the_profiles_own_paints(tiny_sd3: Path, policies: Path) -> None:
    engine = LocalGenerator.load(tiny_sd3_settings(tiny_sd3, policies=str(policies), policy="warm", threads=1))
    try:
        told = [await events(engine, ask(policy=policy, steps=2)) for policy in ("warm", "", BASE_POLICY)]
    finally:
        engine.close()
    named, unnamed, base = [event for events in told for event in events if isinstance(event, GeneratedImage)]
    assert [image.model.policy for image in (named, unnamed, base)] == ["warm", "warm", ""]
    assert named.data == unnamed.data != base.data


async def test_a_broken_policy_fails_its_own_call_only(engine: LocalGenerator, forwards: list[int]) -> None:
    other = asyncio.create_task(events(engine, ask(seeds=2, steps=8)))
    while not forwards:
        await asyncio.sleep(0.005)
    with pytest.raises(FailedPrecondition, match="'broken' is not a LoRA adapter"):
        await events(engine, ask(policy="broken"))
    assert isinstance((await other)[-1], GeneratedImage)


@pytest.fixture
def overflowing(tiny_sd3: Path, tmp_path: Path) -> Iterator[LocalGenerator]:
    """An engine with a policy, `loud`, of finite weights that are too large to compute with."""
    whole = save_tiny_policy(tmp_path / "warm", tiny_sd3) / WEIGHTS
    with safe_open(whole, "pt") as file:
        metadata = file.metadata()
    loud = {name: weight * 1e30 for name, weight in load_file(whole).items()}
    save_policy_of(tmp_path / "loud", tiny_sd3, save(loud, metadata), modules=len(loud) // 2)
    engine = LocalGenerator.load(tiny_sd3_settings(tiny_sd3, steps=3, policies=str(tmp_path), threads=1))
    yield engine
    engine.close()


async def test_a_policy_that_paints_no_numbers_is_named_and_fails_its_own_call_only(
    overflowing: LocalGenerator,
) -> None:
    alone = await pictures(overflowing, ask(seeds=2, policy="warm"))
    warm, loud, group = await asyncio.gather(
        pictures(overflowing, ask(seeds=2, policy="warm")),
        events(overflowing, ask(seeds=2, policy="loud")),
        anext(trajectories(overflowing, policy="loud")),
        return_exceptions=True,
    )
    problem = "policy 'loud' on checkpoint 'tiny-sd3' gives NaN or infinity: its weights are damaged, or overflow in"
    for failure in (loud, group):
        assert isinstance(failure, NotFinite) and str(failure) == f"{problem} float32"
    assert isinstance(warm, dict)
    for index, picture in alone.items():
        np.testing.assert_array_equal(warm[index], picture)


def trajectories(engine: LocalGenerator, policy: str) -> AsyncIterator[Trajectory]:
    window = NoiseWindow(kind="sde", level=0.7, first=1, length=1)
    request = TrajectoryRequest(prompt="a dog", seeds=(1, 2), steps=3, guidance=1.0, window=window, policy=policy)
    return (e async for e in engine.sample_trajectories(request) if isinstance(e, Trajectory))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("tiny_autoencoder", [False, True], ids=["kl", "tiny"])
async def test_one_number_that_is_none_in_a_latent_fails_its_own_call_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, tiny_autoencoder: bool
) -> None:
    """As half precision overflows: with one prompt, in one element, among calls that share its forwards."""

    def overflow(models: Any, samples: Sequence[Sample]) -> None:
        advance(models, samples)
        for sample in samples:
            if sample.recipe.guidance == 1.5 and sample.finished:
                sample.latent = sample.latent.clone()
                sample.latent[0, 0, 0] = value

    base = save_tiny_sd3(tmp_path / "base", with_t5=False, tiny_autoencoder=tiny_autoencoder)
    engine = LocalGenerator.load(tiny_sd3_settings(base, steps=2, max_batch=4, threads=1))
    monkeypatch.setattr(sampler_thread, "advance", overflow)
    try:
        alone = await pictures(engine, ask(seeds=2))
        healthy, broken = await asyncio.gather(
            pictures(engine, ask(seeds=2)), events(engine, ask(seeds=2, guidance=1.5)), return_exceptions=True
        )
    finally:
        engine.close()
    assert isinstance(broken, NotFinite) and str(broken).startswith("checkpoint 'base' gives NaN or infinity")
    assert isinstance(healthy, dict)
    for index, picture in alone.items():
        np.testing.assert_array_equal(healthy[index], picture)


@pytest.mark.parametrize("part", ["transformer", "autoencoder"])
async def test_a_damaged_checkpoint_is_named_and_paints_no_black_picture(
    tiny_sd3: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    engine = LocalGenerator.load(tiny_sd3_settings(tiny_sd3, steps=2, threads=1))
    list(getattr(engine._models, part).parameters())[-1].data.view(-1)[0] = math.nan
    try:
        with pytest.raises(NotFinite, match=r"^checkpoint 'tiny-sd3' gives NaN or infinity"):
            await events(engine, ask())
    finally:
        engine.close()


async def test_a_defect_fails_the_call_and_the_engine_goes_on(
    engine: LocalGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(sampler_thread, "advance", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            await events(engine, ask())
    assert isinstance((await events(engine, ask()))[-1], GeneratedImage)


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"prompt": " "}, "prompt"), ({"seeds": ()}, "seeds"), ({"steps": 0}, "steps"), ({"guidance": 0.5}, "guidance")],
)
async def test_requests_are_checked_in_process_too(engine: LocalGenerator, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await events(engine, replace(ask(), **changes))
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_closing_the_engine_ends_the_calls_that_wait(tiny_sd3: Path, forwards: list[int]) -> None:
    engine = LocalGenerator.load(tiny_sd3_settings(tiny_sd3))
    waiting = asyncio.create_task(events(engine, ask(seeds=2, steps=100)))
    while not forwards:
        await asyncio.sleep(0.005)
    await asyncio.to_thread(engine.close)
    engine.close()
    with pytest.raises(Unavailable, match="shutting down"):
        await waiting
    with pytest.raises(Unavailable, match="shutting down"):
        await events(engine, ask())
    assert len(forwards) < 100


async def test_pictures_that_finish_together_are_decoded_in_chunks_and_saved_by_several_threads(
    tiny_sd3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_sd3_settings(tiny_sd3, steps=2)
    models = load_models(settings)
    assert models.decode_batch == 1  # on a CPU
    monkeypatch.setitem(sampler_thread._PNG_THREADS, "cpu", 4)
    decoded, decode = [], models.autoencoder.decode

    def counted(latents: Tensor, **options: Any) -> Any:
        decoded.append(len(latents))
        return decode(latents, **options)

    monkeypatch.setattr(models.autoencoder, "decode", counted)
    painted = []
    for decode_batch in (1, 3):
        engine = LocalGenerator(replace(models, decode_batch=decode_batch), settings)
        try:
            painted.append(await pictures(engine, ask(seeds=7)))
        finally:
            engine.close()
    assert decoded[:7] == [1] * 7 and sorted(decoded[7:]) == [1, 3, 3]
    for index, picture in painted[0].items():
        assert np.abs(painted[1][index].astype(int) - picture).max() <= 1


async def test_a_decoder_in_bfloat16_paints_the_same_but_for_rounding(tiny_sd3: Path) -> None:
    painted = []
    for dtype in ("float32", "bfloat16"):
        settings = tiny_sd3_settings(tiny_sd3, steps=2, decoder_dtype=dtype)
        engine = LocalGenerator.load(settings)
        try:
            painted.append((await pictures(engine, ask()))[0].astype(int))
        finally:
            engine.close()
    difference = np.abs(painted[1] - painted[0])
    assert 0 < difference.mean() < 1 and difference.max() <= 8


@pytest.mark.parametrize(("instructions", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_latents_are_decoded_in_bfloat16_where_the_cpu_has_instructions_for_it(
    tiny_sd3: Path, monkeypatch: pytest.MonkeyPatch, instructions: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": instructions})
    models = load_models(tiny_sd3_settings(tiny_sd3, decoder_dtype="auto"))
    assert models.autoencoder.dtype == dtype and models.transformer.dtype == torch.float32


def test_an_offloaded_t5_says_the_same_to_the_bit_and_leaves_nothing_on_the_device(tiny_sd3: Path) -> None:
    kept, offloaded = (
        load_models(tiny_sd3_settings(tiny_sd3, offload_t5=offload)).prompts for offload in (False, True)
    )
    for prompt in ("a dog by the lake", ""):
        assert torch.equal(kept.encode(prompt).tokens, offloaded.encode(prompt).tokens)
    assert kept.t5 is not None and offloaded.t5 is not None
    assert {weight.device.type for weight in kept.t5[1].parameters()} == {"cpu"}
    assert {weight.device.type for weight in offloaded.t5[1].parameters()} == {"meta"}


def test_a_closed_engine_keeps_no_text_encoder(tiny_sd3: Path) -> None:
    engine = LocalGenerator.load(tiny_sd3_settings(tiny_sd3))
    encoder = weakref.ref(engine._models.prompts.clips[0][1])
    asyncio.run(events(engine, ask()))
    engine.close()
    del engine
    gc.collect()
    assert encoder() is None
