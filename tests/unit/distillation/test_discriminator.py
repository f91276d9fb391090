"""What tells painted latents from real ones, and which way it sends them."""

import math

import torch

from emofeedback_trainer.distillation.discriminator import Discriminator, discriminator_loss, realism_loss


def latents(seed: int, mean: float) -> torch.Tensor:
    return mean + torch.randn(32, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def taught() -> Discriminator:
    """One that has learned that real latents are brighter."""
    torch.manual_seed(0)
    model = Discriminator(4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.0, 0.99))
    for step in range(60):
        random = torch.Generator().manual_seed(step)
        loss = discriminator_loss(model, latents(2 * step, 0.3), latents(2 * step + 1, -0.3), random)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return model


def test_it_learns_to_tell_and_sends_painted_latents_towards_the_real_ones() -> None:
    model = taught()
    painted = latents(1001, -0.3).requires_grad_()
    with torch.no_grad():
        assert realism_loss(model, latents(1000, 0.3)) < math.log(2) < realism_loss(model, painted)
    torch.autograd.backward(realism_loss(model, painted))
    assert painted.grad is not None and painted.grad.mean() < 0  # against the gradient is brighter


def test_no_gradient_of_its_own_lessons_reaches_the_student() -> None:
    painted = latents(0, 0.0).requires_grad_()
    torch.autograd.backward(discriminator_loss(Discriminator(4), latents(1, 0.0), painted, torch.Generator()))
    assert painted.grad is None


def test_verdicts_are_of_patches_in_three_sizes_and_of_the_whole() -> None:
    verdicts = Discriminator(4)(latents(0, 0.0))
    assert [tuple(one.shape[2:]) for one in verdicts] == [(8, 8), (4, 4), (2, 2), ()]
    assert all(one.dtype is torch.float32 for one in verdicts)
