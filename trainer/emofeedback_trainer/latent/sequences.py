"""Several replies to one question in one sequence, told apart by an attention mask.

    trunk                     the question: picture and words
      group 0                 a variation's token, if any, and the K reasoning tokens
        branch                the turn's end and a reply that sees trunk and group
        branch                the same for a reply that sees the K tokens only
      group 1                 another variation of the same trunk; it doesn't see group 0
        ...

Every branch has the positions that it would have alone, so what is learned here is what an engine serves: the trunk,
one group, one reply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

UNLABELED = -100


class Scored(IntEnum):
    """What a place of a short reply says."""

    VALENCE = 1
    AROUSAL = 2
    EMOTION = 3


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One reply."""

    opening: tuple[int, ...]
    """Tokens before the reply: the turn's end and the assistant's header."""
    reply: tuple[int, ...]
    """Tokens to learn."""
    group: int | None = None
    """Whose reasoning tokens stand before it; None: none, the trunk alone."""
    hidden: bool = False
    """True where it sees nothing but the reasoning tokens of its group."""
    neighbors: Mapping[int, tuple[int, float]] = field(default_factory=dict)
    """By place in the reply: the token of the other whole number next to a rating, and its share in [0, 1]."""
    scored: tuple[int, int, int] | None = None
    """Of a short reply: the places of valence, arousal and the emotion's first token."""
    held: bool = False
    """The reply must not move away from the starting judge's."""


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """One question with its groups and replies."""

    trunk: tuple[int, ...]
    """With one placeholder for each visual token."""
    groups: tuple[tuple[int, ...], ...] = ()
    """Each ends with the reasoning tokens."""
    branches: tuple[Branch, ...]
    pictures: tuple[Image, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of sequences as tensors, padded on the right."""

    ids: Tensor
    """int64 [B, L]."""
    trunks: Tensor
    """int64 [B]: length of each trunk."""
    offsets: Tensor
    """int64 [B, L]: positions after the trunk's last; 0 within the trunk."""
    visible: Tensor
    """bool [B, L, L]: whether a place (second axis) sees another (third)."""
    labels: Tensor
    """int64 [B, L]: the token that should come next, else `UNLABELED`."""
    neighbors: Tensor
    """int64 [B, L]: where a rating comes next, the other whole number."""
    shares: Tensor
    """float32 [B, L]: the neighbor's share of the label."""
    replies: Tensor
    """int64 [B, L]: number of the reply that a label belongs to, counted over the batch row by row."""
    scored: Tensor
    """int64 [B, L]: what comes next in a short reply, a `Scored`, else 0."""
    held: Tensor
    """bool [B, L]: labels that must not move away from the starting judge's."""
    count: int
    """Replies in the batch."""


def visibility(row: Sequences, reasons: int) -> NDArray[np.bool_]:
    """Which place of a row sees which, [L, L]; every place sees itself.

    Args:
        reasons: reasoning tokens at the end of each group.
    """
    trunk = len(row.trunk)
    length = trunk + sum(map(len, row.groups)) + sum(len(b.opening) + len(b.reply) for b in row.branches)
    sees = np.zeros((length, length), bool)
    causal = np.tri(length, dtype=bool)
    sees[:trunk, :trunk] = causal[:trunk, :trunk]
    spans = []
    at = trunk
    for group in row.groups:
        end = at + len(group)
        sees[at:end, :trunk] = True
        sees[at:end, at:end] = causal[: end - at, : end - at]
        spans.append((at, end))
        at = end
    for branch in row.branches:
        end = at + len(branch.opening) + len(branch.reply)
        sees[at:end, at:end] = causal[: end - at, : end - at]
        sees[at:end, :trunk] = not branch.hidden
        if branch.group is not None:
            first, last = spans[branch.group]
            sees[at:end, last - reasons if branch.hidden else first : last] = True
        at = end
    return sees


def batch_of(rows: Sequence[Sequences], reasons: int, pad: int) -> Batch:
    """Rows as one batch.

    Args:
        reasons: reasoning tokens at the end of each group.
        pad: the token that fills rows up.
    """
    masks = [visibility(row, reasons) for row in rows]
    size = (len(rows), max(map(len, masks)))
    ids = np.full(size, pad)
    offsets, neighbors, replies, scored = (np.zeros(size, np.int64) for _ in range(4))
    labels = np.full(size, UNLABELED)
    shares = np.zeros(size, np.float32)
    held = np.zeros(size, bool)
    # a place without anything to see would have no finite softmax
    visible = np.broadcast_to(np.eye(size[1], dtype=bool), (len(rows), size[1], size[1])).copy()
    count = 0
    for b, (row, mask) in enumerate(zip(rows, masks, strict=True)):
        visible[b, : len(mask), : len(mask)] = mask
        at = len(row.trunk)
        ids[b, :at] = row.trunk
        for group in row.groups:
            end = at + len(group)
            ids[b, at:end] = group
            offsets[b, at:end] = np.arange(1, len(group) + 1)
            at = end
        for branch in row.branches:
            start = at + len(branch.opening)
            end = start + len(branch.reply)
            before = len(row.groups[branch.group]) if branch.group is not None else 0
            ids[b, at:end] = (*branch.opening, *branch.reply)
            offsets[b, at:end] = before + np.arange(1, end - at + 1)
            labels[b, start - 1 : end - 1] = branch.reply
            replies[b, start - 1 : end - 1] = count
            held[b, start - 1 : end - 1] = branch.held
            for place, (neighbor, share) in branch.neighbors.items():
                neighbors[b, start - 1 + place], shares[b, start - 1 + place] = neighbor, share
            for what, place in zip(Scored, branch.scored or (), strict=False):
                scored[b, start - 1 + place] = what
            count += 1
            at = end
    trunks = torch.tensor([len(row.trunk) for row in rows])
    return Batch(
        ids=torch.from_numpy(ids),
        trunks=trunks,
        offsets=torch.from_numpy(offsets),
        visible=torch.from_numpy(visible),
        labels=torch.from_numpy(labels),
        neighbors=torch.from_numpy(neighbors),
        shares=torch.from_numpy(shares),
        replies=torch.from_numpy(replies),
        scored=torch.from_numpy(scored),
        held=torch.from_numpy(held),
        count=count,
    )


def positions(model: Any, batch: Batch, grids: Tensor | None, image_token: int) -> Tensor:
    """The three rotary positions of every place, int64 [3, B, L].

    A 4-D mask alone would make the model's own rope index fail, so the trunk's are asked for as if it stood alone.

    Args:
        grids: frames, rows and columns of patches of each picture, [pictures, 3].
    """
    within = torch.arange(batch.ids.shape[1]) < batch.trunks[:, None]
    longest = int(batch.trunks.max())
    ids = batch.ids[:, :longest]
    trunk, _ = model.get_rope_index(
        ids,
        mm_token_type_ids=(ids == image_token).int(),
        image_grid_thw=grids,
        attention_mask=within[:, :longest].long(),
    )
    last = trunk.masked_fill(~within[None, :, :longest], 0).amax(dim=(0, 2))  # [B]
    placed: Tensor = (last[:, None] + batch.offsets).expand(3, -1, -1).clone()
    placed[:, :, :longest] = torch.where(within[None, :, :longest], trunk, placed[:, :, :longest])
    return placed


def additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask as attention adds it: 0 where a place sees another, else very small; [B, 1, L, L]."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    mask.masked_fill_(~visible, torch.finfo(dtype).min)
    return mask[:, None]
