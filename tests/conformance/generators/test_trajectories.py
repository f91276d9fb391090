"""What every Generator's trajectories hold, whoever samples them."""

import io
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from emofeedback.domain.errors import InvalidRequest, NotFound
from emofeedback.domain.generation import (
    Conditioning,
    GeneratedImage,
    GenerationQueued,
    GenerationRequest,
    Generator,
    GroupStarted,
    NoiseWindow,
    Trajectory,
    TrajectoryEvent,
    TrajectoryRequest,
)
from emofeedback.domain.tensors import to_torch
from emofeedback.generator.flow import TRAIN_STEPS, guided
from emofeedback.generator.local import LocalGenerator
from emofeedback.generator.stochastic import cps_moments, log_probability, sde_moments
from support.fakes import ScriptedGenerator
from support.scripted_trajectories import velocity as scripted_velocity
from support.tiny_checkpoints import tiny_emotion

Velocity = Callable[[Tensor, Tensor, Conditioning], Tensor]
"""The base model's, of latents (batch, channels, height, width), their noise levels (batch,) and a prompt."""


@pytest.fixture
def velocity(generator: Generator, engine: LocalGenerator) -> Velocity:
    if isinstance(generator, ScriptedGenerator):
        return lambda latents, _, read: scripted_velocity(latents, read)

    @torch.inference_mode()
    def of_the_transformer(latents: Tensor, sigmas: Tensor, read: Conditioning) -> Tensor:
        output: Tensor = engine._models.transformer(
            hidden_states=latents,
            timestep=sigmas * TRAIN_STEPS,
            encoder_hidden_states=to_torch(read.tokens).expand(len(latents), -1, -1),
            pooled_projections=to_torch(read.pooled).expand(len(latents), -1),
            return_dict=False,
        )[0]
        return output

    return of_the_transformer


def ask(**changes: Any) -> TrajectoryRequest:
    window = NoiseWindow(kind="sde", level=0.7, first=1, length=2)
    return TrajectoryRequest(
        **{"prompt": "a dog in the rain", "seeds": (3, 1, 4), "window": window, "steps": 6, **changes}
    )


async def events(generator: Generator, request: TrajectoryRequest) -> list[TrajectoryEvent]:
    return [event async for event in generator.sample_trajectories(request)]


async def group(generator: Generator, request: TrajectoryRequest) -> tuple[GroupStarted, list[Trajectory]]:
    """What its trajectories share, and they themselves in the order of the seeds."""
    _, started, *trajectories = await events(generator, request)
    assert isinstance(started, GroupStarted)
    return started, sorted((t for t in trajectories if isinstance(t, Trajectory)), key=lambda t: t.index)


def pixels(image: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB")).astype(int)


async def test_it_is_queued_then_the_group_starts_then_each_seed_has_a_trajectory(
    generator: Generator,
) -> None:
    queued, started, *trajectories = await events(generator, ask())
    assert isinstance(queued, GenerationQueued) and isinstance(started, GroupStarted)
    assert [type(event) for event in trajectories] == [Trajectory] * 3
    found = sorted((t.index, t.seed) for t in trajectories if isinstance(t, Trajectory))
    assert found == [(0, 3), (1, 1), (2, 4)]


@pytest.mark.parametrize("first", [0, 1, 4])
@pytest.mark.parametrize("length", [0, 1, 5])
async def test_the_record_has_a_latent_before_and_after_each_noisy_step(
    generator: Generator, first: int, length: int
) -> None:
    steps = max(first + length + 1, 3)
    window = NoiseWindow(kind="cps", level=0.8, first=first, length=length)
    started, trajectories = await group(generator, ask(window=window, steps=steps))
    sigmas = to_torch(started.sigmas)
    assert sigmas.shape == (steps + 1,) and sigmas[0] == 1 and sigmas[-1] == 0 and (sigmas.diff() < 0).all()
    assert started.negative is None
    for trajectory in trajectories:
        one_latent = trajectory.final.shape
        assert len(one_latent) == 3 and trajectory.latents.shape == (length + 1, *one_latent)
        assert trajectory.log_probabilities.shape == (length,)
        for tensor in (trajectory.latents, trajectory.log_probabilities, trajectory.final):
            assert tensor.element_type == "float32" and to_torch(tensor).isfinite().all()
        assert Image.open(io.BytesIO(trajectory.image)).format == "PNG"


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize(
    "window",
    [NoiseWindow(level=0.7, first=0, length=3), NoiseWindow(kind="cps", level=0.8, first=2, length=3)],
    ids=["sde", "cps"],
)
async def test_replayed_from_the_record_every_step_is_as_likely_as_it_says(
    generator: Generator, velocity: Velocity, window: NoiseWindow, guidance: float
) -> None:
    started, trajectories = await group(generator, ask(window=window, guidance=guidance, negative_prompt="fog"))
    noisy = slice(window.first, window.first + window.length)
    sigmas = to_torch(started.sigmas)
    here, there = sigmas[noisy], sigmas[noisy.start + 1 : noisy.stop + 1]
    for trajectory in trajectories:
        latents = to_torch(trajectory.latents)
        before, after = latents[:-1], latents[1:]
        flow = velocity(before, here, started.conditioning)
        if guidance > 1:
            assert started.negative is not None
            scale = torch.full((window.length,), guidance)
            flow = guided(velocity(before, here, started.negative), flow, scale)
        if window.kind == "cps":
            mean, std = cps_moments(before, flow, here, there, window.level)
        else:
            mean, std = sde_moments(before, flow, here, there, window.level, first_sigma=sigmas[1])
        replayed = log_probability(window.kind, after, mean, std)
        torch.testing.assert_close(replayed, to_torch(trajectory.log_probabilities), rtol=1e-6, atol=1e-6)


async def test_prompt_and_seed_decide_a_trajectory_whatever_group_it_is_in(generator: Generator) -> None:
    _, (three, one, four) = await group(generator, ask())
    _, [again] = await group(generator, ask(seeds=(1,)))
    _, [other] = await group(generator, ask(seeds=(1,), prompt="a cat"))
    assert replace(again, index=1) == one
    assert len({t.final.data for t in (three, one, four, other)}) == 4


async def test_a_steps_noise_does_not_depend_on_where_the_window_ends(generator: Generator) -> None:
    _, [short] = await group(generator, ask(seeds=(7,), window=NoiseWindow(first=0, length=1)))
    _, [long] = await group(generator, ask(seeds=(7,), window=NoiseWindow(first=0, length=4)))
    assert torch.equal(to_torch(short.latents), to_torch(long.latents)[:2])
    assert not torch.equal(to_torch(short.final), to_torch(long.final))


async def test_seeds_that_share_the_steps_before_the_window_part_in_it(generator: Generator) -> None:
    early, late = (NoiseWindow(first=first, length=2) for first in (0, 3))
    _, [one] = await group(generator, ask(seeds=(7,), window=early))
    _, [other] = await group(generator, ask(seeds=(7,), window=late))
    _, [straight] = await group(generator, ask(seeds=(7,), window=NoiseWindow(first=3, length=0)))
    assert torch.equal(to_torch(other.latents)[0], to_torch(straight.latents)[0])
    assert not torch.equal(to_torch(one.final), to_torch(other.final))


async def test_with_a_common_start_trajectories_differ_by_the_windows_noise_alone(generator: Generator) -> None:
    _, apart = await group(generator, ask())
    _, together = await group(generator, ask(start_seed=3))
    entries = [to_torch(trajectory.latents)[0] for trajectory in together]
    assert all(torch.equal(entry, entries[0]) for entry in entries)
    assert together[0] == apart[0]  # whose own seed is the common one
    assert len({trajectory.final.data for trajectory in (*together, *apart[1:])}) == 5
    _, [alone] = await group(generator, ask(start_seed=3, seeds=(4,)))
    assert replace(alone, index=2) == together[2]
    _, straight = await group(generator, ask(start_seed=3, window=NoiseWindow(first=2, length=0)))
    assert len({trajectory.final.data for trajectory in straight}) == 1


@pytest.mark.parametrize("kind", ["sde", "cps"])
async def test_with_next_to_no_noise_the_picture_is_that_of_the_ode(generator: Generator, kind: Any) -> None:
    _, [straight] = await group(generator, ask(seeds=(7,), window=NoiseWindow(length=0)))
    _, [faint] = await group(generator, ask(seeds=(7,), window=NoiseWindow(kind=kind, level=0.001, length=5)))
    torch.testing.assert_close(to_torch(faint.final), to_torch(straight.final), rtol=0, atol=0.02)
    assert abs(pixels(faint.image) - pixels(straight.image)).max() <= 3


async def test_without_noise_a_trajectory_is_painted_like_any_picture(generator: Generator) -> None:
    request = GenerationRequest(prompt="a dog in the rain", seeds=(7,), steps=6, guidance=1.0)
    [picture] = [event async for event in generator.generate(request) if isinstance(event, GeneratedImage)]
    _, [straight] = await group(generator, ask(seeds=(7,), window=NoiseWindow(length=0)))
    # Their files differ by the recipe: a trajectory has none.
    assert np.array_equal(pixels(straight.image), pixels(picture.data))


async def test_all_come_from_the_one_policy_that_the_group_names(generator: Generator) -> None:
    base, of_base = await group(generator, ask(seeds=(1,)))
    named_base, of_named_base = await group(generator, ask(seeds=(1,), policy="base"))
    warm, of_warm = await group(generator, ask(seeds=(1,), policy="warm"))
    assert base.model == named_base.model == await generator.model() and base.policy_digest == ""
    assert of_base == of_named_base
    assert warm.model == replace(base.model, policy="warm")
    assert warm.policy_digest.startswith("sha256:") and len(warm.policy_digest) == 71
    assert of_warm[0].final != of_base[0].final
    with pytest.raises(NotFound, match="hot"):
        await group(generator, ask(policy="hot"))


BAD_REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "empty prompt": ({"prompt": "  "}, "prompt"),
    "no seeds": ({"seeds": ()}, "seeds"),
    "too many seeds": ({"seeds": tuple(range(65))}, "seeds"),
    "negative seed": ({"seeds": (0, -1)}, "seeds[1]"),
    "a negative start": ({"start_seed": -1}, "start_seed"),
    "no steps": ({"steps": 0}, "steps"),
    "too many steps": ({"steps": 201}, "steps"),
    "guidance below 1": ({"guidance": 0.5}, "guidance"),
    "no noise": ({"window": NoiseWindow(level=0)}, "window.level"),
    "too much noise": ({"window": NoiseWindow(level=2.1)}, "window.level"),
    "more than all of the noise": ({"window": NoiseWindow(kind="cps", level=1.1)}, "window.level"),
    "not a level": ({"window": NoiseWindow(level=float("nan"))}, "window.level"),
    "a window before the first step": ({"window": NoiseWindow(first=-1)}, "window.first"),
    "a window of less than nothing": ({"window": NoiseWindow(length=-1)}, "window.length"),
    "a noisy last step": ({"window": NoiseWindow(first=4, length=2)}, "window"),
    "another kind of noise": ({"window": NoiseWindow(kind="ode")}, "window.kind"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_a_field_out_of_its_limits_is_named(generator: Generator, name: str) -> None:
    changes, field = BAD_REQUESTS[name]
    with pytest.raises(InvalidRequest) as refused:
        await events(generator, ask(**changes))
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_closed_early_it_serves_the_next_call(generator: Generator) -> None:
    async with aclosing(generator.sample_trajectories(ask(steps=200))) as stream:
        assert isinstance(await anext(stream), GenerationQueued)
    assert len(await events(generator, ask())) == 5


async def test_a_group_is_the_same_to_the_bit_in_process_and_over_the_wire(
    engine: LocalGenerator, served: Generator
) -> None:
    request = ask(guidance=3.0, negative_prompt="fog", policy="warm", seeds=(5, 6, 7))
    assert await group(engine, request) == await group(served, request)


async def test_what_a_group_felt_is_among_what_it_read(generator: Generator) -> None:
    emotion = tiny_emotion(variations=1)
    felt, trajectories = await group(generator, ask(policy="felt", emotion=emotion))
    unfelt, others = await group(generator, ask(policy="felt"))
    assert felt.conditioning != unfelt.conditioning
    assert all(one.final != other.final for one, other in zip(trajectories, others, strict=True))
    with pytest.raises(InvalidRequest, match=r"emotion\.states\.shape: .* must be 1 variation"):
        await group(generator, ask(policy="felt", emotion=tiny_emotion(variations=2)))
