"""What reasoning tokens are trained by; pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


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
