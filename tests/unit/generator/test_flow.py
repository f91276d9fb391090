import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.generator.flow import guided, level_schedule, ode_step, sigma_schedule


@pytest.mark.parametrize("shift", [1.0, 1.7, 3.0])
@pytest.mark.parametrize("steps", [1, 2, 10, 25, 28, 50])
def test_the_schedule_is_that_of_diffusers_to_the_bit(steps: int, shift: float) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    assert torch.equal(sigma_schedule(steps, shift), scheduler.sigmas)


@given(steps=st.integers(1, 200), shift=st.floats(0.2, 12.0))
def test_every_schedule_falls_from_one_to_zero(steps: int, shift: float) -> None:
    sigmas = sigma_schedule(steps, shift)
    assert sigmas.shape == (steps + 1,) and sigmas.dtype == torch.float32
    assert sigmas[0] == 1 and sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()


@pytest.mark.parametrize("shift", [1.0, 1.5, 3.0])
def test_levels_of_ones_own_are_those_of_diffusers_to_the_bit(shift: float) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25])
    assert torch.equal(level_schedule((1.0, 0.75, 0.5, 0.25), shift), scheduler.sigmas)


def test_a_step_is_that_of_diffusers_to_the_bit() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(8)
    latents, velocities = torch.randn(2, 1, 4, 6, 6, generator=torch.Generator().manual_seed(1))
    theirs = scheduler.step(velocities, scheduler.timesteps[0], latents).prev_sample
    ours = ode_step(latents, velocities, scheduler.sigmas[:1], scheduler.sigmas[1:2])
    assert torch.equal(ours, theirs)


def test_samples_of_one_batch_may_stand_at_different_levels() -> None:
    latents, velocities = torch.zeros(2, 1, 1, 1), torch.ones(2, 1, 1, 1)
    stepped = ode_step(latents, velocities, torch.tensor([1.0, 0.5]), torch.tensor([0.75, 0.0]))
    assert stepped.flatten().tolist() == [-0.25, -0.5]


def test_the_true_velocity_leads_from_noise_to_the_image_in_one_step() -> None:
    image, noise = torch.randn(2, 1, 4, 6, 6, generator=torch.Generator().manual_seed(2))
    arrived = ode_step(noise, noise - image, torch.ones(1), torch.zeros(1))
    torch.testing.assert_close(arrived, image)


def test_guidance_is_per_sample_and_one_means_the_prompt_alone() -> None:
    unconditional, conditional = torch.zeros(3, 1, 1, 1), torch.ones(3, 1, 1, 1)
    scale = torch.tensor([0.0, 1.0, 4.5])
    assert guided(unconditional, conditional, scale).flatten().tolist() == [0.0, 1.0, 4.5]
