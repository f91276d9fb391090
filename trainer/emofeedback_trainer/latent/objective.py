"""What reasoning tokens are trained by; pure functions of tensors."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from emofeedback.domain.affect import LEXICON, SCALE_MAX, SCALE_MIN, Emotion
from emofeedback_trainer.data.eemodb.ekman import affect_distance
from emofeedback_trainer.judge.eemo_rewards import similarity_rewards

EMOTIONS = tuple(Emotion)
"""The order of the eight in a distribution."""


def reply_losses(
    logits: Tensor, labels: Tensor, neighbors: Tensor, shares: Tensor, replies: Tensor, count: int
) -> Tensor:
    """Mean cross-entropy a token of each reply, [count].

    A rating is learned against both neighboring whole numbers, by how near they are: the expected value over the
    digits, by which the service scores, then is the true one.

    Args:
        logits: of N labelled places, float [N, vocabulary].
        labels: the tokens written there, [N].
        neighbors: the other whole number, [N]; any where the share is 0.
        shares: its share, in [0, 1], [N].
        replies: number of the reply that each place belongs to, [N].
        count: replies; each has at least one place.
    """
    scores = F.log_softmax(logits.float(), dim=-1)
    written = scores.gather(1, labels[:, None])[:, 0]
    other = scores.gather(1, neighbors[:, None])[:, 0]
    losses = -((1 - shares) * written + shares * other)
    sums = torch.zeros(count, device=losses.device).index_add(0, replies, losses)
    sizes = torch.zeros(count, device=losses.device).index_add(0, replies, torch.ones_like(losses))
    return sums / sizes


def best_of(losses: Tensor, share: float) -> Tensor:
    """Mean over the rows of [B, M] losses in which the lowest of each row has the weight `share` and the others divide
    what is left: each of M variations learns a way of its own, and none is ever lost."""
    count = losses.shape[1]
    if count == 1:
        return losses.mean()
    others = (1 - share) / (count - 1)
    weights = torch.full_like(losses, others).scatter(1, losses.detach().argmin(dim=1, keepdim=True), share)
    return (weights * losses).sum(dim=1).mean()


def divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of a reference's next tokens from the model's, over N places.

    Args:
        logits: float [N, vocabulary], more columns than the reference's where tokens were added since.
        reference: float [N, smaller vocabulary].
    """
    known = F.log_softmax(logits.float(), dim=-1)[:, : reference.shape[1]]
    log_p = F.log_softmax(reference.float(), dim=-1)
    return (log_p.exp() * (log_p - known)).sum(dim=-1).mean()


def expected_reward(valence: Tensor, arousal: Tensor, emotion: Tensor, points: Tensor, felt: Tensor) -> Tensor:
    """The reward of N short replies, summed over what they may say instead of sampled; in [0, 1], shape [N].

    Half of it is the hybrid reward of the expected valence and arousal, which is what the service reads: a reward of
    sampled digits would teach a judge to write what it believes most, and make its digits too sure. The other half is
    the likeness of the emotions to the true one, weighted by their probabilities.

    Args:
        valence: probabilities of the ratings 1 to 9, [N, 9].
        arousal: likewise.
        emotion: probabilities of `EMOTIONS`, [N, 8].
        points: true valence and arousal, [N, 2].
        felt: index of the true emotion, int64 [N].
    """
    scale = torch.arange(SCALE_MIN, SCALE_MAX + 1, device=valence.device)
    near = [_hybrid(shares @ scale - points[:, axis]) for axis, shares in enumerate((valence, arousal))]
    alike = torch.tensor(_likeness(), dtype=emotion.dtype, device=emotion.device)[felt]
    return 0.25 * (near[0] + near[1]) + 0.5 * (alike * emotion).sum(dim=1)


def _hybrid(errors: Tensor, far: float = 0.5, width: float = 0.1) -> Tensor:
    """`hybrid_reward` of many errors, with a gradient."""
    away = errors.abs() / (SCALE_MAX - SCALE_MIN)
    return far * (1 - away) + (1 - far) * torch.exp(-(away**2) / (2 * width**2))


@cache
def _likeness() -> list[list[float]]:
    """What each emotion earns where another is true: EEmo-Logic's rewards of Mikels' eight, whose words are taken to be
    as alike as what they name."""
    named = [LEXICON[emotion] for emotion in EMOTIONS]
    anchors = np.array([(one.point.valence, one.point.arousal, one.dominance_mean) for one in named])
    away = affect_distance(anchors[:, None], anchors[None])
    rewards: list[list[float]] = similarity_rewards(anchors, 1 - away / away.max()).tolist()
    return rewards
