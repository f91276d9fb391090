import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from emofeedback.domain.affect import LEXICON
from emofeedback_trainer.data.eemodb.ekman import affect_distance
from emofeedback_trainer.judge.eemo_rewards import hybrid_reward, similarity_rewards
from emofeedback_trainer.latent.objective import EMOTIONS, best_of, divergence, expected_reward, reply_losses


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_reply_s_loss_is_the_mean_over_its_own_tokens() -> None:
    logits, labels = drawn(5, 7), torch.tensor([1, 2, 3, 4, 5])
    none = torch.zeros(5)
    losses = reply_losses(logits, labels, labels, none, torch.tensor([0, 0, 0, 1, 1]), 2)
    wanted = [F.cross_entropy(logits[:3], labels[:3]), F.cross_entropy(logits[3:], labels[3:])]
    torch.testing.assert_close(losses, torch.stack(wanted))


def test_a_rating_is_learned_best_by_sharing_it_between_the_neighboring_numbers() -> None:
    """The loss of 6.3, written as 6, is least where 6 has 70 % and 7 has 30 %: the expected value is the true one."""
    label, neighbor, share, one = torch.tensor([6]), torch.tensor([7]), torch.tensor([0.3]), torch.tensor([0])
    shares = torch.full((10,), 1e-9)
    shares[6], shares[7] = 0.7, 0.3

    def loss(probabilities: Tensor) -> float:
        return float(reply_losses(probabilities.log()[None], label, neighbor, share, one, 1))

    for other in (0.0, 0.1, 0.25, 0.35, 0.6):
        moved = shares.clone()
        moved[6], moved[7] = 1 - other, max(other, 1e-9)
        assert loss(shares) < loss(moved)


@given(st.floats(0.5, 1.0), st.integers(1, 6))
def test_the_best_variation_has_its_share_and_the_others_the_rest(share: float, variations: int) -> None:
    losses = drawn(4, variations).abs()
    rows = []
    for row in losses.tolist():
        others = sorted(row)[1:]
        rest = (1 - share) * float(np.mean(others)) if others else (1 - share) * row[0]
        rows.append(share * min(row) + rest)
    assert best_of(losses, share).item() == pytest.approx(np.mean(rows), rel=1e-5)


def test_variations_that_lost_learn_little() -> None:
    losses = torch.tensor([[3.0, 1.0, 2.0]], requires_grad=True)
    torch.autograd.backward(best_of(losses, 0.9))
    assert losses.grad is not None
    torch.testing.assert_close(losses.grad, torch.tensor([[0.05, 0.9, 0.05]]))


def test_an_unchanged_judge_does_not_diverge_and_a_changed_one_does() -> None:
    before = drawn(3, 6)
    unlikely = torch.full((3, 2), -1e4)
    assert divergence(torch.cat([before, unlikely], dim=1), before).item() == pytest.approx(0, abs=1e-6)
    p = before.softmax(dim=1)
    wanted = (p * (before.log_softmax(1) - drawn(3, 6, seed=1).log_softmax(1))).sum(1).mean()
    assert divergence(drawn(3, 6, seed=1), before).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_the_expected_reward_is_the_sum_over_all_that_may_be_said() -> None:
    valence, arousal, emotion = (drawn(2, n, seed=n).softmax(1) for n in (9, 9, 8))
    arousal = arousal.flip(1)
    points, felt = [(6.3, 2.1), (1.0, 9.0)], [1, 7]
    named = [LEXICON[emotion] for emotion in EMOTIONS]
    anchors = np.array([(one.point.valence, one.point.arousal, one.dominance_mean) for one in named])
    away = affect_distance(anchors[:, None], anchors[None])
    alike = similarity_rewards(anchors, 1 - away / away.max())
    wanted = []
    for row in range(2):
        expected = [sum((1 + i) * float(p) for i, p in enumerate(axis[row])) for axis in (valence, arousal)]
        numbers = [hybrid_reward(said - true) for said, true in zip(expected, points[row], strict=True)]
        words = sum(float(p) * alike[felt[row], said] for said, p in enumerate(emotion[row]))
        wanted.append(0.25 * sum(numbers) + 0.5 * words)
    reward = expected_reward(valence, arousal, emotion, torch.tensor(points), torch.tensor(felt))
    np.testing.assert_allclose(reward.numpy(), wanted, rtol=1e-5, equal_nan=False)


def test_being_right_earns_one() -> None:
    def sure(place: int, count: int) -> Tensor:
        return F.one_hot(torch.tensor([place]), count).float()

    reward = expected_reward(sure(5, 9), sure(2, 9), sure(3, 8), torch.tensor([[6.0, 3.0]]), torch.tensor([3]))
    assert reward.item() == pytest.approx(1)
