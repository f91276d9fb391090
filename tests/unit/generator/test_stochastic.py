"""The stochastic steps: against an independent implementation's numbers, and by what must hold of every one."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from emofeedback.generator.flow import ode_step, sigma_schedule
from emofeedback.generator.stochastic import (
    Transition,
    cps_moments,
    cps_step,
    log_probability,
    sde_diffusion,
    sde_moments,
    sde_step,
)

Kind = Literal["sde", "cps"]
KINDS: tuple[Kind, ...] = ("sde", "cps")
LEVELS = {"sde": 0.7, "cps": 0.8}

# Inputs and results of an independent implementation of both kinds of step: steps 0 to 8 of a schedule of 10 with
# shift 3, two samples each, at the levels above.
REFERENCE = Path(__file__).parents[2] / "reference" / "flow_steps10_shift3.npz"
STEPS = range(9)

kinds = st.sampled_from(KINDS)
steps_of_ten = st.integers(0, 8)
seeds = st.integers(0, 2**31)
quick = settings(max_examples=60)


@pytest.fixture(scope="module")
def reference() -> dict[str, Tensor]:
    with np.load(REFERENCE, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def schedule(steps: int = 10) -> Tensor:
    return sigma_schedule(steps, 3.0)


def draw(seed: int, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, velocities and noise."""
    latents, velocities, noise = torch.randn(3, batch, 4, 6, 6, generator=torch.Generator().manual_seed(seed))
    return latents, velocities, noise


def levels_of(step: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    return schedule()[step].expand(batch), schedule()[step + 1].expand(batch)


def take(kind: Kind, latents: Tensor, velocities: Tensor, step: int, level: float, noise: Tensor) -> Transition:
    """Step `step` of a schedule of 10."""
    sigmas, next_sigmas = levels_of(step, len(latents))
    if kind == "cps":
        return cps_step(latents, velocities, sigmas, next_sigmas, level, noise)
    return sde_step(latents, velocities, sigmas, next_sigmas, level, noise, first_sigma=float(schedule()[1]))


def test_the_schedule_is_the_references(reference: dict[str, Tensor]) -> None:
    torch.testing.assert_close(schedule(), reference["sigmas"], rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", STEPS)
def test_mean_step_and_log_probability_are_the_references(reference: dict[str, Tensor], kind: Kind, step: int) -> None:
    latents, velocities, drawn, mean, log_probabilities, std = (
        reference[f"{kind}_{name}"][step]
        for name in ("sample", "velocity", "prev_sample", "prev_mean", "log_prob", "std_dev")
    )
    sigmas = reference["sigmas"]
    before, after = sigmas[step].expand(2), sigmas[step + 1].expand(2)
    if kind == "sde":
        ours, scale = sde_moments(latents, velocities, before, after, LEVELS[kind], first_sigma=float(sigmas[1]))
        diffusion = sde_diffusion(before, LEVELS[kind], first_sigma=float(sigmas[1]))
    else:
        ours, scale = cps_moments(latents, velocities, before, after, LEVELS[kind])
        diffusion = scale
    _close(diffusion, std)
    _close(ours, mean)
    _close(log_probability(kind, drawn, ours, scale), log_probabilities)
    noise = (drawn - mean) / scale.view(-1, 1, 1, 1)
    stepped = take(kind, latents, velocities, step, LEVELS[kind], noise)
    _close(stepped.latents, drawn)
    _close(stepped.log_probabilities, log_probabilities)


def _close(ours: Tensor, theirs: Tensor) -> None:
    """To 1e-5 of the values' size; an element near 0 is as exact as its neighbors."""
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().mean()))


@quick
@given(kind=kinds, step=steps_of_ten, seed=seeds, level=st.floats(0.01, 1))
def test_without_noise_a_step_goes_to_its_mean(kind: Kind, step: int, seed: int, level: float) -> None:
    latents, velocities, _ = draw(seed)
    stepped = take(kind, latents, velocities, step, level, torch.zeros_like(latents))
    assert torch.equal(stepped.latents, stepped.mean)


@quick
@given(kind=kinds, step=steps_of_ten, seed=seeds, level=st.floats(0.01, 1), away=st.floats(0.01, 3))
def test_nothing_is_likelier_than_the_mean(kind: Kind, step: int, seed: int, level: float, away: float) -> None:
    latents, velocities, noise = draw(seed)
    stepped = take(kind, latents, velocities, step, level, noise)
    beside = stepped.mean + away * stepped.std.view(-1, 1, 1, 1) * noise
    at_mean, at_side = (log_probability(kind, x, stepped.mean, stepped.std) for x in (stepped.mean, beside))
    assert (at_mean > at_side).all()


@quick
@given(kind=kinds, step=steps_of_ten, seed=seeds)
def test_with_the_level_the_step_becomes_that_of_the_ode(kind: Kind, step: int, seed: int) -> None:
    latents, velocities, noise = draw(seed)
    straight = ode_step(latents, velocities, *levels_of(step))
    far, near, nearest = (
        float((take(kind, latents, velocities, step, level, noise).latents - straight).abs().max())
        for level in (0.5, 1e-2, 1e-6)
    )
    assert far > near > nearest and nearest < 1e-5


@quick
@given(kind=kinds, step=steps_of_ten, seed=seeds, level=st.floats(0.05, 1))
def test_noise_is_drawn_at_the_scale_that_is_said(kind: Kind, step: int, seed: int, level: float) -> None:
    latents, velocities, noise = draw(seed)
    stepped = take(kind, latents, velocities, step, level, noise)
    torch.testing.assert_close(
        stepped.latents - stepped.mean, stepped.std.view(-1, 1, 1, 1) * noise, rtol=1e-4, atol=1e-5
    )
    expected = {
        "sde": float(torch.sqrt(schedule()[step] - schedule()[step + 1])),
        "cps": float(schedule()[step + 1]),
    }[kind]
    factor = {
        "sde": float(sde_diffusion(*levels_of(step)[:1], level, first_sigma=float(schedule()[1]))[0]),
        "cps": float(np.sin(level * np.pi / 2)),
    }[kind]
    torch.testing.assert_close(stepped.std, torch.full((2,), expected * factor), rtol=1e-5, atol=0)


@quick
@given(step=steps_of_ten, seed=seeds, level=st.floats(0.05, 2))
def test_the_sdes_log_probability_is_the_mean_of_the_normal_densities(step: int, seed: int, level: float) -> None:
    latents, velocities, noise = draw(seed)
    stepped = take("sde", latents, velocities, step, level, noise)
    normal = torch.distributions.Normal(stepped.mean, stepped.std.view(-1, 1, 1, 1))
    expected = normal.log_prob(stepped.latents).mean(dim=(1, 2, 3))  # type: ignore[no-untyped-call]
    torch.testing.assert_close(stepped.log_probabilities, expected, rtol=1e-5, atol=1e-5)


@quick
@given(step=steps_of_ten, level=st.floats(0.05, 1), seed=seeds)
def test_a_coefficient_preserving_step_keeps_the_schedules_share_of_noise(step: int, level: float, seed: int) -> None:
    """With the true velocity: the image's share stays 1 - s', and old and new noise together have the scale s'."""
    image, old_noise, new_noise = draw(seed)
    sigmas, next_sigmas = levels_of(step)
    latents = (1 - sigmas).view(-1, 1, 1, 1) * image + sigmas.view(-1, 1, 1, 1) * old_noise
    stepped = take("cps", latents, old_noise - image, step, level, new_noise)
    share = float(next_sigmas[0])
    kept, fresh = share * np.cos(level * np.pi / 2), share * np.sin(level * np.pi / 2)
    torch.testing.assert_close(
        stepped.latents, (1 - share) * image + kept * old_noise + fresh * new_noise, rtol=1e-4, atol=1e-5
    )
    assert kept**2 + fresh**2 == pytest.approx(share**2)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_of_one_batch_may_stand_at_different_steps_and_levels(kind: Kind) -> None:
    latents, velocities, noise = draw(3, batch=3)
    steps, levels = (0, 4, 8), (0.2, 0.7, 1.0)
    sigmas, next_sigmas = schedule()[list(steps)], schedule()[[step + 1 for step in steps]]
    step: Callable[..., Transition] = cps_step if kind == "cps" else sde_step
    named = {} if kind == "cps" else {"first_sigma": schedule()[1].expand(3)}
    together = step(latents, velocities, sigmas, next_sigmas, torch.tensor(levels), noise, **named)
    for i in range(3):
        alone = take(kind, latents[i : i + 1], velocities[i : i + 1], steps[i], levels[i], noise[i : i + 1])
        torch.testing.assert_close(together.latents[i], alone.latents[0])
        torch.testing.assert_close(together.log_probabilities[i], alone.log_probabilities[0])


def test_log_probabilities_carry_gradients_to_the_velocity() -> None:
    latents, velocities, noise = draw(5)
    drawn = take("sde", latents, velocities, 2, 0.7, noise).latents
    velocities.requires_grad_()
    sigmas, next_sigmas = levels_of(2)
    mean, std = sde_moments(latents, velocities, sigmas, next_sigmas, 0.7, first_sigma=float(schedule()[1]))
    log_probability("sde", drawn, mean, std).sum().backward()  # type: ignore[no-untyped-call]
    assert velocities.grad is not None and velocities.grad.abs().sum() > 0
