"""What reinforcement minimizes: numbers worked out by hand or by numpy, and what must hold for any numbers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from emofeedback.generator.stochastic import log_probability
from emofeedback_trainer.flow_grpo.objective import (
    advantages,
    kl_terms,
    masked_policy_terms,
    nft_terms,
    normalized,
    normalized_log_ratios,
    policy_terms,
    win_rates,
)

rewards = st.lists(st.lists(st.floats(-10, 10, width=32), min_size=4, max_size=4), min_size=2, max_size=4)


def _latents(*values: float) -> Tensor:
    """Rows of one channel of 1 x 2 pixels."""
    return torch.tensor(values).view(-1, 1, 1, 2)


# --- advantages ---------------------------------------------------------------------------------------------------


def test_a_normalized_reward_is_its_distance_from_the_mean_in_population_standard_deviations() -> None:
    # mean 2, squares 1 + 1 + 0 + 0 over 4, so std is sqrt(0.5)
    scores = normalized(torch.tensor([1.0, 3.0, 2.0, 2.0]))
    step = 1 / (math.sqrt(0.5) + 1e-4)
    assert scores.tolist() == pytest.approx([-step, step, 0.0, 0.0])


def test_an_advantage_is_a_rewards_distance_from_its_groups_mean_over_the_groups_spread() -> None:
    given_rewards = torch.tensor([[0.0, 2.0], [10.0, 10.5]])
    by_group = advantages({"valence": given_rewards}, {"valence": 1.0}, over="group")
    assert by_group.numpy() == pytest.approx(np.array([[-1.0, 1.0], [-1.0, 1.0]]), abs=1e-3)


def test_rewards_are_normalized_before_they_are_weighted_and_summed() -> None:
    # Alignment differs in the third decimal only and still has its say.
    valence = torch.tensor([[0.0, 1.0, 0.0, 1.0]], dtype=torch.float64)
    alignment = torch.tensor([[0.30, 0.30, 0.31, 0.31]], dtype=torch.float64)
    both = advantages({"valence": valence, "alignment": alignment}, {"valence": 1.0, "alignment": 1.0}, over="group")
    v, a = 0.5 / (0.5 + 1e-4), 0.005 / (0.005 + 1e-4)
    sums = np.array([-v - a, v - a, -v + a, v + a])
    assert both[0].numpy() == pytest.approx(sums / (sums.std() + 1e-4))


def test_a_reward_without_weight_has_no_say() -> None:
    valence, alignment = torch.tensor([[0.0, 1.0]]), torch.tensor([[5.0, -5.0]])
    alone = advantages({"valence": valence}, {"valence": 1.0}, over="group")
    beside = advantages({"valence": valence, "alignment": alignment}, {"valence": 1.0, "alignment": 0.0}, over="group")
    assert torch.equal(alone, beside)


def test_over_the_batch_a_contradictory_group_weighs_less() -> None:
    """In the second group the two rewards nearly cancel; over the group its rest would be blown up to full size."""
    one = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    other = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    weights = {"valence": 1.0, "alignment": 0.9}
    by_group = advantages({"valence": one, "alignment": other}, weights, over="group")
    by_batch = advantages({"valence": one, "alignment": other}, weights, over="batch")
    assert by_group[1, 1] == pytest.approx(1.0, abs=0.01)
    assert by_batch[1, 1] / by_batch[0, 1] == pytest.approx(0.1 / 1.9, abs=0.01)


def test_one_outlier_among_many_is_clamped() -> None:
    outlier = torch.zeros(1, 50)
    outlier[0, 7] = 1.0
    assert advantages({"valence": outlier}, {"valence": 1.0}, over="group").max() == 5.0


@given(rewards=rewards, over=st.sampled_from(["group", "batch"]))
def test_advantages_are_bounded_and_keep_the_order_of_the_rewards(rewards: list[list[float]], over: str) -> None:
    table = torch.tensor(rewards)
    found = advantages({"valence": table}, {"valence": 1.0}, over=over)  # type: ignore[arg-type]
    assert found.abs().max() <= 5.0
    for earned, advantage in zip(table, found, strict=True):
        assert (advantage.sort().values - advantage[earned.argsort(stable=True)]).abs().max() <= 1e-5


@given(rewards=rewards, shift=st.floats(-100, 100), scale=st.floats(0.5, 20))
def test_advantages_do_not_depend_on_a_rewards_scale(rewards: list[list[float]], shift: float, scale: float) -> None:
    table = torch.tensor(rewards, dtype=torch.float64)
    spread = table.std(dim=-1, correction=0)
    table = table[spread > 0.1]  # below, the floor under the standard deviation begins to count
    if len(table):
        plain = advantages({"valence": table}, {"valence": 1.0}, over="group")
        changed = advantages({"valence": table * scale + shift}, {"valence": 1.0}, over="group")
        assert torch.allclose(plain, changed, atol=1e-2)


def test_a_win_rate_is_the_share_of_the_others_that_one_beats() -> None:
    found = win_rates(torch.tensor([[3.0, 1.0, 1.0, 0.0, 9.0], [2.0, 2.0, 2.0, 2.0, 2.0]]))
    # 3 beats three of four; each 1 beats one and ties with one
    assert found.tolist() == [[0.75, 0.375, 0.375, 0.0, 1.0], [0.5] * 5]


@given(st.lists(st.integers(-9, 9), min_size=4, max_size=4))
def test_wins_keep_the_order_and_forget_the_distances(values: list[int]) -> None:
    plain = torch.tensor([values], dtype=torch.float32)
    rates = win_rates(plain)
    assert torch.equal(rates, win_rates(plain**3))
    assert torch.equal(rates.argsort(stable=True), plain.argsort(stable=True))


def test_a_far_better_sample_gains_no_more_than_a_little_better_one() -> None:
    near, far = (
        advantages({"valence": torch.tensor([[0.0, 1.0, 2.0, best]])}, {"valence": 1.0}, over="group", wins=True)
        for best in (2.1, 90.0)
    )
    assert torch.equal(near, far)


# --- the clipped objective ----------------------------------------------------------------------------------------


def test_the_clipped_objective_by_hand() -> None:
    ratios = torch.tensor([1.0, 1.5, 1.5, 0.5, 0.5])
    advantage = torch.tensor([2.0, 2.0, -2.0, 2.0, -2.0])
    terms = policy_terms(ratios.log(), advantage, 0.2)
    # -min(rA, clip(r)A): unclipped; gain capped at 1.2; loss not capped; loss of a good one not capped; capped at 0.8
    assert terms.loss.tolist() == pytest.approx([-2.0, -2.4, 3.0, -1.0, 1.6])
    assert terms.ratio.tolist() == pytest.approx(ratios.tolist())
    assert terms.clipped.tolist() == [False, True, True, True, True]


def test_nothing_is_clipped_before_the_policy_has_changed() -> None:
    log_ratios = torch.zeros(3, requires_grad=True)
    terms = policy_terms(log_ratios, torch.tensor([1.0, -2.0, 0.5]), 1e-5)
    terms.loss.sum().backward()  # type: ignore[no-untyped-call]
    assert not terms.clipped.any()
    assert log_ratios.grad is not None
    assert log_ratios.grad.tolist() == [-1.0, 2.0, -0.5]


@given(log_ratio=st.floats(-1, 1), advantage=st.floats(-5, 5), clip=st.floats(1e-5, 0.5))
def test_the_clipped_objective_is_never_better_than_the_unclipped(
    log_ratio: float, advantage: float, clip: float
) -> None:
    terms = policy_terms(torch.tensor([log_ratio]), torch.tensor([advantage]), clip)
    assert terms.loss.item() >= -advantage * math.exp(log_ratio) - 1e-5


@given(advantage=st.floats(0.1, 5), beyond=st.floats(1e-3, 1))
def test_beyond_its_range_a_ratio_that_gains_is_pushed_no_further(advantage: float, beyond: float) -> None:
    log_ratio = torch.tensor([math.log1p(0.01 + beyond)], requires_grad=True)
    policy_terms(log_ratio, torch.tensor([advantage]), 0.01).loss.sum().backward()  # type: ignore[no-untyped-call]
    assert log_ratio.grad is not None
    assert log_ratio.grad.item() == 0.0


# --- the divergence's mask ----------------------------------------------------------------------------------------


def test_the_mask_leaves_out_what_leads_further_away_and_nothing_else() -> None:
    ratios = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.5])
    advantage = torch.tensor([2.0, -2.0, 2.0, -2.0, 2.0])
    divergences = torch.tensor([0.3, 0.3, 0.3, 0.3, 0.1])
    terms = masked_policy_terms(ratios.log(), divergences, advantage, 0.2)
    # gone on: left out; back: counts; back: counts; gone on: left out; near enough: counts, however large the ratio
    assert terms.loss.tolist() == pytest.approx([0.0, 3.0, -1.0, 0.0, -3.0])
    assert terms.clipped.tolist() == [True, False, False, True, False]


def test_a_masked_row_has_no_gradient_and_another_one_has_that_of_the_ratio() -> None:
    log_ratios = torch.tensor([0.1, 0.1], requires_grad=True)
    terms = masked_policy_terms(log_ratios, torch.tensor([1.0, 0.0]), torch.tensor([2.0, 2.0]), 0.5)
    terms.loss.sum().backward()  # type: ignore[no-untyped-call]
    assert log_ratios.grad is not None
    assert log_ratios.grad.tolist() == pytest.approx([0.0, -2.0 * math.exp(0.1)])


# --- the normalized ratio, the divergence -------------------------------------------------------------------------


@given(
    mean=st.floats(-1, 1),
    old=st.floats(-1, 1),
    noise=st.floats(-3, 3),
    scale=st.floats(0.1, 2),
)
def test_the_normalized_ratio_is_grpo_guards_formula(mean: float, old: float, noise: float, scale: float) -> None:
    means, olds = _latents(mean, mean / 2).double(), _latents(old, -old).double()
    led_to = olds + scale * _latents(noise, 1.0).double()
    scales = torch.tensor([scale], dtype=torch.float64)
    found = normalized_log_ratios(means, olds, led_to, scales)
    bias = (means - olds).square().mean(dim=(1, 2, 3)) / (2 * scales**2)
    change = log_probability("sde", led_to, means, scales) - log_probability("sde", led_to, olds, scales)
    assert found.item() == pytest.approx(((change + bias) * scales).item(), abs=1e-9)


def test_the_divergence_by_hand() -> None:
    means, references = _latents(1.0, 3.0), _latents(0.0, 1.0)
    # mean of 1 and 4 is 2.5, over 2 * 0.25
    assert kl_terms(means, references, torch.tensor([0.5])).tolist() == [5.0]


# --- DiffusionNFT -------------------------------------------------------------------------------------------------


def _nft_by_numpy(v: float, old: float, final: float, noise: float, sigma: float, advantage: float, b: float) -> float:
    """One element. Errors e of the final latent that an implicit policy points at, as e^2 / |e|."""
    noisy = (1 - sigma) * final + sigma * noise
    good = np.clip(0.5 + 0.5 * advantage / 5, 0, 1)
    positive = abs(noisy - sigma * ((1 - b) * old + b * v) - final)
    negative = abs(noisy - sigma * ((1 + b) * old - b * v) - final)
    return float((good * positive + (1 - good) * negative) / b)


@pytest.mark.parametrize("advantage", [-7.0, -5.0, -1.0, 0.0, 2.0, 5.0])
@pytest.mark.parametrize("strength", [0.1, 1.0, 2.0])
def test_diffusion_nft_as_the_paper_writes_it(advantage: float, strength: float) -> None:
    v, old, final, noise, sigma = 0.7, 0.4, 1.0, -0.5, 0.6
    one = {"v": v, "old": old, "final": final, "noise": noise, "sigma": sigma, "advantage": advantage, "b": strength}
    loss = nft_terms(
        torch.full((1, 1, 1, 1), v),
        torch.full((1, 1, 1, 1), old),
        torch.full((1, 1, 1, 1), final),
        torch.full((1, 1, 1, 1), (1 - sigma) * final + sigma * noise),
        torch.tensor([sigma]),
        torch.tensor([advantage]),
        strength=strength,
    )
    assert loss.item() == pytest.approx(_nft_by_numpy(**one), rel=1e-5)


@given(advantage=st.floats(-5, 5).filter(lambda a: abs(a) > 0.01), seed=st.integers(0, 1000))
def test_diffusion_nft_moves_velocities_towards_good_samples_and_away_from_bad_ones(
    advantage: float, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    final, noise, old = (torch.randn(1, 2, 2, 2, generator=random) for _ in range(3))
    sigmas = torch.tensor([0.7])
    velocities = old.clone().requires_grad_()
    noisy = 0.3 * final + 0.7 * noise
    nft_terms(velocities, old, final, noisy, sigmas, torch.tensor([advantage]), strength=1.0).sum().backward()  # type: ignore[no-untyped-call]
    assert velocities.grad is not None
    towards_sample = ((noise - final) - old).flatten() @ -velocities.grad.flatten()
    assert torch.sign(towards_sample).item() == math.copysign(1, advantage)


def test_an_average_sample_teaches_diffusion_nft_nothing() -> None:
    old = torch.tensor([[[[0.3, -0.2]]]])
    velocities = old.clone().requires_grad_()
    final, noisy = torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 1, 2)
    nft_terms(velocities, old, final, noisy, torch.tensor([0.5]), torch.zeros(1), strength=1.0).sum().backward()  # type: ignore[no-untyped-call]
    assert velocities.grad is not None
    assert velocities.grad.abs().max() < 1e-6
