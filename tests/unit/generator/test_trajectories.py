"""Trajectories in the sampler and in the engine: what they keep, and how they share places with pictures."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import SD3Transformer2DModel

from emofeedback.domain.errors import InvalidRequest, ResourceExhausted, Unavailable
from emofeedback.domain.generation import (
    GeneratedImage,
    GenerationQueued,
    GenerationRequest,
    GroupStarted,
    NoiseWindow,
    Trajectory,
    TrajectoryEvent,
    TrajectoryRequest,
)
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.tensors import to_torch
from emofeedback.generator import local, sampler_thread
from emofeedback.generator.flow import guided
from emofeedback.generator.local import LocalGenerator
from emofeedback.generator.pipeline import Models, load_models
from emofeedback.generator.rows import fewest_samples, keep_rows_steady
from emofeedback.generator.sampler import Sample, advance, recipe, start, step_noise
from emofeedback.generator.stochastic import log_probability, sde_moments
from support.tiny_checkpoints import T5_WIDTH, save_tiny_sd3, tiny_sd3_settings

WINDOW = NoiseWindow(kind="sde", level=0.7, first=1, length=2)


@pytest.fixture(scope="module")
def models(tiny_sd3: Path) -> Models:
    return load_models(tiny_sd3_settings(tiny_sd3))


def sampled(models: Models, *samples: Sample) -> None:
    while rest := [sample for sample in samples if not sample.finished]:
        advance(models, rest)


def words(models: Models, text: str = "a cat", steps: int = 5, guidance: float = 1.0, window: Any = WINDOW) -> Any:
    return recipe(models, prompt=text, negative_prompt="", steps=steps, guidance=guidance, window=window)


# --- the sampler -------------------------------------------------------------------------------------------------


def test_a_trajectory_does_not_depend_on_its_company(models: Models) -> None:
    """Bit for bit on a CPU, log-probabilities too: alone, in its group, and among strangers."""
    # As wide as the embedded model: the tiny one is too narrow for matrix kernels to differ by batch size.
    width = {"num_attention_heads": 6, "attention_head_dim": 32, "caption_projection_dim": 192}
    torch.manual_seed(3)
    wide = SD3Transformer2DModel.from_config({**models.transformer.config, **width}).eval()
    keep_rows_steady(wide)
    models = replace(models, transformer=wide, fewest_samples=fewest_samples(wide, models.latent_shape))
    asked = words(models, guidance=4.0)
    alone = start(models, asked, seed=1)
    sampled(models, alone)
    others = [words(models, "rain", steps=3, window=None), words(models, "two birds", steps=9, guidance=7.5)]
    for company in (
        [start(models, asked, seed=seed) for seed in range(2, 9)],
        [start(models, other, seed=seed) for other in others for seed in (3, 4)],
    ):
        advance(models, company[-1:])
        joined = start(models, asked, seed=1)
        sampled(models, joined, *company)
        for ours, theirs in zip(
            [*joined.visited, *joined.log_probabilities, joined.latent],
            [*alone.visited, *alone.log_probabilities, alone.latent],
            strict=True,
        ):
            assert torch.equal(ours, theirs)


def test_the_last_latent_follows_from_the_window_by_the_ode(models: Models) -> None:
    """What comes after the window is a picture's own way on from the latent that leaves it."""
    trajectory = start(models, words(models, steps=6), seed=2)
    sampled(models, trajectory)
    onward = start(models, words(models, steps=6, window=None), seed=2)
    onward.step, onward.latent = WINDOW.first + WINDOW.length, trajectory.visited[-1]
    sampled(models, onward)
    assert torch.equal(onward.latent, trajectory.latent)


def test_pictures_keep_no_record(models: Models) -> None:
    picture = start(models, words(models, window=None), seed=1)
    sampled(models, picture)
    assert picture.visited == [] and picture.log_probabilities == []


def test_noise_differs_by_seed_and_by_step_and_is_otherwise_the_same() -> None:
    shape = (16, 64, 64)
    first, again, other_step, other_seed = (step_noise(shape, *of) for of in ((1, 2), (1, 2), (1, 3), (2, 2)))
    assert torch.equal(first, again)
    start_noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    for noise in (other_step, other_seed, start_noise):
        correlation = torch.corrcoef(torch.stack([first.flatten(), noise.flatten()]))[0, 1]
        assert abs(correlation) < 0.02
    assert abs(first.mean()) < 0.02 and abs(first.std() - 1) < 0.02


def test_latents_are_recorded_in_float32_where_the_model_computes_in_bfloat16(tiny_sd3: Path) -> None:
    models = load_models(tiny_sd3_settings(tiny_sd3, dtype="bfloat16"))
    sample = start(models, words(models, guidance=4.0), seed=0)
    sampled(models, sample)
    assert {tensor.dtype for tensor in (*sample.visited, *sample.log_probabilities)} == {torch.float32}
    in_bfloat16 = torch.stack(sample.visited).bfloat16().float()
    assert not torch.equal(in_bfloat16, torch.stack(sample.visited))  # they carry more than bfloat16 holds


# --- the engine --------------------------------------------------------------------------------------------------


def ask(count: int = 3, **changes: Any) -> TrajectoryRequest:
    return TrajectoryRequest(
        **{"prompt": "a dog", "seeds": tuple(range(count)), "window": WINDOW, "steps": 5, **changes}
    )


async def events(engine: LocalGenerator, request: TrajectoryRequest) -> list[TrajectoryEvent]:
    return [event async for event in engine.sample_trajectories(request)]


async def paint(engine: LocalGenerator, **changes: Any) -> list[Any]:
    request = GenerationRequest(**{"prompt": "a cat", "seeds": (1,), "steps": 3, **changes})
    return [event async for event in engine.generate(request)]


async def test_each_trajectory_is_delivered_as_soon_as_it_is_decoded(
    engine: LocalGenerator, forwards: list[int]
) -> None:
    done_at = [
        (event.index, len(forwards))
        async for event in engine.sample_trajectories(ask(6, steps=20))
        if isinstance(event, Trajectory)
    ]
    assert forwards == [4] * 20 + [2] * 20
    assert [index for index, _ in done_at] == [0, 1, 2, 3, 4, 5]
    assert done_at[0][1] < 40


async def test_what_comes_before_the_window_is_computed_once_for_a_common_start(
    engine: LocalGenerator, forwards: list[int]
) -> None:
    window = NoiseWindow(first=2, length=2)
    together = await events(engine, ask(6, window=window, start_seed=9))
    assert forwards == [1, 1, 4, 4, 4, 2, 2, 2]
    assert isinstance(together[1], GroupStarted)
    forwards.clear()
    [*_, alone] = await events(engine, ask(window=window, start_seed=9, seeds=(5,)))
    assert isinstance(alone, Trajectory) and replace(alone, index=5) in together
    assert len(forwards) == 5


async def test_others_are_served_while_a_group_has_not_entered_its_window(
    engine: LocalGenerator, forwards: list[int]
) -> None:
    window = NoiseWindow(first=50, length=2)
    held_up = asyncio.create_task(events(engine, ask(4, window=window, start_seed=9, steps=54)))
    while len(forwards) < 3:
        await asyncio.sleep(0.005)
    await paint(engine, seeds=(1, 2, 3))
    assert not held_up.done() and forwards.count(4) == 3
    assert sum(isinstance(event, Trajectory) for event in await held_up) == 4


async def test_a_picture_comes_between_trajectories_and_changes_nothing_of_them(
    engine: LocalGenerator, forwards: list[int]
) -> None:
    alone = await events(engine, ask(2, steps=50))
    forwards.clear()
    group = asyncio.create_task(events(engine, ask(2, steps=50)))
    while len(forwards) < 3:
        await asyncio.sleep(0.005)
    queued, *_, picture = await paint(engine)
    assert isinstance(queued, GenerationQueued) and queued.images_ahead == 2
    assert isinstance(picture, GeneratedImage) and not group.done()
    assert (await group)[1:] == alone[1:]
    # Whether they share a forward depends on what sharing costs; none is done twice.
    assert 50 <= len(forwards) <= 53


async def test_groups_of_two_policies_at_once_do_not_mix(engine: LocalGenerator) -> None:
    alone = {policy: await events(engine, ask(2, policy=policy)) for policy in ("base", "warm", "cold")}
    together = await asyncio.gather(*(events(engine, ask(2, policy=policy)) for policy in alone))
    digests = set()
    for of_policy, (policy, expected) in zip(together, alone.items(), strict=True):
        assert of_policy[1:] == expected[1:], policy
        [started] = [event for event in of_policy if isinstance(event, GroupStarted)]
        assert started.model.policy == ("" if policy == "base" else policy)
        digests.add(started.policy_digest)
    assert len(digests) == 3


async def test_closing_the_iterator_stops_at_the_next_step(engine: LocalGenerator, forwards: list[int]) -> None:
    async with aclosing(engine.sample_trajectories(ask(4, steps=200))) as stream:
        async for event in stream:
            if isinstance(event, GroupStarted):
                break
        while len(forwards) < 3:
            await asyncio.sleep(0.005)
    done = len(forwards)
    await asyncio.sleep(0.2)
    assert len(forwards) <= done + 1
    assert isinstance((await events(engine, ask()))[-1], Trajectory)


async def test_trajectories_count_for_the_queue(
    engine: LocalGenerator, forwards: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_thread, "LIMITS", replace(LIMITS, queued_images=8))
    group = asyncio.create_task(events(engine, ask(8, steps=200)))
    while not forwards:
        await asyncio.sleep(0.005)
    with pytest.raises(ResourceExhausted, match="4 images wait to be painted, 8 may"):
        await paint(engine, seeds=tuple(range(5)))
    group.cancel()
    await asyncio.gather(group, return_exceptions=True)


async def test_a_trajectory_that_fits_no_message_is_refused_before_it_is_sampled(
    engine: LocalGenerator, forwards: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A latent is 4 * 4 * 12 * 8 bytes, the picture at most 3 * 48 * 32.
    monkeypatch.setattr(local, "LIMITS", replace(LIMITS, message_bytes=20_000))
    with pytest.raises(InvalidRequest, match=r"window\.length: is 9, .* trajectories of up to 8"):
        await events(engine, ask(window=NoiseWindow(length=9), steps=20))
    assert not forwards
    assert isinstance((await events(engine, ask(window=NoiseWindow(length=8), steps=20)))[-1], Trajectory)


async def test_a_defect_on_the_way_out_fails_the_group_and_the_engine_goes_on(
    engine: LocalGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(sampler_thread, "finished", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            await asyncio.wait_for(events(engine, ask()), 60)
    assert isinstance((await events(engine, ask()))[-1], Trajectory)


async def test_a_closed_engine_samples_nothing(tiny_sd3: Path) -> None:
    engine = LocalGenerator.load(tiny_sd3_settings(tiny_sd3))
    engine.close()
    with pytest.raises(Unavailable, match="shutting down"):
        await events(engine, ask())


@pytest.mark.parametrize(
    ("checkpoint", "tokens"),
    [
        ({}, 40 + 24),
        ({"with_t5": False, "joint_width": T5_WIDTH}, 40 + 24),
        ({"with_t5": False}, 40),
        ({"with_t5": False, "tiny_autoencoder": True}, 40),
    ],
    ids=["with T5", "T5 left out", "never had a T5", "tiny autoencoder"],
)
async def test_every_kind_of_checkpoint_gives_what_a_learner_needs(
    tmp_path: Path, checkpoint: dict[str, Any], tokens: int
) -> None:
    """A learner that loads the transformer alone finds the record's log-probability."""
    folder = save_tiny_sd3(tmp_path / "tiny", **checkpoint)
    engine = LocalGenerator.load(tiny_sd3_settings(folder, threads=1))
    try:
        _, started, *trajectories = await events(engine, ask(2, guidance=3.0, negative_prompt="fog"))
    finally:
        engine.close()
    assert isinstance(started, GroupStarted) and started.negative is not None and len(trajectories) == 2
    assert started.conditioning.tokens.shape[0] == tokens
    transformer = SD3Transformer2DModel.from_pretrained(folder / "transformer")
    sigmas = to_torch(started.sigmas)
    here, there = sigmas[WINDOW.first, None], sigmas[WINDOW.first + 1, None]
    for trajectory in trajectories:
        assert isinstance(trajectory, Trajectory)
        before, after = to_torch(trajectory.latents)[:1], to_torch(trajectory.latents)[1:2]
        negative, positive = (
            transformer(
                hidden_states=before,
                timestep=here * 1000,
                encoder_hidden_states=to_torch(read.tokens)[None],
                pooled_projections=to_torch(read.pooled)[None],
                return_dict=False,
            )[0]
            for read in (started.negative, started.conditioning)
        )
        velocity = guided(negative, positive, torch.tensor([3.0]))
        mean, std = sde_moments(before, velocity, here, there, WINDOW.level, first_sigma=sigmas[1])
        found = log_probability("sde", after, mean, std)
        torch.testing.assert_close(found, to_torch(trajectory.log_probabilities)[:1], rtol=1e-6, atol=1e-6)
