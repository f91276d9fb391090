import torch
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.generator.flow import level_schedule, ode_step
from emofeedback_trainer.distillation.objective import ordered, relative_error, window_loss, window_velocities

SIGMAS = level_schedule((1.0, 0.75, 0.5, 0.25), 1.5)


def drawn(seed: int) -> torch.Tensor:
    return torch.randn(3, 4, 2, 5, 5, generator=torch.Generator().manual_seed(seed))


def test_the_wanted_velocity_leads_to_where_the_teacher_was() -> None:
    states, ends = drawn(0), drawn(1)
    wanted = window_velocities(states, ends, SIGMAS)
    for window in range(4):
        here, there = (SIGMAS[window + ahead].expand(3) for ahead in (0, 1))
        torch.testing.assert_close(ode_step(states[:, window], wanted[:, window], here, there), ends[:, window])


def test_the_loss_counts_latents_and_not_velocities() -> None:
    wanted = drawn(2)
    assert window_loss(wanted, wanted, SIGMAS) == 0
    lengths = SIGMAS[:-1] - SIGMAS[1:]
    off_by_a_latent = wanted + 1 / lengths.view(1, -1, 1, 1, 1)
    losses = [
        window_loss(
            torch.where(torch.arange(4).view(1, -1, 1, 1, 1) == window, off_by_a_latent, wanted), wanted, SIGMAS
        )
        for window in range(4)
    ]
    torch.testing.assert_close(torch.stack(losses), losses[0].expand(4))


def test_a_perfect_picture_has_no_error_and_the_mean_has_one() -> None:
    wanted = drawn(3)
    assert relative_error(wanted, wanted) == 0
    assert abs(relative_error(wanted.mean().expand_as(wanted), wanted) - 1) < 1e-6


@given(count=st.integers(1, 40), batch=st.integers(1, 17), seed=st.integers(0, 9))
def test_every_pass_takes_every_trajectory_once(count: int, batch: int, seed: int) -> None:
    taken = torch.cat([ordered(count, seed, update, batch) for update in range(-(-2 * count // batch))]).tolist()
    assert sorted(taken[:count]) == sorted(taken[count : 2 * count]) == list(range(count))
    assert taken[:batch] == ordered(count, seed, 0, batch).tolist()
